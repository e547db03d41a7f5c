"""Sizes and numbers of what `arguments` draws; test_kinds_of_arguments has the containers."""

from math import gcd

import pytest
import torch
from drawn import drawn, simplest, smallest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, Int
from torch import Tensor, nn

from typedwave.testing import arguments


def attend(q: Float[Tensor, "B T C"], k: Float[Tensor, "B S C"], v: Float[Tensor, "B S D"]):
    return (q @ k.mT).softmax(-1) @ v


# sizes


@given(arguments(attend))
def test_names_that_occur_twice_have_one_size(call):
    q, k, v = call.args
    assert (q.shape[0], q.shape[2], k.shape[:2]) == (k.shape[0], k.shape[2], v.shape[:2])
    assert attend(*call.args).shape == (*q.shape[:2], v.shape[2])
    assert call.kwargs == {}
    for leaf in call.leaves:
        sizes = dict(zip(leaf.names, leaf.tensor.shape, strict=True))
        assert sizes.items() <= call.case.sizes.items()


@given(arguments(attend, edges=False))
def test_without_edges_all_sizes_are_distinct_and_coprime(call):
    sizes = [*call.case.sizes.values()]
    assert len(sizes) == 5
    assert all(gcd(a, b) == 1 < a for i, a in enumerate(sizes) for b in sizes[:i])


@pytest.mark.parametrize("name", "BTSCD")
@pytest.mark.parametrize("size", [0, 1])
def test_each_size_can_be_at_the_edge(name, size):
    assert any(call.case.sizes[name] == size for call in drawn(attend))


class Merges(nn.Module):
    """Has arithmetic of an attribute in its annotations, divides, and refuses a rest."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(
        self, x: Float[Tensor, "*B T C"], y: Float[Tensor, "*B T//{self.n} C*{self.n}"]
    ) -> Float[Tensor, "*B T//{self.n} C*{self.n}"]:
        assert x.shape[-2] % self.n == 0
        return x.unflatten(-2, (-1, self.n)).flatten(-2) + y


@given(st.integers(1, 5), st.data())
@settings(max_examples=15)
def test_arithmetic_is_evaluated_and_what_is_divided_has_no_rest(n, data):
    call = data.draw(arguments(Merges(n)))
    x, y = call.args
    assert y.shape == (*x.shape[:-2], x.shape[-2] // n, x.shape[-1] * n)
    assert x.shape[-2] % n == 0


def halve(x: Float[Tensor, "B T"], n: int = 2) -> Float[Tensor, "B T//{n}"]:
    return x[:, ::n]


def keep(x: Float[Tensor, "B T"], n: int) -> Float[Tensor, "B T//{n}"]:
    return x[:, : x.shape[1] // n]


def shorten(x: Float[Tensor, "B T"], y: Float[Tensor, "B T-1"]) -> Float[Tensor, "B T-1"]:
    return x[:, 1:] + y


def test_what_only_the_result_divides_has_no_rest_either():
    assert all(call.case.sizes["T"] % 2 == 0 for call in drawn(halve))


def test_what_an_argument_divides_has_no_rest():
    assert all(call.case.sizes["T"] % call.args[1] == 0 for call in drawn(keep))


@given(arguments(shorten))
def test_no_size_becomes_negative(call):
    x, y = call.args
    assert x.shape[1] == y.shape[1] + 1
    assert shorten(x, y).shape == y.shape


class Projects(nn.Module):
    """Says in its state how many channels it takes."""

    weight: Float[nn.Parameter, "out_features in_features"]

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7, 9))

    def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B out_features"]:
        return x @ self.weight.T


@given(arguments(Projects(), edges=False))
def test_annotated_state_gives_sizes(call):
    (x,) = call.args
    assert x.shape[-1] == 9
    assert [*call.case.sizes] == ["*B"]
    assert x.shape[:-1] == (2,)  # no other is coprime with 9


@given(arguments(nn.Conv2d(6, 4, 3, groups=2), spec={"input": Float[Tensor, "B C H W"]}))
def test_sizes_that_no_annotation_tells_are_found_out(call):
    (x,) = call.args
    assert x.shape[1] == 6
    assert min(x.shape[2:]) >= 3


def square(x: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    assert x.shape[1] == x.shape[2]
    return x


def test_sizes_that_have_to_be_equal_are():
    assert simplest(arguments(square)).case.sizes["H"] in (3, 5)


def test_a_declared_size_is_kept_where_others_have_to_be_larger():
    def widest(x: Float[Tensor, "B T C"]) -> Tensor:
        assert x.shape[2] >= 11
        return x

    assert simplest(arguments(widest, sizes={"T": 5})).case.sizes["T"] == 5


def fixed(x: Float[Tensor, "3 _ B=2 ... C"]) -> Tensor:
    return x


@given(arguments(fixed))
def test_numbers_are_kept_and_axes_without_a_name_have_sizes_of_their_own(call):
    (x,) = call.args
    assert (x.shape[0], x.shape[2]) == (3, 2)
    assert (x.shape[1], x.shape[-1]) == (call.case.sizes["_x1"], call.case.sizes["C"])


@given(arguments(attend, sizes={"B": 4, "T": (3, 9)}))
def test_declared_sizes_are_kept(call):
    assert call.case.sizes["B"] == 4
    assert call.case.sizes["T"] in (3, 9)


# numbers without axes


def scale(x: Float[Tensor, "T"], by: float, times: int) -> Tensor:
    return x * by**times


def test_numbers_without_axes_are_drawn_and_shown():
    call = smallest(scale, lambda call: call.args[1] == 0.5 and call.args[2] == 3)
    assert str(call) == "x f32[T=2], by float 0.5, times int 3"


def test_a_strategy_draws_what_it_draws():
    drawn = st.sampled_from([0, 1])
    call = smallest(
        torch.nn.functional.softmax,
        lambda call: call.args[1] == 1,
        spec={"input": Float[Tensor, "B C"], "dim": drawn},
    )
    assert str(call) == "input f32[B=2, C=3], dim int 1"


# numbers


class Looks(nn.Module):
    """Has a table for tokens and another one for positions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(7, 3), nn.Embedding(5, 3)

    def forward(
        self, ids: Int[Tensor, "B T"], positions: Int[Tensor, "T"]
    ) -> Float[Tensor, "B T 3"]:
        return self.tokens(ids) + self.positions(positions)


