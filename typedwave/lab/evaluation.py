"""Evaluation: the loss of a network on examples, or on whole words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch.nn import Module

from typedwave.inspect import modes_kept
from typedwave.lab.words.corpus import Examples, Vocabulary, examples
from typedwave.lab.words.sequences import IGNORED, Sequences, sequences
from typedwave.models import MLP, Network, NGram, logits_of_windows

__all__ = ["data_of", "evaluate", "evaluating"]

_AT_ONCE = 16_384  # examples; the hidden layers of all at once would need gigabytes
_NODES_AT_ONCE = 262_144  # examples, of most of which there is nothing left to compute
_WORDS_AT_ONCE = 512


def data_of(
    network: Network,
    vocabulary: Vocabulary,
    words: Sequence[str],
    *,
    device: torch.device | None = None,
) -> Examples | Sequences:
    """Words as a network takes them: examples for a network of windows, sequences for all else.

    Raises:
        UnknownCharacterError: The vocabulary lacks a character of a word.
    """
    if isinstance(network, MLP | NGram):
        found = examples(words, vocabulary, context=network.context)
        return Examples(*(part.to(device) for part in found))
    return sequences(words, vocabulary).to(device)


@contextmanager
def evaluating(network: Module) -> Iterator[None]:
    """Eval mode without gradients; every module has its own mode again afterwards."""
    with modes_kept(network), torch.no_grad():
        network.eval()
        yield


def evaluate(network: Module, data: Examples | Sequences) -> float:
    """The mean cross-entropy over all characters and ends of words, in nats, in eval mode.

    Examples and sequences of the same words give the same number up to rounding.

    Args:
        network: Maps contexts ``(B, T)`` to logits ``(B, V)`` where the data are examples, and ids
            ``(B, T)`` to logits ``(B, T, V)`` where they are sequences.
        data: At least one example, or one word.

    Raises:
        ValueError: There is none.
    """
    count = len(data.targets) if isinstance(data, Examples) else int(data.lengths.sum())
    if count == 0:
        raise ValueError("there is no example to evaluate on")
    with evaluating(network):
        parts = _of_examples if isinstance(data, Examples) else _of_sequences
        return sum(parts(network, data)) / count  # type: ignore[arg-type]  # it fits


def _of_examples(network: Module, examples: Examples) -> Iterator[float]:
    tree = network if isinstance(network, MLP) else None  # of which equal nodes are computed once
    batches = (torch.split(part, _AT_ONCE if tree is None else _NODES_AT_ONCE) for part in examples)
    for contexts, targets in zip(*batches, strict=True):
        logits = network(contexts) if tree is None else logits_of_windows(tree, contexts)
        yield F.cross_entropy(logits, targets, reduction="sum").item()


def _of_sequences(network: Module, words: Sequences) -> Iterator[float]:
    for batch in words.in_order(_WORDS_AT_ONCE):
        logits, targets = network(batch.ids).flatten(0, 1), batch.targets.flatten()
        yield F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum").item()
