from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import typedwave
from typedwave import ShapeError
from typedwave.nn import Linear, Sequential, Tanh
from typedwave.testing import axis_sizes, leading_axes, normal_tensors

DTYPES = [torch.bfloat16, torch.float32, torch.float64]


@st.composite
def layers_and_inputs(draw: st.DrawFn, *, smallest: int = 0):
    """A layer of ours, torch's of the same weights, in one mode, and an input for both."""
    sizes, dtype = draw(axis_sizes("in_features", "out_features")), draw(st.sampled_from(DTYPES))
    options = {**sizes, "bias": draw(st.booleans()), "dtype": dtype}
    ours, theirs = Linear(**options), torch.nn.Linear(**options)
    for parameter in theirs.parameters():
        parameter.data = draw(normal_tensors(parameter.shape, dtype=dtype))
    ours.load_state_dict(theirs.state_dict())
    training = draw(st.booleans())
    shape = (*draw(leading_axes(smallest=smallest)), sizes["in_features"])
    return ours.train(training), theirs.train(training), draw(normal_tensors(shape, dtype=dtype))


def refusal(model: torch.nn.Module, x: object) -> str:
    with pytest.raises(ShapeError) as caught:
        model(x)
    return str(caught.value)


@given(layers_and_inputs())
def test_the_last_axis_becomes_out_features_and_the_dtype_is_kept(case):
    ours, _, x = case
    y = ours(x)
    assert y.shape == (*x.shape[:-1], ours.out_features)
    assert y.dtype == x.dtype


@given(layers_and_inputs())
def test_it_gives_what_torch_gives_to_the_bit(case):
    ours, theirs, x = case
    assert torch.equal(ours(x), theirs(x))


@given(layers_and_inputs(), st.data())
def test_the_gradients_are_those_of_torch_and_finite(case, data):
    ours, theirs, x = case
    weights = data.draw(normal_tensors((*x.shape[:-1], ours.out_features), dtype=x.dtype))
    gradients = []
    for layer in (ours, theirs):
        given_x = x.clone().requires_grad_()
        inputs = [given_x, *layer.parameters()]
        gradients.append(torch.autograd.grad(layer(given_x), inputs, weights))
    for mine, reference in zip(*gradients, strict=True):
        assert torch.equal(mine, reference)
        assert mine.isfinite().all()


@given(layers_and_inputs(smallest=1), st.data())
def test_what_is_at_one_place_reaches_no_other_place(case, data):
    ours, _, x = case
    place = data.draw(st.integers(0, prod(x.shape[:-1]) - 1))
    spoilt = x.clone()
    spoilt.view(-1, ours.in_features)[place] = torch.nan
    y, z = (ours(each).view(-1, ours.out_features) for each in (x, spoilt))
    others = torch.arange(len(y)) != place
    assert torch.equal(y[others], z[others])
    assert z[place].isnan().all()


@given(layers_and_inputs())
def test_it_does_not_write_to_its_input_and_is_the_same_in_train_and_in_eval_mode(case):
    ours, _, x = case
    before = x.clone()
    assert torch.equal(ours.train()(x), ours.eval()(x))
    assert torch.equal(x, before)


@pytest.mark.parametrize("bias", [True, False])
def test_its_state_dict_is_one_of_torch_and_the_other_way_round(bias):
    ours, theirs = Linear(5, 3, bias=bias), torch.nn.Linear(5, 3, bias=bias)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert torch.equal(ours.weight, theirs.weight)
    again = torch.nn.Linear(5, 3, bias=bias)
    again.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(again.weight, ours.weight)
    assert (ours.bias is None) is not bias
    assert not bias or torch.equal(again.bias, theirs.bias)


def test_it_starts_with_the_weights_that_torch_would_draw():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        ours = Linear(7, 5)
        torch.manual_seed(3)
        theirs = torch.nn.Linear(7, 5)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)


def test_its_parameters_are_made_on_the_device_and_of_the_dtype_asked_for():
    layer = Linear(5, 3, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in layer.parameters()} == {("meta", torch.float64)}
    y = layer(torch.zeros(2, 5, device="meta", dtype=torch.float64))
    assert (y.shape, y.device.type, y.dtype) == ((2, 3), "meta", torch.float64)


def test_without_channels_coming_in_the_result_is_the_bias():
    with pytest.warns(UserWarning, match="zero-element"):
        layer = Linear(0, 3)
    torch.nn.init.constant_(layer.bias, 2.0)
    assert torch.equal(layer(torch.zeros(2, 0)), torch.full((2, 3), 2.0))


def test_it_is_a_linear_of_torch_and_a_module_of_typedwave():
    layer = Linear(5, 3)
    assert isinstance(layer, torch.nn.Linear)
    assert isinstance(layer, typedwave.Module)


def test_it_prints_its_arguments():
    assert repr(Linear(5, 3)) == "Linear(in_features=5, out_features=3, bias=True)"
    assert repr(Linear(5, 3, bias=False)) == "Linear(in_features=5, out_features=3, bias=False)"


@given(layers_and_inputs(), st.integers(0, 14))
def test_any_other_number_of_channels_is_refused_and_the_right_one_still_passes(case, channels):
    ours, _, x = case
    wrong = x.new_zeros((*x.shape[:-1], channels))
    if channels == ours.in_features:
        ours(wrong)
    else:
        with pytest.raises(ShapeError, match=f"axis -1 is {channels}\n"):
            ours(wrong)
    ours(x)


def test_the_wrong_number_of_channels_is_explained():
    assert refusal(Linear(20, 27), torch.zeros(32, 8, 21)) == (
        """\
Linear: x has the wrong shape
  expected  Float "*B in_features"   in_features = 20
  got       f32[32, 8, 21]           axis -1 is 21
  in_features = 20 comes from weight f32[27, 20]
  perhaps   Linear(in_features=21)"""
    )


def test_a_number_without_axes_is_refused():
    with pytest.raises(ShapeError) as caught:
        Linear(20, 27)(torch.zeros(()))
    assert [mismatch.subject for mismatch in caught.value.mismatches] == ["x"]


def test_integers_are_refused():
    assert refusal(Linear(20, 27), torch.zeros(32, 20, dtype=torch.int64)) == (
        """\
Linear: x has the wrong dtype
  expected  Float "*B in_features"
  got       i64[32, 20]   its dtype is int64
  perhaps   x.float()"""
    )


def test_what_is_no_tensor_is_refused():
    assert refusal(Linear(2, 3), [1.0, 2.0]) == (
        """\
Linear: x is not a tensor
  expected  Float "*B in_features"
  got       list of 2"""
    )


@pytest.mark.parametrize("container", [torch.nn.Sequential, Sequential])
def test_the_error_has_the_path_inside_a_model(container):
    model = container(Tanh(), container(Tanh(), Linear(20, 27)))
    assert refusal(model, torch.zeros(32, 21)) == (
        """\
1.1 (Linear): x has the wrong shape
  expected  Float "*B in_features"   in_features = 20
  got       f32[32, 21]              axis -1 is 21
  in_features = 20 comes from 1.1.weight f32[27, 20]
  shapes until here
    0    Tanh    f32[32, 21]  -> f32[32, 21]
    1.0  Tanh    f32[32, 21]  -> f32[32, 21]
    1.1  Linear  f32[32, 21]  -> refused
  perhaps   Linear(in_features=21)"""
    )
