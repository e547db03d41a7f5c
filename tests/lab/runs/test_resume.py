"""A run that ended early is gone on with, whatever it was that ended it; kills are elsewhere."""

import dataclasses
import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupting import stopping
from killed import outcome
from tiny_networks import EVERY, SEQUENCES, WINDOWS, WORDS

from typedwave.cli import run as run_command
from typedwave.lab import (
    CountingRecipe,
    Experiment,
    PoolRecipe,
    Recipe,
    Run,
    RunBusyError,
    RunExistsError,
    WordsRecipe,
    read_record,
)
from typedwave.lab.runs import run as run_module
from typedwave.lab.runs.state import StateFileError, load_state, state_files
from typedwave.lab.training.presets import PRESETS
from typedwave.models import PoolConfig, RecurrentConfig

_DROPPING = RecurrentConfig(n_embd=3, n_hidden=5, num_layers=2, dropout=0.4)

KINDS = {
    "examples": (
        WINDOWS["hierarchical"],  # a point every 3 steps, a piece every 2
        Recipe(steps=120, batch_size=5, momentum=0.9, clip=1.0, schedule="cosine", warm_up=0.1),
    ),
    "brief": (WINDOWS["hierarchical"], Recipe(steps=9, batch_size=5)),
    "words": (_DROPPING, WordsRecipe(epochs=8, batch_size=4, accumulate=2)),
    "taught": (
        SEQUENCES["rnn"],
        WordsRecipe(epochs=2, batch_size=4, teacher="tiny", sampled=5),
    ),
    "pool": (
        PoolConfig(members=(_DROPPING, EVERY["ngram"]), weights=(0.5, 0.5)),
        PoolRecipe(recipes=(WordsRecipe(epochs=3, batch_size=4), CountingRecipe())),
    ),
}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    """The curve takes longer than all else; and a teacher takes no time."""
    monkeypatch.setattr(run_module, "draw_curve", lambda path, points, title: path.touch())
    monkeypatch.setitem(PRESETS, "tiny", (SEQUENCES["gru"], WordsRecipe(epochs=2, batch_size=4)))


_WHOLE: dict[str, dict] = {}


def whole(kind: str, tmp_path) -> dict:
    """The outcome of a run that nothing ended early."""
    if kind not in _WHOLE:
        folder = tmp_path / "whole"
        train(folder, kind)
        _WHOLE[kind] = outcome(folder)
    return _WHOLE[kind]


def train(folder, kind: str, **options):
    options = {"save_every": 0, **options}
    return Run(folder, WORDS, corpus="friends", **options).train(*KINDS[kind], kind)


class EndedError(BaseException):
    """What no one catches."""


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def stopped(tmp_path) -> Path:
    """A run of examples that was ended at step 53: its states are of the steps 51 and 52."""
    folder = tmp_path / "stopped"
    with pytest.raises(EndedError):
        train(folder, "examples", watch=stopping(53, error=EndedError))
    assert [load_state(path).step for path in state_files(folder)] == [52, 51]
    return folder


# whatever it was that ended it


