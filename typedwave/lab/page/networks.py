"""What is told of a network: how shapes flow through it, and the words that were drawn."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from markupsafe import Markup

from typedwave.inspect import Table, table
from typedwave.lab.page.entries import Entry
from typedwave.lab.page.words import Corpora
from typedwave.lab.runs.checkpoint import CHECKPOINT, load_checkpoint
from typedwave.lab.runs.record import SAMPLES_FILE, read_samples
from typedwave.models import Network

__all__ = ["BATCH", "Flow", "Samples", "flows_of", "samples_of"]

BATCH: Final = 32
"""Of the example."""

LENGTH: Final = 9
"""Of the example, where the network takes any: a name of eight characters and its end."""


@dataclass(frozen=True)
class Flow:
    """The shapes in a network.

    Attributes:
        labels: Of the runs that have such a network, best first.
        table: A row for each call of a layer.
    """

    labels: list[str]
    table: Table

    @property
    def html(self) -> Markup:
        """As a notebook shows it."""
        return Markup(self.table._repr_html_())  # which escapes


@dataclass(frozen=True)
class Samples:
    """Words drawn from a network.

    Attributes:
        label: Of the run.
        words: Each with whether it was trained on; None where that is not known.
    """

    label: str
    words: list[tuple[str, bool | None]]

    @property
    def told(self) -> str:
        """How many there are, and how many of them were trained on."""
        count = len(self.words)
        words = f"{count} word{'s' * (count != 1)}"
        if any(known is None for _, known in self.words):
            return f"{words}; the corpus is not there any more, or is another by now"
        known = sum(bool(known) for _, known in self.words)
        return f"{words}, {known or 'none'} of which {'was' if known < 2 else 'were'} trained on"


def flows_of(entries: Sequence[Entry]) -> list[Flow]:
    """One for each different network; there is none in a run without a checkpoint.

    Raises:
        CheckpointError: A checkpoint is damaged.
        OSError: It cannot be read.
    """
    flows: dict[str, Flow] = {}
    for entry in entries:
        path = entry.record.folder / CHECKPOINT
        if not path.exists():
            continue
        checkpoint = load_checkpoint(path)
        config = dataclasses.asdict(checkpoint.network.config)
        key = json.dumps([config, len(checkpoint.vocabulary)], sort_keys=True)
        if key not in flows:
            flows[key] = Flow([], _flow(checkpoint.network))
        flows[key].labels.append(entry.label)
    return list(flows.values())


def _flow(network: Network) -> Table:
    shape = (BATCH, getattr(network, "context", LENGTH))
    return table(network.to("meta"), torch.zeros(shape, dtype=torch.int64, device="meta"))


def samples_of(entry: Entry, corpora: Corpora) -> Samples | None:
    """The words in ``samples.txt``; None if there are none.

    Raises:
        RecordError: The file is not UTF-8.
        OSError: It cannot be read.
    """
    if not (entry.record.folder / SAMPLES_FILE).exists():
        return None
    words = read_samples(entry.record.folder)
    splits = corpora(entry.record)
    if splits is None:
        return Samples(entry.label, [(word, None) for word in words])
    known = frozenset(splits.train)
    return Samples(entry.label, [(word, word in known) for word in words])
