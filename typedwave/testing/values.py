"""The values of drawn tensors, and how they lie in memory."""

import math
from typing import Final, Literal, get_args

import torch
from torch import Tensor

__all__ = ["LAYOUTS", "VALUES", "Layout", "Values", "lay_out", "make"]

Values = Literal["normal", "counting", "constant", "zero", "large", "huge", "tiny", "inf", "nan"]
"""What kind of numbers: ``large`` is about 1e4, ``huge`` and ``tiny`` are at the dtype's ends."""

Layout = Literal["contiguous", "transposed", "strided", "expanded"]
"""How a tensor lies in memory; ``expanded`` repeats one entry of its first axis."""

VALUES: Final = get_args(Values)
LAYOUTS: Final = get_args(Layout)


def make(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    *,
    values: Values = "normal",
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
    least: int = 0,
    below: int = 100,
) -> Tensor:
    """A tensor of a shape; integers are from ``least`` up to, and without, ``below``.

    Equal arguments make equal tensors. Booleans hold both values along their last axis where it
    has room for them, so that no mask leaves nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    if dtype == torch.bool:
        return _booleans(shape, generator)
    if not (dtype.is_floating_point or dtype.is_complex):
        top = max(below, least + 1)
        ids = torch.randint(least, top, shape, generator=generator)
        if values in ("constant", "zero"):
            ids = torch.full(shape, (least + top) // 2 if values == "constant" else least)
        return ids.to(dtype)
    if bounds is not None:
        low, high = bounds
        return low + (high - low) * torch.rand(shape, generator=generator).to(dtype)
    if dtype.is_complex:
        parts = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
        return torch.complex(*parts).to(dtype)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    count = math.prod(shape)
    match values:
        case "counting":
            drawn = (torch.arange(count, dtype=torch.float64) % 7 - 3).reshape(shape)
        case "constant":
            drawn = torch.full(shape, 1.1, dtype=torch.float64)  # whose square is rounded
        case "zero":
            drawn = torch.zeros(shape, dtype=torch.float64)
        case "large":
            drawn = drawn * 1e4
        case "huge":
            drawn = drawn.sign() * torch.finfo(dtype).max
        case "tiny":
            drawn = drawn.sign() * torch.finfo(dtype).tiny
        case "inf" | "nan":
            flat = drawn.flatten()
            flat[:: max(count // 3, 1)] = math.inf if values == "inf" else math.nan
            drawn = flat.reshape(shape)
    return drawn.to(dtype)


def _booleans(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    drawn = torch.rand(shape, generator=generator) < 0.5
    if shape and shape[-1] >= 2:
        drawn[..., 0], drawn[..., -1] = True, False
    return drawn


def lay_out(tensor: Tensor, layout: Layout) -> Tensor:
    """The same values in another layout; but ``expanded`` repeats the first entry of axis 0."""
    if layout == "contiguous" or tensor.ndim == 0 or tensor.numel() == 0:
        return tensor
    match layout:
        case "transposed":  # the first axis lies innermost
            return (
                tensor.permute(*range(tensor.ndim)[::-1])
                .contiguous()
                .permute(*range(tensor.ndim)[::-1])
            )
        case "strided":
            wide = tensor.new_zeros((*tensor.shape[:-1], 2 * tensor.shape[-1] + 1))
            view = wide[..., 1::2]
            view.copy_(tensor)
            return view
        case _:
            return tensor[:1].expand(tensor.shape)
