"""The metrics of a run as events for TensorBoard, also while it goes on."""

import math
import os
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from typedwave.lab.runs.metrics import METRICS, read_lines

__all__ = ["Events", "NoTensorBoardError", "summary_writer", "write_events"]

_SUFFIX: Final = ".typedwave"
"""Of our files, so that no others are taken away."""

_PIECES: Final = 20
"""Of train between two points: 1,000 for 50 points, as many as TensorBoard shows."""


class NoTensorBoardError(RuntimeError):
    """TensorBoard is not installed."""


def summary_writer() -> Any:
    """The class of torch that writes events.

    Raises:
        NoTensorBoardError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # takes a second
    except ImportError:
        raise NoTensorBoardError(
            "TensorBoard is not installed: pip install 'typedwave[tensorboard]'"
        ) from None
    return SummaryWriter


class Events:
    """The events of a run, in its folder, for ``tensorboard --logdir`` of that or one above.

    They are made of ``metrics.jsonl`` and of nothing else. So a run that was killed and goes on has
    each of its steps once, whatever was written last before: its events are written anew, into a
    file that tells a TensorBoard which is looking on to forget those it has.

    At each point of the run there are ``loss/validation``, ``learning_rate`` and
    ``update_ratio_log10/NAME`` for each parameter, and ``loss/train`` is the mean of a twentieth of
    the steps since the point before. Nothing is written before the first point.

    Args:
        folder: Of the run. Its metrics, if there are any, are read at the first `update`; whoever
            goes on with a run has cut them to what was kept by then.

    Raises:
        NoTensorBoardError: TensorBoard is not installed.

    Example:
        ``with contextlib.closing(Events(folder)) as events`` around a training that calls
        ``events.update()`` whenever it has written to its metrics.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._new = summary_writer()
        self._folder = Path(folder)
        self._writer: Any = None
        self._read = 0  # bytes of the metrics
        self._step = 0
        self._losses: list[float] = []  # since the last point

    def update(self) -> None:
        """Writes what has come to the metrics since the last time.

        Raises:
            MetricsError: A line of them is damaged.
            OSError: They cannot be read, or the events cannot be written.
        """
        path = self._folder / METRICS
        lines = read_lines(path, after=self._step, size=self._read) if path.exists() else ()
        for line, self._read in lines:
            self._step += 1
            self._losses.append(line["train"])
            if "validation" in line:
                self._point(line)
                self._losses = []
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Ends the file; there is nothing to call afterwards."""
        if self._writer is not None:
            self._writer.close()

    def _point(self, line: dict[str, Any]) -> None:
        if self._writer is None:
            self._empty_files()
            self._writer = self._new(str(self._folder), purge_step=0, filename_suffix=_SUFFIX)
        step = line["step"]
        before = step - len(self._losses)
        for piece in np.array_split(np.arange(len(self._losses)), _PIECES):
            if len(piece):
                mean = math.fsum(self._losses[i] for i in piece) / len(piece)
                self._add("loss/train", mean, before + int(piece[-1]) + 1)
        self._add("loss/validation", line["validation"], step)
        self._add("learning_rate", line["rate"], step)
        for name, ratio in line.get("updates", {}).items():
            if ratio is not None and 0 < ratio < math.inf:
                self._add(f"update_ratio_log10/{name}", math.log10(ratio), step)

    def _empty_files(self) -> None:
        """Takes the events away that were written before.

        The last file stays, without anything in it: a TensorBoard that reads it without its data
        server would not go on to the next one if it were not there.
        """
        for path in self._folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
            if path.stat().st_size:
                os.truncate(path, 0)
            else:
                path.unlink()

    def _add(self, tag: str, value: float, step: int) -> None:
        self._writer.add_scalar(tag, value, step)


def write_events(folder: str | os.PathLike[str]) -> None:
    """Writes the events of a run that is there already.

    Raises:
        NoTensorBoardError: TensorBoard is not installed.
        MetricsError: Its metrics are damaged.
        OSError: A file cannot be read or written.
    """
    with closing(Events(folder)) as events:
        events.update()
