"""One process and several on the same global batch: the curves, and how far apart they are.

python benchmarks/processes.py names.txt --out runs/processes --picture processes.png
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from typedwave.lab import Record, read_record

RUNS = {
    "demo": ["--preset", "demo", "--steps", "5000", "--n_hidden", "68"],
    "wavenet": ["--preset", "wavenet", "--epochs", "2"],
}
"""The lecture's tree with batch norm, on examples; and a WaveNet, on words."""


def trained(words: str, folder: Path, flags: list[str], *, count: int) -> Record:
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", str(count)]
    start = torchrun if count > 1 else []
    command = [sys.executable, *start, "-m", "typedwave", "train", words, *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, "--out", str(folder), "--resume"], check=True, stdout=2, env=environment
    )
    return read_record(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", help="a text file of one word a line")
    parser.add_argument("--count", type=int, default=2, help="of processes")
    parser.add_argument("--out", type=Path, default=Path("runs/processes"))
    parser.add_argument("--picture", type=Path, default=Path("processes.png"))
    options = parser.parse_args()
    figure = Figure(figsize=(9, 5.5), dpi=100, layout="constrained")
    axes = figure.subplots(2, len(RUNS), sharex="col", height_ratios=(3, 1), squeeze=False)
    print("| network | steps | train, largest difference | validation, largest difference |")
    print("|---|---|---|---|")
    for column, (name, flags) in enumerate(RUNS.items()):
        one, several = (
            trained(options.words, options.out / f"{name}-{count}", flags, count=count)
            for count in (1, options.count)
        )
        apart = np.abs(one.metrics.train - several.metrics.train)
        points = zip(one.metrics.points, several.metrics.points, strict=True)
        validation = max(abs(a.validation - b.validation) for a, b in points)
        print(f"| {name} | {len(apart):,} | {apart.max():.1e} | {validation:.1e} |", flush=True)
        above, below = axes[0, column], axes[1, column]
        for record, label, style in (
            (one, "one process", {"color": "tab:blue", "linewidth": 5, "alpha": 0.35}),
            (several, f"{options.count} processes", {"color": "tab:red", "linewidth": 1}),
        ):
            steps = [point.step for point in record.metrics.points]
            above.plot(record.metrics.steps, smooth(record.metrics.train), **style, label=label)
            above.plot(steps, [p.validation for p in record.metrics.points], "o", markersize=3)
        above.set(title=f"{name}, {one.facts['parameters']:,} parameters")
        above.legend()
        below.semilogy(one.metrics.steps, np.maximum(apart, 1e-9), linewidth=0.5, color="gray")
        below.set(xlabel="step", ylim=(1e-9, 1e-3))
    axes[0, 0].set(ylabel="loss (nats a character)")
    axes[1, 0].set(ylabel="train, apart by")
    figure.savefig(options.picture)


def smooth(losses: np.ndarray, width: int = 25) -> np.ndarray:
    """The mean of the steps around each, of fewer at the ends."""
    ones = np.ones(width)
    return np.convolve(losses, ones, "same") / np.convolve(np.ones_like(losses), ones, "same")


if __name__ == "__main__":
    main()
