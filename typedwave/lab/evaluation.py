"""Evaluation: the loss of a network on examples."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch.nn import Module

from typedwave.inspect import modes_kept
from typedwave.lab.corpus import Examples

__all__ = ["evaluate", "evaluating"]

_AT_ONCE = 16_384  # examples; the hidden layers of all at once would need gigabytes


@contextmanager
def evaluating(network: Module) -> Iterator[None]:
    """Eval mode without gradients; every module has its own mode again afterwards."""
    with modes_kept(network), torch.no_grad():
        network.eval()
        yield


def evaluate(network: Module, examples: Examples) -> float:
    """The mean cross-entropy of a network on examples, in nats a character, in eval mode.

    Args:
        network: Maps contexts ``(B, T)`` to logits ``(B, V)``.
        examples: At least one.

    Raises:
        ValueError: There is no example.
    """
    count = len(examples.targets)
    if count == 0:
        raise ValueError("there is no example to evaluate on")
    total = 0.0
    with evaluating(network):
        batches = (torch.split(part, _AT_ONCE) for part in examples)
        for contexts, targets in zip(*batches, strict=True):
            logits = network(contexts)
            total += F.cross_entropy(logits, targets, reduction="sum").item()
    return total / count
