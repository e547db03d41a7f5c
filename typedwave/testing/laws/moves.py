"""Moves that the laws make with the axes of arguments and results."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import Module

from typedwave.contract.hints import alternatives, is_array, record_fields
from typedwave.testing.calls import Call, Leaf
from typedwave.testing.sizes import named_shape
from typedwave.testing.trial import Trial

__all__ = [
    "Axis",
    "axes_of_result",
    "enliven",
    "folded",
    "gradients",
    "other_call",
    "permuted",
    "picked",
    "swapped",
    "untold",
]


@dataclass(frozen=True)
class Axis:
    """Where a named axis is in a tensor of a result: alone, or folded with others behind it."""

    position: int
    size: int

    def unfolded(self, tensor: Tensor) -> Tensor:
        """The tensor with the named axis first and alone."""
        first = tensor.movedim(self.position, 0)
        return first.reshape(self.size, first.shape[0] // self.size, *first.shape[1:])

    def permuted(self, tensor: Tensor, order: Tensor) -> Tensor:
        """The tensor with the positions on the axis in another order."""
        first = self.unfolded(tensor)[order].flatten(0, 1)
        return first.movedim(0, self.position)

    def narrow(self, tensor: Tensor, start: int, stop: int) -> Tensor:
        """The positions from start to stop."""
        first = self.unfolded(tensor)[start:stop].flatten(0, 1)
        return first.movedim(0, self.position)


def axes_of_result(
    trial: Trial, name: str, results: Sequence[tuple[str, Tensor]]
) -> list[Axis | None]:
    """Where an axis of the arguments is in each tensor of the result; None if it is in none.

    The annotation tells; where it does not, another size of the axis is tried: what changes with
    it in proportion is the axis, or one with others folded into it.
    """
    case, subject = trial.case, trial.subject
    size = case.sizes.get(name, subject.fixed.get(name))
    size = size[0] if isinstance(size, tuple) and size else size
    if not isinstance(size, int):
        return [None] * len(results)
    found: list[Axis | None] = []
    for hint, (_, tensor) in zip(_hints(subject.result_hint, len(results)), results, strict=True):
        names = _names(trial, hint, tensor)
        found.append(Axis(names.index(name), size) if name in names else None)
    if all(found):
        return found
    tried = _tried(trial, name, size, results)
    return [told or other for told, other in zip(found, tried, strict=True)]


def _hints(hint: Any, count: int) -> list[Any]:
    """The array annotation of each tensor of a result; None where it cannot be told."""
    arrays = [member for member in alternatives(hint) if is_array(member)]
    if len(arrays) == count == 1:
        return arrays
    parts = [*(record_fields(hint).values() or get_args(hint))]
    is_told = len(parts) == count and all(map(is_array, parts))
    return parts if is_told else [None] * count


def _names(trial: Trial, hint: Any, tensor: Tensor) -> list[str]:
    """The names of the axes of a tensor, if its annotation gives it this shape."""
    if hint is None:
        return []
    subject = trial.subject
    sizes = {**subject.fixed, **trial.case.sizes}
    try:
        axes = named_shape(hint.dim_str, "result", sizes, {"self": subject.owner})
    except Exception:  # a name that only the result has, say
        return []
    fits = tuple(size for _, size in axes) == tuple(tensor.shape)
    return [name for name, _ in axes] if fits else []


def _tried(
    trial: Trial, name: str, size: int, results: Sequence[tuple[str, Tensor]]
) -> list[Axis | None]:
    sizes, starred = trial.case.sizes, trial.case.sizes.get(name)
    found: list[Axis | None] = [None] * len(results)
    taken = [n[0] if isinstance(n, tuple) else n for n in trial.room.taken.get(name, ()) if n != ()]
    for other in dict.fromkeys((2 * size, size + 1, 3 * size, *taken)):
        value = (other, *starred[1:]) if isinstance(starred, tuple) else other
        case = dataclasses.replace(trial.case, sizes={**sizes, name: value})
        if other in (0, size) or name not in sizes or trial.room.refusal(case) is not None:
            continue
        others = trial.results(trial.fresh(), trial.subject.call(case))
        if len(others) == len(results):
            found = [
                before or _scaled(a.shape, b.shape, size, other)
                for before, (_, a), (_, b) in zip(found, results, others, strict=True)
            ]
        if all(found):
            break
    return found


def _scaled(a: Sequence[int], b: Sequence[int], size: int, other: int) -> Axis | None:
    if len(a) != len(b):
        return None
    moved = [i for i, (m, n) in enumerate(zip(a, b, strict=True)) if m != n]
    if len(moved) == 1 and a[moved[0]] * other == b[moved[0]] * size and a[moved[0]] % size == 0:
        return Axis(moved[0], size)
    return None


def untold(name: str) -> str:
    """Why a case says nothing: an axis of the arguments was not found in the result."""
    return f"which axis of the result is {name} cannot be told: give spec={{'return': ...}}"


def picked(
    results: Sequence[tuple[str, Tensor]], axes: Sequence[Axis | None], at: int, size: int
) -> list[tuple[str, Tensor]]:
    """What belongs to one position of the axis in each tensor that has it."""
    return [
        (place, axis.unfolded(tensor)[at])
        for (place, tensor), axis in zip(results, axes, strict=False)
        if axis is not None and tensor.shape[axis.position] % size == 0
    ]


def other_call(trial: Trial, name: str, *, keep: int | Sequence[int], scale: float = 1.0) -> Call:
    """The call with other values everywhere but at some positions of an axis."""
    other = swapped(trial, scale)
    kept = torch.tensor([keep] if isinstance(keep, int) else [*keep], dtype=torch.long)

    def change(leaf: Leaf) -> Tensor:
        axis = leaf.axis(name)
        if axis is None:
            return leaf.tensor
        new = other[leaf.place].clone()
        return new.index_copy(axis, kept, leaf.tensor.index_select(axis, kept))

    return trial.call.map(change)


def swapped(trial: Trial, scale: float = 1.0, *, seed: int = 1000) -> dict[str, Tensor]:
    """Other values for each tensor of the call, by place; numbers without bounds are scaled."""
    case = dataclasses.replace(
        trial.case, values="normal", layout="contiguous", seed=trial.case.seed + seed
    )
    found = {}
    for leaf in trial.subject.call(case).leaves:
        free = leaf.tensor.is_floating_point() and leaf.argument not in trial.declared.bounds
        found[leaf.place] = leaf.tensor * scale if free else leaf.tensor
    return found


def permuted(leaf: Leaf, name: str, order: Tensor) -> Tensor:
    """A tensor with the positions on an axis in another order."""
    axis = leaf.axis(name)
    return leaf.tensor if axis is None else leaf.tensor.index_select(axis, order)


def folded(leaf: Leaf, star: str) -> Tensor:
    """A tensor with all axes under a star made one."""
    count = leaf.names.count(star)
    if count == 0:
        return leaf.tensor
    return leaf.tensor.reshape(-1, *leaf.tensor.shape[count:])


def gradients(
    results: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence[Tensor], **options: Any
) -> tuple[Tensor | None, ...]:
    """The gradients of a weighted sum of results; None where one does not arrive."""
    return torch.autograd.grad(
        [*results], [*inputs], [*weights], allow_unused=True, materialize_grads=False, **options
    )


def enliven(module: Module, seed: int = 0) -> Module:
    """Draws parameters that are one number throughout: zeros hide what they will let through."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.is_floating_point() or parameter.numel() == 0:
                continue
            first = parameter.flatten()[0]
            if bool((parameter == first).all()):
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.3 * noise.to(parameter))
    return module
