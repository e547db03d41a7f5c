"""Axes fused into one."""

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor

from typedwave.contract import Module, unfit

__all__ = ["Flatten", "FlattenConsecutive"]


class Flatten(Module, torch.nn.Flatten):
    """The axes from ``start_dim`` to ``end_dim`` fused into one.

    Args:
        start_dim: The first axis to fuse.
        end_dim: The last axis to fuse.

    Shape:
        With the defaults ``(B, ...)`` to ``(B, product of the rest)``, any dtype, kept.

    Raises:
        ShapeError: The input is not a tensor.
        IndexError: There is no such axis; from torch.

    Example:
        >>> Flatten()(torch.zeros(32, 8, 10)).shape
        torch.Size([32, 80])

    Source:
        `torch.nn.Flatten`, of which it is a subclass; the contract is ours.
    """

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        return super().forward(x)


class FlattenConsecutive(Module):
    """Every ``n`` neighbouring positions fused into one, their channels side by side.

    Position t of the result holds the channels of positions ``n*t .. n*t + n - 1`` in order.

    Args:
        n: How many neighbours are fused, at least 1.
        squeeze: Whether a time axis that is left with one position is dropped, as the lecture
            does, so that ``(B, n, C)`` gives ``(B, n*C)`` and a linear layer can follow. False
            keeps the axis always, which a model for sequences of any length needs.

    Shape:
        ``(B, T, C)`` to ``(B, T/n, C*n)``, and to ``(B, C*n)`` if ``T == n`` and ``squeeze``;
        any floating dtype, kept.

    Raises:
        TypeError: ``n`` is not a whole number.
        ValueError: ``n`` is less than 1.
        ShapeError: ``n`` does not divide T, or the input does not have three axes.

    Example:
        >>> FlattenConsecutive(2)(torch.zeros(32, 8, 10)).shape
        torch.Size([32, 4, 20])
        >>> FlattenConsecutive(8)(torch.zeros(32, 8, 10)).shape
        torch.Size([32, 80])
        >>> FlattenConsecutive(8, squeeze=False)(torch.zeros(32, 8, 10)).shape
        torch.Size([32, 1, 80])

    Source:
        "Building makemore part 5", FlattenConsecutive; there the squeezing is not a choice, and
        a length that n does not divide fails inside ``view``.
    """

    def __init__(self, n: int, *, squeeze: bool = True) -> None:
        super().__init__()
        if type(n) is not int:  # a bool is no count, and 2.0 would fail in forward
            raise TypeError(f"FlattenConsecutive: n is {n!r}, but has to be a whole number")
        if n < 1:
            raise ValueError(f"FlattenConsecutive: n is {n}, but at least 1 position is fused")
        self.n = n
        self.squeeze = squeeze

    def forward(
        self, x: Float[Tensor, "B T C"]
    ) -> Float[Tensor, "B T//{self.n} C*{self.n}"] | Float[Tensor, "B C*{self.n}"]:
        length = x.shape[1]
        if length % self.n != 0:
            raise unfit(
                self,
                "x",
                x,
                'Float "B T C"',
                needs=f"T is a multiple of n = {self.n}",
                because=f"axis 1 is {length}",
                suggestion=f"torch.nn.functional.pad(x, (0, 0, {-length % self.n}, 0))",
            )
        if self.squeeze and length == self.n:
            return rearrange(x, "b n c -> b (n c)")
        return rearrange(x, "b (t n) c -> b t (n c)", n=self.n)

    def extra_repr(self) -> str:
        """The arguments, for the printed layer."""
        return f"n={self.n}" if self.squeeze else f"n={self.n}, squeeze=False"
