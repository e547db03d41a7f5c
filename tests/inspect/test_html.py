from html.parser import HTMLParser

import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor, nn

import typedwave
from typedwave.inspect import Row, Table, table


class Parsed(HTMLParser):
    """Reads a table, and refuses what is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.cells: list[tuple[str, dict[str, str | None]]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cells.append((".".join(self.open[1:]), dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        else:
            assert data.isspace()


def odd_model() -> nn.Module:
    model = nn.Sequential(nn.Sequential())
    model[0].add_module('a<b>&"', type("<b>&", (nn.Linear,), {})(3, 5))
    return model


def test_in_a_notebook_it_is_a_table_of_the_same_cells() -> None:
    assert Parsed(table(odd_model(), (2, 3))._repr_html_()).rows == [
        ["path", "type", "input", "output", "parameters"],
        ["(model)", "Sequential", "f32[2, 3]", "f32[2, 5]", "0"],
        ["0", "Sequential", "f32[2, 3]", "f32[2, 5]", "0"],
        ['0.a<b>&"', "<b>&", "f32[2, 3]", "f32[2, 5]", "20"],
        ["total", "", "", "", "20"],
    ]


def test_rows_and_columns_have_headings_numbers_are_on_the_right_and_paths_are_indented() -> None:
    cells = Parsed(table(odd_model(), (2, 3))._repr_html_()).cells
    left, right = {"style": "text-align: left"}, {"style": "text-align: right"}
    head = [("table.thead.tr.th", {"scope": "col", **side}) for side in [left] * 4 + [right]]
    assert cells[:5] == head
    for i, depth, part in [(5, 0, "tbody"), (10, 1, "tbody"), (15, 2, "tbody"), (20, 0, "tfoot")]:
        indented = f"text-align: left; padding-left: {depth}.5em"
        assert cells[i : i + 5] == [
            (f"table.{part}.tr.th", {"scope": "row", "style": indented}),
            *[(f"table.{part}.tr.td", side) for side in [left] * 3 + [right]],
        ]


def test_it_has_no_colours_and_asks_for_nothing_from_elsewhere() -> None:
    text = table(odd_model(), (2, 3))._repr_html_()
    assert {name for name, _ in Parsed(text).attributes} == {"style", "scope"}
    assert "color" not in text
    assert "url" not in text


def test_a_typed_model_is_named_in_a_notebook_too() -> None:
    class Model(typedwave.Module):
        def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
            return x

    found = table(Model(), torch.zeros(2, 3))
    assert Parsed(found._repr_html_()).rows[1][2] == "f32[B=2, C=3]"


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\0"), max_size=9), min_size=4, max_size=4)
)
def test_whatever_the_texts_are_they_come_through(texts: list[str]) -> None:
    found = Table((Row(*texts, 7),), 7)
    assert Parsed(found._repr_html_()).rows[1] == [texts[0] or "(model)", *texts[1:], "7"]
