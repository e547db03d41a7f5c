"""The table of vectors, one for each id."""

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import Parameter

from typedwave.contract import Module
from typedwave.nn.ids import out_of_range

__all__ = ["Embedding"]


class Embedding(Module, torch.nn.Embedding):
    """The row of a table for each id.

    Args:
        num_embeddings: Rows of the table; ids are ``0 .. num_embeddings - 1``.
        embedding_dim: Channels of a row.
        padding_idx: An id whose row starts as zeros and gets no gradient.
        max_norm: Rows looked up are scaled down, in place, to this norm at most.
        norm_type: The p of that norm.
        scale_grad_by_freq: Whether a row's gradient is divided by its count in the batch.
        sparse: Whether the table's gradient is a sparse tensor.
        device: Where the table is made.
        dtype: Its floating dtype.

    Shape:
        ids ``(*B)``, int32 or int64, to ``(*B, embedding_dim)`` of the table's dtype.

    Attributes:
        weight: ``(num_embeddings, embedding_dim)``, standard normal.

    Raises:
        ShapeError: The ids are not int32 or int64.
        IdOutOfRangeError: An id is negative or at least ``num_embeddings``; the message has the
            first such id and its position. Only where the kernel of torch refuses it: on the
            CPU, not compiled. A GPU stops in an assertion of its own.

    Example:
        >>> Embedding(27, 10)(torch.zeros(32, 8, dtype=torch.int64)).shape
        torch.Size([32, 8, 10])

    Source:
        `torch.nn.Embedding`, of which it is a subclass; the contract and the message are ours.
    """

    weight: Float[Parameter, "num_embeddings embedding_dim"]

    def forward(
        self, x: Int32[Tensor, "*B"] | Int64[Tensor, "*B"]
    ) -> Float[Tensor, "*B embedding_dim"]:
        if is_compiling():
            return super().forward(x)
        try:
            return super().forward(x)
        except IndexError:
            raise out_of_range(self, x, len(self.weight), "num_embeddings") from None
