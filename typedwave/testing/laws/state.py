"""Laws about annotations, and about what a module remembers."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from typedwave.contract.hints import RESULT, describe, has_arrays, spell
from typedwave.errors import ContractError, StateError
from typedwave.testing.calls import Call, leaves, said
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.room import Room
from typedwave.testing.trial import Trial, difference, path_of

__all__ = ["STATE_LAWS"]


# annotation


def _has_result(room: Room) -> Mapping[str, Any] | Untried:
    if not has_arrays(room.subject.result_hint):
        return Untried("nothing says what the result is: annotate it, or give spec={'return': ...}")
    return {"least_edge": 0}


def _annotation(trial: Trial) -> None:
    subject = trial.subject
    for one, other in trial.room.tied:
        raise trial.violation(
            f"{one} and {other} are taken only if they are equal, and the annotation gives them "
            "different names: one broadcasts in the place of the other"
        )
    for training in (False, True):
        module = trial.fresh(training=training)
        mode = "training" if training else "eval"
        try:
            result = trial.attempt(module)
        except StateError:
            return  # a law of its own
        except ContractError as error:
            if any(m.subject == RESULT for m in error.mismatches):
                raise trial.violation(f"{error}".replace("\n", "\n            ")) from None
            if not training:
                trial.run(module)
            return
        except Exception:
            if not training:
                trial.run(module)
            return  # training has demands of its own, such as two values for a variance
        refused = subject.first_refused(trial.call, result)
        if refused is not None and refused.subject.startswith(RESULT):
            raise trial.violation(
                f"{refused.subject} is {describe(refused.value)}, not {spell(refused.hint)}, "
                f"in {mode} mode"
            )


# state

Held = Mapping[tuple[str, str], tuple[Any, ...]]


def _state(trial: Trial) -> None:
    module = trial.fresh(training=True)
    before = _held(module)
    for training in (True, False, True):
        module.train(training)
        mode = "training" if training else "eval"
        try:
            trial.attempt(module, inside=True)
        except StateError as error:
            raise trial.violation(
                str(error).replace("\n", "\n            "), where=error.where
            ) from None
        except Exception:
            if training:
                continue
            trial.run(module)
        after = _held(module)
        for key, was in before.items():
            now = after.get(key)
            if now is None:
                if was[0] != "attribute":
                    raise _drifted(trial, module, key, f"is gone after a call in {mode} mode")
            elif now[1:] != was[1:]:
                words = [f"{describe_state(*held[1:3])} on {held[3]}" for held in (was, now)]
                raise _drifted(
                    trial,
                    module,
                    key,
                    f"was {words[0]} and is {words[1]} after a call in {mode} mode",
                )
        for path, part in module.named_modules():
            for name, buffer in part._buffers.items():
                if buffer is not None and buffer.grad_fn is not None:
                    raise _drifted(
                        trial,
                        module,
                        (path, name),
                        f"keeps the graph of a call in {mode} mode: "
                        "memory grows with each; update it under torch.no_grad()",
                    )


def describe_state(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    """A dtype and a shape."""
    return describe(torch.empty(shape, dtype=dtype, device="meta"))


def _drifted(trial: Trial, module: Module, key: tuple[str, str], what: str) -> Exception:
    path, name = key
    return trial.violation(
        f"{f'{path}.{name}' if path else name} {what}",
        where=path_of(module, module.get_submodule(path)) if path else "",
    )


def _held(module: Module) -> Held:
    """Dtype, shape and device of all state; not of what is cached and never saved."""
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for path, part in module.named_modules():
        cached = part._non_persistent_buffers_set
        kinds = {"parameter": part._parameters, "buffer": part._buffers, "attribute": vars(part)}
        for kind, held in kinds.items():
            for name, value in held.items():
                if not isinstance(value, Tensor) or is_lazy(value):
                    continue
                grows = kind == "buffer" and value.ndim > 1  # from no position to some
                if name not in cached and (value.numel() > 0 or grows):
                    found[path, name] = (kind, value.dtype, tuple(value.shape), value.device)
    return found


# purity


def _is_pure(room: Room) -> Mapping[str, Any] | Untried:
    if room.subject.declared.random:
        return Untried("random=True is declared")
    return {}


def _purity(trial: Trial) -> None:
    module = trial.fresh()
    before = _values(module)
    first = trial.results(module, seed=1)
    if not trial.declared.stateful:
        after = _values(module)
        for key, was in before.items():
            if key in after and (
                found := difference([(key, was)], [(key, after[key])], rounding=0)
            ):
                path = key.rpartition(".")[0]
                part = module.get_submodule(path)
                raise trial.violation(
                    f"{found} by a call in eval mode", where=path_of(module, part) if path else ""
                )
        for key in after:
            if key not in before:
                raise trial.violation(f"{key} came to be by a call in eval mode")
        second = trial.results(module, seed=2)
    else:
        second = trial.results(trial.fresh(), seed=2)
    found = difference(first, second, rounding=1e-6)
    if found is not None:
        where = trial.parted(
            trial.fresh,
            trial.call,
            trial.call,
            lambda a, b: difference([("", a)], [("", b)], rounding=1e-6) is None,
            seeds=(1, 2),
        )
        raise trial.violation(f"{found} in a second equal call, in eval mode", where=where)


def _values(module: Module) -> dict[str, Tensor]:
    """The values of parameters and buffers; not of what is cached and never saved."""
    found = {}
    for path, part in module.named_modules():
        held = {**part._parameters, **part._buffers}
        for name, tensor in held.items():
            cached = name in part._non_persistent_buffers_set
            if tensor is not None and not cached and not is_lazy(tensor):
                found[f"{path}.{name}" if path else name] = tensor.detach().clone()
    return found


# history


def _has_history(room: Room) -> Mapping[str, Any] | Untried:
    if room.subject.declared.stateful or room.subject.declared.random:
        return Untried("stateful=True or random=True is declared")
    return {}


def _history(trial: Trial) -> None:
    """Other calls first: other numbers, and every other size that is taken."""
    fresh = trial.results(trial.fresh())
    used = trial.fresh()
    earlier = [trial.case, *trial.room.neighbours(trial.case)]
    for other in earlier[1:]:
        with torch.no_grad():
            try:
                trial.attempt(used, trial.subject.call(other))
            except Exception:
                continue  # what a size meets after another one is what is asked next
        try:
            with torch.no_grad():  # as before: torch has faster ways without gradients
                results = trial.attempt(used)
        except Exception as error:
            raise trial.violation(
                f"after a call with {trial.subject.call(other)} it is refused: {said(error)}"
            ) from None
        found = difference(fresh, [*leaves(results)], rounding=1e-6)
        if found is not None:
            raise trial.violation(
                f"{found} after a call with {trial.subject.call(other)}, in eval mode",
                where=_parted_by(trial, trial.subject.call(other)),
            )


def _parted_by(trial: Trial, earlier: Call) -> str:
    """The first submodule that an earlier call has changed the result of."""
    runs = iter((None, earlier))

    def module() -> Module:
        made, before = trial.fresh(), next(runs)
        if before is not None:
            trial.results(made, before)
        return made

    def same(a: Tensor, b: Tensor) -> bool:
        return difference([("", a)], [("", b)], rounding=1e-6) is None

    return trial.parted(module, trial.call, trial.call, same)


STATE_LAWS: Final = (
    Law("annotation", "the result is what its annotation says", _annotation, _has_result),
    Law("state", "parameters, buffers and tensors keep their shapes, dtypes and devices", _state),
    Law(
        "purity",
        "in eval mode, a call gives the same again and leaves the state alone",
        _purity,
        _is_pure,
        "random=True, if it draws; stateful=True, if it remembers",
    ),
    Law(
        "history",
        "in eval mode, earlier calls do not change a result",
        _history,
        _has_history,
        "stateful=True, if it remembers",
    ),
)
