"""What a run looks like: the curve of its losses."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typedwave.lab.files import replacing
from typedwave.lab.runs.metrics import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_curve", "matplotlib_figure"]


def matplotlib_figure() -> "type[Figure]":
    """The class of figures, which takes a third of a second to import.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    return Figure


def draw_curve(path: str | os.PathLike[str], points: Sequence[Point], *, title: str) -> None:
    """Draws train and validation loss over the steps; the ending of the path names the format.

    Args:
        path: Of the picture.
        points: At least one.
        title: Above the picture.
    """
    figure = matplotlib_figure()(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    steps = [point.step for point in points]
    axes.plot(steps, [p.train for p in points], color="tab:blue", label="train, mean of the window")
    axes.plot(
        steps,
        [p.validation for p in points],
        "o-",
        color="tab:orange",
        markersize=3,
        label="validation",
    )
    last = points[-1]
    axes.annotate(
        f"{last.validation:.4f}",
        (last.step, last.validation),
        textcoords="offset points",
        xytext=(0, 8),
        ha="right",
    )
    axes.set(xlabel="step", ylabel="loss (nats a character)", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(Path(path)) as beside:
        figure.savefig(beside)
