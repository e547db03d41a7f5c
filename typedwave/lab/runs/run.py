"""A run: a network trained into a folder, after the teacher and the members that it needs."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from typedwave.lab.files import removed_if_empty, replacing
from typedwave.lab.runs.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint, save_checkpoint
from typedwave.lab.runs.curve import draw_curve, matplotlib_figure
from typedwave.lab.runs.environment import environment
from typedwave.lab.runs.experiment import NO_COMPILE, Experiment, losses_on, tensors_of
from typedwave.lab.runs.folder import RunFolder
from typedwave.lab.runs.metrics import Point
from typedwave.lab.runs.pooling import pooled
from typedwave.lab.runs.record import SAMPLES_FILE, RecordError, read_samples
from typedwave.lab.runs.tensorboard import Events, summary_writer
from typedwave.lab.sampling import sample_new
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.processes import ALONE, Processes
from typedwave.lab.training.recipe import AnyRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.lab.words.corpus import Examples, Vocabulary, checksum, split
from typedwave.lab.words.sequences import Sequences
from typedwave.models import Config, Network, PoolConfig, SequenceModel, sequence_model, size_of

__all__ = ["SAMPLES", "Run", "told", "unwatched"]

SAMPLES: Final = 20
"""Words that are drawn at the end."""


def unwatched(experiment: Experiment, points: Iterator[Point]) -> bool:
    """Trains in silence."""
    for _ in points:
        pass
    return False


@dataclasses.dataclass(frozen=True)
class Run:
    """Training into a folder, and into folders in it for networks that are needed on the way.

    A run that was killed, at whatever moment, is gone on with by a `Run` of the same folder and
    words that resumes: its network, its metrics and its samples are then, to the bit, those of a
    run that was not, on the same machine with as many threads.

    Args:
        folder: New or empty, or of a run that is to be gone on with.
        words: The corpus.
        corpus: What the words are, for the record: the path of their file say.
        compile: Whether steps are compiled, see `Experiment`.
        teacher: The folder of a run whose network is the teacher, where a recipe has one; None to
            train it first, into ``teacher-NAME``.
        resume: Whether to go on with what is in the folder, if there is a run in it.
        save_every: Seconds of training between two states that are saved to go on from; more where
            a hundredth of the steps takes longer.
        tensorboard: Whether events for TensorBoard are written beside the metrics.
        processes: That train together; the first of them writes.
        watch: Trains an experiment by drawing its points, and returns whether it was interrupted.
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
    resume: bool = False
    save_every: float = 1.0
    tensorboard: bool = False
    processes: Processes = ALONE
    watch: Callable[[Experiment, Iterator[Point]], bool] = unwatched
    say: Callable[[str], object] = lambda line: None

    def train(self, config: Config, recipe: AnyRecipe, name: str) -> dict[str, Any] | None:
        """Trains and writes metrics, checkpoint, record, curve and samples.

        Args:
            config: Of the network.
            recipe: Of its training.
            name: What it is called in what is said.

        Returns:
            The record as in ``run.json``, with the words drawn as ``new``; None if it was
            interrupted before there was anything of this network to keep.

        Raises:
            ValueError: Config, recipe, teacher and words do not go together, or are not those of
                the run that is to be gone on with.
            RunExistsError: There is something in the folder, and nothing is to be gone on with.
            RunBusyError: Another process trains into it.
            RecordError: The run is finished, but something of it is gone.
            StateFileError: No state of the run that is to be gone on with is whole.
            DivergedError: A loss is not finite any more.
            OSError: A file cannot be written. What was kept before is still there.
        """
        self.check(config, recipe)
        folder = self._folder
        with folder.held():
            facts = folder.begin(config, recipe, self._facts(name))
            if facts.get("interrupted") is False:  # it is there once all is done
                self.say(f"{name}: finished before")
                folder.drop_states()
                return {**facts, "new": self._drawn_before()}
            try:
                if isinstance(config, PoolConfig) and isinstance(recipe, PoolRecipe):
                    return self._pool(config, recipe, name, facts)
                return self._network(config, recipe, name, facts)
            except BaseException as error:
                folder.fail(facts, error)
                raise

    def check(self, config: Config, recipe: AnyRecipe) -> None:
        """Refuses what does not go together before anything is trained; `train` asks first.

        Raises:
            ValueError: Config, recipe, compile and teacher do not go together.
            NoTensorBoardError: Events are to be written, and TensorBoard is not installed.
            ImportError: matplotlib is not installed, and the curve could not be drawn at the end.
        """
        matplotlib_figure()
        if self.tensorboard:
            summary_writer()
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

    def _drawn_before(self) -> list[str]:
        """The samples of a run that is finished, if all is there that it left."""
        for file in (CHECKPOINT, SAMPLES_FILE):
            if not (self.folder / file).exists():
                raise RecordError(
                    f"the run in {self.folder} is finished, but its {file} is gone; train it again "
                    "into a new folder"
                )
        return read_samples(self.folder)

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.folder, self.resume, self.processes, self.say)

    def _facts(self, name: str) -> dict[str, Any]:
        """What is known before training, beside config and recipe."""
        return {
            "name": name,
            "corpus": self.corpus,
            "words_sha256": checksum(self.words),
            "compiled": self.compile,
            **self._teacher_told(),
            "environment": environment(self.processes),
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _teacher_told(self) -> dict[str, Any]:
        """The teacher that is given, if one is, and the checksum of its checkpoint."""
        if self.teacher is None:
            return {}
        digest = hashlib.sha256((self.teacher / CHECKPOINT).read_bytes()).hexdigest()
        return {"teacher": {"folder": str(self.teacher.resolve()), "sha256": digest}}

    @contextmanager
    def _within(self, name: str) -> Iterator["Run"]:
        """A run into a folder of this one."""
        folder = self.folder / name
        with removed_if_empty(folder):
            yield dataclasses.replace(self, folder=folder, compile=False)

    def _network(
        self, config: Config, recipe: AnyRecipe, name: str, facts: dict[str, Any]
    ) -> dict[str, Any] | None:
        teacher = None
        if isinstance(recipe, WordsRecipe) and recipe.teacher:
            folder = self.teacher
            if folder is None:
                with self._within(f"teacher-{recipe.teacher}") as inner:
                    taught = inner.train(*PRESETS[recipe.teacher], recipe.teacher)
                if taught is None or taught["interrupted"]:
                    self._stopped(inner)
                    return None
                folder = inner.folder
            teacher = self._teacher(folder)
            self.say(f"{name}: drawing {recipe.sampled:,} words from the teacher in {folder}")
        experiment = Experiment(
            self.words,
            config,
            recipe,
            compile=self.compile,
            teacher=teacher,
            processes=self.processes,
        )
        steps = _steps(experiment.steps)
        size = size_of(experiment.network)
        self.say(f"{name}: {config.network} network, {size:,} parameters, {steps}")
        if self.resume and self._folder.restore(experiment):
            self.say(f"{name}: going on after step {experiment.step:,}")
        facts |= {**_sizes(experiment.network, experiment.data), "steps": experiment.steps}
        self._folder.write(facts)
        interrupted = self.watch(experiment, self._kept(experiment))
        if interrupted and self.processes.count > 1:
            raise KeyboardInterrupt  # each may be at another step: the last state is gone on from
        if experiment.step == 0:
            self._folder.forget()
            return None
        if interrupted:
            self._folder.append(experiment)
            self.say(f"stopped after {experiment.step:,} of {steps}")
        facts |= {
            "steps_done": experiment.step,
            "training_seconds": round(experiment.seconds, 1),
            "losses": experiment.losses(),
            "interrupted": interrupted,
        }
        if self.processes.first:
            points = experiment.curve
            if not points or points[-1].step < experiment.step:
                points = [*points, experiment.point()]
            title = f"{config.network}, {facts['parameters']:,} parameters"
            draw_curve(self.folder / "curve.png", points, title=title)
        experiment.network.cpu()
        return self._finished(experiment.network, experiment.vocabulary, facts)

    def _kept(self, experiment: Experiment) -> Iterator[Point]:
        """The points of an experiment; what is done is kept before each."""
        saved, folder = experiment.seconds, self._folder
        shown = self.tensorboard and self.processes.first
        with closing(Events(self.folder)) if shown else nullcontext() as events:
            for _ in experiment.pieces():
                folder.append(experiment)
                if experiment.seconds - saved >= self.save_every:
                    folder.save(experiment)
                    saved = experiment.seconds
                if experiment.curve and experiment.curve[-1].step == experiment.step:
                    if events is not None:
                        events.update()
                    yield experiment.curve[-1]

    def _stopped(self, inner: "Run") -> None:
        """Says where what was interrupted on the way is, if it is anywhere."""
        if inner.folder.exists():
            self.say(f"stopped before the network was trained; {inner.folder} holds what is there")
        else:
            self._folder.forget()

    def _teacher(self, folder: Path) -> SequenceModel:
        checkpoint = load_checkpoint(folder / CHECKPOINT)
        if checkpoint.vocabulary != Vocabulary.of(self.words):
            raise ValueError(f"the teacher in {folder} knows other characters than the words have")
        return sequence_model(checkpoint.network)

    def _pool(
        self, config: PoolConfig, recipe: PoolRecipe, name: str, facts: dict[str, Any]
    ) -> dict[str, Any] | None:
        members = []
        pairs = zip(config.members, recipe.recipes, strict=True)
        for number, (member, how) in enumerate(pairs, start=1):
            with self._within(f"{number}-{member.network}") as inner:
                record = inner.train(member, how, inner.folder.name)
            if record is None or record["interrupted"]:
                self._stopped(inner)
                return None
            members.append(load_checkpoint(inner.folder / CHECKPOINT))
        pool = pooled(members, config)
        data = tensors_of(pool.network, pool.vocabulary, split(self.words))
        facts |= {
            **_sizes(pool.network, data),
            "losses": losses_on(pool.network, data),
            "interrupted": False,
        }
        return self._finished(pool.network, pool.vocabulary, facts)

    def _finished(
        self, network: Network, vocabulary: Vocabulary, facts: dict[str, Any]
    ) -> dict[str, Any]:
        """Says the losses, draws words, and writes all that is left to write; the record last."""
        self.say(f"{facts['name']}: {told(facts['losses'])}")
        new: list[str] = []
        if self.processes.first:
            save_checkpoint(self.folder / CHECKPOINT, Checkpoint(network, vocabulary))
            new = sample_new(
                sequence_model(network),
                vocabulary,
                SAMPLES,
                known=self.words,
                generator=torch.Generator().manual_seed(facts["recipe"]["seed"]),
            )
            with replacing(self.folder / SAMPLES_FILE) as beside:
                beside.write_text("".join(f"{word}\n" for word in new), encoding="utf-8")
            self._folder.write(facts)
            if not facts["interrupted"]:
                self._folder.drop_states()
        self.processes.wait()
        return {**facts, "new": new}


def told(losses: Mapping[str, float]) -> str:
    """Losses in a line."""
    return "  ".join(f"{name} {loss:.4f}" for name, loss in losses.items()) + "  nats a character"


def _sizes(network: Network, data: Mapping[str, Examples | Sequences]) -> dict[str, Any]:
    """How much there is to learn and to learn from."""
    return {
        "examples": {
            name: len(part.targets) if isinstance(part, Examples) else int(part.lengths.sum())
            for name, part in data.items()
        },
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def _steps(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)}"
