"""Drawing the value of an argument from its annotation."""

import dataclasses
import enum
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import torch
from hypothesis import strategies as st
from torch import Tensor

from typedwave.contract.hints import (
    alternatives,
    array_hints,
    fitting_dtypes,
    has_arrays,
    is_array,
    record_fields,
    spell,
)
from typedwave.testing.calls import Case, Leaf
from typedwave.testing.declared import CheckError
from typedwave.testing.sizes import Sizes, named_shape
from typedwave.testing.values import lay_out, make

if TYPE_CHECKING:
    from typedwave.testing.subject import Subject

__all__ = ["Builder", "can_be_drawn", "choices_of", "is_counted", "shapes_of"]


class Builder:
    """Makes the values of one argument."""

    def __init__(
        self,
        subject: "Subject",
        case: Case,
        argument: str,
        scope: Mapping[str, Any],
        found: list[Leaf],
    ) -> None:
        self._subject, self._case, self._argument = subject, case, argument
        self._scope, self._found = scope, found

    def value(self, hint: Any, place: str) -> Any:
        """A value of an annotation; the tensors in it are noted as leaves."""
        general = _general(place)
        if isinstance(hint, st.SearchStrategy):
            chosen = self._case.choices[general]
            if isinstance(chosen, Tensor):
                names = tuple(f"_{place}{i}" for i in range(chosen.ndim))
                self._found.append(Leaf(place, self._argument, names, chosen))
            return chosen
        members = alternatives(hint)
        if len(members) > 1:
            return self.value(_ordered(members)[self._case.choices.get(f"{general}|", 0)], place)
        (hint,) = members
        if is_array(hint):
            return self._tensor(hint, place)
        origin, inner = get_origin(hint), get_args(hint)
        length = self._case.choices.get(f"{general}[]", 2)
        if _is_mapping(origin):
            parts = {f"k{i}": self.value(inner[1], f"{place}[k{i}]") for i in range(length)}
            return OrderedDict(parts) if origin is OrderedDict else parts
        if origin is tuple and inner[-1] is not Ellipsis:
            return tuple(self.value(part, f"{place}[{i}]") for i, part in enumerate(inner))
        if _is_sequence(origin):
            several = [self.value(inner[0], f"{place}[{i}]") for i in range(length)]
            return tuple(several) if origin is tuple else several
        if fields := _record(hint):
            return hint(**{f: self.value(kind, f"{place}.{f}") for f, kind in fields.items()})
        return None if hint is NoneType else self._case.choices.get(general)

    def _ids(self, sizes: Sizes) -> tuple[int, int]:
        """The least id, and one more than the largest."""
        declared = self._subject.declared
        said = declared.ids.get(self._argument)
        if said is None and self._argument == declared.mask and declared.mask_keeps is None:
            said = (1, f"{self._subject.time}+1")  # lengths
        if said is None:
            return 0, int(self._case.choices.get(f"ids:{self._argument}", 100))
        least, below = said if isinstance(said, tuple) else (0, said)
        if isinstance(below, str):
            try:
                ((_, below),) = named_shape(below, self._argument, sizes, self._scope)
            except LookupError:
                raise CheckError(
                    f"ids speaks of {below!r}, but the axes of {self._subject.name} are "
                    f"{', '.join(sizes)}"
                ) from None
        return least, below

    def _tensor(self, hint: Any, place: str) -> Tensor:
        subject, case = self._subject, self._case
        sizes = {**subject.fixed, **case.sizes}
        try:
            axes = named_shape(hint.dim_str, _general(place), sizes, self._scope)
        except Exception as error:
            raise CheckError(f"{place}: {spell(hint)} cannot be read: {error}") from None
        dtype = dtype_of(hint, case.dtype or subject.floating)
        least, below = self._ids(sizes)
        tensor = make(
            tuple(size for _, size in axes),
            dtype,
            values=case.values,
            seed=case.seed + len(self._found),
            bounds=subject.declared.bounds.get(self._argument),
            least=least,
            below=below,
        )
        if self._argument == subject.declared.mask and subject.declared.padding:
            tensor = tensor.sort(-1, descending=bool(subject.declared.mask_keeps)).values
        ignore = subject.declared.ignore
        if ignore is not None and self._argument == subject.declared.target:
            tensor[tensor == ignore] = least if ignore != least else least + 1
        tensor = lay_out(tensor, case.layout)
        names = tuple(name for name, _ in axes)
        self._found.append(Leaf(place, self._argument, names, tensor))
        return tensor


