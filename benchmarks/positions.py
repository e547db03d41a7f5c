"""What sharing between positions is worth, on one thread: `make bench`.

The 76,579-parameter network, trained for an epoch so that its words have the length of names,
called as the lecture does, once for each position or window, against all positions at once.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from plain import PlainTraining
from torch import Tensor

from typedwave.lab import (
    PRESETS,
    Experiment,
    WordsRecipe,
    evaluate,
    evaluating,
    examples,
    names_path,
    read_words,
    sample,
    sequences,
)
from typedwave.models import MLP, sequence_model, to_dilated
from typedwave.models.sequence import windows

LECTURE_STEPS = 200_000


def one_call_per_position(tree: MLP, positions: Tensor) -> Tensor:
    return torch.cat([tree(window[None]) for window in positions])


def one_word_at_a_time(tree: MLP, count: int, generator: torch.Generator) -> int:
    """The sampling loop of the lecture; returns how many characters it drew, ends included."""
    drawn = 0
    for _ in range(count):
        context = [0] * tree.context
        while True:
            chances = F.softmax(tree(torch.tensor([context])), dim=1)
            number = int(torch.multinomial(chances, 1, generator=generator).item())
            context = [*context[1:], number]
            drawn += 1
            if number == 0:
                break
    return drawn


def ratio(
    name: str, slow: Callable[[], float], fast: Callable[[], float], rounds: int, unit: str
) -> None:
    """Prints the median of the ratios of two times a unit, each measured in turn."""
    slow(), fast()
    pairs = [(slow(), fast()) for _ in range(rounds)]
    median = statistics.median(a / b for a, b in pairs)
    before, after = (1e6 * statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"{name:52}{before:11.2f}{after:11.2f} us a {unit:10}{median:6.1f} times as fast")


def timed(run: Callable[[], object], repeats: int = 1, units: int = 1) -> Callable[[], float]:
    def seconds() -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - began) / (repeats * units)

    return seconds


def sharing(words: list[str], rounds: int) -> None:
    experiment = Experiment(words, PRESETS["hierarchical"][0], WordsRecipe(epochs=1))
    list(experiment.points())
    tree = experiment.network
    assert isinstance(tree, MLP)
    vocabulary, validation = experiment.vocabulary, experiment.splits.validation
    dilated = to_dilated(tree, fold_batch_norm=True)
    ids = torch.tensor([[0, *vocabulary.encode("isabell")]])
    positions = windows(ids, tree.context)[0]
    data = examples(validation, vocabulary, context=tree.context)
    contexts, targets = data
    whole = sequences(validation, vocabulary)
    generator = torch.Generator().manual_seed(0)
    with evaluating(tree), torch.no_grad():
        apart = (one_call_per_position(tree, positions) - dilated(ids)[0]).abs().max().item()
        print(f"logits of 8 positions agree within {apart:.0e}")
        ratio(
            "8 positions of a word, at once",
            timed(lambda: one_call_per_position(tree, positions), 50),
            timed(lambda: dilated(ids), 200),
            rounds,
            "word",
        )
        count = len(targets)
        plain = timed(lambda: F.cross_entropy(tree(contexts), targets).item(), units=count)
        name = "validation loss, each distinct node once"
        fast = timed(lambda: evaluate(tree, data), units=count)
        ratio(name, plain, fast, rounds, "character")
        name = "validation loss, words at once"
        ratio(
            name, plain, timed(lambda: evaluate(dilated, whole), units=count), rounds, "character"
        )

        def loop() -> float:
            began = time.perf_counter()
            drawn = one_word_at_a_time(tree, 100, generator)
            return (time.perf_counter() - began) / drawn

        def stream() -> float:
            began = time.perf_counter()
            found = sample(sequence_model(tree), vocabulary, 20_000, generator=generator)
            return (time.perf_counter() - began) / (sum(map(len, found)) + len(found))

        ratio("sampling, streamed in batches", loop, stream, rounds, "character")


def fast_recipe(words: list[str], rounds: int, stretch: int) -> None:
    """The preset ``fast`` against a stretch of the plain loop, extrapolated to all its steps."""
    config, recipe = PRESETS["fast"]
    data, ratios = None, []
    for seed in range(1, rounds + 1):
        assert isinstance(recipe, WordsRecipe)
        experiment = Experiment(words, config, replace(recipe, seed=seed))
        if data is None:
            data = examples(experiment.splits.train, experiment.vocabulary, context=8)
        plain = PlainTraining(data, vocab_size=len(experiment.vocabulary), seed=seed)
        plain.run(stretch // 10)
        began = time.perf_counter()
        plain.run(stretch)
        all_steps = (time.perf_counter() - began) / stretch * LECTURE_STEPS
        *_, point = experiment.points()
        seconds = experiment.seconds
        ratios.append(all_steps / seconds)
        print(
            f"fast, seed {seed}: validation {point.validation:.4f} after {seconds:.1f} s; the loop "
            f"takes {all_steps:.0f} s for {LECTURE_STEPS:,} steps, by {stretch:,} of them; "
            f"1/{ratios[-1]:.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="?", default=names_path(), help="one word a line")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=3, help="of the fast recipe; 0 leaves it away")
    parser.add_argument("--stretch", type=int, default=5_000, help="steps of the plain loop")
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = read_words(options.words)
    sharing(words, options.rounds)
    fast_recipe(words, options.seeds, options.stretch)


if __name__ == "__main__":
    main()
