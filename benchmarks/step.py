"""A training step of the 76,579-parameter network, side by side: `make bench`.

Every round does some steps of each contender in turn, on one thread, so that a machine that
changes its speed changes it for all. What counts is the ratio within a round; the median over
the rounds is printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from plain import PlainTraining

from typedwave.lab.corpus import Examples, Vocabulary, examples, read_words, split
from typedwave.lab.names import names_path
from typedwave.lab.recipe import PRESETS
from typedwave.lab.training import Training
from typedwave.models import build

BASE = "plain loop, raw tensors"


def unchecked(network: torch.nn.Module) -> torch.nn.Module:
    """The same network, each forward the one that was written, without what checks it."""
    for module in network.modules():
        written = getattr(type(module).forward, "__wrapped__", None)
        if written is not None:
            module.forward = written.__get__(module)
    return network


def contenders(data: Examples, vocabulary: Vocabulary) -> dict[str, Callable[[int], None]]:
    config, recipe = PRESETS["lecture"]

    def typed(*, check: bool, compiled: bool) -> Callable[[int], None]:
        generator = torch.Generator().manual_seed(recipe.seed)
        network = build(config, vocab_size=len(vocabulary), generator=generator)
        if not check:
            unchecked(network)
        training = Training(network, data, recipe, generator=generator, compile=compiled)
        return lambda steps: training.run(training.step + steps)

    return {
        BASE: PlainTraining(data, vocab_size=len(vocabulary), seed=recipe.seed).run,
        "typedwave, eager, checks on": typed(check=True, compiled=False),
        "typedwave, eager, unchecked": typed(check=False, compiled=False),
        "typedwave, compiled, checks on": typed(check=True, compiled=True),
        "typedwave, compiled, unchecked": typed(check=False, compiled=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="?", default=names_path(), help="one word a line")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=200, help="of each contender in a round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = read_words(options.words)
    vocabulary = Vocabulary.of(words)
    running = contenders(examples(split(words).train, vocabulary, context=8), vocabulary)
    for run in running.values():
        run(options.steps)  # warm: what compiles does so now
    seconds: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(options.rounds):
        for name, run in running.items():
            began = time.perf_counter()
            run(options.steps)
            seconds[name].append(time.perf_counter() - began)
    print(f"one step, batch 32, one thread; medians of {options.rounds} rounds of {options.steps}")
    print(f"{'':34}{'microseconds':>12}  times as fast as the plain loop")
    for name, taken in seconds.items():
        micro = statistics.median(taken) / options.steps * 1e6
        faster = statistics.median(a / b for a, b in zip(seconds[BASE], taken, strict=True))
        print(f"{name:34}{micro:12.0f}  {faster:.2f}")
    for kind in ("eager", "compiled"):
        checked, bare = (seconds[f"typedwave, {kind}, {how}"] for how in ("checks on", "unchecked"))
        ratio = statistics.median(a / b for a, b in zip(checked, bare, strict=True))
        print(f"checks on to unchecked, {kind}: {ratio:.3f}")


if __name__ == "__main__":
    main()
