from math import sqrt

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
from typedwave import StateError
from typedwave.nn import CausalSelfAttention, Sequential, Tanh
from typedwave.testing import check, normal_tensors


@st.composite
def layers_and_inputs(draw: st.DrawFn):
    """A layer of ours, torch's of the same weights, and an input for both."""
    heads, width = draw(st.sampled_from([(1, 3), (2, 1), (2, 3), (3, 2), (3, 5)]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    options = {"bias": draw(st.booleans()), "dtype": dtype}
    ours = draw(redrawn(CausalSelfAttention(heads * width, heads, **options)))
    theirs = torch.nn.MultiheadAttention(heads * width, heads, batch_first=True, **options)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    training = draw(st.booleans())
    shape = (draw(st.sampled_from([1, 5])), draw(st.sampled_from([1, 2, 7])), heads * width)
    return ours.train(training), theirs.train(training), draw(normal_tensors(shape, dtype=dtype))


def by_torch(layer: torch.nn.MultiheadAttention, x: Tensor) -> Tensor:
    ahead = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    return layer(x, x, x, attn_mask=ahead, need_weights=False)[0]


def formula(layer: CausalSelfAttention, x: Tensor) -> Tensor:
    """Each sequence, head and position by itself."""
    c, width = layer.embed_dim, layer.embed_dim // layer.num_heads
    bias = 0 if layer.in_proj_bias is None else layer.in_proj_bias
    q, k, v = (x @ layer.in_proj_weight.T + bias).split(c, dim=-1)
    heads = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for h in range(layer.num_heads):
            of = slice(h * width, (h + 1) * width)
            for t in range(x.shape[1]):
                scores = k[b, : t + 1, of] @ q[b, t, of] / sqrt(width)
                heads[b, t, of] = scores.softmax(0) @ v[b, : t + 1, of]
    return layer.out_proj(heads)


# values


@given(layers_and_inputs())
def test_it_gives_what_torch_gives_with_a_causal_mask(case):
    ours, theirs, x = case
    before = x.clone()
    y = ours(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    # The kernel for a mask of its own adds up in another order than that for a given one.
    assert_close(y, by_torch(theirs, x))
    assert torch.equal(x, before)


@given(layers_and_inputs())
def test_the_gradients_are_those_of_torch_and_finite(case):
    ours, theirs, x = case
    assert_same_gradients(ours, lambda x: by_torch(theirs, x), [x], layers=(ours, theirs))


@given(layers_and_inputs())
def test_each_position_is_the_mean_of_the_values_so_far_weighed_by_how_its_query_fits(case):
    ours, _, x = case
    assert_close(ours(x), formula(ours, x))


@pytest.mark.parametrize("shape", [(0, 3, 8), (3, 0, 8), (0, 0, 8)])
def test_without_sequences_or_positions_it_gives_none(shape):
    assert CausalSelfAttention(8, 2)(torch.zeros(shape)).shape == shape


def test_in_training_a_share_of_the_weights_is_left_out_and_none_in_eval_mode():
    # Of equal keys and values of 1 each weight is 1/(t+1), so that what is left over is counted.
    layer = CausalSelfAttention(1, 1, dropout=0.25)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.0)
        layer.in_proj_bias[2] = 1.0
        layer.out_proj.weight.fill_(1.0)
    x = torch.zeros(400, 5, 1)
    assert torch.allclose(layer.eval()(x), torch.ones(400, 5, 1))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        y = layer.train()(x)
    # Of what is left each counts 1 / (1 - 0.25); 400 draws, of which a deviation is 0.02.
    first = y[:, 0, 0]
    assert first.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert abs((first == 0).float().mean() - 0.25) < 0.09
    assert abs(y[:, 4].mean() - 1) < 0.06


# what it depends on


@pytest.mark.parametrize("heads", [1, 2])
def test_position_t_depends_on_all_positions_up_to_it_and_on_no_other(heads):
    layer = CausalSelfAttention(4, heads)
    report = check(layer, laws="receptive_field", examples=5, causal=True)
    assert [row.outcome for row in report.rows] == ["held"]
    jacobian = torch.autograd.functional.jacobian(layer, torch.randn(1, 6, 4))
    depends = jacobian.abs().sum((0, 2, 3, 5)) > 0
    assert torch.equal(depends, torch.ones(6, 6, dtype=torch.bool).tril())


# parameters


@pytest.mark.parametrize("bias", [True, False])
def test_its_state_dict_is_one_of_torch_and_the_other_way_round(bias):
    ours = CausalSelfAttention(6, 2, bias=bias)
    theirs = torch.nn.MultiheadAttention(6, 2, bias=bias)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert (ours.in_proj_bias is None) is (ours.out_proj.bias is None) is not bias


def test_it_starts_as_that_of_torch_does_and_again_after_a_reset():
    layer = CausalSelfAttention(60, 2)
    reference = torch.nn.MultiheadAttention(60, 2)
    for _ in range(2):
        for weight, bound in (
            (layer.in_proj_weight, sqrt(6 / (60 + 180))),
            (layer.out_proj.weight, sqrt(1 / 60)),
        ):
            # Uniform: the largest of 3,600 or 10,800 numbers, and their deviation.
            assert 0.99 * bound < weight.abs().max() <= bound
            assert abs(weight.std() / (bound / sqrt(3)) - 1) < 0.05
        assert not layer.in_proj_bias.any()
        assert not layer.out_proj.bias.any()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.fill_(7.0)
        layer.reset_parameters()
    for mine, theirs in zip(layer.parameters(), reference.parameters(), strict=True):
        assert abs(mine.std() - theirs.std()) <= 0.05 * theirs.std()


@in_each_way
def test_a_copy_gives_the_same(copied):
    x = torch.randn(2, 7, 6)
    assert_copies_agree(CausalSelfAttention(6, 2), copied, lambda layer: layer(x))


def test_its_parameters_are_made_on_the_device_and_of_the_dtype_asked_for():
    layer = CausalSelfAttention(6, 2, device="meta", dtype=torch.bfloat16)
    assert_on_meta(layer, torch.zeros(2, 7, 6))


@pytest.mark.parametrize(("length", "dynamic"), [(1, False), (7, True)])
def test_compiled_it_gives_what_it_gives_uncompiled(length, dynamic):
    assert_compiles(CausalSelfAttention(6, 2), torch.randn(2, length, 6), dynamic=dynamic)


def test_it_is_a_module_of_typedwave_and_prints_its_arguments():
    layer = CausalSelfAttention(6, 2)
    assert isinstance(layer, typedwave.Module)
    assert layer.extra_repr() == "6, 2"
    assert CausalSelfAttention(6, 2, dropout=0.5).extra_repr() == "6, 2, dropout=0.5"


# refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 3), "embed_dim = 8 is not a multiple of num_heads = 3"),
        ((3, 6), "embed_dim = 3 is not a multiple of num_heads = 6"),
        ((0, 1), "embed_dim is 0, but has to be a whole number of at least 1"),
        ((8, 0), "num_heads is 0, but has to be a whole number of at least 1"),
        ((8.0, 2), "embed_dim is 8.0, but has to be a whole number of at least 1"),
        ((8, True), "num_heads is True, but has to be a whole number of at least 1"),
    ],
)
def test_heads_that_do_not_divide_the_channels_are_refused(arguments, message):
    expected = f"CausalSelfAttention: {message}"
    assert refusal(CausalSelfAttention, *arguments, kind=ValueError) == expected


