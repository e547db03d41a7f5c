"""Runs in processes of their own, which can be killed; and what is compared of them."""

import os
import random
import sys
from pathlib import Path

import torch
from tiny_networks import SEQUENCES, WINDOWS, WORDS
from together import SERVER

from typedwave.lab import CountingRecipe, PoolRecipe, Recipe, Run, WordsRecipe, read_record
from typedwave.lab.runs.checkpoint import load_checkpoint
from typedwave.lab.training.presets import PRESETS
from typedwave.models import NGramConfig, PoolConfig, RecurrentConfig, TransformerConfig

_DROPOUT = RecurrentConfig(n_embd=3, n_hidden=5, num_layers=2, dropout=0.4)
_PUPIL = TransformerConfig(n_embd=6, n_hidden=10, num_heads=2, num_layers=1, dropout=0.3)

KINDS = {
    "batch norm and momentum": (
        WINDOWS["hierarchical"],
        Recipe(steps=230, batch_size=7, momentum=0.9, clip=1.0, schedule="cosine"),
    ),
    "dropout": (_DROPOUT, WordsRecipe(epochs=40, batch_size=4)),
    "accumulated": (SEQUENCES["wavenet"], WordsRecipe(epochs=30, batch_size=4, accumulate=2)),
    "taught": (_PUPIL, WordsRecipe(epochs=3, batch_size=4, teacher="tiny", sampled=9)),
    "pool": (
        PoolConfig(members=(_DROPOUT, NGramConfig(order=2)), weights=(0.5, 0.5)),
        PoolRecipe(recipes=(WordsRecipe(epochs=30, batch_size=4), CountingRecipe())),
    ),
}

BRIEF = {
    "brief": (WINDOWS["hierarchical"], Recipe(steps=4, batch_size=3)),
    "brief pool": (
        PoolConfig(members=(SEQUENCES["rnn"], NGramConfig(order=2)), weights=(0.5, 0.5)),
        PoolRecipe(recipes=(WordsRecipe(epochs=1, batch_size=6), CountingRecipe())),
    ),
}
KINDS |= BRIEF


def train(kind: str, folder: Path, resume: bool, last: int | None = None) -> None:
    """Trains; dies at once, as by kill -9, before it touches files for the ``last`` time."""
    torch.set_num_threads(1)
    PRESETS["tiny"] = (SEQUENCES["rnn"], WordsRecipe(epochs=2, batch_size=4))
    if last is not None:
        _die_before(folder, last)
    Run(folder, WORDS, corpus="words", resume=resume, save_every=0).train(*KINDS[kind], kind)


def _die_before(folder: Path, last: int) -> None:
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.truncate", "os.chmod", "os.mkdir"):
            if str(folder) not in str(arguments[0]):
                return
            count += 1
            if count == last:
                os._exit(137)

    sys.addaudithook(hook)


def started(kind: str, folder: Path, *, resume: bool, last: int | None = None):
    """The process of a run."""
    process = SERVER.Process(target=train, args=(kind, folder, resume, last))
    process.start()
    return process


def outcome(folder: Path) -> dict:
    """All that two runs have to have in common, of the run and of those in it."""
    found = {}
    for path in sorted(folder.rglob("run.json")):
        run, name = path.parent, str(path.parent.relative_to(folder))
        facts = dict(read_record(run).facts)
        del facts["began"], facts["environment"]
        facts.pop("training_seconds", None)
        network = load_checkpoint(run / "checkpoint.safetensors").network
        metrics = run / "metrics.jsonl"
        found[name] = (
            facts,
            {name: tensor.tolist() for name, tensor in network.state_dict().items()},
            metrics.read_bytes() if metrics.exists() else b"",
            (run / "samples.txt").read_bytes(),
            sorted(path.name for path in run.iterdir()),
        )
    return found


def finished(kind: str, folder: Path, *, kills: int, within: float, seed: str) -> int:
    """Kills a run at random moments and goes on with it until it ends; returns the kills."""
    moments, done = random.Random(seed), 0
    while True:
        process = started(kind, folder, resume=True)
        if done < kills:
            process.join(moments.uniform(0, within))
            process.kill()
        process.join()
        if process.exitcode == 0:
            return done
        assert process.exitcode == -9
        done += 1
