"""Trainings that end in the middle of a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn import Module


@contextmanager
def interrupted(
    network: Module,
    training: Any,
    step: int | None,
    error: type[BaseException] = KeyboardInterrupt,
) -> Iterator[None]:
    """Ends the first forward of a step, unless it is None."""

    def hook(module: Module, args: tuple[Any, ...]) -> None:
        if module.training and training.step == step:
            handle.remove()
            raise error

    handle = network.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def stopping(*at: int, error: type[BaseException] = KeyboardInterrupt):
    """A watcher who is ended in the forward of a step: of the first network at the first, ..."""
    left = list(at)

    def watch(experiment, points) -> bool:
        step = left.pop(0) if left else None
        with interrupted(experiment.network, experiment, step, error):
            try:
                for _ in points:
                    pass
            except KeyboardInterrupt:
                return True
        return False

    return watch
