"""The contract on what a module remembers: its annotated parameters, buffers and tensors."""

import functools
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter

from typedwave.contract.axes import braces
from typedwave.contract.facts import asked_of_self
from typedwave.contract.hints import Claim, alternatives, array_hints, is_array, state_hints
from typedwave.contract.written import write_facts
from typedwave.errors import AnnotationError

__all__ = ["StateContract"]

_ABSENT: Final = "absent"
_LAZY: Final = (UninitializedBuffer, UninitializedParameter)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class StateContract:
    """The annotated state of one class; the annotations are resolved when it is first used.

    An annotation says ``Parameter`` for readers and type checkers. The judge is asked about a
    Tensor, since ``torch.func.functional_call`` puts plain tensors in a parameter's place.
    """

    def __init__(self, cls: type) -> None:
        self._cls = cls

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The array annotations of the class and its bases, by attribute."""
        return {name: _as_tensor(hint) for name, hint in state_hints(self._cls).items()}

    @functools.cached_property
    def facts(self) -> Callable[[torch.nn.Module], tuple[Any, ...]]:
        """Reads what `read` reads, faster where each attribute is at its expected place."""
        hints = state_hints(self._cls)
        arrays = [array for hint in hints.values() for array in array_hints(hint)]
        if any(any(braces(array.dim_str)) for array in arrays):
            return self.read
        places = {
            name: "parameters" if any(map(_is_parameter, array_hints(hint))) else "buffers"
            for name, hint in hints.items()
        }
        return write_facts(places, self.read, self._cls)

    def read(
        self, module: torch.nn.Module, instead: Mapping[str, Any] = _NOTHING
    ) -> tuple[Any, ...]:
        """The class; class, dtype, shape and device of each attribute; what ``{...}`` asks for.

        What is not there, not yet built or computed on access (a parametrization) is absent.
        A tracer knows ``instead`` what the module will hold once its trace has run.
        """
        places = (instead, module._parameters, module._buffers, module.__dict__)
        found = [
            _fact(next((place[name] for place in places if name in place), _ABSENT))
            for name in self.hints
        ]
        return (self._cls, *found, *self._asked(module))

    def claims(self, facts: tuple[Any, ...]) -> list[Claim]:
        """What the annotations say of a state, on tensors without data that stand in for it."""
        return [
            Claim(name, _stand_in(fact), hint)
            for (name, hint), fact in zip(self.hints.items(), facts[1:], strict=False)
            if fact is not _ABSENT
        ]

    def moved(self, before: tuple[Any, ...], after: tuple[Any, ...]) -> list[str]:
        """The attributes that are on another device than before."""
        return [
            name
            for name, old, new in zip(self.hints, before[1:], after[1:], strict=False)
            if type(old) is tuple and type(new) is tuple and old[-1] != new[-1]
        ]

    @functools.cached_property
    def _asked(self) -> Callable[[Any], tuple[Any, ...]]:
        asked = asked_of_self(self.hints.values(), ())
        if asked is None:
            raise AnnotationError(
                f"{self._cls.__qualname__}: in the shape of an attribute, {{...}} can ask for "
                "self only"
            )
        return asked


def _fact(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value if value is None or value is _ABSENT else value.__class__
    return (
        _ABSENT
        if isinstance(value, _LAZY)
        else (
            value.__class__,
            value.dtype,
            value.shape,
            value.device,
        )
    )


def _stand_in(fact: Any) -> Any:
    if type(fact) is tuple:
        _, dtype, shape, _ = fact
        return torch.empty(shape, dtype=dtype, device="meta")
    return fact


def _is_parameter(array: Any) -> bool:
    return isinstance(array.array_type, type) and issubclass(array.array_type, Parameter)


def _as_tensor(hint: Any) -> Any:
    if is_array(hint):
        return hint.dtype[Tensor, hint.dim_str] if _is_parameter(hint) else hint
    if any(array_hints(hint)):
        return functools.reduce(operator.or_, map(_as_tensor, alternatives(hint)))
    return hint
