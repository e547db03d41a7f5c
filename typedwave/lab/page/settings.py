"""The hyper-parameters of runs: which differ, and which are equal."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from typedwave.lab.runs.record import Record
from typedwave.lab.training.recipe import fields_of

__all__ = ["Setting", "Settings", "differing", "equal", "settings_of", "spelled"]

Setting: TypeAlias = bool | int | float | str
"""The value of a hyper-parameter; one that is no number is spelled."""

Settings: TypeAlias = Mapping[str, Setting]


def settings_of(record: Record) -> dict[str, Setting]:
    """What decided a run, by name: of its network, then of its training."""
    fields = {**dataclasses.asdict(record.config), **fields_of(record.recipe)}
    return {name: _flat(value) for name, value in fields.items()}


def differing(settings: Sequence[Settings]) -> list[str]:
    """The names that have several values among those runs that have them at all."""
    return [name for name, values in _values(settings).items() if len(values) > 1]


def equal(settings: Sequence[Settings]) -> dict[str, Setting]:
    """What has one value in all runs that have it at all."""
    return {
        name: next(iter(values.values()))
        for name, values in _values(settings).items()
        if len(values) == 1
    }


def spelled(value: Setting) -> str:
    """A value as a config file has it, strings without quotes.

    Example:
        >>> spelled(True), spelled(0.008), spelled(200_000), spelled(1e-05)
        ('true', '0.008', '200,000', '1e-05')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def _values(settings: Sequence[Settings]) -> dict[str, dict[str, Setting]]:
    """By name, the different values; 1 and 1.0 are the same, but true is another."""
    found: dict[str, dict[str, Setting]] = {}
    for each in settings:
        for name, value in each.items():
            found.setdefault(name, {}).setdefault(spelled(value), value)
    return found


def _flat(value: Any) -> Setting:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value):
        return " ".join(map(spelled, value))
    return json.dumps(value)
