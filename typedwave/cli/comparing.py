"""``typedwave compare``."""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from jsonargparse import ArgumentParser, Namespace

from typedwave.cli.options import STRICT
from typedwave.lab.comparison.by_word import WordDifference, difference_of_words, losses_by_word
from typedwave.lab.comparison.groups import (
    Comparison,
    Group,
    compare,
    groups_of,
    is_finished,
    losses_of_groups,
)
from typedwave.lab.comparison.verdict import tables, verdict, verdict_of_words
from typedwave.lab.evaluation import data_of
from typedwave.lab.runs.checkpoint import CHECKPOINT, load_checkpoint
from typedwave.lab.runs.record import Record, find_runs, read_record
from typedwave.lab.words.corpus import read_words, split

__all__ = ["parser", "run"]

_LOSSES: Final = ("validation", "test", "train", "unseen")


def parser() -> ArgumentParser:
    """The arguments."""
    comparing = STRICT(description="Compare runs: what is more than the chance of a seed.")
    comparing.add_argument("runs", nargs="+", help="folders of runs, or folders with runs in them")
    comparing.add_argument(
        "--against",
        nargs="+",
        type=str,
        default=[],
        help="runs that differ only in the seed, to compare with; else those of the lowest mean",
    )
    comparing.add_argument("--loss", choices=_LOSSES, default="validation", help="which loss")
    comparing.add_argument(
        "--words",
        action="store_true",
        help="ask other words than these as well: evaluates the networks word by word",
    )
    comparing.add_argument(
        "--data", type=str, help="the words, if not those of the runs, for --words"
    )
    comparing.add_argument(
        "--finished", action="store_true", help="leave out runs that are not finished"
    )
    return comparing


def run(options: Namespace) -> int:
    """Prints means, differences and a verdict."""
    if options.data is not None and not options.words:
        raise ValueError("--data names the words that --words is to be asked about; add that")
    groups, reference = _groups(options)
    every = groups if reference is None else [*groups, reference]
    losses = losses_of_groups(every, options.loss)
    against = None if reference is None else losses[-1]
    comparison = compare(losses[: len(groups)], against=against, loss=options.loss)
    words = _by_word(every, comparison, options.data) if options.words else {}
    if options.json:
        print(json.dumps(_facts(every, comparison, words)))
        return 0
    print(tables(comparison))
    print(f"\n{verdict(comparison)}")
    for row in comparison.others:
        if row.label in words:
            print(f"\n{verdict_of_words(row, comparison.reference, words[row.label])}")
    return 0


def _groups(options: Namespace) -> tuple[list[Group], Group | None]:
    """The groups of the runs that are named, and the one to compare them with if that is named."""
    records = _records(options.runs, options.finished)
    against = _records(options.against, options.finished) if options.against else []
    both = {record.folder.resolve() for record in records}
    for record in against:
        if record.folder.resolve() in both:
            raise ValueError(f"{record.folder} is among the runs and among those of --against")
    groups, references = groups_of(records), groups_of(against)
    if len(references) > 1:
        labels = "; ".join(group.label for group in references)
        raise ValueError(f"the runs of --against differ in more than the seed: {labels}")
    if not references:
        return groups, None
    # Labels are of what differs, and more may differ between them all.
    called = {
        record.folder: group.label
        for group in groups_of([*records, *against])
        for record in group.records
    }
    renamed = [
        dataclasses.replace(group, label=called[group.records[0].folder])
        for group in (*groups, *references)
    ]
    *groups, reference = renamed
    if reference.label in {group.label for group in groups}:  # what differs is not in the records
        reference = dataclasses.replace(reference, label=f"{reference.label} of --against")
    return groups, reference


def _records(paths: Sequence[str], finished: bool) -> list[Record]:
    records = [read_record(folder) for folder in find_runs(paths)]
    if not finished:
        return records
    kept = [record for record in records if is_finished(record)]
    left_out = [str(record.folder) for record in records if not is_finished(record)]
    if not kept:
        raise ValueError(f"no run is finished in {', '.join(paths)}")
    if left_out:
        print(f"left out, not finished: {', '.join(left_out)}", file=sys.stderr)
    return kept


def _by_word(
    groups: Sequence[Group], comparison: Comparison, data: str | None
) -> dict[str, WordDifference]:
    """By the label of a group, how far its networks are from those of the reference."""
    corpus = groups[0].records[0].words() if data is None else read_words(data)
    parts = split(corpus).parts
    if comparison.loss not in parts:
        raise ValueError(f"each validation word of {data} is in train as well; none is unseen")
    words = parts[comparison.loss]

    def losses(record: Record) -> Any:
        checkpoint = load_checkpoint(record.folder / CHECKPOINT)
        network = checkpoint.network
        return losses_by_word(network, data_of(network, checkpoint.vocabulary, words))

    found = {group.label: [losses(record) for record in group.records] for group in groups}
    reference = found.pop(comparison.reference)
    return {label: difference_of_words(each, reference, words) for label, each in found.items()}


def _facts(
    groups: Sequence[Group], comparison: Comparison, words: dict[str, WordDifference]
) -> dict[str, Any]:
    runs = {
        group.label: {
            os.fspath(record.folder): {
                "seed": record.recipe.seed,
                "loss": record.losses[comparison.loss],
            }
            for record in group.records
        }
        for group in groups
    }
    rows = []
    for row in comparison.rows:
        facts = dataclasses.asdict(row)
        by_word = {"words": dataclasses.asdict(words[row.label])} if row.label in words else {}
        rows.append({**facts, **by_word, "runs": runs[row.label]})
    return {
        "loss": comparison.loss,
        "against": comparison.reference,
        "lowest": comparison.chosen,
        "groups": rows,
        "verdict": verdict(comparison),
    }
