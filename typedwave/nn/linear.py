"""The affine map."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from typedwave.contract import Module

__all__ = ["Linear"]


class Linear(Module, torch.nn.Linear):
    """The affine map ``x W^T + b`` of the last axis.

    Args:
        in_features: Channels of the input, at least 0.
        out_features: Channels of the output, at least 0.
        bias: Whether to add ``b``.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        ``(*B, in_features)`` to ``(*B, out_features)``, the floating dtype of the weight.

    Attributes:
        weight: ``(out_features, in_features)``, uniform in ``±1/sqrt(in_features)``.
        bias: ``(out_features,)``, likewise; None without bias.

    Raises:
        ShapeError: The last axis of the input is not ``in_features``.

    Example:
        >>> Linear(20, 27)(torch.zeros(32, 8, 20)).shape
        torch.Size([32, 8, 27])

    Source:
        `torch.nn.Linear`, of which it is a subclass; the contract is ours.
    """

    weight: Float[Parameter, "out_features in_features"]
    bias: Float[Parameter, "out_features"] | None  # type: ignore[assignment]  # torch omits None

    def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B out_features"]:
        return super().forward(x)
