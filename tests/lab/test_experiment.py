import csv
import hashlib
import json
import math
import platform
from importlib.metadata import version

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from typedwave.lab import experiment as experiment_module
from typedwave.lab.checkpoint import load_checkpoint
from typedwave.lab.corpus import CorpusError, Vocabulary, examples, split
from typedwave.lab.evaluation import evaluate
from typedwave.lab.experiment import Experiment, Point, RunExistsError, claim
from typedwave.lab.recipe import Recipe
from typedwave.lab.training import DivergedError, Training
from typedwave.models import NetworkConfig, build

WORDS = [first + last for first in ("an", "ot", "mi", "le", "em") for last in ("na", "to", "l")]
CONFIG = NetworkConfig(context=4, n_embd=3, n_hidden=5)


def experiment_of(steps: int, **options) -> Experiment:
    return Experiment(WORDS, CONFIG, Recipe(steps=steps, batch_size=4), **options)


def interrupt_at(experiment: Experiment, step: int) -> None:
    """Ctrl-C within the forward of a step."""

    def hook(module, args):
        if module.training and experiment.step == step:
            handle.remove()
            raise KeyboardInterrupt

    handle = experiment.network.register_forward_pre_hook(hook)


def plain_points(steps: int) -> list[Point]:
    """The points, from the pieces that an experiment is made of."""
    vocabulary = Vocabulary.of(WORDS)
    parts = [examples(part, vocabulary, context=4) for part in split(WORDS)]
    generator = torch.Generator().manual_seed(42)
    network = build(CONFIG, vocab_size=len(vocabulary), generator=generator)
    recipe = Recipe(steps=steps, batch_size=4)
    training = Training(network, parts[0], recipe, generator=generator)
    window, points, before = math.ceil(steps / 50), [], 0
    for until in [*range(window, steps, window), steps]:
        training.run(until)
        train = training.losses[before:until].mean().item()
        points.append(Point(until, train, evaluate(network, parts[1])))
        before = until
    return points


# the points


@given(steps=st.integers(1, 160))
@settings(max_examples=15)
def test_the_points_are_the_mean_of_each_window_and_the_validation_after_it(steps):
    experiment = experiment_of(steps)
    points = list(experiment.points())
    assert points == experiment.curve == plain_points(steps)
    assert points[-1].step == experiment.step == steps
    assert len(points) <= 50
    assert list(experiment.points()) == []


@given(steps=st.integers(2, 110), data=st.data())
@settings(max_examples=15)
def test_an_interrupt_anywhere_can_be_saved_or_gone_on_from(steps, data, tmp_path_factory):
    experiment, at = experiment_of(steps), data.draw(st.integers(0, steps - 1))
    interrupt_at(experiment, at)
    seen = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(experiment.points())
    assert experiment.step == at
    window = math.ceil(steps / 50)
    assert [point.step for point in experiment.curve] == list(range(window, at + 1, window))

    folder = tmp_path_factory.mktemp("interrupted")
    record = experiment.save(folder, corpus="")
    assert record["steps_done"] == at
    assert at == 0 or experiment.curve[-1].step == at
    saved = load_checkpoint(folder / "checkpoint.safetensors").network
    for ours, loaded in zip(experiment.network.parameters(), saved.parameters(), strict=True):
        assert torch.equal(ours, loaded)

    list(experiment.points())
    assert experiment.step == steps
    ends = [point.step for point in experiment.curve]
    assert ends == sorted({at, *range(window, steps, window), steps} - {0})


def test_a_point_after_an_interrupt_is_the_mean_since_the_one_before():
    experiment = experiment_of(100)  # a point every 2 steps
    interrupt_at(experiment, 5)
    with pytest.raises(KeyboardInterrupt):
        list(experiment.points())
    list(experiment.points())
    plainly = plain_points(100)
    assert [point.train for point in experiment.curve] == [point.train for point in plainly]
    assert [point.step for point in experiment.curve] == [point.step for point in plainly]


def test_the_words_are_split_once_for_all_and_the_vocabulary_is_that_of_all_words():
    experiment = experiment_of(1)
    assert experiment.splits == split(WORDS, seed=42)
    assert experiment.vocabulary == Vocabulary.of(WORDS)
    other = Experiment(WORDS, CONFIG, Recipe(steps=1, batch_size=4, seed=7))
    assert other.splits == experiment.splits
    weights = [e.network.layers[0].weight for e in (experiment, other)]
    assert not torch.equal(*weights)


def test_losses_are_those_of_the_three_parts():
    experiment = experiment_of(3)
    list(experiment.points())
    vocabulary = Vocabulary.of(WORDS)
    parts = split(WORDS)._asdict()
    assert experiment.losses() == {
        name: evaluate(experiment.network, examples(part, vocabulary, context=4))
        for name, part in parts.items()
    }
    assert list(experiment.losses()) == ["train", "validation", "test"]


