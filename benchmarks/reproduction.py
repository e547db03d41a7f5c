"""The five rows of the lecture's table, trained again in full, with the lecture's word list.

    python benchmarks/reproduction.py names.txt [--row N ...] [--compile]

A row takes 200,000 steps, two to four minutes on one thread. Prints a line of Markdown each.
"""

import argparse
import time

import torch
from broken_batch_norm import break_batch_norms, loss_of

from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.words.corpus import Vocabulary, examples, read_words, split
from typedwave.models import build

ROWS = (
    ("context 3, flat, 200 hidden", "lecture-flat-3", False, 2.105),
    ("context 8, flat", "lecture-flat", False, 2.027),
    ("hierarchical, batch norm reducing one axis", "lecture-small", True, 2.029),
    ("batch norm fixed", "lecture-small", False, 2.022),
    ("n_embd 24, n_hidden 128", "lecture", False, 1.993),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", help="a text file of one word a line")
    parser.add_argument("--row", type=int, action="append", help="rows from 1 (default: all)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = read_words(options.words)
    vocabulary = Vocabulary.of(words)
    print("| network | parameters | train | val | lecture's val | test | step 10,000 | seconds |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for number in options.row or range(1, len(ROWS) + 1):
        name, preset, broken, lecture = ROWS[number - 1]
        config, recipe = PRESETS[preset]
        parts = [examples(part, vocabulary, context=config.context) for part in split(words)]
        generator = torch.Generator().manual_seed(options.seed)
        network = build(config, vocab_size=len(vocabulary), generator=generator)
        if broken:
            break_batch_norms(network)
        training = Training(network, parts[0], recipe, generator=generator, compile=options.compile)
        began = time.perf_counter()
        training.run(recipe.steps)
        seconds = time.perf_counter() - began
        train, validation, test = (loss_of(network, part) for part in parts)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        print(
            f"| {name} | {parameters:,} | {train:.4f} | {validation:.4f} | {lecture} | {test:.4f} "
            f"| {training.losses[10_000]:.4f} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
