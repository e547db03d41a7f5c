import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedwave.lab.comparison.groups import (
    Losses,
    compare,
    groups_of,
    is_finished,
    losses_of_groups,
)
from typedwave.lab.comparison.significance import ComparisonError, difference, holm, summary
from typedwave.lab.runs.record import Record
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import (
    AnyRecipe,
    CountingRecipe,
    PoolRecipe,
    Recipe,
    WordsRecipe,
    fields_of,
)
from typedwave.models import (
    Config,
    NetworkConfig,
    NGramConfig,
    PoolConfig,
    RecurrentConfig,
    WaveNetConfig,
)

NETWORK = NetworkConfig()
RECIPE = Recipe()


def record(name: str, config: Config = NETWORK, recipe: AnyRecipe = RECIPE, **facts: Any) -> Record:
    return Record(
        Path("runs") / name,
        {
            "network": dataclasses.asdict(config),
            "recipe": fields_of(recipe),
            "corpus": "names.txt",
            "words_sha256": "0a30b555" * 8,
            "losses": {"validation": 2.0, "train": 1.9},
            **facts,
        },
    )


def seeded(seed: int, **fields: Any) -> Recipe:
    return Recipe(seed=seed, **fields)


def names(records) -> list[tuple[str, list[str]]]:
    return [(group.label, [each.name for each in group.records]) for group in groups_of(records)]


# groups_of


def test_runs_that_differ_only_in_the_seed_are_a_group_in_the_order_of_seeds():
    small = NetworkConfig(n_embd=10, n_hidden=68)
    runs = [
        record("c", small, seeded(3)),
        record("a", NETWORK, seeded(1)),
        record("b", small, seeded(2)),
        record("d", NETWORK, seeded(2)),
    ]
    assert names(runs) == [
        ("n_embd=10 n_hidden=68", ["b", "c"]),
        ("n_embd=24 n_hidden=128", ["a", "d"]),
    ]


def test_there_are_no_groups_of_no_runs():
    assert groups_of([]) == []


def test_a_single_group_is_called_by_its_kind():
    assert names([record("a"), record("b", recipe=seeded(1))]) == [("hierarchical", ["b", "a"])]


def test_a_label_has_the_fields_that_differ_also_of_the_recipe():
    runs = [
        record("a", recipe=seeded(1, learning_rate=0.1)),
        record("b", recipe=seeded(1, learning_rate=0.03)),
        record("c", recipe=seeded(1, learning_rate=0.03, schedule="cosine")),
    ]
    assert [label for label, _ in names(runs)] == [
        "learning_rate=0.1 schedule=step",
        "learning_rate=0.03 schedule=step",
        "learning_rate=0.03 schedule=cosine",
    ]


def test_a_field_that_only_some_have_is_told_where_it_differs_among_them():
    runs = [
        record("a", RecurrentConfig(n_hidden=138), WordsRecipe()),
        record("b", RecurrentConfig(n_hidden=64), WordsRecipe()),
        record("c", WaveNetConfig(dilations=(1, 2)), WordsRecipe()),
        record("d", NGramConfig(), CountingRecipe()),
    ]
    assert [label for label, _ in names(runs)] == [
        "network=gru n_hidden=138 recipe=words",
        "network=gru n_hidden=64 recipe=words",
        "network=wavenet recipe=words",
        "network=ngram recipe=counting",
    ]


def test_several_numbers_have_commas_between():
    runs = [record(str(n), WaveNetConfig(dilations=(1, n)), WordsRecipe()) for n in (2, 4)]
    assert [label for label, _ in names(runs)] == ["dilations=1,2", "dilations=1,4"]


def test_whole_numbers_are_equal_however_they_are_written():
    written = record("a")
    fields = {**written.facts["recipe"], "momentum": 0, "seed": 1}
    assert len(groups_of([written, record("b", recipe=seeded(1)), _with(written, fields)])) == 1


def _with(run: Record, recipe: dict[str, Any]) -> Record:
    return dataclasses.replace(run, facts={**run.facts, "recipe": recipe})


