import functools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import EVERY, VOCABULARY, made, seeded
from torch import nn

from typedwave.lab import sampling as sampling_module
from typedwave.lab.sampling import choose, sample, sample_new
from typedwave.lab.words.corpus import Vocabulary, examples
from typedwave.models import NetworkConfig, SequenceModel, Windowed, build, sequence_model

LETTERS = Vocabulary.of(["abcdef"])
NEVER = -math.inf


class Says(nn.Module):
    """Logits by a rule on the last window; notes every window and the mode."""

    def __init__(self, rule, *, context: int = 4, vocabulary: Vocabulary = LETTERS) -> None:
        super().__init__()
        self.rule = rule
        self.context = context
        self.vocab_size = len(vocabulary)
        self.windows = []
        self.modes = set()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.windows += x.tolist()
        self.modes.add((self.training, torch.is_grad_enabled()))
        logits = torch.full((len(x), self.vocab_size), NEVER)
        for row, window in zip(logits, x.tolist(), strict=True):
            for number, chance in self.rule(window).items():
                row[number] = math.log(chance)
        return logits


def even_chances(window):
    return dict.fromkeys(range(7), 1 / 7)


def tiny(seed: int, context: int = 4) -> SequenceModel:
    config = NetworkConfig(network="flat", context=context, n_embd=3, n_hidden=5)
    return Windowed(build(config, vocab_size=len(LETTERS), generator=seeded(seed)))


# sample


@given(seed=st.integers(0, 2**32), count=st.integers(0, 9), context=st.integers(1, 5))
def test_the_same_generator_gives_the_same_words_and_the_global_one_is_not_touched(
    seed, count, context
):
    network = tiny(seed, context)
    before = torch.get_rng_state()
    words = sample(network, LETTERS, count, generator=seeded(seed))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(seed)
    assert words == sample(network, LETTERS, count, generator=seeded(seed))
    torch.set_rng_state(before)
    assert len(words) == count
    assert set("".join(words)) <= set("abcdef")
    assert all(len(word) <= 100 for word in words)


def test_another_state_of_the_generator_gives_other_words():
    generator = seeded(1)
    first, second = (sample(tiny(1), LETTERS, 20, generator=generator) for _ in range(2))
    assert first != second


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 9),
    context=st.integers(1, 5),
)
def test_the_network_sees_exactly_the_contexts_of_the_words_it_says(seed, count, context):
    network = Says(even_chances, context=context)
    words = sample(Windowed(network), LETTERS, count, generator=seeded(seed))
    ended = [word for word in words if len(word) < 100]
    if len(ended) < count:
        return  # one word in 10 ** 7
    seen = examples(words, LETTERS, context=context).contexts.tolist()
    assert sorted(network.windows) == sorted(seen)
    assert network.calls == max(map(len, words)) + 1
    assert network.modes == {(False, False)}


@given(count=st.integers(0, 9), word=st.text("abcdef", max_size=12))
def test_a_network_that_is_sure_says_the_same_however_many_at_a_time(count, word):
    ids = [*LETTERS.encode(word), 0]

    def spell(window):
        said = [number for number in window if number]  # the window is longer than the word
        return {ids[len(said)]: 1.0}

    model = Windowed(Says(spell, context=13))
    many = sample(model, LETTERS, count, generator=seeded(1))
    single = [sample(model, LETTERS, 1, generator=seeded(i))[0] for i in range(count)]
    assert many == single == [word] * count


def test_words_come_as_often_as_their_chances_say():
    chances = {0: 0.5, 1: 0.3, 2: 0.2}
    count = 20_000
    letters = Vocabulary.of(["ab"])
    network = Says(lambda window: chances, vocabulary=letters)
    # All rows are alike; the rule need not be asked for each.
    network.forward = lambda x: torch.log(torch.tensor([0.5, 0.3, 0.2])).expand(len(x), 3)
    found = Counter(sample(Windowed(network), letters, count, generator=seeded(5)))
    for word in ("", "a", "b", "aa", "ab", "ba", "bb", "aab"):
        chance = 0.5 * 0.3 ** word.count("a") * 0.2 ** word.count("b")
        deviation = math.sqrt(count * chance * (1 - chance))
        assert abs(found[word] - count * chance) < 4 * deviation, word


def test_a_word_that_never_ends_is_cut_after_100_characters():
    network = Says(lambda window: {2: 1.0})
    assert sample(Windowed(network), LETTERS, 3, generator=seeded(1)) == ["b" * 100] * 3
    assert network.calls == 100


