"""How far steps moved the parameters, over a run."""

from typing import Final

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from typedwave.lab.looking.diagnostics import Updates
from typedwave.lab.looking.plots.figures import GREY, by_depth, new_figure

__all__ = ["draw_updates"]

GUIDE: Final = 1e-3
"""What the lecture wants to see, about: each step moves a weight by a thousandth."""

_NAMED: Final = 30


def draw_updates(updates: Updates, *, title: str) -> Figure:
    """Draws the ratio of update to parameter of each matrix, and the lecture's guide at 1/1000.

    Args:
        updates: Of at least one parameter; if none is a matrix, all are drawn.
        title: Above the picture.
    """
    figure = new_figure(9, 5.5)
    axes = figure.subplots()
    names = updates.matrices or tuple(updates.ratios)
    named = len(names) <= _NAMED
    for number, name in enumerate(names):
        ratios = np.where(updates.ratios[name] > 0, updates.ratios[name], np.nan)
        line = axes.plot(updates.steps, ratios, color=by_depth(number, len(names)), linewidth=1.2)
        line[0].set_label(name if named else "")
    axes.axhline(GUIDE, color="black", linestyle="--", linewidth=1, label="a thousandth")
    axes.set(yscale="log", xlabel="step", ylabel="std of update / std of parameter", title=title)
    axes.grid(color=GREY, alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    if not named:
        depths = ListedColormap([by_depth(number, len(names)) for number in range(len(names))])
        bar = figure.colorbar(ScalarMappable(Normalize(0, len(names)), depths), ax=axes, ticks=[])
        bar.set_label(f"from {names[0]} to {names[-1]}")
    return figure
