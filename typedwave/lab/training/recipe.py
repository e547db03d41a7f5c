"""How to train."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from typedwave.lab.training.schedule import Schedule, factor
from typedwave.models.checks import check_choice

__all__ = [
    "AnyRecipe",
    "CountingRecipe",
    "PoolRecipe",
    "Precision",
    "Recipe",
    "WordsRecipe",
    "fields_of",
    "recipe_of",
]

Precision: TypeAlias = Literal["float32", "bfloat16"]
"""What forward and backward are computed in; parameters and updates are in float32 either way."""

WordsSchedule: TypeAlias = Literal["constant", "linear", "cosine"]
"""The schedules of a `WordsRecipe`."""

_WHOLE: Final = frozenset({"accumulate", "batch_size", "epochs", "sampled", "seed", "steps"})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training.

    Args:
        steps: Updates of the parameters.
        batch_size: Examples of a step, drawn with replacement.
        accumulate: Parts that a batch is computed in, one after another, for want of memory. Batch
            norm takes the statistics of each part by itself.
        learning_rate: Of SGD.
        schedule: How it changes: step, constant, linear or cosine, see `factor`.
        warm_up: The share of the steps in which it rises from 0.
        decay: What it is multiplied by for the last part of the steps, in the schedule ``step``.
        decay_from: The share of the steps after which it is.
        momentum: Of SGD.
        clip: How long all gradients together may be; 0 for no limit.
        precision: Of forward and backward: float32, or bfloat16 by torch.autocast.
        seed: Of the first weights and of the examples drawn.

    Raises:
        ValueError: A number is out of range.
    """

    steps: int = 200_000
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 0.1
    schedule: Schedule = "step"
    warm_up: float = 0.0
    decay: float = 0.1
    decay_from: float = 0.75
    momentum: float = 0.0
    clip: float = 0.0
    precision: Precision = "float32"
    seed: int = 42

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "steps": (1, None),
                "batch_size": (1, None),
                "accumulate": (1, None),
                "learning_rate": (0, None),
                "warm_up": (0, 1),
                "clip": (0, None),
                "decay": (0, None),
                "decay_from": (0, 1),
                "momentum": (0, 1),
                "seed": (0, None),
            },
        )
        _check_steps(self)

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first is step 0."""
        changed = factor(
            self.schedule,
            step,
            self.steps,
            warm_up=self.warm_up,
            decay=self.decay,
            decay_from=self.decay_from,
        )
        return self.learning_rate * changed


@dataclass(frozen=True, kw_only=True)
class WordsRecipe:
    """The training on whole words, by Muon and Adam.

    Args:
        epochs: How often each word is seen.
        batch_size: Words of a step.
        accumulate: Parts that a batch is computed in, one after another, for want of memory. Batch
            norm takes the statistics of each part by itself.
        muon_rate: Learning rate of the hidden matrices, by Muon.
        adam_rate: Learning rate of all else, by Adam.
        weight_decay: Of the hidden matrices.
        schedule: How the rates change: constant, linear or cosine, see `factor`.
        warm_up: The share of the steps in which they rise from 0.
        clip: How long all gradients together may be; 0 for no limit.
        precision: Of forward and backward: float32, or bfloat16 by torch.autocast.
        seed: Of the first weights, of the order of the words, and of dropout.
        teacher: The preset of a network that is trained first, and taught by; none if empty.
        sampled: Words drawn from the teacher to train on, beside those of the corpus; 0 where there
            is no teacher.

    Raises:
        ValueError: A number is out of range.
    """

    epochs: int = 5
    batch_size: int = 128
    accumulate: int = 1
    muon_rate: float = 0.02
    adam_rate: float = 0.008
    weight_decay: float = 0.1
    schedule: WordsSchedule = "linear"
    warm_up: float = 0.02
    clip: float = 1.0
    precision: Precision = "float32"
    seed: int = 42
    teacher: str = ""
    sampled: int = 0

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "epochs": (1, None),
                "batch_size": (1, None),
                "accumulate": (1, None),
                "muon_rate": (0, None),
                "adam_rate": (0, None),
                "weight_decay": (0, None),
                "warm_up": (0, 1),
                "clip": (0, None),
                "seed": (0, None),
                "sampled": (0, None),
            },
        )
        _check_steps(self)
        if type(self.teacher) is not str:
            raise ValueError(f"teacher is {self.teacher!r}, but has to be the name of a preset")
        if self.sampled and not self.teacher:
            raise ValueError(f"sampled is {self.sampled}, but there is no teacher to draw from")

    def steps(self, words: int) -> int:
        """How many steps there are for so many words."""
        return self.epochs * math.ceil(words / self.batch_size)

    def factor(self, step: int, steps: int) -> float:
        """What the learning rates are multiplied by in a step of so many; the first is step 0."""
        return factor(self.schedule, step, steps, warm_up=self.warm_up)


@dataclass(frozen=True, kw_only=True)
class CountingRecipe:
    """Counting, which has nothing to decide.

    Args:
        seed: Of the words drawn at the end.
    """

    seed: int = 42

    def __post_init__(self) -> None:
        _check(self, {"seed": (0, None)})


@dataclass(frozen=True, kw_only=True)
class PoolRecipe:
    """The training of several networks, one after another.

    Args:
        recipes: One for each.
        seed: Of the words drawn at the end; the recipes have their own.
    """

    recipes: tuple["Recipe | WordsRecipe | CountingRecipe", ...]
    seed: int = 42

    def __post_init__(self) -> None:
        _check(self, {"seed": (0, None)})
        # JSON and TOML give lists and dicts.
        given: Any = self.recipes
        if not isinstance(given, list | tuple):
            raise ValueError(f"recipes is {given!r}, but has to be a list of recipes")
        recipes = tuple(r if isinstance(r, AnyRecipe) else recipe_of(r) for r in given)
        object.__setattr__(self, "recipes", recipes)


AnyRecipe = Recipe | WordsRecipe | CountingRecipe | PoolRecipe
"""How a network is trained."""

_KINDS: Final[Mapping[str, type[AnyRecipe]]] = {
    "examples": Recipe,
    "words": WordsRecipe,
    "counting": CountingRecipe,
    "pool": PoolRecipe,
}


def recipe_of(fields: Mapping[str, Any]) -> AnyRecipe:
    """The recipe with these fields, the kind of which is told by the one named ``kind``.

    Raises:
        ValueError: There is no such kind, or a number is out of range.
        TypeError: There is no such field.

    Example:
        >>> recipe_of({"kind": "words", "epochs": 3}).epochs
        3
    """
    given: Any = fields
    if not isinstance(given, Mapping):
        raise ValueError(f"{fields!r} is no recipe: it has no field named kind")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}, but there are {', '.join(_KINDS)}")
    return _KINDS[kind](**{name: value for name, value in fields.items() if name != "kind"})


def fields_of(recipe: AnyRecipe) -> dict[str, Any]:
    """What `recipe_of` makes the recipe of: its fields and its kind, as JSON has them."""
    kind = next(kind for kind, cls in _KINDS.items() if cls is type(recipe))
    fields = dataclasses.asdict(recipe)
    if isinstance(recipe, PoolRecipe):
        fields["recipes"] = [fields_of(member) for member in recipe.recipes]
    return {"kind": kind, **fields}


def _check_steps(recipe: Recipe | WordsRecipe) -> None:
    """Refuses what no training step can do."""
    schedules = get_args(Schedule if isinstance(recipe, Recipe) else WordsSchedule)
    check_choice("schedule", recipe.schedule, *schedules)
    check_choice("precision", recipe.precision, *get_args(Precision))
    if recipe.accumulate > recipe.batch_size:
        raise ValueError(
            f"accumulate is {recipe.accumulate}, but a batch of {recipe.batch_size} has not so "
            "many parts"
        )


def _check(recipe: Any, limits: Mapping[str, tuple[float, float | None]]) -> None:
    for name, (low, high) in limits.items():
        value = getattr(recipe, name)
        if name in _WHOLE and type(value) is not int:
            raise ValueError(f"{name} is {value!r}, but has to be a whole number")
        _check_number(name, value, low, high)
    if recipe.seed >= 2**64:
        raise ValueError(f"seed is {recipe.seed}, but has to be less than 2**64")


def _check_number(name: str, value: Any, low: float, high: float | None) -> None:
    if type(value) not in (int, float):
        raise ValueError(f"{name} is {value!r}, but has to be a number")
    if not (value >= low and (high is None or value <= high)):
        within = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name} is {value}, but has to be {within}")
    if value == math.inf:
        raise ValueError(f"{name} is {value}, but has to be finite")
