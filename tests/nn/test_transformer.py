import pytest
import torch
import torch.nn.functional as F
from agreement import (
    assert_close,
    assert_compiles,
    assert_copies_agree,
    assert_equal,
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
from typedwave.nn import CausalSelfAttention, Sequential, Tanh, TransformerBlock
from typedwave.testing import check, normal_tensors

with_and_without_shift = pytest.mark.parametrize("token_shift", [False, True])


@st.composite
def blocks_and_inputs(draw: st.DrawFn, *, token_shift: bool = False):
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    heads, width = draw(st.sampled_from([(1, 3), (2, 3), (3, 2)]))
    wide = draw(st.sampled_from([1, 5, 11]))
    block = TransformerBlock(heads * width, heads, wide, token_shift=token_shift, dtype=dtype)
    block = draw(redrawn(block))
    shape = (draw(st.sampled_from([1, 5])), draw(st.sampled_from([1, 2, 7])), heads * width)
    return block, draw(normal_tensors(shape, dtype=dtype))


def in_torch(block: TransformerBlock, *, dropout: float = 0.0) -> torch.nn.TransformerEncoderLayer:
    """torch's layer of the same weights."""
    theirs = torch.nn.TransformerEncoderLayer(
        block.d_model,
        block.self_attn.num_heads,
        block.linear1.out_features,
        dropout=dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
        dtype=block.linear1.weight.dtype,
    )
    theirs.load_state_dict(block.state_dict(), strict=True)
    return theirs


def by_torch(layer: torch.nn.TransformerEncoderLayer, x: Tensor) -> Tensor:
    mask = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
    return layer(x, src_mask=mask, is_causal=True)


def formula(block: TransformerBlock, x: Tensor) -> Tensor:
    """The block written plainly, with the shift where there is one."""

    def shifted(shift: torch.nn.Module | None, x: Tensor) -> Tensor:
        if shift is None:
            return x
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
        return (1 - shift.weight) * x + shift.weight * before

    def normal(norm: torch.nn.LayerNorm, x: Tensor) -> Tensor:
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
        return norm.weight * (x - mean) / (var + 1e-5).sqrt() + norm.bias

    x = x + block.self_attn(shifted(block.shift1, normal(block.norm1, x)))
    wide = F.linear(
        shifted(block.shift2, normal(block.norm2, x)), block.linear1.weight, block.linear1.bias
    )
    wide = wide * (1 + torch.erf(wide / 2**0.5)) / 2
    return x + F.linear(wide, block.linear2.weight, block.linear2.bias)


# values


@pytest.mark.parametrize("training", [True, False])
@given(blocks_and_inputs())
def test_it_gives_what_torch_gives_with_a_causal_mask(training, case):
    block, x = case
    before = x.clone()
    y = block.train(training)(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    # Attention adds up in another order than torch's with the mask given.
    assert_close(y, by_torch(in_torch(block).train(training), x))
    assert torch.equal(x, before)


@given(blocks_and_inputs())
def test_the_gradients_are_those_of_torch_and_finite(case):
    block, x = case
    theirs = in_torch(block)
    assert_same_gradients(block, lambda x: by_torch(theirs, x), [x], layers=(block, theirs))


@given(st.booleans().flatmap(lambda shift: blocks_and_inputs(token_shift=shift)))
def test_it_is_the_formula_with_and_without_a_shift(case):
    block, x = case
    x = x.double()
    block = block.double()
    assert_close(block(x), formula(block, x))


@given(blocks_and_inputs(token_shift=True))
def test_with_a_shift_the_gradients_are_those_of_the_formula(case):
    block, x = case
    block, x = block.double(), x.double()
    assert_same_gradients(block, lambda x: formula(block, x), [x], layers=(block, block))


def test_in_training_it_leaves_out_what_torch_leaves_out():
    """Both draw for attention, for what is added, for what is between, and again."""
    block = TransformerBlock(6, 2, 11, dropout=0.5)
    # One sequence, as torch's layer has another order in memory for more, in which it draws.
    theirs, x = in_torch(block, dropout=0.5), torch.randn(1, 7, 6)
    results = []
    for call in (block, lambda x: by_torch(theirs, x)):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            results.append(call(x))
    assert_close(*results)
    assert not torch.allclose(results[0], block.eval()(x))
    assert_close(block.eval()(x), by_torch(theirs.eval(), x))


def test_dropout_is_in_it_at_three_places_and_nowhere_by_default():
    block = TransformerBlock(6, 2, 11, dropout=0.5)
    assert (block.self_attn.dropout, block.dropout.p) == (0.5, 0.5)
    block = TransformerBlock(6, 2, 11)
    assert (block.self_attn.dropout, block.dropout.p) == (0.0, 0.0)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.fill_(1.0)
    x = torch.randn(2, 5, 6)
    assert torch.equal(block.train()(x), block.eval()(x))


@with_and_without_shift
@pytest.mark.parametrize("shape", [(0, 3, 6), (3, 0, 6)])
def test_without_sequences_or_positions_it_gives_none(shape, token_shift):
    block = TransformerBlock(6, 2, 11, token_shift=token_shift)
    assert block(torch.zeros(shape)).shape == shape


# what it depends on


@with_and_without_shift
def test_position_t_depends_on_all_positions_up_to_it_and_on_no_other(token_shift):
    block = TransformerBlock(4, 2, 5, token_shift=token_shift)
    report = check(block, laws="receptive_field", examples=5, causal=True)
    assert [row.outcome for row in report.rows] == ["held"]
    jacobian = torch.autograd.functional.jacobian(block, torch.randn(1, 6, 4))
    depends = jacobian.abs().sum((0, 2, 3, 5)) > 0
    assert torch.equal(depends, torch.ones(6, 6, dtype=torch.bool).tril())


# parameters


def test_its_state_dict_is_one_of_torch_and_a_shift_adds_two_weights():
    block = TransformerBlock(6, 2, 11)
    theirs = in_torch(block)
    assert list(block.state_dict()) == list(theirs.state_dict())
    block.load_state_dict(theirs.state_dict(), strict=True)
    shifting = TransformerBlock(6, 2, 11, token_shift=True)
    added = set(shifting.state_dict()) - set(block.state_dict())
    assert added == {"shift1.weight", "shift2.weight"}
    assert shifting.shift1 is not shifting.shift2


def test_its_layers_start_as_layers_of_their_own_do():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        block = TransformerBlock(6, 2, 11)
        torch.manual_seed(3)
        attention = CausalSelfAttention(6, 2)
        linear1, linear2 = torch.nn.Linear(6, 11), torch.nn.Linear(11, 6)
    assert_equal(block.self_attn.parameters(), attention.parameters())
    assert_equal(block.linear1.parameters(), linear1.parameters())
    assert_equal(block.linear2.parameters(), linear2.parameters())
    for norm in (block.norm1, block.norm2):
        assert_equal(norm.parameters(), [torch.ones(6), torch.zeros(6)])


@in_each_way
@with_and_without_shift
def test_a_copy_gives_the_same(token_shift, copied):
    x = torch.randn(2, 7, 6)
    block = TransformerBlock(6, 2, 11, token_shift=token_shift)
    assert_copies_agree(block, copied, lambda block: block(x))


def test_its_parameters_are_made_on_the_device_and_of_the_dtype_asked_for():
    block = TransformerBlock(6, 2, 11, token_shift=True, device="meta", dtype=torch.bfloat16)
    assert_on_meta(block, torch.zeros(2, 7, 6))


@with_and_without_shift
def test_compiled_it_gives_what_it_gives_uncompiled(token_shift):
    block = TransformerBlock(6, 2, 11, token_shift=token_shift)
    assert_compiles(block, torch.randn(2, 7, 6))


def test_it_is_a_module_of_typedwave():
    assert isinstance(TransformerBlock(6, 2, 11), typedwave.Module)


# refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (8, 3, 16),
            "CausalSelfAttention: embed_dim = 8 is not a multiple of num_heads = 3",
        ),
        (
            (0, 1, 16),
            "CausalSelfAttention: embed_dim is 0, but has to be a whole number of at least 1",
        ),
        (
            (8, 2, 0),
            "TransformerBlock: dim_feedforward is 0, but has to be a whole number of at least 1",
        ),
    ],
)
def test_a_size_out_of_range_is_refused(arguments, message):
    assert refusal(TransformerBlock, *arguments, kind=ValueError) == message


def test_a_dropout_out_of_range_is_refused():
    assert refusal(lambda: TransformerBlock(8, 2, 16, dropout=1.5), kind=ValueError) == (
        "CausalSelfAttention: dropout is 1.5, but has to be 0 to 1"
    )


def test_the_wrong_number_of_channels_is_explained_with_the_path():
    model = Sequential(Tanh(), TransformerBlock(8, 2, 16))
    assert refusal(model, torch.zeros(2, 3, 5)) == (
        """\
1 (TransformerBlock): x has the wrong shape
  expected  Float "B T {self.d_model}"   {self.d_model} = 8
  got       f32[2, 3, 5]                 axis 2 is 5
  shapes until here
    0  Tanh              f32[2, 3, 5]  -> f32[2, 3, 5]
    1  TransformerBlock  f32[2, 3, 5]  -> refused"""
    )
