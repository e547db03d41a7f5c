"""The numbers of a tensor in short: their mean, standard deviation and histogram."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Histogram", "Values", "in_short"]

_BINS: Final = 80
_TAILS: Final = 5  # standard deviations; bins are not to be wide for one number far away


@dataclass(frozen=True)
class Histogram:
    """How many numbers are between each edge and the next.

    Attributes:
        edges: ``(N + 1,)``, ascending.
        counts: ``(N,)``; the first and the last have what lies beyond the edges as well.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def density(self) -> NDArray[np.float64]:
        """``(N,)``, of which the integral is 1."""
        density: NDArray[np.float64] = self.counts / self.counts.sum() / np.diff(self.edges)
        return density


@dataclass(frozen=True)
class Values:
    """The numbers of a tensor.

    Attributes:
        name: The path of a layer or a parameter, ``layers.3``.
        kind: Of the layer, ``Linear``.
        count: How many numbers there are.
        mean: Of them.
        std: Their standard deviation, all of them taken for the whole population.
        histogram: Of them.
    """

    name: str
    kind: str
    count: int
    mean: float
    std: float
    histogram: Histogram


def in_short(
    name: str, kind: str, tensor: Tensor, bounds: tuple[float, float] | None = None
) -> dict[str, Any]:
    """The fields of `Values`.

    Args:
        name: As there.
        kind: As there.
        tensor: At least one number, finite.
        bounds: The edges of the histogram; five standard deviations around the mean, or as far as
            there are numbers, if None.
    """
    flat = tensor.detach().double().flatten().cpu()
    mean, std = flat.mean().item(), flat.std(correction=0).item()
    if bounds is None:
        reach = _TAILS * std
        bounds = max(flat.min().item(), mean - reach), min(flat.max().item(), mean + reach)
    histogram = _histogram(flat.numpy(), *bounds)
    return {
        "name": name,
        "kind": kind,
        "count": flat.numel(),
        "mean": mean,
        "std": std,
        "histogram": histogram,
    }


def _histogram(numbers: NDArray[np.float64], low: float, high: float) -> Histogram:
    if not high - low > 1e-12 * max(abs(low), abs(high)):  # one number, give or take a rounding
        half = abs(low) / 2 or 0.5
        low, high = low - half, low + half
    edges = np.linspace(low, high, _BINS + 1)
    counts, _ = np.histogram(np.clip(numbers, low, high), bins=edges)
    return Histogram(edges, counts.astype(np.int64))
