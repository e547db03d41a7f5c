"""The table of docs/models.md: presets trained on a list of names, some seeds each.

    python benchmarks/networks.py names.txt --presets fast gru --seeds 1 2 3

One thread; seconds are of training alone. A preset with a teacher needs `--teacher_run`, the folder
of one that `typedwave train --preset pool` has made.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

import torch

from typedwave.lab import PRESETS, Experiment, load_checkpoint, read_words
from typedwave.models import SequenceModel, sequence_model, size_of


def losses(
    words: list[str], preset: str, seed: int, teacher: SequenceModel | None
) -> tuple[int, float, dict[str, float]]:
    config, recipe = PRESETS[preset]
    taught = bool(getattr(recipe, "teacher", ""))
    experiment = Experiment(
        words, config, replace(recipe, seed=seed), teacher=teacher if taught else None
    )
    list(experiment.points())
    return size_of(experiment.network), experiment.seconds, experiment.losses()


def told(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", help="one word a line")
    parser.add_argument("--presets", nargs="+", default=["ngram", "flat", "hierarchical", "fast"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--teacher_run", type=Path)
    options = parser.parse_args()
    for preset in options.presets:
        if preset not in PRESETS or preset == "pool":
            parser.error(f"{preset}: the presets are {', '.join(sorted({*PRESETS} - {'pool'}))}")
        if getattr(PRESETS[preset][1], "teacher", "") and options.teacher_run is None:
            parser.error(f"{preset} needs --teacher_run")
    torch.set_num_threads(1)
    words = read_words(options.words)
    teacher = None
    if options.teacher_run:
        checkpoint = load_checkpoint(options.teacher_run / "checkpoint.safetensors")
        teacher = sequence_model(checkpoint.network)
    print("| preset | parameters | val | on val names not in train | test | seconds |")
    print("|---|---|---|---|---|---|")
    for preset in options.presets:
        runs = [losses(words, preset, seed, teacher) for seed in options.seeds]
        cells = [
            told([losses[part] for _, _, losses in runs])
            for part in ("validation", "unseen", "test")
        ]
        seconds = statistics.median(seconds for _, seconds, _ in runs)
        row = [preset, f"{runs[0][0]:,}", *cells, f"{seconds:.1f}"]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
