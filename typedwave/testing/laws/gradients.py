"""Laws about numbers: gradients that arrive, that are right, and that are finite."""

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import torch
from hypothesis.errors import UnsatisfiedAssumption
from torch import Tensor
from torch.nn import Module

from typedwave.testing.calls import Call, Leaf, leaves, said, seeded
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.moves import enliven, gradients
from typedwave.testing.room import Room
from typedwave.testing.trial import Trial

__all__ = ["GRADIENT_LAWS"]


# gradients arrive

_MORE: Final = 20
"""Calls that are tried before it is said that nothing arrives."""


def _has_parameters(room: Room) -> Mapping[str, Any] | Untried:
    if not any(p.requires_grad for p in room.subject.module.parameters()):
        return Untried("no parameter requires a gradient")
    return {"least_edge": None}


def _gradients(trial: Trial) -> dict[str, bool]:
    """Which parameters got a gradient in this case that is not zero throughout."""
    module = enliven(trial.fresh(training=True), trial.case.seed)
    result = [t for _, t in leaves(trial.run(module)) if t.requires_grad and t.numel()]
    names = {n: p for n, p in module.named_parameters() if p.requires_grad and p.numel()}
    if not result:
        return dict.fromkeys(names, False)
    grads = gradients(result, [*names.values()], _weights(result, trial.case.seed))
    return {
        name: grad is not None and bool((grad.to_dense() != 0).any())
        for name, grad in zip(names, grads, strict=True)
    }


def _all_reached(reached: list[Any], trial: Trial) -> None:
    skipped = trial.declared.unused_names
    wanted = [name for name in reached[0] if not name.startswith(skipped)]
    missing = _unreached(wanted, reached)
    for seed in range(_MORE if missing else 0):  # few numbers may have missed one by chance
        case = dataclasses.replace(trial.case, seed=1000 + seed)
        with contextlib.suppress(UnsatisfiedAssumption):
            reached.append(_gradients(dataclasses.replace(trial, case=case)))
            missing = _unreached(wanted, reached)
    if missing:
        module = trial.subject.module
        path = missing[0].rpartition(".")[0]
        raise trial.violation(
            f"no gradient but zero reached {', '.join(missing)}",
            where=f"{path} ({type(module.get_submodule(path)).__name__})" if path else "",
        )


def _unreached(names: list[str], reached: list[dict[str, bool]]) -> list[str]:
    return [name for name in names if not any(found.get(name) for found in reached)]


