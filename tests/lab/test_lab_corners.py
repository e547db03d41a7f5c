"""What once ended in a traceback, a lost run or a wrong word."""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile

import pytest
import safetensors.torch
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from typedwave.cli import run
from typedwave.inspect import table
from typedwave.lab.runs.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from typedwave.lab.runs.experiment import Experiment
from typedwave.lab.training.compiled import CompilerError
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.recipe import Recipe
from typedwave.lab.words.corpus import Vocabulary, examples
from typedwave.models import NetworkConfig, build

WORDS = [first + last for first in ("an", "ot", "mi", "le", "em") for last in ("na", "to", "l")]
TINY = ["--context", "4", "--n_embd", "3", "--n_hidden", "5", "--batch_size", "4"]
SMALL = NetworkConfig(context=4, n_embd=3, n_hidden=5)
LETTERS = Vocabulary.of(WORDS)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def tiny(**options):
    return build(SMALL, vocab_size=len(LETTERS), generator=seeded(1), **options)


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS))
    return path


@pytest.fixture
def trained(tmp_path, words):
    folder = tmp_path / "trained"
    assert run(["train", str(words), *TINY, "--steps", "5", "--out", str(folder)]) == 0
    return folder


def one_line(capsys, *arguments):
    capsys.readouterr()
    assert run([*map(str, arguments)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("typedwave: ")
    assert err.count("\n") == 1
    return err


def process(*arguments, **options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        [sys.executable, "-m", "typedwave", *map(str, arguments)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.filterwarnings("ignore")
def test_a_preset_is_never_accepted_without_its_defaults(capsys):
    if run(["inspect", "--prese", "lecture-flat-3"]) == 0:
        assert capsys.readouterr().out.splitlines()[-1].split() == ["total", "12,097"]


@pytest.mark.filterwarnings("error")
def test_a_flag_that_is_cut_short_is_refused_in_one_line(capsys):
    one_line(capsys, "inspect", "--n_emb", "3")


@pytest.mark.parametrize("rate", [".inf"])
def test_a_run_whose_last_update_spoils_the_weights_has_diverged(capsys, tmp_path, words, rate):
    flags = [*TINY, "--steps", "1", "--learning_rate", rate, "--out", str(tmp_path / "run")]
    assert run(["train", str(words), *flags]) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["learning_rate", "decay"])
def test_an_infinite_number_is_refused(name):
    with pytest.raises(ValueError, match=name):
        Recipe(**{name: float("inf")})


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_an_output_scale_that_is_no_number_is_refused(scale):
    with pytest.raises(ValueError, match="output_scale"):
        NetworkConfig(output_scale=scale)


def test_a_network_of_nan_is_one_line_when_sampled(capsys, tmp_path):
    network = tiny()
    with torch.no_grad():
        network.layers[-1].bias.fill_(torch.nan)
    save_checkpoint(tmp_path / "c.safetensors", Checkpoint(network, LETTERS))
    one_line(capsys, "sample", tmp_path / "c.safetensors")


def test_an_out_that_is_the_current_folder_keeps_the_run(capsys, tmp_path, words, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert run(["train", "../words.txt", *TINY, "--steps", "3", "--out", str(folder)]) == 0


def test_an_empty_folder_of_the_user_is_not_taken_away_and_made_again(capsys, tmp_path, words):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    before = folder.stat()
    run(["train", str(words), *TINY, "--steps", "3", "--out", str(folder)])
    assert (folder.stat().st_ino, folder.stat().st_mode) == (before.st_ino, before.st_mode)


def test_a_folder_that_cannot_be_written_to_is_found_out_before_training(
    capsys, tmp_path, words, monkeypatch
):
    steps = []
    monkeypatch.setattr(Experiment, "pieces", lambda self: iter(steps.append(1) or ()))

    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(tmp_path / "run"))

    monkeypatch.setattr(tempfile, "mkstemp", denied)  # what a read-only folder does
    assert run(["train", str(words), *TINY, "--out", str(tmp_path / "run")]) == 2
    assert steps == []


def test_a_diverged_run_leaves_no_empty_runs_folder_either(capsys, tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["train", str(words), *TINY, "--steps", "600", "--learning_rate", "1e30"]) == 2
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    network = tiny()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(tmp_path / "c.safetensors", Checkpoint(network, LETTERS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_error_of_writing_names_the_file_and_not_the_temporary_one(tmp_path):
    with pytest.raises(OSError) as caught:  # noqa: PT011
        save_checkpoint(tmp_path / "none" / "c.safetensors", Checkpoint(tiny(), LETTERS))
    assert caught.value.filename == str(tmp_path / "none" / "c.safetensors")


@pytest.mark.parametrize(
    "flags",
    [
        ["--threads", "0"],
        ["--threads", "-1"],
        ["--n_hidden", "100000000000000000000"],
        ["--batch_size", "1000000000000"],
        ["--learning_rate", "1e38", "--decay", "1e9", "--decay_from", "0"],
    ],
)
def test_a_number_that_cannot_work_is_one_line(capsys, tmp_path, words, flags):
    one_line(capsys, "train", words, *TINY, "--steps", "2", "--out", tmp_path / "run", *flags)


@pytest.mark.parametrize("flags", [["--vocab_size", "-3"], ["--batch_size", "-3"]])
def test_a_negative_size_is_one_line(capsys, flags):
    one_line(capsys, "inspect", *flags)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"corpus": 5}', "text"])
def test_a_record_that_is_not_ours_is_named(capsys, trained, text):
    (trained / "run.json").write_text(text)
    assert str(trained / "run.json") in one_line(capsys, "eval", trained)


def test_a_seed_too_large_is_named(capsys, tmp_path, words, trained):
    flags = [*TINY, "--steps", "2", "--out", tmp_path / "run", "--seed", 2**64]
    assert "seed" in one_line(capsys, "train", words, *flags)
    assert "seed" in one_line(capsys, "sample", trained, "--seed", 2**64)


@pytest.mark.parametrize("command", [["sample"], ["inspect"], ["eval"]])
def test_output_that_nobody_reads_is_no_error(trained, command):
    reading, writing = os.pipe()
    os.close(reading)
    running = process(*command, trained, stdout=writing)
    os.close(writing)
    err = running.communicate(timeout=60)[1]
    assert (running.returncode, err) == (0, "")


@pytest.mark.parametrize("kind", ["diverged", "compiler"])
def test_an_error_while_training_is_one_line_too(capsys, tmp_path, words, monkeypatch, kind):
    flags = ["--learning_rate", "1e30"]
    if kind == "compiler":

        def failing(step, **options):
            def call(*arguments):
                raise BackendCompilerFailed("inductor", RuntimeError("no g++"), None)

            return call

        monkeypatch.setattr(torch, "compile", failing)
        flags = ["--compile"]
    one_line(capsys, "train", words, *TINY, "--steps", "60", "--out", tmp_path / "run", *flags)


def test_no_words_are_no_line(capsys, trained):
    capsys.readouterr()
    run(["sample", str(trained), "--count", "0"])
    assert capsys.readouterr().out == ""


def test_an_interrupt_while_batches_are_drawn_loses_none(monkeypatch):
    recipe, losses = Recipe(steps=10, batch_size=7), []
    data = examples(WORDS, LETTERS, context=4)
    for stops in (False, True):
        training = Training(tiny(), data, recipe, generator=seeded(2))
        if stops:
            with monkeypatch.context() as patch:

                def stop(*arguments, **options):
                    raise KeyboardInterrupt

                patch.setattr("typedwave.lab.training.on_examples.rearrange", stop)
                with pytest.raises(KeyboardInterrupt):
                    training.run(10)
        training.run(10)
        losses.append(training.losses)
    assert torch.equal(*losses)


def test_the_reason_of_a_failed_compilation_is_in_the_message(monkeypatch):
    def failing(step, **options):
        def call(*arguments):
            raise BackendCompilerFailed("inductor", RuntimeError("disk is full\nand more"), None)

        return call

    monkeypatch.setattr(torch, "compile", failing)
    data = examples(WORDS, LETTERS, context=4)
    training = Training(
        tiny(), data, Recipe(steps=2, batch_size=3), generator=seeded(2), compile=True
    )
    with pytest.raises(CompilerError, match="disk is full"):
        training.run(2)


def test_a_compiled_step_in_float64_is_exact_to_rounding_of_float64(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    data, networks = examples(WORDS, LETTERS, context=4), []
    for compiled in (False, True):
        networks.append(tiny(dtype=torch.float64))
        training = Training(
            networks[-1],
            data,
            Recipe(steps=20, batch_size=7),
            generator=seeded(2),
            compile=compiled,
        )
        training.run(20)
    for ours, theirs in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_how_much_is_drawn_at_once_is_bounded_by_examples(monkeypatch):
    asked, plain = [], torch.randint

    def noting(low, high, size, **options):
        asked.append(size[0])
        return plain(low, high, size, **options)

    monkeypatch.setattr(torch, "randint", noting)
    data = examples(WORDS, LETTERS, context=4)
    training = Training(tiny(), data, Recipe(steps=1000, batch_size=4096), generator=seeded(2))
    training.run(1)
    assert max(asked) <= 1_000_000


def rewritten(path, tensors=(), network=None):
    save_checkpoint(path, Checkpoint(tiny(), LETTERS))
    with safetensors.safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    kept = {name: x for name, x in {**kept, **dict(tensors)}.items() if x is not None}
    if network:
        metadata["network"] = json.dumps({**json.loads(metadata["network"]), **network})
    safetensors.torch.save_file(kept, path, metadata=metadata)
    return path


def test_every_tensor_that_is_missing_is_missed(tmp_path):
    path = rewritten(tmp_path / "c", {"layers.3.num_batches_tracked": None})
    with pytest.raises(CheckpointError, match="num_batches_tracked"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"layers.2.weight": torch.zeros(5, 6, dtype=torch.float64)},
        {"layers.3.num_batches_tracked": torch.tensor(1.5)},
    ],
)
def test_tensors_of_mixed_dtypes_do_not_fit_together(tmp_path, tensors):
    path = rewritten(tmp_path / "c", tensors)
    with pytest.raises(CheckpointError, match="does not fit together"):
        load_checkpoint(path)


@pytest.mark.parametrize("network", [{"unbiased": "no"}, {"output_scale": "much"}])
def test_a_config_of_the_wrong_types_does_not_fit(tmp_path, network):
    path = rewritten(tmp_path / "c", network=network)
    with pytest.raises(CheckpointError, match="does not fit together"):
        load_checkpoint(path)


def test_a_hostile_config_does_not_hang(tmp_path):
    path = rewritten(tmp_path / "c", network={"context": float("inf")})

    def give_up(*arguments):
        pytest.fail("it hangs in NetworkConfig.levels")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(3)
    try:
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    finally:
        signal.alarm(0)


class CatchesAnError(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 3), nn.Linear(4, 2)

    def forward(self, x):
        try:
            return self.first(x)
        except RuntimeError:
            return self.second(x)


def test_a_model_that_catches_the_error_of_a_layer_has_a_table():
    found = table(CatchesAnError(), torch.zeros(2, 4))
    assert (found.rows[0].path, found.rows[0].output) == ("", "f32[2, 2]")
    assert (found.rows[-1].path, found.rows[-1].output) == ("second", "f32[2, 2]")


def test_a_lazy_layer_that_is_not_called_does_not_prevent_a_table():
    network = nn.Identity()
    network.spare = nn.LazyLinear(3)
    assert table(network, torch.zeros(2)).rows[0].path == ""
