"""From a text file to tensors: words, their vocabulary, the three parts, and (context, target)."""

import hashlib
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

__all__ = [
    "LEAST_WORDS",
    "CorpusError",
    "Examples",
    "Splits",
    "UnknownCharacterError",
    "Vocabulary",
    "checksum",
    "examples",
    "read_words",
    "split",
]

LEAST_WORDS = 6
"""Words of which three parts can be made."""

_SHOWN = 40  # so many characters of a word or an alphabet are shown in a message


class CorpusError(ValueError):
    """A corpus cannot be used: its file, its size, or its characters."""


class UnknownCharacterError(CorpusError):
    """A word has a character that the vocabulary has not."""


def read_words(path: str | os.PathLike[str]) -> list[str]:
    r"""Read a UTF-8 file of one word a line.

    A line ends at a line feed, with or without a carriage return before it, and nowhere else.
    White space around a word goes, white space inside stays; blank lines and a byte order mark
    are skipped.

    Args:
        path: The file.

    Returns:
        The words in the order of the file, repetitions included.

    Raises:
        CorpusError: The file has no word, or is not UTF-8.
        OSError: The file cannot be read, for instance FileNotFoundError.
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        # From None: the decoder's error says the same again, and holds the whole file.
        raise CorpusError(
            f"{os.fspath(path)}, line {line}: byte 0x{data[error.start]:02x} at offset"
            f" {error.start} is not UTF-8; save the file as UTF-8"
        ) from None
    lines = text.removeprefix("\ufeff").split("\n")
    words = [word for line in lines if (word := line.strip())]
    if not words:
        raise CorpusError(f"{os.fspath(path)} has no word; expected one word a line")
    return words


def checksum(words: Iterable[str]) -> str:
    """By which a corpus is known again: SHA-256 of its words, in their order, as hex digits."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


@dataclass(frozen=True)
class Vocabulary:
    """The characters of a corpus and their ids.

    Id 0 is the boundary, which starts and ends every word; `characters[i]` has id `i + 1`. The
    boundary is no character, so a full stop in a word stays a full stop.

    Args:
        characters: Single characters, distinct and sorted by code point.

    Raises:
        ValueError: The characters are not as said.

    Example:
        >>> vocabulary = Vocabulary.of(["ada", "bo"])
        >>> vocabulary.encode("bad"), vocabulary.decode([3, 4]), len(vocabulary)
        ([2, 1, 3], 'do', 5)
    """

    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        # A list, as JSON gives it, would leave the instance without a hash.
        object.__setattr__(self, "characters", tuple(self.characters))
        problems, before = [], ""
        for i, entry in enumerate(self.characters):
            if len(entry) != 1:
                problems.append(f"[{i}] is {_shown(entry)}, {len(entry)} characters")
            elif entry == before:
                problems.append(f"[{i}] repeats {entry!r}")
            elif entry < before:
                problems.append(f"[{i}] is {entry!r}, which sorts before {before!r}")
            before = entry
        if problems:
            raise ValueError(f"characters must be single, distinct and sorted: {_joined(problems)}")

    @classmethod
    def of(cls, words: Iterable[str]) -> "Vocabulary":
        """Return the vocabulary of all characters in `words`."""
        return cls(tuple(sorted(set().union(*words))))

    def __len__(self) -> int:
        return len(self.characters) + 1

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {character: i for i, character in enumerate(self.characters, start=1)}

    def encode(self, word: str) -> list[int]:
        """Return the ids of the word's characters, without boundaries.

        Raises:
            UnknownCharacterError: The vocabulary lacks a character of the word.
        """
        try:
            return [self._ids[character] for character in word]
        except KeyError:
            raise UnknownCharacterError(self._unknown_in(word)) from None

    def decode(self, ids: Iterable[int]) -> str:
        """Return the characters of all `ids`, the inverse of `encode`.

        Raises:
            ValueError: An id is the boundary, or not in the vocabulary.
        """
        ids = ids if isinstance(ids, list) else list(ids)
        if ids and not (min(ids) > 0 and max(ids) < len(self)):
            problems = [
                f"ids[{i}] is {number}" + (", the boundary" if number == 0 else "")
                for i, number in enumerate(ids)
                if not 0 < number < len(self)
            ]
            known = len(self) - 1
            raise ValueError(f"characters have the ids 1 to {known}: {_joined(problems)}")
        characters = self.characters
        return "".join([characters[number - 1] for number in ids])

    def _unknown_in(self, word: str) -> str:
        problems = [
            f"{character!r} (U+{ord(character):04X}) at position {position}"
            for position, character in enumerate(word, start=1)
            if character not in self._ids
        ]
        known = _shown("".join(self.characters))
        lower = word.lower()
        perhaps = f"; perhaps {_shown(lower)}" if all(c in self._ids for c in lower) else ""
        return (
            f"{_shown(word)} has characters that the vocabulary lacks: {_joined(problems)};"
            f" it has {known}{perhaps}"
        )


