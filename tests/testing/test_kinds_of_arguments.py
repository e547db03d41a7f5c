"""Containers, records, unions and plain values among the arguments that `arguments` draws."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest
import torch
from drawn import drawn
from hypothesis import given
from jaxtyping import Float, Int
from torch import Tensor

from typedwave.testing import Call, Case, arguments


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2


class Pair(NamedTuple):
    mean: Float[Tensor, "B C"]
    count: Int[Tensor, "B"]


@dataclass
class Record:
    scores: Float[Tensor, "B T"]
    extra: Float[Tensor, "B"] | None
    steps: int


def mixed(
    pair: Pair,
    record: Record,
    /,
    several: list[Float[Tensor, "B"]],
    named: dict[str, Float[Tensor, "C"]],
    two: tuple[Float[Tensor, "T"], Int[Tensor, "C"]],
    sequence: Sequence[Float[Tensor, "B"]],
    *rest: Float[Tensor, "T"],
    some: Float[Tensor, "B"] | Int[Tensor, "B T"] | None,
    word: Literal["a", "b"] | Float[Tensor, "B"],
    flag: bool,
    mode: Mode,
    kept: str = "as it is",
    **more: Float[Tensor, "C"],
) -> Tensor:
    return pair.mean


@given(arguments(mixed, edges=False))
def test_containers_and_records_are_filled_and_all_agree(call):
    pair, record, several, named, two, sequence, *rest = call.args
    (b, c), t = pair.mean.shape, record.scores.shape[1]
    assert (type(pair), type(record), type(several), type(two)) == (Pair, Record, list, tuple)
    assert pair.count.shape == (b,)
    assert record.scores.shape == (b, t)
    assert record.extra is None or record.extra.shape == (b,)
    assert type(record.steps) is int
    assert {tensor.shape for tensor in (*several, *sequence)} == {(b,)}
    assert isinstance(named, Mapping)
    assert {*map(type, named)} <= {str}
    assert [tensor.shape for tensor in two] == [(t,), (c,)]
    assert all(tensor.shape == (t,) for tensor in rest)
    keywords = dict(call.kwargs)
    some, word = keywords.pop("some"), keywords.pop("word")
    assert some is None or some.shape in ((b,), (b, t))
    assert word in ("a", "b") if isinstance(word, str) else word.shape == (b,)
    assert type(keywords.pop("flag")) is bool
    assert isinstance(keywords.pop("mode"), Mode)
    assert all(tensor.shape == (c,) for tensor in keywords.values())
    mixed(*call.args, **call.kwargs)


KINDS: dict[str, Callable[[Call], bool]] = {
    "None in a record": lambda call: call.args[1].extra is None,
    "a tensor in a record": lambda call: call.args[1].extra is not None,
    "three in a list": lambda call: len(call.args[2]) == 3,
    "one in a list": lambda call: len(call.args[2]) == 1,
    "no further ones": lambda call: len(call.args) == 6 and len(call.kwargs) == 4,
    "further ones": lambda call: len(call.args) > 6 and len(call.kwargs) > 4,
    "None": lambda call: call.kwargs["some"] is None,
    "the first of a union": lambda call: getattr(call.kwargs["some"], "ndim", 0) == 1,
    "the second of a union": lambda call: getattr(call.kwargs["some"], "ndim", 0) == 2,
    "a word of a union": lambda call: call.kwargs["word"] == "b",
    "a tensor of that union": lambda call: isinstance(call.kwargs["word"], Tensor),
    "True": lambda call: call.kwargs["flag"],
    "an enum": lambda call: call.kwargs["mode"] is Mode.SLOW,
}


@pytest.mark.parametrize("condition", KINDS.values(), ids=KINDS)
def test_there_is(condition):
    assert any(map(condition, drawn(mixed)))


@given(arguments(mixed))
def test_the_repr_of_a_case_is_code_that_makes_it(call):
    case = eval(repr(call.case), {"Case": Case, "torch": torch, "Mode": Mode})
    assert case == call.case
    assert repr(case) == repr(call.case)


def test_the_repr_leaves_out_what_is_as_by_default():
    assert repr(Case()) == "Case()"
    case = Case({"*B": (2,)}, {"k": Mode.FAST}, "nan", "strided", torch.float64, 3)
    assert repr(case) == (
        "Case(sizes={'*B': (2,)}, choices={'k': Mode.FAST}, values='nan', layout='strided', "
        "dtype=torch.float64, seed=3)"
    )
