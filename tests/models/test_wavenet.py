"""The WaveNet is the one of the paper's equations."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from streamed import (
    assert_close,
    cuts,
    looking_trained,
    parameters_of,
    random_ids,
    refusal,
    wavenets,
)
from torch import Tensor

from typedwave import IdOutOfRangeError, ShapeError
from typedwave.models import WaveNet, WaveNetConfig
from typedwave.nn import CausalConv1d, Dropout, RMSNorm

VOCABULARY = 7


@dataclass
class Drawn:
    network: WaveNet
    ids: Tensor
    global_: Tensor | None
    local: Tensor | None

    @property
    def inputs(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return self.ids, self.global_, self.local


def random_numbers(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@st.composite
def networks_and_inputs(draw: st.DrawFn) -> Drawn:
    config, seed = draw(wavenets(conditions=True)), draw(st.integers(0, 2**32))
    batch, length = draw(st.integers(1, 3)), draw(st.integers(1, 14))
    network = WaveNet(config, vocab_size=VOCABULARY, dtype=torch.float64)
    g, l = config.global_channels, config.local_channels  # noqa: E741  # as in the paper
    return Drawn(
        looking_trained(network, seed=seed),
        random_ids(batch, length, vocab_size=VOCABULARY, seed=seed),
        random_numbers(batch, g, seed=seed + 1) if g else None,
        random_numbers(batch, length, l, seed=seed + 2) if l else None,
    )


def convolved(x: Tensor, weight: Tensor, bias: Tensor, *, dilation: int) -> Tensor:
    """``(W * x)[t]``, with zeros before the first position, summed tap by tap."""
    result = []
    for t in range(x.shape[1]):
        y = bias.expand(x.shape[0], -1)
        for tap in range(weight.shape[2]):
            back = t - (weight.shape[2] - 1 - tap) * dilation
            if back >= 0:
                y = y + x[:, back] @ weight[:, :, tap].T
        result.append(y)
    return torch.stack(result, 1)


def paper(
    config: WaveNetConfig,
    weights: dict[str, Tensor],
    ids: Tensor,
    global_: Tensor | None,
    local: Tensor | None,
) -> Tensor:
    """van den Oord et al. (2016): equations 2 and 3 and figure 4, and the norm that is ours."""
    x, skips = weights["embedding.weight"][ids], 0
    dilations = [*config.dilations] * config.cycles
    for number, dilation in enumerate(dilations):
        block = {
            name.removeprefix(f"blocks.{number}."): weight
            for name, weight in weights.items()
            if name.startswith(f"blocks.{number}.")
        }
        seen = x
        if config.norm:
            mean_square = x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps
            seen = x / mean_square.sqrt() * block["norm.weight"]
        filters, gates = (
            convolved(seen, weight, bias, dilation=dilation)
            for weight, bias in zip(
                block["conv.weight"].chunk(2), block["conv.bias"].chunk(2), strict=True
            )
        )
        if global_ is not None:
            v_f, v_g = block["conditioning.global_projection.weight"].chunk(2)
            filters, gates = (
                filters + (global_ @ v_f.T)[:, None],
                gates + (global_ @ v_g.T)[:, None],
            )
        if local is not None:
            v_f, v_g = block["conditioning.local_projection.weight"].chunk(2)
            filters, gates = filters + local @ v_f.T, gates + local @ v_g.T
        z = torch.tanh(filters) * torch.sigmoid(gates)
        if config.skip_channels:
            skips = skips + z @ block["skip.weight"].T + block["skip.bias"]
        if number + 1 < len(dilations) or not config.skip_channels:
            x = x + z @ block["residual.weight"].T + block["residual.bias"]
        else:
            assert "residual.weight" not in block  # nothing reads it
    if config.skip_channels:
        y = torch.relu(skips) @ weights["head.1.weight"].T + weights["head.1.bias"]
        return torch.relu(y) @ weights["head.3.weight"].T + weights["head.3.bias"]
    x = x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()
    return x * weights["head.0.weight"] @ weights["head.1.weight"].T + weights["head.1.bias"]


# values


@given(networks_and_inputs())
@torch.no_grad()
def test_the_logits_are_those_of_the_equations(case):
    weights = dict(case.network.named_parameters())
    for training in (False, True):  # which are the same without dropout
        # Sums in another order.
        logits = case.network.train(training)(*case.inputs)
        assert_close(logits, paper(case.network.config, weights, *case.inputs))


@given(networks_and_inputs(), st.data())
@torch.no_grad()
def test_with_conditions_it_streams_as_well(case, data):
    state, logits = case.network.initial_state(len(case.ids)), []
    start = 0
    for length in data.draw(cuts(case.ids.shape[1])):
        here = slice(start, start + length)
        local = None if case.local is None else case.local[:, here]
        logits.append(case.network.stream(case.ids[:, here], state, case.global_, local))
        start += length
    # Sums in another order.
    assert_close(torch.cat(logits, 1), case.network(*case.inputs))


@pytest.mark.parametrize("skip_channels", [0, 5])
def test_conditions_get_gradients_and_so_does_each_parameter_with_them(skip_channels):
    config = WaveNetConfig(
        channels=6,
        gate_channels=4,
        skip_channels=skip_channels,
        kernel_size=3,
        global_channels=2,
        local_channels=3,
    )
    network = WaveNet(config, vocab_size=5, dtype=torch.float64)
    given_inputs = [random_numbers(2, 2, seed=1), random_numbers(2, 20, 3, seed=2)]
    wanted = [*(x.requires_grad_() for x in given_inputs), *network.parameters()]
    loss = F.cross_entropy(network(random_ids(2, 20), *given_inputs).flatten(0, 1), random_ids(40))
    for gradient in torch.autograd.grad(loss, wanted):
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 1e-9


@given(config=wavenets())
def test_the_receptive_field_is_that_of_its_convolutions(config):
    network = WaveNet(config, vocab_size=3)
    convolutions = [m for m in network.modules() if isinstance(m, CausalConv1d)]
    assert [conv.dilation for conv in convolutions] == [*config.dilations] * config.cycles
    assert {conv.kernel_size for conv in convolutions} == {config.kernel_size}
    assert network.receptive_field == config.receptive_field
    assert config.receptive_field == 1 + sum(conv.reach for conv in convolutions)


def test_in_milliseconds_it_is_that_of_the_paper():
    # Section 2.1: blocks of 1 to 512; section 3.1: "about 300 milliseconds" at 16 kHz.
    dilations = tuple(2**n for n in range(10))
    assert WaveNetConfig(dilations=dilations).receptive_field == 1024
    assert WaveNetConfig(dilations=dilations).receptive_field_ms(16_000) == 64
    five = WaveNetConfig(dilations=dilations, cycles=5)
    assert five.receptive_field == 5116
    assert five.receptive_field_ms(16_000) == 319.75
    assert WaveNetConfig(kernel_size=1).receptive_field_ms(1_000) == 1


# how large it is


@pytest.mark.parametrize(
    ("options", "vocab_size", "parameters"),
    [
        # 27 * 64, a block of 64 + 2 * 64 * 150 + 150 + 75 * 64 + 64, and 64 + 64 * 27 + 27
        ({}, 27, 76_381),
        ({"cycles": 2}, 27, 149_215),
        ({"norm": False}, 27, 76_189),
        ({"skip_channels": 64}, 27, 90_205),
        ({"global_channels": 3, "local_channels": 2}, 27, 78_631),
        ({}, 256, 105_922),
    ],
)
def test_it_has_as_many_parameters_as_was_counted_by_hand(options, vocab_size, parameters):
    network = WaveNet(WaveNetConfig(**options), vocab_size=vocab_size, device="meta")
    assert parameters_of(network) == parameters


@given(config=wavenets(conditions=True), vocab_size=st.integers(1, 9))
def test_the_parameters_are_those_of_table_blocks_and_head(config, vocab_size):
    c, z, s = config.channels, config.gate_channels, config.skip_channels
    blocks = len(config.dilations) * config.cycles
    block = config.kernel_size * c * 2 * z + 2 * z + c * config.norm
    block += (config.global_channels + config.local_channels) * 2 * z
    block += (z + 1) * s + (z + 1) * c
    head = (s + 1) * s + (s + 1) * vocab_size - (z + 1) * c if s else c + (c + 1) * vocab_size
    network = WaveNet(config, vocab_size=vocab_size, device="meta")
    assert parameters_of(network) == vocab_size * c + blocks * block + head


def test_it_knows_what_it_was_made_of():
    config = WaveNetConfig(norm=False, dropout=0.25)
    network = WaveNet(config, vocab_size=7, device="meta", dtype=torch.float64)
    assert network.config is config
    assert network.vocab_size == 7
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float64}
    assert [m.p for m in network.modules() if isinstance(m, Dropout)] == [0.25] * 3
    assert sum(isinstance(m, RMSNorm) for m in network.modules()) == 1  # of the head
    assert (
        sum(isinstance(m, RMSNorm) for m in WaveNet(WaveNetConfig(), vocab_size=7).modules()) == 4
    )


# what it refuses


def conditioned(**channels: int) -> WaveNet:
    return WaveNet(WaveNetConfig(channels=3, gate_channels=2, **channels), vocab_size=5)


@pytest.mark.parametrize("streaming", [False, True])
@torch.no_grad()
def test_a_condition_that_is_missing_or_not_expected_is_refused(streaming):
    ids, g, l = random_ids(2, 4), torch.zeros(2, 3), torch.zeros(2, 4, 2)  # noqa: E741

    def told(network: WaveNet, **conditions: Tensor) -> str:
        if streaming:
            return refusal(network.stream, ids, network.initial_state(2), **conditions)
        return refusal(network, ids, **conditions)

    plain, both = conditioned(), conditioned(global_channels=3, local_channels=2)
    layer = "blocks.0.conditioning (Conditioning)"
    assert told(plain, global_=g) == (
        f"{layer}: global_ came, but the layer has no global_channels"
    )
    assert told(plain, local=l) == f"{layer}: local came, but the layer has no local_channels"
    assert told(both, local=l) == f"{layer}: global_ is missing, but the layer has global_channels"
    assert told(both, global_=g) == f"{layer}: local is missing, but the layer has local_channels"


def test_a_condition_of_other_channels_or_another_length_is_refused():
    network, ids = conditioned(global_channels=3, local_channels=2), random_ids(2, 4)
    g, l = torch.zeros(2, 3), torch.zeros(2, 4, 2)  # noqa: E741
    message = refusal(network, ids, torch.zeros(2, 4), l, kind=ShapeError)
    assert message.startswith(
        "blocks.0.conditioning.global_projection (Linear): x has the wrong shape\n"
        '  expected  Float "*B in_features"   in_features = 3\n'
    )
    message = refusal(network, ids, g, torch.zeros(2, 5, 2), kind=ShapeError)
    assert message == (
        "WaveNet: local has the wrong shape\n"
        '  expected  Float "B T L" or None   T = 4\n'
        "  got       f32[2, 5, 2]            axis 1 is 5\n"
        "  T = 4 comes from ids i64[2, 4]"
    )


def test_an_id_out_of_range_is_named_with_its_place():
    ids = random_ids(2, 4)
    ids[1, 2], ids[1, 3] = 5, -1
    assert refusal(conditioned(), ids, kind=IdOutOfRangeError) == (
        "embedding (Embedding): x holds the id 5 at position [1, 2], and 1 more; "
        "ids are 0 to 4, as num_embeddings = 5"
    )
