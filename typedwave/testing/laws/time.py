"""Laws about positions: what a result may depend on, masks, and the order of positions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from hypothesis import reject
from torch import Tensor
from torch.nn import Module

from typedwave.contract.hints import is_array
from typedwave.testing.calls import Call, Leaf, leaves, seeded
from typedwave.testing.laws.batch import hold_permuted
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.moves import (
    Axis,
    axes_of_result,
    enliven,
    gradients,
    other_call,
    swapped,
    unmasked,
)
from typedwave.testing.room import Room
from typedwave.testing.trial import Trial, difference

__all__ = ["TIME_LAWS"]


# receptive field


def _has_reach(room: Room) -> Mapping[str, Any] | Untried:
    declared = room.subject.declared
    if not declared.causal and declared.receptive_field is None:
        if declared.time in room.subject.names:
            return Untried("causal=True or receptive_field=..., if it is meant", asks=True)
        return Untried(
            f"no axis is called {declared.time}, which time='...' may change", asks=False
        )
    before, after = declared.reach
    least = (before or 0) + (after or 0) + 2
    wanted = [*dict.fromkeys([*range(least, least + 4), least + 6, 2 * least])]
    usable = [*room.accepted(declared.time, wanted)]
    by = room.subject.divisors.get(declared.time, 1)
    usable = usable or [*room.accepted(declared.time, [by * n for n in range(1, 17)])]
    usable = usable or [size for size in room.taken.get(declared.time, ()) if size != 0]
    if not usable:
        return Untried(f"it takes no {least} positions")
    return {"sizes": {declared.time: usable}, "least": {declared.time: 1}}


def _receptive_field(trial: Trial) -> None:
    """Which positions of the result depend on which of the arguments, exactly.

    A dependence shows as other bits in the result when one position was changed, or as a
    derivative that is not zero: the first misses nothing that is computed without a gradient, the
    second nothing that the numbers happened to hide. Doubles keep what a sum in another order
    changes apart from what truly depends.
    """
    name = trial.declared.time
    trial = dataclasses.replace(trial)
    trial.call = unmasked(trial)  # what a masked position gives, nobody reads
    exact = _double(trial)
    base = trial.results(exact(), _as_double(trial.call, exact))
    axes = axes_of_result(trial, name, base)
    size = trial.case.sizes[name]
    assert isinstance(size, int)
    depends = torch.zeros(size, size, dtype=torch.bool)  # of the result, of the arguments
    places = [i for i, axis in enumerate(axes) if axis is not None]
    if not places or not all(base[i][1].isfinite().any() for i in places):
        reject()  # no axis, or no number, to say it of
    for position in range(size):
        others = [other for other in range(size) if other != position]
        for scale in (1.0, 30.0):
            changed = _as_double(other_call(trial, name, keep=others, scale=scale), exact)
            results = trial.results(exact(), changed)
            for i in places:
                depends[:, position] |= _moved(base[i][1], results[i][1], axes[i], size)
    depends |= _derived(trial, exact, name, axes, size)
    _judge(trial, depends)
    _hold_cut(trial, exact, axes, size)


def _hold_cut(trial: Trial, made: Callable[[], Module], axes: list[Axis | None], size: int) -> None:
    """Without the last position, those that may not depend on it give the same."""
    name, after = trial.declared.time, trial.declared.reach[1]
    until = size - 1 - (after or 0)
    if after is None or until < 1:
        return

    def cut(leaf: Leaf) -> Tensor:
        axis = leaf.axis(name)
        return leaf.tensor if axis is None else leaf.tensor.narrow(axis, 0, size - 1)

    call = _as_double(trial.call, made)
    try:
        trial.attempt(made(), call.map(cut))
    except Exception:
        return  # it takes no other length
    results = [trial.results(made(), call), trial.results(made(), call.map(cut))]
    short, long = (
        [
            (place, axis.narrow(tensor, 0, until))
            for (place, tensor), axis in zip(result, lengths, strict=False)
            if axis is not None
        ]
        for result, lengths in (
            (results[1], [axis and Axis(axis.position, size - 1) for axis in axes]),
            (results[0], axes),
        )
    )
    found = difference(long, short)
    if found is not None:
        raise trial.violation(f"{found} when the last position of {name} was cut off")


def _double(trial: Trial) -> Callable[[], Module]:
    """Makes copies in double precision, if the module takes them, of which no weight is idle."""

    def doubled() -> Module:
        return enliven(trial.fresh()).double()

    try:
        trial.attempt(doubled(), trial.call.map(lambda leaf: _widened(leaf.tensor)))
    except Exception:
        return lambda: enliven(trial.fresh())
    doubled.is_double = True  # type: ignore[attr-defined]
    return doubled


def _as_double(call: Call, made: Callable[[], Module]) -> Call:
    return call.map(lambda leaf: _widened(leaf.tensor)) if hasattr(made, "is_double") else call


def _widened(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _moved(one: Tensor, other: Tensor, axis: Axis | None, size: int) -> Tensor:
    """At which positions of a result something has changed by more than doubles round."""
    assert axis is not None
    if one.shape != other.shape:
        return torch.ones(size, dtype=torch.bool)
    a, b = (axis.unfolded(tensor).flatten(1) for tensor in (one, other))
    if not a.is_floating_point():
        return (a != b).any(1)
    gap = torch.where(a.isnan() & b.isnan(), 0.0, (a - b).abs())
    finite = a[a.isfinite()].abs()
    largest = finite.max().item() if finite.numel() else 0.0
    rounding = 1e-12 if a.dtype == torch.float64 else 1e-6
    return ~(gap <= rounding * largest).all(1)


def _derived(
    trial: Trial,
    made: Callable[[], Module],
    name: str,
    axes: list[Axis | None],
    size: int,
) -> Tensor:
    """Where the Jacobian is not zero, by position of the result and of the arguments."""
    depends = torch.zeros(size, size, dtype=torch.bool)
    call = _as_double(trial.call, made).copy()
    inputs = [
        leaf.tensor.requires_grad_()
        for leaf in call.leaves
        if leaf.tensor.is_floating_point() and leaf.axis(name) is not None
    ]
    where = [leaf.axis(name) for leaf in call.leaves if leaf.tensor.requires_grad]
    if not inputs:
        return depends
    with seeded(trial.case.seed):
        result = [tensor for _, tensor in leaves(made()(*call.args, **call.kwargs))]
    generator = torch.Generator().manual_seed(trial.case.seed)
    for tensor, axis in zip(result, axes, strict=False):
        if axis is None or not tensor.requires_grad:
            continue
        for position, part in enumerate(axis.unfolded(tensor)):
            weights = torch.randn(part.shape, generator=generator).to(part)
            grads = gradients([part], inputs, [weights], retain_graph=True)
            for grad, at in zip(grads, where, strict=True):
                if grad is not None:
                    each = grad.nan_to_num(nan=0.0).movedim(at, 0).flatten(1).abs()  # type: ignore[arg-type]
                    largest = each.max().item() if each.numel() else 0.0
                    rounding = 1e-12 if each.dtype == torch.float64 else 1e-6
                    depends[position] |= (each > rounding * largest).any(1)
    return depends


def _judge(trial: Trial, depends: Tensor) -> None:
    before, after = trial.declared.reach
    size = depends.shape[0]
    pairs = [(int(t), int(s)) for t, s in depends.nonzero()]
    if not pairs:
        raise trial.violation("nothing in the result depends on the arguments")
    name = trial.declared.time
    for t, s in pairs:
        if after is not None and s > t + after:
            raise trial.violation(
                f"{name} = {t} of the result depends on {name} = {s} of the arguments, "
                f"{s - t} after it, where at most {after} may be"
            )
        if before is not None and s < t - before:
            raise trial.violation(
                f"{name} = {t} of the result depends on {name} = {s} of the arguments, "
                f"{t - s} before it, where at most {before} may be"
            )
    reached = [t - s for t, s in pairs]
    if before is not None and size > before and max(reached) < before:
        raise trial.violation(
            f"the result depends on at most {max(reached)} positions before its own, "
            f"where {before} are declared"
        )
    if after and size > after and min(reached) > -after:
        raise trial.violation(
            f"the result depends on at most {max(-min(reached), 0)} positions after "
            f"its own, where {after} are declared"
        )


# permutation


def _is_equivariant(room: Room) -> Mapping[str, Any] | Untried:
    axes = room.subject.declared.equivariant_axes
    if not axes:
        return Untried("equivariant=... is not declared")
    pools = {
        name: [n for n in room.taken[name] if n != 0 and n != 1]
        for name in axes
        if name in room.taken
    }
    if not all(pools.values()):
        return Untried("it takes no two positions")
    return {"sizes": pools}


def _permutation(trial: Trial) -> None:
    for name in trial.declared.equivariant_axes:
        hold_permuted(trial, name, f"the positions of {name}")


# masks


def _has_mask(room: Room) -> Mapping[str, Any] | Untried:
    declared = room.subject.declared
    if declared.mask is not None:
        names = room.subject.names
        shapes = [shape for place, shape in room.subject.shapes if place == declared.mask]
        axis = shapes[0].split()[-1] if shapes and shapes[0] else ""
        if axis not in names:
            return Untried("the mask has no named axis, or no annotation")
        pool = [n for n in room.taken[axis] if n not in (0, 1)]
        choices = {place: 0 for place in room.subject.choices if place == f"{declared.mask}|"}
        return {"sizes": {axis: pool}, "chosen": choices}
    masks = [
        argument.name
        for argument in room.subject.arguments
        if "mask" in argument.name or _is_bool(room.subject.hints[argument.name])
    ]
    if masks:
        return Untried(
            f"mask={masks[0]!r} and mask_keeps=True or False, if {masks[0]} is one", asks=True
        )
    return Untried("no argument looks like a mask")


def _is_bool(hint: Any) -> bool:
    return is_array(hint) and hint.dtype.__name__ == "Bool"


def _mask(trial: Trial) -> None:
    declared = trial.declared
    mask = next(leaf for leaf in trial.call.leaves if leaf.argument == declared.mask)
    name = mask.names[-1]
    kept = mask.tensor if mask.tensor.dtype == torch.bool else mask.tensor > 0.5
    kept = kept if declared.mask_keeps else ~kept
    base = trial.results(trial.fresh())
    axes = axes_of_result(trial, name, base)
    _hold_shortened(trial, mask, name, axes)
    for scale in (1.0, 100.0):
        other = swapped(trial, scale)

        def change(leaf: Leaf, other: dict[str, Tensor] = other) -> Tensor:
            if leaf.argument == declared.mask or leaf.axis(name) is None:
                return leaf.tensor
            where = _aligned(kept, mask.names, leaf)
            return torch.where(where, leaf.tensor, other[leaf.place])

        results = trial.results(trial.fresh(), trial.call.map(change))
        for (place, a), (_, b), axis in zip(base, results, axes, strict=False):
            if axis is not None and a.shape == b.shape:
                where = _spread(kept, mask.names, a, axis)
                a, b = torch.where(where, a, 0), torch.where(where, b, 0)
            found = difference([(place, a)], [(place, b)], rounding=1e-5)
            if found is not None:
                raise trial.violation(
                    f"{found} when only masked positions of {name} changed; {declared.mask} keeps "
                    f"{[*map(int, kept.reshape(-1, kept.shape[-1])[0].nonzero().flatten())]} "
                    "in its first row"
                )


def _hold_shortened(trial: Trial, mask: Leaf, name: str, axes: list[Axis | None]) -> None:
    """Where the last position is masked in all rows, it may as well not be there."""
    size = mask.tensor.shape[-1]
    padding = mask.tensor.clone()
    padding[..., -1] = not trial.declared.mask_keeps
    padding[..., 0] = bool(trial.declared.mask_keeps)
    long = trial.call.map(lambda leaf: padding if leaf.place == mask.place else leaf.tensor)

    def shorten(leaf: Leaf) -> Tensor:
        axis = leaf.axis(name)
        return leaf.tensor if axis is None else leaf.tensor.narrow(axis, 0, size - 1)

    short = long.map(shorten)
    try:
        trial.attempt(trial.fresh(), short)
    except Exception:
        return  # it takes no other length
    kept = (padding if trial.declared.mask_keeps else ~padding)[..., :-1]
    whole, cut = trial.results(trial.fresh(), long), trial.results(trial.fresh(), short)
    found = None
    for (place, a), (_, b), axis in zip(whole, cut, axes, strict=False):
        if axis is not None:
            a = axis.narrow(a, 0, size - 1)
            if a.shape == b.shape:
                where = _spread(kept, mask.names, a, axis)
                a, b = torch.where(where, a, 0), torch.where(where, b, 0)
        found = found or difference([(place, a)], [(place, b)])
    if found is not None:
        raise trial.violation(
            f"{found} when the last position of {name}, masked in all, was cut off"
        )


def _aligned(kept: Tensor, names: tuple[str, ...], leaf: Leaf) -> Tensor:
    """The mask with the axes that a tensor has, in its order, and 1 for those that it lacks."""
    own = [axis for axis in leaf.names if axis in names]
    if sorted(own) == sorted(names):
        kept = (
            kept.permute([names.index(axis) for axis in dict.fromkeys(own)])
            if len({*names}) == len(names)
            else kept
        )
    sizes = iter(kept.shape)
    return kept.reshape([next(sizes) if axis in names else 1 for axis in leaf.names])


def _spread(kept: Tensor, names: tuple[str, ...], result: Tensor, axis: Axis) -> Tensor:
    """The mask in the shape of a result that has its last axis, and the others before it."""
    shape = [1] * result.ndim
    shape[axis.position] = result.shape[axis.position]
    for i, size in enumerate(kept.shape[:-1]):
        if i < axis.position and result.shape[i] == size:
            shape[i] = size
        elif size != 1:  # its other axes are not in the result as they are in the mask
            kept = kept.all(i, keepdim=True)
    return kept.reshape(shape).expand(result.shape)


TIME_LAWS: Final = (
    Law(
        "receptive_field",
        "a position depends on the declared positions, and on no other",
        _receptive_field,
        _has_reach,
    ),
    Law(
        "permutation",
        "positions in another order give results in that order, or the same result",
        _permutation,
        _is_equivariant,
    ),
    Law("mask", "masked positions do not matter to the others", _mask, _has_mask),
)
