"""How a learning rate changes over the steps of a training."""

import math
from typing import Literal, TypeAlias, assert_never

__all__ = ["Schedule", "factor"]

Schedule: TypeAlias = Literal["step", "constant", "linear", "cosine"]
"""The names of the schedules.

``step``: one, and from a share of the steps on a smaller one. ``linear`` and ``cosine``: falling to
zero, in a straight line or along half a cosine.
"""


def factor(
    schedule: Schedule,
    step: int,
    steps: int,
    *,
    warm_up: float = 0.0,
    decay: float = 0.1,
    decay_from: float = 0.75,
) -> float:
    """What the learning rate is multiplied by in a step.

    Args:
        schedule: Its name.
        step: The first is step 0.
        steps: How many there are.
        warm_up: The share of the steps in which the rate rises from 0, whatever the schedule.
        decay: The smaller factor of ``step``.
        decay_from: The share of the steps after which it is.

    Source:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), for
        the cosine, here without restarts.

    Example:
        >>> [factor("linear", step, 4) for step in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """
    share = step / steps
    risen = min(1.0, (step + 1) / (warm_up * steps + 1))
    match schedule:
        case "step":
            return risen * (decay if step >= decay_from * steps else 1.0)
        case "constant":
            return risen
        case "linear":
            return risen * (1 - share)
        case "cosine":
            return risen * (1 + math.cos(math.pi * share)) / 2
        case _:
            assert_never(schedule)
