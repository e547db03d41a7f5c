"""The loss by position in a word and by character."""

from typing import Final

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from typedwave.lab.looking.diagnostics import PlaceLosses
from typedwave.lab.looking.plots.figures import COLOURS, GREY, new_figure, plain, written

__all__ = ["draw_characters", "draw_positions"]

_FEW: Final = 30
"""Words of which a mean says little."""

_CHARACTERS: Final = 60
"""That are legible in one picture."""


def draw_positions(losses: PlaceLosses, *, title: str) -> Figure:
    """Draws the mean loss of each position of a word, and how many words have it.

    Args:
        losses: Of at least one word.
        title: Above the picture.
    """
    figure = new_figure(8, 5.5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    positions = np.arange(1, len(losses.by_position) + 1)
    few = losses.position_counts < _FEW
    colours = np.where(few, COLOURS[5], COLOURS[0])
    above.bar(positions, losses.by_position, color=colours.tolist())
    above.axhline(losses.loss, color="black", linestyle="--", linewidth=1)
    above.annotate(
        f"mean of all {losses.loss:.4f}",
        (1, losses.loss),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        bbox={"boxstyle": "square,pad=0.1", "color": "white", "alpha": 0.7},
    )
    if few.any():
        handle = Patch(color=COLOURS[5], label=f"fewer than {_FEW} words")
        above.legend(handles=[handle], fontsize=8)
    above.set(ylabel="loss (nats a character)", title=title)
    below.bar(positions, losses.position_counts, color=GREY)
    below.set(xlabel="position in the word; its end counts as one", ylabel="words")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.set_xlim(0.4, len(positions) + 0.6)
    for axes in (above, below):
        axes.set_axisbelow(True)
        axes.grid(axis="y", alpha=0.3)
    return figure


def draw_characters(losses: PlaceLosses, *, title: str) -> Figure:
    """Draws for each character the loss where it came, its share of all, and what was expected.

    Of more than 60 characters, those that came most often.

    Args:
        losses: Of at least one word.
        title: Above the picture.
    """
    counts = losses.character_counts
    shown = np.sort(np.argsort(-counts, kind="stable")[:_CHARACTERS])
    labels = [plain(written(losses.characters[i], boundary="end")) for i in shown]
    rows = np.arange(len(shown))
    figure = new_figure(5.5 + 0.22 * len(shown), 2 + 0.2 * len(shown))
    figure.suptitle(title)
    left, middle, right = figure.subplots(
        1, 3, sharey=True, width_ratios=[1.6, 1.6, max(3, 0.2 * len(shown))]
    )
    left.barh(rows, losses.by_character[shown], color=COLOURS[0])
    left.set(xlabel="loss where it came (nats)", ylabel="what came")
    left.set_yticks(rows, labels, fontsize=8)
    left.set_ylim(len(shown) - 0.5, -0.5)
    shares = counts / counts.sum()
    of_loss = np.nan_to_num(losses.by_character) * counts
    of_loss = of_loss / of_loss.sum()
    middle.barh(rows - 0.2, 100 * shares[shown], 0.4, color=GREY, label="of all places")
    middle.barh(rows + 0.2, 100 * of_loss[shown], 0.4, color=COLOURS[1], label="of all loss")
    middle.set_xlabel("share (%)")
    middle.legend(fontsize=7)
    chances = losses.chances[np.ix_(shown, shown)]
    image = right.imshow(
        chances, cmap="Blues", norm=PowerNorm(0.5, 0), aspect="auto", interpolation="nearest"
    )
    right.set_xticks(rows, labels, fontsize=8)
    right.set_xlabel("mean chance given to it there")
    figure.colorbar(image, ax=right, label="chance")
    for axes in (left, middle):
        axes.set_axisbelow(True)
        axes.grid(axis="x", alpha=0.3)
    return figure
