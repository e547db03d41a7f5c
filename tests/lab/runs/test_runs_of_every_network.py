"""The command line on every preset, on teachers and on pools; what it does else is in test_cli."""

import json
import re
from pathlib import Path

import pytest
import torch
from commands import RUN_FILES, fails, prints
from tiny_networks import EVERY, SEQUENCES
from tiny_networks import WORDS as FEWER

from typedwave.cli import run
from typedwave.lab.runs.checkpoint import load_checkpoint
from typedwave.lab.runs.experiment import Experiment, losses_of
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.lab.words.corpus import read_words, split
from typedwave.models import (
    NetworkConfig,
    NGramConfig,
    PoolConfig,
    RecurrentConfig,
    TransformerConfig,
    WaveNetConfig,
)

WORDS = ["lia", "gibo", "dac", *FEWER]  # of which validation has one that train has not

SMALL = {
    NetworkConfig: ["--n_embd", "3", "--n_hidden", "5"],
    NGramConfig: ["--order", "3"],
    WaveNetConfig: ["--channels", "4", "--gate_channels", "3", "--dilations", "[1, 2]"],
    RecurrentConfig: ["--n_embd", "3", "--n_hidden", "5"],
    TransformerConfig: ["--n_embd", "4", "--n_hidden", "6", "--num_heads", "2"],
}
SHORT = {
    Recipe: ["--steps", "3", "--batch_size", "4"],
    WordsRecipe: ["--epochs", "1", "--batch_size", "4"],
    CountingRecipe: [],
}
LOSS = r"\d\.\d{4}"
LOSSES = f"train {LOSS}  validation {LOSS}  test {LOSS}  unseen {LOSS}  nats a character"


def small(preset: str) -> list[str]:
    config, recipe = PRESETS[preset]
    return [*SMALL[type(config)], *SHORT[type(recipe)]]


@pytest.fixture
def words(tmp_path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tiny_presets(monkeypatch):
    """A teacher and pools that are trained in no time."""
    few = WordsRecipe(epochs=1, batch_size=4)
    members = (EVERY["ngram"], SEQUENCES["gru"])
    recipes = (CountingRecipe(), few)
    pool = PoolConfig(members=members, weights=(0.5, 0.5))
    lesson = WordsRecipe(epochs=1, batch_size=4, teacher="tiny", sampled=5)
    for name, preset in {
        "tiny": (SEQUENCES["gru"], few),
        "both": (pool, PoolRecipe(recipes=recipes, seed=7)),
        "student": (SEQUENCES["rnn"], lesson),
        "of both": (SEQUENCES["rnn"], WordsRecipe(epochs=1, batch_size=4, teacher="both")),
        "with a student": (
            PoolConfig(members=(SEQUENCES["rnn"],), weights=(1.0,)),
            PoolRecipe(recipes=(lesson,)),
        ),
    }.items():
        monkeypatch.setitem(PRESETS, name, preset)


def inputs_of(capsys, *arguments) -> tuple[int, int]:
    """The sizes of the ids in the table of a network."""
    told = json.loads(prints(capsys, "inspect", *arguments, "--json"))
    batch_size, length = re.findall(r"\d+", told["rows"][0]["inputs"].removeprefix("i64"))
    return int(batch_size), int(length)


def record_in(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def files_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


# every preset


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "pool"])
def test_a_run_of_every_preset_can_be_evaluated_sampled_and_inspected(
    capsys, tmp_path, words, preset
):
    config, recipe = PRESETS[preset]
    folder = tmp_path / "run"
    flags = ["--preset", preset, *small(preset), "--out", folder]
    if isinstance(recipe, WordsRecipe):
        flags += ["--teacher", "", "--sampled", "0"]
    first, second, losses, *_, last = prints(capsys, "train", words, *flags).splitlines()
    assert first == f"15 words from {words}"
    record = record_in(folder)
    size, steps = record["parameters"], record["steps_done"]
    assert re.fullmatch(
        f"{preset}: {config.network} network, {size:,} parameters, {steps} steps?", second
    )
    assert re.fullmatch(f"{preset}: {LOSSES}", losses)
    assert last == f"the run is in {folder}"
    assert files_in(folder) == RUN_FILES
    assert steps == {Recipe: 3, WordsRecipe: 3, CountingRecipe: 1}[type(recipe)]

    told = json.loads(prints(capsys, "eval", folder, "--json"))
    assert told == {"corpus": str(words), "losses": record["losses"]}
    checkpoint = load_checkpoint(folder / "checkpoint.safetensors")
    assert losses_of(checkpoint.network, checkpoint.vocabulary, split(WORDS)) == record["losses"]

    drawn = json.loads(prints(capsys, "sample", folder, "--count", "9", "--json"))
    assert len(drawn) == 9
    assert [each["known"] for each in drawn] == [
        each["word"] in split(WORDS).train for each in drawn
    ]
    lines = prints(capsys, "sample", folder, "--count", "9").split("\n")[:-1]
    assert lines == [each["word"] + " *" * each["known"] for each in drawn]
    new = json.loads(prints(capsys, "sample", folder, "--new", "--count", "5", "--json"))
    assert not {each["word"] for each in new} & set(WORDS)

    shown = json.loads(prints(capsys, "inspect", folder, "--json"))
    assert shown["parameters"] == record["parameters"]
    assert inputs_of(capsys, folder, "--batch_size", 7, "--length", 6) == (
        7,
        getattr(checkpoint.network, "context", 6),
    )


