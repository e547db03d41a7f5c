import codecs
import json
import pickle
import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from typedwave.lab.words.corpus import (
    CorpusError,
    UnknownCharacterError,
    Vocabulary,
    examples,
    read_words,
    split,
)

NAMES = Path(__file__).resolve().parents[3] / "data" / "names.txt"

# What trips a naive reader: a full stop, combining marks, astral characters, a zero-width joiner,
# and every separator that str.splitlines knows beside the line feed.
TRICKY = ".-' aé\u0301\U0001f600\U0001f469\u200d\ufeff\x00\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r"
characters = st.sampled_from(TRICKY) | st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=12)
blanks = st.text(st.sampled_from(" \t\x0b\u2028\u00a0"), max_size=3)


def as_word(text: str) -> str:
    """What a file can hold as a word: one line, no white space around it, no leading BOM."""
    return text.replace("\n", "").lstrip("\ufeff").strip()


words_in_files = st.lists(
    texts.map(as_word).filter(lambda word: word and word[0] != "\ufeff"), min_size=1
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus") / "words.txt"


def message(kind: type[Exception], call, *arguments, **keywords) -> str:
    with pytest.raises(kind) as caught:
        call(*arguments, **keywords)
    assert type(caught.value) is kind
    return str(caught.value)


# reading


@given(words=words_in_files)
def test_words_written_one_a_line_are_read_back(path, words):
    path.write_bytes("\n".join(words).encode())
    assert read_words(path) == words
    assert read_words(str(path)) == words


@given(words=words_in_files, bom=st.booleans(), data=st.data())
def test_bom_line_ends_blank_lines_and_outer_white_space_do_not_matter(path, words, bom, data):
    dirty = ""
    for word in words:
        ends = data.draw(st.lists(st.sampled_from(["\n", "\r\n"]), min_size=1, max_size=3))
        dirty += data.draw(blanks) + word + data.draw(blanks)
        for end in ends:
            dirty += end + data.draw(blanks)
    path.write_bytes(codecs.BOM_UTF8 * bom + dirty.encode())
    assert read_words(path) == words


@pytest.mark.parametrize("separator", list("\x0b\x0c\r\x1c\x1d\x1e\x85\u2028\u2029 "))
def test_only_a_line_feed_ends_a_line(path, separator):
    path.write_bytes(f"anna{separator}lena\nmia\n".encode())
    assert read_words(path) == [f"anna{separator}lena", "mia"]


def test_only_the_first_bom_is_skipped(path):
    path.write_bytes("\ufeff\ufeffanna\n\ufefflena".encode())
    assert read_words(path) == ["\ufeffanna", "\ufefflena"]


@pytest.mark.parametrize("content", [b"", b"\n", codecs.BOM_UTF8, b" \r\n\t\n\xe2\x80\xa8"])
def test_a_file_without_a_word_is_refused(path, content):
    path.write_bytes(content)
    expected = f"{path} has no word; expected one word a line"
    assert message(CorpusError, read_words, path) == expected


def test_bytes_that_are_not_utf8_are_refused_with_their_place(path):
    path.write_bytes(codecs.BOM_UTF8 + "anna\r\nzoë\n".encode() + "zoë\n".encode("latin-1"))
    assert message(CorpusError, read_words, path) == (
        f"{path}, line 3: byte 0xeb at offset 16 is not UTF-8; save the file as UTF-8"
    )


@given(text=st.text(characters | st.just("\n")))
@example("\n")
def test_the_place_of_a_wrong_byte_is_right(path, text):
    good = text.encode()
    path.write_bytes(good + b"\xff\xff\n\xff")
    line = good.count(b"\n") + 1
    assert message(CorpusError, read_words, path) == (
        f"{path}, line {line}: byte 0xff at offset {len(good)} is not UTF-8; save the file as UTF-8"
    )


def test_the_error_of_a_wrong_byte_does_not_hold_the_file(path):
    path.write_bytes(b"\xff")
    with pytest.raises(CorpusError) as caught:
        read_words(path)
    assert caught.value.__suppress_context__


def test_a_path_that_cannot_be_read_stays_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_words(tmp_path / "missing.txt")
    with pytest.raises(IsADirectoryError):
        read_words(tmp_path)


# vocabulary


@given(words=st.lists(texts))
def test_decode_inverts_encode(words):
    vocabulary = Vocabulary.of(words)
    for word in words:
        ids = vocabulary.encode(word)
        assert len(ids) == len(word)
        assert 0 not in ids
        assert vocabulary.decode(ids) == word
        assert vocabulary.decode(torch.tensor(ids, dtype=torch.int64)) == word


@given(words=st.lists(texts))
def test_ids_follow_the_sorted_characters_and_leave_0_to_the_boundary(words):
    vocabulary = Vocabulary.of(words)
    assert list(vocabulary.characters) == sorted(set("".join(words)))
    assert len(vocabulary) == len(vocabulary.characters) + 1
    assert vocabulary.encode("".join(vocabulary.characters)) == list(range(1, len(vocabulary)))


@given(words=st.lists(texts), seed=st.integers())
def test_a_vocabulary_depends_neither_on_order_nor_on_repetition(words, seed):
    other = words * 2
    random.Random(seed).shuffle(other)
    assert Vocabulary.of(other) == Vocabulary.of(words)
    assert Vocabulary.of(iter(words)) == Vocabulary.of(words)


@given(words=st.lists(texts))
def test_a_vocabulary_survives_json_and_pickle_as_the_same_key(words):
    vocabulary = Vocabulary.of(words)
    vocabulary.encode("".join(words))
    for copy in (
        Vocabulary(json.loads(json.dumps(vocabulary.characters))),
        pickle.loads(pickle.dumps(vocabulary)),
    ):
        assert copy == vocabulary
        assert {vocabulary: 1}[copy] == 1


def test_a_vocabulary_cannot_be_changed():
    with pytest.raises(AttributeError, match=r"^cannot assign to field 'characters'$"):
        Vocabulary(("a",)).characters = ("b",)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (("a", "bc"), "[1] is 'bc', 2 characters"),
        (("",), "[0] is '', 0 characters"),
        (("a", "b", "b"), "[2] repeats 'b'"),
        (("b", "a"), "[1] is 'a', which sorts before 'b'"),
        (
            ("b", "a", "a", "xyz"),
            "[1] is 'a', which sorts before 'b'; [2] repeats 'a'; [3] is 'xyz', 3 characters",
        ),
        (
            ("a",) * 7,
            "; ".join(f"[{i}] repeats 'a'" for i in range(1, 6)) + ", and 1 more",
        ),
    ],
)
def test_characters_that_are_not_single_distinct_and_sorted_are_refused(entries, problem):
    expected = f"characters must be single, distinct and sorted: {problem}"
    assert message(ValueError, Vocabulary, entries) == expected


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([1, 0, 2], "ids[1] is 0, the boundary"),
        ([3], "ids[0] is 3"),
        ([-1], "ids[0] is -1"),
        ([0, 1, 3], "ids[0] is 0, the boundary; ids[2] is 3"),
        ([3] * 7, "; ".join(f"ids[{i}] is 3" for i in range(5)) + ", and 2 more"),
    ],
)
def test_ids_that_are_no_character_are_refused(ids, problem):
    expected = f"characters have the ids 1 to 2: {problem}"
    assert message(ValueError, Vocabulary(("a", "b")).decode, ids) == expected


