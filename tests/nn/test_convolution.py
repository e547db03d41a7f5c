import copy
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
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
from typedwave import StateError
from typedwave.nn import CausalConv1d, Sequential, Tanh
from typedwave.testing import axis_sizes, check, normal_tensors


@st.composite
def layers_and_inputs(draw: st.DrawFn):
    """A layer of ours, torch's of the same weights, and an input of any length for both."""
    sizes = draw(axis_sizes("in", "out", "B"))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    arguments = (sizes["in"], sizes["out"], draw(st.integers(1, 4)))
    options = {
        "dilation": draw(st.integers(1, 4)),
        "bias": draw(st.booleans()),
        "dtype": dtype,
    }
    ours = draw(redrawn(CausalConv1d(*arguments, **options)))
    theirs = torch.nn.Conv1d(*arguments, **options)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    shape = (draw(st.sampled_from([0, 1, sizes["B"]])), draw(st.integers(0, 17)), sizes["in"])
    return ours, theirs, draw(normal_tensors(shape, dtype=dtype))


def by_torch(layer: torch.nn.Conv1d, x: Tensor) -> Tensor:
    """Conv1d on the input with channels in axis 1 and zeros before the first position."""
    reach = (layer.kernel_size[0] - 1) * layer.dilation[0]
    if x.numel() == 0:  # which Conv1d does not take
        return x.new_zeros(*x.shape[:-1], layer.out_channels)
    return layer(F.pad(x.transpose(1, 2), (reach, 0))).transpose(1, 2)


# values


@given(layers_and_inputs())
def test_it_gives_what_torch_gives_on_the_input_padded_on_the_left(case):
    ours, theirs, x = case
    y = ours(x)
    assert (y.shape, y.dtype) == ((*x.shape[:-1], ours.out_channels), x.dtype)
    # One product of all taps here, another order of the sum there.
    assert_close(y, by_torch(theirs, x))


@given(layers_and_inputs().filter(lambda case: case[2].numel()))
def test_the_gradients_are_those_of_torch_and_finite(case):
    ours, theirs, x = case
    assert_same_gradients(ours, lambda x: by_torch(theirs, x), [x], layers=(ours, theirs))


def test_position_t_weighs_the_positions_before_it_as_the_formula_says():
    # With small whole numbers every sum is exact.
    weight, bias = torch.arange(-9.0, 9.0).view(2, 3, 3), torch.tensor([10.0, 20.0])
    layer = CausalConv1d(3, 2, kernel_size=3, dilation=2)
    layer.load_state_dict({"weight": weight, "bias": bias})
    x = torch.arange(24.0).view(1, 8, 3)
    for t in range(8):
        expected = bias.clone()
        for k in range(3):
            seen = t - (2 - k) * 2
            if seen >= 0:
                expected += weight[:, :, k] @ x[0, seen]
        assert torch.equal(layer(x)[0, t], expected)


def test_bfloat16_stays_bfloat16_and_is_right_to_its_eight_bits():
    layer = CausalConv1d(5, 3, 2, dilation=3, dtype=torch.bfloat16)
    x = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(1)).bfloat16()
    y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer.float()(x.float()), rtol=2**-7, atol=2**-7)


@given(layers_and_inputs())
def test_over_gives_the_last_of_the_positions_that_forward_gives(case):
    ours, _, x = case
    x = F.pad(x, (0, 0, ours.reach, 0), value=1.0)  # over takes at least reach positions
    assert_close(ours.over(x), ours(x)[:, ours.reach :])


@given(layers_and_inputs())
def test_it_is_the_same_in_train_and_in_eval_mode_and_does_not_write_to_its_input(case):
    ours, _, x = case
    before = x.clone()
    assert torch.equal(ours.train()(x), ours.eval()(x))
    assert torch.equal(x, before)


# what it depends on


