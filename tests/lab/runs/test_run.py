"""A run from Python: the folder it leaves, in good times and in bad ones."""

import dataclasses
import hashlib
import json
import math
from types import SimpleNamespace

import pytest
import torch
from commands import RUN_FILES
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupting import stopping
from tiny_networks import EVERY, LEARNING, VOCABULARY, WORDS

from typedwave.lab import (
    CountingRecipe,
    DivergedError,
    Experiment,
    PoolRecipe,
    Recipe,
    Run,
    RunExistsError,
    WordsRecipe,
    claim,
    load_checkpoint,
    losses_of,
    read_record,
    split,
)
from typedwave.lab.runs import experiment as experiment_module
from typedwave.lab.runs import folder as folder_module
from typedwave.lab.runs import run as run_module
from typedwave.lab.runs.config_file import read_config
from typedwave.lab.runs.environment import environment
from typedwave.lab.training.processes import ALONE
from typedwave.models import NetworkConfig, NGram, NGramConfig, PoolConfig, RecurrentConfig, size_of

CONFIG, RECIPE = RecurrentConfig(n_embd=2, n_hidden=3), WordsRecipe(epochs=1, batch_size=4)
POOL = PoolConfig(members=(CONFIG, NGramConfig(order=3)), weights=(0.5, 0.5))
RECIPES = PoolRecipe(recipes=(RECIPE, CountingRecipe()), seed=7)
WINDOWS = NetworkConfig(context=4, n_embd=3, n_hidden=5)
SPLITS = split(WORDS)


