import functools
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import pytest
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from typedwave import typed
from typedwave.inspect import table


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


def shown(value: Any) -> str:
    """How a value is shown that has no annotation."""
    row = table(Calls(nn.Identity(), lambda *_: value), torch.zeros(1)).rows[0]
    return row.output


# names


def test_axes_are_named_as_the_annotations_name_them() -> None:
    x = torch.zeros(3, 5, 4)
    assert row_of(Attend(), lambda m, x: m(x, x[:, :2], mask=x[0, :1, :2]), x) == (
        "f32[B=3, T=5, C=4], f32[B=3, S=2, C=4], mask=f32[T=1, S=2]",
        "f32[B=3, heads=2, T=5, C//2=2]",
    )


def test_an_argument_that_is_given_by_name_is_shown_by_name_unless_it_is_none() -> None:
    x = torch.zeros(3, 5, 4)
    assert row_of(Attend(), lambda m, x: m(k=None, q=x), x)[0] == "q=f32[B=3, T=5, C=4]"
    assert row_of(Attend(), lambda m, x: m(x, None), x)[0] == "f32[B=3, T=5, C=4], None"


@pytest.mark.parametrize(
    ("x", "inputs"),
    [
        (torch.zeros(2, 5).long(), "i64[B=2, T=5]"),
        (torch.zeros(2, 5, 7), "f32[B=2, T=5, C=7]"),
        (torch.zeros(3, 5), "f32[3, 5]"),
        (torch.zeros(3, 5, 1, 2), "f32[3, 5, 1, 2]"),
        (torch.zeros(9), "f32[9]"),
    ],
)
def test_names_come_from_the_member_of_a_union_that_fits(x: Tensor, inputs: str) -> None:
    class Either(nn.Module):
        def forward(
            self, x: Int[Tensor, "B T"] | Float[Tensor, "B T C"] | Float[Tensor, "3 _ ..."]
        ) -> Any:
            return x

    assert table(Either(), x).rows[0].inputs == inputs


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ((2, 5, 7), "f32[*B=[2, 5], C=7]"),
        ((5, 7), "f32[*B=5, C=7]"),
        ((7,), "f32[*B=[], C=7]"),
    ],
)
def test_a_name_for_several_axes_shows_what_it_stands_for(shape: Any, named: str) -> None:
    class Same(nn.Module):
        def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
            return x

    row = table(Same(), torch.zeros(shape)).rows[0]
    assert (row.inputs, row.output) == (named, named)


