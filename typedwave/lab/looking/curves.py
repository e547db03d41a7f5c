"""The curves of many runs: smoothed, and brought together where only the seed differs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from typedwave.lab.comparison.groups import groups_of
from typedwave.lab.runs.record import Record
from typedwave.lab.training.recipe import fields_of

__all__ = ["Band", "Curves", "Line", "curves_of", "differing_number", "smoothed", "window_of"]

_POINTS: Final = 1_000
"""Of a line: more than a picture has dots for."""


@dataclass(frozen=True)
class Line:
    """Losses over steps.

    Attributes:
        steps: ``(N,)``, ascending.
        losses: ``(N,)``.
    """

    steps: NDArray[np.float64]
    losses: NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """The losses of several runs over the same steps.

    Attributes:
        steps: ``(N,)``, ascending.
        mean: ``(N,)``: of the runs.
        low: ``(N,)``: the lowest of them.
        high: ``(N,)``: the highest of them.
    """

    steps: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """The curves of a group: runs that differ only in the seed.

    The mean is of the runs that are as long as the longest of them. It would jump where one that
    was stopped drops out, so those are lines of their own.

    Attributes:
        label: In what the group differs from others.
        records: Its runs.
        runs: How many runs the mean is of; 0 where there is no curve.
        train: Smoothed; None where there is no curve.
        validation: At the points; None where there are none.
        shorter: Train and validation of the runs that are not so long.
        level: The mean validation loss of runs without a curve, which are pools and n-grams, once
            they are finished; None where there is a curve.
    """

    label: str
    records: tuple[Record, ...]
    runs: int
    train: Band | None
    validation: Band | None
    shorter: tuple[tuple[Line, Line], ...]
    level: float | None

    @property
    def last(self) -> float:
        """The last validation loss, by which groups are ranked; infinite where there is none."""
        if self.level is not None:
            return self.level
        if self.validation is not None:
            return float(self.validation.mean[-1])
        return math.inf


def window_of(records: Iterable[Record]) -> int:
    """How many steps are smoothed over if nobody says: a hundredth of the longest run."""
    return max(1, max((len(record.metrics.train) for record in records), default=0) // 100)


def curves_of(records: Sequence[Record], *, window: int | None = None) -> list[Curves]:
    """The curves of each group of runs, in the order of their first runs.

    Args:
        records: Of the runs.
        window: Steps that train is smoothed over; that of `window_of` if None.

    Raises:
        ValueError: The window is less than 1, or no run has anything to draw.
    """
    if window is not None and window < 1:
        raise ValueError(f"window is {window}, but has to be at least 1")
    window = window or window_of(records)
    curves = [_curves(group.label, group.records, window) for group in groups_of(records)]
    if all(each.train is None and each.level is None for each in curves):
        raise ValueError("there is nothing to draw: no run has done a step")
    return curves


def smoothed(losses: NDArray[np.float64], window: int) -> Line:
    """The mean of each ``window`` steps that follow one another, at their middle.

    There is none where fewer are left, so nothing is smeared over the ends; of a run that is
    shorter, it is the mean of all.

    Example:
        >>> line = smoothed(np.array([5.0, 3.0, 1.0, 2.0]), window=3)
        >>> line.steps.tolist(), line.losses.tolist()
        ([2.0, 3.0], [3.0, 2.0])
    """
    window = min(window, len(losses))
    if not window:
        return Line(np.zeros(0), np.zeros(0))
    sums = np.concatenate([np.zeros(1), np.cumsum(losses)])
    means: NDArray[np.float64] = (sums[window:] - sums[:-window]) / window
    return Line(np.arange(len(means), dtype=np.float64) + (window + 1) / 2, means)


def differing_number(curves: Sequence[Curves]) -> tuple[str, list[float]] | None:
    """The one number in which groups differ, by name, and that of each; None if it is not so."""
    settings = [_settings(each.records[0]) for each in curves]
    names = {name for fields in settings for name in fields}
    differing = [name for name in names if len({repr(each.get(name)) for each in settings}) > 1]
    if len(differing) != 1:
        return None
    values = [fields.get(differing[0]) for fields in settings]
    if not all(type(value) in (int, float) for value in values):
        return None
    return differing[0], [float(value) for value in values if value is not None]


def _settings(record: Record) -> dict[str, Any]:
    fields = {**asdict(record.config), **fields_of(record.recipe)}
    return {**fields, "seed": None, "words": record.facts.get("words_sha256")}


def _curves(label: str, records: tuple[Record, ...], window: int) -> Curves:
    trained = [record for record in records if len(record.metrics.train) > 1]
    if not trained:
        losses = [r.losses["validation"] for r in records if "validation" in r.losses]
        level = math.fsum(losses) / len(losses) if losses else None
        return Curves(label, records, 0, None, None, (), level)
    longest = max(len(record.metrics.train) for record in trained)
    whole = [record for record in trained if len(record.metrics.train) == longest]
    shorter = [record for record in trained if len(record.metrics.train) < longest]
    return Curves(
        label,
        records,
        len(whole),
        _band([_train(record, window) for record in whole]),
        _band([_validation(record) for record in whole]),
        tuple((_train(record, window), _validation(record)) for record in shorter),
        None,
    )


def _train(record: Record, window: int) -> Line:
    line = smoothed(record.metrics.train, window)
    count = len(line.steps)
    shown = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(np.int64))
    return Line(line.steps[shown], line.losses[shown])


def _validation(record: Record) -> Line:
    points = record.metrics.points
    return Line(
        np.array([point.step for point in points], np.float64),
        np.array([point.validation for point in points], np.float64),
    )


def _band(lines: Sequence[Line]) -> Band | None:
    """Over the steps that all lines have; None if there are none."""
    steps = lines[0].steps
    for line in lines[1:]:
        steps = np.intersect1d(steps, line.steps)
    if not len(steps):
        return None
    losses = np.stack([line.losses[np.isin(line.steps, steps)] for line in lines])
    return Band(steps, losses.mean(0), losses.min(0), losses.max(0))
