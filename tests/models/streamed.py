"""What tests of several models have in common: drawn configs, models that look trained, streams."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from typedwave.models import (
    Config,
    Network,
    NetworkConfig,
    NGram,
    NGramConfig,
    PoolConfig,
    RecurrentConfig,
    SequenceModel,
    TransformerConfig,
    WaveNetConfig,
    build,
    sequence_model,
)
from typedwave.testing import axis_sizes

ROUNDING = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.float64: {"rtol": 1e-9, "atol": 1e-10},
}
"""What sums in another order may differ by after a few layers, which make it a little larger."""


def assert_close(value: Tensor, expected: Tensor) -> None:
    """To the rounding of their dtype."""
    torch.testing.assert_close(value, expected, **ROUNDING[expected.dtype])


def refusal(call: Any, *args: Any, kind: type[Exception] = ValueError, **options: Any) -> str:
    """The whole message with which a call is refused."""
    with pytest.raises(kind) as caught:
        call(*args, **options)
    assert type(caught.value) is kind
    return str(caught.value)


def parameters_of(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def random_ids(*shape: int, vocab_size: int = 5, seed: int = 0) -> Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def looking_trained(network: Network, *, seed: int = 0) -> Any:
    """Each parameter and statistic is nothing special; n-grams are counted. In eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, NGram):
            ngrams = torch.rand(200, module.context + 1, generator=generator) ** 2
            ids = (ngrams * module.vocab_size).long()
            module.fit(ids[:, :-1], ids[:, -1])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-0.9, 0.9, generator=generator)
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_(0.3, 1.4, generator=generator)
    return network.eval()


# configs, all of them small


@st.composite
def trees(draw: st.DrawFn, network: str = "hierarchical") -> NetworkConfig:
    sizes = {name: max(1, size) for name, size in draw(axis_sizes("n_embd", "n_hidden")).items()}
    fuse = draw(st.integers(2, 4))
    flat, power = draw(st.integers(1, 9)), fuse ** draw(st.integers(1, 3))
    return NetworkConfig(
        network=network,
        context=flat if network == "flat" else power,
        fuse=fuse,
        unbiased=draw(st.booleans()),
        **sizes,
    )


@st.composite
def wavenets(draw: st.DrawFn, *, conditions: bool = False) -> WaveNetConfig:
    sizes = {name: max(1, size) for name, size in draw(axis_sizes("C", "Z", "S", "G", "L")).items()}
    return WaveNetConfig(
        channels=sizes["C"],
        gate_channels=sizes["Z"],
        skip_channels=draw(st.sampled_from([0, sizes["S"]])),
        kernel_size=draw(st.integers(1, 3)),
        dilations=tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))),
        cycles=draw(st.integers(1, 2)),
        norm=draw(st.booleans()),
        global_channels=draw(st.sampled_from([0, sizes["G"]])) if conditions else 0,
        local_channels=draw(st.sampled_from([0, sizes["L"]])) if conditions else 0,
    )


def recurrents(kind: str) -> st.SearchStrategy[RecurrentConfig]:
    some = st.integers(1, 7)
    layers = st.integers(1, 3)
    return st.builds(
        RecurrentConfig, network=st.just(kind), n_embd=some, n_hidden=some, num_layers=layers
    )


@st.composite
def transformers(draw: st.DrawFn) -> TransformerConfig:
    heads = draw(st.integers(1, 3))
    return TransformerConfig(
        n_embd=heads * draw(st.integers(1, 3)),
        n_hidden=draw(st.integers(1, 7)),
        num_heads=heads,
        num_layers=draw(st.integers(1, 3)),
        token_shift=draw(st.booleans()),
    )


SINGLE: dict[str, st.SearchStrategy[Config]] = {
    "ngram": st.builds(NGramConfig, order=st.integers(2, 4)),
    "flat": trees("flat"),
    "hierarchical": trees(),
    "wavenet": wavenets(),
    "rnn": recurrents("rnn"),
    "gru": recurrents("gru"),
    "lstm": recurrents("lstm"),
    "transformer": transformers(),
}


@st.composite
def pools(draw: st.DrawFn, members: st.SearchStrategy[Config]) -> PoolConfig:
    drawn = draw(st.lists(members, min_size=1, max_size=3))
    weights = draw(st.lists(st.floats(0.1, 1), min_size=len(drawn), max_size=len(drawn)))
    return PoolConfig(members=tuple(drawn), weights=tuple(weights))


ONE = st.one_of(*SINGLE.values())
CONFIGS = {**SINGLE, "pool": pools(ONE | pools(ONE))}
of_each_kind = pytest.mark.parametrize("kind", CONFIGS)


def made(config: Config, *, seed: int = 0, vocab_size: int = 5, **options: Any) -> SequenceModel:
    """A model of sequences that looks trained, in float64."""
    generator = torch.Generator().manual_seed(seed)
    options = {"dtype": torch.float64, **options}
    network = build(config, vocab_size=vocab_size, generator=generator, **options)
    return sequence_model(looking_trained(network, seed=seed))


EXAMPLES: dict[str, Config] = {
    "ngram": NGramConfig(order=3),
    "flat": NetworkConfig(network="flat", context=3, n_embd=4, n_hidden=7),
    "hierarchical": NetworkConfig(context=4, n_embd=4, n_hidden=7),
    "wavenet": WaveNetConfig(channels=6, gate_channels=5, dilations=(1, 2)),
    "wavenet with skips": WaveNetConfig(
        channels=6, gate_channels=5, skip_channels=7, kernel_size=3, cycles=2, norm=False
    ),
    "rnn": RecurrentConfig(network="rnn", n_embd=4, n_hidden=7),
    "gru": RecurrentConfig(network="gru", n_embd=4, n_hidden=7, num_layers=2),
    "lstm": RecurrentConfig(network="lstm", n_embd=4, n_hidden=7),
    "transformer": TransformerConfig(n_embd=6, n_hidden=7, num_heads=3, num_layers=2),
    "transformer without shift": TransformerConfig(
        n_embd=6, n_hidden=7, num_heads=2, num_layers=2, token_shift=False
    ),
}
EXAMPLES["pool"] = PoolConfig(
    members=(EXAMPLES["wavenet"], EXAMPLES["lstm"], EXAMPLES["hierarchical"], EXAMPLES["ngram"]),
    weights=(0.3, 0.5, 0.1, 0.2),
)
of_each_example = pytest.mark.parametrize("config", EXAMPLES.values(), ids=EXAMPLES.keys())


# streams


@st.composite
def cuts(draw: st.DrawFn, length: int) -> list[int]:
    """The lengths of the pieces, none of them empty, that a sequence is cut into."""
    inner = sorted(draw(st.sets(st.integers(1, length - 1)))) if length > 1 else []
    return [until - start for start, until in zip([0, *inner], [*inner, length], strict=True)]


def in_pieces(model: SequenceModel, ids: Tensor, lengths: Sequence[int]) -> Tensor:
    """The logits of a sequence that comes in pieces."""
    state = model.initial_state(len(ids))
    return torch.cat([model.stream(piece, state) for piece in ids.split([*lengths], 1)], 1)