@pytest.mark.parametrize("kind", ["examples", "words"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, EndedError, ZeroDivisionError])
@given(data=st.data())
@settings(max_examples=3)
def test_ended_at_any_steps_it_ends_as_if_it_had_not_been(kind, error, data, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("resumed")
    expected = whole(kind, tmp_path)
    steps = {"examples": 120, "words": 24}[kind]
    ends = sorted(data.draw(st.lists(st.integers(0, steps - 1), min_size=1, max_size=3)))
    save_every = data.draw(st.sampled_from([0, 0, 1e9]))
    folder, said = tmp_path / "run", []
    for at in ends:
        options = {"watch": stopping(at, error=error), "resume": True, "save_every": save_every}
        if error is KeyboardInterrupt:
            train(folder, kind, **options)
        else:
            with pytest.raises(error):
                train(folder, kind, **options)
    train(folder, kind, resume=True, say=said.append)
    assert outcome(folder) == expected
    assert "error" not in read_record(folder).facts
    went_on = [line for line in said if "going on after step" in line]
    assert len(went_on) <= 1
    if save_every:
        assert not went_on


def test_an_interrupted_run_says_where_it_goes_on_from(tmp_path):
    folder, said = tmp_path / "run", []
    record = train(folder, "examples", watch=stopping(53))
    assert (record["interrupted"], record["steps_done"]) == (True, 53)
    assert len(read_record(folder).metrics.train) == 53
    train(folder, "examples", resume=True, say=said.append)
    assert said[1] == "examples: going on after step 52"
    assert outcome(folder) == whole("examples", tmp_path)


@pytest.mark.parametrize("kind", ["taught", "pool"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, EndedError])
@pytest.mark.parametrize("at", [(0,), (2,), (None, 0), (None, 2)])
def test_what_is_trained_on_the_way_is_gone_on_with_too(kind, error, at, tmp_path):
    expected, folder = whole(kind, tmp_path), tmp_path / "run"
    parts = [at]
    if kind == "pool" and None in at:  # its second member is counted in one step
        parts = [(3,), (5,)]
    for part in parts:
        options = {"watch": stopping(*part, error=error), "resume": True}
        if error is KeyboardInterrupt:
            record = train(folder, kind, **options)
            assert record is None or record["interrupted"]
        else:
            with pytest.raises(EndedError):
                train(folder, kind, **options)
    train(folder, kind, resume=True)
    assert outcome(folder) == expected


def test_a_compiled_run_is_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    train(tmp_path / "whole", "examples", compile=True)
    folder = tmp_path / "run"
    for at in (3, 51, 90):
        train(folder, "examples", compile=True, watch=stopping(at), resume=True)
    train(folder, "examples", compile=True, resume=True)
    assert outcome(folder) == outcome(tmp_path / "whole")
    assert read_record(folder).facts["compiled"] is True


def test_where_there_is_nothing_to_go_on_with_a_new_run_begins(tmp_path):
    expected = whole("examples", tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / ".lock").touch()
    (tmp_path / "locked" / ".new-run.json-abc.json").touch()
    for name in ("new", "empty", "locked"):
        train(tmp_path / name, "examples", resume=True)
        assert outcome(tmp_path / name) == expected


def test_where_there_is_something_else_nothing_begins(tmp_path):
    (tmp_path / "precious").write_text("text")
    with pytest.raises(RunExistsError) as caught:
        train(tmp_path, "examples", resume=True)
    assert str(caught.value) == f"{tmp_path} is not empty; name a new folder for the run"
    assert contents(tmp_path) == {"precious": b"text"}


def test_a_run_that_was_killed_is_not_begun_again_unless_asked(stopped):
    before = contents(stopped)
    with pytest.raises(RunExistsError):
        train(stopped, "examples")
    assert contents(stopped) == before


def test_the_seconds_of_all_its_parts_are_counted_and_the_beginning_is_the_first(stopped):
    seconds = load_state(state_files(stopped)[0]).seconds
    began = read_record(stopped).facts["began"]
    at_start = []

    def watch(experiment, points):
        at_start.append(experiment.seconds)
        return stopping()(experiment, points)

    record = train(stopped, "examples", resume=True, watch=watch)
    assert at_start == [seconds]
    assert record["began"] == began
    assert record["training_seconds"] >= round(seconds, 1)


def test_its_curve_is_of_all_its_points(stopped, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        run_module, "draw_curve", lambda path, points, title: drawn.append(list(points))
    )
    train(stopped, "examples", resume=True)
    assert drawn == [list(read_record(stopped).metrics.points)]
    assert [point.step for point in drawn[0]] == [*range(3, 120, 3), 120]


# a run that is finished


def test_a_run_that_is_finished_is_not_trained_again(tmp_path):
    said, watched = [], []
    first = train(tmp_path, "examples")
    before = contents(tmp_path)
    again = train(
        tmp_path,
        "examples",
        resume=True,
        say=said.append,
        watch=lambda experiment, points: watched.append(1),
    )
    assert (again, said, watched) == (
        {**first, "network": again["network"]},
        ["examples: finished before"],
        [],
    )
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", ["taught", "pool"])
def test_nothing_of_what_a_finished_run_trained_on_the_way_is_trained_again(tmp_path, kind):
    train(tmp_path, kind)
    before, said = contents(tmp_path), []
    train(tmp_path, kind, resume=True, say=said.append)
    assert said == [f"{kind}: finished before"]
    assert contents(tmp_path) == before


def test_states_that_a_kill_left_in_a_finished_run_go(tmp_path, stopped):
    (state,) = state_files(stopped)[:1]
    folder = tmp_path / "run"
    train(folder, "examples")
    shutil.copy(state, folder)
    (folder / ".new-state").touch()
    train(folder, "examples", resume=True)
    assert outcome(folder) == whole("examples", tmp_path)


# what is damaged


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


DAMAGES = {
    flip: "{} is damaged: its numbers are not those that were written",
    cut: "{} is not a whole safetensors file: ",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_the_newest_state_is_damaged_the_one_before_is_taken_and_it_is_said(
    stopped, tmp_path, damage
):
    newest, said = state_files(stopped)[0], []
    damage(newest)
    train(stopped, "examples", resume=True, say=said.append)
    assert said[1].startswith(DAMAGES[damage].format(newest))
    assert said[1].endswith("; going on from the state before")
    assert said[2] == "examples: going on after step 51"
    assert outcome(stopped) == whole("examples", tmp_path)


def test_a_damaged_state_is_gone_before_a_new_one_is_saved(stopped):
    newest, before = state_files(stopped)
    flip(newest)
    with pytest.raises(EndedError):
        train(stopped, "examples", resume=True, watch=stopping(51, error=EndedError))
    assert state_files(stopped) == [before]


def assert_refused(folder: Path, *problems: str) -> None:
    """However often it is to be gone on with, and nothing is lost."""
    before = contents(folder)
    for _ in range(2):
        with pytest.raises(StateFileError) as caught:
            train(folder, "examples", resume=True)
        assert str(caught.value) == (
            f"the run in {folder} cannot be gone on with: {'; '.join(problems)}. "
            "Without its files state-*.safetensors it begins again from the first step"
        )
        assert read_record(folder).facts["error"] == str(caught.value)
        assert {**contents(folder), "run.json": b""} == {**before, "run.json": b""}


def test_where_all_states_are_damaged_it_is_said_and_nothing_is_lost(stopped, tmp_path):
    newest, before = state_files(stopped)
    kept = contents(stopped)
    flip(newest)
    flip(before)
    damaged = "is damaged: its numbers are not those that were written"
    assert_refused(stopped, f"{newest} {damaged}", f"{before} {damaged}")
    newest.write_bytes(kept[newest.name])  # from a copy, say
    train(stopped, "examples", resume=True)
    assert outcome(stopped) == whole("examples", tmp_path)


def test_without_its_damaged_states_it_begins_again(stopped, tmp_path):
    for path in state_files(stopped):
        path.unlink()
    train(stopped, "examples", resume=True)
    assert outcome(stopped) == whole("examples", tmp_path)


def test_metrics_that_lag_behind_the_newest_state_are_those_of_the_one_before(stopped, tmp_path):
    path, said = stopped / "metrics.jsonl", []
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:51]))
    train(stopped, "examples", resume=True, say=said.append)
    assert said[1] == (
        f"{path} has 51 whole lines, but 52 steps were done; going on from the state before"
    )
    assert outcome(stopped) == whole("examples", tmp_path)


