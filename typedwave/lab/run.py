"""A run: a network trained into a folder, after the teacher and the members that it needs."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from typedwave.lab.checkpoint import CHECKPOINT, load_checkpoint
from typedwave.lab.corpus import Vocabulary
from typedwave.lab.experiment import NO_COMPILE, Experiment, claim
from typedwave.lab.files import removed_if_empty, replacing
from typedwave.lab.pooling import pooled, save_pool
from typedwave.lab.presets import PRESETS
from typedwave.lab.recipe import AnyRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.lab.report import draw_curve
from typedwave.lab.sampling import sample_new
from typedwave.models import Config, Network, PoolConfig, SequenceModel, sequence_model, size_of

__all__ = ["SAMPLES", "Run", "told"]

SAMPLES: Final = 20
"""Words that are drawn at the end."""


def _through(experiment: Experiment) -> bool:
    for _ in experiment.points():
        pass
    return False


@dataclasses.dataclass(frozen=True)
class Run:
    """Training into a folder, and into folders in it for networks that are needed on the way.

    Args:
        folder: New or empty.
        words: The corpus.
        corpus: What the words are, for the record: the path of their file say.
        compile: Whether steps are compiled, see `Experiment`.
        teacher: The folder of a run whose network is the teacher, where a recipe has one; None to
            train it first, into ``teacher-NAME``.
        watch: Trains an experiment and returns whether it was interrupted.
        say: Is told what happens, a line at a time.

    Example:
        ``Run(Path("runs/best"), words, corpus="names").train(*PRESETS["best"], "best")`` is what
        ``typedwave train --preset best`` does: it trains the teacher, draws words from it, and
        trains the student.
    """

    folder: Path
    words: Sequence[str]
    corpus: str
    compile: bool = False
    teacher: Path | None = None
    watch: Callable[[Experiment], bool] = _through
    say: Callable[[str], object] = lambda line: None

    def train(self, config: Config, recipe: AnyRecipe, name: str) -> dict[str, Any] | None:
        """Trains and writes checkpoint, record, curve and samples.

        Args:
            config: Of the network.
            recipe: Of its training.
            name: What it is called in what is said.

        Returns:
            The record as in ``run.json``, with ``interrupted`` and the words drawn as ``new``; None
            if it was interrupted before there was anything of this network to keep.

        Raises:
            ValueError: Config, recipe, teacher and words do not go together.
            DivergedError: A loss is not finite any more.
        """
        self.check(config, recipe)
        if isinstance(config, PoolConfig) and isinstance(recipe, PoolRecipe):
            return self._pool(config, recipe, name)
        return self._network(config, recipe, name)

    def check(self, config: Config, recipe: AnyRecipe) -> None:
        """Refuses what does not go together before anything is trained; `train` asks first.

        Raises:
            ValueError: Config, recipe, compile and teacher do not go together.
        """
        if isinstance(config, PoolConfig) != isinstance(recipe, PoolRecipe):
            raise ValueError("a PoolRecipe is for a pool, and a pool for a PoolRecipe")
        if self.compile and not isinstance(recipe, Recipe):
            raise ValueError(NO_COMPILE)
        if isinstance(config, PoolConfig) and isinstance(recipe, PoolRecipe):
            members, recipes = len(config.members), len(recipe.recipes)
            if members != recipes:
                raise ValueError(f"the pool has {members} members, but there are {recipes} recipes")
        teacher = recipe.teacher if isinstance(recipe, WordsRecipe) else ""
        if teacher not in ("", *PRESETS):
            raise ValueError(f"teacher is {teacher!r}, but there are {', '.join(PRESETS)}")
        if self.teacher is not None and not teacher:
            raise ValueError(
                "there is a trained teacher, but the recipe has none; name its preset as teacher"
            )

    @contextmanager
    def _within(self, name: str) -> Iterator["Run"]:
        """A run into a folder of this one."""
        folder = self.folder / name
        with removed_if_empty(folder):
            yield dataclasses.replace(self, folder=claim(folder), compile=False)

    def _network(self, config: Config, recipe: AnyRecipe, name: str) -> dict[str, Any] | None:
        teacher = None
        if isinstance(recipe, WordsRecipe) and recipe.teacher:
            folder = self.teacher
            if folder is None:
                with self._within(f"teacher-{recipe.teacher}") as inner:
                    taught = inner.train(*PRESETS[recipe.teacher], recipe.teacher)
                if taught is None or taught["interrupted"]:
                    self._say_stopped(inner)
                    return None
                folder = inner.folder
            teacher = self._teacher(folder)
            self.say(f"{name}: drawing {recipe.sampled:,} words from the teacher in {folder}")
        experiment = Experiment(self.words, config, recipe, compile=self.compile, teacher=teacher)
        size, steps = size_of(experiment.network), _steps(experiment.steps)
        self.say(f"{name}: {config.network} network, {size:,} parameters, {steps}")
        interrupted = self.watch(experiment)
        if experiment.step == 0:
            return None
        record = experiment.save(self.folder, corpus=self.corpus)
        title = f"{config.network}, {record['parameters']:,} parameters"
        draw_curve(self.folder / "curve.png", experiment.curve, title=title)
        if interrupted:
            self.say(f"stopped after {experiment.step:,} of {steps}")
        record["interrupted"] = interrupted
        return self._told(experiment.network, experiment.vocabulary, record, name)

    def _say_stopped(self, inner: "Run") -> None:
        """Says where what was interrupted on the way is, if it is anywhere."""
        if inner.folder.exists():
            self.say(f"stopped before the network was trained; {inner.folder} holds what is there")

    def _teacher(self, folder: Path) -> SequenceModel:
        checkpoint = load_checkpoint(folder / CHECKPOINT)
        if checkpoint.vocabulary != Vocabulary.of(self.words):
            raise ValueError(f"the teacher in {folder} knows other characters than the words have")
        return sequence_model(checkpoint.network)

    def _pool(self, config: PoolConfig, recipe: PoolRecipe, name: str) -> dict[str, Any] | None:
        members = []
        pairs = zip(config.members, recipe.recipes, strict=True)
        for number, (member, how) in enumerate(pairs, start=1):
            with self._within(f"{number}-{member.network}") as inner:
                record = inner.train(member, how, inner.folder.name)
            if record is None or record["interrupted"]:
                self._say_stopped(inner)
                return None
            members.append(load_checkpoint(inner.folder / CHECKPOINT))
        checkpoint = pooled(members, config)
        record = save_pool(self.folder, checkpoint, self.words, recipe, corpus=self.corpus)
        record["interrupted"] = False
        return self._told(checkpoint.network, checkpoint.vocabulary, record, name)

    def _told(
        self, network: Network, vocabulary: Vocabulary, record: dict[str, Any], name: str
    ) -> dict[str, Any]:
        """Says the losses; draws words, writes them and adds them to the record."""
        self.say(f"{name}: {told(record['losses'])}")
        new = sample_new(
            sequence_model(network),
            vocabulary,
            SAMPLES,
            known=self.words,
            generator=torch.Generator().manual_seed(record["recipe"]["seed"]),
        )
        with replacing(self.folder / "samples.txt") as beside:
            beside.write_text("\n".join(new) + "\n", encoding="utf-8")
        return {**record, "new": new}


def told(losses: dict[str, float]) -> str:
    """Losses in a line."""
    return "  ".join(f"{name} {loss:.4f}" for name, loss in losses.items()) + "  nats a character"


def _steps(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)}"
