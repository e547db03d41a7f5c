"""Normalisation of each position by itself."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from typedwave.contract import Module, unfit
from typedwave.errors import ShapeError
from typedwave.nn.sizes import check_sizes

__all__ = ["LayerNorm", "RMSNorm"]


class LayerNorm(Module, torch.nn.LayerNorm):
    """Each position brought to mean 0 and variance 1 over its channels, then scaled and shifted.

    ``y = weight * (x - mean) / sqrt(var + eps) + bias``, with the biased variance.

    Args:
        normalized_shape: Channels.
        eps: Added to the variance.
        elementwise_affine: Whether there are ``weight`` and ``bias``.
        bias: Whether there is ``bias`` beside ``weight``.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        ``(*B, channels)`` to the same, a floating dtype, kept.

    Attributes:
        weight: ``(channels,)``, ones; None without elementwise_affine.
        bias: ``(channels,)``, zeros; None without.

    Raises:
        ValueError: ``normalized_shape`` is not one whole number of at least 1.
        ShapeError: The last axis is not that long.

    Example:
        >>> LayerNorm(64)(torch.randn(32, 8, 64)).shape
        torch.Size([32, 8, 64])

    Source:
        Ba et al., "Layer Normalization" (2016). `torch.nn.LayerNorm`, of which it is a subclass;
        the contract is ours, and so is the limit to one axis.
    """

    weight: Float[Parameter, "channels"] | None  # type: ignore[assignment]  # torch omits None
    bias: Float[Parameter, "channels"] | None  # type: ignore[assignment]  # likewise

    def __init__(
        self,
        normalized_shape: int,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_sizes("LayerNorm", 1, normalized_shape=normalized_shape)
        super().__init__(normalized_shape, eps, elementwise_affine, bias, device, dtype)

    def forward(self, x: Float[Tensor, "*B channels"]) -> Float[Tensor, "*B channels"]:
        if x.shape[-1] != self.normalized_shape[0]:  # without state no annotation knows it
            raise _unfit(self, x, self.normalized_shape[0])
        return super().forward(x)


class RMSNorm(Module, torch.nn.RMSNorm):
    """Each position divided by the root mean square of its channels, then scaled.

    ``y = weight * x / sqrt(mean(x^2) + eps)``.

    Args:
        normalized_shape: Channels.
        eps: Added to the mean square; None for the smallest step of the dtype at 1.
        elementwise_affine: Whether there is ``weight``.
        device: Where the parameter is made.
        dtype: Its floating dtype.

    Shape:
        ``(*B, channels)`` to the same, a floating dtype, kept.

    Attributes:
        weight: ``(channels,)``, ones; None without elementwise_affine.

    Raises:
        ValueError: ``normalized_shape`` is not one whole number of at least 1.
        ShapeError: The last axis is not that long.

    Example:
        >>> RMSNorm(64)(torch.randn(32, 8, 64)).shape
        torch.Size([32, 8, 64])

    Source:
        Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019). `torch.nn.RMSNorm`, of
        which it is a subclass; the contract is ours, and so is the limit to one axis.
    """

    weight: Float[Parameter, "channels"] | None  # type: ignore[assignment]  # torch omits None

    def __init__(
        self,
        normalized_shape: int,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_sizes("RMSNorm", 1, normalized_shape=normalized_shape)
        super().__init__(normalized_shape, eps, elementwise_affine, device, dtype)

    def forward(self, x: Float[Tensor, "*B channels"]) -> Float[Tensor, "*B channels"]:
        if x.shape[-1] != self.normalized_shape[0]:  # without state no annotation knows it
            raise _unfit(self, x, self.normalized_shape[0])
        return super().forward(x)


def _unfit(layer: Module, x: Tensor, channels: int) -> ShapeError:
    return unfit(
        layer,
        "x",
        x,
        'Float "*B channels"',
        needs=f"channels = {channels}",
        because=f"axis -1 is {x.shape[-1]}",
        suggestion="",
    )