def damaged_in_the_middle(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:10], "{}\n", *lines[11:]]))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.write_text(""), "{} has 0 whole lines, but {} steps were done"),
        (damaged_in_the_middle, "{}, line 11 is not the metrics of step 11"),
        (Path.unlink, "[Errno 2] No such file or directory: '{}'"),
    ],
)
def test_without_the_metrics_of_its_states_it_is_not_gone_on_with_and_nothing_is_lost(
    stopped, tmp_path, damage, problem
):
    path = stopped / "metrics.jsonl"
    before = path.read_bytes()
    damage(path)
    assert_refused(stopped, problem.format(path, 52), problem.format(path, 51))
    path.write_bytes(before)
    train(stopped, "examples", resume=True)
    assert outcome(stopped) == whole("examples", tmp_path)


# what it began with


def other(config=None, recipe=None, words=WORDS, **options):
    """A run with another config, recipe or words."""
    kind = KINDS["examples"]
    config, recipe = config or kind[0], recipe or kind[1]
    return lambda folder: Run(folder, words, corpus="enemies", resume=True, **options).train(
        config, recipe, "other"
    )


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (
            other(dataclasses.replace(WINDOWS["hierarchical"], n_hidden=6)),
            "n_hidden of the network is 6, but the run in {} has 5; go on with what it began with",
        ),
        (
            other(WINDOWS["flat"]),
            "network of the network is 'flat', but the run in {} has 'hierarchical'; go on with "
            "what it began with",
        ),
        (
            other(SEQUENCES["gru"], WordsRecipe()),
            "network of the network is 'gru', but the run in {} has 'hierarchical'; go on with "
            "what it began with",
        ),
        (
            other(recipe=dataclasses.replace(KINDS["examples"][1], steps=121)),
            "steps of the recipe is 121, but the run in {} has 120; go on with what it began with",
        ),
        (
            other(recipe=WordsRecipe()),
            "kind of the recipe is 'words', but the run in {} has 'examples'; go on with what it "
            "began with",
        ),
        (
            other(words=[*WORDS, "x"]),
            "the words are not those of the run in {}, which are of friends",
        ),
        (
            other(words=WORDS[::-1]),
            "the words are not those of the run in {}, which are of friends",
        ),
        (other(compile=True), "the steps of the run in {} were not compiled; go on so"),
    ],
)
def test_what_it_did_not_begin_with_is_refused(stopped, begin, message):
    before = contents(stopped)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        begin(stopped)
    assert str(caught.value) == message.format(stopped)
    assert contents(stopped) == before