def test_runs_on_other_words_are_another_group():
    runs = [record("a"), record("b", words_sha256="ffff0000" * 8), record("c", recipe=seeded(1))]
    assert names(runs) == [("words=0a30b555", ["c", "a"]), ("words=ffff0000", ["b"])]


def pool(*orders: int, seed: int) -> tuple[PoolConfig, PoolRecipe]:
    members = (*(NGramConfig(order=order) for order in orders), RecurrentConfig())
    weights = tuple(0.5 for _ in members)
    recipes = (*(CountingRecipe(seed=seed) for _ in orders), WordsRecipe(seed=seed))
    return PoolConfig(members=members, weights=weights), PoolRecipe(recipes=recipes, seed=seed)


def test_pools_that_differ_only_in_seeds_are_a_group():
    runs = [record("a", *pool(4, seed=1)), record("b", *pool(4, seed=2))]
    assert names(runs) == [("pool", ["a", "b"])]


def test_the_members_of_pools_are_told_by_their_kinds_and_a_number_where_that_is_all():
    runs = [
        record("a", *pool(4, seed=1)),
        record("b", *pool(5, seed=1)),
        record("c", *pool(5, 5, seed=1)),
        record("d", *pool(6, seed=1)),
    ]
    assert [label for label, _ in names(runs)] == [
        "members=ngram,gru weights=0.5,0.5 recipes=counting,words",
        "members=ngram,gru weights=0.5,0.5 recipes=counting,words (2)",
        "members=ngram,ngram,gru weights=0.5,0.5,0.5 recipes=counting,counting,words",
        "members=ngram,gru weights=0.5,0.5 recipes=counting,words (3)",
    ]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_group_of_its_own(preset):
    config, recipe = PRESETS[preset]
    other = dataclasses.replace(recipe, seed=recipe.seed + 1)
    assert len(groups_of([record("a", config, recipe), record("b", config, other)])) == 1
    every = [record(name, *each) for name, each in PRESETS.items()]
    labels = [group.label for group in groups_of(every)]
    assert len(labels) == len(set(labels)) == len(PRESETS)


# losses_of_groups


def test_the_losses_of_a_group_are_by_seed():
    runs = [record(str(seed), recipe=seeded(seed), losses={"test": seed / 4}) for seed in (2, 1)]
    assert losses_of_groups(groups_of(runs), "test") == [Losses("hierarchical", {1: 0.25, 2: 0.5})]


@pytest.mark.parametrize("facts", [{"losses": {}}, {"interrupted": True}])
def test_runs_that_are_not_finished_are_named(facts):
    runs = [record("a", **facts), record("b", recipe=seeded(1)), record("c", NETWORK, **facts)]
    assert [is_finished(run) for run in runs] == [False, True, False]
    with pytest.raises(ComparisonError) as caught:
        losses_of_groups(groups_of(runs))
    assert str(caught.value) == "not finished: runs/a, runs/c; leave them out, or resume them"


def test_a_run_that_does_not_say_whether_it_was_interrupted_is_finished_with_its_losses():
    assert is_finished(record("a", interrupted=False))
    assert is_finished(record("a"))


def test_a_loss_that_a_run_has_not_is_named():
    with pytest.raises(ComparisonError) as caught:
        losses_of_groups(groups_of([record("a")]), "unseen")
    assert str(caught.value) == "runs/a has no unseen loss; it has validation, train"


def test_runs_on_different_words_are_not_compared():
    runs = [record("a"), record("b", words_sha256="ff" * 32, corpus="cities.txt")]
    with pytest.raises(ComparisonError) as caught:
        losses_of_groups(groups_of(runs))
    assert str(caught.value) == (
        "runs/a and runs/b are on different words, of names.txt and of cities.txt, and words "
        "differ more than networks"
    )


