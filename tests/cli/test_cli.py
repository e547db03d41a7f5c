import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import FRIENDS, RUN_FILES, fails, prints
from torch._dynamo.exc import BackendCompilerFailed

from typedwave.__main__ import main
from typedwave.cli import run
from typedwave.lab.runs.checkpoint import load_checkpoint, save_checkpoint
from typedwave.lab.runs.experiment import Experiment
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.words.corpus import read_words, split
from typedwave.lab.words.names import names_path

TINY = ["--context", "4", "--n_embd", "3", "--n_hidden", "5", "--batch_size", "4"]
LOSSES = (
    r"train \d\.\d{4}  validation \d\.\d{4}  test \d\.\d{4}  unseen \d\.\d{4}  nats a character"
)


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("\n".join(FRIENDS) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, words) -> Path:
    """A run; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    assert run(["train", str(words), *TINY, "--steps", "20", "--out", str(folder)]) == 0
    return folder


def process(code: str, *arguments: str, **options) -> subprocess.Popen:
    """The command line in a process of its own, as from a shell: what it prints is buffered."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        [sys.executable, *(["-c", code] if code else ["-m", "typedwave"]), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# train


def test_train_writes_a_run_and_says_what_it_did(capsys, tmp_path, words):
    folder = tmp_path / "runs" / "first"
    out = prints(
        capsys, "train", words, *TINY, "--epochs", "1", "--network", "flat", "--out", folder
    )
    first, second, losses, heading, *columns, last = out.splitlines()
    assert first == f"15 words from {words}"
    assert second == "flat: flat network, 151 parameters, 3 steps"
    assert re.fullmatch("flat: " + LOSSES, losses)
    new = (folder / "samples.txt").read_text(encoding="utf-8").split()
    assert heading == f"{len(new)} samples, none of them among the 15 words:"
    assert " ".join(columns).split() == new
    assert last == f"the run is in {folder}"
    assert {file.name for file in folder.iterdir()} == RUN_FILES
    assert len(new) == len(set(new)) <= 20
    assert not set(new) & set(FRIENDS)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["corpus"] == str(words.resolve())
    assert record["steps_done"] == 3
    assert not record["compiled"]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_train_does_what_an_experiment_does(trained, words):
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    loaded = load_checkpoint(trained / "checkpoint.safetensors")
    from typedwave.lab.training.recipe import Recipe
    from typedwave.models import NetworkConfig

    config = NetworkConfig(context=4, n_embd=3, n_hidden=5)
    experiment = Experiment(read_words(words), config, Recipe(steps=20, batch_size=4))
    list(experiment.points())
    assert record["losses"] == experiment.losses()
    for name, tensor in experiment.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name


def test_train_as_json_is_json_on_stdout_and_nothing_else(capsys, tmp_path, words):
    folder = tmp_path / "run"
    told = json.loads(
        prints(capsys, "train", words, *TINY, "--steps", "3", "--out", folder, "--json")
    )
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    new = (folder / "samples.txt").read_text(encoding="utf-8").split()
    assert told == {"run": str(folder), **record, "new": new}


def test_without_out_a_run_is_named_by_time_and_preset(capsys, tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prints(capsys, "train", words, *TINY, "--steps", "2")
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}-demo", folder.name)
    assert (folder / "run.json").exists()


def test_train_trains_on_the_names_unless_told_otherwise(capsys, tmp_path, monkeypatch):
    read = []

    def noting(path):
        read.append(path)
        return FRIENDS

    monkeypatch.setattr("typedwave.cli.training.read_words", noting)
    prints(capsys, "train", *TINY, "--steps", "2", "--out", tmp_path / "run")
    assert read == [str(names_path())]


def test_a_run_finds_its_words_again_from_anywhere(capsys, tmp_path, words, monkeypatch):
    monkeypatch.chdir(words.parent)
    folder = tmp_path / "run"
    prints(capsys, "train", words.name, *TINY, "--steps", "1", "--out", folder)
    monkeypatch.chdir(tmp_path)
    told = json.loads(prints(capsys, "eval", "run", "--json"))
    assert told["corpus"] == str(words.resolve())


