"""Axis names: the shapes of a call, said in the names that its annotations give them."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import Module

from typedwave.contract.annotations import function_hints
from typedwave.contract.axes import Axis, Bindings, read_axes
from typedwave.contract.hints import alternatives, describe_array, is_array

__all__ = ["NamedCall"]


class NamedCall:
    """One call of a module, whose annotations name the axes of what goes in and out.

    Where they name nothing, or do not fit, there are numbers.
    """

    def __init__(self, module: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        forward = inspect.unwrap(module.forward)
        try:
            self._hints = function_hints(getattr(forward, "__func__", forward))
            signature = inspect.signature(module.forward)
            given = signature.bind(*args, **kwargs).arguments
        except Exception:  # built in, scripted, or with names that cannot be resolved
            self._hints, given = {}, {}
        self._bindings = Bindings({"self": module, **given})
        self.hints = {name: self._hints.get(name) for name in given}

    def shown(self, tensor: Tensor, name: str) -> str:
        """A tensor that is the argument ``name``, or the result: ``f32[B=32, T=8, C=24]``."""
        for hint in filter(is_array, alternatives(self._hints.get(name))):
            bindings = self._bindings.copy()
            axes = read_axes(hint.dim_str)
            fits = isinstance(tensor, hint.dtype[hint.array_type, "..."])
            if fits and not bindings.misfits(axes, tensor.shape, name):
                self._bindings = bindings
                return describe_array(tensor.dtype, self._named(axes, tensor))
        return describe_array(tensor.dtype, tensor.shape)

    def _named(self, axes: tuple[Axis, ...], tensor: Tensor) -> list[str]:
        sizes = [*tensor.shape]
        named: list[str] = []
        for i, axis in enumerate(axes):
            if axis.variadic:
                behind = len(axes) - i - 1
                rest, sizes = sizes[: len(sizes) - behind], sizes[len(sizes) - behind :]
                many = f"*{axis.name}={rest}" if len(rest) != 1 else f"*{axis.name}={rest[0]}"
                named += [many] if axis.name else map(str, rest)
            else:
                named.append(self._with_name(axis, sizes.pop(0)))
        return named

    def _with_name(self, axis: Axis, size: int) -> str:
        if axis.expression is None:
            return f"{axis.name}={size}" if axis.name else str(size)
        text, _ = self._bindings.evaluate(axis)
        if text == str(size):  # braces alone: what they ask for is the better name
            text = axis.text.strip("#{}").removeprefix("self.")
        return f"{text}={size}"
