"""The trials of a sweep, as a storage has them that all workers share.

A trial of ours has a number and a folder. Optuna's trials are attempts at it: where one ended
before its time, because its worker died or was interrupted, the next one has the same number and
the same values. The number of an attempt follows from the attempts before it, whoever asks.
"""

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from optuna.trial import FrozenTrial, TrialState

from typedwave.lab.files import replacing

__all__ = [
    "AGAIN",
    "ALIVE",
    "BEGAN",
    "DIED",
    "FOLLOWS",
    "PATIENCE",
    "REASON",
    "SIZE",
    "WORKER",
    "State",
    "Trial",
    "attempts_of",
    "decisive",
    "folder_of",
    "number_of",
    "ranked",
    "seconds_of",
    "state_of",
    "trials_of",
    "write_trials",
]

State = Literal["finished", "pruned", "failed", "running", "waiting", "stopped"]
"""Of a trial; what was stopped is tried again as soon as there is a worker and time for it."""

PATIENCE: Final = 60.0
"""Seconds without a sign of life after which a worker on another machine is taken for dead."""

# What is noted of an attempt.
FOLLOWS: Final = "follows"  # the number, where it is not the first attempt at it
WORKER: Final = "worker"  # the host and the lock of who runs it
BEGAN: Final = "began"  # seconds since 1970
ALIVE: Final = "alive"  # seconds since 1970 when it was last known to run
SIZE: Final = "parameters"
REASON: Final = "reason"  # why it has no loss
AGAIN: Final = "again"  # whether it ended before its time
DIED: Final = "died"  # whether that is because its worker died


@dataclass(frozen=True)
class Trial:
    """A trial.

    Attributes:
        number: The first is 1; its folder is called by it.
        state: finished, pruned, failed, running, waiting or stopped.
        values: Of the fields that are searched.
        loss: At the end, or the validation loss at the last point; None before the first.
        points: How many there were.
        parameters: Of the network; None if there is none yet.
        seconds: Of all attempts.
        reason: Why it was pruned, failed or stopped; empty for others.
        attempts: How often it was begun.
    """

    number: int
    state: State
    values: Mapping[str, Any]
    loss: float | None
    points: int
    parameters: int | None
    seconds: float
    reason: str
    attempts: int

    @property
    def folder(self) -> str:
        """The folder of its run, in that of the sweep."""
        return folder_of(self.number)


def folder_of(number: int) -> str:
    """The folder of a trial's run."""
    return f"trial-{number:04d}"


def number_of(attempt: FrozenTrial, attempts: Iterable[FrozenTrial]) -> int:
    """The number of the trial that something is an attempt at."""
    if FOLLOWS in attempt.user_attrs:
        return int(attempt.user_attrs[FOLLOWS])
    first = [a for a in attempts if FOLLOWS not in a.user_attrs and a.number < attempt.number]
    return 1 + len(first)


def attempts_of(attempts: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """The attempts by the number of their trial, in the order in which they were made."""
    found: dict[int, list[FrozenTrial]] = {}
    first = 0
    for attempt in sorted(attempts, key=lambda each: each.number):
        first += FOLLOWS not in attempt.user_attrs
        found.setdefault(attempt.user_attrs.get(FOLLOWS, first), []).append(attempt)
    return found


def state_of(attempt: FrozenTrial) -> State:
    """The state of an attempt."""
    if attempt.state == TrialState.FAIL:
        return "stopped" if attempt.user_attrs.get(AGAIN) else "failed"
    states: dict[TrialState, State] = {
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "pruned",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }
    return states[attempt.state]


_ORDER: Final[tuple[State, ...]] = (
    "finished",
    "pruned",
    "failed",
    "running",
    "waiting",
    "stopped",
)


def decisive(attempts: Sequence[FrozenTrial]) -> FrozenTrial:
    """The attempt that tells how it stands with a trial; of several alike the first."""
    return min(attempts, key=lambda each: (_ORDER.index(state_of(each)), each.number))


def seconds_of(attempts: Iterable[FrozenTrial], *, now: float) -> float:
    """How long at least one of them ran.

    Args:
        attempts: Those that run and gave a sign of life lately run until now.
        now: Seconds since 1970.
    """
    total, until = 0.0, -math.inf
    for began, ended in sorted(_span(a, now) for a in attempts if BEGAN in a.user_attrs):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def _span(attempt: FrozenTrial, now: float) -> tuple[float, float]:
    began = attempt.user_attrs[BEGAN]
    sign = attempt.user_attrs.get(ALIVE, began)
    runs = attempt.state == TrialState.RUNNING and now - sign < PATIENCE
    return began, now if runs else sign


def trials_of(
    attempts: Sequence[FrozenTrial],
    *,
    now: float,
    total: float = math.inf,
    named: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> list[Trial]:
    """The trials by their number.

    Args:
        attempts: At them.
        now: Seconds since 1970.
        total: How many there are to be; nothing is told of what was not tried behind it.
        named: Makes values of what the storage has of them.
    """
    found = []
    for number, several in attempts_of(attempts).items():
        told = decisive(several)
        state = state_of(told)
        if number > total and state in ("waiting", "stopped"):
            continue
        known = max(several, key=lambda each: (len(each.params), each is told))
        points = told.intermediate_values
        last = points[max(points)] if points else None
        found.append(
            Trial(
                number=number,
                state=state,
                values=named(known.params),
                loss=told.value if state == "finished" else last,
                points=len(points),
                parameters=known.user_attrs.get(SIZE),
                seconds=seconds_of(several, now=now),
                reason=told.user_attrs.get(REASON, ""),
                attempts=sum(BEGAN in each.user_attrs for each in several),
            )
        )
    return found


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """The best first: the finished by their loss, then the others by state, loss and number."""
    order: tuple[State, ...] = ("finished", "pruned", "running", "stopped", "waiting", "failed")
    return sorted(
        trials,
        key=lambda trial: (
            order.index(trial.state),
            math.inf if trial.loss is None else trial.loss,
            trial.number,
        ),
    )


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Writes a table of trials as CSV, in their order, with a column for each field searched."""
    trials = list(trials)
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    with (
        replacing(path) as beside,
        beside.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(
            ["number", "state", "loss", "points", "parameters", "seconds", *names, "reason"]
        )
        for t in trials:
            values = [t.values.get(name, "") for name in names]
            told = [t.number, t.state, t.loss, t.points, t.parameters, round(t.seconds, 1)]
            rows.writerow([*told, *values, t.reason])
