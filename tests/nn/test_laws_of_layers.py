"""Every layer keeps the laws that apply to it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from typedwave import nn
from typedwave.testing import axis_sizes, check, each_law

pytestmark = pytest.mark.usefixtures("default_profile")

CONDITIONS = {"global_": Float[Tensor, "B 3"], "local": Float[Tensor, "B T 2"]}


@each_law()
def test_linear():
    return nn.Linear(5, 3)


@each_law()
def test_linear_without_bias():
    return nn.Linear(5, 3, bias=False)


@each_law()
def test_embedding():
    return nn.Embedding(7, 3)


@each_law()
def test_batch_norm():
    return nn.BatchNorm1d(5)


@each_law()
def test_batch_norm_of_the_lecture():
    return nn.BatchNorm1d(5, unbiased=True)


@each_law(batch="S", equivariant="S")
def test_tanh():
    return nn.Tanh()


@each_law(spec={"x": Float[Tensor, "B T C"], "return": Float[Tensor, "B T*C"]})
def test_flatten():
    return nn.Flatten()


@each_law(sizes={"T": (4, 8, 6, 10)})
def test_flatten_consecutive():
    return nn.FlattenConsecutive(2)


@each_law(spec={"x": Float[Tensor, "*B 6"], "return": Float[Tensor, "*B 3"]})
def test_sequential():
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))


@each_law(receptive_field=5)
def test_causal_convolution():
    return nn.CausalConv1d(5, 3, 2, dilation=4)


@each_law(receptive_field=1)
def test_causal_convolution_of_one_tap_without_bias():
    return nn.CausalConv1d(5, 3, 1, bias=False)


@each_law()
def test_gated_activation():
    return nn.GatedActivation()


@each_law(batch="S")
def test_dropout():
    return nn.Dropout(0.5)


@each_law()
def test_layer_norm():
    return nn.LayerNorm(5)


@each_law()
def test_rms_norm():
    return nn.RMSNorm(5)


@each_law(receptive_field=1, spec=CONDITIONS)
def test_conditioning():
    return nn.Conditioning(5, global_channels=3, local_channels=2)


@each_law(receptive_field=4, examples=5, spec=CONDITIONS)
def test_residual_block():
    return nn.ResidualBlock(
        5,
        gate_channels=4,
        skip_channels=7,
        dilation=3,
        norm=True,
        dropout=0.5,
        global_channels=3,
        local_channels=2,
    )


@each_law(receptive_field=3, examples=5, spec={"global_": None, "local": None})
def test_residual_block_without_skip():
    return nn.ResidualBlock(5, gate_channels=4, skip_channels=0, kernel_size=3)


@each_law(causal=True, examples=5)
def test_rnn():
    return nn.RNN(5, 3)


@each_law(causal=True, examples=5)
def test_gru():
    return nn.GRU(5, 3, 2)


@each_law(causal=True, examples=5)
def test_lstm():
    return nn.LSTM(5, 3, 2)


@each_law(causal=True, examples=5)
def test_causal_self_attention():
    return nn.CausalSelfAttention(6, 2)


@each_law(receptive_field=2)
def test_token_shift():
    return nn.TokenShift(5)


@each_law(causal=True, examples=5)
def test_transformer_block():
    return nn.TransformerBlock(6, 2, 7, dropout=0.5)


@each_law(causal=True, examples=5)
def test_transformer_block_that_shifts():
    return nn.TransformerBlock(6, 3, 5, token_shift=True)


# in drawn sizes


@given(st.data())
@settings(max_examples=3)
def test_convolutions_of_drawn_sizes_keep_all_laws(data):
    channels, out = data.draw(axis_sizes("C", "O")).values()
    kernel, dilation = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))

    def convolution() -> nn.CausalConv1d:
        return nn.CausalConv1d(channels, out, kernel, dilation=dilation)

    field = convolution().receptive_field
    check(convolution, examples=2, receptive_field=field).raise_for_findings()


@given(st.data())
@settings(max_examples=3)
def test_residual_blocks_of_drawn_sizes_keep_all_laws(data):
    sizes = data.draw(axis_sizes("C", "Z", "S", "G", "L"))
    options = {
        "gate_channels": sizes["Z"],
        "skip_channels": data.draw(st.sampled_from([0, sizes["S"]])),
        "kernel_size": data.draw(st.integers(1, 3)),
        "dilation": data.draw(st.integers(1, 3)),
        "norm": data.draw(st.booleans()),
        "dropout": data.draw(st.sampled_from([0.0, 0.5])),
        "global_channels": sizes["G"],
        "local_channels": sizes["L"],
    }

    def block() -> nn.ResidualBlock:
        return nn.ResidualBlock(sizes["C"], **options)

    spec = {
        "global_": Float[Tensor, f"B {sizes['G']}"],
        "local": Float[Tensor, f"B T {sizes['L']}"],
    }
    field = block().receptive_field
    check(block, examples=2, receptive_field=field, spec=spec).raise_for_findings()


@given(st.data())
@settings(max_examples=3)
def test_transformer_blocks_of_drawn_sizes_keep_all_laws(data):
    heads, width = data.draw(st.sampled_from([(1, 3), (2, 3), (3, 2)]))
    wide, shift = data.draw(st.sampled_from([1, 5])), data.draw(st.booleans())

    def block() -> nn.TransformerBlock:
        return nn.TransformerBlock(heads * width, heads, wide, token_shift=shift)

    check(block, examples=2, causal=True).raise_for_findings()
