import dataclasses
import functools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import (
    CountingRecipe,
    PoolRecipe,
    Recipe,
    WordsRecipe,
    fields_of,
    recipe_of,
)


def refusal(kind, **arguments) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        kind(**arguments)
    assert type(caught.value) is ValueError
    return str(caught.value)


@given(
    steps=st.integers(1, 1000),
    decay_from=st.floats(0, 1),
    rate=st.floats(0, 10),
    decay=st.floats(0, 2),
)
def test_the_rate_is_full_at_first_and_decayed_for_the_last_part(steps, decay_from, rate, decay):
    recipe = Recipe(steps=steps, decay_from=decay_from, learning_rate=rate, decay=decay)
    first = math.ceil(decay_from * steps)
    assert [recipe.rate(step) for step in range(steps)] == (
        [rate] * first + [rate * decay] * (steps - first)
    )


def test_the_lecture_decays_after_150_000_steps():
    rates = [Recipe().rate(step) for step in (0, 149_999, 150_000, 199_999)]
    assert rates == [0.1, 0.1, pytest.approx(0.01), pytest.approx(0.01)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps is 0, but has to be at least 1"),
        ({"batch_size": 0}, "batch_size is 0, but has to be at least 1"),
        ({"learning_rate": -0.5}, "learning_rate is -0.5, but has to be at least 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan, but has to be at least 0"),
        ({"decay": -1.0}, "decay is -1.0, but has to be at least 0"),
        ({"decay": math.nan}, "decay is nan, but has to be at least 0"),
        ({"decay_from": -0.1}, "decay_from is -0.1, but has to be 0 to 1"),
        ({"decay_from": 1.5}, "decay_from is 1.5, but has to be 0 to 1"),
        ({"decay_from": math.nan}, "decay_from is nan, but has to be 0 to 1"),
        ({"momentum": -0.1}, "momentum is -0.1, but has to be 0 to 1"),
        ({"momentum": 1.01}, "momentum is 1.01, but has to be 0 to 1"),
        ({"momentum": math.nan}, "momentum is nan, but has to be 0 to 1"),
        ({"seed": -1}, "seed is -1, but has to be at least 0"),
        ({"seed": 2**64}, f"seed is {2**64}, but has to be less than 2**64"),
        ({"steps": 3.0}, "steps is 3.0, but has to be a whole number"),
        ({"batch_size": True}, "batch_size is True, but has to be a whole number"),
        ({"seed": "1"}, "seed is '1', but has to be a whole number"),
        ({"learning_rate": math.inf}, "learning_rate is inf, but has to be finite"),
        ({"decay": math.inf}, "decay is inf, but has to be finite"),
        ({"accumulate": 0}, "accumulate is 0, but has to be at least 1"),
        ({"accumulate": 2.0}, "accumulate is 2.0, but has to be a whole number"),
        (
            {"accumulate": 4, "batch_size": 3},
            "accumulate is 4, but a batch of 3 has not so many parts",
        ),
        ({"warm_up": -0.1}, "warm_up is -0.1, but has to be 0 to 1"),
        ({"warm_up": 1.1}, "warm_up is 1.1, but has to be 0 to 1"),
        ({"clip": -1.0}, "clip is -1.0, but has to be at least 0"),
        ({"clip": math.nan}, "clip is nan, but has to be at least 0"),
        ({"clip": math.inf}, "clip is inf, but has to be finite"),
        ({"clip": None}, "clip is None, but has to be a number"),
        (
            {"schedule": "square"},
            "schedule is 'square', but there are step, constant, linear and cosine",
        ),
        ({"schedule": None}, "schedule is None, but there are step, constant, linear and cosine"),
        ({"precision": "float16"}, "precision is 'float16', but there are float32 and bfloat16"),
        (
            {"precision": ["float32"]},
            "precision is ['float32'], but there are float32 and bfloat16",
        ),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_limits(arguments, message):
    assert refusal(Recipe, **arguments) == message


def test_the_limits_themselves_are_allowed():
    least = {"learning_rate": 0.0, "decay": 0.0, "decay_from": 0.0, "momentum": 0.0, "seed": 0}
    least |= {"warm_up": 0.0, "clip": 0.0}
    assert dataclasses.asdict(Recipe(steps=1, batch_size=1, accumulate=1, **least)) == {
        "steps": 1,
        "batch_size": 1,
        "accumulate": 1,
        "schedule": "step",
        "precision": "float32",
        **least,
    }
    assert Recipe(batch_size=3, accumulate=3, warm_up=1.0, momentum=1.0).accumulate == 3
    assert Recipe(seed=2**64 - 1).seed == 2**64 - 1
    assert Recipe(decay_from=1.0).rate(199_999) == 0.1


@pytest.mark.parametrize("recipe", [Recipe(), WordsRecipe(), CountingRecipe()])
def test_it_cannot_be_changed(recipe):
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 3


# whole words


@given(
    epochs=st.integers(1, 9),
    batch_size=st.integers(1, 40),
    words=st.integers(1, 99),
    warm_up=st.floats(0, 1),
)
def test_the_rates_rise_from_almost_0_and_fall_to_almost_0_in_straight_lines(
    epochs, batch_size, words, warm_up
):
    recipe = WordsRecipe(epochs=epochs, batch_size=batch_size, warm_up=warm_up)
    steps = recipe.steps(words)
    assert steps == epochs * len(range(0, words, batch_size))
    factors = [recipe.factor(step, steps) for step in range(steps)]
    for step, factor in enumerate(factors):
        falling, rising = (steps - step) / steps, (step + 1) / (warm_up * steps + 1)
        assert factor == pytest.approx(falling * min(1, rising), rel=1e-9)
        assert 0 < factor <= 1
        if step >= warm_up * steps:
            assert factor == pytest.approx(falling, rel=1e-9)
    if warm_up == 0:
        assert factors[0] == 1


def test_what_an_epoch_of_the_names_is():
    assert WordsRecipe().steps(25_620) == 5 * 201
    rates = [WordsRecipe(warm_up=0.1).factor(step, 100) for step in (0, 4, 10, 50, 99)]
    assert rates == pytest.approx([1 / 11, 5 / 11 * 0.96, 0.9, 0.5, 0.01])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs is 0, but has to be at least 1"),
        ({"epochs": 1.0}, "epochs is 1.0, but has to be a whole number"),
        ({"batch_size": 0}, "batch_size is 0, but has to be at least 1"),
        ({"batch_size": True}, "batch_size is True, but has to be a whole number"),
        ({"muon_rate": -0.1}, "muon_rate is -0.1, but has to be at least 0"),
        ({"muon_rate": math.inf}, "muon_rate is inf, but has to be finite"),
        ({"adam_rate": -0.1}, "adam_rate is -0.1, but has to be at least 0"),
        ({"adam_rate": math.nan}, "adam_rate is nan, but has to be at least 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, but has to be at least 0"),
        ({"weight_decay": math.inf}, "weight_decay is inf, but has to be finite"),
        ({"warm_up": -0.1}, "warm_up is -0.1, but has to be 0 to 1"),
        ({"warm_up": 1.1}, "warm_up is 1.1, but has to be 0 to 1"),
        ({"clip": -1.0}, "clip is -1.0, but has to be at least 0"),
        ({"seed": -1}, "seed is -1, but has to be at least 0"),
        ({"seed": 2**64}, f"seed is {2**64}, but has to be less than 2**64"),
        ({"sampled": -1}, "sampled is -1, but has to be at least 0"),
        ({"sampled": 2.0}, "sampled is 2.0, but has to be a whole number"),
        ({"accumulate": 0}, "accumulate is 0, but has to be at least 1"),
        (
            {"accumulate": 129},
            "accumulate is 129, but a batch of 128 has not so many parts",
        ),
        ({"schedule": "step"}, "schedule is 'step', but there are constant, linear and cosine"),
        ({"precision": 16}, "precision is 16, but there are float32 and bfloat16"),
    ],
)
def test_a_number_for_words_out_of_range_is_refused_with_its_limits(arguments, message):
    assert refusal(WordsRecipe, **arguments) == message


