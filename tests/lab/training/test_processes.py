"""Several processes that train one network do what one does, to rounding."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import SEQUENCES, WINDOWS, WORDS
from together import together

from typedwave.lab import CountingRecipe, PoolRecipe, Recipe, Run, WordsRecipe, read_record
from typedwave.lab.runs.checkpoint import load_checkpoint
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.processes import ALONE, Processes, processes
from typedwave.models import NGramConfig, PoolConfig, RecurrentConfig

FEW = WordsRecipe(epochs=6, batch_size=3)  # 9 words to train on
UNEVEN = WordsRecipe(epochs=6, batch_size=4)  # so that the last batch of an epoch has one word

KINDS = {
    "batch norm": (WINDOWS["hierarchical"], Recipe(steps=40, batch_size=7)),
    "batch norm, unbiased": (
        dataclasses.replace(WINDOWS["hierarchical"], unbiased=True),
        Recipe(steps=40, batch_size=7, momentum=0.9, clip=0.5, schedule="linear"),
    ),
    "windows of words": (WINDOWS["flat"], UNEVEN),
    "words": (SEQUENCES["wavenet"], FEW),
    "a word for two": (SEQUENCES["gru"], UNEVEN),
    "accumulated": (SEQUENCES["transformer"], dataclasses.replace(UNEVEN, accumulate=3)),
    "taught": (SEQUENCES["rnn"], WordsRecipe(epochs=2, batch_size=4, teacher="tiny", sampled=9)),
    "pool": (
        PoolConfig(members=(SEQUENCES["lstm"], NGramConfig(order=2)), weights=(0.5, 0.5)),
        PoolRecipe(recipes=(FEW, CountingRecipe())),
    ),
}


def run_in(rank: int, folder: Path, kind: str, count: int | None = None) -> None:
    """Trains into a folder, or goes on there; stops after so many points, as by Ctrl-C."""
    PRESETS["tiny"] = (SEQUENCES["gru"], FEW)

    def watch(experiment, points) -> bool:
        for number, _ in enumerate(points, start=1):
            if number == count:
                raise KeyboardInterrupt
        return False

    with processes("cpu") as them:
        run = Run(
            folder,
            WORDS,
            corpus="words",
            resume=True,
            save_every=0,
            processes=them,
            watch=watch,
        )
        try:
            run.train(*KINDS[kind], kind)
        except KeyboardInterrupt:
            assert count is not None


def assert_alike(ours: Path, theirs: Path) -> None:
    """The same steps, losses and weights, but for rounding, which training carries on."""
    for path in theirs.rglob("run.json"):
        folder = path.parent
        a, b = read_record(ours / folder.relative_to(theirs)), read_record(folder)
        assert a.facts["examples"] == b.facts["examples"]
        assert len(a.metrics.train) == len(b.metrics.train)
        np.testing.assert_allclose(a.metrics.train, b.metrics.train, rtol=2e-4)
        np.testing.assert_array_equal(a.metrics.rate, b.metrics.rate)
        assert [p.step for p in a.metrics.points] == [p.step for p in b.metrics.points]
        for name, loss in b.losses.items():
            assert a.losses[name] == pytest.approx(loss, rel=2e-4), name
        networks = [load_checkpoint(r.folder / "checkpoint.safetensors").network for r in (a, b)]
        for name, tensor in networks[1].state_dict().items():
            if name.endswith("in_proj_bias"):  # the gradient of that of keys is rounding alone,
                continue  # which Adam makes as long as any
            torch.testing.assert_close(
                networks[0].state_dict()[name], tensor, rtol=2e-3, atol=2e-4, msg=name
            )


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_do_what_one_does(kind, tmp_path):
    run_in(0, tmp_path / "one", kind)
    together(2, run_in, tmp_path / "two", kind, group=False)
    assert_alike(tmp_path / "two", tmp_path / "one")
    assert read_record(tmp_path / "two").facts["environment"]["processes"] == 2


@pytest.mark.parametrize("kind", ["batch norm, unbiased", "words"])
def test_a_run_is_gone_on_with_by_another_number_of_processes(kind, tmp_path):
    run_in(0, tmp_path / "one", kind)
    folder = tmp_path / "several"
    together(2, run_in, folder, kind, 2, group=False)
    assert "losses" not in read_record(folder).facts
    together(3, run_in, folder, kind, 2, group=False)
    run_in(0, folder, kind)
    assert_alike(folder, tmp_path / "one")


def dropped(rank: int, folder: Path) -> None:
    config = RecurrentConfig(n_embd=3, n_hidden=5, num_layers=2, dropout=0.5)
    with processes("cpu") as them:
        Run(folder, WORDS, corpus="words", processes=them).train(config, FEW, "dropout")


def test_what_dropout_leaves_out_differs_but_the_networks_do_not(tmp_path):
    together(2, dropped, tmp_path / "two", group=False)
    assert len(read_record(tmp_path / "two").metrics.train) == 18


def shares(rank: int) -> tuple:
    with processes("auto") as them:
        rows = torch.arange(7)
        assert them.first == (rank == 0)
        summed = them.sum_(torch.tensor([float(rank + 1)])).item()
        return them.share(rows).tolist(), summed, them.agreed(f"of {rank}"), them.count


def test_shares_cover_a_batch_and_what_is_agreed_on_is_the_first_ones():
    found = together(3, shares, group=False)
    assert [row for part, *_ in found for row in part] == list(range(7))
    assert [len(part) for part, *_ in found] == [3, 2, 2]
    assert [rest for _, *rest in found] == [[6.0, "of 0", 3]] * 3


def test_alone_all_is_its_own():
    x = torch.arange(3)
    assert ALONE.share(x) is x
    assert ALONE.sum_(x) is x
    assert ALONE.agreed(x) is x
    ALONE.wait()
    with processes("cpu") as them:
        assert them == Processes(device=torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(monkeypatch):
    with pytest.raises(ValueError) as caught, processes("cuda"):  # noqa: PT011  # compared
        pass
    assert str(caught.value) == "device is cuda, but torch finds none; cpu and auto work here"


def test_a_compiled_step_is_for_one_process():
    from typedwave.lab import Experiment

    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        Experiment(
            WORDS,
            WINDOWS["flat"],
            Recipe(steps=2, batch_size=4),
            compile=True,
            processes=Processes(0, 2),
        )
    assert str(caught.value) == (
        "a compiled step takes a batch whole, in one process; leave accumulate at 1"
    )


def test_torchrun_trains_as_one_process_does_and_says_it_once(tmp_path):
    words, flags = tmp_path / "words.txt", ["--steps", "30", "--batch_size", "7", "--n_hidden", "5"]
    words.write_text("\n".join(WORDS))
    said = {}
    for count, starter in {
        1: ["-m"],
        2: ["-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"],
    }.items():
        done = subprocess.run(
            [
                *(sys.executable, *starter, "typedwave", "train", str(words), *flags),
                *("--out", str(tmp_path / str(count)), "--device", "auto"),
            ],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        said[count] = done.stdout.splitlines()[:2]
        assert "Warning" not in done.stderr
    assert said[1] == said[2]
    assert_alike(tmp_path / "2", tmp_path / "1")