def test_one_seed_twice_is_one_experiment():
    with pytest.raises(ComparisonError) as caught:
        losses_of_groups(groups_of([record("a"), record("b")]))
    assert str(caught.value) == (
        "runs/a and runs/b have the same seed, 42, and so are one experiment, not two; name one "
        "of them"
    )


# compare

A = Losses("a", {1: 2.031, 2: 2.034, 3: 2.029, 4: 2.035})
B = Losses("b", {1: 2.022, 2: 2.029, 3: 2.024, 4: 2.025})
C = Losses("c", {5: 2.024, 6: 2.028})
ONE = Losses("one", {1: 2.1})


def test_each_group_is_compared_with_that_of_the_lowest_mean():
    found = compare([A, B, C], loss="test")
    assert (found.loss, found.reference, found.chosen) == ("test", "b", True)
    assert [row.label for row in found.rows] == ["a", "b", "c"]
    assert [row.label for row in found.others] == ["a", "c"]
    a, b, c = found.rows
    assert a.summary == summary([*A.by_seed.values()])
    assert a.difference == difference(A.by_seed, B.by_seed)
    assert c.difference == difference(C.by_seed, B.by_seed)
    assert (a.apart, c.apart) == (a.difference.mean, c.difference.mean)
    assert (b.apart, b.difference, b.p_holm, b.permutation_p_holm) == (None, None, None, None)


def test_or_with_one_that_is_named():
    found = compare([A, B], against=C)
    assert (found.reference, found.chosen) == ("c", False)
    assert [row.label for row in found.rows] == ["a", "b", "c"]
    assert found.others[0].difference == difference(A.by_seed, C.by_seed)


def test_holms_correction_is_for_the_tests_that_there_are():
    found = compare([A, B, ONE], against=C)
    a, b = (difference(group.by_seed, C.by_seed) for group in (A, B))
    assert [row.p_holm for row in found.rows] == [*holm([a.p, b.p]), None, None]
    permuted = holm([a.permutation_p, b.permutation_p])
    assert [row.permutation_p_holm for row in found.rows] == [*permuted, None, None]


def test_a_single_test_is_not_corrected():
    row = compare([A], against=B).rows[0]
    assert row.p_holm == row.difference.p
    assert row.permutation_p_holm == row.difference.permutation_p


def test_what_has_no_spread_is_not_among_the_tests_that_are_corrected():
    level = Losses("level", {1: 2.0, 2: 2.0})
    other = Losses("other", {1: 2.1, 2: 2.1})
    found = compare([other, A], against=level)
    assert found.rows[0].p_holm is None
    assert found.rows[1].p_holm == difference(A.by_seed, level.by_seed).p
    assert found.rows[0].permutation_p_holm == 0.5
    assert found.rows[1].permutation_p_holm == pytest.approx(2 * 2 / 15)


def test_one_run_has_a_difference_but_no_test():
    row = compare([ONE], against=A).rows[0]
    assert row.apart == pytest.approx(2.1 - 2.03225)
    assert (row.difference, row.p_holm, row.permutation_p_holm) == (None, None, None)
    assert compare([A], against=ONE).rows[0].difference is None


def test_one_group_is_compared_with_nothing():
    found = compare([A])
    assert (found.reference, found.others) == ("a", ())


@given(st.permutations([A, B, C]))
def test_the_order_of_groups_is_that_of_the_rows_and_nothing_else(mixed):
    found = {row.label: row for row in compare(mixed).rows}
    assert [*found] == [group.label for group in mixed]
    assert found == {row.label: row for row in compare([A, B, C]).rows}


def test_there_has_to_be_a_group():
    with pytest.raises(ComparisonError) as caught:
        compare([])
    assert str(caught.value) == "there is no group to compare"


def test_groups_are_told_apart_by_their_labels():
    with pytest.raises(ComparisonError) as caught:
        compare([A, B], against=A)
    assert str(caught.value) == "two groups are called a"


def test_a_group_has_losses():
    with pytest.raises(ComparisonError) as caught:
        compare([A, Losses("empty", {})])
    assert str(caught.value) == "there is no loss"
