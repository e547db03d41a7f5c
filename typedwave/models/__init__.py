"""Networks made of the typed layers, built from a config."""

from typedwave.models.build import (
    CONFIGS,
    Config,
    Network,
    PoolConfig,
    build,
    config_of,
    network_of,
    pool_of,
    sequence_model,
    size_of,
)
from typedwave.models.config import (
    NetworkConfig,
    RecurrentConfig,
    TransformerConfig,
    WaveNetConfig,
)
from typedwave.models.dilated import Dilated, to_dilated
from typedwave.models.distinct import logits_of_windows
from typedwave.models.mlp import MLP
from typedwave.models.ngram import NGram, NGramConfig
from typedwave.models.pool import Pool
from typedwave.models.recurrent import Recurrent
from typedwave.models.sequence import SequenceModel, Windowed
from typedwave.models.transformer import Transformer
from typedwave.models.wavenet import WaveNet

__all__ = [
    "CONFIGS",
    "MLP",
    "Config",
    "Dilated",
    "NGram",
    "NGramConfig",
    "Network",
    "NetworkConfig",
    "Pool",
    "PoolConfig",
    "Recurrent",
    "RecurrentConfig",
    "SequenceModel",
    "Transformer",
    "TransformerConfig",
    "WaveNet",
    "WaveNetConfig",
    "Windowed",
    "build",
    "config_of",
    "logits_of_windows",
    "network_of",
    "pool_of",
    "sequence_model",
    "size_of",
    "to_dilated",
]
