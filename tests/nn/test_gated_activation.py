import pytest
import torch
from agreement import (
    assert_close,
    assert_compiles,
    assert_copies_agree,
    assert_equal,
    assert_same_gradients,
    in_each_way,
    refusal,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import typedwave
from typedwave.nn import GatedActivation, Sequential, Tanh
from typedwave.testing import leading_axes, normal_tensors


@st.composite
def inputs(draw: st.DrawFn, *, smallest: int = 0, dtypes=(torch.float32, torch.float64)):
    shape = (*draw(leading_axes(smallest=smallest)), 2 * draw(st.integers(smallest, 5)))
    return draw(normal_tensors(shape, dtype=draw(st.sampled_from(dtypes))))


def formula(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.tanh(x[..., :half]) * torch.sigmoid(x[..., half:])


@given(inputs(dtypes=(torch.float16, torch.bfloat16, torch.float32, torch.float64)), st.booleans())
def test_the_first_half_is_let_through_by_the_second_to_the_bit_in_either_mode(x, training):
    before = x.clone()
    assert_equal(GatedActivation().train(training)(x), formula(x))
    assert torch.equal(x, before)


@given(inputs(smallest=1))
def test_its_gradient_is_that_of_the_formula_and_finite(x):
    layer = GatedActivation()
    assert_same_gradients(layer, formula, [x], layers=(layer, layer), exactly=True)


def test_a_gate_that_is_shut_lets_nothing_through_and_an_open_one_the_hyperbolic_tangent():
    x = torch.tensor([[1.0, -2.0, 200.0, -200.0]])
    assert torch.equal(GatedActivation()(x), torch.tensor([[1.0, -0.0]]).tanh())


@given(inputs(smallest=1))
def test_it_is_the_gate_of_torch_on_the_hyperbolic_tangent(x):
    filtered, gate = x.chunk(2, dim=-1)
    # torch's kernel divides by 1 + exp(-gate) where ours multiplies with the quotient.
    assert_close(GatedActivation()(x), torch.nn.GLU()(torch.cat([filtered.tanh(), gate], -1)))


@given(inputs(smallest=1), st.data())
def test_what_is_at_one_place_reaches_no_other_place(x, data):
    half = x.shape[-1] // 2
    place = data.draw(st.integers(0, x.numel() - 1))
    spoilt = x.clone()
    spoilt.view(-1)[place] = torch.nan
    y = GatedActivation()(spoilt)
    reached = torch.zeros(x.shape, dtype=torch.bool).view(-1)
    reached[place] = True
    reached = reached.view(x.shape)
    expected = reached[..., :half] | reached[..., half:]
    assert torch.equal(y.isnan(), expected)


@in_each_way
def test_a_copy_gives_the_same_and_there_is_no_state(copied):
    x = torch.randn(3, 8)
    assert_copies_agree(GatedActivation(), copied, lambda layer: layer(x))
    assert GatedActivation().state_dict() == {}


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_it_gives_what_it_gives_uncompiled(dynamic):
    assert_compiles(GatedActivation(), torch.randn(2, 3, 8), dynamic=dynamic)


def test_it_computes_on_the_device_called_meta():
    y = GatedActivation()(torch.zeros(2, 8, device="meta", dtype=torch.bfloat16))
    assert (y.shape, y.device.type, y.dtype) == ((2, 4), "meta", torch.bfloat16)


def test_it_is_a_module_of_typedwave_and_prints_no_arguments():
    assert isinstance(GatedActivation(), typedwave.Module)
    assert repr(GatedActivation()) == "GatedActivation()"


def test_an_odd_number_of_channels_is_explained_with_the_path():
    model = Sequential(Tanh(), GatedActivation())
    assert refusal(model, torch.zeros(3, 1, 5)) == (
        """\
1 (GatedActivation): x has the wrong shape
  expected  Float "*B channels"   channels is even
  got       f32[3, 1, 5]          axis -1 is 5
  shapes until here
    0  Tanh             f32[3, 1, 5]  -> f32[3, 1, 5]
    1  GatedActivation  f32[3, 1, 5]  -> refused"""
    )


@given(leading_axes(), st.integers(0, 9))
def test_each_odd_number_of_channels_is_refused_and_each_even_one_passes(axes, channels):
    x = torch.zeros(*axes, channels)
    if channels % 2:
        assert f"axis -1 is {channels}\n" in refusal(GatedActivation(), x) + "\n"
    else:
        assert GatedActivation()(x).shape == (*axes, channels // 2)


def test_a_number_without_axes_is_refused():
    assert refusal(GatedActivation(), torch.zeros(())) == (
        """\
GatedActivation: x has the wrong shape
  expected  Float "*B channels"
  got       f32[]   it has 0 axes"""
    )


def test_integers_are_refused():
    assert refusal(GatedActivation(), torch.zeros(3, 4, dtype=torch.int64)) == (
        """\
GatedActivation: x has the wrong dtype
  expected  Float "*B channels"
  got       i64[3, 4]   its dtype is int64
  perhaps   x.float()"""
    )
