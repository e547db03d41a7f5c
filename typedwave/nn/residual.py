"""The block that a WaveNet is stacked from."""

import torch
from jaxtyping import Float
from torch import Tensor

from typedwave.contract import Module, typed
from typedwave.nn.activation import GatedActivation
from typedwave.nn.conditioning import Conditioning
from typedwave.nn.convolution import CausalConv1d
from typedwave.nn.dropout import Dropout
from typedwave.nn.linear import Linear
from typedwave.nn.norm import RMSNorm
from typedwave.nn.sizes import check_sizes
from typedwave.nn.streaming import Past

__all__ = ["ResidualBlock"]


class ResidualBlock(Module):
    """A gated causal convolution whose result is added to the input, and is a skip as well.

    ``z = gate(conv(norm(x)) + conditioning)``; the result is ``x + R z``, the skip ``S z``.

    Args:
        channels: Channels of the input and the result, C.
        gate_channels: Channels of z.
        skip_channels: Channels of the skip; 0 for none.
        kernel_size: Of the convolution.
        dilation: Of the convolution.
        residual: Whether there is a result; the last block of a stack of which only skips are
            read needs none, and gives its input back.
        norm: Whether the input of the convolution is normalised, by `RMSNorm`.
        dropout: The share of z that is left out in training.
        global_channels: See `Conditioning`.
        local_channels: See `Conditioning`.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        x ``(B, T, channels)`` to ``(B, T, channels)`` and ``(B, T, skip_channels)``.

    Attributes:
        receptive_field: Positions that one of the result depends on at most.

    Raises:
        ValueError: A size is out of range, or a condition is missing or not expected.
        ShapeError: A shape is wrong.

    Example:
        >>> block = ResidualBlock(64, gate_channels=75, skip_channels=64, dilation=2)
        >>> x, skip = block(torch.zeros(32, 8, 64))
        >>> x.shape, skip.shape
        (torch.Size([32, 8, 64]), torch.Size([32, 8, 64]))

    Source:
        van den Oord et al., "WaveNet" (2016), figure 4 and equations 2 and 3. The norm and the
        dropout are ours.
    """

    def __init__(
        self,
        channels: int,
        *,
        gate_channels: int,
        skip_channels: int,
        kernel_size: int = 2,
        dilation: int = 1,
        residual: bool = True,
        norm: bool = False,
        dropout: float = 0.0,
        global_channels: int = 0,
        local_channels: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("ResidualBlock", 1, channels=channels, gate_channels=gate_channels)
        check_sizes("ResidualBlock", 0, skip_channels=skip_channels)
        self.channels, self.skip_channels = channels, skip_channels
        self.norm = RMSNorm(channels, device=device, dtype=dtype) if norm else None
        self.conv = CausalConv1d(
            channels,
            2 * gate_channels,
            kernel_size,
            dilation=dilation,
            device=device,
            dtype=dtype,
        )
        self.conditioning = Conditioning(
            2 * gate_channels,
            global_channels=global_channels,
            local_channels=local_channels,
            device=device,
            dtype=dtype,
        )
        self.gate = GatedActivation()
        self.dropout = Dropout(dropout)
        self.residual = (
            Linear(gate_channels, channels, device=device, dtype=dtype) if residual else None
        )
        self.skip = (
            Linear(gate_channels, skip_channels, device=device, dtype=dtype)
            if skip_channels
            else None
        )

    @property
    def receptive_field(self) -> int:
        """Positions that one of the result depends on at most."""
        return self.conv.receptive_field

    def forward(
        self,
        x: Float[Tensor, "B T {self.channels}"],
        global_: Float[Tensor, "B G"] | None = None,
        local: Float[Tensor, "B T L"] | None = None,
    ) -> tuple[Float[Tensor, "B T {self.channels}"], Float[Tensor, "B T {self.skip_channels}"]]:
        return self._after(x, self.conv(self._before(x)), global_, local)

    def initial_state(self, batch_size: int) -> Past:
        """The zeros before the first position."""
        return self.conv.initial_state(batch_size)

    @typed
    def stream(
        self,
        x: Float[Tensor, "B T {self.channels}"],
        state: Past,
        global_: Float[Tensor, "B G"] | None = None,
        local: Float[Tensor, "B T L"] | None = None,
    ) -> tuple[Float[Tensor, "B T {self.channels}"], Float[Tensor, "B T {self.skip_channels}"]]:
        """The results for the next positions, of which ``state`` holds those before."""
        return self._after(x, self.conv.stream(self._before(x), state), global_, local)

    def _before(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)

    def _after(
        self, x: Tensor, convolved: Tensor, global_: Tensor | None, local: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        z = self.dropout(self.gate(self.conditioning(convolved, global_, local)))
        skip = z[..., :0] if self.skip is None else self.skip(z)
        return x if self.residual is None else x + self.residual(z), skip
