"""What goes on in the best network of a page, as its charts draw it."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from typedwave.lab.looking.diagnostics import (
    Activation,
    activations_of,
    embedding_map,
    losses_by_place,
    updates_of,
)
from typedwave.lab.page.charts import Chart
from typedwave.lab.page.entries import Entry
from typedwave.lab.page.words import Corpora
from typedwave.lab.runs.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint
from typedwave.lab.words.corpus import Vocabulary
from typedwave.models import Network, NGramConfig, PoolConfig

__all__ = ["inside_of"]

_PARTS: Final = ("words", "positions", "characters", "embedding", "updates", "layers")

_LOOKED_AT: Final = 5_000
"""Validation words for the losses by place: all, where there are not too many."""

_BATCH: Final = 500
"""And for the activations, of which there are many to a word."""


def inside_of(entries: Sequence[Entry], words: Corpora) -> Chart | None:
    """The diagnostics of one run that has a checkpoint; None if there are none.

    That is the best of those that learn by gradients, or of n-grams and pools if no other is there.

    Raises:
        CheckpointError: The checkpoint is damaged.
        OSError: It cannot be read.
    """
    there = [entry for entry in entries if (entry.record.folder / CHECKPOINT).exists()]
    learning = [e for e in there if not isinstance(e.record.config, NGramConfig | PoolConfig)]
    if not there:
        return None
    entry = (learning or there)[0]
    checkpoint = load_checkpoint(entry.record.folder / CHECKPOINT)
    found = {
        **_places(entry, checkpoint, words),
        **(_learned(entry, checkpoint, words) if learning else {}),
    }
    if not any(found.values()):
        return None
    return {"label": entry.label, "best": entry is entries[0], **dict.fromkeys(_PARTS), **found}


def _learned(entry: Entry, checkpoint: Checkpoint, words: Corpora) -> Chart:
    network, vocabulary = checkpoint.network, checkpoint.vocabulary
    splits = words(entry.record)
    layers = []
    if splits is not None:
        layers = [*activations_of(network, vocabulary, splits.validation[:_BATCH])]
    told = any(point.updates for point in entry.record.metrics.points)
    return {
        "embedding": _embedding(network, vocabulary),
        "updates": _updates(entry) if told else None,
        "layers": [_layer(layer) for layer in layers],
    }


def _embedding(network: Network, vocabulary: Vocabulary) -> Chart:
    places = embedding_map(network, vocabulary)
    kind = "component" if places.principal else "channel"
    return {
        "characters": _named(places.characters),
        "x": _plain(places.places[:, 0]),
        "y": _plain(places.places[:, 1]),
        "axes": [
            f"{kind} {number}, {share:.0%} of the variance"
            for number, share in enumerate(places.explained, start=1)
        ],
    }


def _updates(entry: Entry) -> Chart:
    updates = updates_of(entry.record)
    ratios: Mapping[str, NDArray[np.float64]] = updates.ratios
    return {
        "steps": updates.steps.tolist(),
        "ratios": {name: _plain(ratios[name]) for name in updates.matrices},
    }


def _places(entry: Entry, checkpoint: Checkpoint, words: Corpora) -> Chart:
    splits = words(entry.record)
    if splits is None:
        return {}
    asked = splits.validation[:_LOOKED_AT]
    places = losses_by_place(checkpoint.network, checkpoint.vocabulary, asked)
    seen = [
        i for i in np.argsort(-places.by_character, kind="stable") if places.character_counts[i]
    ]
    characters = _named(places.characters)
    return {
        "words": len(asked),
        "positions": {
            "losses": _plain(places.by_position),
            "counts": places.position_counts.tolist(),
        },
        "characters": {
            "names": [characters[i] for i in seen],
            "losses": _plain(places.by_character[seen]),
            "counts": places.character_counts[seen].tolist(),
        },
    }


def _layer(layer: Activation) -> Chart:
    edges = layer.histogram.edges
    return {
        "name": layer.name,
        "kind": layer.kind,
        "mean": layer.mean,
        "std": layer.std,
        "saturated": layer.saturated,
        "dead": layer.dead,
        "at": _plain((edges[1:] + edges[:-1]) / 2),
        "density": _plain(layer.histogram.density),
    }


def _named(characters: Sequence[str]) -> list[str]:
    """Characters that can be seen; the first stands for the start and the end of words."""
    return ["end", *(c if c.isprintable() and not c.isspace() else repr(c) for c in characters[1:])]


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]
