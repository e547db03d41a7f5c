from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, NamedTuple

import pytest
import torch
from jaxtyping import Float, Int, Int32, Shaped
from torch import Tensor, nn

import typedwave
from typedwave import ShapeError, typed
from typedwave.inspect import table
from typedwave.nn import BatchNorm1d, Embedding, Linear, Sequential


class Attend(nn.Module):
    """Is typed by its decorator alone."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads

    @typed
    def forward(
        self,
        q: Float[Tensor, "B T C"],
        k: Float[Tensor, "B S C"] | None = None,
        *,
        mask: Shaped[Tensor, "#T #S"] | None = None,
    ) -> Float[Tensor, "B {self.heads} T C//{self.heads}"]:
        return q.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Calls(nn.Module):
    """Calls a module in a way of its own."""

    def __init__(self, module: nn.Module, call: Any) -> None:
        super().__init__()
        self.module, self.call = module, call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.module, x)


def row_of(module: nn.Module, call: Any, x: Tensor) -> tuple[str, str]:
    row = table(Calls(module, call), x).rows[1]
    return row.inputs, row.output


def test_axes_are_named_as_the_annotations_name_them() -> None:
    x = torch.zeros(3, 5, 4)
    assert row_of(Attend(), lambda m, x: m(x, x[:, :2], mask=x[0, :1, :2]), x) == (
        "f32[B=3, T=5, C=4], f32[B=3, S=2, C=4], f32[T=1, S=2]",
        "f32[B=3, heads=2, T=5, C//2=2]",
    )
    assert row_of(Attend(), lambda m, x: m(k=None, q=x), x)[0] == "None, f32[B=3, T=5, C=4]"


def test_names_come_from_the_member_of_a_union_that_fits() -> None:
    class Either(nn.Module):
        def forward(
            self, x: Int[Tensor, "B T"] | Float[Tensor, "B T C"] | Float[Tensor, "3 _ ..."]
        ) -> Float[Tensor, "*S"]:
            return x.float()

    module = Either()
    for x, inputs in [
        (torch.zeros(2, 5).long(), "i64[B=2, T=5]"),
        (torch.zeros(2, 5, 7), "f32[B=2, T=5, C=7]"),
        (torch.zeros(3, 5), "f32[3, 5]"),
        (torch.zeros(3, 5, 1, 2), "f32[3, 5, 1, 2]"),
        (torch.zeros(9), "f32[9]"),
    ]:
        assert table(module, x).rows[0].inputs == inputs
    assert table(module, torch.zeros(2, 5, 7)).rows[0].output == "f32[*S=[2, 5, 7]]"


def test_what_does_not_fit_or_cannot_be_resolved_has_numbers() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Float[Tensor, "B"], y: "Unknown" = None) -> Float[Tensor, "B"]:
            return x

    assert table(Wrong(), torch.zeros(2, 3)).rows[0].inputs == "f32[2, 3]"
    module = nn.Linear(3, 2)
    module.forward = lambda x: x
    assert table(module, torch.zeros(2, 3)).rows[0].output == "f32[2, 3]"


@dataclass
class Out:
    """A result of two parts."""

    first: Tensor
    rest: Any


class Pair(NamedTuple):
    """Another."""

    x: Tensor
    y: Tensor


def test_records_and_long_lists_are_shown_by_what_is_in_them() -> None:
    x = torch.zeros(2)
    shown = {
        "Out(first=f32[2], rest={a: None})": Out(x, {"a": None}),
        "(f32[2], f32[2])": Pair(x, x),
        "(int 0, int 1, int 2, int 3, int 4, int 5, int 6, int 7, 12 more)": list(range(20)),
    }
    for text, value in shown.items():
        assert table(Calls(nn.Identity(), lambda *_, v=value: v), x).rows[0].output == text


# shapes in the place of examples


@pytest.mark.parametrize("shape", [(2, 3), [2, 3], torch.Size([2, 3])])
def test_a_shape_stands_for_an_example(shape: Any) -> None:
    row = table(nn.Linear(3, 5), shape).rows[0]
    assert (row.inputs, row.output) == ("f32[2, 3]", "f32[2, 5]")


def test_a_shape_and_an_example_go_together() -> None:
    model = nn.Bilinear(3, 4, 5)
    assert table(model, (2, 3), torch.zeros(2, 4)).rows[0].inputs == "f32[2, 3], f32[2, 4]"


class Ids(nn.Module):
    """Takes 32-bit ids only."""

    def forward(self, x: Int32[Tensor, "B"], scale: float = 1.0) -> Float[Tensor, "B"]:
        return x * scale


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (nn.Linear(3, 2), "f32"),
        (nn.Linear(3, 2).double(), "f64"),
        (nn.Embedding(9, 3), "i64"),
        (Embedding(9, 3), "i64"),
        (nn.Sequential(nn.Sequential(nn.Embedding(9, 3)), nn.Linear(3, 2)), "i64"),
        (Sequential(Embedding(9, 3), Linear(3, 2)), "i64"),
        (Sequential(nn.Embedding(9, 3)), "i64"),
        (Linear(3, 2).half(), "f16"),
        (Ids(), "i32"),
        (nn.Sequential(), "f32"),
        (Sequential(), "f32"),
    ],
)
def test_a_shape_has_the_dtype_that_the_model_takes(model: nn.Module, dtype: str) -> None:
    assert table(model, (3,)).rows[0].inputs.startswith(f"{dtype}[")


def test_the_dtype_of_a_shape_may_be_given() -> None:
    assert table(nn.Identity(), (3,), dtype=torch.bool).rows[0].inputs == "bool[3]"


class Remembers(nn.Module):
    """Changes all kinds of attributes in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("total", torch.zeros(3))
        self.register_buffer("nothing", None)
        self.plain = torch.ones(3)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.total.add_(1)
        self.total = self.total + x
        self.nothing = x
        self.calls += 1
        self.new = x
        self.weight = nn.Parameter(x)
        return x * self.plain


