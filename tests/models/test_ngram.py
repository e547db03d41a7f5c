import copy
import dataclasses
import itertools
import pickle
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from typedwave import IdOutOfRangeError, ShapeError, StateError
from typedwave.lab.words.corpus import Vocabulary, examples, read_words, split
from typedwave.lab.words.names import names_path
from typedwave.models import NGram, NGramConfig
from typedwave.testing import each_law

Examples = tuple[torch.Tensor, torch.Tensor]
Row = Callable[[tuple[int, ...]], list[float]]


@st.composite
def corpora(draw: st.DrawFn) -> tuple[int, int, torch.Tensor, torch.Tensor]:
    """An order, a number of ids, and examples of which many come again."""
    order, vocab_size = draw(st.integers(2, 4)), draw(st.sampled_from([1, 2, 3, 5]))
    count, skew = draw(st.integers(1, 150)), draw(st.sampled_from([1, 2, 4]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    drawn = torch.rand(count, order, generator=generator) ** skew
    ngrams = (drawn * vocab_size).long().clamp(max=vocab_size - 1)
    return order, vocab_size, ngrams[:, :-1], ngrams[:, -1]


def fitted(vocab_size: int, contexts: torch.Tensor, targets: torch.Tensor, **options) -> NGram:
    order = contexts.shape[1] + 1
    network = NGram(NGramConfig(order=order), vocab_size=vocab_size, **options)
    network.fit(contexts, targets)
    return network


def of_words(words: list[str], order: int, **options) -> NGram:
    vocabulary = Vocabulary.of(words)
    return fitted(len(vocabulary), *examples(words, vocabulary, context=order - 1), **options)


def all_windows(order: int, vocab_size: int) -> torch.Tensor:
    return torch.tensor([*itertools.product(range(vocab_size), repeat=order - 1)])


def discounts_of(counts: list[int]) -> list[float]:
    """Chen and Goodman (1998), equation 26."""
    n = Counter(counts)
    if min(n[1], n[2], n[3]) == 0:
        return [0.5, 1.0, 1.5]
    y = n[1] / (n[1] + 2 * n[2])
    found = [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)]
    return found if all(discount > 0 for discount in found) else [0.5, 1.0, 1.5]


def slow_counts(contexts: torch.Tensor, targets: torch.Tensor) -> list[Counter]:
    """By length, shortest first, how often each n-gram counts."""
    whole = [(*c, t) for c, t in zip(contexts.tolist(), targets.tolist(), strict=True)]
    order = len(whole[0])
    counts = [Counter(whole)]
    for length in range(order - 1, 0, -1):
        extensions = {ngram[order - length - 1 :] for ngram in whole}
        counts.append(Counter(extended[1:] for extended in extensions))
    return counts[::-1]


def slow(vocab_size: int, contexts: torch.Tensor, targets: torch.Tensor) -> Row:
    """The probabilities after a window, written from the definition, an n-gram at a time."""
    counts = slow_counts(contexts, targets)
    discounts = [discounts_of([*each.values()]) for each in counts]
    after: defaultdict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
    for each in counts:
        for (*context, target), count in each.items():
            after[tuple(context)][target] = count

    def probabilities(context: tuple[int, ...]) -> list[float]:
        shorter = [1 / vocab_size] * vocab_size if not context else probabilities(context[1:])
        seen = after.get(context)
        if seen is None:
            return shorter
        total = sum(seen.values())
        taken = {w: discounts[len(context)][min(count, 3) - 1] for w, count in seen.items()}
        return [
            (seen.get(w, 0) - taken.get(w, 0)) / total + sum(taken.values()) / total * shorter[w]
            for w in range(vocab_size)
        ]

    return probabilities


def known_ending(contexts: torch.Tensor, window: list[int]) -> tuple[int, ...]:
    endings = {tuple(c[i:]) for c in contexts.tolist() for i in range(len(c) + 1)}
    return next(tuple(window[i:]) for i in range(len(window) + 1) if tuple(window[i:]) in endings)


# what it computes


@given(corpora())
def test_it_equals_a_dictionary_written_from_the_definition(corpus):
    order, *data = corpus
    network = fitted(*data, dtype=torch.float64)
    windows = all_windows(order, data[0])
    expected = [slow(*data)(tuple(window)) for window in windows.tolist()]
    # Doubles, in another order of additions and a logarithm there and back.
    torch.testing.assert_close(
        network(windows).exp(), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13
    )


@given(corpora())
def test_the_probabilities_after_any_window_sum_to_one_and_none_is_zero(corpus):
    order, *data = corpus
    log_probs = fitted(*data, dtype=torch.float64)(all_windows(order, data[0]))
    assert log_probs.isfinite().all()
    # As many roundings of doubles as there are ids and orders.
    assert (log_probs.exp().sum(1) - 1).abs().max() < 1e-14


@given(corpora())
def test_a_window_gives_what_the_longest_ending_of_it_that_was_seen_gives(corpus):
    order, vocab_size, contexts, targets = corpus
    network = fitted(vocab_size, contexts, targets)
    windows = all_windows(order, vocab_size)
    rows: dict[tuple[int, ...], torch.Tensor] = {}
    for window, row in zip(windows.tolist(), network(windows), strict=True):
        first = rows.setdefault(known_ending(contexts, window), row)
        assert torch.equal(row, first)
    seen = {tuple(c[i:]) for c in contexts.tolist() for i in range(order)}
    assert len(network.log_probs) == len(seen)


def test_an_ending_is_not_looked_for_past_an_id_that_was_not_seen():
    contexts = torch.tensor([[1, 2], [0, 1], [2, 2]])
    network = fitted(5, contexts, torch.tensor([3, 0, 1]))
    after_nothing, skipping = network(torch.tensor([[3, 3], [2, 4]]))
    assert torch.equal(skipping, after_nothing)
    assert not torch.equal(network(torch.tensor([[4, 2]]))[0], after_nothing)


@given(corpus=corpora(), seed=st.integers(0, 2**32))
def test_the_order_of_the_examples_does_not_matter(corpus, seed):
    _, vocab_size, contexts, targets = corpus
    shuffle = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    first = fitted(vocab_size, contexts, targets).state_dict()
    second = fitted(vocab_size, contexts[shuffle], targets[shuffle]).state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@given(first=corpora(), second=corpora())
def test_fitting_again_forgets_what_was_counted_before(first, second):
    order, _, contexts, targets = second
    size = max(first[1], second[1])
    network = NGram(NGramConfig(order=order), vocab_size=size)
    windows = torch.zeros(len(first[3]), order - 1, dtype=torch.int64)
    network.fit(windows, first[3])
    network.fit(contexts, targets)
    for name, tensor in fitted(size, contexts, targets).state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


@given(corpora())
def test_its_size_is_the_number_of_different_n_grams_of_all_lengths(corpus):
    *_, contexts, targets = corpus
    counts = slow_counts(contexts, targets)
    network = fitted(corpus[1], contexts, targets)
    assert network.num_ngrams.tolist() == [len(each) for each in counts]
    assert network.num_counts == sum(len(each) for each in counts)
    assert [*network.parameters()] == []


def test_a_window_does_not_have_to_fit_into_64_bits():
    generator = torch.Generator().manual_seed(1)
    ids = torch.tensor([0, 17, 4_997, 4_999])
    ngrams = ids[torch.randint(0, 4, (300, 7), generator=generator)]  # 5,000 ** 7 is above 2 ** 85
    contexts, targets = ngrams[:, :-1], ngrams[:, -1]
    network = fitted(5_000, contexts, targets, dtype=torch.float64)
    row = slow(5_000, contexts, targets)
    expected = torch.tensor([row(tuple(window)) for window in contexts[:20].tolist()])
    # The definition's floats became a float32 tensor.
    torch.testing.assert_close(network(contexts[:20]).exp().float(), expected)


# by hand


def bigrams(counts: dict[tuple[int, int], int]) -> Examples:
    pairs = torch.tensor([pair for pair, count in counts.items() for _ in range(count)])
    return pairs[:, :1], pairs[:, 1]


def test_few_data_have_the_discounts_of_kenlm():
    # 0 comes after 0 four times and 1 once: counts of 4 and 1, so there is no count of 2.
    network = fitted(3, *bigrams({(0, 0): 4, (0, 1): 1}), dtype=torch.float64)
    # Each came after one id: (1 - 0.5) / 2, and the half that is left for three.
    shorter = [0.25 + 0.5 / 3, 0.25 + 0.5 / 3, 0.5 / 3]
    left = (1.5 + 0.5) / 5
    after_0 = [2.5 / 5 + left * shorter[0], 0.5 / 5 + left * shorter[1], left * shorter[2]]
    expected = torch.tensor([after_0, shorter, shorter], dtype=torch.float64)
    # Doubles, and a logarithm there and back.
    torch.testing.assert_close(
        network(torch.tensor([[0], [1], [2]])).exp(), expected, rtol=1e-14, atol=0
    )


def test_enough_data_have_discounts_from_their_counts_of_counts():
    # Four bigrams come once, two twice, two three times, one four times and one five times.
    counts = {(0, 0): 1, (0, 1): 1, (0, 2): 1, (0, 3): 1, (1, 0): 2, (1, 1): 2}
    counts |= {(0, 4): 3, (1, 4): 3, (1, 2): 4, (1, 3): 5}
    y = 4 / (4 + 2 * 2)
    d1, d2, d3 = 1 - 2 * y * 2 / 4, 2 - 3 * y * 2 / 2, 3 - 4 * y * 1 / 2
    assert (d1, d2, d3) == (0.5, 0.5, 2.0)
    network = fitted(6, *bigrams(counts), dtype=torch.float64)
    # Five ids came after two ids each, which is no data for discounts: 1 of each 2 is left.
    shorter = [0.1 + 0.5 / 6] * 5 + [0.5 / 6]
    left_0, left_1 = (4 * d1 + d3) / 7, (2 * d2 + 3 * d3) / 16
    after_0 = [(1 - d1) / 7] * 4 + [(3 - d3) / 7, 0]
    after_1 = [(2 - d2) / 16] * 2 + [(4 - d3) / 16, (5 - d3) / 16, (3 - d3) / 16, 0]
    expected = [
        [p + left_0 * s for p, s in zip(after_0, shorter, strict=True)],
        [p + left_1 * s for p, s in zip(after_1, shorter, strict=True)],
    ]
    torch.testing.assert_close(
        network(torch.tensor([[0], [1]])).exp(),
        torch.tensor(expected, dtype=torch.float64),
        rtol=1e-14,  # doubles, and a logarithm there and back
        atol=0,
    )


@pytest.mark.parametrize(
    "times",
    [
        [1, 1, 1, 1, 2, 3, 3],  # D2 would be -2
        [1, 1, 1, 1, 2, 2, 3, 4, 4],  # D3+ would be -1
        [1, 1, 2, 3],  # D2 is 0.5, and D3+ all of a count of 3
        [1, 1, 2, 2, 3, 3, 4],
        [1, 2, 2, 3, 3, 3, 3, 3],
        [2, 2, 3],
        [1, 1, 3],
        [1, 1, 2],
        [7],
    ],
)
def test_no_discount_is_0_or_below_or_more_than_its_count(times):
    counts = {(0, target): count for target, count in enumerate(times)}
    data = (len(times) + 1, *bigrams(counts))
    log_probs = fitted(*data, dtype=torch.float64)(torch.tensor([[0]]))
    assert log_probs.isfinite().all()
    expected = torch.tensor([slow(*data)((0,))], dtype=torch.float64)
    # Doubles, in another order of additions and a logarithm there and back.
    torch.testing.assert_close(log_probs.exp(), expected, rtol=1e-13, atol=0)


def test_a_discount_of_exactly_0_is_none():
    # D2 = 2 - 3 * 1/2 * 4/3 = 0 would leave nothing for what did not come after 1.
    counts = {(0, target): 1 for target in range(6)} | {(0, target): 3 for target in range(6, 10)}
    counts |= {(1, target): 2 for target in range(3)}
    data = (11, *bigrams(counts))
    log_probs = fitted(*data, dtype=torch.float64)(torch.tensor([[1]]))
    assert log_probs.isfinite().all()
    expected = torch.tensor([slow(*data)((1,))], dtype=torch.float64)
    # Doubles, in another order of additions and a logarithm there and back.
    torch.testing.assert_close(log_probs.exp(), expected, rtol=1e-13, atol=0)


def test_boundaries_before_a_word_are_ids_as_others_are():
    words = ["ab", "ab", "ab", "b"]
    network = of_words(words, order=3, dtype=torch.float64)
    # The whole window tells how often each came first; its ending, only boundaries before it,
    # tells that both did.
    whole, ending = network(torch.tensor([[0, 0], [1, 0]])).exp()
    assert whole[1] > 1.5 * whole[2]
    assert ending[1] == pytest.approx(0.25 + 0.5 * slow_unigram(words)[1], rel=1e-12)
    assert ending[2] == pytest.approx(0.25 + 0.5 * slow_unigram(words)[2], rel=1e-12)


def slow_unigram(words: list[str]) -> list[float]:
    vocabulary = Vocabulary.of(words)
    return slow(len(vocabulary), *examples(words, vocabulary, context=2))(())


@pytest.mark.parametrize(
    ("order", "validation", "test"), [(5, 1.9923, 1.9854), (6, 1.9824, 1.9762)]
)
def test_the_names_in_data_have_the_losses_of_an_implementation_with_dictionaries(
    order, validation, test
):
    words = read_words(names_path())
    vocabulary, parts = Vocabulary.of(words), split(words)
    network = NGram(NGramConfig(order=order), vocab_size=len(vocabulary))
    network.fit(*examples(parts.train, vocabulary, context=order - 1))
    for part, loss in ((parts.validation, validation), (parts.test, test)):
        contexts, targets = examples(part, vocabulary, context=order - 1)
        # Four digits were written down.
        assert F.cross_entropy(network(contexts), targets).item() == pytest.approx(loss, abs=5e-5)


# as a module


@pytest.fixture
def small() -> NGram:
    return of_words(["ada", "bob", "abba", "dada", "dot"], order=4)


WINDOWS = torch.randint(0, 6, (50, 3), generator=torch.Generator().manual_seed(3))


def test_it_has_a_normalised_row_for_each_window_of_a_batch_of_any_size(small):
    for batch in (0, 1, 7):
        log_probs = small(WINDOWS[:batch])
        assert log_probs.shape == (batch, 6)
        assert log_probs.dtype == torch.float32
        assert (log_probs.logsumexp(1).abs() < 1e-6).all()  # rounding of float32


def test_it_knows_what_it_was_made_of():
    config = NGramConfig(order=4)
    network = NGram(config, vocab_size=7)
    assert network.config is config
    assert (network.context, network.vocab_size, network.num_counts) == (3, 7, 0)
    assert repr(network) == "NGram(order=4, vocab_size=7)"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_log_probabilities_have_the_dtype_asked_for_and_are_rounded_once(dtype):
    words = ["ada", "bob", "abba", "dada", "dot"]
    exact, network = (of_words(words, order=4, dtype=dt) for dt in (torch.float64, dtype))
    assert network(WINDOWS).dtype == dtype
    assert torch.equal(network(WINDOWS), exact(WINDOWS).to(dtype))
    assert {network.edges.dtype, network.num_ngrams.dtype} == {torch.int64}


def test_it_can_be_made_without_data_on_the_device_called_meta():
    network = NGram(NGramConfig(order=4), vocab_size=6, device="meta", dtype=torch.float64)
    for name, tensor in network.state_dict().items():
        assert tensor.is_meta
        assert tensor.dtype == (torch.float64 if name == "log_probs" else torch.int64)


def test_a_fitted_one_computes_shapes_on_the_device_called_meta(small):
    network = copy.deepcopy(small).to("meta")
    assert network(WINDOWS.to("meta")).shape == (50, 6)


def test_fit_leaves_the_tables_on_their_device():
    network = unfitted(device="meta")
    network.fit(WINDOWS, WINDOWS[:, 0])
    assert [*network.state_dict()] == ["edges", "log_probs", "num_ngrams"]
    assert all(tensor.is_meta for tensor in network.state_dict().values())


def test_it_is_one_graph_to_the_compiler(small):
    compiled = torch.compile(small, fullgraph=True, backend="eager")
    assert torch.equal(compiled(WINDOWS), small(WINDOWS))


def test_fit_writes_to_none_of_its_arguments():
    contexts, targets = WINDOWS.clone(), WINDOWS[:, 0].clone()
    fitted(6, contexts, targets)
    assert torch.equal(contexts, WINDOWS)
    assert torch.equal(targets, WINDOWS[:, 0])


@pytest.mark.usefixtures("default_profile")
@each_law()
def test_laws() -> NGram:
    generator = torch.Generator().manual_seed(0)
    ngrams = (torch.rand(400, 4, generator=generator) ** 2 * 7).long()
    return fitted(7, ngrams[:, :-1], ngrams[:, -1])


# saved and loaded


def unfitted(**options) -> NGram:
    return NGram(NGramConfig(order=4), vocab_size=6, **options)


def assert_same(network: NGram, other: NGram) -> None:
    assert torch.equal(network(WINDOWS), other(WINDOWS))
    assert network.num_counts == other.num_counts > 0


def test_what_was_saved_is_loaded_into_one_that_is_not_fitted(small):
    network = unfitted()
    network.load_state_dict(small.state_dict())
    assert_same(network, small)
    assert network.log_probs.data_ptr() != small.log_probs.data_ptr()


def test_what_was_saved_is_loaded_into_one_that_was_fitted_to_other_data(small):
    network = of_words(["adobt", "oo"], order=4)
    network.load_state_dict(small.state_dict())
    assert_same(network, small)


def test_it_is_loaded_as_safetensors_into_one_without_data(small):
    network = unfitted(device="meta")
    saved = safetensors.torch.save(small.state_dict())
    network.load_state_dict(safetensors.torch.load(saved), assign=True)
    assert_same(network, small)


def test_it_is_loaded_as_a_part_of_a_model(small):
    model = torch.nn.Sequential(torch.nn.Identity(), unfitted())
    model.load_state_dict(torch.nn.Sequential(torch.nn.Identity(), small).state_dict())
    assert_same(model[1], small)


def test_it_keeps_its_dtype_when_another_one_is_loaded(small):
    network = unfitted(dtype=torch.float64)
    network.load_state_dict(small.state_dict())
    assert network(WINDOWS).dtype == torch.float64
    assert torch.equal(network(WINDOWS), small(WINDOWS).double())


def test_edges_stay_int64_when_narrower_ones_are_loaded(small):
    network = unfitted()
    network.load_state_dict(small.state_dict() | {"edges": small.edges.int()})
    assert network.edges.dtype == torch.int64
    assert_same(network, small)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_a_copy_is_the_same(small, again):
    assert_same(again(small), small)


def refused_state(network: NGram, state: dict[str, torch.Tensor], *, assign: bool) -> list[str]:
    with pytest.raises(RuntimeError) as caught:
        network.load_state_dict(state, assign=assign)
    first, *problems = str(caught.value).splitlines()
    assert first == "Error(s) in loading state_dict for NGram:"
    return [problem.strip() for problem in problems]


def mismatch(name: str, loaded: list[int], held: list[int]) -> str:
    return (
        f"size mismatch for {name}: copying a param with shape torch.Size({loaded}) from "
        f"checkpoint, the shape in current model is torch.Size({held})."
    )


@pytest.mark.parametrize("assign", [False, True])
def test_that_of_another_order_is_not_loaded(small, assign):
    network = NGram(NGramConfig(order=3), vocab_size=6)
    problems = refused_state(network, small.state_dict(), assign=assign)
    assert problems == [mismatch("num_ngrams", [4], [3])]


@pytest.mark.parametrize("assign", [False, True])
def test_that_of_another_vocabulary_is_not_loaded_and_the_tables_stay(small, assign):
    network = of_words(["abc", "d"], order=4)
    windows = WINDOWS.clamp(max=4)
    before = network(windows)
    saved, held = len(small.edges), len(network.edges)
    problems = refused_state(network, small.state_dict(), assign=assign)
    assert problems == [
        mismatch("edges", [saved], [held]),
        mismatch("log_probs", [saved, 6], [held, 5]),
    ]
    assert torch.equal(network(windows), before)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"log_probs": None}, ['Missing key(s) in state_dict: "log_probs".', ("edges", [35], [0])]),
        (
            {"edges": None},
            ['Missing key(s) in state_dict: "edges".', ("log_probs", [35, 6], [0, 6])],
        ),
        ({"edges": torch.tensor(3)}, [("edges", [], [0]), ("log_probs", [35, 6], [0, 6])]),
        ({"edges": torch.arange(34)}, [("edges", [34], [0]), ("log_probs", [35, 6], [0, 6])]),
        ({"edges": torch.zeros(35, 1)}, [("edges", [35, 1], [0]), ("log_probs", [35, 6], [0, 6])]),
    ],
)
def test_tables_that_do_not_go_together_are_not_loaded(small, change, expected, assign):
    state = {name: t for name, t in (small.state_dict() | change).items() if t is not None}
    told = [text if isinstance(text, str) else mismatch(*text) for text in expected]
    assert refused_state(unfitted(), state, assign=assign) == told


