"""Functions applied to each element."""

import torch
from jaxtyping import Float
from torch import Tensor

from typedwave.contract import Module

__all__ = ["Tanh"]


class Tanh(Module, torch.nn.Tanh):
    """The hyperbolic tangent of each element.

    Shape:
        ``(*S)`` to ``(*S)``, any floating dtype, kept.

    Raises:
        ShapeError: The input is not a floating tensor.

    Example:
        >>> Tanh()(torch.zeros(32, 128)).shape
        torch.Size([32, 128])

    Source:
        `torch.nn.Tanh`, of which it is a subclass; the contract is ours.
    """

    def forward(self, x: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        return super().forward(x)
