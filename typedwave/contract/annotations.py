"""Annotations as they stand on functions and classes, resolved to the hints that they mean."""

import contextlib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from beartype.door import is_bearable
from beartype.roar import BeartypeException

from typedwave.contract.hints import array_hints, has_arrays
from typedwave.errors import AnnotationError

__all__ = ["function_hints", "state_hints"]

# The shape of `Float[Tensor, "B T"]` in source text; `Literal["a", "b"]` has quotes, but no shape.
_SHAPE = re.compile(r"""\[[^\[\]"']+,\s*["']""")


def function_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The resolved annotations of a function; it may name what encloses it.

    What beartype cannot judge from outside the function (``Self``, ``P.args``) is left out.

    Raises:
        AnnotationError: An annotation that holds a shape cannot be resolved.
    """
    written = inspect.unwrap(function)  # a decorator below ours has globals of its own
    namespace = dict(written.__globals__)
    cells = zip(written.__code__.co_freevars, written.__closure__ or (), strict=True)
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # a cell that is not assigned yet
            namespace[name] = cell.cell_contents
    hints = _resolved(function.__annotations__, namespace, function.__qualname__)
    return {name: hint for name, hint in hints.items() if _can_be_judged(hint)}


def state_hints(cls: type) -> dict[str, Any]:
    """The resolved array annotations on a class and its bases, the nearest class winning.

    Raises:
        AnnotationError: An annotation that holds a shape cannot be resolved.
    """
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        namespace = getattr(sys.modules.get(base.__module__), "__dict__", {})
        hints |= _resolved(inspect.get_annotations(base), namespace, base.__qualname__)
    return {name: hint for name, hint in hints.items() if any(array_hints(hint))}


def _resolved(
    annotations: Mapping[str, Any], namespace: Mapping[str, Any], owner: str
) -> dict[str, Any]:
    """Evaluates what is kept as a string; what cannot be and holds no shape is left out."""
    resolved: dict[str, Any] = {}
    for name, hint in annotations.items():
        holder: Any = SimpleNamespace(__annotations__={name: hint})
        try:
            resolved |= typing.get_type_hints(holder, dict(namespace), include_extras=True)
        except Exception as error:
            if any(array_hints(hint)) or (isinstance(hint, str) and _SHAPE.search(hint)):
                raise AnnotationError(
                    f"{owner}: the annotation of {name}, {hint}, cannot be resolved: {error}; "
                    "what it names has to be imported at run time, not only under TYPE_CHECKING"
                ) from None
    for name, hint in resolved.items():
        while typing.get_origin(hint) in (typing.Final, typing.ClassVar):
            (hint,) = typing.get_args(hint)
        resolved[name] = hint
    return resolved


def _can_be_judged(hint: Any) -> bool:
    if has_arrays(hint):
        return True
    try:
        is_bearable(None, hint)
    except BeartypeException:
        return False
    return True
