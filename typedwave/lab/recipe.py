"""How to train, and the presets: a network and how it is trained, by name."""

import math
from dataclasses import dataclass
from typing import Final

from typedwave.models import NetworkConfig

__all__ = ["PRESETS", "Recipe"]


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
        for name, low, high in (
            ("steps", 1, None),
            ("batch_size", 1, None),
            ("learning_rate", 0, None),
            ("decay", 0, None),
            ("decay_from", 0, 1),
            ("momentum", 0, 1),
            ("seed", 0, None),
        ):
            value = getattr(self, name)
            if name in ("steps", "batch_size", "seed") and type(value) is not int:
                raise ValueError(f"{name} is {value!r}, but has to be a whole number")
            if not (value >= low and (high is None or value <= high)):
                limits = f"at least {low}" if high is None else f"{low} to {high}"
                raise ValueError(f"{name} is {value}, but has to be {limits}")
            if value == math.inf:
                raise ValueError(f"{name} is {value}, but has to be finite")
        if self.seed >= 2**64:
            raise ValueError(f"seed is {self.seed}, but has to be less than 2**64")

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first is step 0."""
        decayed = step >= self.decay_from * self.steps
        return self.learning_rate * (self.decay if decayed else 1.0)


PRESETS: Final[dict[str, tuple[NetworkConfig, Recipe]]] = {
    "demo": (NetworkConfig(), Recipe(steps=40_000)),
    "lecture": (NetworkConfig(unbiased=True), Recipe()),
    "lecture-small": (NetworkConfig(n_embd=10, n_hidden=68, unbiased=True), Recipe()),
    "lecture-flat": (
        NetworkConfig(network="flat", n_embd=10, n_hidden=200, unbiased=True),
        Recipe(),
    ),
    "lecture-flat-3": (
        NetworkConfig(network="flat", context=3, n_embd=10, n_hidden=200, unbiased=True),
        Recipe(),
    ),
}
"""Networks and recipes by name; the lecture's have its numbers and its arithmetic."""
