"""Trained networks put together to one."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typedwave.lab.checkpoint import CHECKPOINT, Checkpoint, save_checkpoint
from typedwave.lab.corpus import split
from typedwave.lab.experiment import record_of, tensors_of, write_record
from typedwave.lab.recipe import PoolRecipe
from typedwave.models import PoolConfig, pool_of

__all__ = ["pooled", "save_pool"]


def pooled(checkpoints: Sequence[Checkpoint], config: PoolConfig) -> Checkpoint:
    """The pool of some networks.

    Args:
        checkpoints: Of the members, in the order of the config.
        config: Their configs and weights.

    Raises:
        ValueError: The vocabularies differ, or the networks are not those of the config.
    """
    if not checkpoints:
        raise ValueError("a pool needs a member")
    if len({checkpoint.vocabulary for checkpoint in checkpoints}) != 1:
        raise ValueError("the members of a pool need one vocabulary, but theirs differ")
    if tuple(checkpoint.network.config for checkpoint in checkpoints) != config.members:
        raise ValueError("the networks are not the members that the config of the pool describes")
    pool = pool_of(config, [checkpoint.network for checkpoint in checkpoints])
    return Checkpoint(pool.eval(), checkpoints[0].vocabulary)


def save_pool(
    folder: str | os.PathLike[str],
    checkpoint: Checkpoint,
    words: Sequence[str],
    recipe: PoolRecipe,
    *,
    corpus: str,
) -> dict[str, Any]:
    """Writes checkpoint and record of a pool into a folder; returns the record.

    Args:
        folder: Where to.
        checkpoint: Of the pool.
        words: The corpus.
        recipe: How the members were trained.
        corpus: What the words are, for the record.
    """
    splits = split(words)
    data = tensors_of(checkpoint.network, checkpoint.vocabulary, splits)
    record = record_of(checkpoint.network, splits, data, corpus=corpus)
    record["recipe"] = dataclasses.asdict(recipe)
    save_checkpoint(Path(folder) / CHECKPOINT, checkpoint)
    write_record(Path(folder), record)
    return record