def test_the_samples_of_a_run_leave_out_all_its_words(capsys, tmp_path, words, monkeypatch):
    asked = []

    def noting(model, vocabulary, count, *, known, generator):
        asked.append((count, list(known), generator.initial_seed()))
        return ["new", "newer"]

    monkeypatch.setattr("typedwave.lab.runs.run.sample_new", noting)
    folder = tmp_path / "run"
    prints(capsys, "train", words, *TINY, "--steps", "1", "--seed", "7", "--out", folder)
    assert asked == [(20, FRIENDS, 7)]
    assert (folder / "samples.txt").read_text(encoding="utf-8") == "new\nnewer\n"


def test_where_there_is_no_terminal_every_tenth_point_is_a_line(capsys, tmp_path, words):
    flags = [*TINY, "--steps", "60", "--out", tmp_path / "run"]  # a point every 2 steps
    assert run([*map(str, ["train", words, *flags])]) == 0
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 3
    for line, step in zip(shown, (20, 40, 60), strict=True):
        losses = r"train \d\.\d{4}  validation \d\.\d{4}"
        assert re.fullmatch(rf"{losses}  after {step} of 60 steps", line)


def test_equal_seeds_give_equal_runs_and_others_do_not(capsys, tmp_path, words):
    losses = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        flags = [*TINY, "--steps", "3", "--seed", seed, "--out", tmp_path / name, "--json"]
        losses.append(json.loads(prints(capsys, "train", words, *flags))["losses"])
    assert losses[0] == losses[1] != losses[2]


def test_threads_are_set(capsys, tmp_path, words):
    prints(capsys, "train", words, *TINY, "--steps", "1", "--threads", "2", "--out", tmp_path / "a")
    assert torch.get_num_threads() == 2
    prints(capsys, "train", words, *TINY, "--steps", "1", "--out", tmp_path / "b")
    assert torch.get_num_threads() == 1


def test_compile_compiles(capsys, tmp_path, words, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda step, **options: asked.append(1) or step)
    flags = [*TINY, "--steps", "2", "--out", tmp_path / "run", "--compile", "--json"]
    assert json.loads(prints(capsys, "train", words, *flags))["compiled"]
    assert asked == [1]


# presets and flags


def recipe_and_network(capsys, tmp_path, words, *flags: str) -> dict:
    told = json.loads(
        prints(capsys, "train", words, "--out", tmp_path / "run", "--json", "--steps", "2", *flags)
    )
    return told["recipe"] | told["network"]


@pytest.mark.parametrize("preset", [["--preset", "lecture-small"], ["--preset=lecture-small"]])
def test_a_preset_sets_the_defaults_and_flags_override_it(capsys, tmp_path, words, preset):
    # jsonargparse reads flags in order, so the preset must not undo what stands before it.
    told = recipe_and_network(capsys, tmp_path, words, "--n_hidden", "9", *preset)
    assert (told["n_embd"], told["n_hidden"], told["unbiased"]) == (10, 9, True)
    assert (told["steps"], told["batch_size"], told["seed"]) == (2, 32, 42)


def test_the_preset_demo_is_the_one_of_those_who_name_none(capsys, tmp_path, words):
    told = recipe_and_network(capsys, tmp_path, words)
    assert (told["n_embd"], told["n_hidden"], told["unbiased"]) == (24, 128, False)


@pytest.mark.parametrize(
    ("flags", "parameters"),
    [
        ([], "76,579"),
        (["--preset", "lecture"], "76,579"),
        (["--preset=lecture-small"], "22,397"),
        (["--preset", "lecture-flat"], "22,097"),
        (["--preset", "lecture-flat-3"], "12,097"),
        (["--n_embd", "10", "--n_hidden", "68"], "22,397"),
        (["--n-embd", "10", "--n-hidden=68"], "22,397"),
        (["--preset", "lecture-flat-3", "--context", "8"], "22,097"),
        (["--context=8", "--preset=lecture-flat-3"], "22,097"),
    ],
)
def test_dashes_and_underscores_are_alike_and_flags_come_in_any_order(capsys, flags, parameters):
    total = prints(capsys, "inspect", *flags).splitlines()[-1]
    assert total.split() == ["total", parameters]