def _weights(results: list[Tensor], seed: int) -> list[Tensor]:
    """Weights of the sum whose gradient is taken; plain ones hide what sums to a constant."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for t in results]


# derivatives


def _is_smooth(room: Room) -> Mapping[str, Any] | Untried:
    if room.subject.declared.surrogate or room.subject.declared.random:
        return Untried("surrogate=True or random=True is declared")
    return {"least_edge": None}


def _derivatives(trial: Trial) -> None:
    """The derivative in a random direction against differences, in doubles.

    Where differences of several widths disagree, the function is not smooth there, or it computes
    in less than doubles, and nothing can be said.
    """
    module = _doubled(trial)
    call = trial.call.to(torch.float64).copy()
    places = [leaf.tensor for leaf in call.leaves if _has_gradient(trial, leaf)]
    groups = [("the arguments", places)]
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad and _plain(module, n)]
    if named:
        groups.append(("the parameters", [p for _, p in named]))
    for what, tensors in groups:
        if tensors:
            _hold_derivative(trial, module, call, what, tensors)


def _hold_derivative(
    trial: Trial, module: Module, call: Call, what: str, tensors: list[Tensor]
) -> None:
    generator = torch.Generator().manual_seed(trial.case.seed)
    ways = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for t in tensors]

    def value() -> list[Tensor]:
        with seeded(trial.case.seed):
            made = call.map(_inner)
            result = module(*made.args, **made.kwargs)
            return [tensor for _, tensor in leaves(result) if tensor.is_floating_point()]

    for tensor in tensors:
        tensor.requires_grad_()
    try:
        result = value()
    except Exception as error:
        trial.pass_over(said(error))
    if not result:
        trial.pass_over("its result holds no numbers")
    grads: tuple[Tensor | None, ...]
    made = [t for t in result if t.requires_grad]
    weights = _weights(result, trial.case.seed)
    if made:
        chosen = [w for w, t in zip(weights, result, strict=True) if t.requires_grad]
        grads = gradients(made, tensors, chosen)
    else:
        grads = (None,) * len(tensors)
    claimed = sum(
        float((g.to_dense() * w).sum()) for g, w in zip(grads, ways, strict=True) if g is not None
    )
    for tensor in tensors:
        tensor.requires_grad_(False)

    def at(step: float) -> float:
        with torch.no_grad():
            for tensor, way in zip(tensors, ways, strict=True):
                tensor.add_(way, alpha=step)
            try:
                return sum(
                    float((t.double() * w).sum()) for t, w in zip(value(), weights, strict=True)
                )
            finally:
                for tensor, way in zip(tensors, ways, strict=True):
                    tensor.add_(way, alpha=-step)

    try:
        slopes = [(at(step) - at(-step)) / (2 * step) for step in (1e-4, 1e-5, 1e-6)]
    except Exception as error:
        trial.pass_over(said(error))
    scale = max(*map(abs, slopes), abs(claimed), 1e-3)
    if max(slopes) - min(slopes) > 1e-3 * scale or not all(map(_finite, (*slopes, claimed))):
        return
    if abs(slopes[1] - claimed) > 1e-2 * scale:
        raise trial.violation(
            f"along a random direction of {what} the gradient says {claimed:.6g}, and differences "
            f"of the function {slopes[1]:.6g}, in eval mode"
        )


def _doubled(trial: Trial) -> Module:
    return enliven(trial.fresh(), trial.case.seed).double()


def _plain(module: Module, name: str) -> bool:
    """Whether the gradient of a parameter is that of the function; torch adapts some."""
    owner = module.get_submodule(name.rpartition(".")[0])
    adapts = ("padding_idx", "max_norm", "scale_grad_by_freq")
    return not any(getattr(owner, option, None) not in (None, False) for option in adapts)


def _has_gradient(trial: Trial, leaf: Leaf) -> bool:
    """Whether an argument is given a gradient; the targets of a loss may have none."""
    is_target = trial.declared.loss is not None and leaf.argument == trial.declared.target
    return leaf.tensor.is_floating_point() and not is_target


def _inner(leaf: Leaf) -> Tensor:
    """What a layer inside of a network gets, and may write to."""
    return leaf.tensor.clone() if leaf.tensor.is_floating_point() else leaf.tensor


def _finite(number: float) -> bool:
    return number == number and abs(number) != float("inf")


# finite


def _has_floats(room: Room) -> Mapping[str, Any] | Untried:
    return {"values": ("normal", "zero", "constant", "large"), "least_edge": None}


def _finite_results(trial: Trial) -> None:
    module = trial.fresh()
    call = trial.call.copy()
    inputs = [leaf for leaf in call.leaves if _has_gradient(trial, leaf)]
    for leaf in inputs:
        leaf.tensor.requires_grad_()
    given = call.map(_inner)
    with seeded(trial.case.seed):
        try:
            result = [*leaves(module(*given.args, **given.kwargs))]
        except Exception as error:
            trial.pass_over(said(error))
    floats = [(place, t) for place, t in result if t.is_floating_point()]
    if not floats:
        trial.pass_over("its result holds no numbers")
    for place, tensor in floats:
        if not tensor.isfinite().all():
            kind = "NaN" if tensor.isnan().any() else "infinity"
            raise trial.violation(
                f"{place} holds {kind} on {_kind(trial)}",
                where=_first_not_finite(trial),
            )
    made = [t for _, t in floats if t.requires_grad and t.numel()]
    if not made or trial.case.values == "large":
        return
    wanted = {f"the gradient of {leaf.place}": leaf.tensor for leaf in inputs}
    wanted |= {
        f"the gradient of {name}": p for name, p in module.named_parameters() if p.requires_grad
    }
    if not wanted:
        return
    grads = gradients(made, [*wanted.values()], _weights(made, trial.case.seed))
    for name, grad in zip(wanted, grads, strict=True):
        if grad is not None and not grad.to_dense().isfinite().all():
            raise trial.violation(f"{name} is not finite on {_kind(trial)}")


def _kind(trial: Trial) -> str:
    words = {
        "normal": "ordinary numbers",
        "zero": "zeros",
        "constant": "equal numbers",
        "large": "numbers of about 1e4",
    }
    return words.get(trial.case.values, f"{trial.case.values} numbers")


def _first_not_finite(trial: Trial) -> str:
    for step in trial.recorded(trial.fresh(), trial.call):
        bad = any(t.is_floating_point() and not t.isfinite().all() for t in step.outputs)
        good = all(not t.is_floating_point() or t.isfinite().all() for t in step.inputs)
        if bad and good:
            return f"{step.path} ({step.kind})" if step.path else ""
    return ""


GRADIENT_LAWS: Final = (
    Law(
        "gradients",
        "gradients reach every parameter",
        _gradients,
        _has_parameters,
        "unused=('name',), for parameters that need none",
        finish=_all_reached,
    ),
    Law(
        "derivatives",
        "gradients are those of the function that is computed",
        _derivatives,
        _is_smooth,
        "surrogate=True, if the gradient is meant to be another one",
    ),
    Law(
        "finite",
        "ordinary, zero, equal and large numbers give finite results",
        _finite_results,
        _has_floats,
    ),
)
