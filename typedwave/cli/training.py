"""``typedwave train``."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import get_args

import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from typedwave.cli.options import (
    INTERRUPTED,
    MOST_THREADS,
    STRICT,
    Defaults,
    add_flags,
    add_preset,
    of_flags,
    within,
)
from typedwave.lab.files import removed_if_empty
from typedwave.lab.runs.config_file import config_text
from typedwave.lab.runs.experiment import Experiment
from typedwave.lab.runs.folder import claim
from typedwave.lab.runs.metrics import Point
from typedwave.lab.runs.run import Run, unwatched
from typedwave.lab.training.processes import Device, processes
from typedwave.lab.words.corpus import read_words, split
from typedwave.lab.words.names import names_path

__all__ = ["parser", "run"]


def parser(defaults: Defaults) -> ArgumentParser:
    """The arguments; a run that is gone on with has its own as defaults."""
    before = defaults.facts
    train = STRICT(description="Train a network on words.")
    data = before.get("corpus") or str(names_path())
    train.add_argument("data", nargs="?", default=data, help="one word a line, UTF-8")
    train.add_argument("--out", type=str, help="folder for the run, new or empty")
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in the folder --out, if there is one; it keeps its own settings",
    )
    train.add_argument(
        "--compile",
        action="store_true",
        default=before.get("compiled", False),
        help="compile the step; needs g++",
    )
    train.add_argument(
        "--teacher_run",
        type=str,
        default=before.get("teacher", {}).get("folder"),
        help="folder of a trained teacher, for a recipe with one",
    )
    train.add_argument(
        "--device",
        choices=get_args(Device),
        default="cpu",
        help="where to train; auto is cuda where there is one. Under torchrun each process has one",
    )
    train.add_argument(
        "--threads",
        type=int,
        default=before.get("environment", {}).get("threads", 1),
        help="threads; one is best at this size",
    )
    train.add_argument(
        "--tensorboard", action="store_true", help="write events for tensorboard --logdir"
    )
    train.add_argument(
        "--print_config", action="store_true", help="print what --config takes, and do nothing"
    )
    add_preset(train, defaults)
    add_flags(train, defaults.recipe)
    return train


def run(options: Namespace, defaults: Defaults) -> int:
    """Trains into a folder, and says what came of it."""
    within(1, MOST_THREADS, "threads", options.threads)
    config, recipe = (of_flags(part, options) for part in (defaults.config, defaults.recipe))
    if options.print_config:
        print(config_text(config, recipe), end="")
        return 0
    if options.resume and not options.out:
        raise ValueError("--resume goes on with the run in the folder --out; name it")
    torch.set_num_threads(options.threads)
    words = read_words(options.data)
    split(words)  # refuses too few, before a folder is made
    with processes(options.device) as together:
        stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
        folder = Path(options.out or Path("runs") / f"{stamp}-{defaults.name}")
        say = Console(
            stderr=options.json, highlight=False, soft_wrap=True, quiet=not together.first
        )
        training = Run(
            together.agreed(folder),
            words,
            corpus=str(Path(options.data).resolve()),
            compile=options.compile,
            teacher=Path(options.teacher_run) if options.teacher_run else None,
            resume=options.resume,
            tensorboard=options.tensorboard,
            processes=together,
            watch=_watch if together.first else unwatched,
            say=say.print,
        )
        training.check(config, recipe)
        with removed_if_empty(folder):
            if together.first and not options.resume:
                claim(folder)  # before anything is said
            say.print(f"{len(words):,} words from {options.data}")
            record = training.train(config, recipe, defaults.name)
    if record is None:
        return INTERRUPTED
    if together.first:
        _tell(record, len(words), folder, say, options)
    return INTERRUPTED if record["interrupted"] else 0


def _tell(
    record: dict[str, object], count: int, folder: Path, say: Console, options: Namespace
) -> None:
    new = record.pop("new")
    assert isinstance(new, list)
    if options.json:
        print(json.dumps({"run": str(folder), **record, "new": new}))
    else:
        say.print(f"{len(new)} samples, none of them among the {count:,} words:")
        _print_columns(new)
        say.print(f"the run is in {folder}")


def _watch(experiment: Experiment, points: Iterator[Point]) -> bool:
    """Trains under a progress bar; returns whether Ctrl-C ended it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    steps = experiment.steps
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=steps, completed=experiment.step)
        try:
            for count, point in enumerate(points, start=1):
                losses = f"train {point.train:.4f}  validation {point.validation:.4f}"
                progress.update(task, completed=point.step, description=losses)
                if not console.is_terminal and count % 10 == 0:  # a log wants lines, and few
                    console.print(f"{losses}  after {point.step:,} of {steps:,} steps")
        except KeyboardInterrupt:
            return True
    return False


def _print_columns(words: Sequence[str]) -> None:
    width = max(map(len, words), default=0) + 2
    for start in range(0, len(words), 5):
        print("  " + "".join(word.ljust(width) for word in words[start : start + 5]).rstrip())
