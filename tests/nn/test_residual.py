from dataclasses import dataclass
from typing import Any

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
from jaxtyping import Float
from torch import Tensor

import typedwave
from typedwave.nn import ResidualBlock, Sequential, Tanh
from typedwave.testing import axis_sizes, check, normal_tensors


@dataclass
class Drawn:
    block: ResidualBlock
    options: dict[str, Any]
    x: Tensor
    global_: Tensor | None
    local: Tensor | None

    @property
    def inputs(self) -> tuple[Tensor | None, ...]:
        return self.x, self.global_, self.local


@st.composite
def blocks_and_inputs(draw: st.DrawFn, **fixed):
    sizes = draw(axis_sizes("C", "Z", "S", "G", "L", "B"))
    dtype = torch.float64
    options = {
        "gate_channels": sizes["Z"],
        "skip_channels": draw(st.sampled_from([0, sizes["S"]])),
        "kernel_size": draw(st.integers(1, 3)),
        "dilation": draw(st.integers(1, 3)),
        "residual": draw(st.booleans()),
        "norm": draw(st.booleans()),
        "global_channels": draw(st.sampled_from([0, sizes["G"]])),
        "local_channels": draw(st.sampled_from([0, sizes["L"]])),
        **fixed,
    }
    block = draw(redrawn(ResidualBlock(sizes["C"], dtype=dtype, **options)))
    b, t = draw(st.sampled_from([1, min(5, sizes["B"])])), draw(st.integers(1, 7))
    g, l = options["global_channels"], options["local_channels"]  # noqa: E741  # as in the paper
    return Drawn(
        block,
        options,
        x=draw(normal_tensors((b, t, sizes["C"]), dtype=dtype)),
        global_=draw(normal_tensors((b, g), dtype=dtype)) if g else None,
        local=draw(normal_tensors((b, t, l), dtype=dtype)) if l else None,
    )


