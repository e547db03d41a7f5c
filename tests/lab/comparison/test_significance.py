import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from typedwave.lab.comparison.significance import (
    ComparisonError,
    Interval,
    Summary,
    difference,
    holm,
    seeds_needed,
    summary,
)

FIRST = {1: 2.031, 2: 2.034, 3: 2.029, 4: 2.035, 7: 2.030}
SECOND = {1: 2.022, 2: 2.029, 3: 2.024, 4: 2.025, 7: 2.029}
OTHER = {11: 2.022, 12: 2.029, 13: 2.024, 14: 2.030}

# As losses are, and not so close together that rounding decides.
losses = st.integers(10_000, 30_000).map(lambda n: n / 10_000)


def seeded(values) -> dict[int, float]:
    return dict(enumerate(values, start=1))


def values(group) -> list[float]:
    return [group[seed] for seed in sorted(group)]


pairs = st.lists(st.tuples(losses, losses), min_size=2, max_size=8)
"""The losses of seeds that both groups have."""

groups = st.lists(losses, min_size=2, max_size=6)
"""Those of one group."""


def spread(of) -> bool:
    return len(set(of)) > 1


# summary


def test_a_summary_has_the_mean_the_spread_and_where_the_mean_is():
    found = summary(values(FIRST))
    low, high = stats.t.interval(
        0.95, 4, loc=statistics.mean(values(FIRST)), scale=stats.sem(values(FIRST))
    )
    assert (found.n, found.min, found.max) == (5, 2.029, 2.035)
    assert found.mean == pytest.approx(statistics.mean(values(FIRST)), abs=1e-12)
    assert found.std == pytest.approx(statistics.stdev(values(FIRST)), abs=1e-12)
    assert found.interval == pytest.approx((low, high), abs=1e-12)


def test_one_run_has_no_spread():
    assert summary([2.5]) == Summary(1, 2.5, None, None, 2.5, 2.5)


def test_equal_losses_have_an_interval_of_no_width():
    assert summary([2.5] * 3) == Summary(3, 2.5, 0.0, Interval(2.5, 2.5), 2.5, 2.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there is no loss"),
        ([2.0, math.nan], "a loss is nan, but has to be finite"),
        ([2.0, math.inf, math.nan], "a loss is inf, but has to be finite"),
    ],
)
def test_a_summary_is_of_finite_losses(given, message):
    with pytest.raises(ComparisonError) as caught:
        summary(given)
    assert str(caught.value) == message


# difference


def test_the_same_seeds_are_paired():
    found = difference(FIRST, SECOND)
    apart = [FIRST[seed] - SECOND[seed] for seed in FIRST]
    test = stats.ttest_1samp(apart, 0)
    assert found.test == "paired t-test"
    assert found.mean == pytest.approx(statistics.mean(apart), abs=1e-12)
    assert found.p == pytest.approx(test.pvalue, rel=1e-9)
    assert found.interval == pytest.approx(tuple(test.confidence_interval(0.95)), abs=1e-12)
    assert found.std == pytest.approx(statistics.stdev(apart), abs=1e-12)
    assert found.pairs == 5
    assert found.correlation == pytest.approx(
        statistics.correlation(values(FIRST), values(SECOND)), abs=1e-9
    )


def test_other_seeds_are_tested_by_welch():
    found = difference(FIRST, OTHER)
    test = stats.ttest_ind(values(FIRST), values(OTHER), equal_var=False)
    assert found.test == "Welch's t-test"
    assert found.mean == pytest.approx(2.0318 - 2.02625, abs=1e-12)
    assert found.p == pytest.approx(test.pvalue, rel=1e-9)
    assert found.interval == pytest.approx(tuple(test.confidence_interval(0.95)), abs=1e-12)
    variances = [statistics.variance(values(each)) for each in (FIRST, OTHER)]
    assert found.std == pytest.approx(math.sqrt(sum(variances)), abs=1e-12)
    assert (found.pairs, found.agreeing, found.correlation) == (0, 0, None)


def test_seeds_of_which_only_some_are_the_same_are_not_paired():
    assert difference(FIRST, {seed: SECOND[seed] for seed in (1, 2, 3)}).test == "Welch's t-test"
    assert difference(FIRST, {**SECOND, 8: 2.0}).test == "Welch's t-test"


@given(pairs)
def test_flips_of_signs_are_counted_one_by_one(drawn):
    first, second = (seeded(each) for each in zip(*drawn, strict=True))
    apart = np.array([a - b for a, b in drawn])
    means = [(apart * signs).sum() for signs in itertools.product((1, -1), repeat=len(apart))]
    as_far = sum(abs(mean) >= abs(apart.sum()) - 1e-9 for mean in means)
    found = difference(first, second)
    assert found.permutation_p == pytest.approx(as_far / len(means))
    assert found.permutation_test == "sign-flip permutation test, exact"