def test_a_compiled_run_is_gone_on_with_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    train(tmp_path, "examples", compile=True, watch=stopping(51))
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        train(tmp_path, "examples", resume=True)
    assert str(caught.value) == f"the steps of the run in {tmp_path} were compiled; go on so"


def test_a_pool_of_other_members_is_refused(tmp_path):
    train(tmp_path, "pool")
    config, recipe = KINDS["pool"]
    with pytest.raises(ValueError, match="weights of the network is"):
        Run(tmp_path, WORDS, corpus="", resume=True).train(
            dataclasses.replace(config, weights=(0.25, 0.5)), recipe, "other"
        )


def taught_by(teacher, folder, **options):
    """A run whose teacher is given, if one is."""
    return Run(folder, WORDS, corpus="friends", teacher=teacher, save_every=0, **options).train(
        *KINDS["taught"], "taught"
    )


def test_a_run_with_a_teacher_that_was_given_is_gone_on_with_by_the_same_one_only(tmp_path):
    config, recipe = PRESETS["tiny"]
    for name, seed in (("teacher", 1), ("another", 2)):
        how = dataclasses.replace(recipe, seed=seed)
        Run(tmp_path / name, WORDS, corpus="").train(config, how, name)
    taught_by(tmp_path / "teacher", tmp_path / "whole")
    folder = tmp_path / "run"
    taught_by(tmp_path / "teacher", folder, watch=stopping(4))
    before = contents(folder)
    for other_one in (None, tmp_path / "another"):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
            taught_by(other_one, folder, resume=True)
        assert str(caught.value) == (
            f"the teacher given to the run in {folder} was that in {tmp_path}/teacher, as it was "
            "then; go on so"
        )
        assert contents(folder) == before
    (tmp_path / "teacher").rename(tmp_path / "moved")  # it is the same one wherever it lies
    taught_by(tmp_path / "moved", folder, resume=True)
    assert outcome(folder) == outcome(tmp_path / "whole")


