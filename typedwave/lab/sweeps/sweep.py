"""A sweep: what is searched, by whom, and for how long."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, get_args

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from typedwave.lab.runs.config_file import config_from, read_toml, section
from typedwave.lab.sweeps.methods import Pruner, Sampler, pruner_of, sampler_of
from typedwave.lab.sweeps.searched import Searched
from typedwave.lab.sweeps.space import Dimension, dimension_of, table_of
from typedwave.lab.training.recipe import AnyRecipe, fields_of
from typedwave.models import Config
from typedwave.models.checks import check_choice

__all__ = ["Metric", "Sweep", "read_sweep"]

Metric = Literal["validation", "unseen"]
"""The loss that is to be small: on all validation words, or on those that are not in train."""

_BASE: Final = ("preset", "network", "recipe")
_TABLES: Final = ("sweep", "space", "sampler", "pruner", *_BASE)
_SETTINGS: Final = (
    "name",
    "trials",
    "seconds",
    "seconds_per_trial",
    "max_parameters",
    "metric",
    "sampler",
    "pruner",
    "seed",
)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A search for the config and the recipe whose loss is least.

    Args:
        config: Of the network, but for what is searched.
        recipe: Of its training, but for what is searched.
        space: The values to search, by the name of a field of either. Where ``network`` is among
            them, a kind of another family than the config's is as in its preset, and a field that a
            kind has not is left out of its trials.
        name: In the storage, which may hold several.
        trials: How many; None for all of a grid, or if ``seconds`` ends it.
        seconds: How long trials are run, by however many workers at a time; pauses do not count.
        seconds_per_trial: How long a trial may train before it is pruned.
        max_parameters: How large a network may be; a trial of a larger one is pruned at once.
        metric: The loss that is to be small.
        sampler: Who chooses the values: tpe, random, grid, qmc, gp or cmaes.
        sampler_options: What Optuna's sampler takes.
        pruner: Who ends a trial that does not look good: none, median, percentile, halving,
            hyperband or threshold. A step of theirs is a point: a fiftieth of a training, or an
            epoch where those are fewer.
        pruner_options: What Optuna's pruner takes.
        seed: Of the sampler.

    Raises:
        ValueError: Something is out of range, or no network takes it.

    Example:
        >>> from typedwave.lab import PRESETS
        >>> from typedwave.lab.sweeps import Range
        >>> config, recipe = PRESETS["gru"]
        >>> space = {"n_hidden": Range(low=16, high=128, log=True)}
        >>> sweep = Sweep(config=config, recipe=recipe, space=space, trials=10)
        >>> sweep.searched.configured({"n_hidden": 40})[0].n_hidden
        40
    """

    config: Config
    recipe: AnyRecipe
    space: Mapping[str, Dimension]
    name: str = "sweep"
    trials: int | None = None
    seconds: float | None = None
    seconds_per_trial: float | None = None
    max_parameters: int | None = None
    metric: Metric = "validation"
    sampler: Sampler = "tpe"
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    pruner: Pruner = "median"
    pruner_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 42

    def __post_init__(self) -> None:
        given: Any = self.name
        if not isinstance(given, str) or not given:
            raise ValueError(f"name is {given!r}, but has to be a string that is not empty")
        for name, least in (("trials", 1), ("max_parameters", 1), ("seed", 0)):
            value = getattr(self, name)
            if (value is not None or name == "seed") and (type(value) is not int or value < least):
                raise ValueError(
                    f"{name} is {value!r}, but has to be a whole number of at least {least}"
                )
        for name in ("seconds", "seconds_per_trial"):
            value = getattr(self, name)
            if value is not None and not (type(value) in (int, float) and 0 < value < math.inf):
                raise ValueError(f"{name} is {value!r}, but has to be a number of more than 0")
        check_choice("metric", self.metric, *get_args(Metric))
        check_choice("sampler", self.sampler, *get_args(Sampler))
        check_choice("pruner", self.pruner, *get_args(Pruner))
        self.searched  # noqa: B018  # refuses what no network takes
        if self.trials is None and self.seconds is None and self.sampler != "grid":
            raise ValueError("trials and seconds are both missing, and nothing else ends a sweep")
        self.sampler_for(1)
        self.pruner_made()

    @cached_property
    def searched(self) -> Searched:
        """What makes networks of the values."""
        return Searched(self.config, self.recipe, self.space)

    @cached_property
    def _grid(self) -> list[dict[str, Any]]:
        return self.searched.grid() if self.sampler == "grid" else []

    def total(self, trials: int | None) -> float:
        """How many trials there are to be: so many, but no more than a grid has."""
        return min(math.inf if trials is None else trials, len(self._grid) or math.inf)

    def sampler_for(self, number: int) -> BaseSampler:
        """Who chooses the values of a trial; the first has the number 1."""
        return sampler_of(
            self.sampler, self.sampler_options, seed=self.seed, number=number, grid=self._grid
        )

    def pruner_made(self) -> BasePruner:
        """Who ends trials."""
        return pruner_of(self.pruner, self.pruner_options)

    def as_json(self) -> dict[str, Any]:
        """What does not change as long as the sweep goes on: all but its name and its budgets."""
        told = {
            "network": dataclasses.asdict(self.config),
            "recipe": fields_of(self.recipe),
            "space": {name: table_of(dimension) for name, dimension in self.space.items()},
            "seconds_per_trial": self.seconds_per_trial,
            "max_parameters": self.max_parameters,
            "metric": self.metric,
            "sampler": {"name": self.sampler, **self.sampler_options},
            "pruner": {"name": self.pruner, **self.pruner_options},
            "seed": self.seed,
        }
        plain: dict[str, Any] = json.loads(json.dumps(told))
        return plain


def read_sweep(path: str | os.PathLike[str]) -> Sweep:
    """Reads a sweep from a TOML file.

    It has a table ``sweep`` with the settings, tables ``space.FIELD`` with ``low``, ``high``,
    ``log`` and ``step`` or with ``choices``, the options of sampler and pruner in tables of those
    names, and what is not searched as `read_config` reads it.

    Raises:
        ValueError: It is no such file, or something in it is wrong; the path is told.
        OSError: It cannot be read.
    """
    return read_toml(path, lambda data: _of(data, Path(path).stem))


def _of(data: Mapping[str, Any], name: str) -> Sweep:
    unknown = [table for table in data if table not in _TABLES]
    if unknown:
        raise ValueError(f"there is no {unknown[0]!r}; a sweep has {', '.join(_TABLES)}")
    settings, space, sampler, pruner = (section(data, table) for table in _TABLES[:4])
    unknown = [setting for setting in settings if setting not in _SETTINGS]
    if unknown:
        raise ValueError(f"sweep has no {unknown[0]!r}; it has {', '.join(_SETTINGS)}")
    config, recipe = config_from({part: data[part] for part in _BASE if part in data})
    return Sweep(
        config=config,
        recipe=recipe,
        space={field: _dimension(field, table) for field, table in space.items()},
        sampler_options=sampler,
        pruner_options=pruner,
        **{"name": name, **settings},
    )


def _dimension(name: str, table: Any) -> Dimension:
    try:
        return dimension_of(table)
    except ValueError as error:
        raise ValueError(f"space.{name}: {error}") from None
