"""Whether losses over seeds differ by more than chance: the numbers, without the runs."""

import bisect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import scipy  # type: ignore[import-untyped]  # it has no types; its parts are loaded when used
from numpy.typing import NDArray

__all__ = [
    "ComparisonError",
    "Difference",
    "Interval",
    "Summary",
    "difference",
    "holm",
    "seeds_needed",
    "summary",
]

LEVEL: Final = 0.95
"""Of all intervals."""

_RESAMPLES: Final = 200_000  # exact up to 17 pairs, and up to 10 runs against 10; under a second
_ROUNDING: Final = 1e-12  # of the losses; less than this between them is no spread
_MOST_SEEDS: Final = 10**7


class ComparisonError(ValueError):
    """Runs cannot be compared."""


class Interval(NamedTuple):
    """From where to where."""

    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """What one loss is over the seeds of a group.

    Attributes:
        n: How many runs.
        mean: Of their losses.
        std: Their sample standard deviation; None of one run, which has no spread.
        interval: The 95 % interval of the mean, by the t-distribution; None of one run.
        min: The least loss.
        max: The greatest.
    """

    n: int
    mean: float
    std: float | None
    interval: Interval | None
    min: float
    max: float


@dataclass(frozen=True)
class Difference:
    """How far apart the losses of two groups are, and whether seeds alone explain it.

    Attributes:
        mean: The mean of the first less that of the second, in nats a character.
        interval: Its 95 % interval, by the same test as p; None where there is no spread at all.
        p: How often chance gives a difference as large in either direction, if there is none in
            truth; None where there is no spread at all.
        test: Which test gave it: paired t-test, or Welch's t-test.
        permutation_p: The same by `permutation_test`, which does not ask for a normal distribution.
        permutation_test: Sign-flip permutation test of pairs, or permutation test of groups; and
            whether all permutations were tried.
        least_p: What permutation_p can be at least, with so many seeds.
        pairs: How many seeds both have; 0 where the test is not paired.
        agreeing: How many of the pairs differ in the direction of the mean.
        correlation: Between the losses of pairs, which is what pairing gains by; None if unpaired
            or if there is no spread.
        std: Of a single pair's difference; if unpaired, of the difference of two single runs.
        detectable: What the difference would have to be in truth for such an experiment to show it
            four times in five; None where there is no spread at all.
    """

    mean: float
    interval: Interval | None
    p: float | None
    test: str
    permutation_p: float
    permutation_test: str
    least_p: float
    pairs: int
    agreeing: int
    correlation: float | None
    std: float
    detectable: float | None


def summary(losses: Sequence[float]) -> Summary:
    """The mean of losses over seeds and how far they are apart.

    Raises:
        ComparisonError: There is none, or one is not finite.

    Example:
        >>> found = summary([2.02, 2.03, 2.01])
        >>> f"{found.mean:.2f}, from {found.interval.low:.3f} to {found.interval.high:.3f}"
        '2.02, from 1.995 to 2.045'
    """
    values = _values(losses)
    n, mean = len(values), float(values.mean())
    if n == 1:
        return Summary(n, mean, None, None, mean, mean)
    half = float(scipy.stats.t.isf((1 - LEVEL) / 2, n - 1)) * _error(values)
    return Summary(
        n,
        mean,
        float(values.std(ddof=1)),
        Interval(mean - half, mean + half),
        float(values.min()),
        float(values.max()),
    )


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """How much the losses of two groups differ, each by its seeds.

    If both have the same seeds, runs of one seed are a pair, and the test is the paired t-test: the
    first weights and the batches that both share do not count as a difference. If not, it is
    Welch's, which asks for no equal spreads. Which of them is decided by the seeds alone, before
    any loss is looked at.

    Raises:
        ComparisonError: A group has less than two runs, or a loss is not finite.

    Example:
        >>> found = difference({1: 2.04, 2: 2.03, 3: 2.06}, {1: 2.02, 2: 2.02, 3: 2.03})
        >>> f"{found.mean:.2f}, p = {found.p:.3f} by a {found.test}"
        '0.02, p = 0.074 by a paired t-test'
    """
    for group in (first, second):
        if len(group) == 1:
            raise ComparisonError(
                "a group has one run, and one run has no spread; train it again, with another seed"
            )
    if first.keys() == second.keys():
        seeds = sorted(first)
        return _paired(_values([first[s] for s in seeds]), _values([second[s] for s in seeds]))
    return _unpaired(_values([*first.values()]), _values([*second.values()]))


