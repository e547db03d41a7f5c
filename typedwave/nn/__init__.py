"""Typed layers under torch.nn's names, a file per concept.

The axes: B batch, T time (positions), C channels, H heads, V vocabulary, K kernel width, N examples
or steps, S all axes of a tensor of any shape. A star is any number of axes (``*B``); a longer name
is an attribute of the layer (``in_features``).
"""

from typedwave.nn.activation import GatedActivation, Tanh
from typedwave.nn.attention import CausalSelfAttention
from typedwave.nn.batch_norm import BatchNorm1d
from typedwave.nn.conditioning import Conditioning
from typedwave.nn.container import Sequential
from typedwave.nn.convolution import CausalConv1d
from typedwave.nn.dropout import Dropout
from typedwave.nn.embedding import Embedding
from typedwave.nn.flatten import Flatten, FlattenConsecutive
from typedwave.nn.linear import Linear
from typedwave.nn.mu_law import mu_law_decode, mu_law_encode
from typedwave.nn.norm import LayerNorm, RMSNorm
from typedwave.nn.recurrent import GRU, LSTM, RNN
from typedwave.nn.residual import ResidualBlock
from typedwave.nn.shift import TokenShift
from typedwave.nn.streaming import Hidden, Past, State, States
from typedwave.nn.sync_batch_norm import SyncBatchNorm
from typedwave.nn.transformer import TransformerBlock

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BatchNorm1d",
    "CausalConv1d",
    "CausalSelfAttention",
    "Conditioning",
    "Dropout",
    "Embedding",
    "Flatten",
    "FlattenConsecutive",
    "GatedActivation",
    "Hidden",
    "LayerNorm",
    "Linear",
    "Past",
    "RMSNorm",
    "ResidualBlock",
    "Sequential",
    "State",
    "States",
    "SyncBatchNorm",
    "Tanh",
    "TokenShift",
    "TransformerBlock",
    "mu_law_decode",
    "mu_law_encode",
]
