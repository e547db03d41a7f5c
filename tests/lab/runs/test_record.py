import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import EVERY, LEARNING

from typedwave.lab.runs.metrics import MetricsError, Point, lines_of
from typedwave.lab.runs.record import (
    RecordError,
    find_runs,
    read_facts,
    read_record,
    told_apart,
    words_of,
    write_record,
)
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import CountingRecipe, PoolRecipe, Recipe, WordsRecipe, fields_of
from typedwave.models import PoolConfig, config_of

RECIPE = Recipe(steps=3, batch_size=4)


def facts_of(config, recipe=RECIPE, **more) -> dict:
    return {
        "name": "some",
        "network": dataclasses.asdict(config),
        "recipe": fields_of(recipe),
        **more,
    }


@pytest.fixture
def folder(tmp_path):
    """A run that goes on."""
    folder = tmp_path / "run-7"
    folder.mkdir()
    write_record(folder, facts_of(EVERY["flat"], corpus="friends"))
    (folder / "metrics.jsonl").write_text(
        lines_of([3.0, 2.0], [0.1, 0.1], 0, Point(2, 2.5, 2.25, {"a": 0.5}))
    )
    return folder


def test_a_run_that_goes_on_has_no_losses_yet(folder):
    record = read_record(folder)
    assert record.folder == folder
    assert record.name == "run-7"  # what the folder is called now
    assert record.facts["corpus"] == "friends"
    assert record.losses == {}
    assert (record.config, record.recipe) == (EVERY["flat"], RECIPE)
    assert record.metrics.train.tolist() == [3.0, 2.0]
    assert record.metrics.points == (Point(2, 2.5, 2.25, {"a": 0.5}),)
    assert read_record(str(folder)).folder == folder


def test_a_run_that_is_finished_has_them(folder):
    losses = {"train": 2.0, "validation": 2.25}
    write_record(folder, facts_of(EVERY["flat"], losses=losses))
    assert read_record(folder).losses == losses


def test_a_run_without_metrics_has_no_steps(folder):
    (folder / "metrics.jsonl").unlink()
    metrics = read_record(folder).metrics
    assert (len(metrics.train), len(metrics.rate), metrics.points) == (0, 0, ())
    assert metrics.train.dtype == metrics.rate.dtype == np.float64


@pytest.mark.parametrize("kind", EVERY)
def test_config_and_recipe_of_every_network_are_read(folder, kind):
    recipes = [CountingRecipe(), WordsRecipe(epochs=3), RECIPE, PoolRecipe(recipes=(RECIPE,))]
    for recipe in recipes:
        write_record(folder, facts_of(EVERY[kind], recipe))
        record = read_record(folder)
        assert (record.config, record.recipe) == (EVERY[kind], recipe)


@pytest.mark.parametrize("preset", PRESETS)
def test_config_and_recipe_of_every_preset_are_read(folder, preset):
    write_record(folder, facts_of(*PRESETS[preset]))
    record = read_record(folder)
    assert (record.config, record.recipe) == PRESETS[preset]


def test_a_record_is_json_that_people_can_read(folder):
    facts = facts_of(PoolConfig(members=(LEARNING["gru"],), weights=(1.0,)), name="é")
    write_record(folder, facts)
    text = (folder / "run.json").read_text(encoding="utf-8")
    assert text == json.dumps(facts, indent=2) + "\n"
    assert read_facts(folder / "run.json") == json.loads(text)
    assert config_of(read_facts(folder / "run.json")["network"]) == config_of(facts["network"])
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "run.json"]


# what is not whole


def test_a_folder_without_a_record_is_no_run(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RecordError) as caught:
            read_record(folder)
        assert str(caught.value) == f"{folder} is not the folder of a run: it has no run.json"
    assert issubclass(RecordError, ValueError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "it holds no names with values"),
        ("null", "it holds no names with values"),
        ("{}", "it lacks 'network'"),
        ('{"network": {"network": "ngram", "order": 3}}', "it lacks 'recipe'"),
        ('{"network": {}, "recipe": {}}', "network is None, but there are "),
        ('{"network": 3, "recipe": {}}', "3 is no config: it has no field named network"),
        (
            '{"network": {"network": "ngram", "order": 3}, "recipe": {}}',
            "kind is None, but there are examples, words, counting, pool",
        ),
        (
            '{"network": {"network": "ngram", "order": 3}, "recipe": {"kind": "words", "x": 1}}',
            "WordsRecipe.__init__() got an unexpected keyword argument 'x'",
        ),
        (
            '{"network": {"network": "ngram", "order": 1}, "recipe": {"kind": "counting"}}',
            "order is 1, but has to be at least 2",
        ),
    ],
)
def test_a_record_that_is_damaged_is_named(folder, text, message):
    (folder / "run.json").write_text(text)
    with pytest.raises(RecordError) as caught:
        read_record(folder)
    said = str(caught.value)
    prefix = f"{folder}/run.json is not the record of a run: "
    assert said.startswith(prefix + message)
    assert said == prefix + message or message.endswith("there are ")


def test_a_record_that_is_no_utf_8_is_named(folder):
    (folder / "run.json").write_bytes(b'{"name": "\xff"}')
    with pytest.raises(RecordError) as caught:
        read_facts(folder / "run.json")
    assert str(caught.value) == (
        f"{folder}/run.json is not the record of a run: 'utf-8' codec can't decode byte 0xff in "
        "position 10: invalid start byte"
    )


