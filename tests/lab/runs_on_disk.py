"""Folders of runs as training leaves them, made without training."""

import dataclasses
import hashlib
from pathlib import Path

import torch
from tiny_networks import VOCABULARY, WORDS, made

from typedwave.lab.runs.checkpoint import CHECKPOINT, Checkpoint, save_checkpoint
from typedwave.lab.runs.metrics import METRICS, Metrics, Point, lines_of
from typedwave.lab.runs.record import Record, read_record, write_record
from typedwave.lab.training.recipe import AnyRecipe, WordsRecipe, fields_of
from typedwave.models import Config, RecurrentConfig

GRU = RecurrentConfig(n_embd=3, n_hidden=5)
RECIPE = WordsRecipe(epochs=2, batch_size=4)


def corpus_in(folder: Path) -> Path:
    path = folder / "words.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def measured(record: Record, metrics: Metrics) -> Record:
    """The record as if it had read these metrics."""
    vars(record)["metrics"] = metrics
    return record


def write_run(
    folder: Path,
    config: Config = GRU,
    recipe: AnyRecipe = RECIPE,
    *,
    validation: float = 2.0,
    steps: int = 20,
    finished: bool = True,
    checkpoint: bool = True,
    samples: tuple[str, ...] = ("ana", "zoe"),
    **facts: object,
) -> Record:
    """A run whose validation loss falls to the one given, at ten points if it has steps."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    if steps:
        write_metrics(folder, steps, validation, generator)
    if checkpoint:
        network = made(config, seed=recipe.seed)
        save_checkpoint(folder / CHECKPOINT, Checkpoint(network, VOCABULARY))
    if samples:
        (folder / "samples.txt").write_text("\n".join(samples) + "\n", encoding="utf-8")
    losses = {name: validation + more for name, more in _MORE.items()}
    done = {"losses": losses, "steps_done": steps, "training_seconds": 1.5, "interrupted": False}
    write_record(
        folder,
        {
            "name": "made",
            "corpus": "words.txt",
            "words_sha256": hashlib.sha256("\n".join(WORDS).encode()).hexdigest(),
            "network": dataclasses.asdict(config),
            "recipe": fields_of(recipe),
            "compiled": False,
            "environment": {"python": "3.11.7", "commit": None, "threads": 1},
            "examples": {"train": 50, "validation": 7},
            "parameters": 1234,
            **(done if finished else {}),
            **facts,
        },
    )
    return read_record(folder)


_MORE = {"train": -0.25, "validation": 0.0, "test": 0.125, "unseen": 0.25}


def write_metrics(folder: Path, steps: int, last: float, generator: torch.Generator) -> None:
    window = max(1, steps // 10)
    fall = torch.linspace(3.3, last, steps).tolist()
    noise = torch.randn(steps, generator=generator).mul(0.05).tolist()
    rates = torch.linspace(0.02, 0.001, steps).tolist()
    lines = ""
    for start in range(0, steps, window):
        end = min(start + window, steps)
        losses = [loss + more for loss, more in zip(fall[start:end], noise[start:end], strict=True)]
        updates = {"recurrent.weight_hh_l0": 0.001, "recurrent.bias_hh_l0": 0.5}
        point = Point(end, 0.0, fall[end - 1], updates)
        lines += lines_of(losses, rates[start:end], start, point)
    (folder / METRICS).write_text(lines, encoding="utf-8")
