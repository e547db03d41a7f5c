"""A sweep in a folder, and the workers that run its trials."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch

from typedwave.lab.files import removed_if_empty, replacing
from typedwave.lab.runs.experiment import Experiment
from typedwave.lab.runs.run import Run
from typedwave.lab.sweeps.ledger import Ledger, difference, opened
from typedwave.lab.sweeps.storage import SweepError
from typedwave.lab.sweeps.sweep import Sweep
from typedwave.lab.sweeps.trials import PATIENCE, Trial, ranked, write_trials
from typedwave.lab.sweeps.worker import Worker
from typedwave.lab.training.recipe import WordsRecipe
from typedwave.lab.words.corpus import checksum, split
from typedwave.models import PoolConfig

__all__ = ["SWEEP", "TRIALS", "Search"]

SWEEP: Final = "sweep.json"
"""The file in the folder of a sweep that tells what it is of."""

TRIALS: Final = "trials.csv"
"""The file in the folder of a sweep with its trials, the best first."""

_JOURNAL: Final = "journal.log"
_POLL: Final = 0.25  # seconds
_FEW: Final = 200  # words to see whether a network can be trained on them


@dataclass(frozen=True)
class Search:
    """A sweep over a corpus, in a folder.

    A folder that holds the same sweep is gone on with. So is one in the same storage, by as many
    workers, processes and machines as like to.

    Args:
        sweep: What is searched.
        folder: Where the runs of its trials are: new, empty, or of the same sweep.
        words: The corpus.
        corpus: What the words are, for the records: the path of their file say.
        storage: The URL of a database, or the path of a journal; None for a journal in the folder.
        teacher: The folder of a trained teacher, if the recipe has one; each trial trains it else.
        patience: Seconds without a sign of life after which a worker on another machine is taken
            for dead; one on this machine is known to be.

    Example:
        ``Search(sweep, Path("runs/sweep"), words, corpus="names").run(workers=2)`` runs all trials
        and gives them back, the best first.
    """

    sweep: Sweep
    folder: Path
    words: Sequence[str]
    corpus: str
    storage: str | None = None
    teacher: Path | None = None
    patience: float = PATIENCE

    def work(self, *, stopped: Callable[[], bool] = lambda: False) -> list[Trial]:
        """Runs trials in this process until none is left or the time is over.

        Args:
            stopped: Whether to stop, asked at each point of a training.

        Returns:
            All trials, the best first; they are in ``trials.csv`` as well.

        Raises:
            SweepError: The folder or the storage holds something else.
            ValueError: Words, networks and recipes do not go together.
            KeyboardInterrupt: It was interrupted.
            OSError: A file cannot be read or written.
        """
        with self.begun() as ledger:
            try:
                self.worker(ledger, stopped).work()
            finally:
                trials = self._written(ledger)
        return trials

    def run(
        self,
        *,
        workers: int = 1,
        threads: int = 1,
        watch: Callable[[list[Trial]], object] = lambda trials: None,
    ) -> list[Trial]:
        """Runs trials in processes of their own until none is left or the time is over.

        A process that is killed leaves its trial to the others.

        Args:
            workers: How many processes.
            threads: Of each.
            watch: Is told how it stands, several times a second.

        Returns:
            All trials, the best first; they are in ``trials.csv`` as well.

        Raises:
            SweepError: The folder or the storage holds something else, or no worker is left.
            ValueError: Words, networks and recipes do not go together.
            KeyboardInterrupt: It was interrupted; the workers have ended.
            OSError: A file cannot be read or written.
        """
        with self.begun() as ledger:
            try:
                with _processes(self, workers, threads) as processes:
                    while any(process.is_alive() for process in processes):
                        watch(ledger.trials())
                        time.sleep(_POLL)
                watch(ledger.trials())
            finally:
                trials = self._written(ledger)
            problems = [problem for process in processes if (problem := process.problem())]
            if problems and not (ledger.done() or ledger.seconds_left() <= 0):
                raise SweepError(
                    f"the sweep did not end: {'; '.join(dict.fromkeys(problems))}. The same "
                    "command goes on with it"
                )
        return trials

    def trials(self) -> list[Trial]:
        """All trials, the best first; none of a sweep that is not begun."""
        if not (self.folder / SWEEP).exists():
            return []
        with self.opened() as ledger:
            return ranked(ledger.trials())

    @contextmanager
    def opened(self) -> Iterator[Ledger]:
        """The ledger, of a sweep that was begun.

        Raises:
            SweepError: It cannot be opened, or is of another sweep.
        """
        where = self.storage or str(self.folder / _JOURNAL)
        with opened(self.sweep, where, self._facts()) as ledger:
            yield ledger

    @contextmanager
    def begun(self) -> Iterator[Ledger]:
        """The ledger, of a sweep that is begun or gone on with, with the budgets of this one.

        Raises:
            SweepError: The folder or the storage holds something else.
            ValueError: Words, networks and recipes do not go together.
            OSError: A file cannot be read or written.
        """
        self._check()
        facts = self._facts()
        with removed_if_empty(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            _check_folder(self.folder, facts)
            with self.opened() as ledger:
                with replacing(self.folder / SWEEP) as beside:
                    beside.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
                ledger.set_budget()
                yield ledger

    def worker(self, ledger: Ledger, stopped: Callable[[], bool]) -> Worker:
        """One that runs trials in this process."""
        return Worker(
            self.sweep,
            ledger,
            self.folder,
            self.words,
            self.corpus,
            self.teacher,
            stopped,
            self.patience,
        )

    def _facts(self) -> dict[str, Any]:
        """What may not change as long as the sweep goes on."""
        return {**self.sweep.as_json(), "words_sha256": checksum(self.words)}

    def _check(self) -> None:
        """Refuses before anything is trained what would fail in each trial."""
        if self.sweep.metric not in split(self.words).parts:
            raise ValueError("metric is 'unseen', but each validation word is in train as well")
        few = self.words[:_FEW]
        for config, recipe in self.sweep.searched.bases():
            run = Run(self.folder, few, corpus=self.corpus, teacher=self.teacher)
            run.check(config, recipe)
            if isinstance(recipe, WordsRecipe):
                recipe = replace(recipe, teacher="", sampled=0)
            if not isinstance(config, PoolConfig):
                Experiment(few, config, recipe)

    def _written(self, ledger: Ledger) -> list[Trial]:
        trials = ranked(ledger.trials())
        write_trials(self.folder / TRIALS, trials)
        return trials


def _check_folder(folder: Path, facts: dict[str, Any]) -> None:
    path = folder / SWEEP
    if not path.exists():
        if any(folder.iterdir()):
            raise SweepError(f"{folder} is not empty, and holds no sweep; name a new folder")
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SweepError(f"{path} is damaged: {error}") from None
    if there != facts:
        raise SweepError(
            f"{folder} holds another sweep: {difference(there, facts)}; name a new folder"
        )


class _Process:
    """A worker in a process of its own."""

    def __init__(self, search: Search, threads: int) -> None:
        context = _context()
        self._problem, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(search, threads, theirs))
        self._process.start()
        theirs.close()

    def is_alive(self) -> bool:
        """Whether it works."""
        return self._process.is_alive()

    def problem(self) -> str:
        """Why it ended before the sweep did; empty if it did not."""
        with suppress(EOFError):
            return str(self._problem.recv())
        self._process.join()  # it told nothing
        code = self._process.exitcode or 0
        return f"a worker was ended by {signal.Signals(-code).name}" if code < 0 else ""

    def interrupt(self) -> None:
        """Asks it to end."""
        if self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)

    def end(self, *, at_once: bool) -> None:
        """Ends it, with its trial kept unless it is at once."""
        if at_once:
            self._process.kill()
        while self.is_alive():
            if not at_once:
                self.interrupt()  # which it does not hear while it starts
            self._process.join(1.0)


def _context() -> SpawnContext | ForkServerContext:
    """Of processes that share no state; where it can be, they are forks of one that imported us."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "matplotlib.figure"])
    return context


@contextmanager
def _processes(search: Search, workers: int, threads: int) -> Iterator[list[_Process]]:
    """Workers that have ended when this has."""
    processes: list[_Process] = []
    try:
        with _deaf():  # and so are they, until they know what to do about it
            for _ in range(workers):
                processes.append(_Process(search, threads))
        yield processes
    finally:
        at_once = False
        for process in processes * 2:
            try:
                process.end(at_once=at_once)
            except KeyboardInterrupt:  # once more
                at_once = True


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C is not heard, by processes that are started neither."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(search: Search, threads: int, problem: Connection) -> None:
    """What such a process does."""
    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _interrupted)
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    try:
        with search.opened() as ledger:
            search.worker(ledger, lambda: parent is not None and not parent.is_alive()).work()
    except KeyboardInterrupt:
        _tell(problem, "a worker was interrupted")
    except Exception as error:  # to be told once, by the process that started this one
        _tell(problem, f"a worker failed: {error}")


def _tell(problem: Connection, what: str) -> None:
    with suppress(BrokenPipeError):  # nobody is there any more
        problem.send(what)


def _interrupted(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
