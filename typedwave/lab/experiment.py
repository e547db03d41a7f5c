"""An experiment: from words to a trained network and a folder that tells of it."""

import csv
import dataclasses
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from typedwave.lab.checkpoint import CHECKPOINT, Checkpoint, save_checkpoint
from typedwave.lab.corpus import Examples, Splits, Vocabulary, examples, split
from typedwave.lab.counting import Counting
from typedwave.lab.evaluation import evaluate
from typedwave.lab.files import replacing
from typedwave.lab.recipe import AnyRecipe, CountingRecipe, Recipe, WordsRecipe
from typedwave.lab.sequences import Sequences, sequences
from typedwave.lab.teaching import taught
from typedwave.lab.training import DivergedError, Training
from typedwave.lab.word_training import WordTraining
from typedwave.models import MLP, Config, Network, NGram, Pool, SequenceModel, build

__all__ = [
    "Experiment",
    "Point",
    "RunExistsError",
    "claim",
    "losses_of",
    "record_of",
    "tensors_of",
    "write_record",
]

NO_COMPILE: Final = "compile is for a training step on examples, which this recipe has not"

POINTS: Final = 50
"""Points of a curve: windows over which the train loss is averaged."""


class RunExistsError(ValueError):
    """The folder for a run holds something already."""


