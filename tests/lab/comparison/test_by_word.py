import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tiny_networks import EVERY, SEQUENCES, VOCABULARY, WINDOWS, WORDS, made

from typedwave.lab.comparison import by_word as by_word_module
from typedwave.lab.comparison.by_word import difference_of_words, losses_by_word, together
from typedwave.lab.comparison.significance import ComparisonError, Interval
from typedwave.lab.evaluation import evaluate
from typedwave.lab.words.corpus import Examples, examples
from typedwave.lab.words.sequences import Sequences, sequences
from typedwave.models import MLP, NGram

CHARACTERS = np.array([len(word) + 1 for word in WORDS])


def data_for(network, words=WORDS) -> Examples | Sequences:
    if isinstance(network, MLP | NGram):
        return examples(words, VOCABULARY, context=network.context)
    return sequences(words, VOCABULARY)


# losses_by_word


@pytest.mark.parametrize("kind", EVERY)
def test_each_word_costs_what_it_costs_by_itself(kind):
    network = made(EVERY[kind])
    alone = [evaluate(network, data_for(network, [word])) * (len(word) + 1) for word in WORDS]
    assert losses_by_word(network, data_for(network)) == pytest.approx(np.array(alone), rel=1e-5)


@pytest.mark.parametrize("kind", EVERY)
def test_all_words_together_cost_what_evaluate_says(kind):
    network = made(EVERY[kind])
    data = data_for(network)
    assert losses_by_word(network, data).sum() / CHARACTERS.sum() == pytest.approx(
        evaluate(network, data), rel=1e-6
    )


@pytest.mark.parametrize("kind", ["hierarchical", "gru"])
def test_how_many_are_computed_at_once_does_not_matter(monkeypatch, kind):
    network = made(EVERY[kind])
    whole = losses_by_word(network, data_for(network))
    monkeypatch.setattr(by_word_module, "_AT_ONCE", 4)
    monkeypatch.setattr(by_word_module, "_WORDS_AT_ONCE", 5)
    assert losses_by_word(network, data_for(network)) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("config", [WINDOWS["flat"], SEQUENCES["gru"]])
def test_it_is_asked_in_eval_mode_and_without_gradients(config):
    network = made(config)
    seen = []
    network.register_forward_hook(
        lambda module, _, out: seen.append((module.training, out.requires_grad))
    )
    losses_by_word(network.train(), data_for(network))
    assert set(seen) == {(False, False)}
    assert network.training


# difference_of_words