@pytest.mark.parametrize("dropout", [-0.5, 1.5])
def test_a_dropout_out_of_range_is_refused(dropout):
    assert refusal(lambda: CausalSelfAttention(8, 2, dropout=dropout), kind=ValueError) == (
        f"CausalSelfAttention: dropout is {dropout}, but has to be 0 to 1"
    )


def test_the_least_and_the_largest_dropout_are_taken():
    assert CausalSelfAttention(8, 2, dropout=0.0).dropout == 0
    assert CausalSelfAttention(8, 2, dropout=1.0).dropout == 1


def test_the_wrong_number_of_channels_is_explained_with_the_path():
    assert refusal(Sequential(Tanh(), CausalSelfAttention(8, 2)), torch.zeros(3, 1, 5)) == (
        """\
1 (CausalSelfAttention): x has the wrong shape
  expected  Float "B T embed_dim"   embed_dim = 8
  got       f32[3, 1, 5]            axis 2 is 5
  embed_dim = 8 comes from 1.in_proj_weight f32[24, 8]
  shapes until here
    0  Tanh                 f32[3, 1, 5]  -> f32[3, 1, 5]
    1  CausalSelfAttention  f32[3, 1, 5]  -> refused
  perhaps   CausalSelfAttention(embed_dim=5)"""
    )


def test_a_weight_of_another_shape_is_refused():
    layer = CausalSelfAttention(8, 2)
    layer.in_proj_bias = torch.nn.Parameter(torch.zeros(8))
    assert refusal(layer, torch.zeros(1, 2, 8), kind=StateError) == (
        """\
CausalSelfAttention: in_proj_bias has the wrong shape
  declared  Float "3*{self.embed_dim}" or None   3*8 = 24
  got       f32[8]                               axis 0 is 8"""
    )