def formula(case: Drawn, x: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
    """The block written plainly, with the taps added up one by one."""
    weights, options = dict(case.block.named_parameters()), case.options
    given = iter(conditions)
    seen = x
    if options["norm"]:
        eps = torch.finfo(x.dtype).eps
        seen = weights["norm.weight"] * x / (x.square().mean(-1, keepdim=True) + eps).sqrt()
    convolved = weights["conv.bias"].expand(*x.shape[:2], -1).clone()
    for t in range(x.shape[1]):
        for k in range(options["kernel_size"]):
            back = t - (options["kernel_size"] - 1 - k) * options["dilation"]
            if back >= 0:
                convolved[:, t] += seen[:, back] @ weights["conv.weight"][:, :, k].T
    if options["global_channels"]:
        told = next(given) @ weights["conditioning.global_projection.weight"].T
        convolved = convolved + told[:, None, :]
    if options["local_channels"]:
        convolved = convolved + next(given) @ weights["conditioning.local_projection.weight"].T
    z_size = options["gate_channels"]
    z = torch.tanh(convolved[..., :z_size]) * torch.sigmoid(convolved[..., z_size:])
    y, skip = x, x.new_zeros(*x.shape[:2], 0)
    if options["residual"]:
        y = x + z @ weights["residual.weight"].T + weights["residual.bias"]
    if options["skip_channels"]:
        skip = z @ weights["skip.weight"].T + weights["skip.bias"]
    return y, skip


def made(**options: Any) -> ResidualBlock:
    return ResidualBlock(**{"channels": 4, "gate_channels": 3, "skip_channels": 5, **options})


# values


@given(blocks_and_inputs())
def test_result_and_skip_are_those_of_the_formula(case):
    given_inputs = [x for x in case.inputs if x is not None]
    before = [x.clone() for x in given_inputs]
    y, skip = case.block.train()(*case.inputs)
    assert y.shape == case.x.shape
    assert skip.shape == (*case.x.shape[:2], case.options["skip_channels"])
    # Sums in another order.
    assert_close((y, skip), formula(case, *given_inputs))
    assert_equal(case.block.eval()(*case.inputs), (y, skip))
    assert all(torch.equal(*pair) for pair in zip(given_inputs, before, strict=True))


@given(blocks_and_inputs(residual=True))
def test_the_gradients_are_those_of_the_formula_and_finite(case):
    given_inputs = [x for x in case.inputs if x is not None]

    def block(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        rest = iter(inputs)
        return case.block(*(None if x is None else next(rest) for x in case.inputs))

    def plain(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        return formula(case, *inputs)

    assert_same_gradients(block, plain, given_inputs, layers=(case.block, case.block))


def test_without_a_residual_it_gives_its_input_back_and_without_skips_no_channels_of_them():
    x = torch.randn(2, 7, 4)
    y, skip = made(residual=False, skip_channels=0)(x)
    assert torch.equal(y, x)
    assert skip.shape == (2, 7, 0)
    names = {
        name.split(".")[0] for name, _ in made(residual=False, skip_channels=0).named_modules()
    }
    assert {"residual", "skip", "norm"} & names == set()


def test_in_training_a_share_of_the_gated_channels_is_left_out_of_result_and_skip_alike():
    block = made(gate_channels=1, skip_channels=1, dropout=0.5)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.fill_(0.5)
        block.residual.bias.zero_()
        block.skip.bias.zero_()
    x = torch.ones(1, 400, 4)
    full = block.eval()(x)[1]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        y, skip = block.train()(x)
    left_out = skip == 0
    # 400 draws: a deviation is 0.025.
    assert abs(left_out.float().mean() - 0.5) < 0.1
    assert torch.equal(skip[~left_out], 2 * full[~left_out])
    assert torch.equal((y == x).all(-1), left_out[..., 0])


def test_no_dropout_is_in_it_by_default():
    assert made().dropout.p == 0.0
    assert repr(made().norm) == "None"
    assert (made().conv.kernel_size, made().conv.dilation) == (2, 1)


# what it depends on


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (2, 4), (3, 2)])
def test_position_t_depends_on_the_receptive_field_of_its_convolution(kernel, dilation, norm):
    block = made(kernel_size=kernel, dilation=dilation, norm=norm)
    assert block.receptive_field == (kernel - 1) * dilation + 1
    report = check(
        block,
        laws="receptive_field",
        examples=5,
        receptive_field=block.receptive_field,
        spec={"global_": None, "local": None},
    )
    assert [row.outcome for row in report.rows] == ["held"]


# parameters


def test_its_layers_start_as_layers_of_their_own_do():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        block = made(channels=50, gate_channels=40, skip_channels=60, norm=True)
    assert torch.equal(block.norm.weight, torch.ones(50))
    assert {name: tuple(tensor.shape) for name, tensor in block.state_dict().items()} == {
        "norm.weight": (50,),
        "conv.weight": (80, 50, 2),
        "conv.bias": (80,),
        "residual.weight": (50, 40),
        "residual.bias": (50,),
        "skip.weight": (60, 40),
        "skip.bias": (60,),
    }
    for layer, fan_in in ((block.conv, 100), (block.residual, 40), (block.skip, 40)):
        for parameter in layer.parameters():
            bound = fan_in**-0.5
            assert 0.8 * bound < parameter.abs().max() <= bound


@in_each_way
def test_a_copy_gives_the_same(copied):
    inputs = torch.randn(2, 7, 4), torch.randn(2, 3), torch.randn(2, 7, 6)
    block = made(norm=True, global_channels=3, local_channels=6)
    assert_copies_agree(block, copied, lambda block: block(*inputs))


def test_its_parameters_are_made_on_the_device_and_of_the_dtype_asked_for():
    block = made(
        norm=True, global_channels=3, local_channels=6, device="meta", dtype=torch.bfloat16
    )
    assert_on_meta(block, torch.zeros(2, 7, 4), torch.zeros(2, 3), torch.zeros(2, 7, 6))


def test_compiled_it_gives_what_it_gives_uncompiled():
    assert_compiles(made(norm=True, dilation=2), torch.randn(2, 7, 4), dynamic=True)


@pytest.mark.parametrize(
    "options", [{"residual": False}, {"skip_channels": 0}, {"global_channels": 3}]
)
def test_compiled_with_other_options_it_gives_what_it_gives_uncompiled(options):
    known = [torch.randn(2, 3)] if "global_channels" in options else []
    assert_compiles(made(**options), torch.randn(2, 7, 4), *known)


def test_it_is_a_module_of_typedwave():
    assert isinstance(made(), typedwave.Module)


# refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"channels": 0},
            "ResidualBlock: channels is 0, but has to be a whole number of at least 1",
        ),
        (
            {"gate_channels": 0},
            "ResidualBlock: gate_channels is 0, but has to be a whole number of at least 1",
        ),
        (
            {"skip_channels": -1},
            "ResidualBlock: skip_channels is -1, but has to be a whole number of at least 0",
        ),
        (
            {"local_channels": -1},
            "Conditioning: local_channels is -1, but has to be a whole number of at least 0",
        ),
        (
            {"kernel_size": 0},
            "CausalConv1d: kernel_size is 0, but has to be a whole number of at least 1",
        ),
        (
            {"dilation": 0},
            "CausalConv1d: dilation is 0, but has to be a whole number of at least 1",
        ),
        ({"dropout": 2.0}, "dropout probability has to be between 0 and 1, but got 2.0"),
    ],
)
def test_a_number_out_of_range_is_refused(options, message):
    assert refusal(lambda: made(**options), kind=ValueError) == message


