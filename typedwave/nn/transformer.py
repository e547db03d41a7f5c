"""The block that a transformer is stacked from."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from typedwave.contract import Module, typed
from typedwave.nn.attention import CausalSelfAttention
from typedwave.nn.dropout import Dropout
from typedwave.nn.linear import Linear
from typedwave.nn.norm import LayerNorm
from typedwave.nn.shift import TokenShift
from typedwave.nn.sizes import check_sizes
from typedwave.nn.streaming import States, state_for

__all__ = ["TransformerBlock"]


class TransformerBlock(Module):
    """Causal self-attention, then two linear layers, each on normalised channels and added.

    ``x + attention(norm1(x))``, and of that ``x + linear2(gelu(linear1(norm2(x))))``.

    Args:
        d_model: Channels, C.
        nhead: Heads, which divide the channels.
        dim_feedforward: Channels between the linear layers.
        dropout: The share left out in training: of what is added, of what is between the linear
            layers, and of the weights of attention.
        token_shift: Whether what is normalised goes through a `TokenShift` before it is attended
            with, and before the linear layers.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        ``(B, T, d_model)`` to the same, the floating dtype of the weights.

    Raises:
        ValueError: The heads do not divide the channels, or a number is out of range.
        ShapeError: The input does not have three axes, the last of them ``d_model``.

    Example:
        >>> TransformerBlock(64, 4, 256)(torch.zeros(32, 8, 64)).shape
        torch.Size([32, 8, 64])

    Source:
        Vaswani et al., "Attention Is All You Need" (2017), normalised first as in Radford et al.,
        "Language Models are Unsupervised Multitask Learners" (2019). Without token_shift the
        numbers and the state dict of `torch.nn.TransformerEncoderLayer` with ``norm_first``,
        ``batch_first``, ``activation="gelu"`` and a causal mask.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        *,
        dropout: float = 0.0,
        token_shift: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("TransformerBlock", 1, dim_feedforward=dim_feedforward)
        self.d_model = d_model
        self.self_attn = CausalSelfAttention(
            d_model, nhead, dropout=dropout, device=device, dtype=dtype
        )
        self.linear1 = Linear(d_model, dim_feedforward, device=device, dtype=dtype)
        self.linear2 = Linear(dim_feedforward, d_model, device=device, dtype=dtype)
        self.norm1 = LayerNorm(d_model, device=device, dtype=dtype)
        self.norm2 = LayerNorm(d_model, device=device, dtype=dtype)
        self.dropout = Dropout(dropout)

        def shift() -> TokenShift | None:
            return TokenShift(d_model, device=device, dtype=dtype) if token_shift else None

        self.shift1 = shift()
        self.shift2 = shift()

    def forward(
        self, x: Float[Tensor, "B T {self.d_model}"]
    ) -> Float[Tensor, "B T {self.d_model}"]:
        x = x + self.dropout(self.self_attn(_through(self.shift1, self.norm1(x))))
        return x + self._feed_forward(_through(self.shift2, self.norm2(x)))

    def initial_state(self, batch_size: int) -> States:
        """No keys and values yet, and nothing to shift in."""
        shifts = [shift for shift in (self.shift1, self.shift2) if shift is not None]
        attended = self.self_attn.initial_state(batch_size)
        return States([attended, *(shift.initial_state(batch_size) for shift in shifts)])

    @typed
    def stream(
        self, x: Float[Tensor, "B T {self.d_model}"], state: States
    ) -> Float[Tensor, "B T {self.d_model}"]:
        """The result for the next positions, of which ``state`` holds those before."""
        shifts = (self.shift1 is not None) + (self.shift2 is not None)
        attended, *shifted = state_for(self, state, States, count=1 + shifts)
        normal = self.norm1(x)
        if self.shift1:
            normal = self.shift1.stream(normal, shifted[0])
        x = x + self.dropout(self.self_attn.stream(normal, attended))
        normal = self.norm2(x)
        if self.shift2:
            normal = self.shift2.stream(normal, shifted[1])
        return x + self._feed_forward(normal)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear2(self.dropout(F.gelu(self.linear1(x)))))


def _through(shift: TokenShift | None, x: Tensor) -> Tensor:
    return x if shift is None else shift(x)
