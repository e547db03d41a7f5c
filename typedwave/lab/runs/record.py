"""The record of a run: what it is of, where it was made, and what came of it."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from typedwave.lab.files import replacing
from typedwave.lab.runs.metrics import METRICS, Metrics, read_metrics
from typedwave.lab.training.recipe import AnyRecipe, recipe_of
from typedwave.lab.words.corpus import checksum, read_words
from typedwave.models import Config, config_of

__all__ = [
    "RECORD",
    "SAMPLES_FILE",
    "Record",
    "RecordError",
    "find_runs",
    "read_facts",
    "read_record",
    "read_samples",
    "told_apart",
    "words_of",
    "write_record",
]

RECORD: Final = "run.json"
"""The file in the folder of a run."""

SAMPLES_FILE: Final = "samples.txt"
"""The file in the folder of a run with words that were drawn from its network."""

_TABLES: Final = ("environment", "losses", "teacher")  # config and recipe say it themselves


class RecordError(ValueError):
    """A folder is no run, or its record is damaged."""


@dataclass(frozen=True)
class Record:
    """A run as it lies on disk, finished or not.

    Attributes:
        folder: Where.
        facts: What ``run.json`` says.
    """

    folder: Path
    facts: Mapping[str, Any]

    @cached_property
    def metrics(self) -> Metrics:
        """Of the steps that are done; none of a pool, which is not trained as a whole.

        They are read when they are first asked for.

        Raises:
            MetricsError: They are damaged.
            OSError: They cannot be read.
        """
        path = self.folder / METRICS
        return read_metrics(path) if path.exists() else Metrics(np.zeros(0), np.zeros(0), ())

    @cached_property
    def config(self) -> Config:
        """Of the network."""
        return config_of(self.facts["network"])

    @cached_property
    def recipe(self) -> AnyRecipe:
        """Of its training."""
        return recipe_of(self.facts["recipe"])

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.name

    @property
    def losses(self) -> Mapping[str, float]:
        """On train, validation, test and ``unseen``; empty while the run is not finished."""
        losses: Mapping[str, float] = self.facts.get("losses", {})
        return losses

    def words(self) -> list[str]:
        """The words that it was trained and evaluated on: `words_of`."""
        return words_of(self.folder, self.facts)


def read_record(folder: str | os.PathLike[str]) -> Record:
    """Reads a run, also while it goes on.

    Raises:
        RecordError: There is no run in the folder, or its record is damaged.
        OSError: It cannot be read.
    """
    folder = Path(folder)
    path = folder / RECORD
    if not path.exists():
        raise RecordError(f"{folder} is not the folder of a run: it has no {RECORD}")
    record = Record(folder, read_facts(path))
    try:
        record.config, record.recipe  # noqa: B018  # whether they can be read
    except KeyError as error:
        raise RecordError(f"{path} is not the record of a run: it lacks {error}") from None
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path} is not the record of a run: {error}") from None
    return record


def read_samples(folder: Path) -> list[str]:
    """The words that were drawn from the network of a run.

    Raises:
        RecordError: The file is not UTF-8.
        OSError: It cannot be read.
    """
    path = folder / SAMPLES_FILE
    try:
        return [word for word in path.read_text(encoding="utf-8").split("\n") if word]
    except UnicodeDecodeError:
        raise RecordError(f"{path} is not UTF-8, so these are no samples of a run") from None


def read_facts(path: Path) -> dict[str, Any]:
    """Reads ``run.json``.

    Raises:
        RecordError: It is damaged.
        OSError: It cannot be read.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, or of UTF-8
        raise RecordError(f"{path} is not the record of a run: {error}") from None
    if not isinstance(facts, dict):
        raise RecordError(f"{path} is not the record of a run: it holds no names with values")
    for name in _TABLES:
        if not isinstance(facts.get(name, {}), dict):
            raise RecordError(f"{path} is not the record of a run: its {name} is no table")
    for name, loss in facts.get("losses", {}).items():
        if type(loss) not in (int, float):
            raise RecordError(f"{path} is not the record of a run: its {name} loss is {loss!r}")
    return facts


def words_of(folder: Path, facts: Mapping[str, Any]) -> list[str]:
    """The words that a run was trained and evaluated on, where they still are.

    Args:
        folder: Of the run.
        facts: What its record says.

    Raises:
        RecordError: It does not say where they are, they are gone, or are others by now.
        CorpusError: The file does not hold words any more.
        OSError: It cannot be read.
    """
    corpus = facts.get("corpus")
    if not isinstance(corpus, str):
        raise RecordError(
            f"{folder / RECORD} does not say what the words are; name their file as data"
        )
    if not Path(corpus).is_file():
        raise RecordError(f"the words of {folder} are not at {corpus}; name their file as data")
    words = read_words(corpus)
    if checksum(words) != facts.get("words_sha256"):
        raise RecordError(
            f"{corpus} has other words than {folder} was trained on; name their file as data"
        )
    return words


def find_runs(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The folders of runs: those that are named, and those that lie in what is named.

    A folder that can be reached in several ways is there once. What a run trained on the way, its
    teacher or the members of its pool, is not among them.

    Raises:
        RecordError: There is no run in one of them.
    """
    found: dict[Path, Path] = {}  # by where they really are
    for path in map(Path, paths):
        runs = list(_runs(path, set()))
        if not runs:
            raise RecordError(f"there is no run in {path}: no {RECORD} in it or below it")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def _runs(path: Path, visited: set[Path]) -> Iterator[Path]:
    if path.resolve() in visited:  # by a link
        return
    visited.add(path.resolve())
    if (path / RECORD).exists():
        yield path
    elif path.is_dir():
        for folder in sorted(folder for folder in path.iterdir() if folder.is_dir()):
            yield from _runs(folder, visited)


def told_apart(folders: Sequence[Path]) -> list[str]:
    """The ends of paths, each as long as it takes to tell it from the others.

    Args:
        folders: No two are the same.

    Example:
        >>> told_apart([Path("/runs/a/1"), Path("/runs/b/1"), Path("/runs/b/2")])
        ['a/1', 'b/1', '2']
    """
    parts = [folder.resolve().parts for folder in folders]
    lengths = [1] * len(parts)
    while True:
        ends = ["/".join(part[-n:]) for part, n in zip(parts, lengths, strict=True)]
        times = Counter(ends)
        longer = [
            n + (times[end] > 1 and n < len(part))
            for part, n, end in zip(parts, lengths, ends, strict=True)
        ]
        if longer == lengths:
            return [end.strip("/") for end in ends]
        lengths = longer


def write_record(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes ``run.json``."""
    with replacing(folder / RECORD) as beside:
        beside.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
