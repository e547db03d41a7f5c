"""A shape in the place of an example: the model is called on tensors without data."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from beartype.door import is_bearable
from torch import Tensor
from torch._subclasses.fake_tensor import (  # private by its path, but documented
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    unset_fake_temporarily,
)
from torch.nn import Embedding, EmbeddingBag, Module, Parameter

from typedwave.contract.axes import read_axes
from typedwave.contract.hints import array_hints, is_array, spell
from typedwave.inspect.kept import LAZY, state_kept, unbuilt
from typedwave.inspect.names import Forward

__all__ = ["shapes_at", "without_data"]

_LOG: Final = logging.getLogger("torch._subclasses.fake_tensor")
_DTYPES: Final = (
    torch.float32,
    torch.int64,
    torch.int32,
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.complex64,
    torch.complex128,
)


def shapes_at(model: Module, example: Sequence[Any]) -> set[int]:
    """The positions of an example where there are shapes, inside of a list perhaps.

    What the model's annotation takes as it is, a ``tuple[int, int]`` say, is none.
    """
    forward = Forward(model)
    hints = [forward.hint_at(i) for i in range(len(example))]
    return {
        i
        for i, (value, hint) in enumerate(zip(example, hints, strict=True))
        if _holds_shape(value) and (hint in (None, Any, object) or not is_bearable(value, hint))
    }


@contextmanager
def without_data(
    model: Module, example: Sequence[Any], shapes: set[int], dtype: torch.dtype | None
) -> Iterator[tuple[Any, ...]]:
    """Lends a model parameters and buffers without data, and gives its inputs without data.

    They tell the device on which the model is, but there is no memory behind them.

    Args:
        model: The model.
        example: Its positional arguments.
        shapes: The positions of those in which shapes become tensors.
        dtype: Of these tensors; by default what the model, or its first layer, takes.
    """
    held = (*model.parameters(), *model.buffers())
    device = held[0].device if held else torch.get_default_device()
    floating = next((p.dtype for p in held if p.is_floating_point()), torch.get_default_dtype())

    def tensor(position: int, shape: Any) -> Tensor:
        if is_array(shape):
            kinds = _fitting([shape], dtype or floating) or [floating]
            return torch.empty(_numbers(shape), dtype=kinds[0], device=device)
        kind = dtype or _taken(model, position, floating)
        return torch.empty(shape, dtype=kind, device=device)

    mode = FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=False)
    with _quiet(), state_kept(model, partial(_lend, mode)), mode:
        for module in model.modules():
            if infer := vars(module).get("_initialize_hook"):  # of a lazy module
                module._forward_pre_hooks[infer.id] = partial(_build, device)
        yield tuple(
            _shapes_made(value, partial(tensor, i)) if i in shapes else value
            for i, value in enumerate(example)
        )


def _is_shape(value: Any) -> bool:
    if isinstance(value, torch.Size) or is_array(value):
        return True
    numbers = type(value) in (list, tuple) and len(value) > 0
    return numbers and all(type(size) is int for size in value)


def _holds_shape(value: Any) -> bool:
    inside = value.values() if type(value) is dict else value
    return _is_shape(value) or (
        type(value) in (list, tuple, dict) and any(map(_holds_shape, inside))
    )


def _shapes_made(value: Any, make: Callable[[Any], Tensor]) -> Any:
    if _is_shape(value):
        return make(value)
    if type(value) is dict:
        return {key: _shapes_made(part, make) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_shapes_made(part, make) for part in value)
    return value


def _numbers(shape: Any) -> list[int]:
    """The sizes in an annotation.

    Raises:
        ValueError: There is a name among them.
    """
    axes = read_axes(shape.dim_str)
    names = [axis.text for axis in axes if axis.size is None]
    if names:
        raise ValueError(
            f"table: {spell(shape)} is no shape of an example: "
            f"write numbers in the place of {', '.join(names)}"
        )
    return [axis.size for axis in axes if axis.size is not None]


def _taken(module: Module, position: int, floating: torch.dtype) -> torch.dtype:
    """The dtype that a module takes there, as far as annotations of it and its first layer tell."""
    fitting = _fitting([*array_hints(Forward(module).hint_at(position))], floating)
    if fitting and not {floating, torch.int64} <= {*fitting}:  # both are taken by a container
        return fitting[0]
    if isinstance(module, Embedding | EmbeddingBag):
        return torch.int64
    first = next(module.children(), None)
    return floating if first is None else _taken(first, position, floating)


def _fitting(arrays: Sequence[Any], first: torch.dtype) -> list[torch.dtype]:
    """The dtypes that one of the annotations takes."""
    return [
        dtype
        for dtype in (first, *_DTYPES)
        if any(
            isinstance(torch.empty((), dtype=dtype, device="meta"), a.dtype[Tensor, ""])
            for a in arrays
        )
    ]


def _lend(mode: FakeTensorMode, tensor: Tensor) -> Tensor:
    if isinstance(tensor, LAZY):
        return unbuilt(tensor, "meta")
    try:
        return mode.from_tensor(tensor) if type(tensor) in (Tensor, Parameter) else tensor
    except UnsupportedFakeTensorException:  # a quantized one
        return tensor


def _build(device: torch.device, module: Any, args: tuple[Any, ...], kwargs: Any) -> None:
    """Lets a lazy module make its parameters, which cannot be done with the mode on."""
    with unset_fake_temporarily():
        module._infer_parameters(module, args, kwargs)
    for held in (module._parameters, module._buffers):
        for name, made in held.items():
            if made is not None and not isinstance(made, FakeTensor):
                fake = torch.empty_like(made, device=device)
                held[name] = Parameter(fake) if isinstance(made, Parameter) else fake


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch from printing a traceback of an error that is raised as well."""
    silence: Any = lambda record: False  # noqa: E731
    _LOG.addFilter(silence)
    try:
        yield
    finally:
        _LOG.removeFilter(silence)
