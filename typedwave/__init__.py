"""typedwave: shape-checked, typed tensor layers for PyTorch, and the means to check anyone's."""

from typedwave import nn
from typedwave.contract import Module, no_checks, set_checks, typed
from typedwave.errors import (
    AnnotationError,
    ContractError,
    IdOutOfRangeError,
    ShapeError,
    StateError,
)

__all__ = [
    "AnnotationError",
    "ContractError",
    "IdOutOfRangeError",
    "Module",
    "ShapeError",
    "StateError",
    "nn",
    "no_checks",
    "set_checks",
    "typed",
]