def test_words_that_end_do_not_hold_up_nor_mix_with_the_others():
    # By its first letter a word is a, bb, ccc, ...: the first letter decides its length.
    def rule(window):
        said = [number for number in window if number]
        if not said:
            return dict.fromkeys(range(1, 7), 1 / 6)
        return {0 if len(said) == said[0] else said[0]: 1.0}

    words = sample(Windowed(Says(rule, context=8)), LETTERS, 60, generator=seeded(1))
    assert set(words) == {"a", "bb", "ccc", "dddd", "eeeee", "ffffff"}


def test_none_are_no_words_and_the_network_is_not_asked():
    network = Says(even_chances)
    assert sample(Windowed(network), LETTERS, 0, generator=seeded(1)) == []
    assert network.calls == 0


@given(modes=st.lists(st.booleans(), min_size=9, max_size=9), fails=st.booleans())
def test_every_module_has_its_own_mode_again_and_the_state_is_untouched(modes, fails):
    network = tiny(1)
    modules = list(network.modules())
    for module, mode in zip(modules, modes, strict=True):
        module.training = mode
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if fails:
        with pytest.raises(ValueError, match="characters have the ids"):
            sample(network, Vocabulary.of(["a"]), 30, generator=seeded(1))
    else:
        sample(network, LETTERS, 3, generator=seeded(1))
    assert [module.training for module in modules] == modes
    assert torch.is_grad_enabled()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("logit", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(logit):
    network = Says(even_chances)
    logits = torch.zeros(2, 7)
    logits[1, 3] = logit  # in one of the words
    network.forward = lambda x: logits
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        sample(Windowed(network), LETTERS, 2, generator=seeded(1))
    assert str(caught.value) == ("the network gives no probabilities: its logits are not finite")


def plain_words(
    model: SequenceModel, count: int, generator: torch.Generator, few: int, sizes: int, **choice
) -> list[str]:
    """All is computed anew for each character, from the boundary on.

    Of many words, those that ended are drawn for, to no effect, until a quarter of them has and
    what is left is a multiple of ``sizes``.
    """
    words = [[] for _ in range(count)]
    going_on, ended = list(range(count)), set()
    with torch.no_grad():
        for _ in range(100):
            if not going_on:
                break
            ids = torch.tensor([[0, *words[number]] for number in going_on])
            drawn = choose(model.eval()(ids)[:, -1], generator=generator, **choice).tolist()
            for number, character in zip(going_on, drawn, strict=True):
                words[number].append(0 if number in ended else character)
                ended |= {number} if character == 0 else set()
            staying = [number for number in going_on if number not in ended]
            if len(going_on) <= few:
                going_on = staying
            elif (size := math.ceil(len(staying) / sizes) * sizes) <= 0.75 * len(going_on):
                going_on = (staying + [number for number in going_on if number in ended])[:size]
    return [VOCABULARY.decode(filter(None, word)) for word in words]


@pytest.mark.parametrize("kind", EVERY)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 9),
    few=st.sampled_from([0, 3, 64]),
    sizes=st.sampled_from([1, 2, 256]),
    choice=st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.sampled_from([0.0, 0.5, 1.5]),
            "top_k": st.integers(1, 12),
            "top_p": st.sampled_from([0.3, 0.9, 1.0]),
        },
    ),
)
@settings(max_examples=6)
def test_every_network_streams_the_words_of_a_loop_that_computes_all_anew(
    kind, seed, count, few, sizes, choice
):
    model = sequence_model(made(EVERY[kind], seed=seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_module, "_FEW", few)
        patch.setattr(sampling_module, "_SIZES", sizes)
        words = sample(model, VOCABULARY, count, generator=seeded(seed), **choice)
    assert words == plain_words(model, count, seeded(seed), few, sizes, **choice)


@given(count=st.integers(0, 20), at_once=st.integers(1, 12), seed=st.integers(0, 2**32))
@settings(max_examples=10)
def test_more_words_than_fit_are_those_of_one_batch_after_another(count, at_once, seed):
    model, generator, expected = tiny(seed), seeded(seed), []
    for start in range(0, count, at_once):
        expected += sample(model, LETTERS, min(at_once, count - start), generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_module, "_AT_ONCE", at_once)
        assert sample(model, LETTERS, count, generator=seeded(seed)) == expected


def test_a_character_costs_one_position():
    lengths = []
    model = sequence_model(made(EVERY["transformer"]))
    model.embedding.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape))
    words = sample(model, VOCABULARY, 9, generator=seeded(3))
    needed = [
        sum(len(word) >= n for word in words) for n in range(min(100, 1 + max(map(len, words))))
    ]
    assert [tuple(shape) for shape in lengths] == [(count, 1) for count in needed]


