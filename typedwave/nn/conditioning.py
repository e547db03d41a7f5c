"""What a network is told beside its input: a speaker, or features that go along with time."""

import torch
from jaxtyping import Float
from torch import Tensor

from typedwave.contract import Module, where
from typedwave.nn.linear import Linear
from typedwave.nn.sizes import check_sizes

__all__ = ["Conditioning"]


class Conditioning(Module):
    """Adds what is known of the whole sequence, and of each position, to the channels.

    ``y[t] = x[t] + V h + U l[t]``, where h is global, one for each sequence, and l is local.

    Args:
        channels: Channels of the input, C.
        global_channels: Of what is known of the sequence; 0 for nothing.
        local_channels: Of what is known of each position; 0 for nothing.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        x ``(B, T, C)``, global_ ``(B, global_channels)`` and local ``(B, T, local_channels)`` to
        ``(B, T, C)``. Features at a lower rate than x are repeated first, or upsampled otherwise.

    Attributes:
        global_projection: `Linear` without bias; None without global channels.
        local_projection: Likewise.

    Raises:
        ValueError: What is expected is missing, or what came is not expected, or a number of
            channels is out of range.
        ShapeError: A shape is wrong.

    Example:
        >>> conditioning = Conditioning(150, global_channels=3)
        >>> conditioning(torch.zeros(32, 8, 150), torch.zeros(32, 3)).shape
        torch.Size([32, 8, 150])

    Source:
        van den Oord et al., "WaveNet" (2016), section 2.5.
    """

    def __init__(
        self,
        channels: int,
        *,
        global_channels: int = 0,
        local_channels: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("Conditioning", 1, channels=channels)
        check_sizes(
            "Conditioning", 0, global_channels=global_channels, local_channels=local_channels
        )
        self.channels = channels
        self.global_channels, self.local_channels = global_channels, local_channels

        def projection(given: int) -> Linear | None:
            return (
                Linear(given, channels, bias=False, device=device, dtype=dtype) if given else None
            )

        self.global_projection = projection(global_channels)
        self.local_projection = projection(local_channels)

    def forward(
        self,
        x: Float[Tensor, "B T {self.channels}"],
        global_: Float[Tensor, "B G"] | None = None,
        local: Float[Tensor, "B T L"] | None = None,
    ) -> Float[Tensor, "B T {self.channels}"]:
        for name, value, projection in (
            ("global_", global_, self.global_projection),
            ("local", local, self.local_projection),
        ):
            if (value is None) != (projection is None):
                here = "is missing" if value is None else "came"
                there = "has" if value is None else "has no"
                channels = f"{name.strip('_')}_channels"
                raise ValueError(f"{where(self)}: {name} {here}, but the layer {there} {channels}")
        if global_ is not None:
            assert self.global_projection is not None
            x = x + self.global_projection(global_)[:, None]
        if local is not None:
            assert self.local_projection is not None
            x = x + self.local_projection(local)
        return x
