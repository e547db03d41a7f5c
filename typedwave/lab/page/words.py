"""The words that runs were trained on, where they are still at hand."""

from collections.abc import Callable
from typing import TypeAlias

from typedwave.lab.runs.record import Record, RecordError
from typedwave.lab.words.corpus import CorpusError, Splits, split

__all__ = ["Corpora", "corpora"]

Corpora: TypeAlias = Callable[[Record], Splits | None]
"""The words of a run; None where their file is gone, or holds others by now."""


def corpora() -> Corpora:
    """Reads the words of runs, each corpus once."""
    read: dict[tuple[object, object], Splits | None] = {}

    def words_of(record: Record) -> Splits | None:
        key = (record.facts.get("corpus"), record.facts.get("words_sha256"))
        if key not in read:
            read[key] = _read(record)
        return read[key]

    return words_of


def _read(record: Record) -> Splits | None:
    try:
        return split(record.words())
    except (CorpusError, OSError, RecordError):
        return None
