"""How to train."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["AnyRecipe", "CountingRecipe", "PoolRecipe", "Recipe", "WordsRecipe"]

_WHOLE: Final = frozenset({"batch_size", "epochs", "sampled", "seed", "steps"})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training.

    Args:
        steps: Updates of the parameters.
        batch_size: Examples of a step, drawn with replacement.
        learning_rate: Of SGD.
        decay: What the learning rate is multiplied by for the last part of the steps.
        decay_from: The share of the steps after which it is.
        momentum: Of SGD.
        seed: Of the first weights and of the examples drawn.

    Raises:
        ValueError: A number is out of range.
    """

    steps: int = 200_000
    batch_size: int = 32
    learning_rate: float = 0.1
    decay: float = 0.1
    decay_from: float = 0.75
    momentum: float = 0.0
    seed: int = 42

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "steps": (1, None),
                "batch_size": (1, None),
                "learning_rate": (0, None),
                "decay": (0, None),
                "decay_from": (0, 1),
                "momentum": (0, 1),
                "seed": (0, None),
            },
        )

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first is step 0."""
        decayed = step >= self.decay_from * self.steps
        return self.learning_rate * (self.decay if decayed else 1.0)


@dataclass(frozen=True, kw_only=True)
class WordsRecipe:
    """The training on whole words, by Muon and Adam.

    Args:
        epochs: How often each word is seen.
        batch_size: Words of a step.
        muon_rate: Learning rate of the hidden matrices, by Muon.
        adam_rate: Learning rate of all else, by Adam.
        weight_decay: Of the hidden matrices.
        warm_up: The share of the steps in which the learning rates rise from 0; afterwards they
            fall to 0, in a straight line.
        clip: How long all gradients together may be.
        seed: Of the first weights, of the order of the words, and of dropout.
        teacher: The preset of a network that is trained first, and taught by; none if empty.
        sampled: Words drawn from the teacher to train on, beside those of the corpus; 0 where there
            is no teacher.

    Raises:
        ValueError: A number is out of range.
    """

    epochs: int = 5
    batch_size: int = 128
    muon_rate: float = 0.02
    adam_rate: float = 0.008
    weight_decay: float = 0.1
    warm_up: float = 0.02
    clip: float = 1.0
    seed: int = 42
    teacher: str = ""
    sampled: int = 0

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "epochs": (1, None),
                "batch_size": (1, None),
                "muon_rate": (0, None),
                "adam_rate": (0, None),
                "weight_decay": (0, None),
                "warm_up": (0, 1),
                "clip": (0, None),
                "seed": (0, None),
                "sampled": (0, None),
            },
        )
        if self.clip == 0:
            raise ValueError("clip is 0, but nothing would be learnt; it has to be more than 0")
        if type(self.teacher) is not str:
            raise ValueError(f"teacher is {self.teacher!r}, but has to be the name of a preset")
        if self.sampled and not self.teacher:
            raise ValueError(f"sampled is {self.sampled}, but there is no teacher to draw from")

    def steps(self, words: int) -> int:
        """How many steps there are for so many words."""
        return self.epochs * math.ceil(words / self.batch_size)

    def factor(self, step: int, steps: int) -> float:
        """What the learning rates are multiplied by in a step of so many; the first is step 0."""
        rising = (step + 1) / (self.warm_up * steps + 1)
        return min(1.0, rising) * (1 - step / steps)


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


AnyRecipe = Recipe | WordsRecipe | CountingRecipe | PoolRecipe
"""How a network is trained."""


def _check(recipe: Any, limits: Mapping[str, tuple[float, float | None]]) -> None:
    for name, (low, high) in limits.items():
        value = getattr(recipe, name)
        if name in _WHOLE and type(value) is not int:
            raise ValueError(f"{name} is {value!r}, but has to be a whole number")
        if type(value) not in (int, float):
            raise ValueError(f"{name} is {value!r}, but has to be a number")
        if not (value >= low and (high is None or value <= high)):
            within = f"at least {low}" if high is None else f"{low} to {high}"
            raise ValueError(f"{name} is {value}, but has to be {within}")
        if value == math.inf:
            raise ValueError(f"{name} is {value}, but has to be finite")
    if recipe.seed >= 2**64:
        raise ValueError(f"seed is {recipe.seed}, but has to be less than 2**64")
