"""Convolutions over time that look back only."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from typedwave.contract import Module, typed
from typedwave.nn.sizes import check_sizes
from typedwave.nn.streaming import Past, state_for

__all__ = ["CausalConv1d"]


class CausalConv1d(Module):
    """The convolution over time of which position t sees t and positions before it.

    ``y[t] = sum over k of W[:, :, k] x[t - (kernel_size - 1 - k) * dilation] + b``, with zeros
    before the first position. Channels are last.

    Args:
        in_channels: Channels of the input, at least 1.
        out_channels: Channels of the output, at least 1.
        kernel_size: Positions that are weighed, K, at least 1.
        dilation: The distance between two of them, at least 1.
        bias: Whether to add ``b``.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        ``(B, T, in_channels)`` to ``(B, T, out_channels)``, the floating dtype of the weight.

    Attributes:
        weight: ``(out_channels, in_channels, kernel_size)``, uniform in
            ``±1/sqrt(in_channels * kernel_size)``.
            In memory ``(out, kernel, in)``, as torch's channels_last is, which
            `torch.nn.utils.parameters_to_vector` does not take.
        bias: ``(out_channels,)``, likewise; None without bias.
        reach: Positions that it looks back, ``(kernel_size - 1) * dilation``.
        receptive_field: Positions that one of the result depends on at most, ``reach + 1``.

    Raises:
        ValueError: A size is not a whole number of at least 1, or a state is that of another layer.
        ShapeError: The input does not have three axes, the last of them ``in_channels``.

    Example:
        >>> conv = CausalConv1d(10, 68, kernel_size=2, dilation=4)
        >>> conv(torch.zeros(32, 8, 10)).shape, conv.receptive_field
        (torch.Size([32, 8, 68]), 5)

    Source:
        van den Oord et al., "WaveNet" (2016), section 2.1. The same numbers as
        `torch.nn.Conv1d` gives to an input with channels in axis 1 that is padded on the left,
        and its state dict; one matrix product here, which is faster for channels this few.
    """

    weight: Float[Parameter, "out_channels in_channels kernel_size"]
    bias: Float[Parameter, "out_channels"] | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(
            "CausalConv1d",
            1,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            dilation=dilation,
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.dilation = kernel_size, dilation
        # In memory (out, kernel, in), so that the matrix of forward is a view.
        memory = torch.empty(out_channels, kernel_size, in_channels, device=device, dtype=dtype)
        self.weight = Parameter(memory.transpose(1, 2))
        self.bias = (
            Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew, as torch.nn.Conv1d does."""
        bound = 1 / math.sqrt(self.in_channels * self.kernel_size)
        torch.nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            torch.nn.init.uniform_(self.bias, -bound, bound)

    @property
    def reach(self) -> int:
        """Positions that it looks back."""
        return (self.kernel_size - 1) * self.dilation

    @property
    def receptive_field(self) -> int:
        """Positions that one of the result depends on at most."""
        return self.reach + 1

    def forward(self, x: Float[Tensor, "B T in_channels"]) -> Float[Tensor, "B T out_channels"]:
        return self.over(F.pad(x, (0, 0, self.reach, 0)))

    def initial_state(self, batch_size: int) -> Past:
        """The zeros before the first position."""
        zeros = self.weight.new_zeros(batch_size, self.reach, self.in_channels)
        return Past(zeros, length=self.reach)

    @typed
    def stream(
        self, x: Float[Tensor, "B T in_channels"], state: Past
    ) -> Float[Tensor, "B T out_channels"]:
        """The result for the next positions, of which ``state`` holds those before."""
        return self.over(state_for(self, state, Past, length=self.reach).extend(x))

    def over(self, seen: Float[Tensor, "B L in_channels"]) -> Float[Tensor, "B T out_channels"]:
        """The result for all positions but the first ``reach``, which are only looked back on.

        Nothing is padded, so T is ``L - reach``, where L is at least ``reach``. Not checked: for
        callers that are.
        """
        length = seen.shape[1] - self.reach
        taps = [seen.narrow(1, k * self.dilation, length) for k in range(self.kernel_size)]
        columns = taps[0] if self.kernel_size == 1 else torch.cat(taps, dim=-1)
        # Not rearrange, which would take as long as the product of one position.
        return F.linear(columns, self.weight.transpose(1, 2).flatten(1), self.bias)

    def extra_repr(self) -> str:
        """The arguments, for the printed layer."""
        bias = "" if self.bias is not None else ", bias=False"
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}{bias}"
        )
