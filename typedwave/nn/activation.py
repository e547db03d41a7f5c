"""Functions applied to each element, or to pairs of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from typedwave.contract import Module, unfit

__all__ = ["GatedActivation", "Tanh"]


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


class GatedActivation(Module):
    """The first half of the channels, let through by the second: ``tanh(f) * sigmoid(g)``.

    Shape:
        ``(*B, 2C)`` to ``(*B, C)``, any floating dtype, kept.

    Raises:
        ShapeError: The number of channels is odd, or the input is not a floating tensor.

    Example:
        >>> GatedActivation()(torch.zeros(32, 8, 150)).shape
        torch.Size([32, 8, 75])

    Source:
        van den Oord et al., "WaveNet" (2016), equation 2; there f and g are two convolutions, here
        the halves of one. `torch.nn.GLU` is the same without tanh.
    """

    def forward(self, x: Float[Tensor, "*B channels"]) -> Float[Tensor, "*B channels//2"]:
        channels = x.shape[-1]
        if channels % 2 != 0:
            raise unfit(
                self,
                "x",
                x,
                'Float "*B channels"',
                needs="channels is even",
                because=f"axis -1 is {channels}",
                suggestion="",
            )
        filtered, gate = x.chunk(2, dim=-1)
        return torch.tanh(filtered) * torch.sigmoid(gate)