@dataclass(frozen=True)
class Point:
    """The losses after some steps.

    Attributes:
        step: How many steps are done.
        train: The mean loss of the batches since the point before; against what a teacher says,
            where there is one.
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
        recipe: Of the training: a `Recipe` for the networks of the lecture, a `CountingRecipe` for
            n-grams, a `WordsRecipe` for all but n-grams and pools; the members of a pool are
            trained each by itself.
        compile: Whether a training step is compiled, which is for a `Recipe` only.
        teacher: Of the recipe that has one.

    Attributes:
        splits: The words to train on, to choose by and to judge by.
        vocabulary: Of all words.
        network: What is trained.
        curve: The points so far.
        seconds: Spent in training so far, evaluation not included.

    Raises:
        CorpusError: There are too few words.
        ValueError: The recipe is not for such a network, or a teacher is missing.

    Example:
        >>> words = ["ada", "bo", "cy", "dora", "ed", "fay", "gus"]
        >>> from typedwave.models import NetworkConfig
        >>> config = NetworkConfig(context=4, n_embd=2, n_hidden=3)
        >>> experiment = Experiment(words, config, Recipe(steps=2, batch_size=5))
        >>> [point.step for point in experiment.points()]
        [1, 2]
        >>> sorted(experiment.losses())
        ['test', 'train', 'unseen', 'validation']
    """

    def __init__(
        self,
        words: Sequence[str],
        config: Config,
        recipe: AnyRecipe,
        *,
        compile: bool = False,  # noqa: A002  # as it is called in torch
        teacher: SequenceModel | None = None,
    ) -> None:
        self.recipe = recipe
        self.splits: Splits = split(words)
        self.vocabulary = Vocabulary.of(words)
        # One stream for weights and batches, in this order: the lecture's, where seeds are equal.
        generator = torch.Generator().manual_seed(recipe.seed)
        self.network: Network = build(config, vocab_size=len(self.vocabulary), generator=generator)
        self._data = tensors_of(self.network, self.vocabulary, self.splits)
        self._training = self._training_of(generator, compile, teacher)
        self._compiled = compile
        self.seconds = 0.0
        self.curve: list[Point] = []

    def _training_of(
        self, generator: torch.Generator, compiled: bool, teacher: SequenceModel | None
    ) -> Training | WordTraining | Counting:
        network, recipe, train = self.network, self.recipe, self._data["train"]
        if compiled and not isinstance(recipe, Recipe):
            raise ValueError(NO_COMPILE)
        asked = recipe.teacher if isinstance(recipe, WordsRecipe) else ""
        if (teacher is None) != (asked == ""):
            missing = f"the teacher {asked!r}" if teacher is None else "no teacher"
            raise ValueError(f"the recipe is for {missing}; give it one, or none, as teacher")
        if isinstance(train, Examples):
            if isinstance(recipe, Recipe) and isinstance(network, MLP):
                return Training(network, train, recipe, generator=generator, compile=compiled)
            if isinstance(recipe, CountingRecipe) and isinstance(network, NGram):
                return Counting(network, train)
        if isinstance(recipe, WordsRecipe) and not isinstance(network, NGram | Pool):
            if teacher is None:
                words = sequences(self.splits.train, self.vocabulary)
            else:
                words = taught(
                    teacher,
                    self.splits.train,
                    self.vocabulary,
                    sampled=recipe.sampled,
                    generator=generator,
                )
            return WordTraining(network, words, recipe, generator=generator)
        raise ValueError(
            f"a {type(recipe).__name__} is not for a network of kind {network.config.network}"
        )

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self._training.step

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return self._training.steps

    def points(self) -> Iterator[Point]:
        """Trains; gives the losses on the way: 50 times, or after each epoch if those are fewer.

        Raises:
            DivergedError: The loss is not finite any more.
            CompilerError: The step cannot be compiled.
        """
        steps = self._training.steps
        window = math.ceil(steps / POINTS)
        if isinstance(self.recipe, WordsRecipe):  # whole epochs, which may be few
            window = steps // self.recipe.epochs * math.ceil(self.recipe.epochs / POINTS)
        while self.step < steps:
            began = time.perf_counter()
            try:
                self._training.run((self.step // window + 1) * window)
            finally:
                self.seconds += time.perf_counter() - began
            yield self._point()

    def losses(self) -> dict[str, float]:
        """The loss on all of train, validation and test, by those names.

        And on ``unseen``: the words of validation that are not in train, if there are any.
        """
        return _losses(self.network, self._data)

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
        save_checkpoint(folder / CHECKPOINT, Checkpoint(self.network, self.vocabulary))
        with (
            replacing(folder / "curve.csv") as beside,
            beside.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = csv.writer(file)
            rows.writerow(field.name for field in dataclasses.fields(Point))
            rows.writerows(map(dataclasses.astuple, self.curve))
        record = self._record(corpus)
        write_record(folder, record)
        return record

    def _point(self) -> Point:
        before = self.curve[-1].step if self.curve else 0
        train = self._training.losses[before:].mean().item()
        point = Point(self.step, train, evaluate(self.network, self._data["validation"]))
        if not math.isfinite(point.validation):
            raise DivergedError(
                f"the validation loss after step {self.step - 1} is {point.validation}; a smaller "
                "learning rate may keep it finite"
            )
        self.curve.append(point)
        return point

    def _record(self, corpus: str) -> dict[str, Any]:
        return {
            **record_of(self.network, self.splits, self._data, corpus=corpus),
            "recipe": dataclasses.asdict(self.recipe),
            "steps_done": self.step,
            "training_seconds": round(self.seconds, 1),
            "compiled": self._compiled,
        }


def tensors_of(
    network: Network, vocabulary: Vocabulary, splits: Splits
) -> dict[str, Examples | Sequences]:
    """The parts of a corpus by name, as a network takes them, and ``unseen``.

    Those are the words of validation that are not in train; left out if there are none.
    """
    seen = frozenset(splits.train)
    unseen = tuple(word for word in splits.validation if word not in seen)
    parts = {**splits._asdict(), "unseen": unseen}

    def tensors(words: Sequence[str]) -> Examples | Sequences:
        if isinstance(network, MLP | NGram):
            return examples(words, vocabulary, context=network.context)
        return sequences(words, vocabulary)

    return {name: tensors(words) for name, words in parts.items() if words}


def losses_of(network: Network, vocabulary: Vocabulary, splits: Splits) -> dict[str, float]:
    """The loss of a network on train, validation, test and ``unseen``: `Experiment.losses`."""
    return _losses(network, tensors_of(network, vocabulary, splits))


def _losses(network: Network, data: Mapping[str, Examples | Sequences]) -> dict[str, float]:
    return {name: evaluate(network, part) for name, part in data.items()}


def record_of(
    network: Network, splits: Splits, data: Mapping[str, Examples | Sequences], *, corpus: str
) -> dict[str, Any]:
    """What is to be known of any trained network: its words, its shape and its losses."""
    words = "\n".join(word for part in splits for word in part)
    return {
        "corpus": corpus,
        "words_sha256": hashlib.sha256(words.encode()).hexdigest(),
        "examples": {
            name: len(part.targets) if isinstance(part, Examples) else int(part.lengths.sum())
            for name, part in data.items()
        },
        "network": dataclasses.asdict(network.config),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "losses": _losses(network, data),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "typedwave": version("typedwave"),
        },
    }


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes ``run.json`` into the folder of a run."""
    with replacing(folder / "run.json") as beside:
        beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


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
