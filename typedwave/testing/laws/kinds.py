"""Laws about dtypes, devices, memory and the compiler."""

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch.nn import Module

from typedwave.contract.hints import array_hints
from typedwave.testing.calls import leaves, said, seeded
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.room import Room
from typedwave.testing.trial import Trial, difference
from typedwave.testing.values import lay_out

__all__ = ["KIND_LAWS"]

_OTHER_DTYPE: Final = re.compile(
    r"same dtype|expected scalar type|expected .* to have .*dtype|dtype mismatch|"
    r"must have the same (d)?type|but (found|got) .*(Float|Double|BFloat16|Half)",
    re.IGNORECASE,
)
_OTHER_DEVICE: Final = re.compile(r"same device|on device|device type|different device", re.I)


# dtype


def _takes_any_float(room: Room) -> Mapping[str, Any] | Untried:
    arrays = [array for hint in room.subject.hints.values() for array in array_hints(hint)]
    kinds = [array.dtype[array.array_type, "..."] for array in arrays]
    probe = [torch.empty((), dtype=dtype) for dtype in (torch.float64, torch.bfloat16)]
    floating = [kind for kind in kinds if isinstance(torch.empty(()), kind)]
    if any(not isinstance(each, kind) for kind in floating for each in probe):
        return Untried("an annotation names the dtype")
    has_state = any(p.is_floating_point() for p in room.subject.module.parameters())
    if not floating and not has_state:
        return Untried("it has no floating dtype")
    return {"least_edge": None}


def _used(trial: Trial) -> Module:
    """A module that was called: what it has cached has to follow as well."""
    module = trial.fresh()
    trial.results(module)
    return module


def _dtype(trial: Trial) -> None:
    for dtype in (torch.float64, torch.bfloat16):
        try:
            result = trial.attempt(_used(trial).to(dtype), trial.call.to(dtype))
        except Exception as error:
            if _OTHER_DTYPE.search(str(error)) and "not implemented" not in str(error):
                raise trial.violation(f"as {dtype} it is refused: {said(error)}") from None
            continue
        plain = dict(trial.results(trial.fresh()))
        for place, tensor in leaves(result):
            was = plain.get(place)
            if was is None or not was.is_floating_point() or was.dtype != trial.subject.floating:
                continue
            if tensor.dtype != dtype:
                raise trial.violation(f"{place} is {tensor.dtype} where all else is {dtype}")


# device


def _has_device(room: Room) -> Mapping[str, Any] | Untried:
    module = room.subject.module
    if not room.subject.call(room.base).leaves and not module.state_dict():
        return Untried("neither it nor its arguments hold tensors")
    return {"least_edge": None}


def _device(trial: Trial) -> None:
    """On the meta device, which has no data; a tensor made without ``device=`` is on another."""
    call = trial.call.copy().map(lambda leaf: leaf.tensor.to("meta"))
    module = _used(trial).to("meta")
    try:
        with seeded(0):
            result = module(*call.args, **call.kwargs)
    except Exception as error:
        text = str(error).strip()
        if _OTHER_DEVICE.search(text) and "meta" in text and "cpu" in text.lower():
            raise trial.violation(
                f"on another device it is refused: {text.splitlines()[0]}; something was made "
                "without device=, or is a reference to what was there before"
            ) from None
        trial.pass_over(f"on the meta device it is refused: {said(error)}")
    for place, tensor in leaves(result):
        if tensor.device.type != "meta":
            raise trial.violation(f"{place} is on {tensor.device} where all else is on meta")


# inputs


def _keeps_inputs(room: Room) -> Mapping[str, Any] | Untried:
    module = room.subject.module
    is_torch = type(module).__module__.startswith("torch.nn.")
    if room.subject.declared.inplace or (is_torch and getattr(module, "inplace", False)):
        return Untried("inplace=True is declared")
    return {}


def _inputs(trial: Trial) -> None:
    for training in (False, True):
        call = trial.call.copy()
        before = [(leaf.place, leaf.tensor.clone()) for leaf in call.leaves]
        module = trial.fresh(training=training)
        try:
            with torch.no_grad(), seeded(trial.case.seed):
                module(*call.args, **call.kwargs)
        except Exception as error:
            if training:
                return
            trial.pass_over(said(error))
        after = [(leaf.place, leaf.tensor) for leaf in call.leaves]
        found = difference(before, after, rounding=0)
        if found is not None:
            mode = "training" if training else "eval"
            raise trial.violation(
                f"{found} by the call, in {mode} mode", where=_writer(trial, training)
            )


def _writer(trial: Trial, training: bool) -> str:
    """The first submodule that has written to what it was given."""
    module = trial.fresh(training=training)
    found: list[str] = []
    handles = []
    for path, part in module.named_modules():
        held: list[Any] = []

        def before(own: Any, args: Any, kwargs: Any, held: Any = held) -> None:
            held.append([(place, t, t.detach().clone()) for place, t in leaves((args, kwargs))])

        def after(own: Any, args: Any, result: Any, held: Any = held, path: str = path) -> None:
            for place, tensor, was in held.pop():
                if difference([(place, was)], [(place, tensor.detach())], rounding=0):
                    found.append(f"{path} ({type(own).__name__})" if path else "")

        handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(part.register_forward_hook(after))
    trial.results(module)
    return found[0] if found else ""


# layout


def _layout(trial: Trial) -> None:
    plain = trial.call.map(
        lambda leaf: lay_out(
            leaf.tensor, "expanded" if trial.case.layout == "expanded" else "contiguous"
        ).clone(memory_format=torch.contiguous_format)
    )
    floats = [leaf.tensor for leaf in plain.leaves if leaf.tensor.is_floating_point()]
    largest = max((float(t.abs().max()) for t in floats if t.numel()), default=0.0)
    found = difference(
        trial.results(trial.fresh(), plain), trial.results(trial.fresh()), floor=0.1 * largest
    )
    if found is not None and not trial.is_random():
        raise trial.violation(f"{found} where the same numbers lay {trial.case.layout} in memory")


# compiled


def _is_compiled(room: Room) -> Mapping[str, Any] | Untried:
    if not room.subject.declared.compiled:
        return Untried("compiled=True is not declared: it takes seconds")
    return {"least_edge": None}


def _compiled(trial: Trial) -> None:
    eager = trial.results(trial.fresh())
    compiled: Any = torch.compile(trial.fresh(), backend="aot_eager", dynamic=True)
    try:
        found = difference(eager, [*leaves(trial.attempt(compiled))])
    except Exception as error:
        raise trial.violation(f"compiled it is refused: {said(error)}") from None
    if found is not None:
        raise trial.violation(f"{found} where it was compiled")


KIND_LAWS: Final = (
    Law("dtype", "a module of another floating dtype gives that dtype", _dtype, _takes_any_float),
    Law(
        "device",
        "a module on another device computes there",
        _device,
        _has_device,
    ),
    Law(
        "inputs",
        "arguments are not written to",
        _inputs,
        _keeps_inputs,
        "inplace=True, if it writes to its arguments",
    ),
    Law(
        "layout",
        "how arguments lie in memory does not matter",
        _layout,
        lambda room: {"layouts": ("transposed", "strided", "expanded")},
    ),
    Law("compiled", "compiled, it gives what it gives else", _compiled, _is_compiled, examples=3),
)