def test_the_global_generator_stays_as_it_was(tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    experiment = experiment_of(3)
    list(experiment.points())
    experiment.save(tmp_path, corpus="")
    assert torch.equal(torch.get_rng_state(), before)


def test_too_few_words_are_an_error_of_the_corpus():
    with pytest.raises(CorpusError, match="need 6 words or more"):
        Experiment(WORDS[:5], CONFIG, Recipe(steps=1))


def test_a_loss_that_diverges_is_not_hidden():
    experiment = Experiment(WORDS, CONFIG, Recipe(steps=60, batch_size=4, learning_rate=1e30))
    with pytest.raises(DivergedError):
        list(experiment.points())


def test_a_validation_loss_that_is_not_finite_has_diverged_too(monkeypatch):
    experiment = experiment_of(100)
    monkeypatch.setattr(experiment_module, "evaluate", lambda network, part: math.inf)
    with pytest.raises(DivergedError) as caught:
        list(experiment.points())
    assert str(caught.value) == (
        "the validation loss after step 1 is inf; a smaller learning rate may keep it finite"
    )
    assert experiment.curve == []


@pytest.mark.parametrize("compiled", [False, True])
def test_whether_it_is_compiled_is_passed_on_and_recorded(monkeypatch, tmp_path, compiled):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda step, **options: asked.append(1) or step)
    experiment = experiment_of(2, compile=compiled)
    list(experiment.points())
    assert experiment.save(tmp_path, corpus="")["compiled"] == compiled
    assert len(asked) == compiled


# the folder


def test_the_record_says_what_was_done(tmp_path, monkeypatch):
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(experiment_module.time, "perf_counter", lambda: float(next(clock)))
    experiment = experiment_of(4)
    list(experiment.points())
    record = experiment.save(tmp_path, corpus="names of friends")
    splits = split(WORDS)
    words = "\n".join([*splits.train, *splits.validation, *splits.test])
    assert record == {
        "corpus": "names of friends",
        "words_sha256": hashlib.sha256(words.encode()).hexdigest(),
        "examples": {
            name: sum(len(word) + 1 for word in part) for name, part in splits._asdict().items()
        },
        "network": {
            "network": "hierarchical",
            "context": 4,
            "n_embd": 3,
            "n_hidden": 5,
            "fuse": 2,
            "unbiased": False,
            "output_scale": 0.1,
        },
        "parameters": 9 * 3 + 2 * 3 * 5 + 2 * 5 * 5 + 2 * 2 * 5 + 6 * 9,
        "recipe": {
            "steps": 4,
            "batch_size": 4,
            "learning_rate": 0.1,
            "decay": 0.1,
            "decay_from": 0.75,
            "momentum": 0.0,
            "seed": 42,
        },
        "steps_done": 4,
        "training_seconds": 12.0,  # four pieces, of three seconds each
        "compiled": False,
        "losses": experiment.losses(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "typedwave": version("typedwave"),
        },
    }
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == record


def test_the_folder_has_checkpoint_curve_and_record_and_nothing_else(tmp_path):
    experiment = experiment_of(7)
    list(experiment.points())
    folder = tmp_path / "some" / "new"
    experiment.save(str(folder), corpus="")
    assert {file.name for file in folder.iterdir()} == {
        "checkpoint.safetensors",
        "curve.csv",
        "run.json",
    }
    with (folder / "curve.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["step", "train", "validation"]
    read = [Point(int(step), float(train), float(loss)) for step, train, loss in rows]
    assert read == experiment.curve
    loaded = load_checkpoint(folder / "checkpoint.safetensors")
    assert loaded.vocabulary == experiment.vocabulary
    assert loaded.network.config == CONFIG
    for name, tensor in experiment.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name


def test_saving_twice_is_saving_once(tmp_path):
    experiment = experiment_of(7)
    interrupt_at(experiment, 4)
    with pytest.raises(KeyboardInterrupt):
        list(experiment.points())
    first = experiment.save(tmp_path, corpus="")
    contents = [(tmp_path / name).read_bytes() for name in ("curve.csv", "run.json")]
    assert experiment.save(tmp_path, corpus="") == first
    assert [(tmp_path / name).read_bytes() for name in ("curve.csv", "run.json")] == contents
    assert len(list(tmp_path.iterdir())) == 3


def test_an_experiment_can_be_saved_before_its_first_step(tmp_path):
    record = experiment_of(7).save(tmp_path, corpus="")
    assert record["steps_done"] == 0
    assert (tmp_path / "curve.csv").read_text() == "step,train,validation\n"


def test_after_a_loop_that_was_left_it_can_be_saved(tmp_path):
    experiment = experiment_of(100)
    for point in experiment.points():
        if point.step == 6:
            break
    assert experiment.save(tmp_path, corpus="")["steps_done"] == 6
    assert [point.step for point in experiment.curve] == [2, 4, 6]


# claim


def test_a_new_folder_is_made_with_those_above_it(tmp_path):
    path = tmp_path / "runs" / "first"
    assert claim(str(path)) == path
    assert path.is_dir()
    assert claim(path) == path  # still empty
    assert list(path.iterdir()) == []


@pytest.mark.parametrize("name", ["run.json", ".hidden"])
def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(RunExistsError) as caught:
        claim(tmp_path)
    assert str(caught.value) == f"{tmp_path} is not empty; name a new folder for the run"
    assert (tmp_path / name).read_text() == "precious"


def test_a_file_in_its_place_is_an_error_of_the_system(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        claim(path)
    with pytest.raises(NotADirectoryError):
        claim(path / "below")
    assert path.read_text() == "precious"
