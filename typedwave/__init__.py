"""typedwave: shape-checked, typed tensor layers for PyTorch, and the means to check anyone's.

PYTEST_DONT_REWRITE: the plugin of pytest imports nothing of this package until it is asked to.
"""

from typedwave import nn
from typedwave.contract import (
    Module,
    install_import_hook,
    load_ipython_extension,
    no_broadcast,
    no_checks,
    set_checks,
    typed,
    unload_ipython_extension,
)
from typedwave.errors import (
    AnnotationError,
    BroadcastError,
    ContractError,
    IdOutOfRangeError,
    ShapeError,
    StateError,
)

__all__ = [
    "AnnotationError",
    "BroadcastError",
    "ContractError",
    "IdOutOfRangeError",
    "Module",
    "ShapeError",
    "StateError",
    "install_import_hook",
    "load_ipython_extension",
    "nn",
    "no_broadcast",
    "no_checks",
    "set_checks",
    "typed",
    "unload_ipython_extension",
]