def test_every_number_reaches_the_run(capsys, tmp_path, words):
    flags = {
        "context": 9,
        "fuse": 3,
        "n_embd": 2,
        "n_hidden": 4,
        "output_scale": 0.5,
        "steps": 3,
        "batch_size": 5,
        "accumulate": 2,
        "learning_rate": 0.05,
        "schedule": "cosine",
        "warm_up": 0.125,
        "decay": 0.5,
        "decay_from": 0.25,
        "momentum": 0.5,
        "clip": 1.5,
        "precision": "bfloat16",
        "seed": 7,
    }
    given = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    told = recipe_and_network(capsys, tmp_path, words, *given, "--unbiased", "true")
    assert told == {**flags, "network": "hierarchical", "unbiased": True, "kind": "examples"}


@pytest.mark.parametrize("command", ["train", "inspect"])
@pytest.mark.parametrize(
    ("preset", "n_embd", "steps"), [("demo", 24, 40_000), ("lecture-small", 10, 200_000)]
)
def test_help_shows_the_defaults_of_the_preset(capsys, command, preset, n_embd, steps):
    with pytest.raises(SystemExit) as caught:
        run([command, "--preset", preset, "--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Channels of the embedding. (type: int, default: {n_embd})" in shown
    told = f"Updates of the parameters. (type: int, default: {steps})" in shown
    assert told == (command == "train")


@pytest.mark.parametrize("command", ["train", "eval", "sample", "inspect"])
def test_every_command_has_a_help_that_names_json(capsys, command):
    with pytest.raises(SystemExit) as caught:
        run([command, "--help"])
    assert caught.value.code == 0
    assert "print JSON and nothing else" in capsys.readouterr().out


# eval


def test_eval_gives_the_losses_of_the_record(capsys, trained):
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    told = json.loads(prints(capsys, "eval", trained, "--json"))
    assert told == {"corpus": record["corpus"], "losses": record["losses"]}
    expected = "  ".join(f"{name} {loss:.4f}" for name, loss in record["losses"].items())
    assert prints(capsys, "eval", trained) == expected + "  nats a character\n"


def test_eval_takes_a_checkpoint_and_other_words(capsys, trained, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("\n".join(word[::-1] for word in FRIENDS))
    told = json.loads(prints(capsys, "eval", trained / "checkpoint.safetensors", other, "--json"))
    assert told["corpus"] == str(other)
    assert told["losses"] != json.loads(prints(capsys, "eval", trained, "--json"))["losses"]


# sample


def test_sample_prints_a_word_a_line_the_same_for_the_same_seed(capsys, trained):
    first = prints(capsys, "sample", trained, "--count", "30")
    assert len(first.splitlines()) == 30
    assert set("".join(first.split())) - {"*"} <= set("".join(FRIENDS))
    assert prints(capsys, "sample", trained, "--count", "30", "--seed", "0") == first
    assert prints(capsys, "sample", trained, "--count", "30", "--seed", "1") != first
    as_json = json.loads(prints(capsys, "sample", trained, "--count", "30", "--json"))
    trained_on = split(FRIENDS).train
    assert [told["known"] for told in as_json] == [told["word"] in trained_on for told in as_json]
    lines = [told["word"] + " *" * told["known"] for told in as_json]
    assert lines == first.split("\n")[:-1]
    assert len(prints(capsys, "sample", trained).splitlines()) == 20


def test_sample_new_gives_no_word_of_the_corpus_and_none_twice(capsys, trained, tmp_path):
    told = json.loads(prints(capsys, "sample", trained, "--new", "--count", "50", "--json"))
    assert not any(each["known"] for each in told)
    new = [each["word"] for each in told]
    assert len(new) == len(set(new)) == 50
    assert "" not in new
    assert not set(new) & set(FRIENDS)
    known = tmp_path / "known.txt"
    known.write_text("\n".join(new[:30]))
    told = json.loads(prints(capsys, "sample", trained, known, "--new", "--count", "50", "--json"))
    assert not {each["word"] for each in told} & set(new[:30])


def test_sample_needs_no_corpus_unless_words_are_to_be_new(capsys, trained, tmp_path):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((trained / "checkpoint.safetensors").read_bytes())
    assert prints(capsys, "sample", alone) == prints(capsys, "sample", trained)
    for command in (["sample", alone, "--new"], ["eval", alone]):
        assert fails(capsys, *command) == (
            f"there is no run.json beside {alone}; name the file of words as data"
        )


# inspect


def test_inspect_shows_a_run_and_a_network_that_is_not_there_yet_alike(capsys, trained):
    shown = prints(capsys, "inspect", trained)
    flags = ["--context", "4", "--n_embd", "3", "--n_hidden", "5", "--vocab_size", "9"]
    assert prints(capsys, "inspect", *flags) == shown
    assert shown.splitlines()[0].split() == ["path", "type", "input", "output", "parameters"]
    assert "i64[32, 4]" in shown
    assert "i64[7, 4]" in prints(capsys, "inspect", trained, "--batch_size", "7")


def test_inspect_as_json_has_the_rows(capsys):
    told = json.loads(prints(capsys, "inspect", "--json"))
    assert told["parameters"] == 76_579
    assert told["rows"][0] == {
        "path": "",
        "type": "MLP",
        "inputs": "i64[B=32, context=8]",
        "output": "f32[B=32, vocab_size=27]",
        "parameters": 0,
    }


# errors


def folders(path: Path) -> list[str]:
    return sorted(str(inner.relative_to(path)) for inner in path.rglob("*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "0"], "steps is 0, but has to be at least 1"),
        (["--batch_size", "0"], "batch_size is 0, but has to be at least 1"),
        (["--learning_rate", ".nan"], "learning_rate is nan, but has to be at least 0"),
        (["--learning-rate=-1"], "learning_rate is -1.0, but has to be at least 0"),
        (["--momentum", "1.5"], "momentum is 1.5, but has to be 0 to 1"),
        (["--seed", "-1"], "seed is -1, but has to be at least 0"),
        (["--threads", "0"], "threads is 0, but has to be at least 1"),
        (["--n_emb", "3"], "unrecognized arguments: --n_emb 3"),
        (["--n_hidden", "0"], "n_hidden is 0, but has to be at least 1"),
        (
            ["--context", "5"],
            "context is 5, but a hierarchical network needs a power of fuse = 2, such as 4 or 8",
        ),
        (
            ["--preset", "nope"],
            "argument --preset: invalid choice: 'nope' (choose from " + ", ".join(PRESETS) + ")",
        ),
        (["--preset"], "argument --preset: expected one argument"),
        (["--frob", "3"], "unrecognized arguments: --frob 3"),
    ],
)
def test_what_is_wrong_with_a_flag_is_said_in_one_line(capsys, tmp_path, words, flags, message):
    found = fails(capsys, "train", words, *TINY, "--out", tmp_path / "run", *flags)
    # Python 3.12 and later quote the choices in their own way.
    assert found.replace("'", "") == message.replace("'", "")
    assert folders(tmp_path) == []


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("steps", "many"),
        ("steps", "1.5"),
        ("learning_rate", "nan"),
        ("unbiased", "maybe"),
        ("network", "ring"),
        ("threads", "two"),
    ],
)
def test_what_is_no_such_value_is_named_with_its_flag(capsys, tmp_path, words, flag, value):
    message = fails(capsys, "train", words, "--out", tmp_path / "run", f"--{flag}", value)
    assert flag in message
    assert value in message
    assert folders(tmp_path) == []


@pytest.mark.parametrize("arguments", [[], ["frob"], ["--frob"], ["train", "a", "b"]])
def test_a_command_line_that_makes_no_sense_is_an_error(capsys, arguments):
    assert fails(capsys, *arguments)


def test_no_command_says_which_there_are(capsys):
    assert fails(capsys) == (
        'expected "command" to be one of {train,eval,sample,inspect,compare, ...}, but it was '
        "not provided."
    )


def test_a_file_that_is_missing_is_named(capsys, tmp_path, trained):
    gone = tmp_path / "gone"
    message = f"{gone}: No such file or directory"
    assert fails(capsys, "train", gone, "--out", tmp_path / "run") == message
    assert fails(capsys, "eval", gone) == message
    assert fails(capsys, "eval", trained, gone) == message
    assert fails(capsys, "sample", gone) == message
    assert fails(capsys, "sample", trained, gone, "--new") == message
    assert fails(capsys, "inspect", gone) == message
    assert fails(capsys, "eval", tmp_path) == (
        f"{tmp_path}/checkpoint.safetensors: No such file or directory"
    )
    assert folders(tmp_path) == []


def test_too_few_words_or_none_or_not_utf_8_are_errors_of_the_corpus(capsys, tmp_path):
    path, folder = tmp_path / "words.txt", tmp_path / "run"
    path.write_text("\n\n")
    assert fails(capsys, "train", path, "--out", folder) == (
        f"{path} has no word; expected one word a line"
    )
    path.write_text("anna\notto\n")
    assert fails(capsys, "train", path, "--out", folder) == (
        "train, validation and test need 6 words or more to have one each, "
        "but the number of words is 2"
    )
    path.write_bytes(b"anna\n\xff\n")
    assert fails(capsys, "train", path, "--out", folder) == (
        f"{path}, line 2: byte 0xff at offset 5 is not UTF-8; save the file as UTF-8"
    )
    assert folders(tmp_path) == ["words.txt"]


def test_a_character_that_the_network_does_not_know_is_named(capsys, trained, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("\n".join([*FRIENDS, "zoe"]))
    assert fails(capsys, "eval", trained, other) == (
        "'zoe' has characters that the vocabulary lacks: 'z' (U+007A) at position 1; "
        "it has 'aeilmnot'"
    )


def test_a_folder_that_is_not_empty_is_left_alone(capsys, tmp_path, words):
    (tmp_path / "precious").write_text("text")
    assert fails(capsys, "train", words, *TINY, "--out", tmp_path) == (
        f"{tmp_path} is not empty; name a new folder for the run"
    )
    assert folders(tmp_path) == ["precious"]


def test_a_run_is_not_written_over(capsys, trained, words):
    before = {file.name: file.read_bytes() for file in trained.iterdir()}
    assert "is not empty" in fails(capsys, "train", words, *TINY, "--out", trained)
    assert {file.name: file.read_bytes() for file in trained.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_named(capsys, tmp_path, words, monkeypatch):
    path = tmp_path / "file"
    path.write_text("text")
    assert fails(capsys, "train", words, *TINY, "--out", path) == f"{path}: File exists"
    assert fails(capsys, "train", words, *TINY, "--out", path / "a") == (
        f"{path}/a: Not a directory"
    )

    def denied(self, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    assert fails(capsys, "train", words, *TINY, "--out", tmp_path / "run") == (
        f"{tmp_path}/run: Permission denied"
    )


@pytest.mark.parametrize("command", ["eval", "sample", "inspect"])
def test_a_checkpoint_that_is_damaged_is_refused(capsys, trained, tmp_path, command):
    path = tmp_path / "checkpoint.safetensors"
    whole = (trained / "checkpoint.safetensors").read_bytes()
    for content in (b"", whole[:-1], b"text" * 99):
        path.write_bytes(content)
        assert fails(capsys, command, tmp_path).startswith(
            f"{path} is not a whole safetensors file: "
        )


def test_a_negative_count_is_refused(capsys, trained):
    assert fails(capsys, "sample", trained, "--count", "-1") == (
        "count is -1, but has to be at least 0"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--vocab_size", "0"], "vocab_size is 0, but has to be at least 1"),
        (["--batch_size", "-1"], "batch_size is -1, but has to be at least 0"),
    ],
)
def test_a_size_that_cannot_be_is_refused_by_inspect(capsys, flags, message):
    assert fails(capsys, "inspect", *flags) == message


def test_a_seed_out_of_range_is_refused_by_sample(capsys, trained):
    for seed, limit in ((-1, "at least 0"), (2**64, "less than 2**64")):
        assert fails(capsys, "sample", trained, "--seed", str(seed)) == (
            f"seed is {seed}, but has to be {limit}"
        )


def test_a_network_of_nan_is_refused_by_sample(capsys, trained, tmp_path):
    checkpoint = load_checkpoint(trained / "checkpoint.safetensors")
    with torch.no_grad():
        checkpoint.network.layers[-1].bias.fill_(torch.nan)
    save_checkpoint(tmp_path / "c", checkpoint)
    assert fails(capsys, "sample", tmp_path / "c") == (
        "the network gives no probabilities: its logits are not finite"
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{}", "does not say what the words are; name their file as data"),
        ('{"corpus": 5}', "does not say what the words are; name their file as data"),
        ("[]", "is not the record of a run: it holds no names with values"),
        ("null", "is not the record of a run: it holds no names with values"),
        ("", "is not the record of a run: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_record_that_does_not_name_the_words_is_named(capsys, trained, tmp_path, text, error):
    (tmp_path / "checkpoint.safetensors").write_bytes(
        (trained / "checkpoint.safetensors").read_bytes()
    )
    (tmp_path / "run.json").write_text(text)
    assert fails(capsys, "eval", tmp_path) == f"{tmp_path}/run.json {error}"
    assert len(prints(capsys, "sample", tmp_path, "--count", "3").splitlines()) == 3


def test_words_that_are_others_by_now_are_not_taken_for_those_of_a_run(capsys, tmp_path, words):
    other = tmp_path / "words.txt"
    other.write_bytes(words.read_bytes())
    assert (
        run([*map(str, ["train", other, *TINY, "--steps", "600", "--out", tmp_path / "run"])]) == 0
    )
    capsys.readouterr()
    starred = prints(capsys, "sample", tmp_path / "run", "--count", "200")
    assert " *" in starred
    other.write_text("\n".join(reversed(FRIENDS)))
    assert fails(capsys, "eval", tmp_path / "run") == (
        f"{other} has other words than {tmp_path / 'run'} was trained on; name their file as data"
    )
    drawn = prints(capsys, "sample", tmp_path / "run", "--count", "200")
    assert drawn == starred.replace(" *", "")
    prints(capsys, "eval", tmp_path / "run", other)


def test_a_batch_of_one_is_refused_by_the_layer_that_cannot_take_it(capsys, tmp_path, words):
    flags = [*TINY, "--batch_size", "1", "--out", tmp_path / "run"]
    assert run([*map(str, ["train", words, *flags])]) == 2
    assert capsys.readouterr().err == (
        "typedwave: layers.7 (BatchNorm1d): x has the wrong shape\n"
        '  expected  Float "*B num_features"   at least 2 values per channel to train on\n'
        "  got       f32[1, 5]                 it has 1\n"
        "  shapes until here\n"
        "    layers.0  Embedding           i64[1, 4]     -> f32[1, 4, 3]\n"
        "    layers.1  FlattenConsecutive  f32[1, 4, 3]  -> f32[1, 2, 6]\n"
        "    layers.2  Linear              f32[1, 2, 6]  -> f32[1, 2, 5]\n"
        "    layers.3  BatchNorm1d         f32[1, 2, 5]  -> f32[1, 2, 5]\n"
        "    layers.4  Tanh                f32[1, 2, 5]  -> f32[1, 2, 5]\n"
        "    layers.5  FlattenConsecutive  f32[1, 2, 5]  -> f32[1, 10]\n"
        "    layers.6  Linear              f32[1, 10]    -> f32[1, 5]\n"
        "    layers.7  BatchNorm1d         f32[1, 5]     -> refused\n"
        "  perhaps   a larger batch, or eval() to use the running statistics\n"
    )
    assert folders(tmp_path) == []


def test_a_run_that_diverges_at_once_fails_and_leaves_no_folder(capsys, tmp_path, words):
    flags = [*TINY, "--steps", "600", "--learning_rate", "1e30", "--out", tmp_path / "run"]
    assert run([*map(str, ["train", words, *flags])]) == 2
    assert capsys.readouterr().err == (
        "typedwave: the loss of step 1 is nan, with learning rate 1e+30; "
        "a smaller one may keep it finite\n"
    )
    assert folders(tmp_path) == []


def test_a_run_that_diverges_later_is_kept_so_far_and_says_why(capsys, tmp_path, words):
    folder = tmp_path / "run"
    flags = [*TINY, "--steps", "60", "--learning_rate", "1e30", "--out", folder]
    assert run([*map(str, ["train", words, *flags])]) == 2
    error = capsys.readouterr().err.removeprefix("typedwave: ").removesuffix("\n")
    assert error == (
        "the loss of step 1 is nan, with learning rate 1e+30; a smaller one may keep it finite"
    )
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["error"] == error
    assert folders(folder) == ["config.toml", "metrics.jsonl", "run.json"]


def test_an_empty_folder_of_the_user_stays_when_a_run_fails(capsys, tmp_path, words):
    folder = tmp_path / "mine" / "run"
    folder.mkdir(parents=True)
    flags = [*TINY, "--steps", "600", "--learning_rate", "1e30", "--out", folder]
    assert run([*map(str, ["train", words, *flags])]) == 2
    assert folders(tmp_path) == ["mine", "mine/run"]


def test_a_step_that_cannot_be_compiled_fails_and_leaves_no_folder(
    capsys, tmp_path, words, monkeypatch
):
    def failing(step, **options):
        def call(*arguments):
            raise BackendCompilerFailed("inductor", RuntimeError("no g++"), None)

        return call

    monkeypatch.setattr(torch, "compile", failing)
    flags = [*TINY, "--steps", "60", "--compile", "--out", tmp_path / "run"]
    assert run([*map(str, ["train", words, *flags])]) == 2
    assert capsys.readouterr().err == (
        "typedwave: torch.compile cannot compile the step here (RuntimeError: no g++); it needs a "
        "C++ compiler, and without one the step runs uncompiled\n"
    )
    assert folders(tmp_path) == []


# ctrl-c and pipes


def test_an_interrupt_before_the_first_step_leaves_no_folder(capsys, tmp_path, words, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Experiment, "pieces", interrupted)
    flags = [*TINY, "--steps", "60", "--out", tmp_path / "run"]
    assert run([*map(str, ["train", words, *flags])]) == 130
    assert folders(tmp_path) == []


def test_an_interrupt_while_the_words_are_read_is_one_too(capsys, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("typedwave.cli.training.read_words", interrupted)
    assert run(["train"]) == 130
    assert capsys.readouterr().err == ""


def test_an_interrupt_while_the_command_line_is_imported_is_one_too(capsys, monkeypatch):
    class Interrupts:
        def find_spec(self, name, path=None, target=None):
            if name == "typedwave.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "typedwave.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])
    assert main() == 130
    assert capsys.readouterr() == ("", "")


SAYS_WHEN_AT_STEP_5 = """
import os, sys
from typedwave.__main__ import main
from typedwave.lab.training.recipe import Recipe
plain = Recipe.rate
def rate(self, step):
    if step == 5:
        os.write(2, b"at step 5\\n")
    return plain(self, step)
Recipe.rate = rate
sys.exit(main())
"""


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_the_training_and_keeps_what_is_trained(tmp_path, words, as_json):
    folder = tmp_path / "run"
    flags = [*TINY, "--steps", "1000000", "--out", str(folder), *["--json"] * as_json]
    running = process(SAYS_WHEN_AT_STEP_5, "train", str(words), *flags)
    while running.stderr.readline() != "at step 5\n":
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    done = record["steps_done"]
    assert 5 <= done < 1_000_000
    if as_json:
        told = json.loads(out)
        assert told["interrupted"]
        assert told["steps_done"] == done
    else:
        assert f"stopped after {done:,} of 1,000,000 steps" in out.splitlines()
    network = load_checkpoint(folder / "checkpoint.safetensors").network
    for name, tensor in network.state_dict().items():
        assert tensor.isfinite().all(), name
    assert {file.name for file in folder.iterdir()} == RUN_FILES


def test_whoever_reads_only_the_beginning_sees_no_traceback(trained):
    sampling = process("", "sample", str(trained), "--count", "30000")
    assert sampling.stdout.readline()
    sampling.stdout.close()
    assert sampling.stderr.read() == ""
    sampling.stderr.close()
    assert sampling.wait(timeout=60) == 0


# the program


def test_python_m_typedwave_is_the_command():
    out, err = process("", "inspect", "--preset", "lecture-flat-3").communicate(timeout=60)
    assert err == ""
    assert out.splitlines()[-1].split() == ["total", "12,097"]


def test_the_exit_code_of_an_error_is_2():
    failing = process("", "frob")
    out, err = failing.communicate(timeout=60)
    assert failing.returncode == 2
    assert out == ""
    assert err.startswith("typedwave: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.6])
def test_ctrl_c_while_torch_is_imported_ends_it_without_a_word(seconds, tmp_path, words):
    code = (
        "import sys; from _typedwave_command import main; print('here', flush=True); "
        "sys.exit(main())"
    )
    starting = process(code, "train", str(words), "--out", str(tmp_path / "run"))
    assert starting.stdout.readline() == "here\n"
    time.sleep(seconds + 0.05)  # it is at it already
    starting.send_signal(signal.SIGINT)
    out, err = starting.communicate(timeout=60)
    assert starting.returncode in (-signal.SIGINT, 130)  # torch may be there by then
    assert (out, err) == ("", "")


@pytest.mark.parametrize("missing", ["jsonargparse", "rich", "safetensors", "matplotlib"])
def test_without_the_extra_it_says_what_to_install(missing, tmp_path):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; "
        "from typedwave.__main__ import main; sys.exit(main())"
    )
    failing = process(code, "train", "--steps", "1", "--out", str(tmp_path / "run"))
    out, err = failing.communicate(timeout=60)
    assert failing.returncode == 2
    assert not (tmp_path / "run").exists()
    assert out == ""
    assert re.fullmatch(
        rf"typedwave: the command line needs {missing}[.\w]*: pip install 'typedwave\[lab\]'\n", err
    )


def test_the_words_are_split_the_same_for_training_and_evaluation(capsys, trained, words):
    parts = split(read_words(words))
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    assert record["examples"] == {
        name: sum(len(word) + 1 for word in part)
        for name, part in {**parts._asdict(), "unseen": parts.validation}.items()
    }


def test_a_kind_of_network_that_there_is_not_is_told_with_those_there_are(capsys):
    assert fails(capsys, "inspect", "--network", "nope") == (
        "network is 'nope', but there are ngram, flat, hierarchical, wavenet, rnn, gru, lstm, "
        "transformer, pool"
    )


def test_threads_that_torch_would_not_survive_are_refused(capsys, tmp_path, words):
    out = tmp_path / "run"
    assert fails(capsys, "train", words, "--threads", "1025", "--out", out) == (
        "threads is 1025, but has to be at most 1024"
    )
    assert not out.exists()


def test_what_is_called_null_is_not_nothing(capsys, tmp_path, words, trained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prints(capsys, "train", words, *TINY, "--steps", "2", "--out", "null")
    assert (tmp_path / "null" / "run.json").exists()
    assert fails(capsys, "eval", trained, "no") == "no: No such file or directory"
    assert fails(capsys, "eval", trained, "none") == "none: No such file or directory"
    prints(capsys, "report", trained, "--title", "null", "--out", tmp_path / "page.html")
    assert "<title>null</title>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_behind_two_hyphens_a_name_is_left_as_it_is(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fails(capsys, "train", "--", "--my-words.txt") == (
        "--my-words.txt: No such file or directory"
    )


def test_a_page_that_is_a_folder_is_named(capsys, tmp_path, trained):
    assert fails(capsys, "report", trained, "--out", tmp_path) == f"{tmp_path}: Is a directory"
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_words_moved_is_gone_on_with_and_knows_where_they_are(
    capsys, tmp_path, words, monkeypatch
):
    before, after = tmp_path / "before.txt", tmp_path / "after.txt"
    before.write_bytes(words.read_bytes())
    folder = tmp_path / "run"
    arguments = ["train", *TINY, "--steps", "40", "--out", folder, "--resume"]
    with monkeypatch.context() as patch:
        patch.setattr(
            "typedwave.cli.training._watch", lambda experiment, points: bool(next(points))
        )
        assert run([*map(str, [*arguments, before])]) == 130
    before.rename(after)
    prints(capsys, "train", after, "--out", folder, "--resume")
    prints(capsys, "eval", folder)
    assert json.loads((folder / "run.json").read_text())["corpus"] == str(after)


def test_a_finished_run_that_lost_something_says_so(capsys, tmp_path, words):
    folder = tmp_path / "run"
    prints(capsys, "train", words, *TINY, "--steps", "2", "--out", folder)
    arguments = ["train", words, "--out", folder, "--resume"]
    for name in ("samples.txt", "checkpoint.safetensors"):
        (folder / name).unlink()
        assert run([*map(str, arguments)]) == 2
        assert capsys.readouterr().err == (
            f"typedwave: the run in {folder} is finished, but its {name} is gone; train it again "
            "into a new folder\n"
        )
