"""Sampling: new words from a network, many at a time, a position at a time."""

import math
from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from typedwave.contract import typed
from typedwave.lab.evaluation import evaluating
from typedwave.lab.words.corpus import Vocabulary
from typedwave.models import SequenceModel

__all__ = ["choose", "sample", "sample_new"]

_LONGEST = 100  # characters; an untrained network may never end a word
_AT_ONCE = 4_096  # words; more would not be faster
_SIZES = 256  # words: what a large batch is a multiple of
_FEW = 64  # words, of which each that has ended leaves the batch at once


@typed
def choose(
    logits: Float[Tensor, "B V"],
    *,
    generator: torch.Generator,
    temperature: float | int = 1.0,
    top_k: int | None = None,
    top_p: float | int = 1.0,
) -> Int64[Tensor, "B"]:
    """An id for each row, drawn by the chances that the logits stand for.

    Args:
        logits: Of the next id.
        generator: Of the draws.
        temperature: What the logits are divided by: less than 1 keeps to what is likely, more is
            bolder, 0 takes the likeliest.
        top_k: Only so many of the likeliest are drawn from.
        top_p: Only the likeliest are drawn from, as many as it takes to have this chance together.

    Raises:
        ValueError: A number is out of range, or the logits are not finite, as those of a network
            that diverged; minus infinity is a chance of 0.

    Source:
        Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020), for top_p.
    """
    check_choice(temperature, top_k, top_p)
    # In half precision some ids would never be drawn, and a temperature may be tiny or huge.
    plain = temperature in (0, 1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32 if plain else torch.float64))
    if top_k is not None and top_k < logits.shape[-1]:
        values, places = logits.topk(top_k, dim=-1)
        logits = torch.full_like(logits, -math.inf).scatter(-1, places, values)
    if temperature == 0:
        _chances(logits)
        return logits.argmax(dim=-1)
    if not plain:
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / temperature
    chances = _chances(logits)
    if top_p < 1:
        ordered, order = chances.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        chances = torch.zeros_like(chances).scatter(
            -1, order, ordered.masked_fill(before >= top_p, 0.0)
        )
    # As torch.multinomial for one draw, which takes several times as long.
    until = chances.double().cumsum(-1)  # so that no draw is beyond the last chance
    drawn = torch.rand(len(chances), 1, generator=generator, dtype=until.dtype, device=until.device)
    ids = torch.searchsorted(until, drawn * until[:, -1:], right=True)
    return ids.squeeze(-1)


def check_choice(temperature: float, top_k: int | None, top_p: float) -> None:
    """Refuses numbers that `choose` cannot draw by.

    Raises:
        ValueError: A number is out of range.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is {temperature}, but has to be at least 0 and finite")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}, but has to be at least 1")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}, but has to be more than 0 and at most 1")


def _chances(logits: Tensor) -> Tensor:
    chances = torch.softmax(logits, dim=-1)
    if not chances.isfinite().all():
        raise ValueError("the network gives no probabilities: its logits are not finite")
    return chances


def sample(
    model: SequenceModel,
    vocabulary: Vocabulary,
    count: int,
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> list[str]:
    """Words drawn from a model character by character, in eval mode, all in one batch.

    A character costs one position: the model streams. Words that have ended leave the batch.

    Args:
        model: Of sequences; `typedwave.models.sequence_model` makes one of any network.
        vocabulary: Of the model.
        count: How many words, at least 0.
        generator: Of the draws: the same state gives the same words.
        temperature: See `choose`.
        top_k: See `choose`.
        top_p: See `choose`.

    Raises:
        ValueError: A number is out of range, or the logits are not finite.

    Returns:
        The words, some perhaps empty or equal. One that has not ended after 100 characters is
        cut there.
    """
    check_choice(temperature, top_k, top_p)
    if count < 0:
        raise ValueError(f"count is {count}, but has to be at least 0")
    words: list[list[int]] = []
    with evaluating(model):
        while len(words) < count:
            batch = min(_AT_ONCE, count - len(words))
            words += _drawn(
                model,
                batch,
                generator,
                {"temperature": temperature, "top_k": top_k, "top_p": top_p},
            )
    return [vocabulary.decode(ids) for ids in words]


def _drawn(
    model: SequenceModel, count: int, generator: torch.Generator, choice: dict[str, Any]
) -> list[list[int]]:
    state = model.initial_state(count)
    drawn = torch.zeros(_LONGEST, count, dtype=torch.int64, device=generator.device)
    rows = torch.arange(count, device=generator.device)  # that are in the batch still
    ids = torch.zeros_like(rows)
    going_on = torch.ones_like(rows, dtype=torch.bool)
    for column in drawn:
        logits = model.stream(ids[:, None], state)[:, 0]
        ids = choose(logits, generator=generator, **choice) * going_on
        column[rows] = ids
        going_on = ids != 0
        left = int(going_on.sum())
        if left == 0:
            break
        # Not for each that has ended, as all others are moved; and to a few sizes only, whose
        # contracts are remembered: some that have ended stay.
        few = len(rows) <= _FEW
        size = left if few else -(-left // _SIZES) * _SIZES
        if size < len(rows) and (few or size <= 0.75 * len(rows)):
            staying = (~going_on).byte().argsort(stable=True)[:size]
            state.select(staying)
            rows, ids, going_on = rows[staying], ids[staying], going_on[staying]
    lengths = (drawn != 0).sum(0)
    rows_of_ids = drawn[: int(lengths.max())].T.tolist()
    return [row[:n] for row, n in zip(rows_of_ids, lengths.tolist(), strict=True)]


def sample_new(
    model: SequenceModel,
    vocabulary: Vocabulary,
    count: int,
    *,
    known: Collection[str],
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> list[str]:
    """Different words that are not in ``known``, in the order they are drawn.

    Args:
        model: See `sample`.
        vocabulary: Of the model.
        count: How many words.
        known: Words to leave out, those that it was trained on say.
        generator: Of the draws.
        temperature: See `choose`.
        top_k: See `choose`.
        top_p: See `choose`.

    Returns:
        The words; fewer than ``count`` if the model says hardly anything else than what is
        known or was drawn before, after 50 draws for each that was asked for.
    """
    known, found = frozenset(known), dict[str, None]()
    for _ in range(50):
        drawn = sample(
            model,
            vocabulary,
            count,
            generator=generator,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
        )
        found |= dict.fromkeys(word for word in drawn if word and word not in known)
        if len(found) >= count:
            break
    return list(found)[:count]
