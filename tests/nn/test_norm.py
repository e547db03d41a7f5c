import pytest
import torch
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
from typedwave.nn import LayerNorm, RMSNorm, Sequential, Tanh
from typedwave.testing import axis_sizes, leading_axes, normal_tensors

of_either_kind = pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
DTYPES = [torch.bfloat16, torch.float32, torch.float64]


@st.composite
def layers_and_inputs(draw: st.DrawFn, kind: type[torch.nn.Module], *, dtypes=DTYPES):
    """A layer of ours, torch's of the same options and weights, and an input for both."""
    options = {
        "eps": draw(st.sampled_from([1e-5, 0.5] + [None] * (kind is RMSNorm))),
        "elementwise_affine": draw(st.booleans()),
        "dtype": draw(st.sampled_from(dtypes)),
    }
    if kind is LayerNorm:
        options["bias"] = draw(st.booleans())
    channels = draw(axis_sizes("C"))["C"]
    ours = draw(redrawn(kind(channels, **options)))
    theirs = getattr(torch.nn, kind.__name__)(channels, **options)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    training = draw(st.booleans())
    x = draw(normal_tensors((*draw(leading_axes()), channels), dtype=options["dtype"]))
    return ours.train(training), theirs.train(training), x * 3 + 1


def formula(layer: LayerNorm | RMSNorm, x: Tensor) -> Tensor:
    if isinstance(layer, LayerNorm):
        centred = x - x.mean(-1, keepdim=True)
        y = centred / (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt()
    else:
        eps = torch.finfo(x.dtype).eps if layer.eps is None else layer.eps
        y = x / (x.square().mean(-1, keepdim=True) + eps).sqrt()
    y = y if layer.weight is None else y * layer.weight
    return y if getattr(layer, "bias", None) is None else y + layer.bias


@of_either_kind
@given(st.data())
def test_it_gives_what_torch_gives_to_the_bit(kind, data):
    ours, theirs, x = data.draw(layers_and_inputs(kind))
    before = x.clone()
    assert_equal(ours(x), theirs(x))
    assert torch.equal(x, before)


@of_either_kind
@given(st.data())
def test_the_gradients_are_those_of_torch_to_the_bit_and_finite(kind, data):
    ours, theirs, x = data.draw(layers_and_inputs(kind))
    assert_same_gradients(ours, theirs, [x], layers=(ours, theirs), exactly=True)


@of_either_kind
@given(st.data())
def test_it_is_the_formula(kind, data):
    ours, _, x = data.draw(layers_and_inputs(kind, dtypes=[torch.float64]))
    # torch's kernel adds up in another order.
    assert_close(ours(x), formula(ours, x))


@of_either_kind
@given(st.data())
def test_each_position_is_normalised_by_itself(kind, data):
    ours, _, x = data.draw(layers_and_inputs(kind, dtypes=[torch.float32]))
    rows = x.view(-1, x.shape[-1])
    for row, y in zip(rows, ours(x).view(rows.shape), strict=True):
        assert torch.equal(ours(row), y)


def test_zeros_stay_finite_whatever_eps_is():
    for layer in (LayerNorm(3), RMSNorm(3), RMSNorm(3, eps=1e-3)):
        x = torch.zeros(2, 3, requires_grad=True)
        layer(x).sum().backward()
        assert x.grad.isfinite().all()


@of_either_kind
def test_the_weights_are_ones_and_the_biases_zeros_and_are_again_after_a_reset(kind):
    layer = kind(5)
    for _ in range(2):
        assert torch.equal(layer.weight, torch.ones(5))
        assert kind is RMSNorm or torch.equal(layer.bias, torch.zeros(5))
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.fill_(7.0)
        layer.reset_parameters()


def test_the_options_say_which_parameters_there_are():
    def names(layer: torch.nn.Module) -> list[str]:
        return [name for name, _ in layer.named_parameters()]

    assert names(LayerNorm(5)) == ["weight", "bias"]
    assert names(LayerNorm(5, bias=False)) == ["weight"]
    assert names(LayerNorm(5, elementwise_affine=False)) == []
    assert names(RMSNorm(5)) == ["weight"]
    assert names(RMSNorm(5, elementwise_affine=False)) == []


def test_eps_is_that_of_torch_by_default():
    assert LayerNorm(5).eps == torch.nn.LayerNorm(5).eps == 1e-5
    assert RMSNorm(5).eps is torch.nn.RMSNorm(5).eps is None


@in_each_way
@of_either_kind
@pytest.mark.parametrize("affine", [True, False])
def test_a_copy_gives_the_same(kind, affine, copied):
    x = torch.randn(2, 3, 5)
    layer = kind(5, elementwise_affine=affine)
    assert_copies_agree(layer, copied, lambda layer: layer(x))


@of_either_kind
def test_its_parameters_are_made_on_the_device_and_of_the_dtype_asked_for(kind):
    assert_on_meta(kind(5, device="meta", dtype=torch.bfloat16), torch.zeros(2, 3, 5))


@of_either_kind
@pytest.mark.parametrize("affine", [True, False])
def test_compiled_it_gives_what_it_gives_uncompiled(kind, affine):
    layer = kind(5, elementwise_affine=affine)
    assert_compiles(layer, torch.randn(2, 3, 5))
    assert_compiles(layer, torch.randn(2, 3, 5), dynamic=True)


@of_either_kind
def test_it_is_one_of_torch_and_a_module_of_typedwave(kind):
    layer = kind(5)
    assert isinstance(layer, getattr(torch.nn, kind.__name__))
    assert isinstance(layer, typedwave.Module)
    assert repr(layer) == repr(getattr(torch.nn, kind.__name__)(5))


# refusals


@of_either_kind
@pytest.mark.parametrize("channels", [0, -1, True, 2.0, (5,), [3, 5]])
def test_channels_that_are_no_whole_number_of_at_least_1_are_refused(kind, channels):
    assert refusal(kind, channels, kind=ValueError) == (
        f"{kind.__name__}: normalized_shape is {channels!r}, but has to be a whole number of at "
        "least 1"
    )


@of_either_kind
def test_the_wrong_number_of_channels_is_explained_with_the_path(kind):
    name = kind.__name__
    assert refusal(Sequential(Tanh(), kind(4)), torch.zeros(2, 3)) == (
        f"""\
1 ({name}): x has the wrong shape
  expected  Float "*B channels"   channels = 4
  got       f32[2, 3]             axis -1 is 3
  channels = 4 comes from 1.weight f32[4]
  shapes until here
    0  {"Tanh":<{len(name)}}  f32[2, 3]  -> f32[2, 3]
    1  {name}  f32[2, 3]  -> refused"""
    )


@of_either_kind
def test_without_parameters_the_wrong_number_of_channels_is_explained_as_well(kind):
    name = kind.__name__
    model = Sequential(Tanh(), kind(4, elementwise_affine=False))
    assert refusal(model, torch.zeros(2, 3)) == (
        f"""\
1 ({name}): x has the wrong shape
  expected  Float "*B channels"   channels = 4
  got       f32[2, 3]             axis -1 is 3
  shapes until here
    0  {"Tanh":<{len(name)}}  f32[2, 3]  -> f32[2, 3]
    1  {name}  f32[2, 3]  -> refused"""
    )


@of_either_kind
def test_one_channel_is_not_spread_over_more(kind):
    assert "axis -1 is 3" in refusal(kind(1), torch.zeros(2, 3))
    assert "axis -1 is 1" in refusal(kind(3, elementwise_affine=False), torch.zeros(2, 1))


@of_either_kind
def test_a_number_without_axes_is_refused(kind):
    for affine in (True, False):
        message = refusal(kind(4, elementwise_affine=affine), torch.zeros(()))
        assert message.startswith(f"{kind.__name__}: x has the wrong shape")
        assert "got       f32[]" in message