def holm(ps: Sequence[float]) -> list[float]:
    """The p values of several tests such that one of them is below a bound by chance no oftener.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Source:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).
    """
    adjusted, least = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        least = max(least, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = least
    return adjusted


def seeds_needed(mean: float, std: float, *, paired: bool = True, power: float = 0.8) -> int:
    """How many seeds of each group show a difference with some probability, at p < 0.05.

    Args:
        mean: The difference.
        std: Of a single pair's difference; if unpaired, of the losses of each group.
        paired: Whether both groups are trained with the same seeds.
        power: The probability.

    Raises:
        ComparisonError: It takes more than ten million.

    Example:
        >>> seeds_needed(0.003, 0.002), seeds_needed(0.003, 0.002, paired=False)
        (6, 9)
    """

    def shown(n: int) -> float:
        # Of two groups, the mean has twice the variance, and both estimate it.
        df, scale = (n - 1, n) if paired else (2 * n - 2, n / 2)
        return _power(abs(mean) / std * math.sqrt(scale), df)

    found = range(2, _MOST_SEEDS)
    i = bisect.bisect_left(found, power, key=shown) if std > 0 and mean != 0 else 0
    if mean == 0 or i == len(found):
        raise ComparisonError(f"no number of seeds shows a difference of {mean:g} beside {std:g}")
    return found[i]


def _paired(first: NDArray[np.float64], second: NDArray[np.float64]) -> Difference:
    apart = first - second
    n, mean, std = len(apart), float(apart.mean()), float(apart.std(ddof=1))
    tested = _NOT_TESTED
    if _spreads(apart, first, second):
        tested = _tested(scipy.stats.ttest_rel(first, second), _error(apart))
    flips = _permutations((apart,), lambda x, axis: x.mean(axis=axis), "samples")
    return Difference(
        mean=mean,
        interval=tested.interval,
        p=tested.p,
        test="paired t-test",
        permutation_p=flips.p,
        permutation_test=f"sign-flip permutation test, {flips.how}",
        least_p=2.0 ** (1 - n),
        pairs=n,
        agreeing=int((np.sign(apart) == np.sign(mean)).sum()),
        correlation=_correlation(first, second),
        std=std,
        detectable=tested.detectable,
    )


def _unpaired(first: NDArray[np.float64], second: NDArray[np.float64]) -> Difference:
    tested = _NOT_TESTED
    if _spreads(first, first, second) or _spreads(second, first, second):
        with warnings.catch_warnings():
            # One of the groups may have no spread, which scipy finds suspicious.
            warnings.simplefilter("ignore", RuntimeWarning)
            test = scipy.stats.ttest_ind(first, second, equal_var=False)
        tested = _tested(test, math.hypot(*(_error(group) for group in (first, second))))
    shuffles = _permutations(
        (first, second), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), "independent"
    )
    return Difference(
        mean=float(first.mean() - second.mean()),
        interval=tested.interval,
        p=tested.p,
        test="Welch's t-test",
        permutation_p=shuffles.p,
        permutation_test=f"permutation test, {shuffles.how}",
        least_p=min(1.0, 2 / math.comb(len(first) + len(second), len(first))),
        pairs=0,
        agreeing=0,
        correlation=None,
        std=math.hypot(*(float(group.std(ddof=1)) for group in (first, second))),
        detectable=tested.detectable,
    )


class _Tested(NamedTuple):
    p: float | None
    interval: Interval | None
    detectable: float | None


_NOT_TESTED: Final = _Tested(None, None, None)


def _tested(test: Any, error: float) -> _Tested:
    """What a t-test of scipy says, and what it would have seen, by the error of the mean."""
    interval = Interval(*map(float, test.confidence_interval(LEVEL)))
    return _Tested(float(test.pvalue), interval, _detectable(error, float(test.df)))


def _error(values: NDArray[np.float64]) -> float:
    """The standard error of the mean."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


class _Permuted(NamedTuple):
    p: float
    how: str


def _permutations(groups: tuple[NDArray[np.float64], ...], statistic: Any, kind: str) -> _Permuted:
    n = len(groups[0])
    count = 2**n if kind == "samples" else math.comb(sum(map(len, groups)), n)
    found = scipy.stats.permutation_test(
        groups,
        statistic,
        permutation_type=kind,
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),  # so that the same runs have the same p
    )
    how = "exact" if count <= _RESAMPLES else f"{_RESAMPLES:,} permutations"
    return _Permuted(float(found.pvalue), how)


def _power(noncentrality: float, df: float) -> float:
    """How often a t-test is below p = 0.05 where the truth is so many standard errors off zero."""
    bound = scipy.stats.t.isf((1 - LEVEL) / 2, df)
    # The square of a noncentral t: scipy's own noncentral t is NaN here and there.
    return float(scipy.stats.ncf.sf(bound**2, 1, df, noncentrality**2))


def _detectable(error: float, df: float) -> float:
    return error * float(scipy.optimize.brentq(lambda shift: _power(shift, df) - 0.8, 1e-9, 1e3))


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    if not (_spreads(first, first, second) and _spreads(second, first, second)):
        return None
    return float(scipy.stats.pearsonr(first, second).statistic)


def _spreads(values: NDArray[np.float64], *losses: NDArray[np.float64]) -> bool:
    """Whether values differ by more than the rounding of the losses they are made of."""
    largest = max(float(np.abs(each).max()) for each in losses)
    return float(np.ptp(values)) > _ROUNDING * largest


def _values(losses: Sequence[float]) -> NDArray[np.float64]:
    if not losses:
        raise ComparisonError("there is no loss")
    wrong = [loss for loss in losses if not math.isfinite(loss)]
    if wrong:
        raise ComparisonError(f"a loss is {wrong[0]}, but has to be finite")
    return np.array(losses, np.float64)
