import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedwave.lab.training.schedule import factor

SCHEDULES = ["step", "constant", "linear", "cosine"]
STEPS = st.integers(1, 300)
SHARES = st.floats(0, 1)


def factors(schedule: str, steps: int, **options) -> list[float]:
    return [factor(schedule, step, steps, **options) for step in range(steps)]


@given(schedule=st.sampled_from(SCHEDULES), steps=STEPS, warm_up=SHARES)
def test_no_factor_is_below_0_or_above_1(schedule, steps, warm_up):
    assert all(0 < x <= 1 for x in factors(schedule, steps, warm_up=warm_up))


@given(schedule=st.sampled_from(SCHEDULES), steps=STEPS, warm_up=SHARES)
def test_warming_up_multiplies_by_a_straight_line_from_almost_0_to_1(schedule, steps, warm_up):
    plain = factors(schedule, steps)
    for step, (warmed, full) in enumerate(
        zip(factors(schedule, steps, warm_up=warm_up), plain, strict=True)
    ):
        rising = min(1.0, (step + 1) / (warm_up * steps + 1))
        assert warmed == pytest.approx(rising * full, rel=1e-12)
        if step >= warm_up * steps:
            assert warmed == full


@given(steps=STEPS, warm_up=st.just(0.0) | st.floats(1e-3, 1))
def test_while_it_warms_up_a_constant_rate_rises_from_step_to_step(steps, warm_up):
    found = factors("constant", steps, warm_up=warm_up)
    risen = min(steps, math.ceil(warm_up * steps))
    assert all(before < after for before, after in pairwise(found[: risen + 1]))
    assert found[risen:] == [1.0] * (steps - risen)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@given(steps=st.integers(2, 300))
def test_it_falls_from_1_from_step_to_step_to_almost_0(schedule, steps):
    found = factors(schedule, steps)
    assert found[0] == 1.0
    assert all(before > after for before, after in pairwise(found))
    # The step after the last would be at 0.
    assert factor(schedule, steps, steps) == pytest.approx(0, abs=1e-12)
    assert found[-1] == pytest.approx(
        1 / steps if schedule == "linear" else math.sin(math.pi / 2 / steps) ** 2, rel=1e-6
    )


@given(steps=STEPS)
def test_a_cosine_is_half_way_down_in_the_middle_and_the_same_from_both_ends(steps):
    found = [factor("cosine", step, steps) for step in range(steps + 1)]
    for early, late in zip(found, found[::-1], strict=True):
        assert early + late == pytest.approx(1)
    assert factor("cosine", steps, 2 * steps) == pytest.approx(0.5)
    assert factor("cosine", steps, 4 * steps) == pytest.approx((1 + 0.5**0.5) / 2)


@given(steps=STEPS, decay=st.floats(0, 2), decay_from=SHARES)
def test_a_step_is_1_at_first_and_decayed_from_a_share_of_the_steps_on(steps, decay, decay_from):
    first = math.ceil(decay_from * steps)
    assert factors("step", steps, decay=decay, decay_from=decay_from) == (
        [1.0] * first + [decay] * (steps - first)
    )


def test_the_step_of_the_lecture_is_at_three_quarters_to_a_tenth():
    assert factors("step", 8) == [1.0] * 6 + [0.1] * 2


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_only_a_step_takes_the_decay(schedule):
    assert factors(schedule, 9, decay=7.0, decay_from=0.0) == factors(schedule, 9)
