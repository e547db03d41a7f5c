"""A training step of the 76,579-parameter network, side by side: `make bench`.

Every round does some steps of each contender in turn, on one thread, so that a machine that
changes its speed changes it for all. What counts is the ratio within a round; the median over
the rounds is printed. Where in memory a network happens to lie is worth a percent or two, so
there are several of each kind.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from contenders import jaxtyped_network, unchecked
from plain import PlainTraining

from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.words.corpus import Examples, Vocabulary, examples, read_words, split
from typedwave.lab.words.names import names_path
from typedwave.models import build

BASE = "plain loop, raw tensors"


def contenders(data: Examples, vocabulary: Vocabulary) -> dict[str, Callable[[int], None]]:
    config, recipe = PRESETS["lecture"]

    def typed(
        change: Callable[[torch.nn.Module], object] = lambda network: network,
        *,
        compiled: bool = False,
    ) -> Callable[[int], None]:
        generator = torch.Generator().manual_seed(recipe.seed)
        network = build(config, vocab_size=len(vocabulary), generator=generator)
        change(network)
        training = Training(network, data, recipe, generator=generator, compile=compiled)
        return lambda steps: training.run(training.step + steps)

    return {
        BASE: PlainTraining(data, vocab_size=len(vocabulary), seed=recipe.seed).run,
        "typedwave, eager, checks on": typed(),
        "typedwave, eager, unchecked": typed(unchecked),
        "jaxtyping + beartype, eager": typed(jaxtyped_network),
        "typedwave, compiled, checks on": typed(compiled=True),
        "typedwave, compiled, unchecked": typed(unchecked, compiled=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="?", default=names_path(), help="one word a line")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=100, help="of each contender in a round")
    parser.add_argument("--copies", type=int, default=2, help="of each contender")
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = read_words(options.words)
    vocabulary = Vocabulary.of(words)
    data = examples(split(words).train, vocabulary, context=8)
    running = [contenders(data, vocabulary) for _ in range(options.copies)]
    seconds: dict[str, list[float]] = {name: [] for name in running[0]}
    for number in range(options.rounds + 1):
        for copy in running:
            # Whoever runs after its like finds caches warm: each warms its own, in either order.
            for name, run in list(copy.items())[:: 1 if number % 2 else -1]:
                run(options.steps // 4)
                began = time.perf_counter()
                run(options.steps)
                if number:  # the first round is for what compiles
                    seconds[name].append(time.perf_counter() - began)
    print(
        f"one step, batch 32, one thread; medians of {options.rounds} rounds of {options.steps}, "
        f"{options.copies} networks of each kind"
    )
    print(f"{'':34}{'microseconds':>12}  times as fast as the plain loop")
    for name, taken in seconds.items():
        micro = statistics.median(taken) / options.steps * 1e6
        faster = statistics.median(a / b for a, b in zip(seconds[BASE], taken, strict=True))
        print(f"{name:34}{micro:12.0f}  {faster:.2f}")
    for checked, bare in (
        ("typedwave, eager, checks on", "typedwave, eager, unchecked"),
        ("jaxtyping + beartype, eager", "typedwave, eager, unchecked"),
        ("typedwave, compiled, checks on", "typedwave, compiled, unchecked"),
    ):
        pairs = zip(seconds[checked], seconds[bare], strict=True)
        print(f"{checked}, to unchecked: {statistics.median(a / b for a, b in pairs):.3f}")


if __name__ == "__main__":
    main()
