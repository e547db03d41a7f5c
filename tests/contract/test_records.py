from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pytest
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from typedwave import ShapeError, typed

zeros = torch.zeros


class Batch(NamedTuple):
    """Contexts and targets, in names of its own."""

    x: Float[Tensor, "B T"]
    y: Int64[Tensor, "B"]
    note: str = ""


@dataclass
class Cache:
    """Keys and values of equal length."""

    keys: Float[Tensor, "T C"]
    values: list[Float[Tensor, "T C"]] = field(default_factory=list)
    parent: "Cache | None" = None


class First(NamedTuple):
    """Holds the second, which may hold the first."""

    x: Float[Tensor, "B"]
    second: "Second | None" = None


class Second(NamedTuple):
    """The other way round."""

    first: First | None = None


@typed
def loss(batch: Batch, weight: Float[Tensor, "B"]) -> Float[Tensor, ""]:
    return (batch.x.sum(1) * weight[0]).sum()


@typed
def last(cache: Cache) -> Cache:
    return Cache(cache.keys, [cache.values[-1].clone()] if cache.values else [cache.keys[:1]])


def good(size: int = 2) -> Batch:
    return Batch(zeros(size, 3), zeros(size).long())


@pytest.mark.parametrize("before", [0, 2])
def test_every_field_of_a_named_tuple_is_checked(before: int) -> None:
    for _ in range(before):
        assert loss(good(), zeros(2)).shape == ()
    with pytest.raises(ShapeError) as caught:
        loss(Batch(zeros(2, 3), zeros(5).long()), zeros(2))
    assert str(caught.value) == (
        "loss: batch.y has the wrong shape\n"
        '  expected  Int64 "B"   B = 2\n'
        "  got       i64[5]      axis 0 is 5\n"
        "  B = 2 comes from batch.x f32[2, 3]"
    )
    with pytest.raises(ShapeError, match=r"^loss: batch.x has the wrong dtype"):
        loss(Batch(zeros(2, 3).long(), zeros(2).long()), zeros(2))
    with pytest.raises(ShapeError, match=r"^loss: batch is not Batch"):
        loss((zeros(2, 3), zeros(2).long()), zeros(2))  # type: ignore[arg-type]


def test_the_names_of_a_record_are_its_own() -> None:
    assert loss(good(2), zeros(7)).shape == ()

    @typed
    def both(a: Batch, b: Batch) -> None: ...

    both(good(2), good(5))


@pytest.mark.parametrize("before", [0, 2])
def test_the_fields_of_a_dataclass_are_checked_whole_in_arguments_and_results(before: int) -> None:
    cache = Cache(zeros(5, 3), [zeros(5, 3)])
    for _ in range(before):
        assert last(cache).keys.shape == (5, 3)
    with pytest.raises(ShapeError) as caught:
        last(Cache(zeros(5, 3), [zeros(5, 3), zeros(5, 3), zeros(4, 3)]))
    assert str(caught.value) == (
        "last: cache.values[2] has the wrong shape\n"
        '  expected  Float "T C"   T = 5\n'
        "  got       f32[4, 3]     axis 0 is 4\n"
        "  T = 5 comes from cache.keys f32[5, 3]"
    )
    with pytest.raises(ShapeError, match=r"^last: the result.values\[0\] has the wrong shape"):
        last(Cache(zeros(5, 3)))


def test_a_field_that_changed_since_is_noticed() -> None:
    cache = Cache(zeros(5, 3), [zeros(5, 3)])
    last(cache)
    cache.values.append(zeros(5, 4))
    with pytest.raises(ShapeError, match=r"^last: cache.values\[1\] has the wrong shape"):
        last(cache)
    cache.values = []
    cache.keys = zeros(5)
    with pytest.raises(ShapeError, match=r"^last: cache.keys has the wrong shape"):
        last(cache)


def test_records_inside_of_records_and_containers_are_checked() -> None:
    @typed
    def walk(cache: Cache | None, many: list[Batch], pairs: dict[str, First]) -> None: ...

    walk(None, [good(2), good(3)], {"a": First(zeros(2), Second(First(zeros(5))))})
    wrong: dict[str, tuple[Any, ...]] = {
        "cache.parent.keys": (Cache(zeros(5, 3), parent=Cache(zeros(5))), [], {}),
        r"many\[1\].y": (None, [good(), Batch(zeros(2, 3), zeros(3).long())], {}),
        r"pairs\['a'\].second.first.x": (
            None,
            [],
            {"a": First(zeros(2), Second(First(zeros(5, 2))))},
        ),
    }
    for subject, args in wrong.items():
        with pytest.raises(ShapeError, match=rf"^\S+walk: {subject} has the wrong shape"):
            walk(*args)


def test_records_alike_ask_no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    loss(good(11), zeros(2))
    monkeypatch.setattr("typedwave.contract.function.first_refused", None)
    assert loss(good(11), zeros(2)).shape == ()


@dataclass
class Node:
    """Holds others of its kind, and no tensor."""

    parent: "Node | None" = None
    children: "list[Node]" = field(default_factory=list)


@dataclass
class Unset:
    """Has a field that nothing sets."""

    x: Float[Tensor, "B"]
    later: Float[Tensor, "B"] = field(init=False)


class Kind(NamedTuple):
    """Has a tensor beside a value that counts."""

    both: tuple[Float[Tensor, "B"], Literal["a", "b"]]


def test_records_of_no_tensor_are_told_by_their_class() -> None:
    @typed
    def depth(node: Node) -> int:
        return 1 if node.parent is None else 1 + depth(node.parent)

    assert depth(Node(Node())) == 2
    with pytest.raises(ShapeError, match="node is not Node"):
        depth(None)  # type: ignore[arg-type]


def test_a_field_that_is_not_set_is_passed_over() -> None:
    @typed
    def use(unset: Unset) -> None: ...

    unset = Unset(zeros(3))
    use(unset)
    unset.later = zeros(4)
    with pytest.raises(ShapeError, match=r"unset.later has the wrong shape"):
        use(unset)


def test_a_value_beside_a_tensor_in_a_field_counts() -> None:
    @typed
    def use(kind: Kind) -> None: ...

    use(Kind((zeros(3), "a")))
    use(Kind((zeros(3), "a")))
    with pytest.raises(ShapeError, match=r"kind.both"):
        use(Kind((zeros(3), "c")))  # type: ignore[arg-type]
