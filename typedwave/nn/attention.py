"""Attention of each position to itself and those before it."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from typedwave.contract import Module, typed
from typedwave.nn.linear import Linear
from typedwave.nn.sizes import check_sizes
from typedwave.nn.streaming import Past

__all__ = ["CausalSelfAttention"]


class CausalSelfAttention(Module):
    """Each position's mean of the values so far, weighed by how its query fits their keys.

    For each head ``softmax(q k^T / sqrt(D), over positions up to t) v``, with D channels a head.

    Args:
        embed_dim: Channels of the input and the result, C; num_heads divides it.
        num_heads: Heads, H, each of C/H channels.
        dropout: The share of weights left out in training.
        bias: Whether the projections have biases.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        ``(B, T, embed_dim)`` to the same, the floating dtype of the weights.

    Attributes:
        in_proj_weight: ``(3*embed_dim, embed_dim)``, queries, keys and values, Xavier's uniform.
        in_proj_bias: ``(3*embed_dim,)``, zeros; None without bias.
        out_proj: `Linear` of embed_dim to embed_dim, its bias zeros.

    Raises:
        ValueError: The heads do not divide the channels, or a number is out of range.
        ShapeError: The input does not have three axes, the last of them ``embed_dim``.

    Example:
        >>> CausalSelfAttention(64, 4)(torch.zeros(32, 8, 64)).shape
        torch.Size([32, 8, 64])

    Source:
        Vaswani et al., "Attention Is All You Need" (2017), section 3.2. The numbers and the state
        dict of `torch.nn.MultiheadAttention` with ``batch_first`` and a causal mask.
    """

    in_proj_weight: Float[Parameter, "3*{self.embed_dim} embed_dim"]
    in_proj_bias: Float[Parameter, "3*{self.embed_dim}"] | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("CausalSelfAttention", 1, embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads != 0:
            raise ValueError(
                f"CausalSelfAttention: embed_dim = {embed_dim} is not a multiple of "
                f"num_heads = {num_heads}"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f"CausalSelfAttention: dropout is {dropout}, but has to be 0 to 1")
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        shape = (3 * embed_dim, embed_dim)
        self.in_proj_weight = Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.in_proj_bias = (
            Parameter(torch.empty(shape[0], device=device, dtype=dtype)) if bias else None
        )
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew, as torch.nn.MultiheadAttention does."""
        torch.nn.init.xavier_uniform_(self.in_proj_weight)
        self.out_proj.reset_parameters()
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                torch.nn.init.zeros_(bias)

    def forward(self, x: Float[Tensor, "B T embed_dim"]) -> Float[Tensor, "B T embed_dim"]:
        query, key_value = self._projected(x)
        return self._attend(query, key_value)

    def initial_state(self, batch_size: int) -> Past:
        """No keys and values yet."""
        nothing = self.in_proj_weight.new_empty(batch_size, 0, 2 * self.embed_dim)
        return Past(nothing, length=None)

    @typed
    def stream(
        self, x: Float[Tensor, "B T embed_dim"], state: Past
    ) -> Float[Tensor, "B T embed_dim"]:
        """The result for the next positions; ``state`` holds the keys and values before them."""
        query, key_value = self._projected(x)
        return self._attend(query, state.extend(key_value))

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries, and keys and values side by side."""
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        return projected[..., : self.embed_dim], projected[..., self.embed_dim :]

    def _attend(self, query: Tensor, key_value: Tensor) -> Tensor:
        """The queries are those of the last positions of the keys."""
        q = rearrange(query, "b t (h d) -> b h t d", h=self.num_heads)
        k, v = rearrange(key_value, "b s (two h d) -> two b h s d", two=2, h=self.num_heads)
        ahead = k.shape[2] - q.shape[2]
        mask, causal = None, False
        if q.shape[2] > 1:  # one query sees all keys
            if ahead == 0:
                causal = True  # the kernel makes the mask
            else:
                mask = q.new_ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(ahead)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal
        )
        return self.out_proj(rearrange(y, "b h t d -> b t (h d)"))

    def extra_repr(self) -> str:
        """The arguments, for the printed layer."""
        dropout = f", dropout={self.dropout}" if self.dropout else ""
        bias = "" if self.in_proj_bias is not None else ", bias=False"
        return f"{self.embed_dim}, {self.num_heads}{dropout}{bias}"
