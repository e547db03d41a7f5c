"""The runs of a page: what is told of each, and in which order."""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from typedwave.lab.page.settings import Setting, settings_of
from typedwave.lab.runs.record import Record, told_apart

__all__ = ["LOSSES", "Entry", "entries_of"]

LOSSES: Final = ("validation", "train", "test", "unseen")
"""In the order in which they are shown."""

_ELSEWHERE: Final = frozenset({"network", "recipe", "losses", "parameters"})


@dataclass(frozen=True)
class Entry:
    """A run on the page.

    Attributes:
        record: What lies on disk.
        label: Its name, with folders above it where others have the same.
        state: finished, interrupted or unfinished; or what a sweep says of a trial that is not
            finished: pruned, failed and so on.
        reason: Why a sweep says so; empty if it does not.
        losses: By name. The validation loss of a run that is not finished is the last there is.
        settings: What decided it.
        parameters: Of the network.
        steps: That are done.
        seconds: Of training.
    """

    record: Record
    label: str
    state: str
    reason: str
    losses: Mapping[str, float]
    settings: Mapping[str, Setting]
    parameters: int | None
    steps: int | None
    seconds: float | None

    @property
    def validation(self) -> float:
        """What runs are ranked by; infinite where there is none."""
        return self.losses.get("validation", math.inf)

    @property
    def told(self) -> dict[str, Any]:
        """What its record says beside what is shown elsewhere, by name."""
        told: dict[str, Any] = {"folder": str(self.record.folder)}
        if self.reason:
            told[self.state] = self.reason
        for name, value in self.record.facts.items():
            if name == "examples" and isinstance(value, Mapping):
                told |= {f"{part} examples": count for part, count in value.items()}
            elif isinstance(value, Mapping) and name not in _ELSEWHERE:
                told |= value
            elif name not in _ELSEWHERE:
                told[name] = value
        return told


def entries_of(records: Iterable[Record]) -> list[Entry]:
    """The runs, best first by validation."""
    records = list(records)
    labels = told_apart([record.folder for record in records])
    return sorted(map(_entry, records, labels), key=lambda entry: entry.validation)


def _entry(record: Record, label: str) -> Entry:
    facts = record.facts
    losses = {name: found for name in LOSSES if (found := _number(record.losses, name)) is not None}
    points = record.metrics.points
    if "validation" not in losses and points and math.isfinite(points[-1].validation):
        losses["validation"] = points[-1].validation
    steps = _number(facts, "steps_done")
    parameters = _number(facts, "parameters")
    state, reason = _state(record)
    return Entry(
        record=record,
        label=label,
        state=state,
        reason=reason,
        losses=losses,
        settings=settings_of(record),
        parameters=None if parameters is None else int(parameters),
        steps=int(steps) if steps is not None else len(record.metrics.train) or None,
        seconds=_number(facts, "training_seconds"),
    )


def _state(record: Record) -> tuple[str, str]:
    """The state of a run, and the reason for it if there is one."""
    finished = bool(record.losses) and not record.facts.get("interrupted")
    trial = {} if finished else _trial(record.folder)
    if trial.get("state"):
        return trial["state"], trial.get("reason") or ""
    return "finished" if finished else "interrupted" if record.losses else "unfinished", ""


def _trial(folder: Path) -> Mapping[str, str]:
    """What the table of a sweep says of the trial in a folder, by column."""
    path = folder.parent / "trials.csv"
    name, _, number = folder.name.rpartition("-")
    if name != "trial" or not number.isdecimal() or not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(file)
        return next((row for row in rows if row.get("number") == str(int(number))), {})


def _number(facts: Any, name: str) -> float | None:
    value = facts.get(name) if isinstance(facts, Mapping) else None
    return value if isinstance(value, int | float) and math.isfinite(value) else None