@given(arguments(Looks()))
def test_ids_are_within_what_is_taken(call):
    ids, positions = call.args
    assert ((ids >= 0) & (ids < 7)).all()
    assert ((positions >= 0) & (positions < 5)).all()


def test_the_largest_ids_that_are_taken_occur():
    call = smallest(Looks(), lambda call: (call.args[0] == 6).any() and (call.args[1] == 4).any())
    assert max(call.case.sizes.values()) <= 5


def test_ids_that_are_declared_are_kept():
    for declared in (2, "B"):
        call = smallest(Looks(), lambda call: call.args[0].max() == 1, ids={"ids": declared})
        assert call.case.sizes["B"] == 2
        assert (call.args[0] < 2).all()


@given(arguments(attend, values=("normal", "inf"), layouts=("contiguous", "strided"), bounds={}))
def test_kinds_of_numbers_and_layouts_hold_for_all_arguments(call):
    for tensor in call.args:
        assert tensor.isinf().any() == (call.case.values == "inf" and tensor.numel() > 0)
        if tensor.numel() and call.case.layout == "strided":
            assert tensor.stride()[-1] == 2


@given(arguments(attend, bounds={"q": (2, 3)}))
def test_bounds_are_those_of_one_argument(call):
    q, k, _ = call.args
    assert ((q >= 2) & (q <= 3)).all()
    assert k.numel() < 9 or (k < 2).any()


def test_the_dtype_is_that_of_the_module():
    assert simplest(arguments(Projects().double())).args[0].dtype == torch.float64


# calls and cases


def test_equal_cases_give_equal_calls_and_other_seeds_other_numbers():
    seen: dict[int, Tensor] = {}

    @given(arguments(attend, edges=False, sizes={"B": 2, "T": 3, "S": 5, "C": 7, "D": 11}))
    @settings(max_examples=60)
    def remember(call):
        q = call.args[0]
        assert torch.equal(seen.setdefault(call.case.seed, q), q)

    remember()
    remember()
    assert len({q.sum().item() for q in seen.values()}) == len(seen) > 10


def test_arguments_differ_from_one_another():
    x, y = simplest(arguments(shorten)).args
    assert not torch.equal(x[:, 1:], y)


def test_the_smallest_calls_are_small_and_read_well():
    assert repr(smallest(shorten).case) == "Case(sizes={'B': 2, 'T': 3})"
    assert repr(smallest(shorten, lambda call: call.case.sizes["T"] > 5).case) == (
        "Case(sizes={'B': 2, 'T': 7})"
    )
    empty = smallest(shorten, lambda call: call.args[1].numel() == 0)
    assert max(empty.case.sizes.values()) <= 2
    assert str(smallest(Looks(), lambda call: call.args[0].shape[0] == 1)) == (
        "ids i64[B=1, T=2], positions i64[T=2]"
    )
    assert str(smallest(scale)) == "x f32[T=2], by float 1.0, times int 1"


def test_the_smallest_call_of_many_names_has_small_sizes():
    assert [*smallest(attend).case.sizes.values()] == [2, 3, 5, 7, 11]


def test_the_repr_of_a_call_is_one_line_without_numbers():
    assert repr(simplest(arguments(shorten))) == (
        "Call(x f32[B=2, T=3], y f32[B=2, T-1=2]; Case(sizes={'B': 2, 'T': 3}))"
    )


def test_the_module_is_left_as_it_was():
    module = Looks()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random = torch.get_rng_state()
    simplest(arguments(module))
    assert module.training
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("function", [Projects().forward, Projects()], ids=["bound", "module"])
def test_a_forward_stands_for_its_module(function):
    assert str(simplest(arguments(function))) == "x f32[B=2, in_features=9]"
