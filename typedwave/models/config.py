"""What decides a network, apart from the vocabulary it is for."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from typedwave.models.checks import check_choice, check_counts, check_share

__all__ = ["NetworkConfig", "RecurrentConfig", "TransformerConfig", "WaveNetConfig"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """A network of the lecture.

    Args:
        network: How positions are brought together: all at once (flat), or a few neighbours at a
            time in a tree (hierarchical).
        context: Positions it sees, T; for a hierarchical network a power of fuse.
        n_embd: Channels of the embedding.
        n_hidden: Channels of each hidden layer.
        fuse: Neighbours that a level of a hierarchical network brings together.
        unbiased: Whether batch norm divides by the unbiased variance in training, as the lecture.
        output_scale: What the last layer's first weights are multiplied by, so that an untrained
            network is not confidently wrong.

    Raises:
        ValueError: A number is out of range, or the context is not a power of fuse.
    """

    network: Literal["flat", "hierarchical"] = "hierarchical"
    context: int = 8
    n_embd: int = 24
    n_hidden: int = 128
    fuse: int = 2
    unbiased: bool = False
    output_scale: float = 0.1

    def __post_init__(self) -> None:
        check_choice("network", self.network, "flat", "hierarchical")
        check_counts(self, context=1, n_embd=1, n_hidden=1, fuse=2)
        if type(self.unbiased) is not bool:
            raise ValueError(f"unbiased is {self.unbiased!r}, but has to be True or False")
        if type(self.output_scale) not in (int, float) or not math.isfinite(self.output_scale):
            raise ValueError(
                f"output_scale is {self.output_scale!r}, but has to be a finite number"
            )
        if self.network == "hierarchical" and self.levels == 0:
            below = self.fuse
            while below * self.fuse < self.context:
                below *= self.fuse
            raise ValueError(
                f"context is {self.context}, but a hierarchical network needs a power of "
                f"fuse = {self.fuse}, such as {below} or {below * self.fuse}"
            )

    @property
    def levels(self) -> int:
        """Levels of the tree: log(context) to the base fuse; 0 if that is not a whole number."""
        levels, size = 0, 1
        while size < self.context:
            levels, size = levels + 1, size * self.fuse
        return levels if size == self.context else 0


@dataclass(frozen=True, kw_only=True)
class WaveNetConfig:
    """A WaveNet: over characters with the defaults, or over levels of an amplitude.

    Args:
        network: wavenet.
        channels: Channels of the residual stream.
        gate_channels: Channels that pass the gate of a block.
        skip_channels: Channels of the skips; 0 for none, and logits from the residual stream.
        kernel_size: Positions that a convolution weighs.
        dilations: The distances between them, a block each.
        cycles: How many times the dilations come after one another.
        norm: Whether each block normalises what it is given.
        dropout: The share of a block's gated channels left out in training.
        global_channels: Of what is known of a sequence.
        local_channels: Of what is known of each position.

    Raises:
        ValueError: A number is out of range.
    """

    network: Literal["wavenet"] = "wavenet"
    channels: int = 64
    gate_channels: int = 75
    skip_channels: int = 0
    kernel_size: int = 2
    dilations: tuple[int, ...] = (1, 2, 4)
    cycles: int = 1
    norm: bool = True
    dropout: float = 0.0
    global_channels: int = 0
    local_channels: int = 0

    def __post_init__(self) -> None:
        dilations: Any = self.dilations
        if isinstance(dilations, list):  # as JSON gives it
            object.__setattr__(self, "dilations", tuple(dilations))
        check_choice("network", self.network, "wavenet")
        check_counts(self, channels=1, gate_channels=1, skip_channels=0, kernel_size=1, cycles=1)
        check_counts(self, global_channels=0, local_channels=0)
        several = isinstance(dilations, list | tuple) and len(dilations) > 0
        if not several or any(type(each) is not int or each < 1 for each in dilations):
            raise ValueError(
                f"dilations is {dilations!r}, but has to be whole numbers of at least 1"
            )
        if type(self.norm) is not bool:
            raise ValueError(f"norm is {self.norm!r}, but has to be True or False")
        check_share("dropout", self.dropout)

    @property
    def receptive_field(self) -> int:
        """Positions that a logit depends on."""
        return 1 + (self.kernel_size - 1) * sum(self.dilations) * self.cycles

    def receptive_field_ms(self, sample_rate: float) -> float:
        """The receptive field in milliseconds.

        Args:
            sample_rate: Positions a second, in hertz.
        """
        return 1_000 * self.receptive_field / sample_rate


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """A recurrent network.

    Args:
        network: The kind of its layers.
        n_embd: Channels of the embedding.
        n_hidden: Channels of the hidden state.
        num_layers: Layers on top of one another.
        dropout: The share of the last hidden state, and of what is between layers, that is left out
            in training; to leave out parts of the embedding was found to hurt.

    Raises:
        ValueError: A number is out of range.
    """

    network: Literal["rnn", "gru", "lstm"] = "gru"
    n_embd: int = 32
    n_hidden: int = 138
    num_layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("network", self.network, "rnn", "gru", "lstm")
        check_counts(self, n_embd=1, n_hidden=1, num_layers=1)
        check_share("dropout", self.dropout)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """A transformer.

    Args:
        network: transformer.
        n_embd: Channels, which the heads divide.
        n_hidden: Channels between the linear layers of a block.
        num_heads: Heads of attention.
        num_layers: Blocks.
        token_shift: Whether blocks mix in the position before.
        dropout: The share left out in training.

    Raises:
        ValueError: A number is out of range.
    """

    network: Literal["transformer"] = "transformer"
    n_embd: int = 54
    n_hidden: int = 216
    num_heads: int = 3
    num_layers: int = 2
    token_shift: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("network", self.network, "transformer")
        check_counts(self, n_embd=1, n_hidden=1, num_heads=1, num_layers=1)
        if self.n_embd % self.num_heads != 0:
            raise ValueError(
                f"n_embd is {self.n_embd}, but has to be a multiple of num_heads = {self.num_heads}"
            )
        if type(self.token_shift) is not bool:
            raise ValueError(f"token_shift is {self.token_shift!r}, but has to be True or False")
        check_share("dropout", self.dropout)
