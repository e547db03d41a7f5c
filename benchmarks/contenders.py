"""The network of the lecture in the ways that the benchmarks compare.

Each gives the modules of a network other classes and leaves their tensors: where in memory those
lie is worth a percent of a step.
"""

import functools
import importlib
import os
import sys
from types import ModuleType
from unittest.mock import patch

from beartype import beartype
from jaxtyping import jaxtyped
from torch.nn import Module

__all__ = ["checked", "jaxtyped_network", "unchecked"]

_without_checks = patch.dict(os.environ, TYPEDWAVE_CHECKS="off")
_checked_classes: dict[type, type] = {}


def checked(network: Module) -> Module:
    """The network as it was made, which was made one of the others since."""
    return _with_classes(network, lambda cls: _checked_classes.get(cls, cls))


def unchecked(network: Module) -> Module:
    """The network as it is with ``TYPEDWAVE_CHECKS=off``."""
    return _with_classes(network, lambda cls: _unchecked(_checked_classes.get(cls, cls)))


def jaxtyped_network(network: Module) -> Module:
    """The network, its forwards checked by jaxtyping with beartype alone."""
    return _with_classes(network, lambda cls: _jaxtyped(_checked_classes.get(cls, cls)))


def _with_classes(network, of):
    for module in network.modules():
        module.__class__ = of(type(module))
    return network


@functools.cache
def _unchecked(cls: type) -> type:
    twin = getattr(_package_without_checks()[cls.__module__], cls.__name__)
    _checked_classes[twin] = cls
    return twin


@functools.cache
@_without_checks
def _jaxtyped(cls: type) -> type:
    twin = _unchecked(cls)
    forward = jaxtyped(typechecker=beartype)(twin.forward)
    judged = type(cls.__name__, (twin,), {"forward": forward})
    _checked_classes[judged] = cls
    return judged


@functools.cache
@_without_checks
def _package_without_checks() -> dict[str, ModuleType]:
    """The modules of typedwave that are imported, imported once more."""
    with patch.dict(sys.modules):
        ours = [name for name in sys.modules if name.partition(".")[0] == "typedwave"]
        for name in ours:
            del sys.modules[name]
        return {name: importlib.import_module(name) for name in ours}
