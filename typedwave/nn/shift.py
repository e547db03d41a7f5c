"""The position before, mixed in."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from typedwave.contract import Module, typed
from typedwave.nn.sizes import check_sizes
from typedwave.nn.streaming import Past, state_for

__all__ = ["TokenShift"]


class TokenShift(Module):
    """Each channel moved some way towards what it was one position before.

    ``y[t] = x[t] + weight * (x[t-1] - x[t])``, with zeros before the first position.

    Args:
        channels: Channels, C.
        device: Where the parameter is made.
        dtype: Its floating dtype.

    Shape:
        ``(B, T, channels)`` to the same, the floating dtype of the weight.

    Attributes:
        weight: ``(channels,)``, from 0 to almost 1 in equal steps, so that some channels start
            with this position and some with the one before.
        receptive_field: 2, the positions that one of the result depends on.

    Raises:
        ValueError: The number of channels is not a whole number of at least 1.
        ShapeError: The input does not have three axes, the last of them ``channels``.

    Example:
        >>> TokenShift(64)(torch.zeros(32, 8, 64)).shape
        torch.Size([32, 8, 64])

    Source:
        Peng et al., "RWKV: Reinventing RNNs for the Transformer Era" (2023), equations 11 to 13.
    """

    receptive_field = 2

    weight: Float[Parameter, "channels"]

    def __init__(
        self,
        channels: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("TokenShift", 1, channels=channels)
        self.channels = channels
        self.weight = Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The first mixture again."""
        with torch.no_grad():
            self.weight.copy_(torch.arange(self.channels) / self.channels)

    def forward(self, x: Float[Tensor, "B T channels"]) -> Float[Tensor, "B T channels"]:
        return torch.lerp(x, F.pad(x, (0, 0, 1, 0))[:, :-1], self.weight)

    def initial_state(self, batch_size: int) -> Past:
        """The zeros before the first position."""
        return Past(self.weight.new_zeros(batch_size, 1, self.channels), length=1)

    @typed
    def stream(
        self, x: Float[Tensor, "B T channels"], state: Past
    ) -> Float[Tensor, "B T channels"]:
        """The result for the next positions; ``state`` holds the one before them."""
        return torch.lerp(x, state_for(self, state, Past, length=1).extend(x)[:, :-1], self.weight)

    def extra_repr(self) -> str:
        """The arguments, for the printed layer."""
        return str(self.channels)