def test_the_limits_of_the_numbers_for_words_are_allowed():
    least = dict.fromkeys(["muon_rate", "adam_rate", "weight_decay", "warm_up", "clip"], 0.0)
    recipe = WordsRecipe(epochs=1, batch_size=1, seed=0, **least)
    assert dataclasses.asdict(recipe) == {
        "epochs": 1,
        "batch_size": 1,
        "accumulate": 1,
        "schedule": "linear",
        "precision": "float32",
        **least,
        "seed": 0,
        "teacher": "",
        "sampled": 0,
    }
    assert WordsRecipe(warm_up=1.0, seed=2**64 - 1).factor(0, 9) == 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip": "1"}, "clip is '1', but has to be a number"),
        ({"teacher": None}, "teacher is None, but has to be the name of a preset"),
        ({"sampled": 5}, "sampled is 5, but there is no teacher to draw from"),
    ],
)
def test_what_would_be_ignored_or_is_none_is_refused(arguments, message):
    assert refusal(WordsRecipe, **arguments) == message


@pytest.mark.parametrize("kind", [CountingRecipe, functools.partial(PoolRecipe, recipes=())])
@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, "seed is -1, but has to be at least 0"),
        ("1", "seed is '1', but has to be a whole number"),
        (2**64, f"seed is {2**64}, but has to be less than 2**64"),
    ],
)
def test_counting_and_pools_have_a_seed_too(kind, seed, message):
    assert kind(seed=2**64 - 1).seed == 2**64 - 1
    assert kind().seed == 42
    assert refusal(kind, seed=seed) == message


