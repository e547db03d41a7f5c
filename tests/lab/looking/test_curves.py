import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_on_disk import measured

from typedwave.lab.looking.curves import Curves, curves_of, differing_number, smoothed, window_of
from typedwave.lab.runs.metrics import Metrics, Point
from typedwave.lab.runs.record import Record
from typedwave.lab.training.recipe import CountingRecipe, PoolRecipe, WordsRecipe, fields_of
from typedwave.models import NGramConfig, PoolConfig, RecurrentConfig

GRU = RecurrentConfig(n_embd=3, n_hidden=5)
POOL = PoolConfig(members=(GRU,), weights=(1.0,))


def recorded(
    train=(), /, *, name="run", config=GRU, recipe=None, seed=1, every=2, offset=0.5, **facts
) -> Record:
    """A run with these losses, and a point after every second step, that much above the loss."""
    recipe = dataclasses.replace(recipe or WordsRecipe(), seed=seed)
    told = {"network": dataclasses.asdict(config), "recipe": fields_of(recipe), **facts}
    points = tuple(
        Point(step, 0.0, train[step - 1] + offset) for step in range(every, len(train) + 1, every)
    )
    metrics = Metrics(np.array(train, np.float64), np.full(len(train), 0.1), points)
    return measured(Record(Path(name), told), metrics)


def message_of(act) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        act()
    return str(caught.value)


# smoothing


@given(
    losses=st.lists(st.floats(0, 10), min_size=1, max_size=40),
    window=st.integers(1, 50),
)
def test_each_value_is_the_mean_of_as_many_steps_drawn_in_their_middle(losses, window):
    line = smoothed(np.array(losses), window)
    size = min(window, len(losses))
    starts = range(len(losses) - size + 1)
    assert line.losses == pytest.approx([np.mean(losses[i : i + size]) for i in starts], abs=1e-9)
    # Steps are counted from 1.
    assert line.steps.tolist() == [np.mean(range(i + 1, i + size + 1)) for i in starts]


def test_nothing_is_smeared_over_the_ends():
    falling = np.arange(100.0, 0.0, -1.0)
    line = smoothed(falling, 9)
    assert np.array_equal(line.losses, 101 - line.steps)  # the line itself, without a bend
    assert (line.steps[0], line.steps[-1]) == (5, 96)


def test_a_window_of_one_step_leaves_all_as_it_is():
    line = smoothed(np.array([3.0, 1.0, 2.0]), 1)
    assert (line.steps.tolist(), line.losses.tolist()) == ([1, 2, 3], [3.0, 1.0, 2.0])


def test_of_no_steps_there_is_no_line():
    line = smoothed(np.zeros(0), 3)
    assert (len(line.steps), len(line.losses)) == (0, 0)


@pytest.mark.parametrize(
    ("lengths", "window"), [([], 1), ([0], 1), ([99], 1), ([250, 730], 7), ([20_000], 200)]
)
def test_a_hundredth_of_the_longest_run_is_smoothed_over(lengths, window):
    assert window_of([recorded([2.0] * length) for length in lengths]) == window


# groups


def test_runs_that_differ_in_their_seed_are_a_band_from_the_lowest_to_the_highest():
    losses = [[4.0, 3.0, 2.0, 1.0], [6.0, 5.0, 1.0, 0.0], [5.0, 4.0, 3.0, 5.0]]
    runs = [recorded(each, seed=seed) for seed, each in enumerate(losses)]
    (curves,) = curves_of(runs, window=1)
    assert curves.label == "gru"
    assert (curves.runs, len(curves.records), curves.shorter, curves.level) == (3, 3, (), None)
    assert curves.train.steps.tolist() == [1, 2, 3, 4]
    assert curves.train.mean.tolist() == [5, 4, 2, 2]
    assert curves.train.low.tolist() == [4, 3, 1, 0]
    assert curves.train.high.tolist() == [6, 5, 3, 5]
    assert curves.validation.steps.tolist() == [2, 4]
    assert curves.validation.mean.tolist() == [4.5, 2.5]
    assert curves.validation.low.tolist() == [3.5, 0.5]
    assert curves.validation.high.tolist() == [5.5, 5.5]
    assert curves.last == 2.5


def test_each_run_is_smoothed_before_the_lowest_is_looked_for():
    runs = [recorded([4.0, 2.0], seed=1), recorded([1.0, 5.0], seed=2)]
    (curves,) = curves_of(runs, window=2)
    assert curves.train.steps.tolist() == [1.5]
    assert (curves.train.low.tolist(), curves.train.high.tolist()) == ([3.0], [3.0])


def test_what_differs_else_is_another_group_in_the_order_of_the_first_runs():
    runs = [
        recorded([3.0, 2.0], recipe=WordsRecipe(muon_rate=0.5), seed=1),
        recorded([3.0, 2.0], seed=1),
        recorded([5.0, 4.0], recipe=WordsRecipe(muon_rate=0.5), seed=2),
        recorded([3.0, 2.0], seed=2, words_sha256="other"),
    ]
    curves = curves_of(runs)
    assert [[runs.index(record) for record in each.records] for each in curves] == [
        [0, 2],
        [1],
        [3],
    ]
    assert curves[0].label.startswith("muon_rate=0.5")
    assert curves[0].train.mean.tolist() == [4, 3]


