import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from commands import FRIENDS, fails, printed

from typedwave.cli import run

TINY = ["--context", "4", "--n_embd", "3", "--n_hidden", "5", "--batch_size", "4", "--steps", "20"]
OF_A_RUN = ["activations", "gradients", "updates", "embedding", "positions", "characters"]
NO_LAYERS = (
    "activations, gradients and an embedding are of one network that learns by gradients, but "
    "this one is of kind ngram; its losses by position and by character can be looked at"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder of runs, only to be read: two seeds of a network, in folders of their own."""
    folder = tmp_path_factory.mktemp("plotted")
    words = folder / "words.txt"
    words.write_text("\n".join(FRIENDS) + "\n", encoding="utf-8")
    for seed in ("1", "2"):
        out = folder / "networks" / seed / "tiny"
        assert run(["train", str(words), *TINY, "--seed", seed, "--out", str(out)]) == 0
    ngram = ["--network", "ngram", "--order", "3", "--out", str(folder / "ngram")]
    assert run(["train", str(words), *ngram]) == 0
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_curves_of_all_runs_are_one_picture_in_the_folder_plots(
    runs, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert printed(capsys, "plot", runs) == ("plots/curves.png\n", "")
    assert files_in(tmp_path / "plots") == ["curves.png"]


def test_everything_is_drawn_that_there_is_and_what_is_left_out_is_told(runs, capsys, tmp_path):
    out, err = printed(capsys, "plot", runs, "--kind", "all", "--out", tmp_path)
    names = [f"{seed}-tiny-{kind}" for seed in "12" for kind in OF_A_RUN]
    names += [f"ngram-{kind}" for kind in ("positions", "characters")]
    assert out.splitlines() == [str(tmp_path / f"{name}.png") for name in ("curves", *names)]
    assert files_in(tmp_path) == sorted(f"{name}.png" for name in ("curves", *names))
    assert err.splitlines() == [
        f"typedwave: left out ngram-activations: {NO_LAYERS}",
        f"typedwave: left out ngram-gradients: {NO_LAYERS}",
        f"typedwave: left out ngram-updates: the metrics of {runs / 'ngram'} do not "
        "tell how far a step moved the parameters",
        f"typedwave: left out ngram-embedding: {NO_LAYERS}",
    ]


@pytest.mark.parametrize("kind", ["curves", *OF_A_RUN])
def test_one_picture_can_be_a_file(kind, runs, capsys, tmp_path):
    path = tmp_path / "new" / "picture.svg"
    one = runs / "networks" / "1"
    assert printed(capsys, "plot", one, "--kind", kind, "--out", path) == (f"{path}\n", "")
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    assert files_in(path.parent) == ["picture.svg"]


def test_the_names_of_runs_are_those_of_their_folders_if_these_tell_them_apart(
    runs, capsys, tmp_path
):
    printed(
        capsys,
        "plot",
        runs / "networks" / "1" / "tiny",
        runs / "ngram",
        "--kind",
        "positions",
        "--out",
        tmp_path,
    )
    assert files_in(tmp_path) == ["ngram-positions.png", "tiny-positions.png"]


def test_a_run_that_is_named_twice_is_drawn_once(runs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(runs)
    printed(capsys, "plot", "ngram", runs / "ngram", "--kind", "positions", "--out", tmp_path)
    assert files_in(tmp_path) == ["ngram-positions.png"]


def test_json_tells_the_same(runs, capsys, tmp_path):
    out, err = printed(
        capsys, "plot", runs, "--kind", "embedding", "--out", tmp_path, "--format", "pdf", "--json"
    )
    assert json.loads(out) == {
        "pictures": [str(tmp_path / f"{seed}-tiny-embedding.pdf") for seed in "12"],
        "left_out": {"ngram-embedding": NO_LAYERS},
    }
    assert err == ""
    assert (tmp_path / "1-tiny-embedding.pdf").read_bytes().startswith(b"%PDF")


def drawn(monkeypatch) -> list:
    """The figures, as they are saved."""
    figures = []
    monkeypatch.setattr(
        "typedwave.lab.looking.plots.save_figure", lambda path, figure: figures.append(figure)
    )
    return figures


def test_flags_reach_the_picture(runs, capsys, tmp_path, monkeypatch):
    figures = drawn(monkeypatch)
    printed(capsys, "plot", runs / "networks", "--smooth", "4", "--log", "--out", tmp_path)
    assert figures[0].axes[0].get_xscale() == "log"
    legend = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert legend[0].startswith("hierarchical (2 runs): ")
    assert legend[1:] == ["train, mean of 4 steps", "validation"]
    many = tmp_path / "many.txt"
    many.write_text("\n".join(FRIENDS * 3), encoding="utf-8")
    one, of_three = runs / "networks" / "1", ["--words", "3", "--data", many]
    printed(capsys, "plot", one, "--kind", "activations", *of_three, "--out", tmp_path)
    assert figures[1].get_suptitle() == "tiny: activations, 3 words of validation"


def test_words_can_be_somewhere_else(runs, capsys, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(runs / "networks" / "1" / "tiny", moved)
    facts = json.loads((moved / "run.json").read_text())
    (moved / "run.json").write_text(json.dumps({**facts, "corpus": "/no/words.txt"}))
    arguments = [moved, "--kind", "positions", "--out", tmp_path / "plots"]
    assert fails(capsys, "plot", *arguments) == (
        f"the words of {moved} are not at /no/words.txt; name their file as data"
    )
    printed(capsys, "plot", *arguments, "--data", runs / "words.txt")


def test_many_pictures_are_no_file(runs, capsys, tmp_path):
    path = tmp_path / "picture.png"
    assert fails(capsys, "plot", runs, "--kind", "positions", "--out", path) == (
        f"{path} is one picture, but there are 3 to draw; name a folder"
    )
    assert files_in(tmp_path) == []


def test_an_n_gram_has_no_layers(runs, capsys, tmp_path):
    arguments = [runs / "ngram", "--kind", "gradients", "--out", tmp_path / "plots"]
    assert fails(capsys, "plot", *arguments) == NO_LAYERS
    assert files_in(tmp_path) == []


def test_if_nothing_can_be_drawn_the_first_reason_is_told(runs, capsys, tmp_path):
    shutil.copytree(runs / "ngram", tmp_path / "other")
    arguments = [runs / "ngram", tmp_path / "other", "--kind", "embedding"]
    assert fails(capsys, "plot", *arguments, "--out", tmp_path / "plots") == (
        f"nothing could be drawn: {NO_LAYERS}"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--smooth", "0"], "smooth is 0, but has to be at least 1"),
        (["--words", "0"], "words is 0, but has to be at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(flags, message, runs, capsys, tmp_path):
    assert fails(capsys, "plot", runs, *flags, "--out", tmp_path) == message


def test_where_there_is_no_run_it_is_told(capsys, tmp_path):
    assert (
        fails(capsys, "plot", tmp_path)
        == f"there is no run in {tmp_path}: no run.json in it or below it"
    )


def test_pictures_of_runs_whose_folders_read_alike_have_different_names(runs, capsys, tmp_path):
    for name in ("a/1", "c/1", "a-1"):
        shutil.copytree(runs / "ngram", tmp_path / "runs" / name)
    out, _ = printed(
        capsys, "plot", tmp_path / "runs", "--kind", "positions", "--out", tmp_path / "out"
    )
    assert len(out.splitlines()) == 3
    names = ["a-1-positions.png", "a-1~2-positions.png", "c-1-positions.png"]
    assert files_in(tmp_path / "out") == names


def test_a_picture_that_cannot_be_written_leaves_no_folder(runs, capsys, tmp_path, monkeypatch):
    def full(path, figure):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("typedwave.lab.looking.plots.save_figure", full)
    out = tmp_path / "new" / "plots"
    assert fails(capsys, "plot", runs, "--out", out).endswith("No space left on device")
    assert not (tmp_path / "new").exists()