def drawn(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """What words cost two networks of which the second is better by 0.01 nats a character."""
    generator = np.random.default_rng(seed)
    words = ["x" * n for n in generator.integers(2, 12, count)]
    characters = np.array([len(word) + 1 for word in words])
    first = characters * 2.0 + generator.normal(0, 1, count)
    second = first - characters * 0.01 + generator.normal(0, 0.2, count)
    return first, second, words


def test_the_difference_is_that_of_the_losses():
    first, second, words = drawn(1)
    characters = sum(len(word) + 1 for word in words)
    found = difference_of_words([first, first + 1], [second], words)
    apart = (first + 0.5).sum() / characters - second.sum() / characters
    assert found.mean == pytest.approx(apart, abs=1e-12)
    assert found.words == 300
    assert (found.lower, found.higher) == (
        int((first + 0.5 < second).sum()),
        int((first + 0.5 > second).sum()),
    )


def test_the_interval_is_about_that_of_a_ratio_of_means():
    first, second, words = drawn(2, 2_000)
    found = difference_of_words([first], [second], words)
    characters = np.array([len(word) + 1 for word in words])
    rest = first - second - found.mean * characters  # Taylor's first term, by hand
    half = 1.96 * stats.sem(rest) / characters.mean()
    assert found.interval == pytest.approx((found.mean - half, found.mean + half), abs=half / 15)


def test_the_interval_has_the_truth_in_it_as_often_as_it_says():
    inside = 0
    for seed in range(100):
        low, high = difference_of_words(*_single(*drawn(seed, 60))).interval
        inside += low <= 0.01 <= high
    assert 88 <= inside <= 99


def _single(first, second, words):
    return [first], [second], words


@given(st.integers(0, 1_000), st.sampled_from([-1.0, 0.5]))
def test_what_both_pay_more_changes_nothing(seed, more):
    first, second, words = drawn(seed, 30)
    found = difference_of_words([first], [second], words)
    moved = difference_of_words([first + more], [second + more], words)
    assert moved.mean == pytest.approx(found.mean, abs=1e-9)
    assert moved.interval == pytest.approx(found.interval, abs=1e-9)


def test_the_other_way_round_only_the_sign_is_different():
    first, second, words = drawn(4)
    found = difference_of_words([first], [second], words)
    turned = difference_of_words([second], [first], words)
    assert turned.mean == pytest.approx(-found.mean, abs=1e-12)
    assert turned.interval == pytest.approx(
        (-found.interval.high, -found.interval.low), abs=(found.interval.high - found.mean) / 10
    )
    assert (turned.lower, turned.higher) == (found.higher, found.lower)


def test_the_same_networks_have_the_same_interval_each_time():
    assert difference_of_words(*_single(*drawn(5))) == difference_of_words(*_single(*drawn(5)))


@pytest.mark.parametrize(("shift", "lower", "higher"), [(0.0, 0, 0), (0.25, 0, 3), (-0.25, 3, 0)])
def test_where_all_words_agree_the_interval_has_no_width(shift, lower, higher):
    words = ["a", "abc", "abcdefg"]
    second = np.array([4.0, 9.0, 18.0])
    first = second + shift * np.array([2, 4, 8])
    found = difference_of_words([first], [second], words)
    assert found.mean == shift
    assert found.interval == Interval(shift, shift)
    assert (found.lower, found.higher) == (lower, higher)


def test_networks_are_compared_on_their_words():
    networks = [made(WINDOWS["flat"], seed=seed) for seed in (1, 2)]
    data = [data_for(network) for network in networks]
    losses = [losses_by_word(*each) for each in zip(networks, data, strict=True)]
    found = difference_of_words(losses[:1], losses[1:], WORDS)
    first, second = (evaluate(*each) for each in zip(networks, data, strict=True))
    assert found.mean == pytest.approx(first - second, abs=1e-6)


@pytest.mark.parametrize("words", [[], ["ana"]])
def test_one_word_says_nothing_of_others(words):
    losses = np.ones(len(words))
    with pytest.raises(ComparisonError) as caught:
        difference_of_words([losses], [losses], words)
    assert (
        str(caught.value) == f"to say anything of other words takes two at least, not {len(words)}"
    )


@pytest.mark.parametrize("swapped", [False, True])
def test_each_word_has_a_loss(swapped):
    groups = [[np.ones(3)], [np.ones(3), np.ones(4)]]
    with pytest.raises(ComparisonError) as caught:
        difference_of_words(*groups[:: -1 if swapped else 1], ["a", "b", "c"])
    assert str(caught.value) == "there are 3 words, but losses of 4"


# together


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_together_the_squares_of_the_halves_add_up(mean, one, other):
    intervals = (Interval(mean - one, mean + one), Interval(mean - other, mean + other))
    low, high = together(mean, *intervals)
    assert high - mean == pytest.approx(math.sqrt(one**2 + other**2), abs=1e-9)
    assert mean - low == pytest.approx(high - mean, abs=1e-9)


def test_torch_is_not_asked_for_more_than_a_batch_at_a_time(monkeypatch):
    monkeypatch.setattr(by_word_module, "_AT_ONCE", 4)
    network = made(WINDOWS["flat"])
    sizes = []
    network.register_forward_hook(lambda _, inputs, out: sizes.append(len(out)))
    losses_by_word(network, data_for(network))
    assert max(sizes) == 4
    assert sum(sizes) == torch.tensor(CHARACTERS).sum()