@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in ("ngram", "pool")])
def test_every_preset_can_be_inspected_before_it_is_trained(capsys, preset):
    length = getattr(PRESETS[preset][0], "context", 9)
    assert inputs_of(capsys, "--preset", preset) == (32, length)


def test_n_grams_have_no_table_before_they_are_counted_and_it_is_said(capsys):
    assert fails(capsys, "inspect", "--network", "ngram") == (
        "n-grams have no shape before they are counted; name a run of them"
    )


@pytest.mark.parametrize("length", [1, 9, 17])
def test_the_length_is_that_of_the_example_where_any_will_do(capsys, length):
    flags = ["--batch_size", 5, "--length", length]
    for preset in ("wavenet", "gru", "transformer"):
        assert inputs_of(capsys, *flags, "--preset", preset) == (5, length)
    assert inputs_of(capsys, *flags, "--preset", "demo") == (5, 8)


@pytest.mark.parametrize("command", ["train", "inspect"])
@pytest.mark.parametrize(
    ("flags", "network", "told"),
    [
        (["--network", "gru"], "gru", {"n_embd": PRESETS["gru"][0].n_embd}),
        (["--network=wavenet"], "wavenet", {"channels": PRESETS["wavenet"][0].channels}),
        (["--network", "flat"], "flat", {"n_hidden": PRESETS["flat"][0].n_hidden}),
        (["--network", "ngram"], "ngram", {"order": PRESETS["ngram"][0].order}),
        (["--preset", "demo", "--network", "flat"], "flat", {"n_hidden": 128}),
        (["--network", "flat", "--preset=lecture-small"], "flat", {"n_hidden": 68}),
        (["--preset", "gru", "--network", "lstm"], "lstm", {"n_embd": 32}),
    ],
)
def test_a_network_brings_the_preset_of_its_kind_if_no_other_is_named(
    capsys, tmp_path, words, command, flags, network, told
):
    if command == "inspect" and network == "ngram":
        return  # see above
    if command == "inspect":
        rows = json.loads(prints(capsys, "inspect", *flags, "--json"))["rows"]
        names = {"gru": "GRU", "lstm": "LSTM", "wavenet": "CausalConv1d"}
        assert names.get(network, "FlattenConsecutive") in {row["type"] for row in rows}
        return
    short = ["--epochs", "1"] if "--preset" not in " ".join(flags) else ["--steps", "2"]
    if network == "lstm":
        short = ["--epochs", "1"]
    short = [] if network == "ngram" else short
    flags = [*flags, *short, "--out", tmp_path / "run", "--json"]
    config = json.loads(prints(capsys, "train", words, *flags))["network"]
    assert config["network"] == network
    assert config.items() >= told.items()


