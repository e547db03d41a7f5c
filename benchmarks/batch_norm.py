"""What the batch norm bug of the lecture costs: rows 3 and 4 of its table, over seeds.

    python benchmarks/batch_norm.py names.txt [--seeds 1 2 3 ...] [--out batch_norm.jsonl]

Each seed trains two networks from the same first weights on the same batches: one with the batch
norm that reduces axis 0 alone, one with the batch norm that is right. A run takes 200,000 steps,
two to four minutes on one thread. What is finished is in the results: stopped and started again, it
goes on with what is not. At the end it prints both losses compared, by seeds and by words.
"""

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from broken_batch_norm import break_batch_norms, loss_of

from typedwave.lab.comparison.by_word import difference_of_words, losses_by_word
from typedwave.lab.comparison.groups import Losses, compare
from typedwave.lab.comparison.verdict import tables, verdict, verdict_of_words
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import Recipe
from typedwave.lab.words.corpus import Splits, Vocabulary, examples, read_words, split
from typedwave.models import build

NAMES = {True: "axis 0 alone", False: "axes 0 and 1"}


def train(words: Sequence[str], *, seed: int, broken: bool, steps: int) -> dict[str, Any]:
    """The losses of one network, and what each word of validation costs it."""
    vocabulary = Vocabulary.of(words)
    config, recipe = PRESETS["lecture-small"]
    assert isinstance(recipe, Recipe)
    recipe = dataclasses.replace(recipe, steps=steps)
    parts = Splits(*(examples(part, vocabulary, context=config.context) for part in split(words)))
    generator = torch.Generator().manual_seed(seed)
    network = build(config, vocab_size=len(vocabulary), generator=generator)
    if broken:
        break_batch_norms(network)
    training = Training(network, parts.train, recipe, generator=generator)
    began = time.perf_counter()
    training.run(recipe.steps)
    seconds = round(time.perf_counter() - began, 1)
    losses = {name: loss_of(network, part) for name, part in parts._asdict().items()}
    by_word = losses_by_word(network, parts.validation)
    return {"seconds": seconds, **losses, "by_word": [round(float(cost), 6) for cost in by_word]}


def done(path: Path, facts: dict[str, Any]) -> dict[tuple[int, bool], dict[str, Any]]:
    """The results of finished runs on the same words with as many steps, by seed and norm."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    same = [line for line in lines if facts.items() <= line.items()]
    return {(line["seed"], line["broken"]): line for line in same}


def report(results: dict[tuple[int, bool], dict[str, Any]], words: Sequence[str]) -> None:
    for loss in ("validation", "test", "train"):
        broken, fixed = (
            Losses(NAMES[b], {s: line[loss] for (s, each), line in results.items() if each == b})
            for b in (True, False)
        )
        comparison = compare([broken], against=fixed, loss=loss)
        print(f"{tables(comparison)}\n\n{verdict(comparison)}\n")
        if loss == "validation":
            costs = {
                b: [line["by_word"] for (_, each), line in results.items() if each == b]
                for b in (True, False)
            }
            found = difference_of_words(costs[True], costs[False], split(words).validation)
            print(f"{verdict_of_words(comparison.others[0], comparison.reference, found)}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", help="a text file of one word a line")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)))
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=Path("batch_norm.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = read_words(options.words)
    sha256 = hashlib.sha256("\n".join(words).encode()).hexdigest()
    facts = {"words_sha256": sha256, "steps": options.steps}
    before = done(options.out, facts)
    for seed in options.seeds:
        for broken in (True, False):
            if (seed, broken) in before:
                continue
            result = train(words, seed=seed, broken=broken, steps=options.steps)
            with options.out.open("a", encoding="utf-8") as file:
                line = {**facts, "seed": seed, "broken": broken, **result}
                file.write(json.dumps(line) + "\n")
    wanted = {(seed, broken) for seed in options.seeds for broken in (True, False)}
    finished = done(options.out, facts)
    report({key: finished[key] for key in sorted(wanted)}, words)


if __name__ == "__main__":
    main()
