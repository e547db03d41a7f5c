"""The loss by position in a word and by character."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from typedwave.lab.evaluation import data_of, evaluating
from typedwave.lab.looking.diagnostics.asked import check_words
from typedwave.lab.words.corpus import Examples, Vocabulary
from typedwave.models import MLP, Network, logits_of_windows

__all__ = ["PlaceLosses", "losses_by_place"]

_EXAMPLES_AT_ONCE: Final = 65_536
_WORDS_AT_ONCE: Final = 512


@dataclass(frozen=True)
class PlaceLosses:
    """The loss by place in the word and by what came there, in nats.

    Attributes:
        by_position: ``(N,)``: the mean loss of the first characters, of the second ones, and so
            on; the end of a word has a position too.
        position_counts: ``(N,)``: how many there are.
        characters: ``(V,)``; the first is empty and stands for the end of a word.
        by_character: ``(V,)``: the mean loss where it came; NaN where it never did.
        character_counts: ``(V,)``: how many there are.
        chances: ``(V, V)``: where the one of the row came, the mean chance that was given to that
            of the column; NaN where it never came.
    """

    by_position: NDArray[np.float64]
    position_counts: NDArray[np.int64]
    characters: tuple[str, ...]
    by_character: NDArray[np.float64]
    character_counts: NDArray[np.int64]
    chances: NDArray[np.float64]

    @property
    def loss(self) -> float:
        """The mean of all, as `evaluate` has it."""
        return float(self.by_position @ self.position_counts / self.position_counts.sum())


def losses_by_place(network: Network, vocabulary: Vocabulary, words: Sequence[str]) -> PlaceLosses:
    """The loss of any network by position and by character, in eval mode.

    Args:
        network: It is left as it was.
        vocabulary: Of the network.
        words: At least one.

    Raises:
        ValueError: There is no word.
        UnknownCharacterError: The vocabulary lacks a character of a word.

    Example:
        >>> from typedwave.models import MLP, NetworkConfig
        >>> vocabulary = Vocabulary.of(["ada", "bo"])
        >>> network = MLP(NetworkConfig(context=2), vocab_size=len(vocabulary))
        >>> losses_by_place(network, vocabulary, ["ada", "bo"]).position_counts
        array([2, 2, 2, 1])
    """
    check_words(words)
    longest, size = max(map(len, words)) + 1, len(vocabulary)
    # The sum of the losses, and how many they are.
    positions, characters = (torch.zeros(2, n, dtype=torch.float64) for n in (longest, size))
    chances = torch.zeros(size, size, dtype=torch.float64)
    with evaluating(network):
        for logits, targets, places in _answers(network, vocabulary, words):
            said = torch.log_softmax(logits, dim=-1).double()
            losses = -said.gather(1, targets[:, None])[:, 0]
            counted = torch.stack([losses, torch.ones_like(losses)])
            positions.index_add_(1, places, counted)
            characters.index_add_(1, targets, counted)
            chances.index_add_(0, targets, said.exp())
    return PlaceLosses(
        (positions[0] / positions[1]).numpy(),
        positions[1].long().numpy(),
        ("", *vocabulary.characters),
        (characters[0] / characters[1]).numpy(),
        characters[1].long().numpy(),
        (chances / characters[1][:, None]).numpy(),
    )


def _answers(
    network: Network, vocabulary: Vocabulary, words: Sequence[str]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Logits ``(N, V)``, targets and positions ``(N,)`` of all places, some at a time."""
    data = data_of(network, vocabulary, words)
    if isinstance(data, Examples):
        places = torch.cat([torch.arange(len(word) + 1) for word in words])
        parts = (torch.split(part, _EXAMPLES_AT_ONCE) for part in (*data, places))
        for contexts, targets, positions in zip(*parts, strict=True):
            if isinstance(network, MLP):  # of which equal nodes are computed once
                yield logits_of_windows(network, contexts), targets, positions
            else:
                yield network(contexts), targets, positions
        return
    for batch in data.in_order(_WORDS_AT_ONCE):
        counted = batch.counted
        positions = torch.arange(counted.shape[1]).expand_as(counted)
        yield network(batch.ids)[counted], batch.targets[counted], positions[counted]
