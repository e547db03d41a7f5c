"""Where in a model a module is, found when an error needs it and at no cost before."""

import sys
from collections.abc import Iterator
from types import FrameType

from torch.nn import Module

__all__ = ["callers", "clean", "home_of", "path_of", "where"]

# What torch.compile and torch.export put around a model.
_WRAPPERS = ("_orig_mod", "_export_root")


def home_of(module: Module) -> tuple[Module | None, str]:
    """The outermost model that is being called and holds ``module``, and its path in there.

    The models are read off the stack of Python frames: nothing is recorded while all is well,
    and modules that know nothing of typedwave count too.
    """
    for root in reversed(list(callers())):
        for path, inner in root.named_modules() if "_modules" in vars(root) else ():
            if inner is module:
                return root, clean(path)
    return None, ""


def path_of(module: Module) -> str:
    """The path of ``module`` in the outermost model that is being called, or ``""``."""
    return home_of(module)[1]


def clean(path: str) -> str:
    """A path without what compilers put around a model."""
    return ".".join(part for part in path.split(".") if part not in _WRAPPERS)


def where(module: Module) -> str:
    """Path and type for the first line of an error: ``layers.2 (Linear)``."""
    path, name = path_of(module), type(module).__name__
    return f"{path} ({name})" if path else name


def callers() -> Iterator[Module]:
    """The modules whose methods are running, innermost first."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Module):
            yield owner
        frame = frame.f_back
