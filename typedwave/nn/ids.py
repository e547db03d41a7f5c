"""Ids that are not rows of a table."""

from torch import Tensor
from torch.nn import Module

from typedwave.contract import where
from typedwave.errors import IdOutOfRangeError

__all__ = ["out_of_range"]


def out_of_range(
    module: Module, ids: Tensor, count: int, because: str, *, name: str = "x"
) -> IdOutOfRangeError:
    """The error for ids of which at least one is not 0 to ``count - 1``.

    Args:
        module: Which refuses them.
        ids: Of any shape.
        count: How many there are.
        because: What says so: ``"num_embeddings"``.
        name: Of the argument.
    """
    wrong = ((ids < 0) | (ids >= count)).nonzero()
    first = wrong[0].tolist()
    here = f" at position {first}" if first else ""
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return IdOutOfRangeError(
        f"{where(module)}: {name} holds the id {int(ids[tuple(first)])}{here}{more}; "
        f"ids are 0 to {count - 1}, as {because} = {count}"
    )