@given(st.integers(1, 4), st.integers(1, 4))
def test_reach_and_receptive_field_are_those_of_kernel_and_dilation(kernel, dilation):
    layer = CausalConv1d(3, 2, kernel, dilation=dilation)
    assert layer.reach == (kernel - 1) * dilation
    assert layer.receptive_field == layer.reach + 1


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 5])
def test_position_t_depends_on_every_dilation_th_position_of_its_receptive_field(kernel, dilation):
    layer = CausalConv1d(3, 2, kernel, dilation=dilation)
    field = layer.receptive_field
    report = check(layer, laws="receptive_field", examples=5, receptive_field=field)
    assert [row.outcome for row in report.rows] == ["held"]
    x = torch.randn(1, 12, 3)
    jacobian = torch.autograd.functional.jacobian(layer, x).abs().sum((0, 2, 3, 5))
    for t in range(12):
        seen = {t - k * dilation for k in range(kernel)}
        assert {int(s) for s in jacobian[t].nonzero()} == {s for s in seen if s >= 0}


# parameters


@pytest.mark.parametrize("bias", [True, False])
def test_its_state_dict_is_one_of_torch_and_the_other_way_round(bias):
    ours, theirs = CausalConv1d(5, 3, 2, bias=bias), torch.nn.Conv1d(5, 3, 2, bias=bias)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    again = torch.nn.Conv1d(5, 3, 2, bias=bias)
    again.load_state_dict(ours.state_dict(), strict=True)
    for mine, reference in zip(again.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, reference)
    assert (ours.bias is None) is not bias


def test_the_parameters_are_uniform_within_one_over_the_root_of_what_comes_in():
    layer = CausalConv1d(20, 300, 5)
    bound = 1 / sqrt(20 * 5)
    for parameter in layer.parameters():
        # The largest of 300 and of 30,000 numbers, and their mean to four deviations.
        assert 0.97 * bound < parameter.abs().max() <= bound
        assert abs(parameter.mean()) < 4 * bound / sqrt(3 * parameter.numel())
        assert abs(parameter.std() / (bound / sqrt(3)) - 1) < 0.1


@pytest.mark.parametrize("bias", [True, False])
def test_the_parameters_are_the_numbers_that_torch_would_draw_in_the_order_of_memory(bias):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        ours = CausalConv1d(7, 5, 3, bias=bias)
        torch.manual_seed(3)
        theirs = torch.nn.Conv1d(7, 5, 3, bias=bias)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        # torch computes the bound by another formula.
        assert_close(mine.flatten().sort().values, reference.flatten().sort().values)


def test_reset_parameters_draws_all_of_them_anew():
    layer = CausalConv1d(4, 3, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(7.0)
    layer.reset_parameters()
    for parameter in layer.parameters():
        assert parameter.abs().max() <= 1 / sqrt(8)
        assert len(parameter.unique()) == parameter.numel()


def is_channels_last(weight: Tensor) -> bool:
    """Whether it lies in memory as (out, kernel, in)."""
    return weight.transpose(1, 2).is_contiguous() and not weight.is_contiguous()


@pytest.mark.parametrize(
    "changed",
    [
        lambda layer: layer,
        copy.deepcopy,
        lambda layer: layer.double(),
        lambda layer: layer.to(torch.bfloat16),
        lambda layer: layer.to("meta").to_empty(device="cpu"),
        lambda layer: layer.reset_parameters() or layer,
        lambda layer: layer.load_state_dict(torch.nn.Conv1d(5, 3, 2).state_dict()) and layer,
    ],
    ids=["new", "deepcopy", "double", "bfloat16", "to_empty", "reset", "loaded"],
)
def test_the_weight_lies_in_memory_as_the_matrix_of_the_product_whatever_happens(changed):
    layer = changed(CausalConv1d(5, 3, 2))
    assert is_channels_last(layer.weight)
    matrix = layer.weight.transpose(1, 2).flatten(1)
    assert matrix.untyped_storage().data_ptr() == layer.weight.untyped_storage().data_ptr()


def test_a_weight_that_lies_otherwise_gives_the_same():
    layer = CausalConv1d(5, 3, 2)
    other = CausalConv1d(5, 3, 2)
    state = {name: tensor.contiguous() for name, tensor in layer.state_dict().items()}
    other.load_state_dict(state, assign=True)
    assert not is_channels_last(other.weight)
    x = torch.randn(2, 7, 5)
    assert torch.equal(other(x), layer(x))


@in_each_way
def test_a_copy_gives_the_same(copied):
    x = torch.randn(2, 7, 5)
    layer = CausalConv1d(5, 3, 2, dilation=2)
    assert_copies_agree(layer, copied, lambda layer: layer(x))


def test_its_parameters_are_made_on_the_device_and_of_the_dtype_asked_for():
    layer = CausalConv1d(5, 3, 2, device="meta", dtype=torch.bfloat16)
    assert_on_meta(layer, torch.zeros(2, 7, 5))
    assert is_channels_last(layer.weight)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("kernel", "bias"), [(1, True), (3, False)])
