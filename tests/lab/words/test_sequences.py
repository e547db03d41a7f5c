import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from typedwave.lab.words.corpus import CorpusError, UnknownCharacterError, Vocabulary, examples
from typedwave.lab.words.sequences import IGNORED, Sequences, sequences

LETTERS = Vocabulary.of(["abcd"])
some_words = st.lists(st.text("abcd", max_size=7), min_size=1, max_size=9)


def words_of(data: Sequences) -> list[str]:
    """The words again, by the ids after the boundary of each."""
    lengths = data.lengths.tolist()
    return [LETTERS.decode(row[1:n]) for row, n in zip(data.ids.tolist(), lengths, strict=True)]


@given(words=some_words)
def test_words_can_be_read_from_the_ids_and_from_the_targets(words):
    data = sequences(words, LETTERS)
    assert words_of(data) == words
    for word, target in zip(words, data.targets.tolist(), strict=True):
        assert target[: len(word) + 1] == [*LETTERS.encode(word), 0]


@given(words=some_words)
def test_a_row_is_the_boundary_and_the_word_and_padding_which_is_not_counted(words):
    data = sequences(words, LETTERS)
    length = max(map(len, words)) + 1
    assert data.ids.shape == data.targets.shape == data.counted.shape == (len(words), length)
    assert data.ids.dtype == data.targets.dtype == torch.int64
    assert data.counted.dtype == torch.bool
    assert len(data) == len(words)
    assert data.chances is None
    assert data.lengths.tolist() == [len(word) + 1 for word in words]
    for word, ids, targets, counted in zip(
        words, data.ids.tolist(), data.targets.tolist(), data.counted.tolist(), strict=True
    ):
        padding = length - 1 - len(word)
        assert ids == [0, *LETTERS.encode(word), *[0] * padding]
        assert targets == [*LETTERS.encode(word), 0, *[IGNORED] * padding]
        assert counted == [True] * (len(word) + 1) + [False] * padding


@given(words=some_words)
def test_the_targets_that_count_are_those_of_the_examples_of_the_same_words(words):
    data = sequences(words, LETTERS)
    contexts, targets = examples(words, LETTERS, context=1)
    assert torch.equal(data.targets[data.counted], targets)
    assert torch.equal(data.ids[data.counted], contexts[:, 0])


@given(words=some_words, drawn=st.data())
def test_rows_are_the_words_of_these_numbers_without_what_is_padding_in_all(words, drawn):
    numbers = drawn.draw(st.lists(st.integers(0, len(words) - 1), max_size=6))
    data = sequences(words, LETTERS)
    taken = data.rows(torch.tensor(numbers, dtype=torch.int64))
    if numbers:
        plainly = sequences([words[number] for number in numbers], LETTERS)
        assert torch.equal(taken.ids, plainly.ids)
        assert torch.equal(taken.targets, plainly.targets)
    assert len(taken) == len(numbers)
    assert taken.chances is None


@given(words=some_words, drawn=st.data())
def test_the_chances_go_with_their_words(words, drawn):
    numbers = torch.tensor(drawn.draw(st.lists(st.integers(0, len(words) - 1), min_size=1)))
    plainly = sequences(words, LETTERS)
    chances = torch.rand(*plainly.ids.shape, len(LETTERS))
    taken = Sequences(plainly.ids, plainly.targets, chances).rows(numbers)
    assert torch.equal(taken.chances, chances[numbers, : taken.ids.shape[1]])


@given(words=some_words, batch_size=st.integers(1, 10))
def test_in_order_gives_each_word_once_by_length_and_equal_lengths_as_they_came(words, batch_size):
    batches = list(sequences(words, LETTERS).in_order(batch_size))
    assert [word for batch in batches for word in words_of(batch)] == sorted(words, key=len)
    sizes = [len(batch) for batch in batches]
    whole, rest = divmod(len(words), batch_size)
    assert sizes == [batch_size] * whole + [rest] * (rest > 0)
    for batch in batches:
        assert batch.ids.shape[1] == batch.lengths.max()


def test_no_word_is_an_error_of_the_corpus():
    with pytest.raises(CorpusError) as caught:
        sequences([], LETTERS)
    assert str(caught.value) == "there is no word"


def test_a_character_that_the_vocabulary_lacks_is_named():
    with pytest.raises(UnknownCharacterError) as caught:
        sequences(["abe"], LETTERS)
    assert str(caught.value) == (
        "'abe' has characters that the vocabulary lacks: 'e' (U+0065) at position 3; it has 'abcd'"
    )
