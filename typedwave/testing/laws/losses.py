"""Laws about losses."""

import warnings
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from typedwave.contract.broadcast import broadcasts
from typedwave.errors import BroadcastError
from typedwave.testing.calls import Call, Leaf, leaves
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.moves import swapped
from typedwave.testing.room import Room
from typedwave.testing.trial import Trial, difference

__all__ = ["LOSS_LAWS"]


def _is_loss(room: Room) -> Mapping[str, Any] | Untried:
    subject = room.subject
    if subject.declared.loss is None:
        return Untried("loss='mean' or 'sum' is not declared")
    if subject.batch is None:
        return Untried("batch='...', since no axis is called B, N or batch", asks=True)
    pool = [n for n in room.taken.get(subject.batch, ()) if n not in (0, 1, (), (0,), (1,))]
    return {"sizes": {subject.batch: pool}} if pool else Untried("it takes no batch of two")


def _loss(trial: Trial, call: Call) -> Tensor:
    results = trial.results(trial.fresh(), call)
    if len(results) != 1 or results[0][1].numel() != 1:
        raise trial.violation(f"the result is not one number, but {results[0][1].shape}")
    return results[0][1]


def _mean_of_examples(trial: Trial) -> None:
    name = trial.subject.batch
    assert name is not None
    sizes = {
        leaf.tensor.shape[a] for leaf in trial.call.leaves if (a := leaf.axis(name)) is not None
    }
    size = sizes.pop()
    call, counts = _with_ignored(trial, name, size)
    whole = _loss(trial, call)
    parts = [_loss(trial, call.narrow(name, i, i + 1)).reshape(()) for i in range(size)]
    weights = {
        "mean": torch.full_like(counts, 1 / size),
        "sum": torch.ones_like(counts),
        "positions": counts / counts.sum(),
    }[trial.declared.loss or "mean"]
    expected = (torch.stack(parts).double() * weights).sum().to(whole.dtype)
    found = difference([("", expected)], [("", whole.reshape(()))])
    if found is not None:
        raise trial.violation(
            f"the loss of {size} examples together is {whole.item():.6g}, and the "
            f"{_WORDS[trial.declared.loss or 'mean']} of their losses alone {expected.item():.6g}",
            call=str(call),
        )


_WORDS: Final = {"mean": "mean", "sum": "sum", "positions": "mean by positions that count"}


def _with_ignored(trial: Trial, name: str, size: int) -> tuple[Call, Tensor]:
    """The call with more positions ignored in later examples, and how many count in each."""
    leaf = next((t for t in trial.call.leaves if t.argument == trial.declared.target), None)
    axis = None if leaf is None else leaf.axis(name)
    if leaf is None or axis is None:
        return trial.call, torch.ones(size, dtype=torch.float64)
    each = leaf.tensor.movedim(axis, 0).reshape(size, leaf.tensor.numel() // size).clone()
    counts = torch.full((size,), each.shape[1], dtype=torch.float64)
    if trial.declared.ignore is None:
        return trial.call, counts
    ignore = trial.declared.ignore
    for i in range(size):
        away = i % each.shape[1]
        each[i, each.shape[1] - away :] = ignore
        counts[i] -= away
    shape = leaf.tensor.movedim(axis, 0).shape
    target = each.reshape(shape).movedim(0, axis)
    return trial.call.put(leaf.place, target), counts


def _ignores(room: Room) -> Mapping[str, Any] | Untried:
    tried = _is_loss(room)
    if isinstance(tried, Untried):
        return tried
    declared = room.subject.declared
    if declared.ignore is None:
        return Untried("ignore=... is not declared")
    if declared.target not in room.subject.hints:
        return Untried(f"no argument is called {declared.target}: say target='...'", asks=True)
    return tried


def _ignored(trial: Trial) -> None:
    target = next(leaf for leaf in trial.call.leaves if leaf.argument == trial.declared.target)
    count = target.tensor.numel()
    if count < 2:
        return
    flat = torch.zeros(count, dtype=torch.bool)
    flat[::2] = True
    away = flat.reshape(target.tensor.shape)
    ignored = target.tensor.masked_fill(away, trial.declared.ignore or 0)
    base = trial.call.put(target.place, ignored)
    others = swapped(trial, 30.0)

    def change(leaf: Leaf) -> Tensor:
        shared = [name for name in target.names if name in leaf.names]
        if leaf.place == target.place or len(shared) < len(target.names):
            return leaf.tensor
        shape = [
            target.tensor.shape[target.names.index(name)] if name in target.names else 1
            for name in leaf.names
        ]
        order = [target.names.index(name) for name in leaf.names if name in target.names]
        where = away.permute(order).reshape(shape)
        return torch.where(where, others[leaf.place], leaf.tensor)

    found = difference(
        [("the loss", _loss(trial, base))], [("the loss", _loss(trial, base.map(change)))]
    )
    if found is not None:
        raise trial.violation(
            f"{found} when only positions changed whose {target.place} is {trial.declared.ignore}"
        )


def _no_mutual_broadcast(trial: Trial) -> None:
    """No target broadcasts mutually in the call; nor is one with one more axis of 1 taken."""
    targets = {
        tuple(leaf.tensor.shape)
        for leaf in trial.call.leaves
        if leaf.argument == trial.declared.target
    }
    found: list[BroadcastError] = []
    with torch.no_grad(), broadcasts(found.append):
        trial.run(trial.fresh())
    for error in found:
        if targets & {*error.shapes}:
            raise trial.violation(error)
    plain = _loss(trial, trial.call)
    for leaf in trial.call.leaves:
        twins = [t for t in trial.call.leaves if t.names == leaf.names and t is not leaf]
        annotated = leaf.argument not in trial.declared.spec  # which refuses it where it is checked
        if leaf.argument != trial.declared.target or not twins or annotated:
            continue
        for other in _reshaped(leaf.tensor):
            call = trial.call.put(leaf.place, other)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    results = [*leaves(trial.attempt(trial.fresh(), call))]
            except Exception:
                continue  # refused, or flagged
            other_loss = difference([("the loss", plain)], results)
            if other_loss is not None:
                raise trial.violation(
                    f"{leaf.place} of shape {[*other.shape]} in place of {[*leaf.tensor.shape]} is "
                    f"taken in silence, and the loss {other_loss.text}"
                )


def _reshaped(tensor: Tensor) -> list[Tensor]:
    if tensor.ndim == 0 or tensor.numel() < 2:
        return []
    found = [tensor.unsqueeze(-1)]
    if tensor.shape[-1] == 1:
        found.append(tensor.squeeze(-1))
    return found


LOSS_LAWS: Final = (
    Law(
        "mean_of_examples",
        "a loss is the mean, or the sum, of the losses of its examples",
        _mean_of_examples,
        _is_loss,
    ),
    Law("ignored", "positions with the ignored target do not matter", _ignored, _ignores),
    Law(
        "broadcast",
        "prediction and target do not broadcast against each other",
        _no_mutual_broadcast,
        _is_loss,
    ),
)
