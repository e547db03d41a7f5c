"""What a layer remembers of the positions before, when a sequence comes in pieces.

A layer that streams has ``initial_state(batch_size)`` and ``stream(x, state)``. The results of
``stream`` on the pieces of a sequence, one after another, are those of ``forward`` on the whole; a
piece of one position costs one position. The state moves on in place, and is one object for each
batch of sequences, so that one layer can serve many. It is made for inference, in eval mode and
without gradients: a gradient cannot go back through a queue that was written to since.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor
from torch.nn import Module

from typedwave.contract import describe, where
from typedwave.errors import Mismatch, ShapeError

__all__ = ["Hidden", "Past", "State", "States", "state_for"]


class State(ABC):
    """What came before, for each sequence of a batch."""

    @abstractmethod
    def select(self, rows: Int64[Tensor, "N"]) -> None:
        """Keeps these sequences of the batch, in this order; a row may be repeated or left out."""


class Past(State):
    """The last positions of an input, as a queue: for convolutions and for keys and values.

    Memory is made for several pieces at once, so that one more position is written and not all
    are moved.

    Args:
        columns: What came before, ``(B, L, *C)``; zeros for a padded convolution.
        length: Positions that are kept; None for all.

    Example:
        >>> import torch
        >>> past = Past(torch.zeros(2, 3, 5), length=3)
        >>> past.extend(torch.ones(2, 1, 5)).shape
        torch.Size([2, 4, 5])
        >>> past.extend(torch.ones(2, 1, 5))[0, :, 0]
        tensor([0., 0., 1., 1.])
    """

    def __init__(self, columns: Tensor, *, length: int | None) -> None:
        # (L, B, *C) in memory: a position is written, and rows of a batch are chosen, in one piece.
        self._memory = columns.transpose(0, 1)
        self._length = length
        self._until = columns.shape[1]

    @property
    def sizes(self) -> tuple[None, int | None]:
        """How many states are in it, which is not to be said, and how many positions it keeps."""
        return None, self._length

    @property
    def columns(self) -> Tensor:
        """What is remembered, ``(B, L, *C)``."""
        return self._kept.transpose(0, 1)

    @property
    def _kept(self) -> Tensor:
        start = 0 if self._length is None else max(0, self._until - self._length)
        return self._memory[start : self._until]

    def extend(self, x: Shaped[Tensor, "B T *C"]) -> Shaped[Tensor, "B L+T *C"]:
        """Appends positions; returns those remembered before and these, ``(B, L + T, *C)``.

        Raises:
            ShapeError: x is for another number of sequences, or of channels.
        """
        positions = x.transpose(0, 1)
        if self._memory.shape[1:] != positions.shape[1:]:
            raise self._unfit(x)
        kept, new = self._kept, len(positions)
        if self._until + new > len(self._memory):
            # Never written over, so that what extend returned earlier stays what it was.
            self._memory = kept.new_empty(2 * (len(kept) + new), *kept.shape[1:])
            self._memory[: len(kept)] = kept
            self._until = len(kept)
        self._memory[self._until : self._until + new] = positions
        self._until += new
        return self._memory[self._until - len(kept) - new : self._until].transpose(0, 1)

    def select(self, rows: Int64[Tensor, "N"]) -> None:
        """Keeps these sequences of the batch, in this order."""
        kept = self._kept
        self._memory = kept.new_empty(2 * len(kept) + 2, len(rows), *kept.shape[2:])
        if kept.requires_grad and torch.is_grad_enabled():
            self._memory[: len(kept)] = kept[:, rows]
        else:
            torch.index_select(kept, 1, rows, out=self._memory[: len(kept)])
        self._until = len(kept)

    def _unfit(self, x: Tensor) -> ShapeError:
        rows = (
            (
                "expected",
                'Shaped "B T *C"',
                f"B and C as in what is kept, {describe(self.columns)}",
            ),
            ("got", describe(x), ""),
        )
        return ShapeError("Past", [Mismatch("x", "does not go on from what is remembered", rows)])


S = TypeVar("S", bound=State)


def state_for(
    module: Module,
    state: State,
    kind: type[S],
    *,
    count: int | None = None,
    length: int | None = None,
) -> S:
    """The state, if it is one that a module goes on from.

    Args:
        module: The module.
        state: What it was given.
        kind: The class of its own states.
        count: States that are in it, or tensors.
        length: Positions that it keeps.

    Raises:
        ValueError: It is the state of another module.
    """
    sizes = getattr(state, "sizes", (None, None))
    asked = (sizes[0] if count is not None else None, sizes[1] if length is not None else None)
    if not isinstance(state, kind) or asked != (count, length):
        raise ValueError(
            f"{where(module)}: state is {_sketch(type(state), *sizes)}, but this goes on from "
            f"{_sketch(kind, count, length)}: take the state from its initial_state"
        )
    return state


def _sketch(kind: type, count: int | None, length: int | None) -> str:
    of = f" of {count}" if count is not None else ""
    some = "" if length is None else f" that keeps {length} position{'s' * (length != 1)}"
    return f"{kind.__name__}{of}{some}"


class Hidden(State):
    """The tensors that a recurrent layer hands from one position to the next.

    Args:
        tensors: Each ``(layers, B, hidden_size)``.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)

    @property
    def sizes(self) -> tuple[int, None]:
        """How many tensors are in it; positions are not kept."""
        return len(self.tensors), None

    def select(self, rows: Int64[Tensor, "N"]) -> None:
        """Keeps these sequences of the batch, in this order."""
        self.tensors = tuple(tensor[:, rows] for tensor in self.tensors)


class States(State):
    """The states of several layers.

    Args:
        states: In the order of the layers.
    """

    def __init__(self, states: Sequence[State]) -> None:
        self._states = tuple(states)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._states)

    @property
    def sizes(self) -> tuple[int, None]:
        """How many states are in it; what they keep is asked of each."""
        return len(self._states), None

    def select(self, rows: Int64[Tensor, "N"]) -> None:
        """Keeps these sequences of the batch, in this order."""
        for state in self._states:
            state.select(rows)
