"""What a network is looked at with: the tensors of some words."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Int64
from torch import Tensor

from typedwave.lab.evaluation import data_of
from typedwave.lab.words.corpus import Examples, Vocabulary
from typedwave.models import Network, NGram, Pool

__all__ = ["Batch", "batch_of", "check_learner", "check_words"]


@dataclass(frozen=True)
class Batch:
    """Words as a network takes them.

    Attributes:
        ids: Windows ``(N, T)``, or sequences ``(B, T)`` of which N positions are no padding.
        targets: ``(N,)``: what comes next.
        counted: ``(B, T)``: which positions are no padding; None for windows, which have none.
    """

    ids: Int64[Tensor, "B T"]
    targets: Int64[Tensor, "N"]
    counted: Bool[Tensor, "B T"] | None

    def kept(self, values: Tensor) -> Tensor:
        """What a layer gave, without what belongs to padding."""
        return values if self.counted is None else values[self.counted]


def batch_of(network: Network, vocabulary: Vocabulary, words: Sequence[str]) -> Batch:
    """The words as one batch.

    Raises:
        ValueError: There is no word.
        UnknownCharacterError: The vocabulary lacks a character of a word.
    """
    check_words(words)
    found = data_of(network, vocabulary, words)
    if isinstance(found, Examples):
        return Batch(*found, None)
    return Batch(found.ids, found.targets[found.counted], found.counted)


def check_words(words: Sequence[str]) -> None:
    """Refuses to look at nothing."""
    if not words:
        raise ValueError("there is no word to look at")


def check_learner(network: Network) -> None:
    """Refuses n-grams and pools, which have no layers that learn together."""
    if isinstance(network, NGram | Pool):
        raise ValueError(
            "activations, gradients and an embedding are of one network that learns by gradients, "
            f"but this one is of kind {network.config.network}; its losses by position and by "
            "character can be looked at"
        )
