"""The WaveNet: gated dilated convolutions, each of which looks twice as far back."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from typedwave.contract import typed
from typedwave.models.config import WaveNetConfig
from typedwave.models.sequence import SequenceModel
from typedwave.nn import Embedding, Linear, ResidualBlock, RMSNorm, State, States
from typedwave.nn.sizes import check_sizes
from typedwave.nn.streaming import state_for

__all__ = ["WaveNet"]


class WaveNet(SequenceModel):
    """Logits of the next id from a stack of gated, dilated, causal convolutions.

    An embedding, then for each dilation of each cycle a `ResidualBlock`. The skips of all blocks
    are summed and go through two layers, ``relu`` before each; with ``skip_channels = 0`` what is
    left of the residual stream is normalised and goes through one layer.

    Args:
        config: Its shape.
        vocab_size: Ids, V: characters, or levels of an amplitude (`mu_law_encode`).
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        ids ``(B, T)``, int64, to logits ``(B, T, V)``; with conditions, ``(B, global_channels)``
        and ``(B, T, local_channels)``, see `typedwave.nn.Conditioning`.

    Attributes:
        receptive_field: Positions that a logit depends on.

    Raises:
        ValueError: A condition is missing, or came and is not expected.
        ShapeError: A shape is wrong.
        IdOutOfRangeError: An id is not below ``vocab_size``.

    Example:
        >>> network = WaveNet(WaveNetConfig(), vocab_size=27)
        >>> network(torch.zeros(32, 9, dtype=torch.int64)).shape, network.receptive_field
        (torch.Size([32, 9, 27]), 8)

    Source:
        van den Oord et al., "WaveNet" (2016), figure 4. There the ids are one-hot and the first
        layer is a causal convolution of them; here it is an embedding, and the first block the
        first convolution.
    """

    def __init__(
        self,
        config: WaveNetConfig,
        *,
        vocab_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("WaveNet", 1, vocab_size=vocab_size)
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = Embedding(vocab_size, config.channels, device=device, dtype=dtype)
        dilations = config.dilations * config.cycles
        self.blocks = torch.nn.ModuleList(
            ResidualBlock(
                config.channels,
                gate_channels=config.gate_channels,
                skip_channels=config.skip_channels,
                kernel_size=config.kernel_size,
                dilation=dilation,
                # Of the last one only the skip is read, if there are skips.
                residual=number < len(dilations) or not config.skip_channels,
                norm=config.norm,
                dropout=config.dropout,
                global_channels=config.global_channels,
                local_channels=config.local_channels,
                device=device,
                dtype=dtype,
            )
            for number, dilation in enumerate(dilations, start=1)
        )
        if config.skip_channels:
            self.head = torch.nn.Sequential(
                torch.nn.ReLU(),
                Linear(config.skip_channels, config.skip_channels, device=device, dtype=dtype),
                torch.nn.ReLU(),
                Linear(config.skip_channels, vocab_size, device=device, dtype=dtype),
            )
        else:
            self.head = torch.nn.Sequential(
                RMSNorm(config.channels, device=device, dtype=dtype),
                Linear(config.channels, vocab_size, device=device, dtype=dtype),
            )

    @property
    def receptive_field(self) -> int:
        """Positions that a logit depends on."""
        return self.config.receptive_field

    def forward(
        self,
        ids: Int64[Tensor, "B T"],
        global_: Float[Tensor, "B G"] | None = None,
        local: Float[Tensor, "B T L"] | None = None,
    ) -> Float[Tensor, "B T {self.vocab_size}"]:
        x = self.embedding(ids)
        skips = []
        for block in self._stack():
            x, skip = block(x, global_, local)
            skips.append(skip)
        return self._logits(x, skips)

    def initial_state(self, batch_size: int) -> States:
        """A queue of zeros for each block."""
        return States([block.initial_state(batch_size) for block in self._stack()])

    @typed
    def stream(
        self,
        ids: Int64[Tensor, "B T"],
        state: State,
        global_: Float[Tensor, "B G"] | None = None,
        local: Float[Tensor, "B T L"] | None = None,
    ) -> Float[Tensor, "B T {self.vocab_size}"]:
        """Logits for the next positions; ``state`` has the queue of each block."""
        states = state_for(self, state, States, count=len(self.blocks))
        x = self.embedding(ids)
        skips = []
        for block, past in zip(self._stack(), states, strict=True):
            x, skip = block.stream(x, past, global_, local)
            skips.append(skip)
        return self._logits(x, skips)

    def _stack(self) -> list[ResidualBlock]:
        return [*self.blocks]

    def _logits(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        logits: Tensor = self.head(sum(skips) if self.config.skip_channels else x)
        return logits
