"""The transformer: each position looks at all before it."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from typedwave.contract import typed
from typedwave.models.config import TransformerConfig
from typedwave.models.sequence import SequenceModel
from typedwave.nn import Embedding, LayerNorm, Linear, State, States, TransformerBlock
from typedwave.nn.sizes import check_sizes
from typedwave.nn.streaming import state_for

__all__ = ["Transformer"]


class Transformer(SequenceModel):
    """Logits of the next id from a stack of causal transformer blocks.

    Nothing is added for the position: a causal block can count, and with a token shift it knows
    its neighbour. So there is no longest sequence.

    Args:
        config: Its shape.
        vocab_size: Ids, V.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        ids ``(B, T)``, int64, to logits ``(B, T, V)``.

    Raises:
        ShapeError: A shape is wrong.
        IdOutOfRangeError: An id is not below ``vocab_size``.

    Example:
        >>> network = Transformer(TransformerConfig(), vocab_size=27)
        >>> network(torch.zeros(32, 9, dtype=torch.int64)).shape
        torch.Size([32, 9, 27])

    Source:
        Radford et al., "Language Models are Unsupervised Multitask Learners" (2019); without
        positions as in Haviv et al., "Transformer Language Models without Positional Encodings
        Still Learn Positional Information" (2022).
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        vocab_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("Transformer", 1, vocab_size=vocab_size)
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = Embedding(vocab_size, config.n_embd, device=device, dtype=dtype)
        self.blocks = torch.nn.ModuleList(
            TransformerBlock(
                config.n_embd,
                config.num_heads,
                config.n_hidden,
                dropout=config.dropout,
                token_shift=config.token_shift,
                device=device,
                dtype=dtype,
            )
            for _ in range(config.num_layers)
        )
        self.norm = LayerNorm(config.n_embd, device=device, dtype=dtype)
        self.head = Linear(config.n_embd, vocab_size, device=device, dtype=dtype)

    @property
    def receptive_field(self) -> None:
        """All positions so far."""
        return None

    def forward(self, ids: Int64[Tensor, "B T"]) -> Float[Tensor, "B T {self.vocab_size}"]:
        x = self.embedding(ids)
        for block in self._stack():
            x = block(x)
        return self.head(self.norm(x))

    def initial_state(self, batch_size: int) -> States:
        """No keys and values yet."""
        return States([block.initial_state(batch_size) for block in self._stack()])

    @typed
    def stream(
        self, ids: Int64[Tensor, "B T"], state: State
    ) -> Float[Tensor, "B T {self.vocab_size}"]:
        """Logits for the next positions; ``state`` has keys and values of each block."""
        states = state_for(self, state, States, count=len(self.blocks))
        x = self.embedding(ids)
        for block, before in zip(self._stack(), states, strict=True):
            x = block.stream(x, before)
        return self.head(self.norm(x))

    def _stack(self) -> list[TransformerBlock]:
        return [*self.blocks]
