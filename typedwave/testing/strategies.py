"""Strategies for the sizes of axes and for tensors of those sizes."""

from typing import Final

import torch
from hypothesis import strategies as st
from torch import Tensor

__all__ = ["axis_sizes", "leading_axes", "normal_tensors"]

_PRIMES: Final = (2, 3, 5, 7, 11, 13)


def axis_sizes(*names: str) -> st.SearchStrategy[dict[str, int]]:
    """Sizes for named axes, distinct and coprime: what swaps or mixes two axes cannot go unseen.

    Args:
        names: The axes, at most six.

    Raises:
        ValueError: More than six names, or one of them twice.

    Example:
        >>> from hypothesis import given
        >>> @given(axis_sizes("B", "T", "C"))
        ... def test(sizes: dict[str, int]) -> None:
        ...     assert len(set(sizes.values())) == 3
        >>> test()
    """
    if len(set(names)) < len(names):
        raise ValueError(f"axis_sizes: {', '.join(names)}: a name stands twice")
    if len(names) > len(_PRIMES):
        raise ValueError(f"axis_sizes: {len(names)} names, but sizes for {len(_PRIMES)} at most")
    return st.permutations(_PRIMES).map(lambda sizes: dict(zip(names, sizes, strict=False)))


def leading_axes(*, smallest: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    """The sizes of any number of leading axes (``*B``), from none to three, equal ones too.

    Args:
        smallest: The least size of an axis; 0 draws empty batches as well.
    """
    return st.lists(st.integers(smallest, 4), max_size=3).map(tuple)


@st.composite
def normal_tensors(
    draw: st.DrawFn, shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Tensors of standard normal values, drawn by seed so that an example is cheap to repeat.

    Args:
        draw: Given by hypothesis.
        shape: The sizes of the axes.
        dtype: A floating dtype.
    """
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    return torch.randn(shape, generator=generator, dtype=dtype)
