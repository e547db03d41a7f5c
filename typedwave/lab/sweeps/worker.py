"""A worker: runs one trial after another until there is none left."""

import math
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from typedwave.lab.runs.experiment import Experiment
from typedwave.lab.runs.folder import RunBusyError
from typedwave.lab.runs.metrics import Point
from typedwave.lab.runs.run import Run
from typedwave.lab.sweeps.ledger import Ended, Ledger
from typedwave.lab.sweeps.sweep import Sweep
from typedwave.lab.sweeps.trials import ALIVE, PATIENCE, SIZE, WORKER, folder_of
from typedwave.lab.training.recipe import AnyRecipe
from typedwave.lab.words.corpus import Vocabulary
from typedwave.models import Config, network_of

__all__ = ["WORKERS", "Worker"]

WORKERS: Final = "workers"
"""The folder of the locks that workers hold as long as they live."""

_POLL: Final = 0.2  # seconds

_Facts = TypeVar("_Facts")


@dataclass
class Worker:
    """Runs trials.

    Args:
        sweep: Whose.
        ledger: Of the sweep.
        folder: Of the sweep.
        words: The corpus.
        corpus: What the words are, for the records.
        teacher: The folder of a trained teacher, if the recipe has one; each trial trains it else.
        stopped: Whether to stop, asked at each point.
        patience: Seconds without a sign of life after which a worker on another machine is dead.
    """

    sweep: Sweep
    ledger: Ledger
    folder: Path
    words: Sequence[str]
    corpus: str
    teacher: Path | None = None
    stopped: Callable[[], bool] = lambda: False
    patience: float = PATIENCE

    def work(self) -> None:
        """Returns when all trials have ended or the time is over.

        Raises:
            KeyboardInterrupt: It was interrupted; its trial is there to be gone on with.
            OSError: A file cannot be written; likewise.
        """
        deaths = _Deaths(self.folder, self.patience)
        with _present(self.folder) as me:
            while not self.stopped():
                for attempt in self.ledger.running():
                    if deaths.happened(attempt):
                        self.ledger.bury(attempt)
                left = self.ledger.seconds_left()
                if left <= 0:
                    return
                claimed = self.ledger.claim(me)
                if claimed is not None:
                    self._attempt(*claimed, until=time.monotonic() + left)
                elif self.ledger.done():
                    return
                else:  # others are at work, and may die
                    time.sleep(min(_POLL, left))

    def _attempt(self, trial: optuna.Trial, number: int, until: float) -> None:
        attempt = _Attempt(self, trial, number, until)
        try:
            with _beating(trial, self.patience / 6) as attempt.taken:
                ended = attempt.run()
        except UpdateFinishedTrialError:  # another worker took us for dead, and goes on with it
            return
        except KeyboardInterrupt:
            self.ledger.end(trial, Ended(reason="interrupted", again=True))
            raise
        except (OSError, StorageInternalError) as error:  # not the fault of what was tried
            self.ledger.end(trial, Ended(reason=_told(error), again=True))
            raise
        self.ledger.end(trial, ended)
        if attempt.interrupted:
            raise KeyboardInterrupt


