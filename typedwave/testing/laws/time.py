"""Laws about positions: what a result may depend on, and the order of positions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module

from typedwave.testing.calls import Call, leaves, seeded
from typedwave.testing.laws.batch import hold_permuted
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.masks import keep_all
from typedwave.testing.laws.moves import (
    Axis,
    axes_of_result,
    enliven,
    gradients,
    other_call,
    untold,
)
from typedwave.testing.room import Room
from typedwave.testing.trial import Trial, difference

__all__ = ["TIME_LAWS"]


# receptive field


def _has_reach(room: Room) -> Mapping[str, Any] | Untried:
    declared, name = room.subject.declared, room.subject.time
    if not declared.causal and declared.receptive_field is None:
        if name is not None:
            return Untried("causal=True or receptive_field=..., if it is meant", asks=True)
        return Untried("no axis is called T or time: time='...' says which is")
    assert name is not None
    before, after = declared.reach
    least = (before or 0) + (after or 0) + 2
    by = room.subject.divisors.get(name, 1)
    wanted = [*dict.fromkeys([*range(least, least + 4), least + 6, 2 * least])]
    usable = room.accepted(name, wanted)
    usable = usable or room.accepted(name, [by * n for n in range(1, 17)])
    usable = usable or [size for size in room.taken[name] if size != 0]
    if not usable:
        return Untried(f"it takes no {least} positions")
    return {"sizes": {name: usable}, "least": {name: 1}}


def _receptive_field(trial: Trial) -> None:
    """Which positions of the result depend on which of the arguments, exactly.

    A dependence shows as other bits in the result when one position was changed, or as a
    derivative that is not zero: the first misses nothing that is computed without a gradient, the
    second nothing that the numbers happened to hide. Doubles keep what a sum in another order
    changes apart from what truly depends.
    """
    name = trial.subject.time
    assert name is not None
    trial = dataclasses.replace(trial)
    trial.call = keep_all(trial)  # what a masked position gives, nobody reads
    exact = _double(trial)
    base = trial.results(exact(), _as_double(trial.call, exact))
    axes = axes_of_result(trial, name, base)
    size = trial.case.sizes[name]
    assert isinstance(size, int)
    depends = torch.zeros(size, size, dtype=torch.bool)  # of the result, of the arguments
    places = [i for i, axis in enumerate(axes) if axis is not None and base[i][1].numel()]
    if not places:
        trial.pass_over(untold(name))
    if not all(base[i][1].isfinite().any() for i in places):
        trial.pass_over("the result holds no finite number")
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
    name, after = trial.subject.time, trial.declared.reach[1]
    assert name is not None
    until = size - 1 - (after or 0)
    if after is None or until < 1 or trial.declared.random:
        return
    if not trial.room.may_be(name, size - 1):
        return
    call = _as_double(trial.call, made)
    cut = call.narrow(name, 0, size - 1)
    try:
        trial.attempt(made(), cut)
    except Exception:
        return  # it takes no other length
    results = [trial.results(made(), call), trial.results(made(), cut)]
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
        trial.attempt(doubled(), trial.call.to(torch.float64))
    except Exception:
        return lambda: enliven(trial.fresh())
    doubled.is_double = True  # type: ignore[attr-defined]
    return doubled


def _as_double(call: Call, made: Callable[[], Module]) -> Call:
    return call.to(torch.float64) if hasattr(made, "is_double") else call


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
    name = trial.subject.time
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
)