def names_in(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def run_of(folder, **options) -> Run:
    return Run(folder, WORDS, corpus="friends", **options)


def as_written(record) -> dict:
    return json.loads(json.dumps({name: x for name, x in record.items() if name != "new"}))


def facts_in(folder) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


# what is written


def test_one_call_trains_a_pool_with_all_its_members_and_says_nothing(capsys, tmp_path):
    record = run_of(tmp_path).train(POOL, RECIPES, "both")
    assert capsys.readouterr() == ("", "")
    assert record["interrupted"] is False
    assert facts_in(tmp_path) == as_written(record)
    own = RUN_FILES - {"metrics.jsonl", "curve.png"}
    assert names_in(tmp_path) == {"1-gru", "2-ngram", *own}
    assert names_in(tmp_path / "1-gru") == RUN_FILES


def test_the_record_of_a_pool_says_what_was_done(tmp_path):
    record = run_of(tmp_path).train(POOL, RECIPES, "both")
    network = load_checkpoint(tmp_path / "checkpoint.safetensors").network
    assert network.config == POOL
    assert losses_of(network, VOCABULARY, SPLITS) == record["losses"]
    parameters = sum(p.numel() for p in network.parameters())
    assert record["parameters"] == parameters
    grams = [m for m in network.modules() if isinstance(m, NGram)]
    assert size_of(network) == parameters + grams[0].num_counts
    assert record["examples"]["train"] == sum(len(word) + 1 for word in SPLITS.train)
    read = read_record(tmp_path)
    assert (read.config, read.recipe) == (POOL, RECIPES)
    assert read.facts["corpus"] == "friends"
    member = read_record(tmp_path / "1-gru")
    assert (member.config, member.recipe, member.facts["name"]) == (CONFIG, RECIPE, "1-gru")


def test_what_is_said_is_told_line_by_line(tmp_path):
    said = []
    run_of(tmp_path, say=said.append).train(NGramConfig(order=2), CountingRecipe(), "pairs")
    assert said[0] == "pairs: ngram network, 0 parameters, 1 step"
    assert len(said) == 2


def test_the_record_says_what_was_done(tmp_path, monkeypatch):
    clock = iter(range(0, 1000, 3))
    watch = SimpleNamespace(perf_counter=lambda: float(next(clock)))
    monkeypatch.setattr(experiment_module, "time", watch)
    recipe = Recipe(steps=4, batch_size=4, seed=3)
    record = run_of(tmp_path).train(WINDOWS, recipe, "small")
    experiment = Experiment(WORDS, WINDOWS, recipe)
    list(experiment.points())
    letters = len(VOCABULARY)
    assert record.pop("new") == (tmp_path / "samples.txt").read_text().split()
    assert record == facts_in(tmp_path)
    assert record.pop("began").endswith("+00:00")
    assert record == {
        "name": "small",
        "corpus": "friends",
        "words_sha256": hashlib.sha256("\n".join(WORDS).encode()).hexdigest(),
        "network": {
            "network": "hierarchical",
            "context": 4,
            "n_embd": 3,
            "n_hidden": 5,
            "fuse": 2,
            "unbiased": False,
            "output_scale": 0.1,
        },
        "recipe": {
            "kind": "examples",
            "steps": 4,
            "batch_size": 4,
            "accumulate": 1,
            "learning_rate": 0.1,
            "schedule": "step",
            "warm_up": 0.0,
            "decay": 0.1,
            "decay_from": 0.75,
            "momentum": 0.0,
            "clip": 0.0,
            "precision": "float32",
            "seed": 3,
        },
        "compiled": False,
        "environment": environment(ALONE),
        "examples": {
            name: sum(len(word) + 1 for word in part)
            for name, part in {**SPLITS._asdict(), "unseen": set(SPLITS.validation)}.items()
            if name in record["losses"]
        },
        "parameters": letters * 3 + 2 * 3 * 5 + 2 * 5 * 5 + 2 * 2 * 5 + 6 * letters,
        "steps": 4,
        "steps_done": 4,
        "training_seconds": 24.0,  # four points, each of two pieces of three seconds
        "losses": experiment.losses(),
        "interrupted": False,
    }


def test_the_folder_has_its_six_files_and_they_say_what_an_experiment_has(tmp_path):
    recipe = Recipe(steps=120, batch_size=4)  # a point every 3 steps, a piece every 2
    folder = tmp_path / "some" / "new"
    run_of(folder).train(WINDOWS, recipe, "small")
    assert names_in(folder) == RUN_FILES
    experiment = Experiment(WORDS, WINDOWS, recipe)
    list(experiment.points())
    read = read_record(folder)
    assert list(read.metrics.points) == experiment.curve
    assert read.metrics.train.tolist() == experiment._training.losses.tolist()
    assert read.metrics.rate.tolist() == [recipe.rate(step) for step in range(120)]
    loaded = load_checkpoint(folder / "checkpoint.safetensors")
    assert loaded.vocabulary == experiment.vocabulary
    assert loaded.network.config == WINDOWS
    for name, tensor in experiment.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert read_config(folder / "config.toml") == (WINDOWS, recipe)


@pytest.mark.parametrize("kind", [*LEARNING, "ngram"])
def test_a_run_of_every_network_can_be_read_and_loaded(tmp_path, kind):
    recipe = CountingRecipe() if kind == "ngram" else WordsRecipe(epochs=1, batch_size=4)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    record = run_of(tmp_path).train(EVERY[kind], recipe, kind)
    assert torch.equal(torch.get_rng_state(), before)
    assert facts_in(tmp_path) == as_written(record)
    assert record["network"] == dataclasses.asdict(EVERY[kind])
    assert names_in(tmp_path) == RUN_FILES
    read = read_record(tmp_path)
    assert (read.config, read.recipe) == (EVERY[kind], recipe)
    loaded = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert losses_of(loaded.network, loaded.vocabulary, SPLITS) == record["losses"] == read.losses


@pytest.mark.parametrize("compiled", [False, True])
def test_whether_it_is_compiled_is_passed_on_and_recorded(monkeypatch, tmp_path, compiled):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda step, **options: asked.append(1) or step)
    recipe = Recipe(steps=2, batch_size=4)
    assert run_of(tmp_path, compile=compiled).train(WINDOWS, recipe, "a")["compiled"] == compiled
    assert len(asked) == compiled


