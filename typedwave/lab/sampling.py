"""Sampling: new words from a network, many at a time."""

from collections.abc import Collection

import torch
from torch.nn import Module

from typedwave.lab.corpus import Vocabulary
from typedwave.lab.evaluation import evaluating

__all__ = ["sample", "sample_new"]

_LONGEST = 100  # characters; an untrained network may never end a word


def sample(
    network: Module,
    vocabulary: Vocabulary,
    count: int,
    *,
    context: int,
    generator: torch.Generator,
) -> list[str]:
    """Words drawn from a network character by character, in eval mode, all in one batch.

    Args:
        network: Maps contexts ``(B, T)`` to logits ``(B, V)``.
        vocabulary: Of the network.
        count: How many words, at least 0.
        context: T, the ids that the network sees.
        generator: Of the draws: the same state gives the same words.

    Raises:
        ValueError: The logits are not finite, as those of a network that diverged.

    Returns:
        The words, some perhaps empty or equal. One that has not ended after 100 characters is
        cut there.
    """
    windows = torch.zeros((count, context), dtype=torch.int64)
    words: list[list[int]] = [[] for _ in range(count)]
    open_words = torch.arange(count)
    with evaluating(network):
        for _ in range(_LONGEST):
            if len(open_words) == 0:
                break
            chances = torch.softmax(network(windows), dim=-1)
            if not chances.isfinite().all():
                raise ValueError("the network gives no probabilities: its logits are not finite")
            ids = torch.multinomial(chances, 1, generator=generator)
            windows = torch.cat([windows[:, 1:], ids], dim=1)
            going_on = ids[:, 0] != 0
            windows, open_words = windows[going_on], open_words[going_on]
            for word, number in zip(open_words.tolist(), ids[going_on, 0].tolist(), strict=True):
                words[word].append(number)
    return [vocabulary.decode(ids) for ids in words]


def sample_new(
    network: Module,
    vocabulary: Vocabulary,
    count: int,
    *,
    known: Collection[str],
    context: int,
    generator: torch.Generator,
) -> list[str]:
    """Different words that are not in ``known``, in the order they are drawn.

    Args:
        network: See `sample`.
        vocabulary: Of the network.
        count: How many words.
        known: Words to leave out, those that it was trained on say.
        context: T.
        generator: Of the draws.

    Returns:
        The words; fewer than ``count`` if the network says hardly anything else than what is
        known or was drawn before, after 50 draws for each that was asked for.
    """
    known, found = frozenset(known), dict[str, None]()
    for _ in range(50):
        drawn = sample(network, vocabulary, count, context=context, generator=generator)
        found |= dict.fromkeys(word for word in drawn if word and word not in known)
        if len(found) >= count:
            break
    return list(found)[:count]
