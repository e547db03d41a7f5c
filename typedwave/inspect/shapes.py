"""A shape in the place of an example: the model is called on tensors without data."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode  # of use to others too, says its module
from torch.nn import Module

from typedwave.contract.annotations import function_hints
from typedwave.contract.hints import alternatives, is_array

__all__ = ["is_shape", "without_data"]


def is_shape(value: Any) -> bool:
    """Whether an example is a shape: a tuple or list of whole numbers, at least one."""
    numbers = isinstance(value, tuple | list) and len(value) > 0
    return numbers and all(type(size) is int for size in value)


@contextmanager
def without_data(
    model: Module, example: Sequence[Any], dtype: torch.dtype | None
) -> Iterator[tuple[Any, ...]]:
    """Lends a model parameters and buffers without data, and gives its inputs without data.

    Afterwards each module has the attributes that it had, whatever the call assigned.

    Args:
        model: The model.
        example: Its inputs; shapes among them become tensors.
        dtype: Of those; by default what the annotation of the model, or of its first layer, takes.
    """
    before = {module: _attributes(module) for module in model.modules()}
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        for module in before:
            places: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for held in places:
                for name, tensor in held.items():
                    if type(tensor) in (Tensor, torch.nn.Parameter):
                        held[name] = mode.from_tensor(tensor)
        try:
            yield tuple(
                torch.empty(value, dtype=dtype or _dtype(model, i), device=_device(model))
                if is_shape(value)
                else value
                for i, value in enumerate(example)
            )
        finally:
            for module, (names, parameters, buffers) in before.items():
                vars(module).clear()
                vars(module).update(names)
                module._parameters.update(parameters)
                module._buffers.update(buffers)


def _attributes(module: Module) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    return dict(vars(module)), dict(module._parameters), dict(module._buffers)


def _device(model: Module) -> torch.device:
    tensors = (*model.parameters(), *model.buffers())
    return tensors[0].device if tensors else torch.device("cpu")


def _dtype(model: Module, position: int) -> torch.dtype:
    """A dtype that the model takes at a position, as far as its annotations tell."""
    floating = [p.dtype for p in model.parameters() if p.is_floating_point()]
    candidates = [*floating[:1], torch.get_default_dtype(), torch.int64, torch.int32, torch.bool]
    hints = _hints(model)
    parameters = list(inspect.signature(model.forward).parameters)
    hint = hints.get(parameters[position]) if position < len(parameters) else None
    arrays = [array for array in alternatives(hint) if is_array(array)]
    for dtype in candidates:
        tensor = torch.empty((), dtype=dtype, device="meta")
        if any(isinstance(tensor, array.dtype[array.array_type, "..."]) for array in arrays):
            first = next(model.children(), None) if isinstance(model, torch.nn.Sequential) else None
            return dtype if first is None else _dtype(first, position)
    if isinstance(model, torch.nn.Embedding | torch.nn.EmbeddingBag):
        return torch.int64
    first = next(model.children(), None)
    return candidates[0] if first is None else _dtype(first, position)


def _hints(model: Module) -> dict[str, Any]:
    forward = inspect.unwrap(model.forward)
    try:
        return function_hints(getattr(forward, "__func__", forward))
    except Exception:  # built in, scripted, or with names that cannot be resolved
        return {}
