"""Whole words as padded tensors, and batches of words of nearly one length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from typedwave.lab.words.corpus import CorpusError, Vocabulary

__all__ = ["IGNORED", "Sequences", "sequences"]

IGNORED = -100
"""A target that stands for nothing; what torch's cross-entropy ignores by default."""


@dataclass(frozen=True)
class Sequences:
    """N words as a model of sequences sees them: T ids each, and T ids that it is to predict.

    Attributes:
        ids: ``(N, T)``: the boundary, then the word, then padding.
        targets: ``(N, T)``: the word, then the boundary, then `IGNORED`.
        chances: ``(N, T, V)``: what a teacher thinks of each id as the next, where there is one.
    """

    ids: Int64[Tensor, "N T"]
    targets: Int64[Tensor, "N T"]
    chances: Float[Tensor, "N T V"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def counted(self) -> Bool[Tensor, "N T"]:
        """Which positions are no padding."""
        return self.targets != IGNORED

    @property
    def lengths(self) -> Int64[Tensor, "N"]:
        """Positions of each word that are no padding: its characters and the boundary."""
        return self.counted.sum(1)

    def rows(self, numbers: Int64[Tensor, "M"]) -> "Sequences":
        """These words, without the positions that are padding in all of them."""
        targets = self.targets[numbers]
        longest = int((targets != IGNORED).sum(1).max()) if len(numbers) else 0
        chances = None if self.chances is None else self.chances[numbers, :longest]
        return Sequences(self.ids[numbers, :longest], targets[:, :longest], chances)

    def to(self, device: torch.device | None) -> "Sequences":
        """The same words on a device."""
        chances = None if self.chances is None else self.chances.to(device)
        return Sequences(self.ids.to(device), self.targets.to(device), chances)

    def in_order(self, batch_size: int) -> Iterator["Sequences"]:
        """All words by length, so that there is hardly any padding."""
        for numbers in torch.split(self.lengths.argsort(stable=True), batch_size):
            yield self.rows(numbers)


def sequences(words: Sequence[str], vocabulary: Vocabulary) -> Sequences:
    """The words as tensors, in their order.

    Raises:
        UnknownCharacterError: The vocabulary lacks a character of a word.
        CorpusError: There is no word.

    Example:
        >>> found = sequences(["ab", "b"], Vocabulary.of(["ab"]))
        >>> found.ids.tolist(), found.targets.tolist()
        ([[0, 1, 2], [0, 2, 0]], [[1, 2, 0], [2, 0, -100]])
    """
    if not words:
        raise CorpusError("there is no word")
    encoded = [vocabulary.encode(word) for word in words]
    length = max(map(len, encoded)) + 1
    ids = torch.tensor([[0, *word] + [0] * (length - 1 - len(word)) for word in encoded])
    targets = torch.tensor([[*word, 0] + [IGNORED] * (length - 1 - len(word)) for word in encoded])
    return Sequences(ids, targets)
