"""``typedwave compare``: its groups, its words and what it says where runs do not go together."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import fails, printed

from typedwave.cli import run
from typedwave.lab.comparison.by_word import difference_of_words, losses_by_word
from typedwave.lab.comparison.groups import compare, groups_of, losses_of_groups
from typedwave.lab.comparison.verdict import tables, verdict
from typedwave.lab.runs.checkpoint import Checkpoint, save_checkpoint
from typedwave.lab.runs.record import read_record, write_record
from typedwave.lab.runs.run import Run
from typedwave.lab.training.recipe import Recipe, fields_of
from typedwave.lab.words.corpus import Vocabulary, examples, split
from typedwave.models import NetworkConfig, build

WORDS = [
    first + last
    for first in ("an", "ot", "mi", "le", "em")
    for last in ("na", "to", "l", "mio", "ne", "la")
]
WORDS += WORDS[:7]  # so that some of validation are in train too
SMALL = NetworkConfig(context=4, n_embd=2, n_hidden=3)
LARGE = NetworkConfig(context=4, n_embd=3, n_hidden=5)
LOSSES = {"small": [2.031, 2.034, 2.029, 2.035], "large": [2.022, 2.029, 2.024, 2.025]}


def write(folder: Path, config: NetworkConfig, seed: int, loss: float, **facts: Any) -> None:
    folder.mkdir(parents=True)
    recipe = Recipe(seed=seed)
    write_record(
        folder,
        {
            "name": folder.name,
            "corpus": "words.txt",
            "words_sha256": hashlib.sha256("\n".join(WORDS).encode()).hexdigest(),
            "network": dataclasses.asdict(config),
            "recipe": fields_of(recipe),
            "losses": {"validation": loss, "test": loss + 0.5, "unseen": loss + 0.25},
            **facts,
        },
    )


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """The current folder, with four runs in each of small and large."""
    monkeypatch.chdir(tmp_path)
    for name, config in (("small", SMALL), ("large", LARGE)):
        for seed, loss in enumerate(LOSSES[name], start=1):
            write(Path(name) / f"seed-{seed}", config, seed, loss)
    return Path()


@pytest.fixture
def networks(runs) -> Path:
    """The same with networks and words, which are asked for by --words."""
    Path("words.txt").write_text("\n".join(WORDS), encoding="utf-8")
    vocabulary = Vocabulary.of(WORDS)
    for name, config in (("small", SMALL), ("large", LARGE)):
        for seed in range(1, 5):
            generator = torch.Generator().manual_seed(seed)
            network = build(config, vocab_size=len(vocabulary), generator=generator)
            network(torch.randint(len(vocabulary), (9, 4), generator=generator))
            path = Path(name) / f"seed-{seed}" / "checkpoint.safetensors"
            save_checkpoint(path, Checkpoint(network, vocabulary))
    return runs


def prints(capsys, *arguments: str) -> str:
    out, err = printed(capsys, "compare", *arguments)
    assert err == ""
    return out


def compared(*folders: str, loss: str = "validation"):
    records = [read_record(path) for folder in folders for path in sorted(Path(folder).iterdir())]
    return compare(losses_of_groups(groups_of(records), loss), loss=loss)


@pytest.mark.usefixtures("runs")
def test_two_groups(capsys):
    assert (
        prints(capsys, "small", "--against", "large")
        == """\
validation loss, nats a character

                     n    mean       s  95 % of the mean     min     max
n_embd=2 n_hidden=3  4  2.0322  0.0028  2.0279 to 2.0366  2.0290  2.0350
n_embd=3 n_hidden=5  4  2.0250  0.0029  2.0203 to 2.0297  2.0220  2.0290

against n_embd=3 n_hidden=5

                     difference                95 %  t-test p  permutation p    test      r
n_embd=2 n_hidden=3     +0.0073  +0.0031 to +0.0114     0.012           0.12  paired  +0.58

paired: by paired t-test, since the seeds are the same; r is what they share
permutation: sign-flip permutation test, exact

