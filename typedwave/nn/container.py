"""Modules made of modules."""

import torch
from jaxtyping import Shaped
from torch import Tensor

from typedwave.contract import Module

__all__ = ["Sequential"]


class Sequential(Module, torch.nn.Sequential):
    """The composition of modules, each called on what the one before it returned.

    Args:
        modules: The modules in order, or one ``OrderedDict`` that names them.

    Shape:
        What the first module takes to what the last one gives; each layer checks its own.

    Raises:
        ShapeError: From the layer that refuses, under its path here: ``2 (Linear)``.

    Example:
        >>> from typedwave.nn import Linear, Tanh
        >>> Sequential(Linear(20, 68), Tanh(), Linear(68, 27))(torch.zeros(32, 20)).shape
        torch.Size([32, 27])

    Source:
        `torch.nn.Sequential`, of which it is a subclass; the contract is ours.
    """

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # by torch
        return y