class Splits(NamedTuple):
    """Words to train on, to choose by, and to judge by at the end."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """By name, and ``unseen``: the words of validation that are not in train, if any."""
        seen = frozenset(self.train)
        unseen = tuple(word for word in self.validation if word not in seen)
        return {**self._asdict(), **({"unseen": unseen} if unseen else {})}


def split(words: Sequence[str], *, seed: int = 42) -> Splits:
    """Shuffle the words and cut them into parts of 80, 10 and 10 %.

    Args:
        words: At least `LEAST_WORDS`, so that no part is empty; they are left as they are.
        seed: Of the shuffle by `random.Random`; the same seed gives the same parts.

    Raises:
        CorpusError: There are too few words.
    """
    if len(words) < LEAST_WORDS:
        raise CorpusError(
            f"train, validation and test need {LEAST_WORDS} words or more to have one each,"
            f" but the number of words is {len(words)}"
        )
    first, second = int(0.8 * len(words)), int(0.9 * len(words))
    shuffled = list(words)
    random.Random(seed).shuffle(shuffled)
    return Splits(tuple(shuffled[:first]), tuple(shuffled[first:second]), tuple(shuffled[second:]))


class Examples(NamedTuple):
    """What a model sees and what it is to predict: N examples of T ids, and N ids."""

    contexts: Int64[Tensor, "N T"]
    targets: Int64[Tensor, "N"]


def examples(words: Sequence[str], vocabulary: Vocabulary, *, context: int) -> Examples:
    """Return an example for every character of every word, and for the boundary that ends it.

    Args:
        words: Their examples come in reading order.
        vocabulary: Of at least the words' characters.
        context: T, the number of ids before the target; boundaries stand in for those before the
            word's start.

    Raises:
        UnknownCharacterError: The vocabulary lacks a character of a word.
        ValueError: The context is less than 1.

    Example:
        >>> contexts, targets = examples(["ab"], Vocabulary.of(["ab"]), context=2)
        >>> contexts.tolist(), targets.tolist()
        ([[0, 0], [0, 1], [1, 2]], [1, 2, 0])
    """
    if context < 1:
        raise ValueError(f"context is {context}; a model needs at least 1 id to predict from")
    # One stream: T boundaries, a word, T boundaries, a word, ..., T boundaries. Every T ids of it
    # are a window; those we want end before a character or before the first boundary after a word.
    padding = [0] * context
    stream, lengths = list(padding), []
    for word in words:
        ids = vocabulary.encode(word)
        stream += ids + padding
        lengths.append(len(ids) + 1)
    flat = torch.tensor(stream)
    word_of = torch.repeat_interleave(torch.tensor(lengths, dtype=torch.int64))
    # Of the T boundaries after a word one is a target, so each word before adds T - 1 to skip.
    starts = torch.arange(len(word_of)) + (context - 1) * word_of
    return Examples(flat.unfold(0, context, 1)[starts], flat[starts + context])


def _shown(text: str) -> str:
    if len(text) <= _SHOWN:
        return repr(text)
    return f"{text[:_SHOWN]!r}... ({len(text)} characters)"


def _joined(problems: Sequence[str]) -> str:
    more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
    return "; ".join(problems[:5]) + more
