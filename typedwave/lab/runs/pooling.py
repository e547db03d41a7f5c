"""Trained networks put together to one."""

from collections.abc import Sequence

from typedwave.lab.runs.checkpoint import Checkpoint
from typedwave.models import PoolConfig, pool_of

__all__ = ["pooled"]


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
