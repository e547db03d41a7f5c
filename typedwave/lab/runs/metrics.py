"""The metrics of a run: a line for each step in a file that only grows."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "METRICS",
    "Metrics",
    "MetricsError",
    "Point",
    "cut_metrics",
    "lines_of",
    "read_lines",
    "read_metrics",
]

METRICS: Final = "metrics.jsonl"
"""The file in the folder of a run."""


class MetricsError(ValueError):
    """A file of metrics is damaged before its last line."""


@dataclass(frozen=True)
class Point:
    """The losses after some steps.

    Attributes:
        step: How many steps are done.
        train: The mean loss of the batches since the point before; against what a teacher says,
            where there is one.
        validation: The loss on all validation examples.
        updates: By parameter, how long the last update was in proportion to it: the standard
            deviation of the one by that of the other.
    """

    step: int
    train: float
    validation: float
    updates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Metrics:
    """What was measured in each step, and at the points of a run.

    Attributes:
        train: The loss of the batch of each step; that of step ``i + 1`` at ``i``.
        rate: The learning rate of each step.
        points: Where the validation loss was computed.
    """

    train: NDArray[np.float64]
    rate: NDArray[np.float64]
    points: tuple[Point, ...]

    @property
    def steps(self) -> NDArray[np.int64]:
        """The numbers of the steps, from 1."""
        return np.arange(1, len(self.train) + 1)


def lines_of(
    losses: Sequence[float], rates: Sequence[float], after: int, point: Point | None
) -> str:
    """The lines of some steps.

    Args:
        losses: Of each of them.
        rates: Of each of them.
        after: How many steps were done before.
        point: After the last of them, if there is one.
    """
    lines = [
        f'{{"step": {step}, "train": {loss!r}, "rate": {rate!r}}}\n'
        for step, (loss, rate) in enumerate(zip(losses, rates, strict=True), start=after + 1)
    ]
    if point is not None:
        more = {"validation": point.validation, "updates": point.updates}
        lines[-1] = f"{lines[-1][:-2]}, {json.dumps(more)[1:]}\n"
    return "".join(lines)


def read_metrics(path: str | os.PathLike[str], *, steps: int | None = None) -> Metrics:
    """Reads what is there, also while a run goes on; a last line that is not whole is left out.

    Args:
        path: Of the file.
        steps: How many are read at most; all if None.

    Raises:
        MetricsError: Another line is damaged, or one is missing.
        OSError: The file cannot be read.
    """
    train, rate, points = [], [], []
    before = 0
    for line, _ in islice(read_lines(Path(path)), steps):
        train.append(line["train"])
        rate.append(line["rate"])
        if "validation" in line:
            mean = math.fsum(train[before:]) / (len(train) - before)
            points.append(Point(len(train), mean, line["validation"], line.get("updates", {})))
            before = len(train)
    return Metrics(np.array(train, np.float64), np.array(rate, np.float64), tuple(points))


def cut_metrics(path: Path, *, steps: int) -> None:
    """Takes away what lies behind so many steps: what a run that was killed did not keep.

    Raises:
        MetricsError: Not so many steps are there.
        OSError: The file cannot be read or written.
    """
    count = size = 0
    with path.open("rb") as file:
        while count < steps and (line := file.readline()).endswith(b"\n"):
            count += 1
            size += len(line)
    if count < steps:
        raise MetricsError(f"{path} has {count:,} whole lines, but {steps:,} steps were done")
    os.truncate(path, size)


def read_lines(
    path: Path, *, after: int = 0, size: int = 0
) -> Iterator[tuple[dict[str, Any], int]]:
    """The lines that are whole, and how large the file is with each.

    Args:
        path: Of the file.
        after: How many lines were read before.
        size: And how large the file was with them.

    Raises:
        MetricsError: A line is damaged, or one is missing.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(size)
        for number, text in enumerate(file, start=after + 1):
            if not text.endswith(b"\n"):
                return  # being written, or cut off
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if not _is_of(line, number):
                raise MetricsError(f"{path}, line {number} is not the metrics of step {number}")
            size += len(text)
            yield line, size


def _is_of(line: Any, step: int) -> bool:
    """Whether it is the metrics of a step."""
    if not isinstance(line, dict) or line.get("step") != step:
        return False
    numbers = (line.get("train"), line.get("rate"), line.get("validation", 0.0))
    return all(isinstance(number, int | float) for number in numbers) and isinstance(
        line.get("updates", {}), dict
    )
