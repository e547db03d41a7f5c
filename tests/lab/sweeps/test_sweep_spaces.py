"""What may be searched, and what is refused before the first trial."""

import dataclasses
import itertools
import math
import re
from pathlib import Path

import optuna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from typedwave.lab import PRESETS, Choices, CountingRecipe, Range, Recipe, Sweep, WordsRecipe
from typedwave.lab.sweeps import read_sweep
from typedwave.lab.sweeps.methods import quiet
from typedwave.lab.sweeps.searched import Searched
from typedwave.lab.sweeps.space import dimension_of, grid_of, suggested, table_of
from typedwave.models import CONFIGS, NetworkConfig, NGramConfig, RecurrentConfig, TransformerConfig

GRU, WORDS = RecurrentConfig(n_embd=3, n_hidden=5), WordsRecipe(epochs=2)
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "names.toml"


def refused(function, *arguments, **keywords) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        function(*arguments, **keywords)
    return str(caught.value)


# ranges and choices

numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6)


@st.composite
def ranges(draw) -> Range:
    kind = draw(st.sampled_from(["any", "log", "steps", "whole", "whole steps"]))
    if kind == "log":
        low, high = sorted([draw(st.floats(1e-6, 1e3)), draw(st.floats(1e-6, 1e3))])
        return Range(low=low, high=high, log=True)
    if kind == "steps":
        low, count = draw(st.integers(-50, 50)), draw(st.integers(0, 20))
        return Range(low=low / 4, high=(low + 3 * count) / 4, step=0.75)
    if kind == "whole steps":
        low, step = draw(st.integers(-50, 50)), draw(st.integers(1, 7))
        return Range(low=low, high=low + step * draw(st.integers(0, 9)), step=step)
    if kind == "whole":
        low, high = sorted([draw(st.integers(-99, 99)), draw(st.integers(-99, 99))])
        return Range(low=low, high=high)
    low, high = sorted([draw(numbers), draw(numbers)])
    return Range(low=low, high=high)


scalars = st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("abc", max_size=3)
choices = st.lists(
    scalars | st.lists(st.integers(0, 9), max_size=3).map(tuple), min_size=1, unique=True
).map(lambda values: Choices(tuple(values)))


def trial() -> optuna.Trial:
    with quiet():
        return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()


@given(ranges() | choices)
def test_a_dimension_is_what_its_table_says(dimension):
    assert dimension_of(table_of(dimension)) == dimension


@given(ranges())
def test_a_number_that_is_drawn_lies_in_its_range_and_on_a_step(dimension):
    for whole in {dimension.whole, False}:
        value = suggested(dimension, trial(), "x", whole=whole)
        assert type(value) is (int if whole else float)
        assert dimension.low <= value <= dimension.high
        if dimension.step:
            steps = (value - dimension.low) / dimension.step
            assert abs(steps - round(steps)) < 1e-6


def test_logarithms_are_drawn_evenly_where_log_is_true():
    asked = trial()
    for log in (True, False):
        for whole in (True, False):
            name = f"{log} {whole}"
            suggested(Range(low=1, high=8, log=log), asked, name, whole=whole)
            assert asked.distributions[name].log is log


@given(choices)
def test_a_choice_that_is_drawn_is_one_of_them_and_a_grid_has_each(dimension):
    value = suggested(dimension, trial(), "x", whole=False)
    assert any(value is one for one in dimension.values)
    assert len(grid_of(dimension, whole=False)) == len(dimension.values)


@given(ranges().filter(lambda each: each.step is not None))
def test_a_grid_goes_from_low_to_high_by_steps(dimension):
    assume(dimension.step is not None)
    values = grid_of(dimension, whole=dimension.whole)
    assert (values[0], values[-1]) == (dimension.low, dimension.high)
    assert all(b - a == dimension.step for a, b in itertools.pairwise(values))
    assert {type(value) for value in values} == {int if dimension.whole else float}


def test_a_grid_of_whole_numbers_needs_no_step():
    assert grid_of(Range(low=2, high=5), whole=True) == (2, 3, 4, 5)


