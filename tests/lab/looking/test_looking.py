"""A look at a run on disk; what the pictures show is tried in test_plots.py."""

import pytest
from runs_on_disk import GRU, corpus_in, write_run
from tiny_networks import VOCABULARY, WORDS, made

from typedwave.lab import losses_by_place, split
from typedwave.lab.looking import look as look_module
from typedwave.lab.looking.look import Look, picture_of_curves
from typedwave.models import NGramConfig

VALIDATION = split(WORDS).validation


@pytest.fixture
def record(tmp_path):
    return write_run(tmp_path / "mine", corpus=str(corpus_in(tmp_path)))


def message_of(act) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        act()
    return str(caught.value)


def title_of(figure) -> str:
    return figure.get_suptitle() or figure.axes[0].get_title()


def test_pictures_are_of_the_words_of_validation_and_have_a_title(record):
    assert len(VALIDATION) == 1
    look = Look(record)
    assert look.words == VALIDATION
    titles = {
        kind: title_of(getattr(look, kind)())
        for kind in ("activations", "gradients", "updates", "embedding", "positions", "characters")
    }
    assert titles == {
        "activations": "mine: activations, 1 word of validation",
        "gradients": "mine: gradients, 1 word of validation",
        "updates": "mine: how far a step moves a matrix",
        "embedding": "mine: embedding",
        "positions": "mine: loss by position, 1 word of validation",
        "characters": "mine: loss by character, 1 word of validation",
    }
    heights = [bar.get_height() for bar in look.positions().axes[0].patches]
    expected = losses_by_place(made(GRU, seed=42), VOCABULARY, VALIDATION)
    assert heights == pytest.approx(expected.by_position)


def test_so_many_words_are_looked_into_but_all_have_their_loss(record, tmp_path):
    many = tmp_path / "many.txt"
    many.write_text("\n".join(WORDS * 10))
    look = Look(record, data=many, words=3)
    for kind in ("activations", "gradients"):
        assert title_of(getattr(look, kind)()) == f"mine: {kind}, 3 words of validation"
    assert look.positions().axes[1].patches[0].get_height() == len(WORDS)


def test_it_can_have_another_name_and_other_words(record, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("\n".join(["ana", "bo"] * 10))
    look = Look(record, name="a-mine", data=other)
    assert title_of(look.positions()) == "a-mine: loss by position, 2 words of validation"


def test_the_network_is_read_once_and_only_where_it_is_needed(record, monkeypatch):
    read = []
    load = look_module.load_checkpoint
    monkeypatch.setattr(look_module, "load_checkpoint", lambda p: read.append(p) or load(p))
    look = Look(record)
    look.updates()
    assert read == []
    look.embedding(), look.positions(), look.characters()
    assert read == [record.folder / "checkpoint.safetensors"]


def test_words_that_are_gone_or_others_are_told(tmp_path):
    corpus = corpus_in(tmp_path)
    look = Look(write_run(tmp_path / "gone", corpus=str(tmp_path / "no.txt")))
    assert message_of(look.positions) == (
        f"the words of {tmp_path / 'gone'} are not at {tmp_path / 'no.txt'}; "
        "name their file as data"
    )
    look = Look(write_run(tmp_path / "untold", corpus=None))
    assert message_of(look.activations) == (
        f"{tmp_path / 'untold'}/run.json does not say what the words are; name their file as data"
    )
    record = write_run(tmp_path / "mine", corpus=str(corpus))
    corpus.write_text("\n".join([*WORDS, "eve"]))
    assert message_of(Look(record).gradients) == (
        f"{corpus} has other words than {tmp_path / 'mine'} was trained on; name their file as data"
    )
    assert Look(record, data=corpus).gradients()


def test_a_run_without_a_network_has_no_look_into_it_but_its_updates(tmp_path):
    record = write_run(tmp_path / "run", corpus=str(corpus_in(tmp_path)), checkpoint=False)
    look = Look(record)
    for kind in ("activations", "gradients", "embedding", "positions", "characters"):
        assert message_of(getattr(look, kind)) == (
            f"{tmp_path / 'run'} has no network yet: there is no checkpoint.safetensors"
        )
    assert look.updates()


def test_n_grams_have_their_places(tmp_path):
    record = write_run(tmp_path / "run", NGramConfig(order=3), corpus=str(corpus_in(tmp_path)))
    assert Look(record).characters()


def test_curves_are_smoothed_over_what_is_asked_or_a_hundredth(tmp_path):
    record = write_run(tmp_path / "run", steps=300)
    for window, expected in ((None, 3), (7, 7)):
        figure = picture_of_curves([record], window=window, log=window is None)
        assert figure.legends[0].get_texts()[1].get_text() == f"train, mean of {expected} steps"
        assert figure.axes[0].lines[0].get_xdata()[0] == (expected + 1) / 2
        assert figure.axes[0].get_xscale() == ("log" if window is None else "linear")
    message = message_of(lambda: picture_of_curves([record], window=0))
    assert message == "window is 0, but has to be at least 1"
