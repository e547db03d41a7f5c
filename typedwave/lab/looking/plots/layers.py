"""Activations and gradients, a row for each layer."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from matplotlib.typing import ColorType

from typedwave.lab.looking.diagnostics import SATURATED, Activation, NetworkGradients, Values
from typedwave.lab.looking.plots.figures import GREY, by_depth, new_figure

__all__ = ["draw_activations", "draw_gradients"]

_ROW: Final = 0.34  # inches
_PEAK: Final = 0.85  # of a row


def draw_activations(layers: Sequence[Activation], *, title: str) -> Figure:
    """Draws the distribution of what each layer gave; the highest bin of each is as high.

    On the left are the functions that have bounds, with the share of their numbers where they are
    flat; on the right all other layers.

    Args:
        layers: At least one.
        title: Above the picture.
    """
    sides = [
        (
            "between bounds, and the share where the function is flat",
            [layer for layer in layers if layer.bounds is not None],
        ),
        ("without bounds", [layer for layer in layers if layer.bounds is None]),
    ]
    sides = [(told, rows) for told, rows in sides if rows]
    figure = new_figure(5.5 * len(sides), 1.4 + _ROW * max(len(rows) for _, rows in sides))
    figure.suptitle(title)
    order = {id(layer): number for number, layer in enumerate(layers)}
    for axes, (told, rows) in zip(
        figure.subplots(1, len(sides), squeeze=False)[0], sides, strict=True
    ):
        colours = [by_depth(order[id(row)], len(layers)) for row in rows]
        _ridges(axes, rows, [_share(row) for row in rows], colours)
        axes.set_title(told, fontsize=9, loc="left")
        axes.set_xlabel("activation")
        if rows[0].bounds is not None:
            _mark_flat(axes, rows)
    return figure


def draw_gradients(gradients: NetworkGradients, *, title: str) -> Figure:
    """Draws the gradients at each layer, and of each matrix, with its ratio to the matrix.

    Args:
        gradients: Of at least one layer and one parameter.
        title: Above the picture.
    """
    layers = gradients.activations
    weights = [weight for weight in gradients.weights if len(weight.shape) > 1]
    rows = max(len(layers), len(weights))
    figure = new_figure(14, 1.4 + _ROW * rows)
    figure.suptitle(title)
    left, middle, right = figure.subplots(1, 3, width_ratios=[2, 2, 1.1])
    colours = [by_depth(number, len(layers)) for number in range(len(layers))]
    _ridges(left, layers, [f"std {layer.std:.2e}" for layer in layers], colours)
    left.set_title("at what each layer gave", fontsize=9, loc="left")
    left.set_xlabel("gradient of the sum of the losses")
    _zoom(left, layers)
    colours = [by_depth(number, len(weights)) for number in range(len(weights))]
    _ridges(middle, weights, [f"std {weight.std:.2e}" for weight in weights], colours)
    middle.set_title("of each matrix", fontsize=9, loc="left")
    middle.set_xlabel("gradient of the mean loss")
    _zoom(middle, weights)
    ratios = np.array([weight.ratio for weight in weights])
    shown = np.isfinite(ratios) & (ratios > 0)
    ratios[~shown] = np.nan
    right.scatter(ratios, -np.arange(len(weights)), c=colours)
    right.set(xlabel="std / std of the matrix", ylim=middle.get_ylim())
    if shown.any():
        low, high = np.log10([ratios[shown].min(), ratios[shown].max()])
        # Whole decades, so that two ends have a number.
        right.set(xscale="log", xlim=(10 ** np.floor(low), 10 ** (np.floor(high) + 1)))
        right.xaxis.set_minor_formatter(NullFormatter())
    right.set_yticks([])
    right.set_title("in proportion to it", fontsize=9, loc="left")
    right.grid(alpha=0.3)
    return figure


def _ridges(
    axes: Axes, rows: Sequence[Values], told: Sequence[str], colours: Sequence[ColorType]
) -> None:
    """A histogram a row, from the top, with its name on the left and what is told on the right."""
    for number, (row, beside, colour) in enumerate(zip(rows, told, colours, strict=True)):
        density = row.histogram.density
        heights = _PEAK * density / density.max() - number
        axes.stairs(
            heights,
            row.histogram.edges,
            baseline=-number,
            fill=True,
            color=colour,
            antialiased=False,
        )
        axes.axhline(-number, color=GREY, linewidth=0.4)
        axes.text(1.01, -number, beside, fontsize=7, transform=axes.get_yaxis_transform())
    names = [row.name if row.kind == "Parameter" else f"{row.name} {row.kind}" for row in rows]
    axes.set_yticks([-number for number in range(len(rows))], names, fontsize=7)
    axes.set_ylim(-len(rows) + 0.8, 1)


def _mark_flat(axes: Axes, rows: Sequence[Activation]) -> None:
    """Dashes from where on a function is flat."""
    for number, row in enumerate(rows):
        if row.saturated is None or row.bounds is None:
            continue
        low, high = row.bounds
        middle, half = (low + high) / 2, (high - low) / 2
        ends = [middle - SATURATED * half, middle + SATURATED * half]
        axes.vlines(ends, -number, 1 - number, GREY, linestyles="--", linewidth=0.8)
    axes.set_xlim(-1.02, 1.02)


def _zoom(axes: Axes, rows: Sequence[Values]) -> None:
    """Shows three standard deviations of the widest row."""
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(axis="x", scilimits=(-2, 3))
    reach = 3 * max(row.std for row in rows)
    if reach > 0:
        axes.set_xlim(-reach, reach)


def _share(layer: Activation) -> str:
    """What is told beside a layer: ``std 0.63, 12.3 % flat, 2.0 % dead``."""
    told = f"std {layer.std:.2f}"
    if layer.saturated is not None:
        told += f", {100 * layer.saturated:.1f} % flat"
    if layer.dead:
        told += f", {100 * layer.dead:.1f} % dead"
    return told
