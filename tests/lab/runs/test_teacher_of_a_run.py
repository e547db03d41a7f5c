"""A run that was given a teacher goes on with that one."""

import sys

import pytest
from tiny_networks import SEQUENCES, WORDS

from typedwave.lab import NoTensorBoardError, Run, WordsRecipe, read_record
from typedwave.lab.training.presets import PRESETS

FEW = WordsRecipe(epochs=2, batch_size=4)
LESSON = WordsRecipe(epochs=4, batch_size=4, teacher="tiny", sampled=9)
PUPIL = SEQUENCES["rnn"]


@pytest.fixture
def teachers(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", (SEQUENCES["gru"], FEW))
    for name, seed in (("first", 1), ("second", 2)):
        recipe = WordsRecipe(epochs=2, batch_size=4, seed=seed)
        Run(tmp_path / name, WORDS, corpus="").train(SEQUENCES["gru"], recipe, name)
    return tmp_path / "first", tmp_path / "second"


def interrupted(experiment, points) -> bool:
    next(points)
    return True


def run_of(folder, **arguments) -> Run:
    return Run(folder, WORDS, corpus="", save_every=0, **arguments)


def test_it_is_in_the_record_and_gone_on_with(tmp_path, teachers):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run_of(whole, teacher=teachers[0]).train(PUPIL, LESSON, "pupil")
    run_of(stopped, teacher=teachers[0], watch=interrupted).train(PUPIL, LESSON, "pupil")
    told = read_record(stopped).facts["teacher"]
    assert told["folder"] == str(teachers[0])
    assert len(told["sha256"]) == 64
    run_of(stopped, teacher=teachers[0], resume=True).train(PUPIL, LESSON, "pupil")
    assert (stopped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert "teacher" not in read_record(teachers[0]).facts


def test_another_one_is_refused_and_so_is_none(tmp_path, teachers):
    folder = tmp_path / "pupil"
    run_of(folder, teacher=teachers[0], watch=interrupted).train(PUPIL, LESSON, "pupil")
    for other in (teachers[1], None):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
            run_of(folder, teacher=other, resume=True).train(PUPIL, LESSON, "pupil")
        assert str(caught.value) == (
            f"the teacher given to the run in {folder} was that in {teachers[0]}, as it was then; "
            "go on so"
        )


def test_it_is_not_trained_for_events_that_cannot_be_written(tmp_path, teachers, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(NoTensorBoardError):
        run_of(tmp_path / "pupil", tensorboard=True).train(PUPIL, LESSON, "pupil")
    assert not (tmp_path / "pupil").exists()


def test_one_that_was_not_given_at_first_is_refused(tmp_path, teachers):
    folder = tmp_path / "pupil"
    run_of(folder, watch=interrupted).train(PUPIL, LESSON, "pupil")
    assert (folder / "teacher-tiny").exists()
    run_of(folder, resume=True, watch=interrupted).train(PUPIL, LESSON, "pupil")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        run_of(folder, teacher=teachers[0], resume=True).train(PUPIL, LESSON, "pupil")
    assert str(caught.value) == f"the teacher given to the run in {folder} was none; go on so"
