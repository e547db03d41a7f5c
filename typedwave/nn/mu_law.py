"""Amplitudes as ids, fine where it is quiet: the mu-law."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.compiler import is_compiling

from typedwave.contract import typed

__all__ = ["mu_law_decode", "mu_law_encode"]


@typed
def mu_law_encode(x: Float[Tensor, "*S"], *, levels: int = 256) -> Int64[Tensor, "*S"]:
    """The nearest of ``levels`` levels that are equally far apart on the mu-law's scale.

    ``y = sign(x) log(1 + mu |x|) / log(1 + mu)`` with ``mu = levels - 1``, and of that the level
    ``floor((y + 1) / 2 * mu + 1/2)``. Level 0 is -1 and level ``mu`` is 1. Silence is level
    ``levels // 2``; with an even number of levels none is exactly 0.

    Args:
        x: Amplitudes from -1 to 1. What is louder is refused and not clamped: mostly it is audio
            in whole numbers that was not divided by 32,768. ``x.clamp(-1, 1)`` clips.
        levels: How many, 2 to 65,536.

    Raises:
        ValueError: An amplitude is NaN or not from -1 to 1, or the number of levels is out of
            range. Compiled, amplitudes are not looked at.

    Example:
        >>> mu_law_encode(torch.tensor([-1.0, -0.01, 0.0, 0.01, 1.0]))
        tensor([  0,  98, 128, 157, 255])

    Source:
        van den Oord et al., "WaveNet" (2016), section 2.2, after ITU-T G.711, which cuts the curve
        into straight pieces; there it is the formula.
    """
    mu = _mu("mu_law_encode", levels)
    if not is_compiling() and x.numel():
        low, high = (bound.item() for bound in x.detach().aminmax())
        if not (low >= -1 and high <= 1):  # NaN is neither
            worst = low if not low >= -1 else high
            fix = "" if math.isnan(worst) else "; x.clamp(-1, 1) clips it"
            raise ValueError(
                f"mu_law_encode: x holds {worst:g}, but amplitudes are from -1 to 1{fix}"
            )
    # Half precision has fewer than 256 numbers from a half to 1.
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    y = x.sign() * (mu * x.abs()).log1p() / math.log1p(mu)
    return ((y + 1) / 2 * mu + 0.5).floor().long()


@typed
def mu_law_decode(ids: Int64[Tensor, "*S"], *, levels: int = 256) -> Float[Tensor, "*S"]:
    """The amplitudes that levels of the mu-law stand for.

    ``x = sign(y) ((1 + mu)^|y| - 1) / mu`` with ``y = 2 ids / mu - 1`` and ``mu = levels - 1``.
    What is encoded and decoded again is off by at most
    ``(|x| + 1 / mu) ((1 + mu)^(1 / mu) - 1)``: with 256 levels 2.2 % of x and 0.00009.

    Args:
        ids: Levels, 0 to ``levels - 1``.
        levels: How many, 2 to 65,536.

    Returns:
        Amplitudes from -1 to 1, of torch's default dtype.

    Raises:
        ValueError: There is no such level, or their number is out of range. Compiled, levels are
            not looked at.

    Example:
        >>> mu_law_decode(torch.tensor([0, 51, 102, 153, 204, 255]))
        tensor([-1.0000, -0.1053, -0.0080,  0.0080,  0.1053,  1.0000])

    Source:
        van den Oord et al., "WaveNet" (2016), section 2.2.
    """
    mu = _mu("mu_law_decode", levels)
    if not is_compiling() and ids.numel():
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high > mu:
            raise ValueError(
                f"mu_law_decode: ids hold {low if low < 0 else high}, but levels are 0 to {mu}, "
                f"as levels = {levels}"
            )
    # A table in doubles, since in floats the ends come out as 0.99999994 for some mu.
    y = (2 * torch.arange(levels, dtype=torch.float64) - mu) / mu
    x = (y.sign() * (y.abs() * math.log1p(mu)).expm1() / mu).clamp(-1, 1)
    return x.to(torch.get_default_dtype()).to(ids.device)[ids]


def _mu(function: str, levels: int) -> int:
    if type(levels) is not int or not 2 <= levels <= 65_536:
        raise ValueError(
            f"{function}: levels is {levels!r}, but has to be a whole number from 2 to 65536"
        )
    return levels - 1
