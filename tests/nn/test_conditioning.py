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
from typedwave import ShapeError
from typedwave.nn import Conditioning
from typedwave.testing import axis_sizes, normal_tensors

KINDS = [(False, False), (True, False), (False, True), (True, True)]


@st.composite
def layers_and_inputs(draw: st.DrawFn, kinds=KINDS):
    """A layer and what it takes: x, the global channels and the local ones, or None."""
    has_global, has_local = draw(st.sampled_from(kinds))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    sizes = draw(axis_sizes("B", "T", "C", "G", "L"))
    b, t = (draw(st.sampled_from([0, 1, sizes[name]])) for name in ("B", "T"))
    options = {
        "global_channels": sizes["G"] if has_global else 0,
        "local_channels": sizes["L"] if has_local else 0,
        "dtype": dtype,
    }
    layer = draw(redrawn(Conditioning(sizes["C"], **options)))
    x = draw(normal_tensors((b, t, sizes["C"]), dtype=dtype))
    global_ = draw(normal_tensors((b, sizes["G"]), dtype=dtype)) if has_global else None
    local = draw(normal_tensors((b, t, sizes["L"]), dtype=dtype)) if has_local else None
    return layer, x, global_, local


def formula(layer: Conditioning, x: Tensor, global_: Tensor | None, local: Tensor | None) -> Tensor:
    y = x.clone()
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            if global_ is not None:
                y[b, t] += layer.global_projection.weight @ global_[b]
            if local is not None:
                y[b, t] += layer.local_projection.weight @ local[b, t]
    return y


@given(layers_and_inputs())
def test_it_adds_a_projection_of_what_is_known_of_sequence_and_position(case):
    layer, *inputs = case
    y = layer.train()(*inputs)
    assert (y.shape, y.dtype) == (inputs[0].shape, inputs[0].dtype)
    # One product of all positions sums in another order than one for each.
    assert_close(y, formula(layer, *inputs))
    assert torch.equal(y, layer.eval()(*inputs))


@given(layers_and_inputs(kinds=[(True, True)]))
def test_the_gradients_are_those_of_the_formula_and_finite(case):
    layer, *inputs = case
    if not inputs[0].numel():
        return
    assert_same_gradients(layer, lambda *x: formula(layer, *x), inputs, layers=(layer, layer))


@given(layers_and_inputs())
def test_it_does_not_write_to_what_it_is_given(case):
    layer, *inputs = case
    before = [None if x is None else x.clone() for x in inputs]
    layer(*inputs)
    assert all(x is None or torch.equal(x, kept) for x, kept in zip(inputs, before, strict=True))


def test_without_conditions_it_gives_its_input():
    x = torch.randn(2, 3, 5)
    assert torch.equal(Conditioning(5)(x), x)
    assert list(Conditioning(5).parameters()) == []


def test_the_projections_are_linear_layers_without_bias_that_start_as_those_of_torch():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        ours = Conditioning(5, global_channels=3, local_channels=2)
        torch.manual_seed(3)
        theirs = [torch.nn.Linear(given, 5, bias=False) for given in (3, 2)]
    state = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert state == {"global_projection.weight": (5, 3), "local_projection.weight": (5, 2)}
    assert_equal(ours.state_dict().values(), [layer.weight for layer in theirs])


@in_each_way
def test_a_copy_gives_the_same(copied):
    inputs = torch.randn(2, 3, 5), torch.randn(2, 3), torch.randn(2, 3, 4)
    layer = Conditioning(5, global_channels=3, local_channels=4)
    assert_copies_agree(layer, copied, lambda layer: layer(*inputs))


def test_its_parameters_are_made_on_the_device_and_of_the_dtype_asked_for():
    layer = Conditioning(
        5, global_channels=3, local_channels=4, device="meta", dtype=torch.bfloat16
    )
    assert_on_meta(layer, torch.zeros(2, 3, 5), torch.zeros(2, 3), torch.zeros(2, 3, 4))


