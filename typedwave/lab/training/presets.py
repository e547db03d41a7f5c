"""Networks and how they are trained, by name."""

from dataclasses import replace
from typing import Final

from typedwave.lab.training.recipe import AnyRecipe, CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.models import (
    Config,
    NetworkConfig,
    NGramConfig,
    PoolConfig,
    RecurrentConfig,
    TransformerConfig,
    WaveNetConfig,
)

__all__ = ["PRESETS"]

_SMALL: Final = WaveNetConfig(channels=28, gate_channels=48)

# Of several families, since what they get wrong differs; large, since only their opinion is kept.
_TEACHERS: Final[tuple[tuple[Config, Recipe | WordsRecipe | CountingRecipe, float], ...]] = (
    (
        TransformerConfig(n_embd=96, n_hidden=384, num_heads=4, num_layers=3, dropout=0.2),
        WordsRecipe(epochs=12, seed=1),
        0.175,
    ),
    (
        TransformerConfig(n_embd=96, n_hidden=384, num_heads=4, num_layers=2, dropout=0.15),
        WordsRecipe(epochs=10, seed=2),
        0.175,
    ),
    (
        TransformerConfig(n_embd=64, n_hidden=256, num_heads=4, num_layers=3, dropout=0.1),
        WordsRecipe(epochs=12, seed=3),
        0.175,
    ),
    (
        RecurrentConfig(network="gru", n_embd=48, n_hidden=256, dropout=0.3),
        WordsRecipe(epochs=8, seed=4),
        0.175,
    ),
    (NGramConfig(order=5), CountingRecipe(), 0.15),
    (NGramConfig(order=6), CountingRecipe(), 0.15),
)

_TAUGHT: Final = WordsRecipe(epochs=3, weight_decay=0.02, teacher="pool", sampled=200_000)

PRESETS: Final[dict[str, tuple[Config, AnyRecipe]]] = {
    "demo": (NetworkConfig(), Recipe(steps=40_000)),
    "lecture": (NetworkConfig(unbiased=True), Recipe()),
    "lecture-small": (NetworkConfig(n_embd=10, n_hidden=68, unbiased=True), Recipe()),
    "lecture-flat": (
        NetworkConfig(network="flat", n_embd=10, n_hidden=200, unbiased=True),
        Recipe(),
    ),
    "lecture-flat-3": (
        NetworkConfig(network="flat", context=3, n_embd=10, n_hidden=200, unbiased=True),
        Recipe(),
    ),
    "fast": (WaveNetConfig(), WordsRecipe(epochs=4)),
    "ngram": (NGramConfig(), CountingRecipe()),
    "flat": (NetworkConfig(network="flat", n_hidden=340), WordsRecipe()),
    "hierarchical": (NetworkConfig(), WordsRecipe()),
    "wavenet": (WaveNetConfig(), WordsRecipe()),
    "rnn": (RecurrentConfig(network="rnn", n_hidden=245), WordsRecipe(epochs=8)),
    "gru": (RecurrentConfig(), WordsRecipe(epochs=8)),
    "lstm": (RecurrentConfig(network="lstm", n_hidden=118), WordsRecipe(epochs=8)),
    "transformer": (TransformerConfig(), WordsRecipe(epochs=8)),
    "pool": (
        PoolConfig(
            members=tuple(config for config, _, _ in _TEACHERS),
            weights=tuple(weight for _, _, weight in _TEACHERS),
        ),
        PoolRecipe(recipes=tuple(recipe for _, recipe, _ in _TEACHERS)),
    ),
    "best": (TransformerConfig(), _TAUGHT),
    "best-wavenet": (WaveNetConfig(), replace(_TAUGHT, epochs=6)),
    "best-small": (
        _SMALL,
        replace(_TAUGHT, epochs=12, batch_size=256, muon_rate=0.03, adam_rate=0.016),
    ),
}
"""Networks and recipes by name.

The lecture's have its numbers and its arithmetic. Those named after a kind of network have at most
the 76,579 parameters of the lecture's largest, and are trained for seconds; ``pool`` is the teacher
of the best.
"""
