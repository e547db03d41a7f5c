"""Hints: taking them apart, saying them in words, and the values that they speak about."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import torch
from beartype.door import is_bearable
from beartype.roar import BeartypeException
from jaxtyping import AbstractArray
from torch import Tensor

__all__ = [
    "GIVEN",
    "RESULT",
    "YIELDED",
    "Claim",
    "alternatives",
    "array_hints",
    "bears",
    "describe",
    "describe_array",
    "elements",
    "fields",
    "fitting_dtypes",
    "has_arrays",
    "is_array",
    "record_fields",
    "sizes",
    "spell",
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


_DTYPES: Final = (
    torch.float32,
    torch.int64,
    torch.int32,
    torch.bool,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.int8,
    torch.int16,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.complex128,
)
"""What is tried on an annotation, in this order, after the dtype of the model."""

YIELDED: Final = "the yielded value"
"""What a value that a generator yields is called."""
GIVEN: Final = (RESULT, YIELDED)


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


def fitting_dtypes(arrays: Sequence[Any], first: torch.dtype) -> list[torch.dtype]:
    """The dtypes that one of the annotations takes; the most likely first, after ``first``."""
    kinds = [array.dtype[Tensor, ""] for array in arrays]
    return [
        dtype
        for dtype in (first, *_DTYPES)
        if any(isinstance(torch.empty((), dtype=dtype), kind) for kind in kinds)
    ]


def has_arrays(hint: Any) -> bool:
    """Whether there are jaxtyping annotations in a hint, or in the fields of records in it."""
    return _reaches_array(hint, set())


def record_fields(hint: Any) -> Mapping[str, Any]:
    """The hints of the fields of a dataclass or NamedTuple that hold arrays; empty for others."""
    return _array_fields(hint) if isinstance(hint, type) else {}


def _reaches_array(hint: Any, seen: set[Any]) -> bool:
    if is_array(hint):
        return True
    inside = [*get_args(hint)]
    if isinstance(hint, type) and hint not in seen:
        seen.add(hint)  # a record may hold others of its kind
        inside += _all_fields(hint).values()
    return any(_reaches_array(inner, seen) for inner in inside)


@lru_cache(maxsize=1024)
def _array_fields(cls: type) -> Mapping[str, Any]:
    return {name: field for name, field in _all_fields(cls).items() if has_arrays(field)}


@lru_cache(maxsize=1024)
def _all_fields(cls: type) -> Mapping[str, Any]:
    is_tuple = issubclass(cls, tuple) and hasattr(cls, "_fields")
    try:
        is_record = is_tuple or dataclasses.is_dataclass(cls)
        return get_type_hints(cls, include_extras=True) if is_record else {}
    except Exception:  # what its own module cannot resolve, nobody can
        return {}


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint alone; without what `Annotated` adds."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def bears(hint: Any, value: Any) -> bool:
    """Whether a value is what a hint says, in the scope of axis names that is open.

    What beartype cannot judge from outside of the function, such as a forward reference inside of
    another hint, passes.
    """
    try:
        return is_bearable(value, hint)
    except BeartypeException:
        return True


def elements(claim: Claim) -> Iterator[Claim]:
    """The claim itself, and those on each element where the value is a container of tensors.

    beartype looks at one element of a container; these make it look at all of a list, tuple,
    set or dict. Of a union of containers, the first is meant that has room for all elements.
    The fields of a record are not among them: its names are its own.
    """
    yield claim
    options = [
        parts
        for hint in alternatives(claim.hint)
        if has_arrays(hint) and (parts := _parts(claim.subject, claim.value, hint))
    ]
    if options:
        fitting = (parts for parts in options if all(map(_has_room, parts)))
        for part in next(fitting, options[0]):
            yield from elements(part)


def fields(claim: Claim) -> list[Claim]:
    """The claims on the fields of a record; none if the value is no record of its hint."""
    for hint in alternatives(claim.hint):
        found = record_fields(hint)
        if found and isinstance(claim.value, hint):
            return [
                Claim(f"{claim.subject}.{name}", getattr(claim.value, name), field)
                for name, field in found.items()
                if hasattr(claim.value, name)
            ]
    return []


def _parts(subject: str, value: Any, hint: Any) -> list[Claim]:
    origin, inner = get_origin(hint), get_args(hint)
    if not isinstance(origin, type) or not isinstance(value, origin):
        return []
    if isinstance(value, Mapping) and len(inner) == 2:
        return [Claim(f"{subject}[{key!r}]", part, inner[1]) for key, part in value.items()]
    if isinstance(value, tuple) and origin is tuple and inner[-1] is not Ellipsis:
        pairs = zip(value, inner, strict=False)  # another length is refused as a whole
        return [Claim(f"{subject}[{i}]", part, kind) for i, (part, kind) in enumerate(pairs)]
    if isinstance(value, Sequence | Set):
        return [Claim(f"{subject}[{i}]", part, inner[0]) for i, part in enumerate(value)]
    return []


def _has_room(part: Claim) -> bool:
    arrays = [member for member in alternatives(part.hint) if is_array(member)]
    kinds = (member.dtype[member.array_type, "..."] for member in arrays)
    return not arrays or any(isinstance(part.value, kind) for kind in kinds)


def spell(hint: Any) -> str:
    """A hint as a person would say it: ``Float "B T"``, ``Int32 "*B" or Int64 "*B"``, ``int``."""
    if is_array(hint):
        kind = "" if hint.array_type in (Any, Tensor) else f"{hint.array_type.__name__} "
        return f'{kind}{hint.dtype.__name__} "{hint.dim_str}"'
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


def sizes(tensor: Any) -> tuple[int, ...]:
    """The shape as numbers; a symbol of a compiler counts as the size it has in the example."""
    return tuple([size if type(size) is int else _hint(size) for size in tensor.shape])


def _hint(size: Any) -> Any:
    node = getattr(size, "node", None)
    return size if node is None or not node.has_hint() else node.hint


def describe_array(dtype: torch.dtype, shape: Sequence[int | str]) -> str:
    """A dtype and a shape: ``f32[32, 8, 21]``."""
    short = _SHORT.get(dtype, str(dtype).removeprefix("torch."))
    return f"{short}[{', '.join(map(str, shape))}]"


def describe(value: Any) -> str:
    """A value without its numbers: ``f32[32, 8, 21]``, ``list of 3``, ``str 'abc'``."""
    if isinstance(value, Tensor):
        return describe_array(value.dtype, value.shape)
    if hasattr(value, "shape") and hasattr(value, "dtype"):  # an array of numpy, say
        return f"{type(value).__name__} {value.dtype}[{', '.join(map(str, value.shape))}]"
    if value is None:
        return "None"
    if isinstance(value, bool | int | float | complex | str | bytes):
        text = repr(value)
        return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
    if isinstance(value, list | tuple | dict | set):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__