def test_a_run_that_trained_its_teacher_is_given_none(tmp_path):
    Run(tmp_path / "teacher", WORDS, corpus="").train(*PRESETS["tiny"], "tiny")
    folder = tmp_path / "run"
    train(folder, "taught", watch=stopping(None, 4))
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        taught_by(tmp_path / "teacher", folder, resume=True)
    assert str(caught.value) == f"the teacher given to the run in {folder} was none; go on so"


# two at once


def test_a_folder_that_is_trained_into_is_refused_and_the_first_run_goes_on(tmp_path):
    folder, refused = tmp_path / "run", []

    def watch(experiment, points):
        for point in points:
            if point.step in (3, 60):
                for resume in (True, False):
                    before = contents(folder)
                    with pytest.raises((RunBusyError, RunExistsError)) as caught:
                        train(folder, "examples", resume=resume)
                    refused.append(str(caught.value))
                    assert contents(folder) == before
        return False

    train(folder, "examples", watch=watch)
    busy = f"{folder} is being trained into by another process; wait until it ends"
    new = "name a new folder for the run, or go on with the one that is in it"
    taken = f"{folder} is not empty; {new}"
    assert refused == [busy, taken] * 2
    assert outcome(folder) == whole("examples", tmp_path)


def test_a_folder_in_which_another_run_begins_just_now_is_refused(tmp_path):
    # Which has nothing in it yet but the lock, and a record that is half written.
    (tmp_path / ".new-run.json-abc.json").write_text("{")
    with FileLock(tmp_path / ".lock"):
        for resume in (True, False):
            with pytest.raises(RunBusyError) as caught:
                train(tmp_path, "examples", resume=resume)
            assert str(caught.value) == (
                f"{tmp_path} is being trained into by another process; wait until it ends"
            )
            assert (tmp_path / ".new-run.json-abc.json").read_text() == "{"
    assert issubclass(RunBusyError, ValueError)