def test_a_run_without_out_is_named_by_its_preset(capsys, tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for flags, name in ((["--network", "ngram"], "ngram"), (["--preset", "fast"], "fast")):
        prints(capsys, "train", words, *flags, *small(name))
    names = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}-\w+", name) for name in names)
    assert sorted(name.rpartition("-")[2] for name in names) == ["fast", "ngram"]


def test_as_json_all_that_is_printed_is_json(capsys, tmp_path, words, tiny_presets):
    for preset in ("tiny", "both", "student"):
        folder = tmp_path / preset
        told = json.loads(
            prints(capsys, "train", words, "--preset", preset, "--out", folder, "--json")
        )
        new = (folder / "samples.txt").read_text(encoding="utf-8").split()
        record = record_in(folder)
        assert told == {"run": str(folder), **record, "new": new}


# how boldly words are drawn


@pytest.fixture
def counted(capsys, tmp_path, words) -> Path:
    folder = tmp_path / "counted"
    prints(capsys, "train", words, "--network", "ngram", "--order", "4", "--out", folder)
    return folder


@pytest.mark.parametrize("flags", [["--temperature", "0"], ["--top_k", "1"], ["--top-p", "1e-9"]])
def test_the_likeliest_word_can_be_asked_for(capsys, counted, flags):
    told = json.loads(prints(capsys, "sample", counted, "--json"))
    assert len({each["word"] for each in told}) > 3
    told = json.loads(prints(capsys, "sample", counted, "--json", *flags))
    assert len({each["word"] for each in told}) == 1


def test_words_of_the_training_part_are_marked_and_of_the_others_not(capsys, counted):
    told = json.loads(prints(capsys, "sample", counted, "--count", "300", "--json"))
    parts = split(WORDS)
    known = {each["word"] for each in told if each["known"]}
    assert known
    assert known <= set(parts.train)
    assert not {each["word"] for each in told if not each["known"]} & set(parts.train)
    # The words of another corpus are told from its own training part.
    (counted / "run.json").unlink()
    told = json.loads(prints(capsys, "sample", counted, "--count", "300", "--json"))
    assert not any(each["known"] for each in told)


def test_words_that_are_given_are_those_that_are_marked(capsys, counted, tmp_path):
    drawn = json.loads(prints(capsys, "sample", counted, "--count", "300", "--json"))
    unknown = sorted({each["word"] for each in drawn if not each["known"]} - {""})
    other = tmp_path / "other.txt"
    other.write_text("\n".join(unknown))
    again = json.loads(prints(capsys, "sample", counted, other, "--count", "300", "--json"))
    assert [each["word"] for each in again] == [each["word"] for each in drawn]
    trained_on = split(read_words(other)).train
    assert [each["known"] for each in again] == [each["word"] in trained_on for each in again]


def test_a_few_words_will_do_to_leave_out(capsys, counted, tmp_path):
    drawn = json.loads(prints(capsys, "sample", counted, "--new", "--count", "5", "--json"))
    few = tmp_path / "few.txt"
    few.write_text(drawn[0]["word"])
    again = json.loads(prints(capsys, "sample", counted, few, "--new", "--json"))
    assert drawn[0]["word"] not in {each["word"] for each in again}


# teachers


def test_a_teacher_is_trained_first_into_a_folder_of_its_own(capsys, tmp_path, words, tiny_presets):
    folder = tmp_path / "run"
    shown = prints(capsys, "train", words, "--preset", "student", "--out", folder).splitlines()
    assert re.fullmatch(r"tiny: gru network, \d+ parameters, 3 steps", shown[1])
    assert re.fullmatch(f"tiny: {LOSSES}", shown[2])
    assert re.fullmatch(r"student: rnn network, \d+ parameters, \d steps", shown[4])
    assert re.fullmatch(f"student: {LOSSES}", shown[5])
    assert shown[3] == f"student: drawing 5 words from the teacher in {folder}/teacher-tiny"
    assert shown[-1] == f"the run is in {folder}"
    assert files_in(folder) == RUN_FILES | {f"teacher-tiny/{name}" for name in RUN_FILES}
    assert record_in(folder)["network"]["network"] == "rnn"
    assert record_in(folder / "teacher-tiny")["network"]["network"] == "gru"
    assert record_in(folder)["recipe"]["sampled"] == 5
    prints(capsys, "eval", folder / "teacher-tiny")

    teacher = load_checkpoint(folder / "teacher-tiny" / "checkpoint.safetensors").network
    config, recipe = PRESETS["student"]
    experiment = Experiment(WORDS, config, recipe, teacher=teacher)
    list(experiment.points())
    assert record_in(folder)["losses"] == experiment.losses()


