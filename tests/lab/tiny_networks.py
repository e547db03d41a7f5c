"""Small networks of every kind, and the few words that they are trained on."""

import torch

from typedwave.lab.words.corpus import Vocabulary, examples
from typedwave.models import (
    Config,
    Network,
    NetworkConfig,
    NGram,
    NGramConfig,
    PoolConfig,
    RecurrentConfig,
    TransformerConfig,
    WaveNetConfig,
    build,
)

# Of 2 to 6 characters, so that batches need padding; "ana" is there twice.
WORDS = ["ana", "bo", "cecile", "doda", "ed", "fabi", "ana", "gabe", "ida", "eda", "abe", "dodi"]
VOCABULARY = Vocabulary.of(WORDS)

WINDOWS = {
    "flat": NetworkConfig(network="flat", context=3, n_embd=4, n_hidden=5),
    "hierarchical": NetworkConfig(context=4, n_embd=3, n_hidden=5),
}
"""Networks for windows that learn."""

SEQUENCES = {
    "wavenet": WaveNetConfig(channels=6, gate_channels=5, dilations=(1, 2)),
    "wavenet with skips": WaveNetConfig(
        channels=6, gate_channels=5, skip_channels=7, kernel_size=3, dilations=(1, 2), norm=False
    ),
    "rnn": RecurrentConfig(network="rnn", n_embd=3, n_hidden=5),
    "gru": RecurrentConfig(n_embd=3, n_hidden=5, num_layers=2),
    "lstm": RecurrentConfig(network="lstm", n_embd=3, n_hidden=5),
    "transformer": TransformerConfig(n_embd=6, n_hidden=10, num_heads=2, num_layers=2),
}
"""Models of sequences that learn."""

LEARNING: dict[str, Config] = {**WINDOWS, **SEQUENCES}

POOL = PoolConfig(
    members=(WINDOWS["hierarchical"], NGramConfig(order=3), SEQUENCES["gru"]),
    weights=(0.5, 0.25, 0.5),
)

EVERY: dict[str, Config] = {**LEARNING, "ngram": NGramConfig(order=3), "pool": POOL}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(config: Config, *, seed: int = 1, vocabulary: Vocabulary = VOCABULARY) -> Network:
    """A network that can be asked: its batch norm has seen something, its n-grams are counted."""
    network = build(config, vocab_size=len(vocabulary), generator=seeded(seed))
    for module in network.modules():
        if isinstance(module, NGram):
            module.fit(*examples(WORDS, vocabulary, context=module.context))
        if hasattr(module, "running_mean"):
            module.running_mean.normal_(generator=seeded(seed))
            module.running_var.uniform_(0.5, 2.0, generator=seeded(seed))
    return network