def test_metrics_that_are_damaged_are_named_once_they_are_asked_for(folder):
    (folder / "metrics.jsonl").write_text("{}\n")
    record = read_record(folder)
    with pytest.raises(MetricsError, match=r"metrics\.jsonl, line 1 is not the metrics of step 1"):
        record.metrics  # noqa: B018


# where runs are


@pytest.fixture
def runs(tmp_path):
    """Runs in folders of folders; one has its teacher and the members of a pool within."""
    for name in ("b/2", "a", "b/10", "a/teacher-pool", "a/teacher-pool/1-gru", "c/d/e"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"losses": [1]}, "its losses is no table"),
        ({"environment": None}, "its environment is no table"),
        ({"teacher": "me"}, "its teacher is no table"),
        ({"losses": {"test": "low"}}, "its test loss is 'low'"),
        ({"losses": {"test": True}}, "its test loss is True"),
    ],
)
def test_facts_that_are_none_are_named(folder, facts, problem):
    write_record(folder, facts_of(EVERY["flat"], **facts))
    with pytest.raises(RecordError) as caught:
        read_record(folder)
    assert str(caught.value) == f"{folder}/run.json is not the record of a run: {problem}"


def test_the_runs_below_a_folder_are_found_in_order_of_their_names(runs):
    assert find_runs([runs]) == [runs / name for name in ("a", "b/10", "b/2", "c/d/e")]
    assert find_runs([runs / "b", str(runs / "a")]) == [
        runs / name for name in ("b/10", "b/2", "a")
    ]


def test_a_run_that_is_named_twice_is_found_once_where_it_came_first(runs):
    assert find_runs([runs / "b" / "2", runs / "b", runs / "b" / "2"]) == [
        runs / "b" / "2",
        runs / "b" / "10",
    ]


def test_a_run_is_found_once_however_it_is_reached(runs):
    (runs / "b" / "self").symlink_to(".")
    (runs / "b" / "up").symlink_to("..")
    (runs / "z").symlink_to("a")
    names = ("a", "b/10", "b/2", "c/d/e")
    assert find_runs([runs]) == [runs / name for name in names]
    assert find_runs([runs / "b"])[:2] == [runs / "b/10", runs / "b/2"]
    assert find_runs([runs / "z", runs / "a"]) == [runs / "z"]


def test_a_teacher_is_found_if_it_is_named(runs):
    assert find_runs([runs / "a" / "teacher-pool"]) == [runs / "a" / "teacher-pool"]


def test_of_nothing_there_is_nothing():
    assert find_runs([]) == []


@pytest.mark.parametrize("name", ["empty", "file", "none"])
def test_where_there_is_no_run_it_is_said(runs, name):
    with pytest.raises(RecordError) as caught:
        find_runs([runs / "a", runs / name])
    assert str(caught.value) == f"there is no run in {runs / name}: no run.json in it or below it"


# the words of a run


WORDS = ["eda", "bo", "ana", "eda"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS))
    return path


def known(corpus, words=WORDS) -> dict:
    return {
        "corpus": str(corpus),
        "words_sha256": hashlib.sha256("\n".join(words).encode()).hexdigest(),
    }


def test_the_words_of_a_run_are_those_of_its_corpus_in_their_order(folder, corpus):
    assert words_of(folder, known(corpus)) == WORDS
    write_record(folder, facts_of(EVERY["flat"], **known(corpus)))
    assert read_record(folder).words() == WORDS


@pytest.mark.parametrize("others", [WORDS[:-1], WORDS[::-1], [*WORDS, "bo"]])
def test_words_that_changed_since_are_refused(folder, corpus, others):
    with pytest.raises(RecordError) as caught:
        words_of(folder, known(corpus, others))
    assert str(caught.value) == (
        f"{corpus} has other words than {folder} was trained on; name their file as data"
    )


def test_words_that_are_gone_are_named(folder, tmp_path):
    for gone in (tmp_path / "gone.txt", tmp_path):
        with pytest.raises(RecordError) as caught:
            words_of(folder, known(gone))
        assert str(caught.value) == (
            f"the words of {folder} are not at {gone}; name their file as data"
        )


@pytest.mark.parametrize("facts", [{}, {"corpus": None}, {"corpus": 5}])
def test_a_record_that_does_not_name_its_words_is_named(folder, facts):
    with pytest.raises(RecordError) as caught:
        words_of(folder, facts)
    assert str(caught.value) == (
        f"{folder}/run.json does not say what the words are; name their file as data"
    )


# names that tell folders apart


def test_an_end_is_as_long_as_it_takes():
    folders = [Path("/runs/a/1"), Path("/runs/b/1"), Path("/runs/b/2"), Path("/other/b/1")]
    assert told_apart(folders) == ["a/1", "runs/b/1", "2", "other/b/1"]
    assert told_apart([Path("/a"), Path("/a/a")]) == ["a", "a/a"]
    assert told_apart([]) == []


@given(st.lists(st.lists(st.sampled_from("ab-"), min_size=1, max_size=4), unique_by=tuple))
def test_ends_tell_apart_and_none_could_be_shorter(parts):
    folders = [Path("/", *part) for part in parts]
    ends = told_apart(folders)
    assert len(set(ends)) == len(ends)
    for folder, end in zip(folders, ends, strict=True):
        assert f"/{end}" == str(folder)[-len(end) - 1 :]
        shorter = end.partition("/")[2]
        if shorter:
            others = [str(other) for other in folders if other != folder]
            assert any(other.endswith(f"/{shorter}") for other in others)
