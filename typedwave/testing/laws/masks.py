"""The law about masks, and masks themselves: of booleans, or the lengths of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from typedwave.contract.hints import array_hints
from typedwave.testing.calls import Call, Leaf
from typedwave.testing.drawing import is_counted
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.moves import Axis, axes_of_result, swapped
from typedwave.testing.room import Room
from typedwave.testing.trial import Difference, Trial, difference

__all__ = ["MASK_LAWS", "keep_all"]


@dataclass(frozen=True)
class Mask:
    """Which positions of a call count.

    Attributes:
        leaf: The argument that says so.
        names: The axes of ``kept``; the last is that of the positions.
        kept: True where a position counts.
        keeps: What True means in a mask of booleans; None for lengths.
    """

    leaf: Leaf
    names: tuple[str, ...]
    kept: Tensor
    keeps: bool | None

    def call(self, call: Call, kept: Tensor) -> Call:
        """A call in which other positions count; of lengths, as many as there are."""
        tensor = self.leaf.tensor
        if self.keeps is None:
            other = kept.sum(-1).to(tensor.dtype)
        else:
            other = (kept if self.keeps else ~kept).to(tensor.dtype)
        return call.put(self.leaf.place, other)

    def over(self, leaf: Leaf) -> Tensor:
        """What is kept, in the order of the axes of a tensor, and 1 for those without a mask."""
        own = [name for name in dict.fromkeys(leaf.names) if name in self.names]
        kept = self.kept
        if len(own) == len(self.names):
            kept = kept.permute([self.names.index(name) for name in own])
        sizes = iter(kept.shape)
        return kept.reshape([next(sizes) if name in self.names else 1 for name in leaf.names])


def _read(trial: Trial) -> Mask | None:
    """The declared mask of a call; None if it was left out of this one."""
    declared, call = trial.declared, trial.call
    leaf = next((leaf for leaf in call.leaves if leaf.argument == declared.mask), None)
    if leaf is None:
        return None
    tensor = leaf.tensor
    if tensor.dtype != torch.bool and not tensor.is_floating_point():
        name = trial.subject.time
        assert name is not None
        size = trial.case.sizes[name]
        assert isinstance(size, int)
        kept = torch.arange(size) < tensor[..., None]
        return Mask(leaf, (*leaf.names, name), kept, None)
    keeps = bool(declared.mask_keeps)
    is_true = tensor if tensor.dtype == torch.bool else tensor > 0.5
    return Mask(leaf, leaf.names, is_true if keeps else ~is_true, keeps)


def keep_all(trial: Trial) -> Call:
    """The call of a trial with a mask that keeps all positions, if it has a mask."""
    mask = _read(trial)
    return trial.call if mask is None else mask.call(trial.call, torch.ones_like(mask.kept))


# the law


def _has_mask(room: Room) -> Mapping[str, Any] | Untried:
    subject = room.subject
    declared = subject.declared
    if declared.mask is None:
        return _asked(room)
    arrays = [*array_hints(subject.hints.get(declared.mask))]
    axis = subject.time
    if not is_counted(subject.hints.get(declared.mask)):
        axis = next((a.dim_str.split()[-1] for a in arrays if a.dim_str), None)
    if axis not in subject.names:
        return Untried("the mask has no named axis, or no annotation")
    pool = [size for size in room.taken[axis] if size not in (0, 1)]
    # A union that allows None is asked for the mask itself, its first member.
    chosen = dict.fromkeys({f"{declared.mask}|"} & {*subject.choices}, 0)
    return {"sizes": {axis: pool}, "chosen": chosen}


def _asked(room: Room) -> Untried:
    hints = {
        argument.name: room.subject.hints[argument.name] for argument in room.subject.arguments
    }
    for name, hint in hints.items():
        if "mask" in name or any(array.dtype.__name__ == "Bool" for array in array_hints(hint)):
            return Untried(f"mask={name!r} and mask_keeps=True or False, if {name} is one", True)
        if "length" in name:
            return Untried(f"mask={name!r}, if {name} says how many positions count", True)
    return Untried("no argument looks like a mask")


def _mask(trial: Trial) -> None:
    mask = _read(trial)
    assert mask is not None
    name = mask.names[-1]
    base = trial.results(trial.fresh())
    axes = axes_of_result(trial, name, base)
    _hold_cut(trial, mask, axes)
    for scale in (1.0, 100.0):
        other = swapped(trial, scale)

        def change(leaf: Leaf, other: dict[str, Tensor] = other) -> Tensor:
            if leaf.place == mask.leaf.place or leaf.axis(name) is None:
                return leaf.tensor
            return torch.where(mask.over(leaf), leaf.tensor, other[leaf.place])

        results = trial.results(trial.fresh(), trial.call.map(change))
        found = _differ_where_kept(base, results, axes, mask.kept)
        if found is not None:
            first = mask.kept.reshape(-1, mask.kept.shape[-1])[0]
            raise trial.violation(
                f"{found} when only masked positions of {name} changed; in its first row "
                f"{trial.declared.mask} keeps {first.nonzero().flatten().tolist()}"
            )


def _hold_cut(trial: Trial, mask: Mask, axes: list[Axis | None]) -> None:
    """Where the last position alone is masked, in all rows, it may as well not be there."""
    name, size = mask.names[-1], mask.kept.shape[-1]
    if not trial.room.may_be(name, size - 1):
        return
    kept = torch.ones_like(mask.kept)
    kept[..., -1] = False
    long = mask.call(trial.call, kept)
    short = long.narrow(name, 0, size - 1)
    try:
        trial.attempt(trial.fresh(), short)
    except Exception:
        return  # it takes no other length
    whole = [
        (place, tensor if axis is None else axis.narrow(tensor, 0, size - 1))
        for (place, tensor), axis in zip(trial.results(trial.fresh(), long), axes, strict=True)
    ]
    results = trial.results(trial.fresh(), short)
    found = _differ_where_kept(whole, results, axes, kept[..., :-1], rounding=1e-4)
    if found is not None:
        raise trial.violation(
            f"{found} when the last position of {name}, masked in all, was cut off"
        )


def _differ_where_kept(
    one: list[tuple[str, Tensor]],
    other: list[tuple[str, Tensor]],
    axes: list[Axis | None],
    kept: Tensor,
    *,
    rounding: float = 1e-5,
) -> Difference | None:
    for (place, a), (_, b), axis in zip(one, other, axes, strict=False):
        if axis is not None and a.shape == b.shape:
            where = _spread(kept, a, axis)
            a, b = torch.where(where, a, 0), torch.where(where, b, 0)
        if found := difference([(place, a)], [(place, b)], rounding=rounding):
            return found
    return None


def _spread(kept: Tensor, result: Tensor, axis: Axis) -> Tensor:
    """What is kept in the shape of a result that has its last axis, and the others before it."""
    shape = [1] * result.ndim
    shape[axis.position] = result.shape[axis.position]
    for i, size in enumerate(kept.shape[:-1]):
        if i < axis.position and result.shape[i] == size:
            shape[i] = size
        elif size != 1:  # an axis that is not in the result as it is in the mask
            kept = kept.all(i, keepdim=True)
    return kept.reshape(shape).expand(result.shape)


MASK_LAWS: Final = (
    Law(
        "mask",
        "masked positions do not matter to the others, nor whether they are there",
        _mask,
        _has_mask,
    ),
)
