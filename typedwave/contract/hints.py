"""Annotations: resolving them, taking them apart, telling the values they speak about."""

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

import torch
from jaxtyping import AbstractArray
from torch import Tensor

from typedwave.errors import AnnotationError

__all__ = [
    "RESULT",
    "Claim",
    "alternatives",
    "array_hints",
    "describe",
    "elements",
    "function_hints",
    "is_array",
    "sizes",
    "spell",
    "state_hints",
]

RESULT: Final = "the result"
"""What the result of a call is called in an error."""

_SHORT: Final = {
    torch.bfloat16: "bf16",
    torch.bool: "bool",
    torch.complex64: "c64",
    torch.complex128: "c128",
    torch.float16: "f16",
    torch.float32: "f32",
    torch.float64: "f64",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.uint8: "u8",
}


@dataclass(frozen=True, eq=False)
class Claim:
    """That ``value``, known to the reader as ``subject``, is what ``hint`` says."""

    subject: str
    value: Any
    hint: Any


def is_array(hint: Any) -> bool:
    """Whether a hint is a jaxtyping annotation such as ``Float[Tensor, "B T"]``."""
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def array_hints(hint: Any) -> Iterator[type[AbstractArray]]:
    """Every jaxtyping annotation inside a hint."""
    if is_array(hint):
        yield hint
    for inner in get_args(hint):
        yield from array_hints(inner)


def function_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The resolved annotations of a function; it may name what encloses it."""
    namespace = dict(function.__globals__)
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # a cell that is not assigned yet
            namespace[name] = cell.cell_contents
    return _resolve(function.__annotations__, namespace, function.__qualname__)


def state_hints(cls: type) -> dict[str, Any]:
    """The resolved array annotations on a class and its bases, the nearest class winning."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        namespace = vars(sys.modules[base.__module__])
        hints |= _resolve(inspect.get_annotations(base), namespace, base.__qualname__)
    return {name: hint for name, hint in hints.items() if any(array_hints(hint))}


def _resolve(
    annotations: Mapping[str, Any], namespace: Mapping[str, Any], owner: str
) -> dict[str, Any]:
    """Evaluates what is kept as a string; what cannot be and holds no shape is left alone."""
    resolved = {}
    for name, hint in annotations.items():
        if isinstance(hint, str):
            try:
                resolved[name] = eval(hint, dict(namespace))
            except Exception as error:
                if not ('"' in hint or "'" in hint):  # it has no shape, so it is not ours to judge
                    resolved[name] = Any
                    continue
                raise AnnotationError(
                    f"{owner}: the annotation of {name}, {hint}, cannot be resolved: {error}; "
                    "what it names has to be imported at run time, not only under TYPE_CHECKING"
                ) from None
        else:
            resolved[name] = hint
    return resolved


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint alone."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def elements(claim: Claim) -> Iterator[Claim]:
    """The claim itself, and those on each element where the value is a list, tuple or dict.

    beartype looks at one element of a container; these make it look at all.
    """
    yield claim
    for hint in alternatives(claim.hint):
        origin, inner, value = get_origin(hint), get_args(hint), claim.value
        if (
            not isinstance(origin, type)
            or not isinstance(value, origin)
            or not any(array_hints(hint))
        ):
            continue
        if isinstance(value, Mapping) and len(inner) == 2:
            parts = [(f"{claim.subject}[{key!r}]", part, inner[1]) for key, part in value.items()]
        elif isinstance(value, tuple) and len(inner) == len(value) and inner[-1] is not Ellipsis:
            parts = [(f"{claim.subject}[{i}]", part, inner[i]) for i, part in enumerate(value)]
        elif isinstance(value, Sequence) and inner:
            parts = [(f"{claim.subject}[{i}]", part, inner[0]) for i, part in enumerate(value)]
        else:
            continue
        for part in parts:
            yield from elements(Claim(*part))


def spell(hint: Any) -> str:
    """A hint as a person would say it: ``Float "B T"``, ``Int32 "*B" or Int64 "*B"``, ``int``."""
    if is_array(hint):
        tensor = "" if issubclass(Tensor, hint.array_type) else f"{hint.array_type.__name__} "
        return f'{tensor}{hint.dtype.__name__} "{hint.dim_str}"'
    members = alternatives(hint)
    if len(members) > 1:
        return " or ".join(spell(member) for member in members)
    if hint is NoneType:
        return "None"
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    name = getattr(get_origin(hint), "__name__", None)
    if name and get_args(hint):
        return f"{name}[{', '.join(map(_spell_argument, get_args(hint)))}]"
    return str(hint).removeprefix("typing.")


def _spell_argument(hint: Any) -> str:
    return "..." if hint is Ellipsis else spell(hint)


def sizes(tensor: Tensor) -> tuple[int, ...]:
    """The shape as numbers; a symbol of a compiler counts as the size it has in the example."""
    return tuple([size if type(size) is int else _hint(size) for size in tensor.shape])


def _hint(size: Any) -> Any:
    node = getattr(size, "node", None)
    return size if node is None or not node.has_hint() else node.hint


def describe(value: Any) -> str:
    """A value without its numbers: ``f32[32, 8, 21]``, ``list of 3``, ``str 'abc'``."""
    if isinstance(value, Tensor):
        short = _SHORT.get(value.dtype, str(value.dtype).removeprefix("torch."))
        return f"{short}[{', '.join(map(str, value.shape))}]"
    if value is None:
        return "None"
    if isinstance(value, bool | int | float | complex | str | bytes):
        text = repr(value)
        return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
    if isinstance(value, list | tuple | dict | set):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__