def test_steps_are_those_that_were_written():
    assert grid_of(Range(low=0.1, high=0.4, step=0.1), whole=False) == (0.1, 0.2, 0.3, 0.4)


def test_what_has_no_end_has_no_grid():
    message = "a grid needs choices, whole numbers or a step"
    assert refused(grid_of, Range(low=1, high=2), whole=False) == message


json_like = st.recursive(
    st.none() | scalars | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
keys = st.sampled_from(["low", "high", "log", "step", "choices", "width"])


@given(json_like | st.dictionaries(keys, json_like | numbers, max_size=4))
def test_any_table_is_a_dimension_or_refused_in_words(table):
    try:
        dimension = dimension_of(table)
    except ValueError:
        return
    if isinstance(dimension, Range):
        assert table_of(dimension) == {"log": False, **table}
    else:
        assert len(dimension.values) == len(table["choices"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (3, "it is 3, but has to be a table of low and high, or of choices"),
        ({"lo": 3}, "there is no 'lo'; there are low, high, log, step, choices"),
        ({}, "low is missing; it has to have low and high, or choices"),
        ({"low": 3}, "high is missing; it has to have low and high, or choices"),
        (
            {"choices": [1], "low": 3},
            "choices stands alone, without low, high, log or step",
        ),
        ({"choices": 3}, "choices is 3, but has to be a list"),
        ({"choices": []}, "choices is empty"),
        ({"choices": [3, 4, 3]}, "choices has 3 twice"),
        ({"choices": [1, True]}, "choices has True twice"),
        ({"choices": [[1, 2], [1, 2]]}, "choices has (1, 2) twice"),
        (
            {"choices": [None]},
            "choices has None, but a choice is a number, a string, true, false, or a list of such",
        ),
        (
            {"choices": [[[1]]]},
            "choices has ([1],), but a choice is a number, a string, true, false, or a list of "
            "such",
        ),
        ({"low": "a", "high": 3}, "low is 'a', but has to be a finite number"),
        ({"low": True, "high": 3}, "low is True, but has to be a finite number"),
        ({"low": 1, "high": math.inf}, "high is inf, but has to be a finite number"),
        ({"low": 1, "high": 3, "step": "a"}, "step is 'a', but has to be a finite number"),
        ({"low": 1, "high": 3, "log": 1}, "log is 1, but has to be true or false"),
        ({"low": 4, "high": 3}, "low is 4, but has to be at most high = 3"),
        (
            {"low": 0, "high": 3, "log": True},
            "low is 0, but has to be more than 0 where log is true",
        ),
        (
            {"low": 1, "high": 3, "log": True, "step": 1},
            "step is 1, but log is true, which has no steps",
        ),
        ({"low": 1, "high": 3, "step": 0}, "step is 0, but has to be more than 0"),
        (
            {"low": 1, "high": 10, "step": 4},
            "high is 10, but steps of 4 from 1 do not lead there",
        ),
        (
            {"low": 0.1, "high": 0.35, "step": 0.1},
            "high is 0.35, but steps of 0.1 from 0.1 do not lead there",
        ),
    ],
)
def test_what_is_no_dimension_is_refused(table, message):
    assert refused(dimension_of, table) == message


def test_a_range_of_one_number_is_one():
    assert dimension_of({"low": 3, "high": 3}) == Range(low=3, high=3)


# fields


def test_no_config_has_a_field_that_a_recipe_has():
    """Else the name of a field would not tell whose it is."""
    recipes = (Recipe, WordsRecipe, CountingRecipe)
    ours = {field.name for cls in CONFIGS.values() for field in dataclasses.fields(cls)}
    theirs = {field.name for cls in recipes for field in dataclasses.fields(cls)}
    assert not ours & theirs


def test_a_trial_has_the_fields_of_its_kind_of_network():
    searched = Searched(
        GRU,
        WORDS,
        {
            "channels": Choices((4, 8)),
            "n_hidden": Range(low=2, high=9),
            "network": Choices(("lstm", "wavenet", "flat", "ngram")),
            "epochs": Range(low=1, high=3),
            "order": Choices((2, 3)),
        },
    )
    asked = {"lstm": 7, "wavenet": 4, "flat": 7, "ngram": 2}
    drawn = {
        kind: searched.drawn(lambda name, kind=kind: kind if name == "network" else (name, "drawn"))
        for kind in asked
    }
    assert {kind: list(values) for kind, values in drawn.items()} == {
        "lstm": ["network", "n_hidden", "epochs"],
        "wavenet": ["network", "channels", "epochs"],
        "flat": ["network", "n_hidden", "epochs"],
        "ngram": ["network", "order"],
    }


def test_a_kind_of_the_same_family_keeps_what_is_not_searched():
    searched = Searched(GRU, WORDS, {"network": Choices(("gru", "lstm", "wavenet", "ngram"))})
    assert list(searched.bases()) == [
        (GRU, WORDS),
        (dataclasses.replace(GRU, network="lstm"), WORDS),
        (PRESETS["wavenet"][0], WORDS),  # trained alike
        (PRESETS["ngram"][0], CountingRecipe()),  # which cannot be
    ]


def test_values_go_to_the_config_and_to_the_recipe():
    searched = Searched(GRU, WORDS, {"n_hidden": Choices((6,)), "muon_rate": Choices((0.5,))})
    config, recipe = searched.configured({"n_hidden": 6, "muon_rate": 0.5})
    assert config == dataclasses.replace(GRU, n_hidden=6)
    assert recipe == dataclasses.replace(WORDS, muon_rate=0.5)


def test_a_list_is_found_again_by_what_a_storage_has_of_it():
    space = {"dilations": Choices(([1], [1, 2])), "channels": Range(low=2, high=9)}
    searched = Searched(PRESETS["wavenet"][0], WORDS, space)
    values = {"channels": 3, "dilations": "[1, 2]"}
    assert list(searched.named(values).items()) == [("dilations", (1, 2)), ("channels", 3)]
    assert searched.named({"channels": 3}) == {"channels": 3}


def test_values_may_depend_on_one_another_where_some_go_together():
    config = TransformerConfig(n_embd=6, n_hidden=4, num_heads=2)
    heads = Choices((2, 5))  # 5 goes with no n_embd of 6
    Searched(config, WORDS, {"num_heads": heads, "n_embd": Choices((6, 10))})
    assert refused(Searched, config, WORDS, {"num_heads": heads}) == (
        "space.num_heads: n_embd is 6, but has to be a multiple of num_heads = 5"
    )
    only = Range(low=6, high=9)  # of which 9 goes with no number of heads
    assert refused(Searched, config, WORDS, {"n_embd": only, "num_heads": Choices((2, 6))}) == (
        "space.n_embd: n_embd is 9, but has to be a multiple of num_heads = 2"
    )


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space is empty; there is nothing to search"),
        (
            {"network": Choices(("gru", "grru"))},
            "space.network has to have choices among ngram, flat, hierarchical, wavenet, rnn, gru, "
            "lstm, transformer",
        ),
        (
            {"network": Range(low=1, high=2)},
            "space.network has to have choices among ngram, flat, hierarchical, wavenet, rnn, gru, "
            "lstm, transformer",
        ),
        (
            {"network": Choices(("pool",))},
            "space.network has to have choices among ngram, flat, hierarchical, wavenet, rnn, gru, "
            "lstm, transformer",
        ),
        (
            {"n_hiden": Choices((3,))},
            "there is no field for space.n_hiden; there are network, n_embd, n_hidden, num_layers, "
            "dropout, epochs, batch_size, accumulate, muon_rate, adam_rate, weight_decay, "
            "schedule, warm_up, clip, precision, seed, teacher, sampled",
        ),
        ({"n_hidden": (3, 4)}, "space.n_hidden is (3, 4), but has to be a Range or Choices"),
        (
            {"schedule": Range(low=1, high=2)},
            "space.schedule is of no numbers; it has to have choices",
        ),
        (
            {"teacher": Range(low=1, high=2)},
            "space.teacher is of no numbers; it has to have choices",
        ),
        (
            {"n_hidden": Range(low=2, high=2.5)},
            "space.n_hidden is of whole numbers; low, high and step have to be",
        ),
        (
            {"n_hidden": Range(low=2, high=5, step=1.5)},
            "space.n_hidden is of whole numbers; low, high and step have to be",
        ),
        (
            {"n_hidden": Range(low=0, high=2)},
            "space.n_hidden: n_hidden is 0, but has to be at least 1",
        ),
        (
            {"dropout": Range(low=0.5, high=1.5)},
            "space.dropout: dropout is 1.5, but has to be at least 0 and less than 1",
        ),
        (
            {"n_hidden": Choices((8, "a"))},
            "space.n_hidden: n_hidden is 'a', but has to be a whole number",
        ),
        (
            {"schedule": Choices(("linear", "steep"))},
            "space.schedule: schedule is 'steep', but there are constant, linear and cosine",
        ),
    ],
)
def test_what_no_network_takes_is_refused(space, message):
    assert refused(Searched, GRU, WORDS, space) == message


