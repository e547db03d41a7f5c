"""The checking: contracts on calls and on what a module remembers."""

from typedwave.contract.broadcast import no_broadcast
from typedwave.contract.decorator import typed
from typedwave.contract.hints import describe
from typedwave.contract.importing import install_import_hook
from typedwave.contract.location import where
from typedwave.contract.module import Module, typed_class
from typedwave.contract.notebook import load_ipython_extension, unload_ipython_extension
from typedwave.contract.rules import unfit
from typedwave.contract.switch import no_checks, set_checks

__all__ = [
    "Module",
    "describe",
    "install_import_hook",
    "load_ipython_extension",
    "no_broadcast",
    "no_checks",
    "set_checks",
    "typed",
    "typed_class",
    "unfit",
    "unload_ipython_extension",
    "where",
]
