"""What all pictures have in common: their size and colours, and how text is written on them."""

import os
from pathlib import Path
from typing import Final

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from typedwave.lab.files import replacing

__all__ = ["COLOURS", "GREY", "by_depth", "new_figure", "plain", "save_figure", "written"]

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart also by the colour-blind: Okabe and Ito, "Color Universal Design" (2008)."""

GREY: Final = "#8C8C8C"
"""Of what is only to be there."""


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches."""
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def save_figure(path: str | os.PathLike[str], figure: Figure) -> None:
    """Writes a picture; the ending of the path names the format.

    Raises:
        ValueError: There is no such format.
        OSError: It cannot be written.
    """
    with replacing(Path(path)) as beside:
        figure.savefig(beside)


def by_depth(number: int, count: int) -> tuple[float, float, float, float]:
    """The colour of one of so many layers: dark at the input, light at the output."""
    red, green, blue, alpha = colormaps["viridis"](0.85 * number / max(1, count - 1))
    return float(red), float(green), float(blue), float(alpha)


def plain(text: str) -> str:
    """The text as it is, though matplotlib takes what is between two dollars for mathematics."""
    return text.replace("$", r"\$")


def written(character: str, *, boundary: str) -> str:
    """A character as it can be read on a picture.

    Args:
        character: Empty for the boundary.
        boundary: What is written for it.

    Returns:
        Its code point where it is white space, or the font lacks it.

    Example:
        >>> written("é", boundary="end"), written("", boundary="end"), written(" ", boundary="end")
        ('é', 'end', 'U+20')
    """
    if not character:
        return boundary
    font = get_font(findfont(FontProperties()))
    if character.isspace() or not font.get_char_index(ord(character)):
        return f"U+{ord(character):02X}"
    return character