def test_a_teacher_can_be_a_flag_and_a_pool(capsys, tmp_path, words, tiny_presets):
    flags = ["--preset", "rnn", *small("rnn"), "--teacher", "tiny", "--sampled", "3"]
    prints(capsys, "train", words, *flags, "--out", tmp_path / "flag")
    assert (tmp_path / "flag" / "teacher-tiny" / "run.json").exists()
    prints(capsys, "train", words, "--preset", "of both", "--out", tmp_path / "pool")
    assert (tmp_path / "pool" / "teacher-both" / "2-gru" / "run.json").exists()


def test_a_teacher_that_is_trained_already_is_not_trained_again(
    capsys, tmp_path, words, tiny_presets
):
    prints(capsys, "train", words, "--preset", "tiny", "--out", tmp_path / "teacher")
    flags = ["--preset", "student", "--teacher_run", tmp_path / "teacher"]
    prints(capsys, "train", words, *flags, "--out", tmp_path / "run")
    assert files_in(tmp_path / "run") == RUN_FILES
    prints(capsys, "train", words, "--preset", "student", "--out", tmp_path / "other")
    losses = [record_in(tmp_path / name)["losses"] for name in ("run", "other")]
    assert losses[0] == losses[1]


def test_a_teacher_that_is_trained_already_has_to_be_there(capsys, tmp_path, words, tiny_presets):
    flags = ["--preset", "student", "--teacher_run", tmp_path / "gone", "--out", tmp_path / "run"]
    assert run([*map(str, ["train", words, *flags])]) == 2
    assert capsys.readouterr().err == (
        f"typedwave: {tmp_path}/gone/checkpoint.safetensors: No such file or directory\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", ["xyz", ""])
def test_a_teacher_of_other_characters_is_refused(capsys, tmp_path, words, tiny_presets, more):
    other = tmp_path / "other.txt"
    other.write_text("\n".join([*WORDS, more]) if more else "\n".join(WORDS).replace("a", "z"))
    prints(capsys, "train", other, "--preset", "tiny", "--out", tmp_path / "teacher")
    flags = ["--preset", "student", "--teacher_run", tmp_path / "teacher", "--sampled", "0"]
    assert run([*map(str, ["train", words, *flags, "--out", tmp_path / "run"])]) == 2
    err = capsys.readouterr().err
    assert err.startswith("typedwave: ")
    assert err.count("\n") == 1
    assert "teacher" in err
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_not_asked_for_is_not_passed_over(capsys, tmp_path, words, tiny_presets):
    flags = ["--preset", "tiny", "--teacher_run", tmp_path / "any", "--out", tmp_path / "run"]
    assert run([*map(str, ["train", words, *flags])]) == 2
    assert "teacher" in capsys.readouterr().err


def test_a_teacher_that_there_is_not_is_named_with_those_there_are(capsys, tmp_path, words):
    folder = tmp_path / "run"
    flags = ["--preset", "rnn", "--teacher", "nope", "--out", folder]
    assert fails(capsys, "train", words, *flags) == (
        f"teacher is 'nope', but there are {', '.join(PRESETS)}"
    )
    assert not folder.exists()


# pools


