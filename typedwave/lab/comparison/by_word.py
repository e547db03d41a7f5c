"""Losses word by word: whether a difference between networks is one of other words too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy  # type: ignore[import-untyped]  # it has no types; its parts are loaded when used
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch.nn import Module

from typedwave.lab.comparison.significance import LEVEL, ComparisonError, Interval
from typedwave.lab.evaluation import evaluating
from typedwave.lab.words.corpus import Examples
from typedwave.lab.words.sequences import IGNORED, Sequences

__all__ = ["WordDifference", "difference_of_words", "losses_by_word", "together"]

_AT_ONCE: Final = 16_384  # examples
_WORDS_AT_ONCE: Final = 512
_RESAMPLES: Final = 9_999


@dataclass(frozen=True)
class WordDifference:
    """How far apart the losses of two groups of networks are, as one of words drawn by chance.

    Attributes:
        words: How many.
        mean: The loss of the first less that of the second, in nats a character.
        interval: Its 95 % interval over other words like these, by a BCa bootstrap of the words.
        lower: How many words the first has the lower loss on.
        higher: How many it has the higher loss on.
    """

    words: int
    mean: float
    interval: Interval
    lower: int
    higher: int


def losses_by_word(network: Module, data: Examples | Sequences) -> NDArray[np.float64]:
    """What each word costs with its end, in nats, in eval mode; in the order of the words.

    `evaluate` is their sum by the number of characters and ends, up to rounding.

    Args:
        network: As `evaluate` takes it.
        data: Examples of whole words, or the words.
    """
    with evaluating(network):
        if isinstance(data, Examples):
            return _of_examples(network, data)
        return _of_sequences(network, data)


def _of_examples(network: Module, data: Examples) -> NDArray[np.float64]:
    costs = torch.cat(
        [
            F.cross_entropy(network(contexts), targets, reduction="none")
            for contexts, targets in zip(
                *(torch.split(part, _AT_ONCE) for part in data), strict=True
            )
        ]
    ).double()
    ends = (data.targets == 0).long()  # the boundary is the last target of a word
    words = ends.cumsum(0) - ends
    return np.asarray(costs.new_zeros(int(ends.sum())).index_add_(0, words, costs))


def _of_sequences(network: Module, data: Sequences) -> NDArray[np.float64]:
    costs = torch.zeros(len(data), dtype=torch.float64)
    for numbers in torch.split(data.lengths.argsort(stable=True), _WORDS_AT_ONCE):
        batch = data.rows(numbers)
        logits = network(batch.ids).flatten(0, 1)
        each = F.cross_entropy(
            logits, batch.targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        costs[numbers] = rearrange(each.double(), "(b t) -> b t", b=len(batch)).sum(1)
    return np.asarray(costs)


def difference_of_words(
    first: Sequence[NDArray[np.float64]],
    second: Sequence[NDArray[np.float64]],
    words: Sequence[str],
) -> WordDifference:
    """How much the losses of two groups differ, had the words been others like them.

    The networks are taken as they are: each word has the mean over the seeds of a group. What other
    seeds would say is asked by `difference`.

    Args:
        first: The losses by word of each network of a group.
        second: And of the other group.
        words: The words.

    Raises:
        ComparisonError: There are less than two words, or other words than losses.

    Example:
        >>> first = [np.array([6.1, 8.2, 5.9, 9.3]), np.array([6.3, 8.1, 5.8, 9.4])]
        >>> second = [np.array([6.0, 8.0, 5.9, 9.0])]
        >>> found = difference_of_words(first, second, ["ab", "abba", "ba", "babba"])
        >>> f"{found.mean:.4f}, from {found.interval.low:.4f} to {found.interval.high:.4f}"
        '0.0382, from 0.0042 to 0.0611'
    """
    if len(words) < 2:
        raise ComparisonError(
            f"to say anything of other words takes two at least, not {len(words)}"
        )
    wrong = [len(losses) for losses in (*first, *second) if len(losses) != len(words)]
    if wrong:
        raise ComparisonError(f"there are {len(words)} words, but losses of {wrong[0]}")
    apart = np.mean(first, axis=0) - np.mean(second, axis=0)
    characters = np.array([len(word) + 1 for word in words], np.float64)

    def mean(apart: Any, characters: Any, axis: int) -> Any:
        return apart.sum(axis=axis) / characters.sum(axis=axis)

    found = float(mean(apart, characters, axis=0))
    lower, higher = int((apart < 0).sum()), int((apart > 0).sum())
    if np.ptp(apart / characters) == 0:  # one and the same network, say
        return WordDifference(len(words), found, Interval(found, found), lower, higher)
    bootstrap = scipy.stats.bootstrap(
        (apart, characters),
        mean,
        paired=True,
        vectorized=True,
        confidence_level=LEVEL,
        n_resamples=_RESAMPLES,
        batch=500,
        rng=np.random.default_rng(0),  # so that the same networks have the same interval
    )
    interval = Interval(*map(float, bootstrap.confidence_interval))
    return WordDifference(len(words), found, interval, lower, higher)


def together(mean: float, *intervals: Interval) -> Interval:
    """The interval of a difference that several independent kinds of chance blur, about.

    Other seeds and other words say: their variances add up, and so do the squares of the halves of
    their intervals. What is due to both is counted with each, so that it is rather too wide.

    Example:
        >>> together(0.5, Interval(0.2, 0.8), Interval(0.1, 0.9))
        Interval(low=0.0, high=1.0)
    """
    half = math.hypot(*((interval.high - interval.low) / 2 for interval in intervals))
    return Interval(mean - half, mean + half)