@pytest.mark.parametrize(
    ("known", "word", "expected"),
    [
        (
            "abc",
            "ca\u0301b",
            "'ca\u0301b' has characters that the vocabulary lacks:"
            " '\u0301' (U+0301) at position 3; it has 'abc'",
        ),
        (
            ".ab",
            "b\U0001f600.\t",
            "'b\U0001f600.\\t' has characters that the vocabulary lacks:"
            " '\U0001f600' (U+1F600) at position 2; '\\t' (U+0009) at position 4; it has '.ab'",
        ),
        (
            "abcdefghij",
            "Abba",
            "'Abba' has characters that the vocabulary lacks:"
            " 'A' (U+0041) at position 1; it has 'abcdefghij'; perhaps 'abba'",
        ),
        (
            "".join(map(chr, range(0x4E00, 0x4E00 + 41))),
            "x" * 41,
            f"'{'x' * 40}'... (41 characters) has characters that the vocabulary lacks: "
            + "; ".join(f"'x' (U+0078) at position {i}" for i in range(1, 6))
            + f", and 36 more; it has '{''.join(map(chr, range(0x4E00, 0x4E00 + 40)))}'..."
            " (41 characters)",
        ),
        (
            "".join(map(chr, range(0x4E00, 0x4E00 + 40))),
            "x",
            "'x' has characters that the vocabulary lacks: 'x' (U+0078) at position 1;"
            f" it has '{''.join(map(chr, range(0x4E00, 0x4E00 + 40)))}'",
        ),
    ],
)
def test_an_unknown_character_is_named_with_its_place(known, word, expected):
    assert message(UnknownCharacterError, Vocabulary(tuple(known)).encode, word) == expected


def test_both_errors_can_be_caught_as_the_value_errors_they_are():
    assert issubclass(UnknownCharacterError, CorpusError)
    assert issubclass(CorpusError, ValueError)


# split


@given(words=st.lists(texts, min_size=6), seed=st.integers())
def test_the_parts_together_are_the_shuffled_words(words, seed):
    before = list(words)
    parts = split(words, seed=seed)
    shuffled = list(words)
    random.Random(seed).shuffle(shuffled)
    assert [*parts.train, *parts.validation, *parts.test] == shuffled
    assert words == before