def test_a_name_keeps_its_size_within_one_call_so_that_a_shape_that_disagrees_has_numbers() -> None:
    class Disagrees(nn.Module):
        def forward(self, x: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
            return x[1:]

    row = table(Disagrees(), torch.zeros(3)).rows[0]
    assert (row.inputs, row.output) == ("f32[T=3]", "f32[2]")


def test_every_one_of_the_starred_arguments_is_named() -> None:
    class Starred(nn.Module):
        def forward(
            self,
            x: Float[Tensor, "B"],
            *more: Float[Tensor, "B C"],
            last: Float[Tensor, "C"] | None = None,
            **named: Float[Tensor, "C"],
        ) -> None:
            return None

    x = torch.zeros(2)
    given = row_of(Starred(), lambda m, x: m(x, x[:, None], x[:, None], other=x[:1]), x)[0]
    assert given == "f32[B=2], f32[B=2, C=1], f32[B=2, C=1], other=f32[C=1]"


def test_braces_may_ask_for_an_argument_or_its_default() -> None:
    class Windows(nn.Module):
        def forward(self, x: Float[Tensor, "T"], n: int = 2) -> Float[Tensor, "T//{n} {n}"]:
            return x.unflatten(0, (-1, n))

    assert table(Windows(), torch.zeros(6)).rows[0].output == "f32[T//2=3, n=2]"
    assert table(Windows(), torch.zeros(6), n=3).rows[0].output == "f32[T//3=2, n=3]"


def test_what_is_inside_of_containers_is_named_too() -> None:
    class Nested(nn.Module):
        def forward(
            self, parts: list[Float[Tensor, "_ C"]], more: dict[str, Float[Tensor, "C"]]
        ) -> tuple[Float[Tensor, "C"], tuple[Float[Tensor, "C C"] | None, ...]]:
            (x,) = more.values()
            return x, (x.outer(x), None)

    x = torch.zeros(3)
    assert row_of(Nested(), lambda m, x: m([x[None], x[None]], {"it's": x}), x) == (
        "(f32[1, C=3], f32[1, C=3]), {it's: f32[C=3]}",
        "(f32[C=3], (f32[C=3, C=3], None))",
    )


class Pair(NamedTuple):
    """Two tensors of one size."""

    x: Float[Tensor, "B"]
    y: Float[Tensor, "B"]


@dataclass
class Out:
    """A result of two parts."""

    first: Float[Tensor, "B"]
    rest: Any


def test_the_names_in_a_record_are_its_own() -> None:
    class Merge(nn.Module):
        def forward(self, x: Float[Tensor, "B"], pair: Pair) -> Out:
            return Out(pair.x, {"a": None})

    x = torch.zeros(5)
    assert row_of(Merge(), lambda m, x: m(x, Pair(x[:2], x[:2])), x) == (
        "f32[B=5], Pair(x=f32[B=2], y=f32[B=2])",
        "Out(first=f32[B=2], rest={a: None})",
    )


def test_annotations_are_found_below_other_decorators_in_quotes_and_behind_remarks() -> None:
    def plain(function: Any) -> Any:
        return functools.wraps(function)(lambda *args: function(*args))

    class Decorated(nn.Module):
        @typed
        @plain
        def forward(self, x: "Float[Tensor, 'B']") -> Annotated[Float[Tensor, "B"], "a remark"]:
            return x

    row = table(Decorated(), torch.zeros(3)).rows[0]
    assert (row.inputs, row.output) == ("f32[B=3]", "f32[B=3]")


def test_what_does_not_fit_or_cannot_be_read_has_numbers() -> None:
    class Wrong(nn.Module):
        def forward(
            self, x: Float[Tensor, "B"], y: "Unknown" = None
        ) -> Float[Tensor, "B {self.gone}"]:
            return x

    row = table(Wrong(), torch.zeros(2, 3)).rows[0]
    assert (row.inputs, row.output) == ("f32[2, 3]", "f32[2, 3]")

    class Unreadable(nn.Module):
        def forward(self, x: "Float[Gone, 'B']") -> Float[Tensor, "B"]:
            return x

    assert table(Unreadable(), torch.zeros(2)).rows[0].inputs == "f32[2]"

    module = nn.Linear(3, 2)
    module.forward = torch.relu  # built in
    assert table(module, torch.zeros(2, 3)).rows[0].output == "f32[2, 3]"


# values


@dataclass
class Logits(OrderedDict):
    """A record that is a mapping of those fields that are there, as in transformers."""

    logits: Any
    loss: Any = None

    def __post_init__(self) -> None:
        self["logits"] = self.logits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("hm", "str 'hm'"),
        ((), "()"),
        ([torch.zeros(2), {"a": torch.zeros(3, dtype=torch.bool)}], "(f32[2], {a: bool[3]})"),
        (OrderedDict(a=torch.zeros(2)), "{a: f32[2]}"),
        (deque([torch.zeros(2)]), "(f32[2])"),
        (Out, "type"),
        (Logits(torch.zeros(2)), "{logits: f32[2]}"),
        (Pair(torch.zeros(2), None), "Pair(x=f32[B=2], y=None)"),
        (range(10**12), "range"),
        ([*range(20)], "(int 0, int 1, int 2, int 3, int 4, int 5, int 6, int 7, 12 more)"),
        (
            dict.fromkeys(range(9)),
            "{" + ", ".join(f"{i}: None" for i in range(8)) + ", 1 more}",
        ),
        (torch.zeros(2).to_sparse(), "f32[2]"),
    ],
)
def test_values_are_shown_by_what_is_in_them(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_has_no_shape_to_show() -> None:
    assert shown(torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])) == "nested f32"


def test_a_long_cell_is_cut_where_it_is_printed_but_not_for_programs() -> None:
    found = table(Calls(nn.Identity(), lambda *_: [[None] * 8] * 8), torch.zeros(2))
    whole = f"({', '.join(['(None, None, None, None, None, None, None, None)'] * 8)})"
    assert found.rows[0].output == whole
    cut = f"{whole[:116]} ..."
    assert str(found).splitlines()[1] == f"(model)  Calls     f32[2]  {cut}           0"
    assert f">{cut}</td>" in found._repr_html_()


def test_a_cell_that_has_just_room_is_not_cut() -> None:
    keys = {"a" * 112: None}
    found = table(Calls(nn.Identity(), lambda *_: keys), torch.zeros(2))
    assert len(found.rows[0].output) == 120
    assert found.rows[0].output in str(found)
