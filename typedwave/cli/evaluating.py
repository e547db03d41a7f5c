"""``typedwave eval``."""

import json

from jsonargparse import ArgumentParser, Namespace

from typedwave.cli.options import STRICT, add_run, open_run
from typedwave.lab.corpus import read_words, split
from typedwave.lab.experiment import losses_of
from typedwave.lab.run import told

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    """The arguments."""
    evaluation = STRICT(description="The losses of a trained network.")
    add_run(evaluation)
    return evaluation


def run(options: Namespace) -> int:
    """Prints the losses."""
    checkpoint, corpus = open_run(options.run, options.data)
    assert corpus is not None
    losses = losses_of(checkpoint.network, checkpoint.vocabulary, split(read_words(corpus)))
    print(json.dumps({"corpus": str(corpus), "losses": losses}) if options.json else told(losses))
    return 0
