"""What a sweep searches: ranges and choices for fields of a config and a recipe."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeAlias

import optuna

__all__ = [
    "Choices",
    "Dimension",
    "Range",
    "check_grid",
    "dimension_of",
    "grid_of",
    "suggested",
    "table_of",
]

MOST_POINTS: Final = 100_000
"""Of a grid."""

_KEYS = ("low", "high", "log", "step", "choices")


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from low to high, both included.

    Args:
        low: The least.
        high: The greatest.
        log: Whether their logarithms are drawn evenly, rather than they.
        step: The distance between two; None for every number there is.

    Raises:
        ValueError: There is no such range.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high") if self.step is None else ("low", "high", "step"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}, but has to be a finite number")
        if type(self.log) is not bool:
            raise ValueError(f"log is {self.log!r}, but has to be true or false")
        if self.low > self.high:
            raise ValueError(f"low is {self.low}, but has to be at most high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}, but has to be more than 0 where log is true")
        if self.step is not None:
            self._check_step(self.step)

    def _check_step(self, step: float) -> None:
        if self.log:
            raise ValueError(f"step is {step}, but log is true, which has no steps")
        if step <= 0:
            raise ValueError(f"step is {step}, but has to be more than 0")
        low, high, each = _exact(self.low, self.high, step)
        if (high - low) % each != 0:
            raise ValueError(
                f"high is {self.high}, but steps of {step} from {self.low} do not lead there"
            )

    @property
    def whole(self) -> bool:
        """Whether it may be of whole numbers."""
        return all(type(number) is int for number in (self.low, self.high, self.step or 1))

    @property
    def edges(self) -> tuple[Any, ...]:
        """The values that are tried for whether a network takes them."""
        return (self.low, self.high)


@dataclass(frozen=True)
class Choices:
    """One of several values.

    Args:
        values: Numbers, strings, booleans, or lists of numbers.

    Raises:
        ValueError: There is none, one is there twice, or is of another type.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        given: Any = self.values
        if not isinstance(given, list | tuple):
            raise ValueError(f"choices is {given!r}, but has to be a list")
        if not given:
            raise ValueError("choices is empty")
        values = tuple(tuple(each) if isinstance(each, list) else each for each in given)
        object.__setattr__(self, "values", values)
        for place, value in enumerate(values):
            parts = value if isinstance(value, tuple) else (value,)
            if any(type(part) not in (bool, int, float, str) for part in parts):
                raise ValueError(
                    f"choices has {value!r}, but a choice is a number, a string, true, false, or a "
                    "list of such"
                )
            if value in values[:place]:
                raise ValueError(f"choices has {value!r} twice")

    @property
    def edges(self) -> tuple[Any, ...]:
        """The values that are tried for whether a network takes them."""
        return self.values

    @property
    def labels(self) -> tuple[bool | int | float | str, ...]:
        """The values as a storage takes them, which has no lists."""
        return tuple(json.dumps(v) if isinstance(v, tuple) else v for v in self.values)


Dimension: TypeAlias = Range | Choices
"""The values that one field may have."""


def dimension_of(table: Any) -> Dimension:
    """What a table of TOML declares.

    Raises:
        ValueError: It is none.

    Example:
        >>> dimension_of({"low": 8, "high": 64, "log": True})
        Range(low=8, high=64, log=True, step=None)
        >>> dimension_of({"choices": ["gru", "lstm"]})
        Choices(values=('gru', 'lstm'))
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"it is {table!r}, but has to be a table of low and high, or of choices")
    unknown = [key for key in table if key not in _KEYS]
    if unknown:
        raise ValueError(f"there is no {unknown[0]!r}; there are {', '.join(_KEYS)}")
    if "choices" in table:
        if len(table) > 1:
            raise ValueError("choices stands alone, without low, high, log or step")
        return Choices(table["choices"])
    missing = [key for key in ("low", "high") if key not in table]
    if missing:
        raise ValueError(f"{missing[0]} is missing; it has to have low and high, or choices")
    return Range(**table)


def table_of(dimension: Dimension) -> dict[str, Any]:
    """The table that `dimension_of` makes the dimension of, as JSON has it."""
    if isinstance(dimension, Choices):
        return {"choices": [list(v) if isinstance(v, tuple) else v for v in dimension.values]}
    table = {"low": dimension.low, "high": dimension.high, "log": dimension.log}
    return table if dimension.step is None else {**table, "step": dimension.step}


def suggested(dimension: Dimension, trial: optuna.Trial, name: str, *, whole: bool) -> Any:
    """The value that Optuna gives a trial.

    Args:
        dimension: Of a field.
        trial: Whose value it is.
        name: Of the field.
        whole: Whether the field is of whole numbers.
    """
    if isinstance(dimension, Choices):
        label = trial.suggest_categorical(name, dimension.labels)
        return dimension.values[dimension.labels.index(label)]
    low, high, log, step = dimension.low, dimension.high, dimension.log, dimension.step
    if whole:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


def grid_of(dimension: Dimension, *, whole: bool) -> tuple[Any, ...]:
    """All values, as a storage takes them.

    Raises:
        ValueError: There is no end of them.
    """
    if isinstance(dimension, Choices):
        return dimension.labels
    step = dimension.step or (1 if whole else None)
    if step is None:
        raise ValueError("a grid needs choices, whole numbers or a step")
    low, high, each = _exact(dimension.low, dimension.high, step)
    check_grid(int((high - low) / each) + 1)
    kind = int if whole else float
    return tuple(kind(low + each * count) for count in range(int((high - low) / each) + 1))


def check_grid(points: int) -> None:
    """Refuses a grid that nobody would wait for, and that would not fit into memory.

    Raises:
        ValueError: It has too many points.
    """
    if points > MOST_POINTS:
        raise ValueError(f"a grid of {points:,} points is too large; {MOST_POINTS:,} are the most")


def _exact(*numbers: float) -> list[Fraction]:
    """As they are written: 0.3 is three steps of 0.1, whatever binary makes of them."""
    return [Fraction(repr(number)) for number in numbers]
