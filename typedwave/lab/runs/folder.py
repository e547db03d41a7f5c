"""The folder of a run: what is kept in it while the run goes on, and how it is gone on with."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

from filelock import FileLock, Timeout

from typedwave.lab.files import appending, is_leftover, remove_leftovers
from typedwave.lab.runs.config_file import write_config
from typedwave.lab.runs.experiment import Experiment
from typedwave.lab.runs.metrics import METRICS, Metrics, MetricsError, cut_metrics, read_metrics
from typedwave.lab.runs.record import RECORD, read_facts, write_record
from typedwave.lab.runs.state import State, StateFileError, load_state, save_state, state_files
from typedwave.lab.training.processes import Processes
from typedwave.lab.training.recipe import AnyRecipe, fields_of
from typedwave.models import Config

__all__ = ["RunBusyError", "RunExistsError", "RunFolder", "claim"]

_CONFIG: Final = "config.toml"
_LOCK: Final = ".lock"


class RunExistsError(ValueError):
    """The folder for a run holds something already."""


class RunBusyError(ValueError):
    """Another process trains into the folder."""


def claim(folder: Path) -> None:
    """Makes the folder of a run, before there is anything to lose.

    Raises:
        RunExistsError: There is something in it.
        OSError: It cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(path.name != _LOCK and not is_leftover(path) for path in folder.iterdir()):
        more = ", or go on with the one that is in it" if (folder / RECORD).exists() else ""
        raise RunExistsError(f"{folder} is not empty; name a new folder for the run{more}")
    try:
        with TemporaryFile(dir=folder):
            pass  # it can be written to
    except OSError as error:
        error.filename = str(folder)  # not a name that nobody knows
        raise


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """What a run keeps of itself, written by the first process alone.

    Args:
        path: Of the folder.
        resume: Whether to go on with what is there, if there is a run.
        processes: That train together.
        say: Is told what happens, a line at a time.
    """

    path: Path
    resume: bool
    processes: Processes
    say: Callable[[str], object]

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder is this run's alone; a lock goes with the process that has it.

        Raises:
            RunExistsError: There is something in it, and nothing is to be gone on with.
            RunBusyError: Another process has it.
        """
        if not self.processes.first:
            yield
            return
        if not (self.resume and (self.path / RECORD).exists()):
            claim(self.path)
        lock = FileLock(self.path / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunBusyError(
                f"{self.path} is being trained into by another process; wait until it ends"
            ) from None
        try:
            yield
        finally:
            (self.path / _LOCK).unlink(missing_ok=True)
            lock.release()

    def begin(self, config: Config, recipe: AnyRecipe, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Writes what is known before training.

        Args:
            config: Of the network.
            recipe: Of its training.
            facts: What else there is to know.

        Returns:
            The record: of the run that is gone on with, if there is one.

        Raises:
            ValueError: That run is of another config or recipe, of other words or another teacher,
                or was compiled and this one is not.
        """
        known = {**facts, "network": dataclasses.asdict(config), "recipe": fields_of(recipe)}
        path = self.path / RECORD
        if self.processes.agreed(self.resume and path.exists()):
            before = read_facts(path)
            self._check_same(before, known)
            known |= {**before, "corpus": facts.get("corpus")}  # the same words, where they are now
            known.pop("error", None)
        if self.processes.first:
            remove_leftovers(self.path)
            self.write(known)
            write_config(self.path / _CONFIG, config, recipe)
        return known

    def write(self, facts: Mapping[str, Any]) -> None:
        """Writes the record."""
        if self.processes.first:
            write_record(self.path, facts)

    def append(self, experiment: Experiment) -> None:
        """Writes the metrics of the steps since the last time."""
        lines = experiment.metrics_lines()
        if self.processes.first:
            appending(self.path / METRICS, lines)

    def save(self, experiment: Experiment) -> None:
        """Writes a state to go on from."""
        if self.processes.first:
            save_state(self.path, experiment.state())

    def restore(self, experiment: Experiment) -> bool:
        """Brings an experiment to the newest state that is whole; returns whether there is one.

        The metrics of later steps are taken away: the steps will be done again.

        Raises:
            StateFileError: There are states, but none is whole, or they are of another experiment.
        """
        path, read = self._whole() if self.processes.first else (None, None)
        path = self.processes.agreed(path)
        if path is not None:
            state, metrics = read or self._read(path)
            experiment.restore(state, metrics)
        if self.processes.first and (self.path / METRICS).exists():
            cut_metrics(self.path / METRICS, steps=experiment.step)
            for other in state_files(self.path):
                if path is not None and other > path:  # a damaged one
                    other.unlink()
        return path is not None

    def forget(self) -> None:
        """Leaves no trace of a run of which nothing was done."""
        if not self.processes.first:
            return
        metrics = self.path / METRICS
        done = metrics.exists() and metrics.stat().st_size
        begun = (metrics, self.path / _CONFIG, self.path / RECORD)  # by which it is found, last
        if not done and {self.path / _LOCK, *begun} >= set(self.path.iterdir()):
            for path in begun:
                path.unlink(missing_ok=True)

    def fail(self, facts: Mapping[str, Any], error: BaseException) -> None:
        """Keeps an error with what was done, if anything was."""
        self.forget()
        told = isinstance(error, ArithmeticError | RuntimeError | ValueError)
        if told and self.processes.first and (self.path / RECORD).exists():
            with suppress(OSError):  # the first error is to be told
                self.write({**facts, "error": str(error)})

    def drop_states(self) -> None:
        """Of a run that is finished; what it came to is in its checkpoint."""
        for path in state_files(self.path) if self.processes.first else ():
            path.unlink()

    def _check_same(self, before: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        for part in ("network", "recipe"):
            told = before.get(part, {})
            for name, value in _plain(facts[part]).items():
                if name not in told or told[name] != value:
                    raise ValueError(
                        f"{name} of the {part} is {value!r}, but the run in {self.path} has "
                        f"{told.get(name)!r}; go on with what it began with"
                    )
        if before.get("words_sha256") != facts["words_sha256"]:
            raise ValueError(
                f"the words are not those of the run in {self.path}, which are of "
                f"{before.get('corpus')}"
            )
        if before.get("compiled") != facts["compiled"]:
            was = "compiled" if before.get("compiled") else "not compiled"
            raise ValueError(f"the steps of the run in {self.path} were {was}; go on so")
        ours, theirs = facts.get("teacher", {}), before.get("teacher", {})
        if ours.get("sha256") != theirs.get("sha256"):
            was = f"that in {theirs['folder']}, as it was then" if theirs else "none"
            raise ValueError(f"the teacher given to the run in {self.path} was {was}; go on so")

    def _whole(self) -> tuple[Path, tuple[State, Metrics]] | tuple[None, None]:
        """The newest state that is whole, and whose metrics are, and what is in both."""
        problems = []
        for path in state_files(self.path):
            try:
                read = self._read(path)
            except (StateFileError, MetricsError, FileNotFoundError) as error:
                problems.append(str(error))
            else:
                for problem in problems:
                    self.say(f"{problem}; going on from the state before")
                return path, read
        if problems:
            raise StateFileError(
                f"the run in {self.path} cannot be gone on with: {'; '.join(problems)}. Without "
                "its files state-*.safetensors it begins again from the first step"
            )
        return None, None

    def _read(self, path: Path) -> tuple[State, Metrics]:
        state = load_state(path)
        metrics = read_metrics(self.path / METRICS, steps=state.step)
        if len(metrics.train) < state.step:
            raise MetricsError(
                f"{self.path / METRICS} has {len(metrics.train):,} whole lines, but "
                f"{state.step:,} steps were done"
            )
        return state, metrics


def _plain(fields: Any) -> Any:
    """As JSON gives it back: tuples are lists."""
    if isinstance(fields, Mapping):
        return {name: _plain(value) for name, value in fields.items()}
    if isinstance(fields, list | tuple):
        return [_plain(value) for value in fields]
    return fields
