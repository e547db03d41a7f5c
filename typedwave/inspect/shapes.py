"""Shapes in the place of an example, and the tensors that they stand for."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from beartype.door import is_bearable
from torch.nn import Embedding, EmbeddingBag, Module

from typedwave.contract.axes import read_axes
from typedwave.contract.hints import array_hints, fitting_dtypes, is_array, spell
from typedwave.inspect.names import Forward

__all__ = ["Shapes", "replaced"]


class Shapes:
    """The shapes in an example, inside of lists perhaps; true if there are any.

    What the annotation of the model takes as it is, a ``tuple[int, int]`` say, is no shape.
    """

    def __init__(self, model: Module, example: Sequence[Any]) -> None:
        self._model, self._example = model, example
        held = (*model.parameters(), *model.buffers())
        floating = (tensor.dtype for tensor in held if tensor.is_floating_point())
        self._floating = next(floating, torch.get_default_dtype())
        self._device = held[0].device if held else torch.get_default_device()
        hints = map(Forward(model).hint_at, range(len(example)))
        self._at = {i for i, hint in enumerate(hints) if _has_shapes(example[i], hint)}

    def __bool__(self) -> bool:
        return len(self._at) > 0

    def tensors(self, dtype: torch.dtype | None) -> list[Any]:
        """The example with tensors in the place of shapes, where the model is.

        Args:
            dtype: Of the tensors; by default what the model, or its first layer, takes.
        """
        return [
            replaced(value, partial(self._tensor, i, dtype)) if i in self._at else value
            for i, value in enumerate(self._example)
        ]

    def _tensor(self, position: int, dtype: torch.dtype | None, value: Any) -> Any:
        if is_array(value):
            sizes, kind = _read(value, dtype or self._floating)
            return torch.empty(sizes, dtype=kind, device=self._device)
        if _is_shape(value):
            kind = dtype or _taken(self._model, position, self._floating)
            return torch.empty(value, dtype=kind, device=self._device)
        return value


def replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """A value, or a list, tuple or dict of values and so on, with others in their place."""
    other = replace(value)
    if other is not value:
        return other
    if type(value) is dict:
        return {key: replaced(part, replace) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(replaced(part, replace) for part in value)
    return value


def _is_shape(value: Any) -> bool:
    if isinstance(value, torch.Size) or is_array(value):
        return True
    numbers = type(value) in (list, tuple) and len(value) > 0
    return numbers and all(type(size) is int for size in value)


def _has_shapes(value: Any, hint: Any) -> bool:
    found = []

    def look(part: Any) -> Any:
        if _is_shape(part):
            found.append(part)
        return part

    replaced(value, look)
    return len(found) > 0 and (hint in (Any, object) or not is_bearable(value, hint))


def _read(shape: Any, preferred: torch.dtype) -> tuple[list[int], torch.dtype]:
    """The sizes and the dtype in an annotation.

    Raises:
        ValueError: There is a name among the sizes, or no dtype of torch is meant.
    """
    axes, kinds = read_axes(shape.dim_str), fitting_dtypes([shape], preferred)
    names = [axis.text for axis in axes if axis.size is None]
    if names or not kinds:
        wrong = (
            f"write numbers in the place of {', '.join(names)}"
            if names
            else "torch has no such dtype"
        )
        raise ValueError(f"table: {spell(shape)} is no shape of an example: {wrong}")
    return [axis.size for axis in axes if axis.size is not None], kinds[0]


def _taken(module: Module, position: int, floating: torch.dtype) -> torch.dtype:
    """The dtype that a module takes there, as far as annotations of it and its first layer tell."""
    fitting = fitting_dtypes([*array_hints(Forward(module).hint_at(position))], floating)
    if fitting and not {floating, torch.int64} <= {*fitting}:  # both are taken by a container
        return fitting[0]
    if isinstance(module, Embedding | EmbeddingBag):
        return torch.int64
    first = next(module.children(), None)
    return floating if first is None else _taken(first, position, floating)
