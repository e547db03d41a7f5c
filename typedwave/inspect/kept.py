"""What a model holds, given back as it was after a call that is only for looking."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

__all__ = ["LAZY", "state_kept", "unbuilt"]

LAZY: Final = (UninitializedBuffer, UninitializedParameter)
_CONTAINERS: Final = (dict, OrderedDict, defaultdict, list, set, deque)


@contextmanager
def state_kept(model: Module, lend: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Gives a model, on the way out, the attributes, hooks and classes it had on the way in.

    So whatever a forward assigns or appends is gone afterwards. Tensors are lent: what is written
    into one, or into a generator, is gone as well. What other objects do to themselves stays.

    Args:
        model: The model.
        lend: What stands in for a tensor meanwhile; the tensor itself if it has to be that one.
    """
    kept = _Kept(lend)
    try:
        kept.add(model)
        yield
    finally:
        kept.give_back()


def unbuilt(tensor: Any, device: torch.device | str) -> Tensor:
    """Another of a lazy module's tensors; torch cannot copy a buffer of those (2.13)."""
    other: Tensor = type(tensor)(tensor.requires_grad, device, tensor.dtype)
    return other


class _Kept:
    def __init__(self, lend: Callable[[Tensor], Tensor]) -> None:
        self._lend = lend
        self._lent: dict[int, Tensor] = {}
        self._classes: list[tuple[Module, type]] = []
        self._contents: dict[int, tuple[Any, Any]] = {}
        self._generators: list[tuple[torch.Generator, Tensor]] = []

    def add(self, value: Any) -> None:
        if isinstance(value, Module):
            self._add_container(vars(value))
            self._classes.append((value, type(value)))
        elif type(value) in _CONTAINERS:
            self._add_container(value)
        elif isinstance(value, torch.Generator):
            self._generators.append((value, value.get_state()))

    def _add_container(self, container: Any) -> None:
        if id(container) in self._contents:
            return
        content = container.copy()
        self._contents[id(container)] = container, content
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            if not isinstance(value, Tensor):
                self.add(value)
            elif not isinstance(container, set):
                if id(value) not in self._lent:
                    self._lent[id(value)] = self._lend(value)
                container[key] = self._lent[id(value)]

    def give_back(self) -> None:
        for module, cls in self._classes:
            module.__class__ = cls  # a lazy module becomes another
        for container, content in self._contents.values():
            container.clear()
            fill = container.extend if isinstance(container, list | deque) else container.update
            fill(content)
        for generator, state in self._generators:
            generator.set_state(state)
