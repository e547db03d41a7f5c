"""The words that runs were trained on, where they are still at hand."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

from typedwave.lab.corpus import LEAST_WORDS, CorpusError, Splits, read_words, split
from typedwave.lab.record import Record

__all__ = ["Corpora", "corpora"]

Corpora: TypeAlias = Callable[[Record], Splits | None]
"""The words of a run; None where their file is gone, or holds others by now."""


def corpora() -> Corpora:
    """Reads the words of runs, each corpus once."""
    read = cache(_read)
    return lambda record: read(
        str(record.facts.get("corpus")), str(record.facts.get("words_sha256"))
    )


def _read(corpus: str, sha256: str) -> Splits | None:
    path = Path(corpus)
    try:
        words = read_words(path) if path.is_file() else []
    except (CorpusError, OSError):
        return None
    same = hashlib.sha256("\n".join(words).encode()).hexdigest() == sha256
    return split(words) if same and len(words) >= LEAST_WORDS else None