def test_the_grid_is_of_trials_that_differ():
    searched = Searched(
        GRU,
        WORDS,
        {
            "network": Choices(("gru", "wavenet")),
            "n_hidden": Range(low=2, high=4, step=2),
            "dilations": Choices(([1], [1, 2])),
            "epochs": Choices((1,)),
        },
    )
    assert searched.grid() == [
        {"network": "gru", "n_hidden": 2, "epochs": 1},
        {"network": "gru", "n_hidden": 4, "epochs": 1},
        {"network": "wavenet", "dilations": "[1]", "epochs": 1},
        {"network": "wavenet", "dilations": "[1, 2]", "epochs": 1},
    ]


# sweeps

SPACE = {"n_hidden": Range(low=2, high=9)}


def sweep(**settings) -> Sweep:
    return Sweep(**{"config": GRU, "recipe": WORDS, "space": SPACE, "trials": 3, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "name is '', but has to be a string that is not empty"),
        ({"name": 3}, "name is 3, but has to be a string that is not empty"),
        ({"trials": 0}, "trials is 0, but has to be a whole number of at least 1"),
        ({"trials": 2.0}, "trials is 2.0, but has to be a whole number of at least 1"),
        ({"seed": -1}, "seed is -1, but has to be a whole number of at least 0"),
        ({"seed": None}, "seed is None, but has to be a whole number of at least 0"),
        (
            {"max_parameters": 0},
            "max_parameters is 0, but has to be a whole number of at least 1",
        ),
        ({"seconds": 0}, "seconds is 0, but has to be a number of more than 0"),
        ({"seconds": math.inf}, "seconds is inf, but has to be a number of more than 0"),
        ({"seconds": "1"}, "seconds is '1', but has to be a number of more than 0"),
        (
            {"seconds_per_trial": -1.0},
            "seconds_per_trial is -1.0, but has to be a number of more than 0",
        ),
        ({"metric": "test"}, "metric is 'test', but there are validation and unseen"),
        (
            {"sampler": "tp"},
            "sampler is 'tp', but there are tpe, random, grid, qmc, gp and cmaes",
        ),
        (
            {"pruner": "mean"},
            "pruner is 'mean', but there are none, median, percentile, halving, hyperband and "
            "threshold",
        ),
        (
            {"trials": None},
            "trials and seconds are both missing, and nothing else ends a sweep",
        ),
        (
            {"sampler": "random", "sampler_options": {"x": 1}},
            "the sampler random has no option 'x'; it has none",
        ),
        (
            {"sampler": "grid", "sampler_options": {"x": 1}},
            "the sampler grid has no option 'x'; it has none",
        ),
        (
            {"pruner_options": {"n": 1}},
            "the pruner median has no option 'n'; there are n_startup_trials, n_warmup_steps, "
            "interval_steps, n_min_trials",
        ),
        (
            {"pruner_options": {"n_startup_trials": [1]}},
            "n_startup_trials of the pruner median is [1], but has to be a number, a string, true "
            "or false",
        ),
        (
            {"pruner_options": {"n_startup_trials": "x"}},
            "n_startup_trials of the pruner median is 'x', but has to be like its default, 5",
        ),
        (
            {"sampler_options": {"n_startup_trials": 2.5}},
            "n_startup_trials of the sampler tpe is 2.5, but has to be like its default, 10",
        ),
        (
            {"sampler_options": {"group": 1}},
            "group of the sampler tpe is 1, but has to be like its default, False",
        ),
        (
            {"sampler": "grid", "space": {"n_hidden": Range(low=1, high=10**9)}},
            "space.n_hidden: a grid of 1,000,000,000 points is too large; 100,000 are the most",
        ),
        (
            {
                "sampler": "grid",
                "space": {
                    "n_hidden": Range(low=1, high=401),
                    "n_embd": Range(low=1, high=250),
                },
            },
            "a grid of 100,250 points is too large; 100,000 are the most",
        ),
        (
            {"sampler": "grid", "space": {"muon_rate": Range(low=0.1, high=0.2)}},
            "space.muon_rate: a grid needs choices, whole numbers or a step",
        ),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(settings, message):
    assert refused(sweep, **settings) == message


def test_what_optuna_refuses_is_told_in_its_words():
    options = {"n_startup_trials": -1}
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        optuna.pruners.MedianPruner(**options)
    assert refused(sweep, pruner_options=options) == f"the pruner median: {caught.value}"


def test_a_sampler_whose_package_is_missing_says_which(monkeypatch):
    monkeypatch.setattr("typedwave.lab.sweeps.methods.find_spec", lambda name: None)
    assert refused(sweep, sampler="cmaes") == (
        "the sampler cmaes needs a package that is not installed: pip install cmaes"
    )
    assert refused(sweep, sampler="qmc") == (
        "the sampler qmc needs a package that is not installed: pip install scipy"
    )


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp"])
def test_no_sampler_warns_of_being_new(sampler, recwarn):
    options = {
        "tpe": {"multivariate": True, "group": True},
        "gp": {"deterministic_objective": True},
    }
    sweep(sampler=sampler, sampler_options=options.get(sampler, {}))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("pruner", "options"),
    [
        ("none", {}),
        ("median", {"n_warmup_steps": 3}),
        ("percentile", {}),
        ("percentile", {"percentile": 50.0}),
        ("halving", {"reduction_factor": 3}),
        ("hyperband", {"max_resource": 9}),
        ("threshold", {"upper": 2.5}),
    ],
)
def test_a_pruner_takes_the_options_of_optunas(pruner, options):
    made = sweep(pruner=pruner, pruner_options=options).pruner_made()
    assert isinstance(made, optuna.pruners.BasePruner)


