"""Checks on or off: for a process, for a block of code, for a model."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from torch.nn import Module

from typedwave.contract.written import NAMES, PREFIX

__all__ = [
    "ATTRIBUTE",
    "COMPILED",
    "OFF",
    "VARIABLE",
    "Memory",
    "checks_are_on",
    "is_off",
    "no_checks",
    "set_checks",
]

VARIABLE: Final = "TYPEDWAVE_CHECKS"
ATTRIBUTE: Final = "_typedwave"
"""Where a module keeps its memory."""


class Memory:
    """What a module remembers of its last good call; a copy of the module remembers nothing.

    What is remembered differs by class of module and is in the slots of a class derived from
    this one.
    """

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Memory":
        return self if self is OFF else Memory()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_switched_off if self is OFF else Memory), ()


OFF: Final = Memory()
"""The memory of a module that is not checked."""
COMPILED: Final = Memory()
"""The memory of one that was compiled in place: a call of it runs what was compiled."""

_paused: ContextVar[bool] = ContextVar("typedwave_paused", default=False)
_lock = threading.Lock()
# Looked at by every call: how many blocks are running without checks, in any thread, and whether
# a module was ever switched off. Only then is_off is asked.
NAMES[f"{PREFIX}paused"] = 0
NAMES[f"{PREFIX}off"] = False


def checks_are_on() -> bool:
    """Whether ``TYPEDWAVE_CHECKS`` lets functions and classes be checked.

    Raises:
        ValueError: It is set to something else than ``on`` or ``off``.
    """
    value = os.environ.get(VARIABLE, "on")
    if value not in ("on", "off"):
        raise ValueError(f"the environment variable {VARIABLE} is {value!r}; it takes on or off")
    return value == "on"


@contextmanager
def no_checks() -> Iterator[None]:
    """Runs a block, or a function that it decorates, without checks.

    Calls in the block go to the undecorated functions. Other threads are checked on, and what
    has been compiled stays as it is.

    Example:
        >>> import torch
        >>> import typedwave
        >>> layer = typedwave.nn.Tanh()
        >>> with typedwave.no_checks():
        ...     layer(torch.zeros(3).double()).dtype
        torch.float64
    """
    token = _paused.set(True)
    _count(1)
    try:
        yield
    finally:
        _count(-1)
        _paused.reset(token)


def set_checks(module: Module, on: bool) -> None:
    """Switches the checks of a module, and of all modules inside of it, on or off.

    Off, a call goes to the undecorated forward. Copies and pickles keep the setting; what has
    been compiled stays as it is.

    Example:
        >>> import torch
        >>> import typedwave
        >>> layer = typedwave.nn.Linear(3, 2)
        >>> typedwave.set_checks(layer, False)
        >>> layer(torch.zeros(7, 5))
        Traceback (most recent call last):
        RuntimeError: mat1 and mat2 shapes cannot be multiplied (7x5 and 3x2)
    """
    for inner in module.modules():
        if not on:
            vars(inner)[ATTRIBUTE] = _switched_off()
        elif vars(inner).get(ATTRIBUTE) is OFF:
            compiled = inner._compiled_call_impl is not None
            vars(inner)[ATTRIBUTE] = COMPILED if compiled else Memory()


def is_off(owner: Any) -> bool:
    """Whether a call here and now, of a method of ``owner``, goes unchecked."""
    return _paused.get() or getattr(owner, "__dict__", {}).get(ATTRIBUTE) is OFF


def _switched_off() -> Memory:
    NAMES[f"{PREFIX}off"] = True
    return OFF


def _count(change: int) -> None:
    with _lock:
        NAMES[f"{PREFIX}paused"] += change
