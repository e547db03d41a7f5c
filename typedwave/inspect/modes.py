"""Train and eval mode, given back as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn import Module

__all__ = ["modes_kept"]


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Gives every module of a model, on the way out, the mode it had on the way in.

    Each has a mode of its own: a frozen batch norm in a training model stays frozen.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