def test_the_wrong_number_of_channels_is_explained_with_the_path():
    assert refusal(Sequential(Tanh(), made()), torch.zeros(2, 7, 3)) == (
        """\
1 (ResidualBlock): x has the wrong shape
  expected  Float "B T {self.channels}"   {self.channels} = 4
  got       f32[2, 7, 3]                  axis 2 is 3
  shapes until here
    0  Tanh           f32[2, 7, 3]  -> f32[2, 7, 3]
    1  ResidualBlock  f32[2, 7, 3]  -> refused"""
    )


def test_the_wrong_number_of_global_channels_is_explained_with_the_path_of_the_layer_inside():
    class Network(typedwave.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = made(global_channels=3)

        def forward(self, x: Float[Tensor, "B T 4"]) -> tuple[Tensor, Tensor]:
            return self.block(x, x[:, 0, :2])

    assert refusal(Network(), torch.zeros(2, 7, 4)) == (
        """\
block.conditioning.global_projection (Linear): x has the wrong shape
  expected  Float "*B in_features"   in_features = 3
  got       f32[2, 2]                axis -1 is 2
  in_features = 3 comes from block.conditioning.global_projection.weight f32[6, 3]
  shapes until here
    block.conv                            CausalConv1d  f32[2, 7, 4]  -> f32[2, 7, 6]
    block.conditioning.global_projection  Linear        f32[2, 2]     -> refused
  perhaps   Linear(in_features=2)"""
    )


def test_a_condition_of_another_batch_or_length_is_refused():
    block = made(global_channels=3, local_channels=6)
    message = refusal(block, torch.zeros(2, 7, 4), torch.zeros(1, 3), torch.zeros(2, 1, 6))
    assert message == (
        """\
ResidualBlock: global_ has the wrong shape; local has the wrong shape
  global_
    expected  Float "B G" or None   B = 2
    got       f32[1, 3]             axis 0 is 1
  local
    expected  Float "B T L" or None   T = 7
    got       f32[2, 1, 6]            axis 1 is 1
  B = 2 comes from x f32[2, 7, 4]
  T = 7 comes from x f32[2, 7, 4]"""
    )


def test_a_condition_that_is_missing_is_said_to_be():
    block = made(global_channels=3)
    assert refusal(block, torch.zeros(2, 7, 4), kind=ValueError) == (
        "conditioning (Conditioning): global_ is missing, but the layer has global_channels"
    )
    block = made(local_channels=3)
    assert refusal(block, torch.zeros(2, 7, 4), kind=ValueError) == (
        "conditioning (Conditioning): local is missing, but the layer has local_channels"
    )
