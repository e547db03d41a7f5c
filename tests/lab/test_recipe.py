import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedwave.lab.recipe import PRESETS, Recipe
from typedwave.models import MLP


def refusal(**arguments) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        Recipe(**arguments)
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
    ],
)
def test_a_number_out_of_range_is_refused_with_its_limits(arguments, message):
    assert refusal(**arguments) == message


def test_the_limits_themselves_are_allowed():
    least = {"learning_rate": 0.0, "decay": 0.0, "decay_from": 0.0, "momentum": 0.0, "seed": 0}
    assert dataclasses.asdict(Recipe(steps=1, batch_size=1, **least)) == {
        "steps": 1,
        "batch_size": 1,
        **least,
    }
    assert Recipe(seed=2**64 - 1).seed == 2**64 - 1
    assert Recipe(decay_from=1.0).rate(199_999) == 0.1


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().steps = 3


def test_the_presets_are_the_rows_of_the_lecture_and_a_short_one():
    parameters = {
        name: sum(p.numel() for p in MLP(config, vocab_size=27, device="meta").parameters())
        for name, (config, _) in PRESETS.items()
    }
    assert parameters == {
        "demo": 76_579,
        "lecture": 76_579,
        "lecture-small": 22_397,
        "lecture-flat": 22_097,
        "lecture-flat-3": 12_097,
    }
    for name, (config, recipe) in PRESETS.items():
        assert config.unbiased == name.startswith("lecture")
        assert config.context == (3 if name == "lecture-flat-3" else 8)
        assert config.output_scale == 0.1
        assert recipe == Recipe(
            steps=40_000 if name == "demo" else 200_000,
            batch_size=32,
            learning_rate=0.1,
            decay=0.1,
            decay_from=0.75,
            momentum=0.0,
            seed=42,
        )
