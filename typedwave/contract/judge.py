"""The judge: jaxtyping with beartype, asked in one scope of axis names."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import jaxtyping
from jaxtyping import jaxtyped

from typedwave.contract.hints import Claim, bears, elements, fields, spell
from typedwave.errors import AnnotationError

__all__ = ["first_refused", "in_scope"]

T = TypeVar("T")
_NOTHING: Final = inspect.Signature()


def in_scope(
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    run: Callable[[], T],
) -> T:
    """Runs ``run`` in a new scope of axis names, where ``{...}`` sees the arguments of the call.

    An exception comes out as it went in: jaxtyping would add a note to one that passes through.
    """
    raised: list[Exception] = []

    def scope(*_: Any, **__: Any) -> T | None:
        try:
            return run()
        except Exception as error:
            raised.append(error)
            return None

    scope.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect.signature
    result = jaxtyped(typechecker=None)(scope)(*args, **kwargs)
    if raised:
        raise raised.pop()
    return result  # type: ignore[return-value]  # None only if something was raised


def first_refused(claims: Iterable[Claim]) -> Claim | None:
    """The first claim that does not hold beside those before it.

    The elements of containers are judged in the same scope of names, the fields of a record in
    one of their own.
    """
    for claim in claims:
        for part in elements(claim):
            inside = fields(part)
            if inside and (refused := in_scope(_NOTHING, (), {}, partial(first_refused, inside))):
                return refused
            try:
                holds = bears(part.hint, part.value)
            except jaxtyping.AnnotationError as error:
                text = str(error).split(". ")[0]
                raise AnnotationError(
                    f"the shape of {part.subject}, {spell(part.hint)}, cannot be read: {text}; a "
                    "name in arithmetic needs its size from an argument or attribute before it"
                ) from None
            if not holds:
                return part
    return None