def test_compiled_it_gives_what_it_gives_uncompiled(kernel, bias, dynamic):
    layer = CausalConv1d(5, 3, kernel, dilation=2, bias=bias)
    assert_compiles(layer, torch.randn(2, 7, 5), dynamic=dynamic)


def test_it_is_a_module_of_typedwave_and_prints_its_arguments():
    layer = CausalConv1d(5, 3, 2, dilation=4)
    assert isinstance(layer, typedwave.Module)
    assert repr(layer) == "CausalConv1d(5, 3, kernel_size=2, dilation=4)"
    other = CausalConv1d(5, 3, 2, bias=False)
    assert repr(other) == "CausalConv1d(5, 3, kernel_size=2, dilation=1, bias=False)"


# refusals


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("size", [0, -1, True, 2.0, "2", None])
def test_a_size_that_is_no_whole_number_of_at_least_1_is_refused(place, size):
    name = ["in_channels", "out_channels", "kernel_size", "dilation"][place]
    sizes = {"in_channels": 2, "out_channels": 3, "kernel_size": 2, "dilation": 1, name: size}
    assert refusal(lambda: CausalConv1d(**sizes), kind=ValueError) == (
        f"CausalConv1d: {name} is {size!r}, but has to be a whole number of at least 1"
    )


def test_the_wrong_number_of_channels_is_explained_with_the_path():
    model = Sequential(Tanh(), CausalConv1d(4, 3, 2))
    assert refusal(model, torch.zeros(3, 1, 5)) == (
        """\
1 (CausalConv1d): x has the wrong shape
  expected  Float "B T in_channels"   in_channels = 4
  got       f32[3, 1, 5]              axis 2 is 5
  in_channels = 4 comes from 1.weight f32[3, 4, 2]
  shapes until here
    0  Tanh          f32[3, 1, 5]  -> f32[3, 1, 5]
    1  CausalConv1d  f32[3, 1, 5]  -> refused
  perhaps   CausalConv1d(in_channels=5)"""
    )


def test_an_input_without_a_batch_axis_is_refused():
    assert refusal(CausalConv1d(4, 3, 2), torch.zeros(7, 4)) == (
        """\
CausalConv1d: x has the wrong shape
  expected  Float "B T in_channels"   in_channels = 4
  got       f32[7, 4]                 it has 2 axes
  in_channels = 4 comes from weight f32[3, 4, 2]"""
    )


def test_a_bias_of_another_length_is_refused():
    layer = CausalConv1d(4, 3, 2)
    layer.bias = torch.nn.Parameter(torch.zeros(4))
    assert refusal(layer, torch.zeros(1, 2, 4), kind=StateError) == (
        """\
CausalConv1d: bias has the wrong shape
  declared  Float "out_channels" or None   out_channels = 3
  got       f32[4]                         axis 0 is 4
  out_channels = 3 comes from weight f32[3, 4, 2]"""
    )