# as fields


@pytest.mark.parametrize("preset", PRESETS)
def test_the_fields_of_a_recipe_make_it_again_also_by_way_of_json(preset):
    recipe = PRESETS[preset][1]
    assert recipe_of(fields_of(recipe)) == recipe
    assert recipe_of(json.loads(json.dumps(fields_of(recipe)))) == recipe


def test_the_fields_have_a_kind_and_those_of_a_pool_the_kinds_of_all():
    members = (Recipe(steps=3), CountingRecipe(), WordsRecipe(epochs=1))
    fields = fields_of(PoolRecipe(recipes=members, seed=7))
    assert (fields["kind"], fields["seed"]) == ("pool", 7)
    assert [member["kind"] for member in fields["recipes"]] == ["examples", "counting", "words"]
    assert fields["recipes"][1] == {"kind": "counting", "seed": 42}
    assert fields_of(members[0])["kind"] == "examples"
    del fields["recipes"][0]["batch_size"]
    assert recipe_of(fields).recipes[0] == Recipe(steps=3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "kind is None, but there are examples, words, counting, pool"),
        ({"kind": "word"}, "kind is 'word', but there are examples, words, counting, pool"),
        ({"kind": ["pool"]}, "kind is ['pool'], but there are examples, words, counting, pool"),
        ("words", "'words' is no recipe: it has no field named kind"),
        ({"kind": "words", "epochs": 0}, "epochs is 0, but has to be at least 1"),
        ({"kind": "pool", "recipes": 3}, "recipes is 3, but has to be a list of recipes"),
        ({"kind": "pool", "recipes": [3]}, "3 is no recipe: it has no field named kind"),
        (
            {"kind": "pool", "recipes": [{"kind": "counting", "seed": -1}]},
            "seed is -1, but has to be at least 0",
        ),
    ],
)
def test_what_is_no_recipe_is_refused(fields, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        recipe_of(fields)
    assert str(caught.value) == message


def test_a_field_that_there_is_not_is_an_error_of_type():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        recipe_of({"kind": "words", "epoch": 3})
