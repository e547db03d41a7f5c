"""Laws about what is saved, known and copied."""

import io
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from typedwave.testing.calls import leaves
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.moves import gradients, swapped
from typedwave.testing.room import Room
from typedwave.testing.trial import Trial, difference, path_of

__all__ = ["SAVING_LAWS"]


# state dict


def _state_dict(trial: Trial) -> None:
    trained = trial.fresh(training=True)
    for seed in (0, 1):
        _step(trial, trained, seed)
    other = trial.subject.another(seed=1)
    if other is None:
        other = trial.fresh()
        _disturb(other)
    else:
        trial.run(other.eval())  # builds what is lazy
    buffer = io.BytesIO()
    torch.save(trained.state_dict(), buffer)
    buffer.seek(0)
    try:
        other.load_state_dict(torch.load(buffer))
    except Exception as error:
        raise trial.violation(
            f"the state dict of a trained module is not taken by a fresh one: {_one_line(error)}"
        ) from None
    seed = trial.case.seed
    first = trial.results(trained.eval(), seed=seed)
    found = difference(first, trial.results(other.eval(), seed=seed), rounding=1e-6)
    if found is not None:
        raise trial.violation(
            f"{found} in a fresh module that has loaded the state dict of a trained one"
        )


def _one_line(error: Exception) -> str:
    return textwrap.shorten(str(error), 200, placeholder=" ...")


def _step(trial: Trial, module: Module, seed: int) -> None:
    """A step of training, as far as the module takes one: statistics and parameters move."""
    others = swapped(trial, seed=seed + 7)
    call = trial.call.map(lambda leaf: others[leaf.place])
    try:
        result = [t for _, t in leaves(trial.attempt(module, call)) if t.requires_grad]
        loss = sum((t.float().pow(2).mean() for t in result), torch.zeros(()))
        trainable = [p for p in module.parameters() if p.requires_grad]
        grads = gradients([loss], trainable, [torch.ones(())]) if result else ()
        with torch.no_grad():
            for parameter, grad in zip(trainable, grads, strict=False):
                if grad is not None and grad.isfinite().all():
                    parameter.sub_(0.1 * grad / (grad.abs().max() + 1e-6))
    except Exception:
        return


def _disturb(module: Module) -> None:
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                tensor.add_(torch.ones_like(tensor))


# registered


def _registered(trial: Trial) -> None:
    module = trial.fresh()
    known = {*module.modules()}
    parameters = {id(p) for p in module.parameters()}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name.startswith("_"):
                continue
            for step, held in _reached(value, name, 3):
                where = f"{path}.{step}" if path else step
                if isinstance(held, Module) and held not in known:
                    if any(True for _ in (*held.parameters(), *held.buffers())):
                        raise trial.violation(
                            f"{where} is a {type(held).__name__} that the module does not know of: "
                            "neither its state dict nor .to() nor an optimiser reaches it; put it "
                            "in a ModuleList or ModuleDict",
                            where=path_of(module, part) if path else "",
                        )
                elif (
                    isinstance(held, Tensor)
                    and held.requires_grad
                    and held.is_leaf
                    and id(held) not in parameters
                ):
                    raise trial.violation(
                        f"{where} requires a gradient, but is no parameter: neither the state dict "
                        "nor .to() nor an optimiser reaches it; make it a Parameter",
                        where=path_of(module, part) if path else "",
                    )


def _reached(value: Any, place: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Module | Tensor):
        yield place, value
    elif depth and isinstance(value, Mapping):
        for key, part in value.items():
            yield from _reached(part, f"{place}[{key!r}]", depth - 1)
    elif depth and isinstance(value, list | tuple | set):
        for i, part in enumerate(value):
            yield from _reached(part, f"{place}[{i}]", depth - 1)


# copied


def _can_be_copied(room: Room) -> Mapping[str, Any] | Untried:
    if not room.subject.makes:
        return Untried("a module was given, and not what makes one")
    return {}


def _copied(trial: Trial) -> None:
    """Changes the original, which is our own, under a copy of it."""
    original, untouched, copied = trial.subject.module, trial.fresh(), trial.fresh()
    before = trial.results(untouched)
    held = {name: tensor.detach().clone() for name, tensor in _floats(original)}
    generator = torch.Generator().manual_seed(trial.case.seed)
    try:
        with torch.no_grad():
            for _, tensor in _floats(original):
                tensor.add_(torch.randn(tensor.shape, generator=generator).to(tensor))
        after = trial.results(copied)
    finally:
        with torch.no_grad():
            for name, tensor in _floats(original):
                tensor.copy_(held[name])
    found = difference(before, after)
    if found is not None and not trial.is_random():
        raise trial.violation(
            f"{found} in a deep copy, when only the parameters of the original changed: something "
            "in the copy, such as a lambda, holds on to the original"
        )


def _floats(module: Module) -> list[tuple[str, Tensor]]:
    state = module.state_dict(keep_vars=True)
    return [
        (name, tensor)
        for name, tensor in state.items()
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not is_lazy(tensor)
    ]


SAVING_LAWS: Final = (
    Law(
        "state_dict",
        "a fresh module with the state dict of a trained one gives what that one gives",
        _state_dict,
        examples=8,
    ),
    Law(
        "registered",
        "all parameters and submodules are known to the module",
        _registered,
        examples=1,
    ),
    Law(
        "copied",
        "a deep copy computes with its own parameters",
        _copied,
        _can_be_copied,
        examples=2,
    ),
)