@given(groups, groups)
def test_shuffles_of_groups_are_counted_one_by_one(first, second):
    assume(len(first) != len(second))
    both, n = np.array(first + second), len(first)

    def apart(chosen):
        return both[list(chosen)].mean() - np.delete(both, list(chosen)).mean()

    every = [apart(chosen) for chosen in itertools.combinations(range(len(both)), n)]
    observed = apart(range(n))
    tail = min(
        sum(each >= observed - 1e-9 for each in every),
        sum(each <= observed + 1e-9 for each in every),
    )
    found = difference(seeded(first), seeded(second))
    assert found.permutation_p == pytest.approx(min(1.0, 2 * tail / len(every)))
    assert found.permutation_test == "permutation test, exact"


def test_the_least_p_of_a_permutation_test_is_that_of_groups_apart():
    paired = difference({1: 2.0, 2: 2.1, 3: 2.2}, {1: 1.0, 2: 1.1, 3: 1.2 + 1e-6})
    assert paired.permutation_p == paired.least_p == 0.25
    unpaired = difference({1: 2.0, 2: 2.1, 3: 2.2}, {1: 1.0, 2: 1.1, 3: 1.2, 4: 1.3})
    assert unpaired.permutation_p == pytest.approx(2 / 35)
    assert unpaired.least_p == pytest.approx(2 / 35)


def test_so_many_permutations_that_some_are_drawn_are_drawn_the_same_each_time():
    generator = np.random.default_rng(3)
    first, second = (seeded(generator.normal(2, 0.1, 18)) for _ in range(2))
    found = difference(first, second)
    assert found.permutation_test == "sign-flip permutation test, 200,000 permutations"
    assert found.p == pytest.approx(found.permutation_p, abs=0.02)
    assert found == difference(first, second)


@given(pairs, st.booleans(), st.sampled_from([-0.5, 0.25, 4.0]))
def test_a_constant_in_both_groups_changes_no_difference(drawn, paired, constant):
    first, second = zip(*drawn, strict=True)
    assume(spread(a - b for a, b in drawn) and spread(first) and spread(second))
    numbers = range(1, len(drawn) + 1) if paired else range(101, len(drawn) + 101)
    one, two = seeded(first), dict(zip(numbers, second, strict=True))
    found = difference(one, two)
    moved = difference(
        {seed: loss + constant for seed, loss in one.items()},
        {seed: loss + constant for seed, loss in two.items()},
    )
    assert moved.mean == pytest.approx(found.mean, abs=1e-9)
    assert moved.interval == pytest.approx(found.interval, abs=1e-6)
    assert moved.p == pytest.approx(found.p, abs=1e-6)
    assert moved.permutation_p == pytest.approx(found.permutation_p)


@given(groups, groups, st.booleans())
def test_the_other_way_round_only_the_sign_is_different(first, second, paired):
    if paired:
        second = (second * 3)[: len(first)]
    assume(spread(first) and spread(second))
    assume(spread(a - b for a, b in zip(first, second, strict=False)))
    found = difference(seeded(first), seeded(second))
    turned = difference(seeded(second), seeded(first))
    assert turned.mean == pytest.approx(-found.mean, abs=1e-12)
    assert turned.interval == pytest.approx((-found.interval.high, -found.interval.low), abs=1e-9)
    assert turned.p == pytest.approx(found.p, abs=1e-9)
    assert turned.permutation_p == pytest.approx(found.permutation_p)
    assert (turned.pairs, turned.agreeing) == (found.pairs, found.agreeing)
    assert turned.detectable == pytest.approx(found.detectable)


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter(drawn, random):
    first, second = (seeded(each) for each in zip(*drawn, strict=True))
    mixed = [list(first.items()), list(second.items())]
    for each in mixed:
        random.shuffle(each)
    assert difference(*map(dict, mixed)) == difference(first, second)


@pytest.mark.parametrize("paired", [True, False])
def test_without_a_difference_any_p_is_as_likely(paired):
    generator = np.random.default_rng(5)
    ps, permuted, covered = [], [], 0
    for _ in range(500):
        first, second = generator.normal(2, 0.01, (2, 6))
        numbers = range(1, 7) if paired else range(11, 17)
        found = difference(seeded(first), dict(zip(numbers, second, strict=True)))
        ps.append(found.p)
        permuted.append(found.permutation_p)
        covered += found.interval.low <= 0 <= found.interval.high
    assert stats.kstest(ps, "uniform").pvalue > 0.01
    assert 0.03 < np.mean(np.array(ps) < 0.05) < 0.07
    assert 0.93 < covered / 500 < 0.97
    # Only multiples of its least p are there, so that it is below a bound rather too seldom.
    assert 0.015 < np.mean(np.array(permuted) < 0.05) < 0.065


def test_how_many_pairs_agree_in_the_direction_is_counted():
    first = {1: 2.1, 2: 2.2, 3: 2.3, 4: 1.9, 5: 2.0}
    second = dict.fromkeys(first, 2.0)
    assert difference(first, second).agreeing == 3
    assert difference(second, first).agreeing == 3


