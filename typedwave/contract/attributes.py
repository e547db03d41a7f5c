"""Annotated state, read from where it is.

To Python a parameter or buffer is no attribute of its module: only when every other place has
been searched does `torch.nn.Module.__getattr__` look for it, which takes three times as long as
reading it in place. An annotation tells where to look first.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Final

from torch.nn import Module

__all__ = ["Attribute", "read_in_place"]

_TORCH_GETATTR: Final = Module.__getattr__
_NOTHING: Final = object()


class Attribute:
    """An attribute of the modules of a class, which is read as torch does.

    It has no ``__set__``, so that what is in the ``__dict__`` of a module goes before it.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, module: Any, cls: Any = None) -> Any:
        if module is None:  # the class itself has no such attribute
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {self._name!r}")
        return module.__getattr__(self._name)


class _ParameterInPlace(Attribute):
    """One that is a parameter, unless it turns out to be elsewhere.

    While a model is traced by torch.fx, its ``__getattr__`` is in the place of torch's.
    """

    __slots__ = ()

    def __get__(self, module: Any, cls: Any = None) -> Any:
        if module is None or Module.__getattr__ is not _TORCH_GETATTR:
            return super().__get__(module, cls)
        value = module._parameters.get(self._name)
        if value is None and self._name not in module._parameters:
            return super().__get__(module, cls)
        return value


class _BufferInPlace(Attribute):
    """The same for a buffer; written twice, since to ask which place it is takes as long."""

    __slots__ = ()

    def __get__(self, module: Any, cls: Any = None) -> Any:
        if module is None or Module.__getattr__ is not _TORCH_GETATTR:
            return super().__get__(module, cls)
        value = module._buffers.get(self._name)
        if value is None and self._name not in module._buffers:
            return super().__get__(module, cls)
        return value


_IN_PLACE: Final = {"parameters": _ParameterInPlace, "buffers": _BufferInPlace}


def read_in_place(cls: type[Module], places: Mapping[str, str]) -> None:
    """Has the annotated state of the modules of a class read from its place.

    What the class or a base defines under a name of its state is let be, and where a class has
    a ``__getattr__`` of its own, that is asked.

    Args:
        cls: The class, which is changed in place.
        places: Where each attribute is expected: ``"parameters"`` or ``"buffers"``.
    """
    asks = cls.__getattr__ is not _TORCH_GETATTR
    inherited = [name for base in cls.__mro__ if asks for name in vars(base)]
    for name in {*places, *inherited}:
        there = inspect.getattr_static(cls, name, _NOTHING)
        if there is _NOTHING or isinstance(there, Attribute):
            kind = Attribute if asks else _IN_PLACE[places[name]]
            setattr(cls, name, kind(name))