def test_the_members_of_a_pool_are_trained_into_folders_of_their_own(
    capsys, tmp_path, words, tiny_presets
):
    folder = tmp_path / "run"
    shown = prints(capsys, "train", words, "--preset", "both", "--out", folder).splitlines()
    assert re.fullmatch(f"both: {LOSSES}", next(line for line in shown if line.startswith("both")))
    members = {f"{inner}/{name}" for inner in ("1-ngram", "2-gru") for name in RUN_FILES}
    own = {"checkpoint.safetensors", "config.toml", "run.json", "samples.txt"}
    assert files_in(folder) == own | members
    record = record_in(folder)
    told = json.loads(prints(capsys, "eval", folder, "--json"))
    assert told["losses"] == record["losses"]
    assert record["recipe"]["seed"] == 7
    assert len(prints(capsys, "sample", folder).splitlines()) == 20
    shown = json.loads(prints(capsys, "inspect", folder, "--json"))
    assert shown["parameters"] == record["parameters"]
    pool = load_checkpoint(folder / "checkpoint.safetensors").network
    member = load_checkpoint(folder / "2-gru" / "checkpoint.safetensors").network
    for name, tensor in member.state_dict().items():
        assert torch.equal(pool.state_dict()[f"models.1.{name}"], tensor), name


def test_a_member_of_a_pool_can_have_a_teacher(capsys, tmp_path, words, tiny_presets):
    folder = tmp_path / "run"
    prints(capsys, "train", words, "--preset", "with a student", "--out", folder)
    assert (folder / "1-rnn" / "teacher-tiny" / "run.json").exists()


@pytest.mark.parametrize(("preset", "first"), [("both", "1-ngram"), ("student", "teacher-tiny")])
def test_an_interrupt_on_the_way_keeps_what_is_trained(
    capsys, tmp_path, words, tiny_presets, monkeypatch, preset, first
):
    pieces, begun = Experiment.pieces, []

    def interrupted(self):
        begun.append(self)
        if len(begun) == 2:
            raise KeyboardInterrupt
        yield from pieces(self)

    monkeypatch.setattr(Experiment, "pieces", interrupted)
    folder = tmp_path / "run"
    assert run([*map(str, ["train", words, "--preset", preset, "--out", folder])]) == 130
    # With what there is to know in order to go on.
    assert files_in(folder) == {
        "config.toml",
        "run.json",
        *(f"{first}/{name}" for name in RUN_FILES),
    }
    assert "losses" not in record_in(folder)


@pytest.mark.parametrize("preset", ["both", "student"])
def test_an_interrupt_before_anything_is_trained_leaves_no_folder(
    capsys, tmp_path, words, tiny_presets, monkeypatch, preset
):
    def interrupted(self):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Experiment, "pieces", interrupted)
    folder = tmp_path / "run"
    assert run([*map(str, ["train", words, "--preset", preset, "--out", folder])]) == 130
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != words]
    assert not folder.exists()


def test_an_interrupt_in_the_middle_of_a_member_ends_the_pool_and_says_so(
    capsys, tmp_path, words, tiny_presets, monkeypatch
):
    pieces = Experiment.pieces

    def interrupted(self):
        yield from pieces(self)
        if self.steps > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "pieces", interrupted)
    folder = tmp_path / "run"
    assert run([*map(str, ["train", words, "--preset", "both", "--out", folder])]) == 130
    assert "stopped after 3 of 3 steps" in capsys.readouterr().out.splitlines()
    assert not (folder / "checkpoint.safetensors").exists()
    assert (folder / "2-gru" / "checkpoint.safetensors").exists()


