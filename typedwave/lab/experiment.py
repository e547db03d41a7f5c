"""An experiment: from words to a trained network and a folder that tells of it."""

import csv
import dataclasses
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from typedwave.lab.checkpoint import Checkpoint, save_checkpoint
from typedwave.lab.corpus import Splits, Vocabulary, examples, split
from typedwave.lab.evaluation import evaluate
from typedwave.lab.files import replacing
from typedwave.lab.recipe import Recipe
from typedwave.lab.training import DivergedError, Training
from typedwave.models import MLP, NetworkConfig, build

__all__ = ["Experiment", "Point", "RunExistsError", "claim"]

POINTS: Final = 50
"""Points of a curve: windows over which the train loss is averaged."""


class RunExistsError(ValueError):
    """The folder for a run holds something already."""


@dataclass(frozen=True)
class Point:
    """The losses after some steps.

    Attributes:
        step: How many steps are done.
        train: The mean loss of the batches since the point before.
        validation: The loss on all validation examples.
    """

    step: int
    train: float
    validation: float


class Experiment:
    """A network trained by a recipe on words, in steps that the caller watches.

    Whoever stops it half way, by an exception in the loop or a KeyboardInterrupt, has a network
    that is trained so far, and can save it.

    Args:
        words: The corpus; split here by the seed 42, as in the lecture.
        config: Of the network.
        recipe: Of the training.
        compile: Whether a training step is compiled.

    Attributes:
        splits: The words to train on, to choose by and to judge by.
        vocabulary: Of all words.
        network: What is trained.
        curve: The points so far.

    Raises:
        CorpusError: There are too few words.

    Example:
        >>> words = ["ada", "bo", "cy", "dora", "ed", "fay", "gus"]
        >>> config = NetworkConfig(context=4, n_embd=2, n_hidden=3)
        >>> experiment = Experiment(words, config, Recipe(steps=2, batch_size=5))
        >>> [point.step for point in experiment.points()]
        [1, 2]
        >>> sorted(experiment.losses())
        ['test', 'train', 'validation']
    """

    def __init__(
        self,
        words: Sequence[str],
        config: NetworkConfig,
        recipe: Recipe,
        *,
        compile: bool = False,  # noqa: A002  # as it is called in torch
    ) -> None:
        self.recipe = recipe
        self.splits: Splits = split(words)
        self.vocabulary = Vocabulary.of(words)
        self._examples = [
            examples(part, self.vocabulary, context=config.context) for part in self.splits
        ]
        # One stream for weights and batches, in this order: the lecture's, where seeds are equal.
        generator = torch.Generator().manual_seed(recipe.seed)
        self.network: MLP = build(config, vocab_size=len(self.vocabulary), generator=generator)
        self._training = Training(
            self.network, self._examples[0], recipe, generator=generator, compile=compile
        )
        self._compiled = compile
        self._seconds = 0.0
        self.curve: list[Point] = []

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self._training.step

    def points(self) -> Iterator[Point]:
        """Trains; gives the losses about 50 times on the way.

        Raises:
            DivergedError: The loss is not finite any more.
            CompilerError: The step cannot be compiled.
        """
        window = math.ceil(self.recipe.steps / POINTS)
        while self.step < self.recipe.steps:
            began = time.perf_counter()
            try:
                self._training.run((self.step // window + 1) * window)
            finally:
                self._seconds += time.perf_counter() - began
            yield self._point()

    def losses(self) -> dict[str, float]:
        """The loss on all of train, validation and test, by those names."""
        return {
            name: evaluate(self.network, part)
            for name, part in zip(Splits._fields, self._examples, strict=True)
        }

    def save(self, folder: str | os.PathLike[str], *, corpus: str) -> dict[str, Any]:
        """Writes checkpoint, curve and record of the run into a folder that is empty or new.

        Args:
            folder: Where to; `claim` it before training to be sure of it.
            corpus: What the words are, for the record: the path of their file say.

        Returns:
            The record, as it is in ``run.json``.
        """
        folder = Path(folder)
        if self.step > (self.curve[-1].step if self.curve else 0):
            self._point()
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(
            folder / "checkpoint.safetensors", Checkpoint(self.network, self.vocabulary)
        )
        with (
            replacing(folder / "curve.csv") as beside,
            beside.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = csv.writer(file)
            rows.writerow(field.name for field in dataclasses.fields(Point))
            rows.writerows(map(dataclasses.astuple, self.curve))
        record = self._record(corpus)
        with replacing(folder / "run.json") as beside:
            beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return record

    def _point(self) -> Point:
        before = self.curve[-1].step if self.curve else 0
        train = self._training.losses[before:].mean().item()
        point = Point(self.step, train, evaluate(self.network, self._examples[1]))
        if not math.isfinite(point.validation):
            raise DivergedError(
                f"the validation loss after step {self.step - 1} is {point.validation}; a smaller "
                "learning rate may keep it finite"
            )
        self.curve.append(point)
        return point

    def _record(self, corpus: str) -> dict[str, Any]:
        words = "\n".join(word for part in self.splits for word in part)
        return {
            "corpus": corpus,
            "words_sha256": hashlib.sha256(words.encode()).hexdigest(),
            "examples": {
                name: len(part.targets)
                for name, part in zip(Splits._fields, self._examples, strict=True)
            },
            "network": dataclasses.asdict(self.network.config),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "recipe": dataclasses.asdict(self.recipe),
            "steps_done": self.step,
            "training_seconds": round(self._seconds, 1),
            "compiled": self._compiled,
            "losses": self.losses(),
            "versions": {
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "typedwave": version("typedwave"),
            },
        }


def claim(folder: str | os.PathLike[str]) -> Path:
    """Makes the folder of a run, before there is anything to lose.

    Raises:
        RunExistsError: There is something in it.
        OSError: It cannot be made.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise RunExistsError(f"{path} is not empty; name a new folder for the run")
    with replacing(path / "run.json"):
        pass  # it can be written to
    (path / "run.json").unlink()
    return path