The validation loss of n_embd=2 n_hidden=3 is higher than that of n_embd=3 n_hidden=5 by 0.0073 \
nats a character (95 % interval 0.0031 to 0.0114): p = 0.012 by a paired t-test, p = 0.12 by a \
sign-flip permutation test, exact (so few seeds cannot bring it below 0.12); 4 of 4 seeds agree \
in the direction.
"""
    )


@pytest.mark.usefixtures("runs")
def test_runs_are_grouped_and_compared_with_the_best(capsys):
    found = compared("small", "large")
    expected = f"{tables(found)}\n\n{verdict(found)}\n"
    assert "against n_embd=3 n_hidden=5, which has the lowest mean\n" in expected
    assert prints(capsys, "small", "large") == expected
    assert sorted(prints(capsys, "small/seed-2", *_seeds("small", 1, 3, 4), "large")) == sorted(
        expected
    )


def _seeds(name: str, *seeds: int) -> list[str]:
    return [f"{name}/seed-{seed}" for seed in seeds]


@pytest.mark.usefixtures("runs")
def test_other_seeds_are_not_paired(capsys):
    out = prints(capsys, *_seeds("small", 1, 2), "--against", *_seeds("large", 3, 4))
    assert "by Welch's t-test" in out
    assert "paired" not in out


@pytest.mark.usefixtures("runs")
def test_another_loss(capsys):
    found = compared("small", "large", loss="test")
    assert prints(capsys, "small", "large", "--loss", "test") == (
        f"{tables(found)}\n\n{verdict(found)}\n"
    )


@pytest.mark.usefixtures("runs")
def test_json(capsys):
    found = json.loads(prints(capsys, "small", "--against", "large", "--json"))
    small, large = found.pop("groups")
    assert found == {
        "loss": "validation",
        "against": "n_embd=3 n_hidden=5",
        "lowest": False,
        "verdict": verdict(compared("small", "large")),
    }
    row = dataclasses.asdict(compared("small", "large").rows[0])
    runs = {
        f"small/seed-{seed}": {"seed": seed, "loss": loss}
        for seed, loss in enumerate(LOSSES["small"], start=1)
    }
    assert small == json.loads(json.dumps({**row, "runs": runs}))
    assert (large["difference"], large["p_holm"]) == (None, None)


@pytest.mark.usefixtures("runs")
def test_one_run_of_each_is_compared_without_a_test(capsys):
    out = prints(capsys, "small/seed-1", "--against", "large/seed-1")
    assert out.splitlines()[-1] == (
        "The validation loss of n_embd=2 n_hidden=3 is higher than that of n_embd=3 n_hidden=5 by "
        "0.0090 nats a character, but one run has no spread: to tell it from chance takes at least "
        "two runs of each, with other seeds."
    )


@pytest.mark.usefixtures("runs")
def test_one_group(capsys):
    assert prints(capsys, "small").splitlines()[-1] == (
        "There is one group, and nothing to compare it with."
    )


@pytest.mark.usefixtures("runs")
def test_groups_that_differ_in_nothing_that_is_recorded_are_called_by_where_they_are(capsys):
    for seed in range(1, 5):
        write(Path(f"again/seed-{seed}"), SMALL, seed, 2.04)
    rows = prints(capsys, "small", "large", "--against", "again").splitlines()[3:6]
    assert [row.partition("  ")[0] for row in rows] == [
        "n_embd=2 n_hidden=3",
        "n_embd=3 n_hidden=5",
        "n_embd=2 n_hidden=3 of --against",
    ]
    rows = prints(capsys, "small", "--against", "again").splitlines()[3:5]
    assert [row.partition("  ")[0] for row in rows] == ["hierarchical", "hierarchical of --against"]


@pytest.mark.parametrize("loss", ["validation", "test", "unseen"])
@pytest.mark.usefixtures("networks")
def test_other_words_are_asked_for_by_name(capsys, loss):
    arguments = ["small", "--against", "large", "--words", "--loss", loss]
    found = json.loads(prints(capsys, *arguments, "--json"))
    splits = split(WORDS)
    unseen = [word for word in splits.validation if word not in splits.train]
    assert 2 <= len(unseen) < len(splits.validation)
    words = {**splits._asdict(), "unseen": unseen}[loss]
    data = examples(words, Vocabulary.of(WORDS), context=4)
    losses = {
        name: [losses_by_word(_network(Path(name) / f"seed-{seed}"), data) for seed in range(1, 5)]
        for name in ("small", "large")
    }
    expected = difference_of_words(losses["small"], losses["large"], words)
    small, large = found["groups"]
    assert small["words"] == json.loads(json.dumps(dataclasses.asdict(expected)))
    assert "words" not in large
    *_, last = prints(capsys, *arguments).splitlines()
    assert last.startswith("With the same networks and other words like these, n_embd=2 n_hidden=3")


def test_runs_that_were_trained_are_asked_for_other_words(capsys, tmp_path):
    corpus = tmp_path / "words.txt"
    corpus.write_text("\n".join(WORDS), encoding="utf-8")
    for config, name in ((SMALL, "small"), (LARGE, "large")):
        for seed in (1, 2):
            training = Run(tmp_path / name / str(seed), WORDS, corpus=str(corpus))
            training.train(config, Recipe(steps=3, seed=seed), name)
    arguments = [str(tmp_path / "small"), "--against", str(tmp_path / "large")]
    found = json.loads(prints(capsys, *arguments, "--words", "--json"))
    small, large = found["groups"]
    apart = small["summary"]["mean"] - large["summary"]["mean"]
    assert small["words"]["mean"] == pytest.approx(apart, abs=1e-6)
    assert small["words"]["words"] == len(split(WORDS).validation)


@pytest.mark.usefixtures("networks")
def test_words_that_nobody_asks_for_are_refused(capsys):
    assert fails(capsys, "compare", "small", "large", "--data", "words.txt") == (
        "--data names the words that --words is to be asked about; add that"
    )


@pytest.mark.usefixtures("networks")
def test_the_unseen_of_words_that_are_all_seen_are_refused(capsys):
    Path("twice.txt").write_text("\n".join(["anna"] * 20), encoding="utf-8")
    arguments = ["small", "large", "--words", "--loss", "unseen", "--data", "twice.txt"]
    assert fails(capsys, "compare", *arguments) == (
        "each validation word of twice.txt is in train as well; none is unseen"
    )


def _network(folder: Path):
    from typedwave.lab.runs.checkpoint import load_checkpoint

    return load_checkpoint(folder / "checkpoint.safetensors").network


@pytest.mark.usefixtures("networks")
def test_words_that_changed_since_are_refused(capsys):
    Path("words.txt").write_text("\n".join(WORDS[1:]), encoding="utf-8")
    assert fails(capsys, "compare", "small", "large", "--words") == (
        "words.txt has other words than small/seed-1 was trained on; name their file as data"
    )


@pytest.mark.usefixtures("runs")
def test_words_that_are_gone_are_named(capsys):
    assert fails(capsys, "compare", "small", "large", "--words") == (
        "the words of small/seed-1 are not at words.txt; name their file as data"
    )


@pytest.mark.usefixtures("networks")
def test_words_that_were_moved_can_be_named(capsys):
    arguments = ["small", "--against", "large", "--words"]
    found = prints(capsys, *arguments)
    Path("words.txt").rename("moved.txt")
    assert prints(capsys, *arguments, "--data", "moved.txt") == found


@pytest.mark.usefixtures("runs")
def test_a_run_that_is_not_finished_is_refused_or_left_out(capsys):
    write(Path("small/seed-9"), SMALL, 9, 3.0, interrupted=True)
    write(Path("large/seed-9"), LARGE, 9, 3.0, losses={})
    assert fails(capsys, "compare", "small", "large") == (
        "not finished: small/seed-9, large/seed-9; leave them out, or resume them"
    )
    assert run(["compare", "small", "--against", "large", "--finished"]) == 0
    out, err = capsys.readouterr()
    assert " 4  2.0322  " in out
    assert err == ("left out, not finished: small/seed-9\nleft out, not finished: large/seed-9\n")
    assert fails(capsys, "compare", "small/seed-9", "large/seed-9", "--finished") == (
        "no run is finished in small/seed-9, large/seed-9"
    )


@pytest.mark.usefixtures("runs")
def test_runs_of_other_words_are_refused(capsys):
    write(Path("other"), SMALL, 1, 2.0, words_sha256="ff", corpus="cities.txt")
    assert fails(capsys, "compare", "small", "--against", "other") == (
        "small/seed-1 and other are on different words, of words.txt and of cities.txt, and words "
        "differ more than networks"
    )


@pytest.mark.usefixtures("runs")
def test_what_is_compared_with_has_to_be_one_group(capsys):
    assert fails(capsys, "compare", "small", "--against", "large", "small") == (
        "small/seed-1 is among the runs and among those of --against"
    )
    write(Path("third"), NetworkConfig(context=4, n_embd=9), 1, 2.0)
    assert fails(capsys, "compare", "third", "--against", "small", "large") == (
        "the runs of --against differ in more than the seed: "
        "n_embd=2 n_hidden=3; n_embd=3 n_hidden=5"
    )


@pytest.mark.usefixtures("runs")
def test_what_is_no_run_is_named(capsys):
    assert fails(capsys, "compare", "small", "missing") == (
        "there is no run in missing: no run.json in it or below it"
    )


@pytest.mark.usefixtures("runs")
def test_a_loss_that_there_is_not_is_named(capsys):
    assert fails(capsys, "compare", "small", "--loss", "train") == (
        "small/seed-1 has no train loss; it has validation, test, unseen"
    )
    assert "invalid choice: 'wrong'" in fails(capsys, "compare", "small", "--loss", "wrong")