def test_another_process_is_refused_on_the_command_line(stopped, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("\n".join(WORDS))
    before = contents(stopped)
    with FileLock(stopped / ".lock"):
        done = subprocess.run(
            [sys.executable, "-m", "typedwave", "train", words, "--out", stopped, "--resume"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"typedwave: {stopped} is being trained into by another process; wait until it ends\n"
    )
    assert {name: x for name, x in contents(stopped).items() if name != ".lock"} == before


# a full disk


@pytest.mark.parametrize("kind", ["brief", "pool"])
@pytest.mark.parametrize("limit", [0, 200, 700, 1_500, 2_500, 4_000, 6_000])
def test_where_no_file_can_be_larger_it_is_one_error_and_gone_on_with_later(tmp_path, kind, limit):
    expected, folder = whole(kind, tmp_path), tmp_path / "run"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            train(folder, kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Path(caught.value.filename).is_relative_to(folder)
    assert not Path(caught.value.filename).name.startswith(".new-")
    assert not [name for name in contents(folder) if ".new-" in name or ".lock" in name]
    train(folder, kind, resume=True)
    assert outcome(folder) == expected


_FULL_AT: list[int] = []  # the number of the touch of a file from which on the disk is full
_BELOW: list[str] = []


def _full(event: str, arguments: tuple) -> None:
    if not _FULL_AT or event not in ("open", "os.mkdir"):
        return
    writes = event == "os.mkdir" or arguments[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
    if writes and isinstance(arguments[0], str | os.PathLike) and _BELOW[0] in str(arguments[0]):
        _FULL_AT[0] -= 1
        if _FULL_AT[0] < 0:
            named = [] if ".new-" in str(arguments[0]) else [str(arguments[0])]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *named)


sys.addaudithook(_full)


def full_at(touch: int, folder: Path, kind: str) -> OSError | None:
    _BELOW[:], _FULL_AT[:] = [str(folder)], [touch]
    try:
        train(folder, kind)
    except OSError as error:
        return error
    finally:
        _FULL_AT.clear()
    return None


@pytest.mark.parametrize("kind", ["brief", "pool", "taught"])
def test_from_whatever_moment_the_disk_is_full_it_is_one_error_and_gone_on_with_later(
    tmp_path, kind
):
    expected = whole(kind, tmp_path)
    step = {"brief": 5, "pool": 9, "taught": 8}[kind]
    for touch in range(0, 10_000, 1 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else step):
        folder = tmp_path / f"run-{touch}"
        folder.mkdir()
        error = full_at(touch, folder, kind)
        if error is None:  # it has not so many touches
            break
        assert error.errno == errno.ENOSPC
        assert Path(error.filename).is_relative_to(folder)
        assert not Path(error.filename).name.startswith(".new-")
        assert not [name for name in contents(folder) if ".new-" in name]
        train(folder, kind, resume=True)
        assert outcome(folder) == expected, f"full from touch {touch} on"
    assert touch > 4 * step


# on the command line


TINY = ["--context", "4", "--n_embd", "3", "--n_hidden", "5", "--batch_size", "4"]


@pytest.fixture
def words(tmp_path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def command(*arguments) -> int:
    return run_command([*map(str, arguments)])


def fails(capsys, *arguments) -> str:
    capsys.readouterr()
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("typedwave: ").removesuffix("\n")


def fails_after_a_line(capsys, *arguments) -> str:
    """The error, after how many words there are was told perhaps."""
    capsys.readouterr()
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out.count("\n") <= 1
    return err.removeprefix("typedwave: ").removesuffix("\n")


def interrupted(patch, *arguments, after: int = 5) -> None:
    """Ctrl-C after some pieces."""
    pieces = Experiment.pieces

    def stop(self):
        for number, _ in enumerate(pieces(self), start=1):
            yield
            if number == after:
                raise KeyboardInterrupt

    with patch.context() as inner:
        inner.setattr(Experiment, "pieces", stop)
        assert command(*arguments) == 130


def test_resume_goes_on_with_all_that_a_run_began_with(capsys, tmp_path, words, monkeypatch):
    flags = [*TINY, "--steps", "30", "--momentum", "0.5", "--seed", "7", "--clip", "0.5"]
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    assert command("train", words, *flags, "--out", tmp_path / "whole") == 0
    folder = tmp_path / "run"
    monkeypatch.setattr(Run, "__init__", _saving_always(Run.__init__))
    interrupted(monkeypatch, "train", words, *flags, "--threads", "2", "--out", folder)
    monkeypatch.chdir(tmp_path / "whole")  # the words are found from anywhere
    capsys.readouterr()
    assert command("train", "--out", folder, "--resume") == 0
    shown = capsys.readouterr().out.splitlines()
    assert "demo: going on after step 5" in shown
    assert shown[0] == f"12 words from {words}"
    assert threads == [1, 2, 2]
    assert outcome(folder) == outcome(tmp_path / "whole")


def _saving_always(plain):
    def init(self, *arguments, **options):
        plain(self, *arguments, **options, save_every=0)

    return init


@pytest.mark.parametrize("preset", ["tiny", "of both"])
def test_a_preset_is_gone_on_with_with_its_name_or_without(
    capsys, tmp_path, words, monkeypatch, preset
):
    monkeypatch.setitem(PRESETS, "of both", KINDS["pool"])
    expected = tmp_path / "whole"
    assert command("train", words, "--preset", preset, "--out", expected) == 0
    for name, more in (("a", []), ("b", ["--preset", preset]), ("c", ["--config", "c"])):
        if more[:1] == ["--config"]:
            more = ["--config", str(expected / "config.toml")]
        folder = tmp_path / name
        begin = ["train", words, "--preset", preset, "--out", folder]
        interrupted(monkeypatch, *begin, after=2)
        assert command("train", words, "--out", folder, "--resume", *more) == 0
        assert outcome(folder) == outcome(expected)


def test_the_teacher_that_was_given_need_not_be_named_again(capsys, tmp_path, words, monkeypatch):
    monkeypatch.setitem(PRESETS, "student", KINDS["taught"])
    assert command("train", words, "--preset", "tiny", "--out", tmp_path / "teacher") == 0
    begin = ["train", words, "--preset", "student", "--teacher_run", tmp_path / "teacher"]
    assert command(*begin, "--out", tmp_path / "whole") == 0
    folder = tmp_path / "run"
    interrupted(monkeypatch, *begin, "--out", folder, after=2)
    assert command("train", "--out", folder, "--resume") == 0
    assert outcome(folder) == outcome(tmp_path / "whole")


def test_resume_of_a_finished_run_says_so(capsys, tmp_path, words):
    folder = tmp_path / "run"
    assert command("train", words, *TINY, "--steps", "2", "--out", folder) == 0
    before = contents(folder)
    capsys.readouterr()
    assert command("train", "--out", folder, "--resume") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == "demo: finished before"
    assert shown[-1] == f"the run is in {folder}"
    assert contents(folder) == before


def test_resume_where_there_is_nothing_begins_a_run(capsys, tmp_path, words):
    folder = tmp_path / "a" / "run"
    assert command("train", words, *TINY, "--steps", "2", "--out", folder, "--resume") == 0
    assert read_record(folder).facts["steps_done"] == 2


def test_resume_where_there_is_something_else_is_refused(capsys, tmp_path, words):
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "precious").write_text("text")
    assert fails_after_a_line(capsys, "train", words, "--out", folder, "--resume") == (
        f"{folder} is not empty; name a new folder for the run"
    )
    assert contents(folder) == {"precious": b"text"}


def test_resume_without_out_is_refused(capsys, tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fails(capsys, "train", words, "--resume") == (
        "--resume goes on with the run in the folder --out; name it"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--n_hidden", "6"],
            "n_hidden of the network is 6, but the run in {} has 5; go on with what it began with",
        ),
        (
            ["--steps", "31"],
            "steps of the recipe is 31, but the run in {} has 30; go on with what it began with",
        ),
        (
            ["--preset", "gru"],
            "network of the network is 'gru', but the run in {} has 'hierarchical'; go on with "
            "what it began with",
        ),
        (["--compile"], "the steps of the run in {} were not compiled; go on so"),
        (["--epochs=3"], "unrecognized arguments: --epochs=3"),
    ],
)
def test_flags_that_contradict_the_run_are_refused(
    capsys, tmp_path, words, monkeypatch, flags, message
):
    folder = tmp_path / "run"
    interrupted(monkeypatch, "train", words, *TINY, "--steps", "30", "--out", folder)
    before = contents(folder)
    said = fails_after_a_line(capsys, "train", "--out", folder, "--resume", *flags)
    assert said == message.format(folder)
    assert contents(folder) == before


def test_other_words_are_refused_and_those_that_are_gone_are_named(
    capsys, tmp_path, words, monkeypatch
):
    folder = tmp_path / "run"
    interrupted(monkeypatch, "train", words, *TINY, "--steps", "30", "--out", folder)
    changed = tmp_path / "changed.txt"
    changed.write_text("\n".join([*WORDS, "anna"]))
    assert fails_after_a_line(capsys, "train", changed, "--out", folder, "--resume") == (
        f"the words are not those of the run in {folder}, which are of {words}"
    )
    words.unlink()
    assert fails(capsys, "train", "--out", folder, "--resume") == (
        f"{words}: No such file or directory"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("{}", "it lacks 'network'"),
    ],
)
def test_a_record_that_is_damaged_is_named(capsys, tmp_path, words, text, message):
    folder = tmp_path / "run"
    assert command("train", words, *TINY, "--steps", "2", "--out", folder) == 0
    (folder / "run.json").write_text(text)
    assert fails(capsys, "train", words, "--out", folder, "--resume") == (
        f"{folder}/run.json is not the record of a run: {message}"
    )


def test_a_record_without_a_name_is_gone_on_with(capsys, tmp_path, words, monkeypatch):
    folder = tmp_path / "run"
    interrupted(monkeypatch, "train", words, *TINY, "--steps", "30", "--out", folder)
    facts = json.loads((folder / "run.json").read_text())
    for name in ("name", "environment", "corpus"):
        del facts[name]
    (folder / "run.json").write_text(json.dumps(facts))
    assert command("train", words, "--out", folder, "--resume") == 0
    assert read_record(folder).facts["steps_done"] == 30