def test_what_is_detectable_is_seen_four_times_in_five():
    found = difference(FIRST, SECOND)
    generator = np.random.default_rng(2)
    apart = generator.normal(found.detectable, found.std, (20_000, 5))
    assert np.mean(stats.ttest_1samp(apart, 0, axis=1).pvalue < 0.05) == pytest.approx(
        0.8, abs=0.01
    )


def test_what_is_detectable_between_two_groups_is_seen_about_as_often():
    found = difference(FIRST, {seed + 20: loss for seed, loss in SECOND.items()})
    generator = np.random.default_rng(2)
    first = generator.normal(found.detectable, statistics.stdev(values(FIRST)), (20_000, 5))
    second = generator.normal(0, statistics.stdev(values(SECOND)), (20_000, 5))
    ps = stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue
    assert np.mean(ps < 0.05) == pytest.approx(0.8, abs=0.03)  # degrees of freedom are estimated


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_pairs_that_all_differ_by_the_same_are_not_tested_by_t(shift):
    found = difference(FIRST, {seed: loss - shift for seed, loss in FIRST.items()})
    assert found.mean == pytest.approx(shift, abs=1e-12)
    assert (found.p, found.interval, found.detectable) == (None, None, None)
    assert found.permutation_p == (1.0 if shift == 0 else 2 / 2**5)
    assert found.agreeing == 5


def test_what_rounding_does_is_no_spread():
    first = {1: 0.3, 2: 2.1, 3: 4.7}
    second = {seed: loss - 0.1 for seed, loss in first.items()}
    assert len({first[seed] - second[seed] for seed in first}) > 1
    assert difference(first, second).p is None


def test_groups_without_any_spread_are_not_tested_by_t():
    found = difference({1: 2.1, 2: 2.1, 3: 2.1}, {4: 2.0, 5: 2.0})
    assert found.mean == pytest.approx(0.1)
    assert (found.p, found.interval, found.detectable) == (None, None, None)
    assert found.permutation_p == pytest.approx(2 / 10)


def test_one_group_without_spread_is_enough_for_a_test():
    found = difference({1: 2.1, 2: 2.1, 3: 2.1}, {4: 2.0, 5: 2.01})
    assert found.p == pytest.approx(stats.ttest_1samp([2.0, 2.01], 2.1).pvalue)
    paired = difference({1: 2.1, 2: 2.1, 3: 2.1}, {1: 2.0, 2: 2.02, 3: 2.01})
    assert paired.p is not None
    assert paired.correlation is None


@pytest.mark.parametrize("single", [(FIRST, {1: 2.0}), ({1: 2.0}, FIRST), ({1: 2.0}, {1: 2.0})])
def test_one_run_is_not_tested(single):
    with pytest.raises(ComparisonError) as caught:
        difference(*single)
    assert str(caught.value) == (
        "a group has one run, and one run has no spread; train it again, with another seed"
    )


@pytest.mark.parametrize("second", [{1: 2.0, 2: math.nan}, {3: 2.0, 4: math.nan}])
def test_a_difference_is_of_finite_losses(second):
    with pytest.raises(ComparisonError) as caught:
        difference({1: 2.0, 2: 2.1}, second)
    assert str(caught.value) == "a loss is nan, but has to be finite"


def test_a_difference_is_of_losses():
    with pytest.raises(ComparisonError) as caught:
        difference(FIRST, {})
    assert str(caught.value) == "there is no loss"


# holm


@pytest.mark.parametrize(
    ("ps", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.6, 0.001, 0.5], [1.0, 0.003, 1.0]),
        ([0.9, 0.8], [1.0, 1.0]),
    ],
)
def test_holm_multiplies_by_how_many_tests_are_left(ps, adjusted):
    assert holm(ps) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.001, 0.999))
def test_holm_rejects_from_the_least_p_on_until_one_is_too_large(ps, bound):
    rejected = set()
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[i] * (len(ps) - rank) > bound:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(holm(ps)) if p <= bound} == rejected


# seeds_needed


@pytest.mark.parametrize(
    ("mean", "std", "paired", "power", "seeds"),
    [
        (0.5, 1.0, False, 0.8, 64),  # Cohen's tables
        (-0.8, 1.0, False, 0.8, 26),
        (0.8, 1.0, False, 0.9, 34),
        (0.5, 1.0, True, 0.8, 34),
        (0.2, 1.0, True, 0.8, 199),
        (2.0, 1.0, True, 0.8, 5),
        (3.0, 1.0, True, 0.8, 4),
        (100.0, 1.0, True, 0.8, 2),
    ],
)
def test_as_many_seeds_are_needed_as_the_tables_say(mean, std, paired, power, seeds):
    assert seeds_needed(mean, std, paired=paired, power=power) == seeds


@pytest.mark.parametrize("mean", [0.0, 1e-9])
def test_no_number_of_seeds_shows_what_is_not_there(mean):
    with pytest.raises(ComparisonError) as caught:
        seeds_needed(mean, 1.0)
    assert str(caught.value) == f"no number of seeds shows a difference of {mean:g} beside 1"


def test_two_seeds_are_enough_where_there_is_no_spread():
    assert seeds_needed(0.1, 0.0) == 2
