"""One drawn call: the case that it was made from, its arguments, and what came of it."""

import dataclasses
import enum
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from typedwave.contract.hints import describe
from typedwave.testing.sizes import Sizes
from typedwave.testing.values import Layout, Values

__all__ = ["Call", "Case", "Leaf", "leaves", "quietly", "replaced", "said", "seeded"]


@dataclass(frozen=True)
class Case:
    """All that decides about the arguments of a call; its ``repr`` is code that repeats it.

    Attributes:
        sizes: The size of each axis name; of one with a star, a tuple.
        choices: What was chosen where an annotation leaves a choice: the member of a union, the
            length of a list, a plain value.
        values: The kind of numbers.
        layout: How tensors lie in memory.
        dtype: The floating dtype where annotations leave it open; None for that of the module.
        seed: Of the numbers.
    """

    sizes: Sizes = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)
    values: Values = "normal"
    layout: Layout = "contiguous"
    dtype: torch.dtype | None = None
    seed: int = 0

    def __repr__(self) -> str:
        """The constructor, without what is as by default."""
        parts = [
            f"{f.name}={_code(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != (f.default if f.name in _WITH_DEFAULT else {})
        ]
        return f"Case({', '.join(parts)})"


def _code(value: Any) -> str:
    """A value as code, as far as it has any."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_code(part)}' for key, part in value.items())}}}"
    return repr(value)


_WITH_DEFAULT = ("values", "layout", "dtype", "seed")


@dataclass(frozen=True)
class Leaf:
    """One tensor among the arguments: where it is, and the names of its axes."""

    place: str
    argument: str
    names: tuple[str, ...]
    tensor: Tensor

    def axis(self, name: str) -> int | None:
        """The position of the first axis of that name, None if it has none."""
        return self.names.index(name) if name in self.names else None


@dataclass(frozen=True, repr=False)
class Call:
    """Arguments, the tensors in them, and those without any by name."""

    case: Case
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    leaves: tuple[Leaf, ...]
    plain: Mapping[str, Any] = field(default_factory=dict)

    def map(self, change: Callable[[Leaf], Tensor]) -> "Call":
        """The call with other tensors; ``change`` may return the one it gets."""
        changed = tuple(dataclasses.replace(leaf, tensor=change(leaf)) for leaf in self.leaves)
        new = {id(old.tensor): leaf.tensor for old, leaf in zip(self.leaves, changed, strict=True)}

        def swap(value: Any) -> Any:
            return new.get(id(value), value)

        args = tuple(replaced(value, swap) for value in self.args)
        kwargs = {name: replaced(value, swap) for name, value in self.kwargs.items()}
        return Call(self.case, args, kwargs, changed, self.plain)

    def put(self, place: str, tensor: Tensor) -> "Call":
        """The call with another tensor at one place."""
        return self.map(lambda leaf: tensor if leaf.place == place else leaf.tensor)

    def narrow(self, name: str, start: int, stop: int) -> "Call":
        """The call with the positions from start to stop on an axis, where tensors have it."""

        def change(leaf: Leaf) -> Tensor:
            axis = leaf.axis(name)
            return leaf.tensor if axis is None else leaf.tensor.narrow(axis, start, stop - start)

        return self.map(change)

    def to(self, dtype: torch.dtype) -> "Call":
        """The call with floating tensors of a dtype."""
        return self.map(lambda leaf: _cast(leaf.tensor, dtype))

    def copy(self) -> "Call":
        """The call with tensors of its own, laid out as they are."""
        return self.map(lambda leaf: _twin(leaf.tensor))

    def __repr__(self) -> str:
        """The arguments and the case, without numbers."""
        return f"Call({self}; {self.case!r})"

    def __str__(self) -> str:
        """The tensors with the names of their axes: ``x f32[B=2, T=3]``."""
        shown = [f"{leaf.place} {_named(leaf)}" for leaf in self.leaves]
        for name, value in self.plain.items():
            shown.append(
                f"{name} {_code(value) if isinstance(value, enum.Enum) else describe(value)}"
            )
        return ", ".join(shown) or "no arguments"


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _twin(tensor: Tensor) -> Tensor:
    """An equal tensor with memory of its own and the same strides."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return tensor.detach().clone()
    with torch.no_grad():
        storage = tensor.untyped_storage().clone()  # type: ignore[no-untyped-call]  # by torch
        other = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return other.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


def _named(leaf: Leaf) -> str:
    sizes = [
        str(size) if name == str(size) else f"{name.removeprefix('*')}={size}"
        for name, size in zip(leaf.names, leaf.tensor.shape, strict=True)
    ]
    text = describe(leaf.tensor)
    return f"{text[: text.index('[')]}[{', '.join(sizes)}]"


def leaves(value: Any, place: str = "result") -> Iterator[tuple[str, Tensor]]:
    """The tensors in a value and how each is reached: ``result[0].mean``."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, f"{place}[{key!r}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in dataclasses.fields(value):
            yield from leaves(getattr(value, each.name), f"{place}.{each.name}")
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name in value._fields:
            yield from leaves(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for i, part in enumerate(value):
            yield from leaves(part, f"{place}[{i}]")


def replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """A value, or a container of values and so on, with others in the place of its tensors."""
    if isinstance(value, Tensor):
        return replace(value)
    if isinstance(value, dict):
        return type(value)((key, replaced(part, replace)) for key, part in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(replaced(part, replace) for part in value))
    if isinstance(value, list | tuple):
        return type(value)(replaced(part, replace) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {
            f.name: replaced(getattr(value, f.name), replace) for f in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **parts)
    return value


def said(error: Exception) -> str:
    """The kind and the first line of an error of somebody else."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first.partition('  (Could this error message')[0]}"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of torch, Python and numpy from a seed; afterwards those that were to come.

    Not ``torch.manual_seed``, which also notes each call for devices that may be there later.
    """
    state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            if numpy:
                numpy.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(state)
        if numpy:
            numpy.random.set_state(numpy_state)


class quietly(warnings.catch_warnings):  # noqa: N801  # reads as what it does
    """No warnings: what the module warns of is not what is asked."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
