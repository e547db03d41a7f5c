"""The pictures of a run: from what lies on disk to figures."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from matplotlib.figure import Figure

from typedwave.lab.looking.curves import curves_of, window_of
from typedwave.lab.looking.diagnostics import (
    PlaceLosses,
    activations_of,
    embedding_map,
    gradients_of,
    losses_by_place,
    updates_of,
)
from typedwave.lab.looking.plots import (
    draw_activations,
    draw_characters,
    draw_curves,
    draw_embedding,
    draw_gradients,
    draw_positions,
    draw_updates,
)
from typedwave.lab.runs.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint
from typedwave.lab.runs.record import Record
from typedwave.lab.words.corpus import read_words, split

__all__ = ["Look", "picture_of_curves"]

LOOKED_AT: Final = 512
"""Words of validation that activations and gradients are of."""


def picture_of_curves(
    records: Sequence[Record], *, window: int | None = None, log: bool = False
) -> Figure:
    """The curves of runs in one picture.

    Args:
        records: Of the runs.
        window: Steps that train is smoothed over; a hundredth of the longest run if None.
        log: Whether the axes are logarithmic.

    Raises:
        ValueError: There is nothing to draw.
    """
    window = window_of(records) if window is None else window
    return draw_curves(curves_of(records, window=window), window=window, log=log)


class Look:
    """A look at one run: pictures that are drawn when they are asked for.

    Network and words are read once, and only for pictures that need them.

    Args:
        record: Of the run.
        name: What it is called on the pictures; as its folder if None.
        data: The file of its words; where its record says if None.
        words: Of validation, that activations and gradients are of.

    Raises:
        ValueError: From each picture: its network or its words are not there, or it has no such
            picture.
        OSError: A file cannot be read.
    """

    def __init__(
        self,
        record: Record,
        *,
        name: str | None = None,
        data: str | os.PathLike[str] | None = None,
        words: int = LOOKED_AT,
    ) -> None:
        self.record = record
        self.name = record.name if name is None else name
        self._data, self._count = data, words

    def activations(self) -> Figure:
        """What each layer gives."""
        words = self.words[: self._count]
        network, vocabulary = self._checkpoint.network, self._checkpoint.vocabulary
        layers = activations_of(network, vocabulary, words)
        return draw_activations(layers, title=self._title("activations", words))

    def gradients(self) -> Figure:
        """What the loss says of each layer and each matrix."""
        words = self.words[: self._count]
        network, vocabulary = self._checkpoint.network, self._checkpoint.vocabulary
        gradients = gradients_of(network, vocabulary, words)
        return draw_gradients(gradients, title=self._title("gradients", words))

    def updates(self) -> Figure:
        """How far a step moved each matrix."""
        return draw_updates(
            updates_of(self.record), title=f"{self.name}: how far a step moves a matrix"
        )

    def embedding(self) -> Figure:
        """Where the characters are."""
        found = embedding_map(self._checkpoint.network, self._checkpoint.vocabulary)
        return draw_embedding(found, title=f"{self.name}: embedding")

    def positions(self) -> Figure:
        """The loss by position."""
        return draw_positions(self._places, title=self._title("loss by position", self.words))

    def characters(self) -> Figure:
        """The loss by character, and what was expected in its place."""
        return draw_characters(self._places, title=self._title("loss by character", self.words))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of validation, which were shuffled when they were split."""
        words = self.record.words() if self._data is None else read_words(self._data)
        return split(words).validation

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        path = self.record.folder / CHECKPOINT
        if not path.exists():
            raise ValueError(f"{self.record.folder} has no network yet: there is no {path.name}")
        return load_checkpoint(path)

    @cached_property
    def _places(self) -> PlaceLosses:
        network, vocabulary = self._checkpoint.network, self._checkpoint.vocabulary
        return losses_by_place(network, vocabulary, self.words)

    def _title(self, what: str, words: Sequence[str]) -> str:
        count = len(words)
        return f"{self.name}: {what}, {count:,} word{'s' * (count != 1)} of validation"
