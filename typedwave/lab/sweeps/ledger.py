"""The storage of a sweep: which trials there are, whose turn it is, and what came of them."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from typedwave.lab.sweeps.methods import quiet
from typedwave.lab.sweeps.storage import SweepError, storage_at
from typedwave.lab.sweeps.sweep import Sweep
from typedwave.lab.sweeps.trials import (
    AGAIN,
    ALIVE,
    BEGAN,
    DIED,
    FOLLOWS,
    REASON,
    WORKER,
    Trial,
    attempts_of,
    decisive,
    number_of,
    seconds_of,
    state_of,
    trials_of,
)

__all__ = ["ATTEMPTS", "Ended", "Ledger", "difference", "opened"]

ATTEMPTS: Final = 3
"""Workers that a trial may cost before it has failed."""

_SWEEP: Final = "sweep"  # what the study is of
_TRIALS: Final = "trials"
_SECONDS: Final = "seconds"


@dataclass(frozen=True)
class Ended:
    """How an attempt ended.

    Attributes:
        loss: If it finished.
        pruned: Whether it was.
        reason: Why, if it did not finish.
        again: Whether it ended before its time.
    """

    loss: float | None = None
    pruned: bool = False
    reason: str = ""
    again: bool = False


class Ledger:
    """The storage of a sweep, open.

    Args:
        sweep: Whose trials they are.
        study: They are in.
    """

    def __init__(self, sweep: Sweep, study: optuna.Study) -> None:
        self._sweep = sweep
        self._study = study

    def set_budget(self) -> None:
        """Makes the sweep's budgets those of all workers, also of those that are at work."""
        for name in (_TRIALS, _SECONDS):
            self._study.set_user_attr(name, getattr(self._sweep, name))

    @property
    def total(self) -> float:
        """How many trials there are to be."""
        return self._sweep.total(self._study.user_attrs.get(_TRIALS))

    def attempts(self) -> list[FrozenTrial]:
        """At all trials; not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def trials(self) -> list[Trial]:
        """By their number."""
        return trials_of(
            self.attempts(),
            now=time.time(),
            total=self.total,
            named=self._sweep.searched.named,
        )

    def seconds_left(self) -> float:
        """Until the time of the sweep is over."""
        seconds = self._study.user_attrs.get(_SECONDS)
        if seconds is None:
            return math.inf
        return float(seconds - seconds_of(self.attempts(), now=time.time()))

    def done(self) -> bool:
        """Whether all trials have ended."""
        several = attempts_of(self.attempts())
        ended = [n for n, each in several.items() if _ended(each)]
        return sum(number <= self.total for number in ended) >= self.total

    def running(self) -> list[FrozenTrial]:
        """The attempts that no worker has ended."""
        return [a for a in self.attempts() if a.state == TrialState.RUNNING]

    def claim(self, worker: str) -> tuple[optuna.Trial, int] | None:
        """The next trial and its number; None if there is none at the moment.

        Args:
            worker: Who runs it.
        """
        self._follow()
        several = attempts_of(self.attempts())
        waiting = any(a.state == TrialState.WAITING for each in several.values() for a in each)
        if not waiting and len(several) >= self.total:
            return None
        trial = self._study.ask()
        attempts = self.attempts()
        mine = next(attempt for attempt in attempts if attempt.number == trial.number)
        number = number_of(mine, attempts)
        # Whoever asked at the same time may have been given the last one, or one like it.
        if number > self.total or decisive(attempts_of(attempts)[number]) is not mine:
            self.end(trial, Ended(reason="there was one too many", again=True))
            return None
        trial.set_user_attr(WORKER, worker)
        trial.set_user_attr(BEGAN, time.time())
        self._study.sampler = self._sweep.sampler_for(number)
        return trial, number

    def _follow(self) -> None:
        """Has those tried again that were stopped, with what is known of their values."""
        for number, several in attempts_of(self.attempts()).items():
            if number <= self.total and state_of(decisive(several)) == "stopped":
                known = max(several, key=lambda each: len(each.params))
                self._study.enqueue_trial(known.params, user_attrs={FOLLOWS: number})

    def end(self, trial: optuna.Trial, ended: Ended) -> None:
        """Tells how an attempt ended; nothing if it was taken from us."""
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr(ALIVE, time.time())
            for name, value in ((AGAIN, ended.again), (REASON, ended.reason)):
                if value:
                    trial.set_user_attr(name, value)
            if ended.loss is not None:
                self._study.tell(trial, ended.loss)
            else:
                state = TrialState.PRUNED if ended.pruned else TrialState.FAIL
                self._study.tell(trial, state=state)

    def bury(self, attempt: FrozenTrial) -> None:
        """Tells that the worker of an attempt died."""
        several = attempts_of(self.attempts())[number_of(attempt, self.attempts())]
        deaths = 1 + sum(bool(each.user_attrs.get(DIED)) for each in several)
        died = {
            AGAIN: deaths < ATTEMPTS,
            DIED: True,
            REASON: "its worker died" if deaths < ATTEMPTS else f"its worker died {deaths} times",
        }
        with suppress(UpdateFinishedTrialError):
            for name, value in died.items():
                self._study._storage.set_trial_user_attr(attempt._trial_id, name, value)
            self._study.tell(attempt.number, state=TrialState.FAIL, skip_if_finished=True)


def _ended(several: Sequence[FrozenTrial]) -> bool:
    return state_of(decisive(several)) in ("finished", "pruned", "failed")


@contextmanager
def opened(sweep: Sweep, where: str, facts: Mapping[str, Any]) -> Iterator[Ledger]:
    """The ledger of a sweep, which is begun if it is not there.

    Args:
        sweep: Whose trials they are.
        where: The path of a journal, or the URL of a database.
        facts: What may not differ from what the sweep was begun with.

    Raises:
        SweepError: The storage cannot be opened, or holds another sweep of that name; or it fails
            later.
        OSError: The file of the journal cannot be read or written.
    """
    with quiet(), storage_at(where) as storage, _told_once():
        study = optuna.create_study(
            study_name=sweep.name,
            storage=storage,
            pruner=sweep.pruner_made(),
            sampler=RandomSampler(),  # until there is a trial
            load_if_exists=True,
        )
        there = study.user_attrs.get(_SWEEP)
        if there is None:
            study.set_user_attr(_SWEEP, dict(facts))
        elif there != facts:
            raise SweepError(
                f"the sweep {sweep.name!r} in the storage is another: {difference(there, facts)}; "
                "give this one another name, or another storage"
            )
        yield Ledger(sweep, study)


@contextmanager
def _told_once() -> Iterator[None]:
    """What a database says when it fails, without what Optuna guesses of it."""
    try:
        yield
    except StorageInternalError as error:
        reason = (str(error.__cause__ or error).splitlines() or [""])[0]
        raise SweepError(f"the storage fails: {reason}") from None


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The first thing that differs, in words."""
    for name, old in there.items():
        new = here.get(name)
        if old != new and isinstance(old, Mapping) and isinstance(new, Mapping):
            return f"{name}.{difference({**dict.fromkeys([*old, *new]), **old}, new)}"
        if old != new:
            return f"{name} is {_told(old)} there and {_told(new)} here"
    return "nothing"


def _told(value: Any) -> str:
    return "missing" if value is None else json.dumps(value)