@dataclass
class _Attempt:
    worker: Worker
    trial: optuna.Trial
    number: int
    until: float
    taken: threading.Event = field(default_factory=threading.Event)
    stop: Ended | None = None
    interrupted: bool = False

    def run(self) -> Ended:
        """Trains the network of the trial; how that ended."""
        worker, sweep = self.worker, self.worker.sweep
        try:
            values = sweep.searched.suggested(self.trial)
            config, recipe = sweep.searched.configured(values)
            too_large = self._too_large(config)
            if too_large:
                return Ended(pruned=True, reason=too_large)
            name = folder_of(self.number)
            run = Run(
                worker.folder / name,
                worker.words,
                corpus=worker.corpus,
                teacher=worker.teacher,
                resume=True,
                watch=lambda experiment, points: self._watch(experiment, points, config, recipe),
            )
            facts = self._when_free(lambda: run.train(config, recipe, name))
        except (OSError, StorageInternalError, UpdateFinishedTrialError):
            raise
        except Exception as error:  # whatever it is, the next trial may do better
            return Ended(reason=f"{type(error).__name__}: {_told(error)}")
        if self.stop is not None:
            return self.stop
        assert facts is not None
        loss = facts["losses"][sweep.metric]
        if not math.isfinite(loss):
            return Ended(reason=f"the {sweep.metric} loss is {loss}")
        return Ended(loss=loss)

    def _when_free(self, train: Callable[[], _Facts]) -> _Facts:
        """Waits for a worker that was taken for dead and is not: it ends when it hears of that."""
        until = time.monotonic() + self.worker.patience
        while True:
            try:
                return train()
            except RunBusyError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_POLL)

    def _too_large(self, config: Config) -> str:
        """Why the network is not trained, if it has too many parameters."""
        vocabulary = Vocabulary.of(self.worker.words)
        network = network_of(config, vocab_size=len(vocabulary), device="meta")
        size = sum(parameter.numel() for parameter in network.parameters())
        self.trial.set_user_attr(SIZE, size)
        most = self.worker.sweep.max_parameters
        if most is None:
            return ""
        self.trial.set_constraint("parameters", size / most - 1)  # by which samplers learn of it
        return f"it has {size:,} parameters, but {most:,} are the most" if size > most else ""

    def _watch(
        self, experiment: Experiment, points: Iterator[Point], config: Config, recipe: AnyRecipe
    ) -> bool:
        """Trains; returns whether that ended before its time."""
        ours = experiment.network.config == config and experiment.recipe == recipe
        try:
            if ours:  # and no teacher
                for place, point in enumerate(experiment.curve, start=1):  # of an attempt before
                    self.trial.report(point.validation, place)
            for _ in points:
                if self._stops(experiment, ours):
                    return True
        except KeyboardInterrupt:
            self.stop, self.interrupted = Ended(reason="interrupted", again=True), True
            return True
        return False

    def _stops(self, experiment: Experiment, ours: bool) -> bool:
        """Reports the last point; whether the training is to stop there."""
        if self.taken.is_set():
            raise UpdateFinishedTrialError
        place = len(experiment.curve)
        if ours:
            self.trial.report(experiment.curve[-1].validation, place)
        if experiment.step == experiment.steps:
            return False
        limit = self.worker.sweep.seconds_per_trial
        if self.worker.stopped():
            self.stop, self.interrupted = Ended(reason="interrupted", again=True), True
        elif time.monotonic() >= self.until:
            self.stop = Ended(reason="the time of the sweep was over", again=True)
        elif limit is not None and experiment.seconds > limit:
            self.stop = Ended(pruned=True, reason=f"its {limit:g} seconds were over")
        elif self.trial.should_prune():
            self.stop = Ended(pruned=True, reason=f"it did not look good at point {place}")
        return self.stop is not None


def _told(error: BaseException) -> str:
    """The first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _present(folder: Path) -> Iterator[str]:
    """Holds a lock as long as this process lives; gives the name by which others find it."""
    name = uuid.uuid4().hex[:12]
    path = folder / WORKERS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield f"{socket.gethostname()}/{name}"
    path.unlink(missing_ok=True)  # not after an error: a trial may be left, which others find by it


@contextmanager
def _beating(trial: optuna.Trial, seconds: float) -> Iterator[threading.Event]:
    """Gives a sign of life now and then; what it gives is set if the trial was taken from us."""
    taken, ended = threading.Event(), threading.Event()

    def beat() -> None:
        while not ended.wait(seconds):
            try:
                trial.set_user_attr(ALIVE, time.time())
            except UpdateFinishedTrialError:
                taken.set()
                break
            except Exception:  # the next may do; training itself tells what does not pass
                continue
        trial.storage.remove_session()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        ended.set()
        thread.join()


class _Deaths:
    """Knows which workers have died: by their lock, or if it is elsewhere by their silence."""

    def __init__(self, folder: Path, patience: float) -> None:
        self._folder = folder / WORKERS
        self._patience = patience
        self._heard: dict[int, tuple[object, float]] = {}

    def happened(self, attempt: FrozenTrial) -> bool:
        """Whether the worker of a running attempt is dead."""
        host, _, name = attempt.user_attrs.get(WORKER, "").partition("/")
        if host == socket.gethostname() and (path := self._folder / name).exists():
            return _free(path)
        sign, now = attempt.user_attrs.get(ALIVE), time.monotonic()  # clocks differ, signs do not
        last, since = self._heard.get(attempt.number, (None, -math.inf))
        if attempt.number not in self._heard or sign != last:
            self._heard[attempt.number] = (sign, now)
            return False
        return now - since > self._patience


def _free(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    lock.release()
    return True
