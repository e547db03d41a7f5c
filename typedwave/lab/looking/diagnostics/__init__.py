"""Diagnostics: what goes on in a trained network, as numbers for whoever draws them."""

from typedwave.lab.looking.diagnostics.embedding import EmbeddingMap, embedding_map
from typedwave.lab.looking.diagnostics.layers import (
    SATURATED,
    Activation,
    NetworkGradients,
    WeightGradient,
    activations_of,
    gradients_of,
)
from typedwave.lab.looking.diagnostics.numbers import Histogram, Values
from typedwave.lab.looking.diagnostics.places import PlaceLosses, losses_by_place
from typedwave.lab.looking.diagnostics.updates import Updates, updates_of

__all__ = [
    "SATURATED",
    "Activation",
    "EmbeddingMap",
    "Histogram",
    "NetworkGradients",
    "PlaceLosses",
    "Updates",
    "Values",
    "WeightGradient",
    "activations_of",
    "embedding_map",
    "gradients_of",
    "losses_by_place",
    "updates_of",
]
