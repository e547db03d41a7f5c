"""The fields that a sweep searches, and the networks they make."""

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, Final, cast, get_type_hints

import optuna

from typedwave.lab.sweeps.space import Choices, Dimension, Range, check_grid, grid_of, suggested
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import AnyRecipe
from typedwave.models import CONFIGS, Config

__all__ = ["Searched"]

Base = tuple[Config, AnyRecipe]

_TRIED: Final = 200  # combinations, before a value is said to go with none

_NETWORK: Final = "network"


@dataclasses.dataclass(frozen=True)
class Searched:
    """A config and a recipe, some fields of which are searched.

    Where ``network`` is among them, a kind of another family than the config's is as in its preset,
    and a field that a kind has not is left out.

    Args:
        config: But for what is searched.
        recipe: But for what is searched.
        dimensions: By the name of a field of either.

    Raises:
        ValueError: There is no such field, or no network takes a value.
    """

    config: Config
    recipe: AnyRecipe
    dimensions: Mapping[str, Dimension]

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise ValueError("space is empty; there is nothing to search")
        self._check_kinds()
        for name, dimension in self.dimensions.items():
            self._check_field(name, dimension)
        for name, dimension in self.dimensions.items():
            for value in dimension.edges:
                self._check_value(name, value)

    def _check_kinds(self) -> None:
        kinds = self.dimensions.get(_NETWORK)
        there = [kind for kind in CONFIGS if kind != "pool"]  # whose members have no fields
        if kinds is not None and (isinstance(kinds, Range) or not set(kinds.values) <= set(there)):
            raise ValueError(f"space.network has to have choices among {', '.join(there)}")

    def _check_field(self, name: str, dimension: Dimension) -> None:
        kind = self._type_of(name)
        if kind is None:
            there = dict.fromkeys(field for base in self.bases() for field in _fields(base))
            raise ValueError(f"there is no field for space.{name}; there are {', '.join(there)}")
        if not isinstance(dimension, Range | Choices):
            raise ValueError(f"space.{name} is {dimension!r}, but has to be a Range or Choices")
        if isinstance(dimension, Range):
            if kind not in (int, float):
                raise ValueError(f"space.{name} is of no numbers; it has to have choices")
            if kind is int and not dimension.whole:
                raise ValueError(f"space.{name} is of whole numbers; low, high and step have to be")

    def _check_value(self, name: str, value: Any) -> None:
        """Refuses what goes with no values of the other fields."""
        first: ValueError | None = None
        for values in self._combinations(name, value):
            try:
                self.configured(values)
            except ValueError as error:
                first = first or error
            else:
                return
        raise ValueError(f"space.{name}: {first}")

    def _combinations(self, name: str, value: Any) -> Iterator[dict[str, Any]]:
        """Values with this one among them; those that change nothing else come first."""
        for kind in [value] if name == _NETWORK else self._kinds():
            if name in _fields(self._base(kind)):
                yield {name: value} if kind is None else {_NETWORK: kind, name: value}
        generator = random.Random(0)
        for _ in range(_TRIED):
            values = self.drawn(
                lambda other: value if other == name else _any(self.dimensions[other], generator)
            )
            if name in values:
                yield values

    def _kinds(self) -> tuple[str | None, ...]:
        kinds = self.dimensions.get(_NETWORK)
        return kinds.values if isinstance(kinds, Choices) else (None,)

    def _base(self, kind: str | None) -> Base:
        """What is not searched, for a kind of network."""
        if kind is None or kind == self.config.network:
            return self.config, self.recipe
        if CONFIGS[kind] is type(self.config):
            changed: Any = {_NETWORK: kind}
            return dataclasses.replace(self.config, **changed), self.recipe
        config, recipe = PRESETS[kind]
        return config, self.recipe if type(recipe) is type(self.recipe) else recipe

    def bases(self) -> Iterator[Base]:
        """What is not searched, for each kind of network."""
        return map(self._base, self._kinds())

    def _type_of(self, name: str) -> Any:
        return next((f[name] for f in map(_fields, self.bases()) if name in f), None)

    def whole(self, name: str) -> bool:
        """Whether a field is of whole numbers."""
        return self._type_of(name) is int

    def drawn(self, draw: Callable[[str], Any]) -> dict[str, Any]:
        """The values of a trial.

        Args:
            draw: Gives that of a field, and is asked for those that the kind of network has.
        """
        values = {_NETWORK: draw(_NETWORK)} if _NETWORK in self.dimensions else {}
        there = _fields(self._base(values.get(_NETWORK)))
        rest = [name for name in self.dimensions if name in there and name != _NETWORK]
        return {**values, **{name: draw(name) for name in rest}}

    def configured(self, values: Mapping[str, Any]) -> Base:
        """The config and the recipe with the values of a trial.

        Raises:
            ValueError: They do not go together.
        """
        parts: list[Any] = []
        for part in self._base(values.get(_NETWORK)):
            there = _fields_of(type(part))
            changed: Any = {name: value for name, value in values.items() if name in there}
            parts.append(dataclasses.replace(part, **changed))
        return cast(Config, parts[0]), cast(AnyRecipe, parts[1])

    def suggested(self, trial: optuna.Trial) -> dict[str, Any]:
        """The values that Optuna gives a trial."""
        return self.drawn(
            lambda name: suggested(self.dimensions[name], trial, name, whole=self.whole(name))
        )

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of a trial as their fields have them, of what a storage has, in our order."""
        found = {}
        for name, dimension in self.dimensions.items():
            if name in values and isinstance(dimension, Choices):
                found[name] = dimension.values[dimension.labels.index(values[name])]
            elif name in values:
                found[name] = values[name]
        return found

    def grid(self) -> list[dict[str, Any]]:
        """The values of all trials that differ, as a storage takes them.

        Raises:
            ValueError: There is no end of them.
        """
        axes = {}
        for name, dimension in self.dimensions.items():
            try:
                axes[name] = grid_of(dimension, whole=self.whole(name))
            except ValueError as error:
                raise ValueError(f"space.{name}: {error}") from None
        found: list[dict[str, Any]] = []
        for kind in self._kinds():
            there = _fields(self._base(kind))
            names = [name for name in axes if name in there and name != _NETWORK]
            check_grid(len(found) + math.prod(len(axes[name]) for name in names))
            first = {} if kind is None else {_NETWORK: kind}
            for values in product(*(axes[name] for name in names)):
                found.append({**first, **dict(zip(names, values, strict=True))})
        return found


def _fields_of(cls: type[Any]) -> Mapping[str, Any]:
    """The types of the fields that a number, a string or the like decides."""
    hints = get_type_hints(cls)
    several = ("members", "weights", "recipes")  # of a pool
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.name not in several}


def _fields(base: Base) -> Mapping[str, Any]:
    config, recipe = base
    return {**_fields_of(type(config)), **_fields_of(type(recipe))}


def _any(dimension: Dimension, generator: random.Random) -> Any:
    """Some value of a dimension; which is no matter."""
    if isinstance(dimension, Choices):
        return generator.choice(dimension.values)
    step = dimension.step or (1 if dimension.whole else None)
    if step is None:
        return generator.uniform(dimension.low, dimension.high)
    return dimension.low + step * generator.randint(0, int((dimension.high - dimension.low) / step))
