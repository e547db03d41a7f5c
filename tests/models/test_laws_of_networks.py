"""The networks keep every law that applies to them."""

import pytest
import torch
from streamed import EXAMPLES, looking_trained

from typedwave.models import (
    MLP,
    Dilated,
    NetworkConfig,
    Pool,
    SequenceModel,
    WaveNet,
    WaveNetConfig,
    Windowed,
    build,
    sequence_model,
    to_dilated,
)
from typedwave.testing import each_law

pytestmark = pytest.mark.usefixtures("default_profile")


# No condition is given.
PLAIN = {"global_": None, "local": None}


def of(name: str) -> SequenceModel:
    generator = torch.Generator().manual_seed(0)
    network = build(EXAMPLES[name], vocab_size=5, generator=generator)
    return network if isinstance(network, MLP) else sequence_model(network)


@each_law()
def test_hierarchical_network() -> MLP:
    generator = torch.Generator().manual_seed(0)
    return build(NetworkConfig(), vocab_size=27, generator=generator)


@each_law()
def test_flat_network() -> MLP:
    config = NetworkConfig(network="flat", n_embd=10, n_hidden=200)
    return MLP(config, vocab_size=27)


@each_law(examples=4, receptive_field=4)
def test_tree_as_dilated_convolutions() -> Dilated:
    return to_dilated(of("hierarchical"))


@each_law(examples=4, receptive_field=3)
def test_flat_network_as_a_convolution() -> Dilated:
    return to_dilated(of("flat"))


@each_law(examples=4, receptive_field=9, laws="receptive_field", sizes={"T": (1, 11)})
def test_tree_of_threes_as_dilated_convolutions() -> Dilated:
    config = NetworkConfig(context=9, fuse=3, n_embd=4, n_hidden=5)
    generator = torch.Generator().manual_seed(0)
    return to_dilated(build(config, vocab_size=5, generator=generator))


@each_law(examples=4, receptive_field=4)
def test_folded_tree_as_dilated_convolutions() -> Dilated:
    return to_dilated(looking_trained(of("hierarchical")), fold_batch_norm=True).train()


@each_law(examples=4, receptive_field=4)
def test_tree_at_each_window() -> Windowed:
    return Windowed(of("hierarchical"))


@each_law(examples=4, receptive_field=4, spec=PLAIN)
def test_wavenet() -> WaveNet:
    return of("wavenet")


@each_law(examples=2, receptive_field=29, spec=PLAIN, sizes={"T": (1, 30)})
def test_wavenet_with_skips() -> WaveNet:
    return of("wavenet with skips")


@each_law(examples=3, receptive_field=4, sizes={"G": 3, "L": 2})
def test_wavenet_with_conditions() -> WaveNet:
    config = WaveNetConfig(
        channels=6,
        gate_channels=5,
        skip_channels=7,
        dilations=(1, 2),
        global_channels=3,
        local_channels=2,
    )
    return build(config, vocab_size=5, generator=torch.Generator().manual_seed(0))


@each_law(examples=4, causal=True)
def test_rnn() -> SequenceModel:
    return of("rnn")


@each_law(examples=4, causal=True)
def test_gru() -> SequenceModel:
    return of("gru")


@each_law(examples=4, causal=True)
def test_lstm() -> SequenceModel:
    return of("lstm")


@each_law(examples=4, causal=True)
def test_transformer() -> SequenceModel:
    return of("transformer")


@each_law(examples=4, causal=True)
def test_transformer_without_shift() -> SequenceModel:
    return of("transformer without shift")


@each_law(examples=4, receptive_field=4)
def test_pool() -> Pool:
    return Pool([of("wavenet"), to_dilated(of("flat"))], [0.4, 0.7])


@each_law(examples=4, causal=True, laws=["receptive_field", "independence"])
def test_pool_of_all_so_far() -> Pool:
    return Pool([of("wavenet"), of("gru")], [0.4, 0.7])
