"""How far the steps of a run moved its parameters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from typedwave.lab.runs.record import Record
from typedwave.models import network_of

__all__ = ["Updates", "updates_of"]


@dataclass(frozen=True)
class Updates:
    """How far a step moved the parameters, at the points of a run.

    Attributes:
        steps: ``(N,)``: how many steps were done.
        ratios: By parameter of the network, in its order, ``(N,)``: the standard deviation of the
            last update by that of the parameter; NaN where there is no such number.
        matrices: The parameters that are matrices or more. Of biases and gains, all of which start
            at one number, the ratio says little.
    """

    steps: NDArray[np.int64]
    ratios: Mapping[str, NDArray[np.float64]]
    matrices: tuple[str, ...]


def updates_of(record: Record) -> Updates:
    """How far the steps of a run moved its parameters, from its metrics.

    Raises:
        ValueError: They do not tell.
    """
    points = [point for point in record.metrics.points if point.updates]
    if not points:
        raise ValueError(
            f"the metrics of {record.folder} do not tell how far a step moved the parameters"
        )
    # What is a matrix does not depend on the vocabulary, which the record does not have.
    network = network_of(record.config, vocab_size=2, device="meta")
    dimensions = {name: parameter.dim() for name, parameter in network.named_parameters()}
    found = {name for point in points for name in point.updates}
    names = [name for name in dimensions if name in found]
    return Updates(
        np.array([point.step for point in points], np.int64),
        {name: np.array([_number(p.updates.get(name)) for p in points]) for name in names},
        tuple(name for name in names if dimensions[name] > 1),
    )


def _number(ratio: float | None) -> float:
    """NaN for what is no number: an update of a parameter all of whose numbers were one."""
    return ratio if ratio is not None and math.isfinite(ratio) else math.nan