def test_the_lines_of_metrics_are_there_before_a_point_is_told(tmp_path):
    seen = []

    def watch(experiment, points):
        for point in points:
            assert list(read_record(tmp_path).metrics.points) == experiment.curve
            assert len(read_record(tmp_path).metrics.train) == point.step == experiment.step
            assert read_record(tmp_path).losses == {}
            seen.append(point)
        return False

    run_of(tmp_path, watch=watch).train(WINDOWS, Recipe(steps=120, batch_size=4), "a")
    assert len(seen) == 40


@pytest.mark.parametrize("save_every", [0.0, 5.0])
def test_states_are_saved_so_many_seconds_apart_and_go_when_all_is_done(
    tmp_path, monkeypatch, save_every
):
    clock = iter(range(0, 1000, 2))
    watch = SimpleNamespace(perf_counter=lambda: float(next(clock)))
    monkeypatch.setattr(experiment_module, "time", watch)
    saved, plain = [], folder_module.save_state

    def noting(folder, state):
        saved.append(state.step)
        plain(folder, state)

    monkeypatch.setattr(folder_module, "save_state", noting)
    run_of(tmp_path, save_every=save_every).train(WINDOWS, Recipe(steps=9, batch_size=4), "a")
    # A step takes four seconds: two until the last step before a point, and two for that.
    assert saved == ([*range(1, 10)] if save_every == 0 else [2, 4, 6, 8])
    assert names_in(tmp_path) == RUN_FILES


# interrupts


@given(steps=st.integers(2, 110), data=st.data())
@settings(max_examples=12)
def test_an_interrupt_anywhere_keeps_what_is_trained(steps, data, tmp_path_factory):
    at, folder = data.draw(st.integers(1, steps - 1)), tmp_path_factory.mktemp("interrupted")
    said, recipe = [], Recipe(steps=steps, batch_size=4)
    stopped = run_of(folder, watch=stopping(at), say=said.append, save_every=0)
    with pytest.MonkeyPatch.context() as patch:  # the curve takes longer than all else
        patch.setattr(run_module, "draw_curve", lambda path, points, title: path.touch())
        record = stopped.train(WINDOWS, recipe, "a")
    assert record["interrupted"] is True
    assert record["steps_done"] == at
    assert facts_in(folder) == as_written(record)
    assert f"stopped after {at} of {steps} steps" in [line.replace(",", "") for line in said]
    states = {name for name in names_in(folder) if name.startswith("state-")}
    assert states or at < math.ceil(steps / 50) or at < math.ceil(steps / 100)
    assert names_in(folder) - states == RUN_FILES

    whole = Experiment(WORDS, WINDOWS, recipe)
    list(whole.points())
    read = read_record(folder)
    assert read.metrics.train.tolist() == whole._training.losses[:at].tolist()
    assert list(read.metrics.points) == [point for point in whole.curve if point.step <= at]
    saved = load_checkpoint(folder / "checkpoint.safetensors").network
    assert losses_of(saved, VOCABULARY, SPLITS) == record["losses"]


def test_an_interrupt_before_the_first_step_leaves_nothing(tmp_path):
    assert run_of(tmp_path, watch=stopping(0)).train(CONFIG, RECIPE, "a") is None
    assert names_in(tmp_path) == set()


def test_a_loop_that_is_left_is_kept_so_far(tmp_path):
    def watch(experiment, points):
        for point in points:
            if point.step == 6:
                break
        return False

    recipe = Recipe(steps=100, batch_size=4)
    record = run_of(tmp_path, watch=watch).train(WINDOWS, recipe, "a")
    assert record["steps_done"] == 6
    assert [point.step for point in read_record(tmp_path).metrics.points] == [2, 4, 6]


# errors


