"""An experiment: from words to a trained network, in steps that the caller watches."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from typedwave.lab.evaluation import data_of, evaluate
from typedwave.lab.runs.metrics import Metrics, Point, lines_of
from typedwave.lab.runs.state import State, StateFileError
from typedwave.lab.training.counting import Counting
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.on_words import WordTraining
from typedwave.lab.training.processes import ALONE, Processes
from typedwave.lab.training.recipe import AnyRecipe, CountingRecipe, Recipe, WordsRecipe
from typedwave.lab.training.stepped import DivergedError
from typedwave.lab.training.teaching import taught
from typedwave.lab.words.corpus import Examples, Splits, Vocabulary, split
from typedwave.lab.words.sequences import Sequences, sequences
from typedwave.models import MLP, Config, Network, NGram, Pool, SequenceModel, build

__all__ = ["Experiment", "losses_of", "losses_on", "tensors_of"]

NO_COMPILE: Final = "compile is for a training step on examples, which this recipe has not"

POINTS: Final = 50
"""Points of a curve: windows over which the train loss is averaged."""


class Experiment:
    """A network trained by a recipe on words, in memory; a `Run` keeps one in a folder.

    Whoever stops it half way, by an exception in the loop or a KeyboardInterrupt, has a network
    that is trained so far.

    Args:
        words: The corpus; split here by the seed 42, as in the lecture.
        config: Of the network.
        recipe: Of the training: a `Recipe` for the networks of the lecture, a `CountingRecipe` for
            n-grams, a `WordsRecipe` for all but n-grams and pools; the members of a pool are
            trained each by itself.
        compile: Whether a training step is compiled, which is for a `Recipe` only.
        teacher: Of the recipe that has one.
        processes: That train together, and the device of this one.

    Attributes:
        splits: The words to train on, to choose by and to judge by.
        vocabulary: Of all words.
        data: The parts by name, as the network takes them, and ``unseen``.
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
        processes: Processes = ALONE,
    ) -> None:
        self.recipe = recipe
        self.splits: Splits = split(words)
        self.vocabulary = Vocabulary.of(words)
        # One stream for weights and batches, in this order: the lecture's, where seeds are equal.
        generator = torch.Generator().manual_seed(recipe.seed)
        self.network: Network = build(config, vocab_size=len(self.vocabulary), generator=generator)
        self.network.to(processes.device)
        self._processes = processes
        self.data = tensors_of(self.network, self.vocabulary, self.splits, processes.device)
        self._training = self._training_of(generator, compile, teacher)
        self.seconds = 0.0
        self.curve: list[Point] = []
        self._written = 0  # the steps whose metrics were asked for

    def _training_of(
        self, generator: torch.Generator, compiled: bool, teacher: SequenceModel | None
    ) -> Training | WordTraining | Counting:
        network, recipe, train = self.network, self.recipe, self.data["train"]
        processes = self._processes
        if compiled and not isinstance(recipe, Recipe):
            raise ValueError(NO_COMPILE)
        asked = recipe.teacher if isinstance(recipe, WordsRecipe) else ""
        if (teacher is None) != (asked == ""):
            missing = f"the teacher {asked!r}" if teacher is None else "no teacher"
            raise ValueError(f"the recipe is for {missing}; give it one, or none, as teacher")
        if isinstance(train, Examples):
            if isinstance(recipe, Recipe) and isinstance(network, MLP):
                return Training(
                    network,
                    train,
                    recipe,
                    generator=generator,
                    compile=compiled,
                    processes=processes,
                )
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
            return WordTraining(
                network,
                words.to(processes.device),
                recipe,
                generator=generator,
                processes=processes,
            )
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
        for _ in self.pieces():
            if self.curve and self.curve[-1].step == self.step:
                yield self.curve[-1]

    def pieces(self) -> Iterator[None]:
        """Trains as `points` does, but stops for breath a hundred times, also between points.

        Whoever keeps what was done keeps `metrics_lines` and `state` here.
        """
        steps = self._training.steps
        window = math.ceil(steps / POINTS)
        if isinstance(self.recipe, WordsRecipe):  # whole epochs, which may be few
            window = steps // self.recipe.epochs * math.ceil(self.recipe.epochs / POINTS)
        piece = math.ceil(steps / (2 * POINTS))
        while self.step < steps:
            until = min(_next(self.step, window), _next(self.step, piece), steps)
            if until % window == 0 or until == steps:
                self._run(until - 1)
                before = [p.detach().clone() for p in self.network.parameters()]
                self._run(until)
                self.curve.append(self.point(updates=self._updates(before)))
            else:
                self._run(until)
            yield

    def _run(self, until: int) -> None:
        began = time.perf_counter()
        try:
            self._training.run(until)
        finally:
            self.seconds += time.perf_counter() - began

    def _updates(self, before: Sequence[Tensor]) -> dict[str, float]:
        """How long the last update of each matrix was, in proportion to the matrix.

        Source:
            "Building makemore part 3", where it is said to be best around 0.001.
        """
        found = {}
        named = self.network.named_parameters()
        for (name, parameter), old in zip(named, before, strict=True):
            if parameter.ndim > 1 and parameter.numel() > 1:  # a single number has no deviation
                ratio = ((parameter.detach() - old).std() / old.std()).item()
                if math.isfinite(ratio):  # not of zeros
                    found[name] = ratio
        return found

    def point(self, *, updates: Mapping[str, float] | None = None) -> Point:
        """The losses now: of all validation examples, and of the steps since the last point.

        Raises:
            DivergedError: The loss is not finite any more.
        """
        before = self.curve[-1].step if self.curve else 0
        train = math.fsum(self._training.losses[before:].tolist()) / max(1, self.step - before)
        point = Point(
            self.step, train, evaluate(self.network, self.data["validation"]), updates or {}
        )
        if not math.isfinite(point.validation):
            raise DivergedError(
                f"the validation loss after step {self.step - 1} is {point.validation}; a smaller "
                "learning rate may keep it finite"
            )
        return point

    def metrics_lines(self) -> str:
        """The lines of ``metrics.jsonl`` for the steps since this was last asked."""
        began, self._written = self._written, self.step
        losses = self._training.losses[began:].tolist()
        rates = [self._training.rate(step) for step in range(began, self.step)]
        at_point = losses and self.curve and self.curve[-1].step == self.step
        return lines_of(losses, rates, began, self.curve[-1] if at_point else None)

    def state(self) -> State:
        """All that is needed to go on from here by an experiment that is made alike."""
        network = {f"network.{name}": x for name, x in self.network.state_dict().items()}
        training = {f"training.{name}": x for name, x in self._training.state().items()}
        return State(self.step, self.seconds, {**network, **training})

    def restore(self, state: State, metrics: Metrics) -> None:
        """Goes on from a state of an experiment that was made alike.

        Args:
            state: Of that experiment.
            metrics: Of its steps up to the state, at least.

        Raises:
            StateFileError: It was made otherwise.
        """
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "training": {}}
        for name, tensor in state.tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        losses = torch.tensor(metrics.train[: state.step], dtype=torch.float32)
        try:
            self.network.load_state_dict(parts["network"])
            self._training.restore(parts["training"], losses)
        except (KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise StateFileError(f"the state is of another experiment: {reason}") from None
        self.seconds = state.seconds
        self.curve = [point for point in metrics.points if point.step <= state.step]
        self._written = self.step

    def losses(self) -> dict[str, float]:
        """The loss on all of train, validation and test, by those names.

        And on ``unseen``: the words of validation that are not in train, if there are any.
        """
        return losses_on(self.network, self.data)


def _next(step: int, length: int) -> int:
    """The end of the piece of this length that a step is in."""
    return (step // length + 1) * length


def tensors_of(
    network: Network,
    vocabulary: Vocabulary,
    splits: Splits,
    device: torch.device | None = None,
) -> dict[str, Examples | Sequences]:
    """The parts of a corpus by name, as a network takes them."""
    return {
        name: data_of(network, vocabulary, words, device=device)
        for name, words in splits.parts.items()
    }


def losses_of(network: Network, vocabulary: Vocabulary, splits: Splits) -> dict[str, float]:
    """The loss of a network on train, validation, test and ``unseen``: `Experiment.losses`."""
    return losses_on(network, tensors_of(network, vocabulary, splits))


def losses_on(network: Network, data: Mapping[str, Examples | Sequences]) -> dict[str, float]:
    """The same on what `tensors_of` gives."""
    return {name: evaluate(network, part) for name, part in data.items()}
