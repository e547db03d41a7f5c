import pytest
import torch
from agreement import (
    assert_close,
    assert_compiles,
    assert_copies_agree,
    assert_on_meta,
    assert_same_gradients,
    in_each_way,
    redrawn,
    refusal,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import typedwave
from typedwave.nn import Sequential, Tanh, TokenShift
from typedwave.testing import axis_sizes, check, normal_tensors


@st.composite
def layers_and_inputs(draw: st.DrawFn, *, smallest: int = 0):
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    sizes = draw(axis_sizes("B", "T", "C"))
    shape = [draw(st.sampled_from([smallest, 1, sizes[name]])) for name in ("B", "T")]
    layer = draw(redrawn(TokenShift(sizes["C"], dtype=dtype)))
    return layer, draw(normal_tensors((*shape, sizes["C"]), dtype=dtype))


def formula(layer: TokenShift, x: Tensor) -> Tensor:
    before = torch.zeros_like(x)
    before[:, 1:] = x[:, :-1]
    return x + layer.weight * (before - x)


@given(layers_and_inputs())
def test_each_channel_is_moved_towards_what_it_was_one_position_before(case):
    layer, x = case
    before = x.clone()
    y = layer.train()(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    # torch.lerp starts from the nearer end.
    assert_close(y, formula(layer, x))
    assert torch.equal(y, layer.eval()(x))
    assert torch.equal(x, before)


@given(layers_and_inputs(smallest=1))
def test_the_gradients_are_those_of_the_formula_and_finite(case):
    layer, x = case
    assert_same_gradients(layer, lambda x: formula(layer, x), [x], layers=(layer, layer))


def test_a_weight_of_0_keeps_a_channel_and_one_of_1_gives_it_one_position_later():
    layer = TokenShift(3)
    layer.load_state_dict({"weight": torch.tensor([0.0, 1.0, 0.5])})
    y = layer(torch.tensor([[[1.0, 2.0, 4.0], [3.0, 5.0, 6.0]]]))
    assert y.tolist() == [[[1.0, 0.0, 2.0], [3.0, 2.0, 5.0]]]


@given(layers_and_inputs(smallest=1))
def test_one_sequence_does_not_shift_into_the_next(case):
    layer, x = case
    together = layer(x)
    for row, y in zip(x, together, strict=True):
        assert torch.equal(layer(row[None])[0], y)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_position_t_depends_on_t_and_the_one_before(channels):
    assert TokenShift(channels).receptive_field == 2
    report = check(lambda: TokenShift(channels), laws="receptive_field", receptive_field=2)
    assert [row.outcome for row in report.rows] == ["held"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_weight_goes_from_0_to_almost_1_in_equal_steps_and_again_after_a_reset(dtype):
    layer = TokenShift(4, dtype=dtype)
    for _ in range(2):
        assert layer.weight.tolist() == [0.0, 0.25, 0.5, 0.75]
        assert layer.weight.dtype == dtype
        assert layer.weight.requires_grad
        torch.nn.init.constant_(layer.weight, 7.0)
        layer.reset_parameters()


@in_each_way
def test_a_copy_gives_the_same(copied):
    x = torch.randn(2, 3, 5)
    assert_copies_agree(TokenShift(5), copied, lambda layer: layer(x))


def test_its_parameter_is_made_on_the_device_and_of_the_dtype_asked_for():
    assert_on_meta(TokenShift(5, device="meta", dtype=torch.bfloat16), torch.zeros(2, 3, 5))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_it_gives_what_it_gives_uncompiled(dynamic):
    assert_compiles(TokenShift(5), torch.randn(2, 3, 5), dynamic=dynamic)


def test_it_is_a_module_of_typedwave_and_prints_its_argument():
    assert isinstance(TokenShift(5), typedwave.Module)
    assert repr(TokenShift(5)) == "TokenShift(5)"


@pytest.mark.parametrize("channels", [0, -1, True, 2.0])
def test_channels_that_are_no_whole_number_of_at_least_1_are_refused(channels):
    assert refusal(TokenShift, channels, kind=ValueError) == (
        f"TokenShift: channels is {channels!r}, but has to be a whole number of at least 1"
    )


def test_the_wrong_number_of_channels_is_explained_with_the_path():
    assert refusal(Sequential(Tanh(), TokenShift(4)), torch.zeros(2, 3, 5)) == (
        """\
1 (TokenShift): x has the wrong shape
  expected  Float "B T channels"   channels = 4
  got       f32[2, 3, 5]           axis 2 is 5
  channels = 4 comes from 1.weight f32[4]
  shapes until here
    0  Tanh        f32[2, 3, 5]  -> f32[2, 3, 5]
    1  TokenShift  f32[2, 3, 5]  -> refused
  perhaps   TokenShift(channels=5)"""
    )


def test_an_input_without_a_batch_axis_is_refused():
    assert refusal(TokenShift(4), torch.zeros(3, 4)) == (
        """\
TokenShift: x has the wrong shape
  expected  Float "B T channels"   channels = 4
  got       f32[3, 4]              it has 2 axes
  channels = 4 comes from weight f32[4]"""
    )
