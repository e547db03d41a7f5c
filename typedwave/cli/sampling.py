"""``typedwave sample``."""

import functools
import json

import torch
from jsonargparse import ArgumentParser, Namespace

from typedwave.cli.options import STRICT, add_run, at_least, open_run
from typedwave.lab.runs.run import SAMPLES
from typedwave.lab.sampling import sample, sample_new
from typedwave.lab.words.corpus import LEAST_WORDS, split
from typedwave.models import sequence_model

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    """The arguments."""
    sampling = STRICT(description="Words drawn from a network.")
    add_run(sampling)
    sampling.add_argument("--count", type=int, default=SAMPLES, help="how many")
    sampling.add_argument("--seed", type=int, default=0, help="of the draws")
    sampling.add_argument(
        "--temperature", type=float, default=1.0, help="less is likelier, more is bolder"
    )
    sampling.add_argument("--top_k", type=int | None, help="draw from so many of the likeliest")
    sampling.add_argument(
        "--top_p", type=float, default=1.0, help="draw from the likeliest of this chance together"
    )
    sampling.add_argument(
        "--new", action="store_true", help="none that is in the corpus, none twice"
    )
    return sampling


def run(options: Namespace) -> int:
    """Prints the words; those that were trained on have a star."""
    at_least(0, "count", options.count)
    at_least(0, "seed", options.seed)
    if options.seed >= 2**64:
        raise ValueError(f"seed is {options.seed}, but has to be less than 2**64")
    checkpoint, _, words = open_run(options.run, options.data, needed=options.new)
    # Words to leave out may be too few to be split; then there is no training part to mark.
    trained_on = frozenset(split(words).train if len(words) >= LEAST_WORDS else [])
    asked = functools.partial(
        sample_new if options.new else sample,
        sequence_model(checkpoint.network),
        checkpoint.vocabulary,
        options.count,
        generator=torch.Generator().manual_seed(options.seed),
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    drawn = asked(known=words) if options.new else asked()
    if options.json:
        print(json.dumps([{"word": word, "known": word in trained_on} for word in drawn]))
    for word in () if options.json else drawn:
        print(f"{word} *" if word in trained_on else word)
    return 0
