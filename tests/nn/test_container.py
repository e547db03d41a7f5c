from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import typedwave
from typedwave import ShapeError
from typedwave.nn import Embedding, FlattenConsecutive, Linear, Sequential, Tanh
from typedwave.testing import axis_sizes, leading_axes, normal_tensors


@st.composite
def models_and_inputs(draw: st.DrawFn, *, smallest: int = 0):
    """A model of ours, torch's of the same weights, in one mode, and an input for both."""
    a, b, c = draw(axis_sizes("a", "b", "c")).values()
    ours = Sequential(Linear(a, b), Tanh(), Sequential(Linear(b, c, bias=False), Tanh()))
    nn = torch.nn
    inner = nn.Sequential(nn.Linear(b, c, bias=False), nn.Tanh())
    theirs = nn.Sequential(nn.Linear(a, b), nn.Tanh(), inner)
    for parameter in theirs.parameters():
        parameter.data = draw(normal_tensors(parameter.shape))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    training = draw(st.booleans())
    x = draw(normal_tensors((*draw(leading_axes(smallest=smallest)), a)))
    return ours.train(training), theirs.train(training), x


class Pair(torch.nn.Module):
    """Gives what no layer after it takes."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def refusal(model: torch.nn.Module, x: object) -> str:
    with pytest.raises(ShapeError) as caught:
        model(x)
    return str(caught.value)


@given(models_and_inputs())
def test_it_gives_what_torch_gives_to_the_bit(case):
    ours, theirs, x = case
    y = ours(x)
    assert (y.shape, y.dtype) == ((*x.shape[:-1], ours[2][0].out_features), x.dtype)
    assert torch.equal(y, theirs(x))


@given(models_and_inputs(), st.data())
def test_the_gradients_are_those_of_torch_and_finite(case, data):
    ours, theirs, x = case
    weights = data.draw(normal_tensors((*x.shape[:-1], ours[2][0].out_features)))
    gradients = []
    for model in (ours, theirs):
        given_x = x.clone().requires_grad_()
        inputs = [given_x, *model.parameters()]
        gradients.append(torch.autograd.grad(model(given_x), inputs, weights))
    for mine, reference in zip(*gradients, strict=True):
        assert torch.equal(mine, reference)
        assert mine.isfinite().all()


@given(models_and_inputs(smallest=1), st.data())
def test_what_is_at_one_place_reaches_no_other_place(case, data):
    ours, _, x = case
    rows = x.view(-1, x.shape[-1])
    place = data.draw(st.integers(0, len(rows) - 1))
    spoilt = rows.clone()
    spoilt[place] = torch.nan
    y, z = ours(rows), ours(spoilt)
    others = torch.arange(len(rows)) != place
    assert torch.equal(y[others], z[others])
    assert z[place].isnan().all()


def test_the_modules_are_called_in_order_each_on_the_result_of_the_one_before():
    first, last = Linear(3, 2), Linear(2, 5)
    x = torch.randn(7, 3)
    assert torch.equal(Sequential(first, Tanh(), last)(x), last(torch.tanh(first(x))))


def test_without_modules_it_gives_back_its_input():
    x = torch.randn(2, 3)
    assert Sequential()(x) is x


def test_its_state_dict_is_one_of_torch_and_the_other_way_round():
    ours = Sequential(Linear(3, 2), Tanh())
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(theirs[0].weight, ours[0].weight)
    assert list(ours.state_dict()) == ["0.weight", "0.bias"]


def test_the_mode_is_that_of_all_its_modules():
    model = Sequential(torch.nn.Dropout(0.999), Sequential(torch.nn.Dropout(0.999)))
    x = torch.ones(100)
    assert torch.equal(model.eval()(x), x)
    assert not torch.equal(model.train()(x), x)


def test_an_index_gives_a_module_and_a_slice_a_model_of_the_same_type_and_modules():
    model = Sequential(Linear(3, 2), Tanh(), Linear(2, 5))
    assert type(model[0]) is Linear
    assert model[-1] is model[2]
    assert type(model[1:]) is Sequential
    assert list(model[1:]) == [model[1], model[2]]
    assert len(model) == 3


def test_modules_can_be_put_in_and_taken_out():
    model = Sequential(Linear(3, 2))
    assert model.append(Tanh()) is model
    model.insert(0, FlattenConsecutive(3))
    model[1] = Linear(6, 4)
    del model[2]
    assert model(torch.zeros(5, 3, 2)).shape == (5, 4)


def test_it_is_a_sequential_of_torch_and_a_module_of_typedwave():
    assert isinstance(Sequential(), torch.nn.Sequential)
    assert isinstance(Sequential(), typedwave.Module)


def test_it_prints_its_modules():
    assert repr(Sequential(Linear(3, 2), Tanh())) == (
        """\
