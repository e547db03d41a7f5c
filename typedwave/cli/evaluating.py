"""``typedwave eval``."""

import json

from jsonargparse import ArgumentParser, Namespace

from typedwave.cli.options import STRICT, add_run, open_run
from typedwave.lab.runs.experiment import losses_of
from typedwave.lab.runs.run import told
from typedwave.lab.words.corpus import split

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    """The arguments."""
    evaluation = STRICT(description="The losses of a trained network.")
    add_run(evaluation)
    return evaluation


def run(options: Namespace) -> int:
    """Prints the losses."""
    checkpoint, corpus, words = open_run(options.run, options.data)
    losses = losses_of(checkpoint.network, checkpoint.vocabulary, split(words))
    print(json.dumps({"corpus": corpus, "losses": losses}) if options.json else told(losses))
    return 0