# errors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--network", "gru", "--epochs", "0"], "epochs is 0, but has to be at least 1"),
        (["--network", "gru", "--warm_up", "2"], "warm_up is 2.0, but has to be 0 to 1"),
        (["--network", "gru", "--n_hidden", "0"], "n_hidden is 0, but has to be at least 1"),
        (
            ["--network", "gru", "--dropout", "1"],
            "dropout is 1.0, but has to be at least 0 and less than 1",
        ),
        (
            ["--network", "wavenet", "--dilations", "[]"],
            "dilations is (), but has to be whole numbers of at least 1",
        ),
        (
            ["--network", "transformer", "--num_heads", "5"],
            f"n_embd is {PRESETS['transformer'][0].n_embd}, but has to be a multiple of "
            "num_heads = 5",
        ),
        (["--network", "ngram", "--order", "1"], "order is 1, but has to be at least 2"),
        (["--network", "gru", "--steps", "3"], "unrecognized arguments: --steps 3"),
        (["--network", "gru", "--context", "4"], "unrecognized arguments: --context 4"),
        (["--network", "ngram", "--batch_size", "4"], "unrecognized arguments: --batch_size 4"),
        (["--preset", "demo", "--epochs", "3"], "unrecognized arguments: --epochs 3"),
        (
            ["--network", "gru", "--compile"],
            "compile is for a training step on examples, which this recipe has not",
        ),
        (
            ["--network", "ngram", "--compile"],
            "compile is for a training step on examples, which this recipe has not",
        ),
    ],
)
def test_what_is_wrong_with_a_flag_of_a_network_is_said_in_one_line(
    capsys, tmp_path, words, flags, message
):
    capsys.readouterr()
    assert run([*map(str, ["train", words, "--out", tmp_path / "run", *flags])]) == 2
    assert capsys.readouterr().err == f"typedwave: {message}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        (["--network", "ring"], "ring"),
        (["--network", "lecture"], "lecture"),
        (["--preset", "gru", "--network", "wavenet"], "wavenet"),
    ],
)
@pytest.mark.parametrize("command", ["train", "inspect"])
def test_a_network_that_a_preset_cannot_be_is_named(capsys, command, flags, value):
    message = fails(capsys, command, *flags)
    assert "network" in message
    assert value in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--temperature", "-1"], "temperature is -1.0, but has to be at least 0 and finite"),
        (["--temperature", ".inf"], "temperature is inf, but has to be at least 0 and finite"),
        (["--temperature", ".nan"], "temperature is nan, but has to be at least 0 and finite"),
        (["--top_k", "0"], "top_k is 0, but has to be at least 1"),
        (["--top-p", "0"], "top_p is 0.0, but has to be more than 0 and at most 1"),
        (["--top_p", "1.5"], "top_p is 1.5, but has to be more than 0 and at most 1"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--new"], ["--count", "0"]])
def test_a_choice_that_cannot_be_is_refused_by_sample(capsys, counted, flags, message, more):
    assert fails(capsys, "sample", counted, *flags, *more) == message


def test_a_length_that_cannot_be_is_refused_by_inspect(capsys):
    assert fails(capsys, "inspect", "--network", "gru", "--length", "-1") == (
        "length is -1, but has to be at least 0"
    )


def test_a_teacher_that_diverges_at_once_leaves_no_folder(
    capsys, tmp_path, words, tiny_presets, monkeypatch
):
    wild = WordsRecipe(epochs=900, batch_size=4, muon_rate=1e30)
    monkeypatch.setitem(PRESETS, "tiny", (SEQUENCES["gru"], wild))
    folder = tmp_path / "run"
    assert run([*map(str, ["train", words, "--preset", "student", "--out", folder])]) == 2
    assert "learning rate" in capsys.readouterr().err
    assert not folder.exists()


def test_a_teacher_that_diverges_late_is_kept_so_far_and_each_folder_says_why(
    capsys, tmp_path, words, tiny_presets, monkeypatch
):
    wild = WordsRecipe(epochs=9, batch_size=4, muon_rate=1e30)
    monkeypatch.setitem(PRESETS, "tiny", (SEQUENCES["gru"], wild))
    folder = tmp_path / "run"
    assert run([*map(str, ["train", words, "--preset", "student", "--out", folder])]) == 2
    error = capsys.readouterr().err.removeprefix("typedwave: ").removesuffix("\n")
    kept = {"config.toml", "metrics.jsonl", "run.json"}
    assert files_in(folder) == {"config.toml", "run.json", *(f"teacher-tiny/{x}" for x in kept)}
    assert record_in(folder)["error"] == record_in(folder / "teacher-tiny")["error"] == error


def test_training_on_words_that_diverges_at_once_fails_and_leaves_no_folder(
    capsys, tmp_path, words, tiny_presets
):
    for preset in ("gru", "of both"):
        flags = ["--preset", preset, "--muon_rate", "1e30", "--epochs", "900", "--batch_size", "4"]
        folder = tmp_path / preset
        assert run([*map(str, ["train", words, *flags, "--out", folder])]) == 2
        assert re.fullmatch(
            r"typedwave: the loss of step \d is nan, with learning rate [\d.e+]+; "
            "a smaller one may keep it finite\n",
            capsys.readouterr().err,
        )
        # What was trained on the way is kept.
        assert folder.exists() == (preset == "of both")