Sequential(
  (0): Linear(in_features=3, out_features=2, bias=True)
  (1): Tanh()
)"""
    )


def test_the_names_of_an_ordered_dict_are_the_path_in_an_error():
    layers = OrderedDict(embed=Embedding(27, 10), hidden=Sequential(Tanh(), Linear(9, 3)))
    model = Sequential(layers)
    assert model.hidden is model[1]
    assert refusal(model, torch.zeros(32, 8, dtype=torch.int64)) == (
        """\
hidden.1 (Linear): x has the wrong shape
  expected  Float "*B in_features"   in_features = 9
  got       f32[32, 8, 10]           axis -1 is 10
  in_features = 9 comes from hidden.1.weight f32[3, 9]
  shapes until here
    embed     Embedding  i64[32, 8]      -> f32[32, 8, 10]
    hidden.0  Tanh       f32[32, 8, 10]  -> f32[32, 8, 10]
    hidden.1  Linear     f32[32, 8, 10]  -> refused
  perhaps   Linear(in_features=10)"""
    )


def test_the_path_in_an_error_starts_at_the_model_that_was_called():
    model = Sequential(Tanh(), Sequential(Tanh(), Sequential(Tanh(), Linear(9, 3))))
    x = torch.zeros(2, 8)
    assert refusal(model, x).startswith("1.1.1 (Linear): x has the wrong shape\n")
    assert refusal(model[1], x).startswith("1.1 (Linear): x has the wrong shape\n")
    assert refusal(model[1][1], x).startswith("1 (Linear): x has the wrong shape\n")
    assert refusal(model[1][1][1], x).startswith("Linear: x has the wrong shape\n")


@pytest.mark.parametrize("outer", [torch.nn.Sequential, Sequential])
@pytest.mark.parametrize("inner", [torch.nn.Sequential, Sequential])
def test_models_of_ours_and_of_torch_can_be_in_one_another(outer, inner):
    model = outer(inner(Tanh(), Linear(4, 3)), Linear(2, 2))
    told = refusal(model, torch.zeros(7, 4))
    assert told.startswith(
        """\
1 (Linear): x has the wrong shape
  expected  Float "*B in_features"   in_features = 2
  got       f32[7, 3]                axis -1 is 3
  in_features = 2 comes from 1.weight f32[2, 2]
  shapes until here
"""
    )
    assert told.endswith(
        """
    1    Linear  f32[7, 3]  -> refused
  perhaps   Linear(in_features=3)"""
        if inner is torch.nn.Sequential
        else """
    0  Sequential  f32[7, 4]  -> f32[7, 3]
    1  Linear      f32[7, 3]  -> refused
  perhaps   Linear(in_features=3)"""
    )


def test_what_is_no_tensor_is_refused():
    assert refusal(Sequential(Tanh()), 3) == (
        """\
Sequential: x is not a tensor
  expected  Shaped "..."
  got       int 3"""
    )


def test_a_result_that_is_no_tensor_is_refused():
    assert refusal(Sequential(Tanh(), Sequential(Pair())), torch.zeros(2)) == (
        """\
1 (Sequential): the result is not a tensor
  expected  Shaped "..."
  got       tuple of 2
  shapes until here
    0  Tanh        f32[2]  -> f32[2]
    1  Sequential  f32[2]  -> tuple of 2, refused"""
    )