@pytest.mark.parametrize("draw", [sample, functools.partial(sample_new, known=[])])
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"temperature": -0.5}, "temperature is -0.5, but has to be at least 0 and finite"),
        ({"top_k": 0}, "top_k is 0, but has to be at least 1"),
        ({"top_p": 0.0}, "top_p is 0.0, but has to be more than 0 and at most 1"),
    ],
)
@pytest.mark.parametrize("count", [0, 2])
def test_a_choice_that_cannot_be_is_refused_before_the_network_is_asked(
    draw, choice, message, count
):
    network = Says(even_chances)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        draw(Windowed(network), LETTERS, count, generator=seeded(1), **choice)
    assert str(caught.value) == message
    assert network.calls == 0


@pytest.mark.parametrize("choice", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.3}])
@pytest.mark.parametrize("draw", [sample, functools.partial(sample_new, known=[])])
def test_how_boldly_it_is_drawn_reaches_the_draws(draw, choice):
    rule = {
        0: {1: 0.4, 2: 0.35, 3: 0.25},
        1: {2: 0.4, 1: 0.35, 0: 0.25},
        2: {0: 0.4, 1: 0.3, 2: 0.3},
    }
    model = Windowed(Says(lambda window: rule.get(window[-1], {0: 1.0})))
    assert set(draw(model, LETTERS, 20, generator=seeded(1), **choice)) == {"ab"}
    assert len(set(draw(model, LETTERS, 20, generator=seeded(1)))) > 3


# sample_new


def shorts(window):
    """One letter or two of three, or none: 13 words in all."""
    said = [number for number in window if number]
    ends = {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}
    return {0: 1.0} if len(said) == 2 else ends


ALL_SHORTS = ["a", "b", "c", *(x + y for x in "abc" for y in "abc")]


@given(
    known=st.lists(st.sampled_from(["", *ALL_SHORTS])),
    count=st.integers(0, 8),
    seed=st.integers(0, 2**32),
)
def test_no_word_is_known_or_empty_or_there_twice(known, count, seed):
    network = Says(shorts)
    words = sample_new(Windowed(network), LETTERS, count, known=known, generator=seeded(seed))
    sayable = set(ALL_SHORTS) - set(known)
    assert set(words) <= sayable
    assert len(set(words)) == len(words)
    assert len(words) <= min(count, len(sayable))
    assert len(words) == count or network.calls >= 50  # a call a draw at least


@given(seed=st.integers(0, 2**32), count=st.integers(1, 8))
def test_they_are_the_new_ones_of_what_sample_gives_in_its_order(seed, count):
    known = ["a", "ab", "c"]
    words = sample_new(Windowed(Says(shorts)), LETTERS, count, known=known, generator=seeded(seed))
    expected, generator = [], seeded(seed)
    for _ in range(50):
        if len(expected) >= count:
            break
        for word in sample(Windowed(Says(shorts)), LETTERS, count, generator=generator):
            if word and word not in known and word not in expected:
                expected.append(word)
    assert words == expected[:count]


def test_it_gives_fewer_after_50_draws_if_there_is_nothing_new_to_say():
    network = Says(lambda window: {0: 1.0} if window[-1] else {1: 1.0})
    assert sample_new(Windowed(network), LETTERS, 7, known=["b"], generator=seeded(1)) == ["a"]
    assert network.calls == 2 * 50


def test_it_gives_none_if_all_is_known():
    network = Says(lambda window: {0: 1.0} if window[-1] else {1: 1.0})
    assert sample_new(Windowed(network), LETTERS, 3, known={"a"}, generator=seeded(1)) == []


def test_a_word_that_is_empty_is_not_new():
    network = Says(lambda window: {0: 1.0})
    assert sample_new(Windowed(network), LETTERS, 3, known=[], generator=seeded(1)) == []


def test_none_of_nothing_is_no_work():
    network = Says(even_chances)
    assert sample_new(Windowed(network), LETTERS, 0, known=[], generator=seeded(1)) == []
    assert network.calls == 0