def test_a_run_that_is_not_so_long_is_a_line_of_its_own():
    runs = [
        recorded([5.0, 4.0, 3.0, 2.0], seed=1),
        recorded([9.0, 8.0], seed=2),
        recorded([3.0, 2.0, 1.0, 0.0], seed=3),
        recorded([7.0], seed=4),
    ]
    (curves,) = curves_of(runs, window=1)
    assert curves.runs == 2
    assert curves.train.mean.tolist() == [4, 3, 2, 1]
    assert curves.train.high.tolist() == [5, 4, 3, 2]
    ((train, validation),) = curves.shorter  # one step is no line
    assert (train.steps.tolist(), train.losses.tolist()) == ([1, 2], [9, 8])
    assert (validation.steps.tolist(), validation.losses.tolist()) == ([2], [8.5])


def test_the_mean_of_validation_is_where_all_runs_have_a_point():
    runs = [recorded([4.0] * 6, seed=1, every=2), recorded([2.0] * 6, seed=2, every=3)]
    (curves,) = curves_of(runs, window=1)
    assert curves.validation.steps.tolist() == [6]
    assert curves.validation.mean.tolist() == [3.5]
    runs = [recorded([4.0] * 3, seed=1, every=2), recorded([2.0] * 3, seed=2, every=3)]
    (curves,) = curves_of(runs, window=1)
    assert curves.validation is None
    assert curves.last == math.inf


def test_a_long_run_is_thinned_and_keeps_its_ends():
    losses = np.linspace(3, 2, 20_000)
    (curves,) = curves_of([recorded(losses.tolist())], window=1)
    assert len(curves.train.steps) == 1_000
    assert (curves.train.steps[0], curves.train.steps[-1]) == (1, 20_000)
    assert curves.train.mean == pytest.approx(losses[curves.train.steps.astype(int) - 1])
    assert np.diff(curves.train.steps).max() <= 21


def test_pools_and_n_grams_have_a_level_once_they_are_finished():
    counted = {"config": NGramConfig(order=3), "recipe": CountingRecipe()}
    pooled = {"config": POOL, "recipe": PoolRecipe(recipes=(WordsRecipe(),))}
    runs = [
        recorded([2.0], **counted, seed=1, losses={"validation": 2.5, "test": 9.0}),
        recorded([2.0], **counted, seed=2, losses={"validation": 3.5}),
        recorded(**pooled, losses={"validation": 1.5}),
    ]
    ngram, pool = curves_of(runs)
    assert (ngram.level, ngram.last, ngram.train, ngram.runs) == (3.0, 3.0, None, 0)
    assert (pool.level, pool.validation) == (1.5, None)
    unfinished, trained = curves_of([recorded(**pooled), recorded([3.0, 2.0])])
    assert (unfinished.level, unfinished.last) == (None, math.inf)
    assert trained.level is None


def test_a_network_that_is_finished_is_no_level():
    (curves,) = curves_of([recorded([3.0, 2.0], losses={"validation": 1.0})])
    assert curves.level is None
    assert curves.last == 2.5


@pytest.mark.parametrize("runs", [[], [recorded()], [recorded([2.0]), recorded(seed=2)]])
def test_there_has_to_be_something_to_draw(runs):
    message = message_of(lambda: curves_of(runs))
    assert message == "there is nothing to draw: no run has done a step"


@pytest.mark.parametrize("window", [0, -3])
def test_a_window_has_a_step(window):
    message = message_of(lambda: curves_of([recorded([3.0, 2.0])], window=window))
    assert message == f"window is {window}, but has to be at least 1"


# one number that differs


def of(*runs: Record) -> list[Curves]:
    return curves_of(runs)


def rated(rate, **more) -> Record:
    return recorded([3.0, 2.0], recipe=WordsRecipe(muon_rate=rate), **more)


def test_the_one_number_in_which_groups_differ_is_found():
    found = differing_number(of(rated(0.5), rated(0.25), rated(0.25, seed=2), rated(1)))
    assert found == ("muon_rate", [0.5, 0.25, 1.0])


def test_the_seeds_of_the_groups_are_no_difference():
    assert differing_number(of(rated(0.5, seed=1), rated(0.25, seed=2))) == (
        "muon_rate",
        [0.5, 0.25],
    )


@pytest.mark.parametrize(
    "runs",
    [
        [rated(0.5)],
        [rated(0.5, seed=1), rated(0.5, seed=2)],
        [rated(0.5), recorded([3.0, 2.0], recipe=WordsRecipe(muon_rate=0.25, clip=0.5))],
        [rated(0.5), rated(0.25, words_sha256="other")],
        [rated(0.5), rated(0.25, config=RecurrentConfig(n_embd=3, n_hidden=6))],
        [recorded([3.0, 2.0], recipe=WordsRecipe(schedule=name)) for name in ("linear", "cosine")],
        [recorded([3.0, 2.0], config=RecurrentConfig(network=kind)) for kind in ("gru", "lstm")],
    ],
)
def test_there_is_none_where_they_differ_in_more_or_in_what_is_no_number(runs):
    assert differing_number(of(*runs)) is None
