"""What the charts of a page draw, as JSON has it; colours and sizes are up to the page."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import scipy  # type: ignore[import-untyped]  # it has no types; its parts are loaded when used

from typedwave.lab.page.entries import Entry
from typedwave.lab.page.lines import Line, thinned, window_of
from typedwave.lab.page.settings import Setting, differing, spelled

__all__ = ["COLOURS", "Chart", "curves_of", "scatters_of"]

Chart = dict[str, Any]

COLOURS: Final = 8
"""Of the best groups; those behind them are grey, so that eyes find something to hold on to."""

DECADE: Final = 10
"""From so many times the least value on, an axis is logarithmic."""

ENOUGH: Final = 5
"""Runs from which on a rank correlation is told."""

BESIDE: Final = {"parameters": "parameters", "seconds": "seconds of training"}
"""What may explain a loss though it is no hyper-parameter."""


def curves_of(entries: Sequence[Entry], groups: Sequence[Sequence[int]]) -> Chart:
    """Runs with their lines, and groups with the numbers of their colours.

    Args:
        entries: The runs.
        groups: The numbers of those that differ only in the seed, best first.
    """
    longest = max(len(entry.record.metrics.train) for entry in entries)
    window = window_of(longest)
    lines = [_lines(entry, window) for entry in entries]
    runs = [
        {
            "label": entry.label,
            "state": entry.state,
            "losses": entry.losses,
            "steps": len(entry.record.metrics.train),
            "seconds": entry.seconds,
            **{name: asdict(line) for name, line in each.items()},
        }
        for entry, each in zip(entries, lines, strict=True)
    ]
    toned = [
        {"runs": list(group), "tone": number if number < COLOURS else None}
        for number, group in enumerate(groups)
    ]
    return {"window": window, "runs": runs, "groups": toned}


def _lines(entry: Entry, window: int) -> dict[str, Line]:
    metrics = entry.record.metrics
    points = window_of(len(metrics.points))
    return {
        "train": thinned(metrics.steps, metrics.train, window=window),
        "rate": thinned(metrics.steps, metrics.rate, window=window),
        "validation": thinned(
            [point.step for point in metrics.points],
            [point.validation for point in metrics.points],
            window=points,
        ),
    }


def scatters_of(entries: Sequence[Entry]) -> list[Chart]:
    """A chart for each hyper-parameter that differs, and for what else may explain a loss."""
    names = [name for name in differing([e.settings for e in entries]) if name != "seed"]
    charts = [_scatter(name, [e.settings.get(name) for e in entries], entries) for name in names]
    for name, title in BESIDE.items():
        values = [getattr(entry, name) for entry in entries]
        if len({value for value in values if value is not None}) > 1:
            charts.append(_scatter(title, values, entries))
    return charts


def _scatter(name: str, values: Sequence[Setting | None], entries: Sequence[Entry]) -> Chart:
    there = [value for value in values if value is not None]
    numbers = [v for v in there if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(there):
        categories = sorted({spelled(value) for value in there})
        places = [None if v is None else categories.index(spelled(v)) for v in values]
        return {"name": name, "categories": categories, "values": places}
    log = min(numbers) > 0 and max(numbers) > DECADE * min(numbers)
    pairs = [
        (value, entry.validation)
        for value, entry in zip(values, entries, strict=True)
        if value is not None and math.isfinite(entry.validation)
    ]
    return {"name": name, "log": log, "values": list(values), "correlation": _correlation(pairs)}


def _correlation(pairs: Sequence[tuple[Any, float]]) -> float | None:
    """Of the ranks, from -1 to 1."""
    if len(pairs) < ENOUGH:
        return None
    values, losses = zip(*pairs, strict=True)
    if len(set(values)) == 1 or len(set(losses)) == 1:
        return None
    return float(scipy.stats.spearmanr(values, losses).statistic)
