"""A table for a notebook. It has no colours of its own: those are the theme's."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["as_html"]


def as_html(
    head: Sequence[str], body: Iterable[tuple[int, Sequence[str]]], total: Sequence[str]
) -> str:
    """A table with a title for each row on the left and a number on the right.

    Args:
        head: The titles of the columns.
        body: How deep the title of each row is indented, and its cells.
        total: The cells of the last row.
    """
    last = len(head) - 1
    titles = "".join(_cell("th", text, i == last, 'scope="col"') for i, text in enumerate(head))
    rows = "\n".join(_row(cells, depth) for depth, cells in body)
    return (
        '<div style="overflow-x: auto">\n'
        '<table style="white-space: nowrap; font-variant-numeric: tabular-nums">\n'
        f"<thead><tr>{titles}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n"
        f"<tfoot>{_row(total, 0)}</tfoot>\n"
        "</table>\n</div>"
    )


def _row(cells: Sequence[str], depth: int) -> str:
    title, *inner, number = cells
    shown = [_cell("td", text, False) for text in inner]
    start = _cell("th", title, False, 'scope="row"', f"; padding-left: {0.5 + depth}em")
    return f"<tr>{start}{''.join(shown)}{_cell('td', number, True)}</tr>"


def _cell(tag: str, text: str, right: bool, attributes: str = "", style: str = "") -> str:
    side = "right" if right else "left"
    opened = f"{tag} {attributes}".strip()
    return f'<{opened} style="text-align: {side}{style}">{escape(text)}</{tag}>'
