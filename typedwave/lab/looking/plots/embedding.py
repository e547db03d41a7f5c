"""The characters where the embedding has them."""

from matplotlib.figure import Figure

from typedwave.lab.looking.diagnostics import EmbeddingMap
from typedwave.lab.looking.plots.figures import COLOURS, GREY, new_figure, plain, written

__all__ = ["draw_embedding"]


def draw_embedding(embedding: EmbeddingMap, *, title: str) -> Figure:
    """Draws each character at its place.

    Args:
        embedding: Of at least one character.
        title: Above the picture.
    """
    figure = new_figure(7, 7)
    axes = figure.subplots()
    axes.scatter(
        embedding.places[:, 0],
        embedding.places[:, 1],
        s=190,
        color=COLOURS[5],
        alpha=0.35,
        linewidths=0,
    )
    size = 10 if len(embedding.characters) <= 60 else 7
    for character, (x, y) in zip(embedding.characters, embedding.places, strict=True):
        label = plain(written(character, boundary="start"))
        axes.text(x, y, label, ha="center", va="center", fontsize=size if len(label) == 1 else 6)
    of = "principal component" if embedding.principal else "channel"
    first, second = embedding.explained
    axes.set_xlabel(f"first {of} ({100 * first:.0f} % of the variance)")
    axes.set_ylabel(f"second {of} ({100 * second:.0f} % of the variance)")
    axes.set_title(title)
    # One unit is as long on both axes: distances are what is to be seen.
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(color=GREY, alpha=0.3)
    return figure
