"""A training step of the 76,579-parameter network, side by side: `make bench`.

Every round does some steps of each contender in turn, on one thread, so that a machine that
changes its speed changes it for all. What counts is the ratio within a round, and of those the
median. Where in memory things happen to lie is worth a percent or two: so the eager ones train one
network, whose modules change their classes in between, and all of it is done by several processes,
one after another, of which the median is printed, and the least and the most.
"""

import argparse
import functools
import random
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import CodeType, FunctionType
from unittest.mock import patch

import torch
from contenders import checked, jaxtyped_network, unchecked
from plain import PlainTraining

from typedwave.lab.training import on_examples
from typedwave.lab.training.compiled import compiled_step
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.words.corpus import Examples, Vocabulary, examples, read_words, split
from typedwave.lab.words.names import names_path
from typedwave.models import build

BASE = "plain loop, raw tensors"
OURS, BARE = "typedwave, eager, checks on", "typedwave, eager, unchecked"
JAXTYPED = "jaxtyping + beartype, eager"
OURS_COMPILED, BARE_COMPILED = "typedwave, compiled, checks on", "typedwave, compiled, unchecked"

Change = Callable[[torch.nn.Module], torch.nn.Module]


def contenders(data: Examples, vocabulary: Vocabulary) -> dict[str, Callable[[int], None]]:
    """Of each kind what does so many steps."""
    config, recipe = PRESETS["lecture"]

    def training(change: Change, *, compiled: bool) -> tuple[torch.nn.Module, Training]:
        generator = torch.Generator().manual_seed(recipe.seed)
        network = change(build(config, vocab_size=len(vocabulary), generator=generator))
        return network, Training(network, data, recipe, generator=generator, compile=compiled)

    network, eager = training(checked, compiled=False)

    def by(change: Change) -> Callable[[int], None]:
        def run(steps: int) -> None:
            change(network)
            eager.run(eager.step + steps)

        return run

    def compiled(change: Change) -> Callable[[int], None]:
        with patch.object(on_examples, "compiled_step", _apart(compiled_step)):
            _, its = training(change, compiled=True)
        return lambda steps: its.run(its.step + steps)

    return {
        BASE: PlainTraining(data, vocab_size=len(vocabulary), seed=recipe.seed).run,
        OURS: by(checked),
        BARE: by(unchecked),
        JAXTYPED: by(jaxtyped_network),
        OURS_COMPILED: compiled(checked),
        BARE_COMPILED: compiled(unchecked),
    }


def _apart(function: FunctionType) -> FunctionType:
    """A copy of a function, of which what is defined inside is compiled for itself.

    Dynamo keeps by code what it compiles. Of two networks that share it, one would be asked first
    at each call whether it is the other.
    """
    constants = function.__code__.co_consts
    own = tuple(c.replace() if isinstance(c, CodeType) else c for c in constants)
    copy = FunctionType(function.__code__.replace(co_consts=own), function.__globals__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def measured(path: Path, *, rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds of each contender, by round."""
    torch.set_num_threads(1)
    words = read_words(path)
    vocabulary = Vocabulary.of(words)
    running = contenders(examples(split(words).train, vocabulary, context=8), vocabulary)
    seconds: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds + 1):
        # Whoever runs after its like finds caches warm: each warms its own, in any order.
        for name, run in random.sample(list(running.items()), len(running)):
            run(steps // 2)
            began = time.perf_counter()
            run(steps)
            seconds[name].append(time.perf_counter() - began)
    return {name: taken[1:] for name, taken in seconds.items()}  # the first is for what compiles


def ratio(seconds: Mapping[str, list[float]], one: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="?", default=names_path(), help="one word a line")
    parser.add_argument("--processes", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=15, help="of each process")
    parser.add_argument("--steps", type=int, default=100, help="of each contender in a round")
    options = parser.parse_args()
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as one_by_one:
        run = functools.partial(measured, rounds=options.rounds, steps=options.steps)
        runs = list(one_by_one.map(run, [options.words] * options.processes))
    print(
        f"one step, batch 32, one thread; medians of {options.processes} processes, "
        f"each with {options.rounds} rounds of {options.steps}"
    )
    print(f"{'':34}{'microseconds':>12}  times as fast as the plain loop")
    for name in runs[0]:
        micro = statistics.median(statistics.median(run[name]) for run in runs)
        faster = statistics.median(ratio(run, BASE, name) for run in runs)
        print(f"{name:34}{micro / options.steps * 1e6:12.0f}  {faster:.2f}")
    for one, bare in ((OURS, BARE), (JAXTYPED, BARE), (OURS_COMPILED, BARE_COMPILED)):
        ratios = sorted(ratio(run, one, bare) for run in runs)
        median, least, most = statistics.median(ratios), ratios[0], ratios[-1]
        print(f"{one}, to unchecked: {median:.3f} ({least:.3f} to {most:.3f})")


if __name__ == "__main__":
    main()
