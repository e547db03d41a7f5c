"""``typedwave sweep``."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from typedwave.cli.options import INTERRUPTED, MOST_THREADS, STRICT, at_least, within
from typedwave.lab.sweeps import Search, Sweep, Trial, ranked, read_sweep
from typedwave.lab.words.corpus import read_words
from typedwave.lab.words.names import names_path

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    """The arguments."""
    sweep = STRICT(description="Search for the network and the training whose loss is least.")
    sweep.add_argument("sweep", help="a TOML file that says what is searched; see docs/sweeps.md")
    sweep.add_argument("data", nargs="?", default=str(names_path()), help="one word a line, UTF-8")
    sweep.add_argument("--out", type=str, help="folder for the runs: new, empty, or to go on with")
    sweep.add_argument("--workers", type=int, default=1, help="processes here, a trial each")
    sweep.add_argument("--threads", type=int, default=1, help="threads of each")
    sweep.add_argument(
        "--storage",
        type=str,
        help="URL of a database, or path of a journal, that several machines share",
    )
    sweep.add_argument("--trials", type=int | None, help="how many, if not as the file says")
    sweep.add_argument("--seconds", type=float | None, help="how long, if not as the file says")
    sweep.add_argument(
        "--teacher_run", type=str, help="folder of a trained teacher, for a recipe with one"
    )
    return sweep


def run(options: Namespace) -> int:
    """Runs a sweep, or goes on with it, and ranks its trials."""
    at_least(1, "workers", options.workers)
    within(1, MOST_THREADS, "threads", options.threads)
    sweep = read_sweep(options.sweep)
    budget = {name: options[name] for name in ("trials", "seconds") if options[name] is not None}
    sweep = dataclasses.replace(sweep, **budget)
    stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    folder = Path(options.out or Path("runs") / f"{stamp}-{sweep.name}")
    search = Search(
        sweep,
        folder,
        read_words(options.data),
        corpus=str(Path(options.data).resolve()),
        storage=options.storage,
        teacher=Path(options.teacher_run) if options.teacher_run else None,
    )
    say = Console(stderr=options.json, highlight=False, soft_wrap=True)
    interrupted = False
    try:
        with _shown(sweep, say) as watch:
            trials = search.run(workers=options.workers, threads=options.threads, watch=watch)
    except KeyboardInterrupt:
        interrupted = True
        trials = search.trials()
    if options.json:
        told = [{**dataclasses.asdict(t), "folder": t.folder} for t in trials]
        print(json.dumps({"sweep": str(folder), "interrupted": interrupted, "trials": told}))
    else:
        for line in _table(trials, list(sweep.space)):
            say.print(line, markup=False)
        say.print(_end(trials, folder, interrupted), markup=False)
    if interrupted:
        return INTERRUPTED
    states = {trial.state for trial in trials}
    return int("failed" in states and "finished" not in states)


def _end(trials: Sequence[Trial], folder: Path, interrupted: bool) -> str:
    if interrupted:
        return f"interrupted; the same command with --out {folder} goes on"
    if trials and trials[0].state == "finished":
        return f"the best is in {folder / trials[0].folder}; all are in {folder / 'trials.csv'}"
    return f"no trial finished; all are in {folder / 'trials.csv'}"


class _Watch(Protocol):
    def __call__(self, trials: list[Trial], /) -> object: ...


@contextmanager
def _shown(sweep: Sweep, say: Console) -> Iterator[_Watch]:
    """Shows how it stands: a table on a terminal, and a line for each trial that ended in a log."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines(sweep, say)
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:

        def watch(trials: list[Trial]) -> None:
            lines = _table(_running_first(trials), list(sweep.space))
            rows = max(3, console.height - 3)
            hidden = len(lines) - rows
            more = [f"and {hidden} more"] if hidden > 0 else []
            texts = [
                Text(line, no_wrap=True, overflow="ellipsis", style="bold" if n == 1 else "")
                for n, line in enumerate([_standing(sweep, trials), *lines[:rows], *more])
            ]
            live.update(Group(*texts))

        yield watch


def _running_first(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(ranked(trials), key=lambda trial: trial.state != "running")


def _standing(sweep: Sweep, trials: Sequence[Trial]) -> str:
    states = Counter(trial.state for trial in trials)
    ended = sum(states[state] for state in ("finished", "pruned", "failed"))
    total = sweep.total(sweep.trials)
    of = "" if total == math.inf else f" of {total}"
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{ended}{of} trials ended: {told}" if told else f"{ended}{of} trials ended"


class _Lines:
    """Prints a line for each trial that has ended since it was asked before."""

    def __init__(self, sweep: Sweep, say: Console) -> None:
        self._names = list(sweep.space)
        self._say = say
        self._told: set[int] | None = None

    def __call__(self, trials: list[Trial], /) -> None:
        ended = [t for t in trials if t.state in ("finished", "pruned", "failed")]
        if self._told is None:  # of a sweep that is gone on with
            self._told = {t.number for t in ended}
            if self._told:
                self._say.print(f"{len(self._told)} trials ended before")
        for trial in ended:
            if trial.number not in self._told:
                self._told.add(trial.number)
                cells = _cells(trial, [name for name in self._names if name in trial.values])
                told = [f"{name} {cell}" for name, cell in cells.items() if cell]
                self._say.print("  ".join(told), markup=False)


def _table(trials: Sequence[Trial], names: Sequence[str]) -> list[str]:
    """A heading and a line for each trial."""
    rows = [_cells(trial, names) for trial in trials]
    heading = [*_HEADING, *names, "remark"]
    table = [heading, *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    left = (1, len(heading) - 1)  # state and remark; what is a number is on the right
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


_HEADING = ("trial", "state", "loss", "points", "parameters", "seconds")


def _cells(trial: Trial, names: Sequence[str]) -> dict[str, str]:
    again = f"attempt {trial.attempts}" if trial.attempts > 1 else ""
    return {
        "trial": str(trial.number),
        "state": trial.state,
        "loss": "" if trial.loss is None else f"{trial.loss:.4f}",
        "points": str(trial.points),
        "parameters": "" if trial.parameters is None else f"{trial.parameters:,}",
        "seconds": f"{trial.seconds:.1f}",
        **{name: _value(trial.values.get(name, "")) for name in names},
        "remark": trial.reason or again,
    }


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
