"""The one place that knows which network belongs to which config."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, assert_never

import torch

from typedwave.models.checks import check_choice
from typedwave.models.config import (
    NetworkConfig,
    RecurrentConfig,
    TransformerConfig,
    WaveNetConfig,
)
from typedwave.models.dilated import to_dilated
from typedwave.models.mlp import MLP, initialise
from typedwave.models.ngram import NGram, NGramConfig
from typedwave.models.pool import Pool
from typedwave.models.recurrent import Recurrent
from typedwave.models.seeding import global_generator
from typedwave.models.sequence import SequenceModel, Windowed
from typedwave.models.transformer import Transformer
from typedwave.models.wavenet import WaveNet

__all__ = [
    "CONFIGS",
    "Config",
    "Network",
    "PoolConfig",
    "build",
    "config_of",
    "network_of",
    "pool_of",
    "sequence_model",
    "size_of",
]


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """Several networks that are asked together.

    Args:
        network: pool.
        members: The configs of the networks.
        weights: What the logarithm of each one's chances is multiplied by.

    Raises:
        ValueError: There is no member, or not a weight for each.
    """

    network: Literal["pool"] = "pool"
    members: tuple["Config", ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        check_choice("network", self.network, "pool")
        # JSON gives lists and dicts.
        for name in ("members", "weights"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple) or not value:
                raise ValueError(f"{name} is {value!r}, but has to hold at least one")
            object.__setattr__(self, name, tuple(value))
        given: Any = self.members
        members = tuple(m if isinstance(m, Config) else config_of(m) for m in given)
        object.__setattr__(self, "members", members)
        if any(type(w) not in (int, float) or not math.isfinite(w) for w in self.weights):
            raise ValueError(f"weights is {self.weights!r}, but has to be finite numbers")
        if len(members) != len(self.weights):
            raise ValueError(f"there are {len(members)} members, but {len(self.weights)} weights")


Config: TypeAlias = (
    NetworkConfig | NGramConfig | PoolConfig | RecurrentConfig | TransformerConfig | WaveNetConfig
)
"""What describes a network; its field ``network`` names the kind."""

Network: TypeAlias = MLP | NGram | Pool | Recurrent | Transformer | WaveNet
"""What a config describes."""

CONFIGS: Final[Mapping[str, type[Config]]] = {
    "ngram": NGramConfig,
    "flat": NetworkConfig,
    "hierarchical": NetworkConfig,
    "wavenet": WaveNetConfig,
    "rnn": RecurrentConfig,
    "gru": RecurrentConfig,
    "lstm": RecurrentConfig,
    "transformer": TransformerConfig,
    "pool": PoolConfig,
}
"""The config of each kind of network."""


def config_of(fields: Mapping[str, Any]) -> Config:
    """The config with these fields, the kind of which is told by the one named ``network``.

    Raises:
        ValueError: There is no such kind, or a number is out of range.
        TypeError: There is no such field.
    """
    given: Any = fields
    if not isinstance(given, Mapping):
        raise ValueError(f"{fields!r} is no config: it has no field named network")
    kind = fields.get("network")
    if not isinstance(kind, str) or kind not in CONFIGS:
        raise ValueError(f"network is {kind!r}, but there are {', '.join(CONFIGS)}")
    return CONFIGS[kind](**fields)


def network_of(
    config: Config,
    *,
    vocab_size: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Network:
    """The network that a config describes, with torch.nn's initialisation.

    Args:
        config: Its kind and shape.
        vocab_size: Ids, V.
        device: Where parameters and buffers are made.
        dtype: Their floating dtype.
    """
    match config:
        case NetworkConfig():
            return MLP(config, vocab_size=vocab_size, device=device, dtype=dtype)
        case NGramConfig():
            return NGram(config, vocab_size=vocab_size, device=device, dtype=dtype)
        case WaveNetConfig():
            return WaveNet(config, vocab_size=vocab_size, device=device, dtype=dtype)
        case RecurrentConfig():
            return Recurrent(config, vocab_size=vocab_size, device=device, dtype=dtype)
        case TransformerConfig():
            return Transformer(config, vocab_size=vocab_size, device=device, dtype=dtype)
        case PoolConfig():
            return pool_of(
                config,
                [
                    network_of(member, vocab_size=vocab_size, device=device, dtype=dtype)
                    for member in config.members
                ],
            )
        case _:
            assert_never(config)


def pool_of(config: PoolConfig, members: Sequence[Network]) -> Pool:
    """The pool of networks that were made before, in the order of the config."""
    return Pool(list(map(sequence_model, members)), config.weights, config=config)


def size_of(network: torch.nn.Module) -> int:
    """How many numbers a network has learnt: its parameters, and the counts of n-grams in it."""
    counts = sum(m.num_counts for m in network.modules() if isinstance(m, NGram))
    return counts + sum(parameter.numel() for parameter in network.parameters())


def build(
    config: Config,
    *,
    vocab_size: int,
    generator: torch.Generator,
    dtype: torch.dtype | None = None,
) -> Network:
    """The network that a config describes, its first weights drawn from ``generator`` alone.

    The networks of the lecture have its initialisation (`MLP`), the others torch.nn's.

    Args:
        config: Its kind and shape.
        vocab_size: Ids, V.
        generator: Of the random draws; it decides the device too.
        dtype: The floating dtype of parameters and buffers.
    """
    if isinstance(config, NetworkConfig):
        # Made without data first: torch.nn's own initialisation is not wanted.
        network = MLP(config, vocab_size=vocab_size, device="meta", dtype=dtype)
        network.to_empty(device=generator.device)
        initialise(network, generator)
        return network
    if isinstance(config, PoolConfig):
        return pool_of(
            config,
            [
                build(member, vocab_size=vocab_size, generator=generator, dtype=dtype)
                for member in config.members
            ],
        )
    device = generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    with global_generator(device) as drawn_from:
        drawn_from.manual_seed(seed)
        return network_of(config, vocab_size=vocab_size, device=device, dtype=dtype)


def sequence_model(network: Network) -> SequenceModel:
    """The network as a model of whole sequences, which streams: with the same logits in eval mode.

    A tree becomes dilated convolutions (`to_dilated`, a copy), n-grams are looked up for the window
    of each position, and all others are models of sequences already.
    """
    match network:
        case MLP():
            return to_dilated(network, fold_batch_norm=True)
        case NGram():
            return Windowed(network)
        case _:
            return network