def test_a_call_on_a_shape_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(Remembers(), BatchNorm1d(3)).train()
    state = {name: (id(t), t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    generator = torch.get_rng_state()
    assert table(model, (2, 3)).rows[1].output == "f32[2, 3]"
    assert torch.equal(torch.get_rng_state(), generator)
    after = model.state_dict(keep_vars=True)
    assert after.keys() == state.keys()
    for name, (number, before) in state.items():
        assert id(after[name]) == number
        assert type(after[name]) in (Tensor, nn.Parameter)
        assert torch.equal(after[name], before)
    assert model[0].calls == 0
    assert model[0].nothing is None
    assert not hasattr(model[0], "new")
    assert model.training
    assert model(torch.zeros(2, 3)).shape == (2, 3)


def test_a_call_on_a_shape_that_fails_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(Remembers(), Linear(4, 2))
    before = dict(model[0].named_buffers())
    with pytest.raises(ShapeError, match=r"^1 \(Linear\): x has the wrong shape"):
        table(model, (2, 3))
    assert all(buffer is before[name] for name, buffer in model[0].named_buffers())
    assert not any(len(module._forward_hooks) for module in model.modules())


def test_a_shape_needs_no_memory() -> None:
    model = nn.Linear(8, 4)
    assert table(model, (10**9, 8)).rows[0].output == "f32[1000000000, 4]"


# in a notebook


class Cells(HTMLParser):
    """Reads a table, and refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.styles: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.styles.append(dict(attrs)["style"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_in_a_notebook_it_is_a_table_of_the_same_cells() -> None:
    odd = type("<b>&", (nn.Linear,), {})
    model = nn.Sequential()
    model.add_module("a<b", odd(3, 5))
    found = table(model, (2, 3))
    cells = Cells(found._repr_html_())
    assert cells.rows == [
        ["path", "type", "input", "output", "parameters"],
        ["(model)", "Sequential", "f32[2, 3]", "f32[2, 5]", "0"],
        ["a<b", "<b>&", "f32[2, 3]", "f32[2, 5]", "20"],
        ["total", "", "", "", "20"],
    ]
    assert [style.split()[-1] for style in cells.styles] == (["left"] * 4 + ["right"]) * 4


def test_a_typed_model_is_named_in_a_notebook_too() -> None:
    class Model(typedwave.Module):
        def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
            return x

    assert Cells(table(Model(), (2, 3))._repr_html_()).rows[1][2] == "f32[B=2, C=3]"
