"""Laws about annotations, and about what a module remembers."""

import io
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from typedwave.contract.hints import RESULT, describe, has_arrays, spell
from typedwave.errors import ContractError, StateError
from typedwave.testing.calls import Call, leaves, said
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.moves import gradients, swapped
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
                if name not in cached and value.numel() > 0:
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
)
