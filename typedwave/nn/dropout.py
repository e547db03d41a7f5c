"""Elements that are left out while a network is trained."""

import torch
from jaxtyping import Float
from torch import Tensor

from typedwave.contract import Module

__all__ = ["Dropout"]


class Dropout(Module, torch.nn.Dropout):
    """Each element zeroed with probability ``p`` in training, the others divided by ``1 - p``.

    Args:
        p: The probability, 0 to 1.
        inplace: Whether the input itself is written to.

    Shape:
        ``(*S)`` to ``(*S)``, any floating dtype, kept.

    Raises:
        ValueError: p is not in 0 to 1; from torch.
        ShapeError: The input is not a floating tensor.

    Example:
        >>> Dropout(0.25).eval()(torch.ones(2))
        tensor([1., 1.])

    Source:
        `torch.nn.Dropout`, of which it is a subclass; the contract is ours. It draws from the
        global generator, as torch has no other here.
    """

    def forward(self, x: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        return super().forward(x)