def test_the_percentile_is_the_best_quarter_if_nothing_is_said():
    assert sweep(pruner="percentile").pruner_made()._percentile == 25.0


def test_there_are_no_more_trials_than_a_grid_has():
    grid = sweep(sampler="grid", trials=None)
    assert [grid.total(trials) for trials in (None, 3, 8, 20)] == [8, 3, 8, 8]
    assert [sweep().total(trials) for trials in (None, 20)] == [math.inf, 20]


def test_a_sweep_stays_the_same_with_another_name_and_budget():
    assert sweep().as_json() == sweep(name="other", trials=9, seconds=5).as_json()
    assert sweep().as_json() != sweep(seed=1).as_json()
    assert sweep().as_json() != sweep(seconds_per_trial=9).as_json()
    assert sweep().as_json() != sweep(max_parameters=9).as_json()
    assert sweep().as_json() != sweep(metric="unseen").as_json()
    assert sweep().as_json() != sweep(pruner="none").as_json()
    assert sweep().as_json() != sweep(pruner_options={"n_warmup_steps": 3}).as_json()
    assert sweep().as_json() != sweep(sampler="random").as_json()
    assert sweep().as_json() != sweep(sampler_options={"multivariate": True}).as_json()
    assert sweep().as_json() != sweep(space={"n_hidden": Range(low=2, high=8)}).as_json()
    assert sweep().as_json() != sweep(config=RecurrentConfig(n_embd=4)).as_json()
    assert sweep().as_json() != sweep(recipe=WordsRecipe()).as_json()