@pytest.mark.parametrize(("has_global", "has_local"), [(False, True), (True, True)])
def test_compiled_it_gives_what_it_gives_uncompiled(has_global, has_local):
    layer = Conditioning(5, global_channels=3 * has_global, local_channels=4 * has_local)
    given = {
        "global_": torch.randn(2, 3) if has_global else None,
        "local": torch.randn(2, 7, 4) if has_local else None,
    }
    assert_compiles(lambda x: layer(x, **given), torch.randn(2, 7, 5))


def test_it_is_a_module_of_typedwave():
    assert isinstance(Conditioning(5), typedwave.Module)


# refusals


def test_global_channels_of_another_number_are_explained():
    layer = Conditioning(4, global_channels=3)
    assert refusal(layer, torch.zeros(2, 7, 4), torch.zeros(2, 5)) == (
        """\
global_projection (Linear): x has the wrong shape
  expected  Float "*B in_features"   in_features = 3
  got       f32[2, 5]                axis -1 is 5
  in_features = 3 comes from global_projection.weight f32[4, 3]
  perhaps   Linear(in_features=5)"""
    )


def test_local_channels_of_another_number_are_explained():
    layer = Conditioning(4, local_channels=3)
    assert refusal(layer, torch.zeros(2, 7, 4), None, torch.zeros(2, 7, 5)) == (
        """\
local_projection (Linear): x has the wrong shape
  expected  Float "*B in_features"   in_features = 3
  got       f32[2, 7, 5]             axis -1 is 5
  in_features = 3 comes from local_projection.weight f32[4, 3]
  perhaps   Linear(in_features=5)"""
    )


def test_channels_of_another_number_are_explained():
    assert refusal(Conditioning(4), torch.zeros(2, 7, 5)) == (
        """\
Conditioning: x has the wrong shape
  expected  Float "B T {self.channels}"   {self.channels} = 4
  got       f32[2, 7, 5]                  axis 2 is 5"""
    )


def test_what_is_known_of_other_sequences_or_positions_is_refused():
    layer = Conditioning(4, global_channels=3, local_channels=2)
    x, global_, local = torch.zeros(2, 7, 4), torch.zeros(2, 3), torch.zeros(2, 7, 2)
    layer(x, global_, local)
    for wrong in [
        (x, torch.zeros(1, 3), local),  # would be spread over the batch
        (x, torch.zeros(7, 3), local),
        (x, global_, torch.zeros(1, 7, 2)),
        (x, global_, torch.zeros(2, 1, 2)),  # would be spread over the positions
        (x, global_[:, None].expand(2, 7, 3), local),
    ]:
        with pytest.raises(ShapeError):
            layer(*wrong)


@pytest.mark.parametrize("name", ["global_", "local"])
def test_a_condition_that_is_missing_is_said_to_be(name):
    layer = Conditioning(4, **{f"{name.strip('_')}_channels": 3})
    assert refusal(layer, torch.zeros(2, 7, 4), kind=ValueError) == (
        f"Conditioning: {name} is missing, but the layer has {name.strip('_')}_channels"
    )


@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize(("name", "shape"), [("global_", (2,)), ("local", (2, 7))])
def test_a_condition_that_is_not_expected_is_said_to_be(name, shape, channels):
    layer, given = Conditioning(4), {name: torch.zeros(*shape, channels)}
    assert refusal(lambda: layer(torch.zeros(2, 7, 4), **given), kind=ValueError) == (
        f"Conditioning: {name} came, but the layer has no {name.strip('_')}_channels"
    )


@pytest.mark.parametrize("size", [-1, True, 2.0])
@pytest.mark.parametrize(
    ("name", "least"), [("channels", 1), ("global_channels", 0), ("local_channels", 0)]
)
def test_a_number_of_channels_out_of_range_is_refused(name, least, size):
    sizes = {"channels": 4, name: size}
    assert refusal(lambda: Conditioning(**sizes), kind=ValueError) == (
        f"Conditioning: {name} is {size!r}, but has to be a whole number of at least {least}"
    )


def test_no_channels_at_all_are_refused():
    assert refusal(Conditioning, 0, kind=ValueError) == (
        "Conditioning: channels is 0, but has to be a whole number of at least 1"
    )
