"""Laws about the batch: examples come alone, together, and in any order."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module, RReLU
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from typedwave.testing.calls import Call, Leaf, said
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.moves import (
    axes_of_result,
    folded,
    other_call,
    permuted,
    picked,
    untold,
)
from typedwave.testing.room import Room
from typedwave.testing.trial import Trial, difference

__all__ = ["BATCH_LAWS"]


def _has_batch(least: int) -> Any:
    def tried(room: Room) -> Mapping[str, Any] | Untried:
        name = room.subject.batch
        if room.subject.declared.loss:
            return Untried("a loss has laws of its own")
        if name is None:
            return Untried("batch='...', since no axis is called B, N or batch", asks=True)
        if not any(_first(size) >= least for size in room.taken.get(name, ())):
            return Untried(f"it takes no batch of {least} or more")
        pool = [size for size in room.taken[name] if _first(size) >= least]
        return {"sizes": {name: pool}}

    return tried


def _first(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else next(iter(size), 0)


# independence


def _independence(trial: Trial) -> None:
    for training in (False, True) if not trial.declared.couples else (False,):
        _hold_apart(trial, training)


def _hold_apart(trial: Trial, training: bool) -> None:
    def module() -> Module:
        return _quiet(trial.fresh(training=training), couples=True)

    name, call = trial.subject.batch, trial.call
    assert name is not None
    base = trial.results(module())
    if training and difference(base, trial.results(module(), seed=trial.case.seed + 1)):
        return  # other values may draw other numbers
    axes = axes_of_result(trial, name, base)
    if not any(axes):
        trial.pass_over(untold(name))
    size = _batch_of(call, name)
    for kept, scale in ((0, 1.0), (size - 1, 30.0)):
        changed = other_call(trial, name, keep=kept, scale=scale)
        results = trial.results(module(), changed)
        found = difference(
            picked(base, axes, kept, size), picked(results, axes, kept, size), rounding=1e-5
        )
        if found is not None:
            same = partial(_same_at, size=size, kept=kept)
            where = trial.parted(module, call, changed, same)
            mode = "training" if training else "eval"
            raise trial.violation(
                f"only other examples changed, and the result of example {kept} of {size} did too: "
                f"{found}, in {mode} mode",
                where=where,
                meant=trial.meant if training else "",
            )


def _quiet(module: Module, *, couples: bool = False) -> Module:
    """Puts the layers of torch that draw random numbers in eval mode, and those that couple."""
    for part in module.modules():
        if isinstance(part, _DropoutNd | RReLU) or (couples and _couples(part)):
            part.eval()
    return module


def _couples(part: Module) -> bool:
    """Whether a layer is known to normalise by statistics of the batch in training."""
    return isinstance(part, _BatchNorm) or bool(getattr(part, "couples_batch", False))


def _batch_of(call: Call, name: str) -> int:
    sizes = [
        leaf.tensor.shape[axis] for leaf in call.leaves if (axis := leaf.axis(name)) is not None
    ]
    return sizes[0] if sizes else 0


def _same_at(a: Tensor, b: Tensor, size: int, kept: int) -> bool:
    """Whether an example of something between has not changed; which axis is its is guessed."""
    if a.shape != b.shape:
        return False
    axis = next((i for i, n in enumerate(a.shape) if n == size), None)
    if axis is not None:
        a, b = a.select(axis, kept), b.select(axis, kept)
    elif a.ndim and a.shape[0] and a.shape[0] % size == 0:
        a, b = a.reshape(size, -1)[kept], b.reshape(size, -1)[kept]
    return difference([("", a)], [("", b)], rounding=1e-5) is None


# order


def _order(trial: Trial) -> None:
    name = trial.subject.batch
    assert name is not None
    hold_permuted(trial, name, "the examples")


def hold_permuted(trial: Trial, name: str, what: str) -> None:
    """Permutes an axis of all arguments and looks whether that of the result is."""
    size = _batch_of(trial.call, name)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(trial.case.seed))
    if torch.equal(order, torch.arange(size)):
        order = order.roll(1)
    base = trial.results(trial.fresh())
    axes = axes_of_result(trial, name, base)
    changed = trial.call.map(lambda leaf: permuted(leaf, name, order))
    results = trial.results(trial.fresh(), changed)
    expected = [
        (place, tensor if axis is None else axis.permuted(tensor, order))
        for (place, tensor), axis in zip(base, axes, strict=True)
    ]
    found = difference(expected, results)
    if found is not None and not trial.is_random():
        raise trial.violation(
            f"{found} where {what} were in the order {order.tolist()}: the result did not follow"
        )


# size


def _batch_size(trial: Trial) -> None:
    name, call = trial.subject.batch, trial.call
    assert name is not None
    size = _batch_of(call, name)
    base = trial.results(trial.fresh())
    axes = axes_of_result(trial, name, base)
    if not any(axes):
        trial.pass_over(untold(name))
    for start, stop in ((0, 1), (size - 1, size), (0, size - 1)):
        if not trial.room.may_be(name, stop - start):
            continue
        part = call.narrow(name, start, stop)
        try:
            trial.attempt(trial.fresh(), part)
        except Exception as error:
            raise trial.violation(
                f"a batch of {size} is taken, and one of {stop - start} refused: {said(error)}"
            ) from None
        results = trial.results(trial.fresh(), part)
        expected = [
            (place, axis.narrow(tensor, start, stop))
            for (place, tensor), axis in zip(base, axes, strict=True)
            if axis is not None
        ]
        got = [pair for pair, axis in zip(results, axes, strict=False) if axis is not None]
        found = difference(expected, got)
        if found is not None and not trial.is_random():
            some = f"example {start}" if stop - start == 1 else f"the first {stop} examples"
            raise trial.violation(f"{found} when {some} of {size} came without the others")


# leading axes


def _has_star(room: Room) -> Mapping[str, Any] | Untried:
    star = room.subject.star
    if star is None:
        return Untried("no annotation begins with *B, any number of leading axes")
    pool = [
        size
        for size in room.taken[star]
        if isinstance(size, tuple) and len(size) > 1 and 0 not in size
    ]
    return {"sizes": {star: pool}} if pool else Untried("it takes no two leading axes")


def _leading_axes(trial: Trial) -> None:
    star = trial.subject.star
    assert star is not None
    flat = trial.call.map(lambda leaf: folded(leaf, star))
    for training in (False, True):

        def module(training: bool = training) -> Module:
            return _quiet(trial.fresh(training=training))

        base = trial.results(module())
        if difference(base, trial.results(module(), seed=trial.case.seed + 1)):
            return  # random, and the numbers are drawn in another shape
        results = trial.results(module(), flat)
        expected = [
            (place, tensor.reshape(other.shape))
            for (place, tensor), (_, other) in zip(base, results, strict=False)
            if tensor.numel() == other.numel()
        ]
        if len(expected) < len(results):
            raise trial.violation("the leading axes as one gave a result of another size")
        found = difference(expected, results)
        if found is not None:
            mode = "training" if training else "eval"
            raise trial.violation(
                f"{found} when the leading axes {[*trial.case.sizes[star]]} were made one, "  # type: ignore[misc]
                f"in {mode} mode"
            )


# statistics


def _has_statistics(room: Room) -> Mapping[str, Any] | Untried:
    subject = room.subject
    if not (subject.declared.couples or any(map(_couples, subject.module.modules()))):
        return Untried("no layer is known to keep statistics of the batch")
    if subject.batch is None:
        return Untried("batch='...', since no axis is called B, N or batch", asks=True)
    name = subject.batch
    many = [(61,), (31,)] if name.startswith("*") else [61, 31]
    pool = room.accepted(name, many)
    return (
        {"sizes": {name: pool[:1]}, "least_edge": None}
        if pool
        else Untried("it takes no 31 examples")
    )


_STEPS: Final = (30, 300, 3000)


def _statistics(trial: Trial) -> None:
    call = trial.call.map(_wider)
    module = _quiet(trial.fresh(training=True))
    base = trial.results(module, call)
    if difference(base, trial.results(module, call, seed=trial.case.seed + 1)):
        return  # random in training
    name = trial.subject.batch
    assert name is not None
    batched = [i for i, axis in enumerate(axes_of_result(trial, name, base)) if axis is not None]
    base = [base[i] for i in batched]
    done, before = 2, float("inf")
    quiet = {part: part.training for part in module.modules()}
    for steps in _STEPS:
        for _ in range(steps - done):
            with torch.no_grad():
                trial.run(module, call)
        done = steps
        module.eval()
        results = trial.results(module, call)
        gap, found = _gap(base, [results[i] for i in batched])
        for part, was in quiet.items():
            part.training = was
        if gap < 0.08:
            return
        if gap > 0.95 * before:
            raise trial.violation(
                f"{found} in eval mode after {steps} steps of training on this batch alone, and "
                "more steps bring it no nearer"
            )
        before = gap


def _wider(leaf: Leaf) -> Tensor:
    """Numbers whose mean and variance are not those that statistics begin with."""
    return 3 * leaf.tensor + 1 if leaf.tensor.is_floating_point() else leaf.tensor


def _gap(base: Any, results: Any) -> tuple[float, Any]:
    """How far results are from each other, of their spread; at most 1e9."""
    gap = 0.0
    for (_, a), (_, b) in zip(base, results, strict=False):
        if a.is_floating_point() and a.numel():
            spread = max(float(a.double().pow(2).mean().sqrt()), 1e-12)
            far = float((a.double() - b.double()).pow(2).mean().sqrt()) / spread
            gap = max(gap, min(far, 1e9) if far == far else 1e9)
    return gap, difference(base, results, rounding=0.02) or "the result differed"


BATCH_LAWS: Final = (
    Law(
        "independence",
        "examples of a batch do not influence one another",
        _independence,
        _has_batch(2),
        "couples=True, if they share statistics in training",
    ),
    Law("order", "examples in another order give results in that order", _order, _has_batch(2)),
    Law(
        "batch_size",
        "an example gives alone, or in a smaller batch, what it gives in a batch",
        _batch_size,
        _has_batch(2),
    ),
    Law(
        "leading_axes",
        "several leading axes behave as one of all their positions",
        _leading_axes,
        _has_star,
    ),
    Law(
        "statistics",
        "eval mode gives about what training gives, once it was trained on the same batch",
        _statistics,
        _has_statistics,
        examples=3,
    ),
)
