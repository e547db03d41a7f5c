"""Recurrent networks: one hidden state goes through the whole sequence."""

from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from typedwave.contract import typed
from typedwave.models.config import RecurrentConfig
from typedwave.models.sequence import SequenceModel
from typedwave.nn import GRU, LSTM, RNN, Dropout, Embedding, Hidden, Linear, State
from typedwave.nn.sizes import check_sizes
from typedwave.nn.streaming import state_for

__all__ = ["Recurrent"]

_LAYERS: Final = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


class Recurrent(SequenceModel):
    """Logits of the next id from the hidden state of an RNN, GRU or LSTM.

    Args:
        config: Its kind and shape.
        vocab_size: Ids, V.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        ids ``(B, T)``, int64, to logits ``(B, T, V)``.

    Raises:
        ShapeError: A shape is wrong.
        IdOutOfRangeError: An id is not below ``vocab_size``.

    Example:
        >>> network = Recurrent(RecurrentConfig(network="lstm"), vocab_size=27)
        >>> network(torch.zeros(32, 9, dtype=torch.int64)).shape
        torch.Size([32, 9, 27])

    Source:
        Mikolov et al., "Recurrent neural network based language model" (2010).
    """

    def __init__(
        self,
        config: RecurrentConfig,
        *,
        vocab_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("Recurrent", 1, vocab_size=vocab_size)
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = Embedding(vocab_size, config.n_embd, device=device, dtype=dtype)
        self.dropout = Dropout(config.dropout)
        self.recurrent = _LAYERS[config.network](
            config.n_embd,
            config.n_hidden,
            config.num_layers,
            # Between layers, which torch warns of where there is one layer only.
            dropout=config.dropout if config.num_layers > 1 else 0.0,
            device=device,
            dtype=dtype,
        )
        self.head = Linear(config.n_hidden, vocab_size, device=device, dtype=dtype)

    @property
    def receptive_field(self) -> None:
        """All positions so far."""
        return None

    def forward(self, ids: Int64[Tensor, "B T"]) -> Float[Tensor, "B T {self.vocab_size}"]:
        hidden, _ = self.recurrent(self.embedding(ids))
        return self.head(self.dropout(hidden))

    def initial_state(self, batch_size: int) -> Hidden:
        """A hidden state of zeros."""
        state: Hidden = self.recurrent.initial_state(batch_size)
        return state

    @typed
    def stream(
        self, ids: Int64[Tensor, "B T"], state: State
    ) -> Float[Tensor, "B T {self.vocab_size}"]:
        """Logits for the next positions; ``state`` is the hidden state before them."""
        before = state_for(self, state, Hidden)
        hidden = self.recurrent.stream(self.embedding(ids), before)
        return self.head(self.dropout(hidden))
