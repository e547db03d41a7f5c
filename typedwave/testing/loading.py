"""Modules by name, ``package.module:factory``, and the declarations that a factory carries."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Final, TypeVar

from typedwave.testing.calls import said
from typedwave.testing.declared import CheckError

__all__ = ["declarations_of", "declare", "load"]

T = TypeVar("T", bound=Callable[..., Any])
_NAME: Final = "__typedwave_declarations__"


def declare(**declarations: Any) -> Callable[[T], T]:
    """Lets a factory, or a class of modules, carry its declarations.

    Args:
        **declarations: See `Declared`. Those that are given to ``check`` come before them.

    Example:
        >>> from torch import nn
        >>> @declare(couples=True, sizes={"C": 8})
        ... class Normalize(nn.BatchNorm1d): ...
    """

    def mark(made: T) -> T:
        setattr(made, _NAME, declarations)
        return made

    return mark


def declarations_of(source: Any) -> Mapping[str, Any]:
    """What a factory, a class or a module of it carries."""
    found: Mapping[str, Any] = getattr(source, _NAME, {})
    return found


def load(target: str) -> Any:
    """What is called ``package.module:factory``; the current directory is looked in first.

    Raises:
        CheckError: The name is not of that form, or nothing has it.
    """
    module, colon, path = target.partition(":")
    if not (module and colon and path):
        raise CheckError(f"{target!r} has no colon with a name behind it: package.module:factory")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise CheckError(f"{target}: {module} cannot be imported: {said(error)}") from error
    try:
        return reduce(getattr, path.split("."), found)
    except AttributeError as error:
        raise CheckError(f"{target}: {error}") from None