@pytest.mark.parametrize(("config", "recipe"), [(POOL, RECIPE), (CONFIG, RECIPES)])
def test_the_recipe_of_a_pool_is_for_pools_only(tmp_path, config, recipe):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        run_of(tmp_path).train(config, recipe, "wrong")
    assert str(caught.value) == "a PoolRecipe is for a pool, and a pool for a PoolRecipe"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "recipe", "options", "message"),
    [
        (
            POOL,
            PoolRecipe(recipes=(RECIPE,)),
            {},
            "the pool has 2 members, but there are 1 recipes",
        ),
        (
            CONFIG,
            RECIPE,
            {"compile": True},
            "compile is for a training step on examples, which this recipe has not",
        ),
        (
            CONFIG,
            RECIPE,
            {"teacher": "some"},
            "there is a trained teacher, but the recipe has none; name its preset as teacher",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_there_is_a_folder(
    tmp_path, config, recipe, options, message
):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        run_of(tmp_path / "run", **options).train(config, recipe, "wrong")
    assert str(caught.value) == message
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("config", [WINDOWS, NGramConfig(order=3)])
def test_what_only_an_experiment_refuses_leaves_nothing(tmp_path, config):
    with pytest.raises(ValueError, match="is not for a network of kind"):
        run_of(tmp_path).train(config, CountingRecipe() if config == WINDOWS else RECIPE, "wrong")
    assert names_in(tmp_path) == set()


def test_a_run_that_diverges_late_keeps_what_was_done_and_why_it_ended(tmp_path):
    # Twenty steps at a rate that still works, and then it is multiplied.
    recipe = Recipe(steps=40, batch_size=4, decay=1e30, decay_from=0.5)
    with pytest.raises(DivergedError) as caught:
        run_of(tmp_path, save_every=0).train(WINDOWS, recipe, "a")
    read = read_record(tmp_path)
    assert read.facts["error"] == str(caught.value)
    assert str(caught.value) == (
        "the loss of step 21 is nan, with learning rate 1e+29; a smaller one may keep it finite"
    )
    assert read.losses == {}
    assert "interrupted" not in read.facts
    assert len(read.metrics.train) == 21
    assert names_in(tmp_path) == {
        "config.toml",
        "metrics.jsonl",
        "run.json",
        "state-000000000020.safetensors",
        "state-000000000021.safetensors",
    }


def test_a_run_that_diverges_at_once_leaves_nothing(tmp_path):
    recipe = Recipe(steps=200, batch_size=4, learning_rate=1e30)  # of which two are kept at once
    with pytest.raises(DivergedError):
        run_of(tmp_path).train(WINDOWS, recipe, "a")
    assert names_in(tmp_path) == set()


def test_a_run_of_another_is_not_written_over(tmp_path):
    run_of(tmp_path).train(CONFIG, RECIPE, "a")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunExistsError) as caught:
        run_of(tmp_path).train(CONFIG, RECIPE, "a")
    assert str(caught.value) == (
        f"{tmp_path} is not empty; name a new folder for the run, or go on with the one that is in "
        "it"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# claim


def test_a_new_folder_is_made_with_those_above_it(tmp_path):
    path = tmp_path / "runs" / "first"
    claim(path)
    assert path.is_dir()
    claim(path)  # still empty
    assert list(path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "more"), [("run.json", ", or go on with the one that is in it"), (".hidden", "")]
)
def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, name, more):
    (tmp_path / name).write_text("precious")
    with pytest.raises(RunExistsError) as caught:
        claim(tmp_path)
    assert str(caught.value) == f"{tmp_path} is not empty; name a new folder for the run{more}"
    assert (tmp_path / name).read_text() == "precious"


def test_what_another_process_writes_just_now_is_left_alone(tmp_path):
    (tmp_path / "run.json").write_text("its record")
    (tmp_path / ".new-state-1.safetensors-abc").write_text("its state, half of it")
    (tmp_path / ".new-folder").mkdir()
    with pytest.raises(RunExistsError):
        claim(tmp_path)
    assert (tmp_path / ".new-state-1.safetensors-abc").read_text() == "its state, half of it"


def test_a_folder_in_which_a_run_was_killed_before_it_began_is_empty(tmp_path):
    for name in (".lock", ".new-run.json-abc.json"):
        (tmp_path / name).write_text("{")
    run_of(tmp_path).train(CONFIG, RECIPE, "a")
    assert names_in(tmp_path) == RUN_FILES


def test_a_file_in_its_place_is_an_error_of_the_system(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        claim(path)
    with pytest.raises(NotADirectoryError):
        claim(path / "below")
    assert path.read_text() == "precious"