@given(count=st.integers(6, 5_000))
@example(10)
@example(32_033)
def test_the_parts_are_80_10_and_10_percent_and_never_empty(count):
    train, validation, test = (len(part) for part in split(["a"] * count))
    assert train == int(0.8 * count)
    assert train + validation == int(0.9 * count)
    assert min(train, validation, test) > 0


def test_the_split_draws_from_no_global_generator():
    before = random.getstate()
    split("abcdef", seed=1)
    assert random.getstate() == before


def test_the_seed_is_42_unless_given():
    words = [str(i) for i in range(100)]
    assert split(words) == split(words, seed=42) != split(words, seed=43)


@pytest.mark.parametrize("count", range(6))
def test_too_few_words_are_refused(count):
    assert message(CorpusError, split, ["a"] * count) == (
        "train, validation and test need 6 words or more to have one each,"
        f" but the number of words is {count}"
    )


# examples


def written_with_a_loop(words, vocabulary, context):
    """The lecture's way: slide a window over each word and its end."""
    contexts, targets = [], []
    for word in words:
        window = [0] * context
        for target in [*vocabulary.encode(word), 0]:
            contexts.append(window)
            targets.append(target)
            window = [*window[1:], target]
    return contexts, targets


@given(words=st.lists(texts), context=st.integers(1, 20))
@example(words=[], context=3)
@example(words=[""], context=1)
@example(words=["", "a", "", "", "bc", ""], context=4)
def test_examples_equal_those_written_with_a_loop(words, context):
    vocabulary = Vocabulary.of(words)
    contexts, targets = written_with_a_loop(words, vocabulary, context)
    got = examples(words, vocabulary, context=context)
    assert got.contexts.tolist() == contexts
    assert got.targets.tolist() == targets
    assert got.contexts.shape == (len(targets), context)
    assert got.targets.shape == (len(targets),)
    for tensor in got:
        assert tensor.dtype == torch.int64
        assert tensor.is_contiguous()


@given(words=st.lists(texts))
def test_words_can_be_read_off_the_targets(words):
    vocabulary = Vocabulary.of(words)
    read, ids = [], []
    for target in examples(words, vocabulary, context=2).targets.tolist():
        if target == 0:
            read.append(vocabulary.decode(ids))
            ids = []
        else:
            ids.append(target)
    assert read == words
    assert ids == []


def test_writing_to_one_example_changes_no_other():
    contexts, targets = examples(["abab"], Vocabulary.of(["ab"]), context=3)
    before, kept = contexts.clone(), targets.clone()
    contexts[1] = 9
    before[1] = 9
    assert contexts.equal(before)
    assert targets.equal(kept)


@pytest.mark.parametrize("context", [0, -1])
def test_a_context_below_one_is_refused(context):
    assert message(ValueError, examples, ["a"], Vocabulary(("a",)), context=context) == (
        f"context is {context}; a model needs at least 1 id to predict from"
    )


def test_examples_of_a_word_outside_the_vocabulary_are_refused():
    got = message(UnknownCharacterError, examples, ["a", "b"], Vocabulary(("a",)), context=1)
    assert got == (
        "'b' has characters that the vocabulary lacks: 'b' (U+0062) at position 1; it has 'a'"
    )


# the lecture's list


def test_the_lectures_list_gives_the_lectures_examples(lecture_names):
    assert len(lecture_names) == 32_033
    vocabulary = Vocabulary.of(lecture_names)
    assert len(vocabulary) == 27
    parts = split(lecture_names)
    assert parts.train[:4] == ("yuheng", "diondre", "xavien", "jori")
    got = [examples(part, vocabulary, context=8) for part in parts]
    assert [tuple(contexts.shape) for contexts, _ in got] == [
        (182_625, 8),
        (22_655, 8),
        (22_866, 8),
    ]


def test_the_lectures_list_is_read_as_it_is(lecture_names, path):
    path.write_text("\n".join(lecture_names), encoding="utf-8")
    assert read_words(path) == lecture_names


def test_our_names_hold_every_row_of_the_lectures_list_and_224_more(lecture_names):
    ours, theirs = read_words(NAMES), Counter(lecture_names)
    assert theirs <= Counter(ours)
    assert len(ours) - len(lecture_names) == 224
    assert len(set(ours) - set(theirs)) == 199
    assert sum(a == b for a, b in zip(ours, lecture_names, strict=False)) == 387


def test_our_names_give_the_examples_that_their_readme_states():
    words = read_words(NAMES)
    vocabulary = Vocabulary.of(words)
    counts = [len(examples(part, vocabulary, context=8).targets) for part in split(words)]
    readme = (NAMES.parent / "README.md").read_text(encoding="utf-8")
    assert " / ".join(f"{count:,}" for count in counts) in readme