# what it refuses


def refused_config(**arguments) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        NGramConfig(**arguments)
    assert type(caught.value) is ValueError
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "flat"}, "network is 'flat', but it is ngram"),
        ({"order": 1}, "order is 1, but has to be at least 2"),
        ({"order": 2.0}, "order is 2.0, but has to be a whole number"),
        ({"order": True}, "order is True, but has to be a whole number"),
    ],
)
def test_an_order_without_a_context_is_refused(arguments, message):
    assert refused_config(**arguments) == message


@given(st.integers(2, 99))
def test_the_context_is_what_an_n_gram_has_before_its_last_id(order):
    config = NGramConfig(order=order)
    assert config.context == order - 1
    assert NGramConfig(**dataclasses.asdict(config)) == config


def test_a_config_cannot_be_changed_and_takes_no_positional_arguments():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NGramConfig().order = 3
    with pytest.raises(TypeError):
        NGramConfig("ngram")


def test_it_says_that_it_is_not_fitted_and_what_to_do():
    model = torch.nn.Sequential(unfitted())
    with pytest.raises(StateError) as caught:
        model(WINDOWS)
    assert str(caught.value) == (
        "0 (NGram): its table is empty, as it is not fitted\n  perhaps   fit(contexts, targets)"
    )


def test_a_window_of_another_length_is_refused(small):
    with pytest.raises(ShapeError) as caught:
        small(WINDOWS[:, 1:])
    assert str(caught.value) == (
        "NGram: x has the wrong shape\n"
        '  expected  Int64 "B {self.context}"   {self.context} = 3\n'
        "  got       i64[50, 2]                 axis 1 is 2"
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({(1, 2): 6}, "6 at position [1, 2]"),
        ({(0, 0): -1}, "-1 at position [0, 0]"),
        ({(1, 2): 6, (2, 0): -1}, "6 at position [1, 2], and 1 more"),
    ],
)
def test_an_id_out_of_range_is_named_with_its_place(small, wrong, told):
    ids = torch.zeros(4, 3, dtype=torch.int64)
    for place, value in wrong.items():
        ids[place] = value
    with pytest.raises(IdOutOfRangeError) as caught:
        torch.nn.Sequential(small)(ids)
    rest = "; ids are 0 to 5, as vocab_size = 6"
    assert str(caught.value) == f"0 (NGram): x holds the id {told}{rest}"
    with pytest.raises(IdOutOfRangeError) as caught:
        small.fit(ids, torch.zeros(4, dtype=torch.int64))
    assert str(caught.value) == f"NGram: contexts holds the id {told}{rest}"


@pytest.mark.parametrize("wrong", [-1, 6])
def test_a_target_out_of_range_is_named_and_what_was_counted_stays(small, wrong):
    before = small(WINDOWS)
    targets = torch.tensor([0, 5, wrong])
    with pytest.raises(IdOutOfRangeError) as caught:
        small.fit(WINDOWS[:3], targets)
    assert str(caught.value) == (
        f"NGram: targets holds the id {wrong} at position [2]; ids are 0 to 5, as vocab_size = 6"
    )
    assert torch.equal(small(WINDOWS), before)


def test_no_examples_cannot_be_counted(small):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        small.fit(WINDOWS[:0], WINDOWS[:0, 0])
    assert type(caught.value) is ValueError
    assert str(caught.value) == "NGram: there are 0 examples, but fit needs at least 1"


def test_windows_and_targets_of_other_numbers_are_refused(small):
    with pytest.raises(ShapeError) as caught:
        small.fit(WINDOWS, WINDOWS[:3, 0])
    assert str(caught.value) == (
        "NGram: targets has the wrong shape\n"
        '  expected  Int64 "N"   N = 50\n'
        "  got       i64[3]      axis 0 is 3\n"
        "  N = 50 comes from contexts i64[50, 3]"
    )
