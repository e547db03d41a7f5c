"""A run that trains nothing, for tests of what a sweep does with the losses."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from typedwave.lab import Point, Range, Sweep, WordsRecipe
from typedwave.models import RecurrentConfig

GRU, RECIPE = RecurrentConfig(n_embd=3, n_hidden=5), WordsRecipe(epochs=2, batch_size=4)

Losses = Callable[[Any, Any], Sequence[float]]
"""Of the points of a training, by config and recipe."""


def sweep(**settings: Any) -> Sweep:
    """By default of three trials that are drawn at random and never pruned."""
    return Sweep(
        **{
            "config": GRU,
            "recipe": RECIPE,
            "space": {"n_hidden": Range(low=2, high=64)},
            "trials": 3,
            "sampler": "random",
            "pruner": "none",
            **settings,
        }
    )


def pretended(losses: Losses) -> type:
    """What takes the place of `Run`."""

    @dataclasses.dataclass
    class Pretended:
        folder: Path
        words: Sequence[str]
        corpus: str
        teacher: Path | None
        resume: bool
        watch: Callable[[Any, Iterator[Point]], bool]

        def train(self, config: Any, recipe: Any, name: str) -> dict[str, Any]:
            assert self.resume
            assert self.folder.name == name
            experiment = SimpleNamespace(
                network=SimpleNamespace(config=config), recipe=recipe, curve=[], step=0, seconds=0.0
            )
            given = losses(config, recipe)
            experiment.steps = len(given)

            def points() -> Iterator[Point]:
                for step, loss in enumerate(given, start=1):
                    experiment.step, experiment.seconds = step, float(step)
                    experiment.curve.append(Point(step, loss, loss))
                    yield experiment.curve[-1]

            self.watch(experiment, points())
            last = experiment.curve[-1].validation
            return {"losses": {"validation": last, "unseen": last + 1}}

    return Pretended