def is_counted(hint: Any) -> bool:
    """Whether a hint is of whole numbers."""
    whole = torch.empty((), dtype=torch.int64)
    return any(isinstance(whole, a.dtype[Tensor, ""]) for a in _arrays(hint))


def _arrays(hint: Any) -> list[Any]:
    return [] if isinstance(hint, st.SearchStrategy) else [*array_hints(hint)]


@lru_cache(maxsize=256)
def dtype_of(hint: Any, floating: torch.dtype) -> torch.dtype:
    """The dtype that a tensor of an annotation gets.

    Raises:
        CheckError: torch has no such dtype.
    """
    kinds = fitting_dtypes([hint], floating)
    if not kinds:
        raise CheckError(f"torch has no dtype for {spell(hint)}")
    return kinds[0]


def can_be_drawn(hint: Any, optional: bool) -> bool:
    """Whether an argument gets a value: one with a default and no tensors keeps it."""
    if has_arrays(hint):
        return all(map(_is_drawn, alternatives(hint)))
    if optional or hint is None:
        return False
    return all(map(_is_drawn, alternatives(hint)))


def _is_drawn(kind: Any) -> bool:
    """Whether this member of a union, and all that is inside of it, can be drawn."""
    if is_array(kind) or kind is NoneType or _plain(kind) is not None:
        return True
    inside = _inside(kind)
    return bool(inside) and all(_is_drawn(m) for _, i in inside for m in alternatives(i))


def _general(place: str) -> str:
    """The place without positions in containers, whose elements make the same choices."""
    head, *rest = place.replace("[", "\0[").split("\0")
    return head + "".join("[]" + part[part.index("]") + 1 :] for part in rest)


def _ordered(members: Sequence[Any]) -> list[Any]:
    """The members of a union, those that hold tensors first."""
    return sorted(members, key=lambda member: not has_arrays(member))


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_sequence(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _inside(hint: Any) -> list[tuple[str, Any]]:
    """What is inside of a container or record, by how it is reached."""
    origin, inner = get_origin(hint), get_args(hint)
    if _is_mapping(origin):
        return [("[]", inner[1])]
    if origin is tuple and inner[-1] is not Ellipsis:
        return [("[]", part) for part in inner]
    if _is_sequence(origin):
        return [("[]", inner[0])]
    return [(f".{name}", kind) for name, kind in _record(hint).items()]


def _record(hint: Any) -> dict[str, Any]:
    """The fields of a record that get a value: those with tensors, and those without a default."""
    found = {**record_fields(hint)}
    if not found:
        return found
    if issubclass(hint, tuple):
        needed = [name for name in hint._fields if name not in hint._field_defaults]
    else:
        made = (f for f in dataclasses.fields(hint) if f.init)
        needed = [
            f.name
            for f in made
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]
    hints = get_type_hints(hint, include_extras=True)
    return {name: hints[name] for name in hints if name in found or name in needed}


def shapes_of(hint: Any, place: str) -> Iterator[tuple[str, str]]:
    """The place and the shape of every array annotation in a hint."""
    if isinstance(hint, st.SearchStrategy):
        return
    for member in alternatives(hint):
        if is_array(member):
            yield place, member.dim_str
        else:
            for step, inner in _inside(member):
                yield from shapes_of(inner, place + step)


def choices_of(hint: Any, place: str) -> Iterator[tuple[str, st.SearchStrategy[Any]]]:
    """What a hint leaves open besides sizes and numbers: a strategy for each place."""
    if isinstance(hint, st.SearchStrategy):
        yield place, hint
        return
    members = alternatives(hint)
    if len(members) > 1:
        yield f"{place}|", st.integers(0, len(members) - 1)
    for member in _ordered(members):
        if is_array(member):
            continue
        origin = get_origin(member)
        many = origin is not tuple or get_args(member)[-1] is Ellipsis
        if many and (_is_mapping(origin) or _is_sequence(origin)):
            yield f"{place}[]", st.sampled_from([2, 1, 3])
        if (plain := _plain(member)) is not None:
            yield place, plain
        for step, inner in _inside(member):
            yield from choices_of(inner, place + step)


def _plain(hint: Any) -> st.SearchStrategy[Any] | None:
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(1, 3)
    if hint is float:
        return st.sampled_from([1.0, 0.5])
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from([*hint])
    return None
