"""Lines of a chart: what was measured at each step, in as many points as can be seen."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SHOWN", "Line", "thinned", "window_of"]

SHOWN: Final = 1_000
"""Points of a line at most: more than a chart has pixels for."""


@dataclass(frozen=True)
class Line:
    """Numbers over steps.

    Attributes:
        steps: Ascending; the middle of a window where a point is the mean of one.
        values: As many; None where one was not finite.
    """

    steps: list[float]
    values: list[float | None]


def window_of(longest: int) -> int:
    """How many steps go into a point, where the longest line has so many."""
    return max(1, math.ceil(longest / SHOWN))


def thinned(steps: ArrayLike, values: ArrayLike, *, window: int) -> Line:
    """The means of windows; the last may be shorter.

    Example:
        >>> thinned([1, 2, 3, 4, 5], [5.0, 3.0, 2.0, 4.0, 1.0], window=2)
        Line(steps=[1.5, 3.5, 5], values=[4.0, 3.0, 1.0])
    """
    if window == 1:
        return Line(_numbers(np.asarray(steps)), _rounded(np.asarray(values)))
    starts = np.arange(0, len(np.asarray(steps)), window)
    return Line(_numbers(_means(steps, starts)), _rounded(_means(values, starts)))


def _means(values: ArrayLike, starts: NDArray[np.int64]) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if len(array) == 0:
        return array
    with np.errstate(invalid="ignore"):  # inf - inf in a run that diverged
        sums = np.add.reduceat(array, starts)
    return sums / np.diff(np.append(starts, len(array)))


def _numbers(steps: NDArray[np.float64]) -> list[float]:
    return [int(step) if step == int(step) else float(step) for step in steps]


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """To five digits, which is a tenth of what is printed."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]
