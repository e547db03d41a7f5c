"""Typed layers under torch.nn's names, a file per concept.

The axes: B batch, T time (positions), C channels, H heads, V vocabulary, K kernel width, N examples
or steps, S all axes of a tensor of any shape. A star is any number of axes (``*B``); a longer name
is an attribute of the layer (``in_features``).
"""

from typedwave.nn.activation import Tanh
from typedwave.nn.batch_norm import BatchNorm1d
from typedwave.nn.container import Sequential
from typedwave.nn.embedding import Embedding
from typedwave.nn.flatten import Flatten, FlattenConsecutive
from typedwave.nn.linear import Linear

__all__ = [
    "BatchNorm1d",
    "Embedding",
    "Flatten",
    "FlattenConsecutive",
    "Linear",
    "Sequential",
    "Tanh",
]
