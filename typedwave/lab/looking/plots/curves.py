"""The curves of many runs in one picture."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter
from matplotlib.typing import ColorType

from typedwave.lab.looking.curves import Band, Curves, Line, differing_number
from typedwave.lab.looking.plots.figures import COLOURS, GREY, new_figure, plain
from typedwave.lab.training.recipe import WordsRecipe

__all__ = ["draw_curves"]

_NAMED: Final = len(COLOURS)
_POINTS: Final = 5
"""Of validation, from which on they show how a run went."""

_DECADE: Final = 10


def draw_curves(curves: Sequence[Curves], *, window: int, log: bool = False) -> Figure:
    """Draws train and validation loss of groups of runs over their steps.

    A group has one colour: a thin line for train, and a line with dots for validation, around each
    a band from the lowest run to the highest. A run that is shorter than the longest of its group
    is a line of its own with a cross at its end; a pool or an n-gram, which has no curve, is a
    dotted line at its loss.

    More than seven groups cannot be told apart by colours. If they differ in one number, a colour
    bar tells it; if not, the seven best by validation have a name, and the others are grey. Of
    groups without a name there is the mean of the runs only, and of validation only, if that has a
    few points at least.

    Args:
        curves: Of at least one group.
        window: Steps that train is smoothed over, to be told.
        log: Whether both axes are logarithmic.
    """
    figure = new_figure(9, 6)
    axes = figure.subplots()
    ranked = sorted(curves, key=lambda each: each.last)
    number = differing_number(ranked) if len(ranked) > _NAMED else None
    named = ranked[:_NAMED] if number is None else []
    unnamed = ranked[len(named) :]
    train = any(len(each.validation.steps) < _POINTS for each in unnamed if each.validation)
    handles = []
    if number is None:
        handles += _by_name(axes, named, unnamed, train=train)
    else:
        _by_number(figure, axes, unnamed, *number, train=train)
    if log:
        _logarithmic(axes)
    handles += _kinds_of_lines(ranked if train else named, window)
    if handles:
        figure.set_figheight(5.5 + 0.2 * len(handles))
        figure.legend(handles=handles, fontsize=8, loc="outside lower left", frameon=False)
    axes.set(
        xlabel="step",
        ylabel="loss (nats a character)"
        if named or train
        else "validation loss (nats a character)",
    )
    if any(each.runs > 1 for each in named):
        axes.set_title("band: from the lowest run to the highest", fontsize=9, loc="left")
    axes.grid(alpha=0.3)
    return figure


def _by_name(
    axes: Axes, named: Sequence[Curves], unnamed: Sequence[Curves], *, train: bool
) -> list[Line2D]:
    """Draws groups that have a name, and behind them those that have none; the legend's lines."""
    for each in unnamed:
        _draw(axes, each, GREY, train=train, width=0.7, bands=False)
    handles = []
    for each, colour in zip(named, COLOURS, strict=False):
        _draw(axes, each, colour, train=True, width=1.6)
        handle = Line2D([], [], color=colour, label=_label(each, alone=len(named) == 1))
        handle.set_linestyle("-" if each.level is None else ":")
        handles.append(handle)
    if unnamed:
        handles.append(Line2D([], [], color=GREY, linewidth=0.7, label=f"{len(unnamed)} others"))
    return handles


def _by_number(
    figure: Figure,
    axes: Axes,
    groups: Sequence[Curves],
    name: str,
    values: Sequence[float],
    *,
    train: bool,
) -> None:
    """Draws groups in the colour of a number in which they differ."""
    low, high = min(values), max(values)
    norm = LogNorm(low, high) if 0 < low * _DECADE <= high else Normalize(low, high)
    # Without its lightest end, which would not be seen on white.
    colours = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))
    for each, value in zip(groups, values, strict=True):
        _draw(axes, each, colours(float(norm(value))), train=train, width=1.0, bands=False)
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=plain(name))


def _draw(
    axes: Axes,
    curves: Curves,
    colour: ColorType,
    *,
    train: bool,
    width: float,
    bands: bool = True,
) -> None:
    bands = bands and curves.runs > 1
    if curves.level is not None:
        axes.axhline(curves.level, color=colour, linestyle=":", linewidth=width)
    if train:
        _band(axes, curves.train, colour, between=bands, linewidth=0.6 * width, marker="")
    _band(axes, curves.validation, colour, between=bands, linewidth=width, marker="o")
    for short_train, short_validation in curves.shorter:
        if train:
            _shorter(axes, short_train, colour, linewidth=0.35 * width)
        _shorter(axes, short_validation, colour, linewidth=0.5 * width)


def _band(
    axes: Axes,
    band: Band | None,
    colour: ColorType,
    *,
    between: bool,
    linewidth: float,
    marker: str,
) -> None:
    if band is None:
        return
    if between:
        axes.fill_between(band.steps, band.low, band.high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(
        band.steps,
        band.mean,
        color=colour,
        linewidth=linewidth,
        marker=marker,
        markersize=2 + linewidth,
    )


def _shorter(axes: Axes, line: Line, colour: ColorType, *, linewidth: float) -> None:
    """A line with a cross at its end."""
    axes.plot(
        line.steps,
        line.losses,
        color=colour,
        linewidth=linewidth,
        marker="x",
        markersize=5,
        markevery=[-1] if len(line.steps) else None,
    )


def _label(curves: Curves, *, alone: bool) -> str:
    """What a group is called in the legend: ``n_embd=24 (3 runs): 1.9738``."""
    records = curves.records
    label = records[0].name if alone and len(records) == 1 else curves.label
    notes = [f"{len(records)} runs"] if len(records) > 1 else []
    if curves.shorter and curves.runs:
        notes.append(f"{len(curves.shorter)} of them shorter")
    told = f" ({', '.join(notes)})" if notes else ""
    last = f": {curves.last:.4f}" if np.isfinite(curves.last) else ": no loss yet"
    return plain(f"{label}{told}{last}")


def _kinds_of_lines(named: Sequence[Curves], window: int) -> list[Line2D]:
    """The legend's lines for train and validation."""
    if all(each.level is not None for each in named):
        return []
    recipes = [record.recipe for each in named for record in each.records]
    taught = any(isinstance(recipe, WordsRecipe) and recipe.teacher for recipe in recipes)
    against = ", against the teacher where there is one" if taught else ""
    smooth = f", mean of {window:,} steps" if window > 1 else ""
    return [
        Line2D([], [], color=GREY, linewidth=1, label=f"train{smooth}{against}"),
        Line2D([], [], color=GREY, linewidth=1.6, marker="o", markersize=3, label="validation"),
    ]


def _logarithmic(axes: Axes) -> None:
    axes.set(xscale="log", yscale="log")
    # Losses are within a decade, of which the powers of ten would be no ticks at all.
    axes.yaxis.set_major_locator(MaxNLocator(8))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
