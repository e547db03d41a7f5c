"""``typedwave inspect``."""

import dataclasses
import json

import torch
from jsonargparse import ArgumentParser, Namespace

from typedwave.cli.options import STRICT, Defaults, add_preset, at_least, checkpoint_at, of_flags
from typedwave.inspect import table
from typedwave.lab.runs.checkpoint import load_checkpoint
from typedwave.models import NGramConfig, PoolConfig, network_of

__all__ = ["parser", "run"]


def parser(defaults: Defaults) -> ArgumentParser:
    """The arguments."""
    inspection = STRICT(description="Layers, shapes along the way and parameters.")
    inspection.add_argument("run", nargs="?", type=str, help="folder or checkpoint of a run")
    inspection.add_argument("--vocab_size", type=int, default=27, help="ids, where there is no run")
    inspection.add_argument("--batch_size", type=int, default=32, help="of the example")
    inspection.add_argument(
        "--length", type=int, default=9, help="of the example, where the network takes any"
    )
    add_preset(inspection, defaults)
    return inspection


def run(options: Namespace, defaults: Defaults) -> int:
    """Prints the table."""
    at_least(0, "batch_size", options.batch_size)
    at_least(1, "vocab_size", options.vocab_size)
    at_least(0, "length", options.length)
    if options.run is None:
        config = of_flags(defaults.config, options)
        members = config.members if isinstance(config, PoolConfig) else (config,)
        if any(isinstance(member, NGramConfig) for member in members):
            raise ValueError("n-grams have no shape before they are counted; name a run of them")
        network = network_of(config, vocab_size=options.vocab_size, device="meta")
    else:
        network = load_checkpoint(checkpoint_at(options.run)).network.to("meta")
    shape = (options.batch_size, getattr(network, "context", options.length))
    found = table(network, torch.zeros(shape, dtype=torch.int64, device="meta"))
    print(json.dumps(dataclasses.asdict(found)) if options.json else found)
    return 0