# files


def written(tmp_path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_what_python_says(tmp_path):
    path = written(
        tmp_path,
        """
        preset = "gru"
        [sweep]
        trials = 7
        seconds = 60.5
        seconds_per_trial = 5
        max_parameters = 9_000
        metric = "unseen"
        sampler = "qmc"
        pruner = "hyperband"
        seed = 3
        [sampler]
        scramble = true
        [pruner]
        max_resource = 50
        [network]
        n_embd = 4
        [recipe]
        epochs = 2
        [space.n_hidden]
        low = 4
        high = 64
        log = true
        [space.dropout]
        low = 0.0
        high = 0.5
        step = 0.1
        [space.network]
        choices = ["gru", "lstm"]
        """,
    )
    assert read_sweep(path) == Sweep(
        config=RecurrentConfig(n_embd=4),
        recipe=WordsRecipe(epochs=2),
        space={
            "n_hidden": Range(low=4, high=64, log=True),
            "dropout": Range(low=0.0, high=0.5, step=0.1),
            "network": Choices(("gru", "lstm")),
        },
        name="mine",
        trials=7,
        seconds=60.5,
        seconds_per_trial=5,
        max_parameters=9_000,
        metric="unseen",
        sampler="qmc",
        sampler_options={"scramble": True},
        pruner="hyperband",
        pruner_options={"max_resource": 50},
        seed=3,
    )


def test_a_file_may_name_the_sweep(tmp_path):
    text = '[sweep]\nname = "other"\ntrials = 2\n[space.n_hidden]\nchoices = [3]'
    read = read_sweep(written(tmp_path, text))
    assert (read.name, read.config, read.recipe) == ("other", *PRESETS["demo"])


def test_the_example_is_a_sweep_of_40_trials():
    assert read_sweep(EXAMPLE).trials == 40


def test_the_example_of_the_documentation_is_a_sweep(tmp_path):
    text = (EXAMPLE.parents[1] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    (example,) = re.findall("```toml\n(.*?)```", text, re.DOTALL)
    read = read_sweep(written(tmp_path, example))
    assert (read.trials, read.seconds_per_trial, len(read.space)) == (40, 120, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "Invalid value (at end of document)"),
        (
            "[spaces]",
            "there is no 'spaces'; a sweep has sweep, space, sampler, pruner, preset, network, "
            "recipe",
        ),
        ("sweep = 3", "sweep is 3, but has to be a table: [sweep]"),
        (
            "[sweep]\ntrails = 3",
            "sweep has no 'trails'; it has name, trials, seconds, seconds_per_trial, "
            "max_parameters, metric, sampler, pruner, seed",
        ),
        (
            "[sweep]\ntrials = 3\n[space]\nn_hidden = 3",
            "space.n_hidden: it is 3, but has to be a table of low and high, or of choices",
        ),
        (
            "[sweep]\ntrials = 3\n[space.n_hidden]\nlow = 3",
            "space.n_hidden: high is missing; it has to have low and high, or choices",
        ),
        ("[network]\nn_hidden = 0", "n_hidden is 0, but has to be at least 1"),
        (
            "[network]\nhidden = 1",
            "NetworkConfig.__init__() got an unexpected keyword argument 'hidden'",
        ),
        ("[sweep]\ntrials = 3", "space is empty; there is nothing to search"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused_with_its_path(tmp_path, text, message):
    path = written(tmp_path, text)
    assert refused(read_sweep, path) == f"{path}: {message}"


def test_an_order_of_ngrams_can_be_searched():
    searched = Searched(NGramConfig(), CountingRecipe(), {"order": Range(low=2, high=4)})
    assert searched.configured({"order": 3})[0] == NGramConfig(order=3)


def test_the_context_of_a_tree_has_to_be_one():
    tree = NetworkConfig(context=8)
    Searched(tree, Recipe(), {"context": Choices((4, 8, 16))})
    assert refused(Searched, tree, Recipe(), {"context": Range(low=4, high=12)}) == (
        "space.context: context is 12, but a hierarchical network needs a power of fuse = 2, such "
        "as 8 or 16"
    )
