"""The contract on what a module remembers: its annotated parameters, buffers and tensors."""

import functools
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter
from torch.nn.utils.parametrize import ParametrizationList

from typedwave.contract.annotations import state_hints
from typedwave.contract.axes import braces
from typedwave.contract.facts import asked_of_self
from typedwave.contract.hints import Claim, alternatives, array_hints, is_array
from typedwave.contract.written import write_facts
from typedwave.errors import AnnotationError

__all__ = ["StateContract"]

_ABSENT: Final = "absent"
_LAZY: Final = (UninitializedBuffer, UninitializedParameter)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

Facts = tuple[Any, ...]


class StateContract:
    """The annotated state of one class; the annotations are resolved when it is first used.

    An annotation may say ``Parameter`` for readers and type checkers. The judge is asked about a
    Tensor, since ``torch.func.functional_call`` puts plain tensors in a parameter's place.
    """

    def __init__(self, cls: type) -> None:
        self._cls = cls

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The array annotations of the class and its bases, by attribute."""
        return {name: _as_tensor(hint) for name, hint in state_hints(self._cls).items()}

    @functools.cached_property
    def facts(self) -> Callable[[Module], Facts]:
        """Reads what `read` reads, faster where each attribute is at its expected place."""
        if not self.is_told_by_places:
            return self.read
        return write_facts(self.places, self.read, self._cls)

    @functools.cached_property
    def places(self) -> Mapping[str, str]:
        """Where each attribute is expected: ``"parameters"`` or ``"buffers"``."""
        return {
            name: "parameters" if any(map(_is_parameter, array_hints(hint))) else "buffers"
            for name, hint in state_hints(self._cls).items()
        }

    @functools.cached_property
    def is_told_by_places(self) -> bool:
        """Whether what is there tells the facts, since no ``{...}`` asks for more."""
        hints = state_hints(self._cls).values()
        arrays = [array for hint in hints for array in array_hints(hint)]
        return not any(any(braces(array.dim_str)) for array in arrays)

    def read(self, module: Module, instead: Mapping[str, Any] = _NOTHING) -> Facts:
        """The class; class, dtype, shape and device of each attribute; what ``{...}`` asks for.

        A tracer knows ``instead`` what the module will hold once its trace has run.
        """
        found = [_fact(value) for value in self._values(module, instead).values()]
        return (self._cls, *found, *self._asked(module))

    def held(self, module: Module) -> tuple[Any, ...]:
        """What is known to a module under the names of its annotated attributes."""
        return (*self._values(module, _NOTHING).values(),)

    def claims(self, module: Module, instead: Mapping[str, Any] = _NOTHING) -> list[Claim]:
        """What the annotations say of the state of a module."""
        values = {name: _made(value) for name, value in self._values(module, instead).items()}
        return [
            Claim(name, values[name], hint)
            for name, hint in self.hints.items()
            if values[name] is not _ABSENT
        ]

    def converted(self, module: Module, convert: Callable[[Tensor], Tensor]) -> list[Claim]:
        """What they would say if ``convert`` was applied to each tensor of the state.

        Only what has a dtype of its own in its annotation is looked at: ``Float`` may move.
        Tensors without data are converted, so that nothing happens to the module.
        """
        claims = []
        for claim in self.claims(module):
            if isinstance(claim.value, Tensor) and _names_a_dtype(claim.hint):
                value = convert(claim.value.detach().new_empty(0))
                stand_in = torch.empty(claim.value.shape, dtype=value.dtype, device="meta")
                claims.append(Claim(claim.subject, stand_in, claim.hint))
        return claims

    def past_claims(self, before: Facts, module: Module) -> list[Claim]:
        """What the annotations said of a state of which the facts are left.

        Where the facts are still the same, what is there now stands in for it; elsewhere a
        tensor without data does.
        """
        values = self._values(module, _NOTHING)
        claims = []
        for (name, hint), fact in zip(self.hints.items(), before[1:], strict=False):
            if fact is not _ABSENT:
                same = _fact(values[name]) == fact
                value = _made(values[name]) if same else _stand_in(fact)
                claims.append(Claim(name, value, hint))
        return claims

    def moved(self, before: Facts, after: Facts) -> dict[str, tuple[str, str]]:
        """The attributes that are on another device than before: from where and to where."""
        return {
            name: (str(old[-1]), str(new[-1]))
            for name, old, new in zip(self.hints, before[1:], after[1:], strict=False)
            if type(old) is tuple and type(new) is tuple and old[-1] != new[-1]
        }

    def _values(self, module: Module, instead: Mapping[str, Any]) -> dict[str, Any]:
        """The annotated attributes; what is not there or not yet built is absent."""
        own = vars(module)
        computed = own.get("_modules", _NOTHING).get("parametrizations", _NOTHING)
        places = (
            instead,
            own.get("_parameters", _NOTHING),
            own.get("_buffers", _NOTHING),
            own,
            computed,
        )
        values = {
            name: next((place[name] for place in places if name in place), _ABSENT)
            for name in self.hints
        }
        return {n: _ABSENT if isinstance(v, _LAZY) else v for n, v in values.items()}

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
    if isinstance(value, Tensor):
        return value.__class__, value.dtype, value.shape, value.device
    if isinstance(value, ParametrizationList):  # what it computes depends on what it holds
        return (value.__class__, *map(_fact, (*value.parameters(), *value.buffers())), None)
    if isinstance(value, list | tuple):
        return (value.__class__, *map(_fact, value), None)
    if isinstance(value, dict):
        return (value.__class__, *[(key, _fact(part)) for key, part in value.items()], None)
    return value if value is None or value is _ABSENT else value.__class__


def _made(value: Any) -> Any:
    """The value of an attribute, computed where it is parametrized.

    That may differ between modes: spectral norm improves its estimate at each access in training.
    So it is computed in eval mode, which changes nothing.
    """
    if not isinstance(value, ParametrizationList):
        return value
    modes = [(module, module.training) for module in value.modules()]
    try:
        with torch.no_grad():
            return value.eval()()
    finally:
        for module, training in modes:
            module.training = training


def _stand_in(fact: Any) -> Any:
    if type(fact) is tuple and len(fact) == 4 and isinstance(fact[1], torch.dtype):
        _, dtype, shape, _ = fact
        return torch.empty(shape, dtype=dtype, device="meta")
    return None


def _names_a_dtype(hint: Any) -> bool:
    """Whether a hint refuses a floating dtype that its author did not think of."""
    arrays = [array.dtype[Tensor, "..."] for array in array_hints(hint)]
    halves = torch.empty((), dtype=torch.bfloat16, device="meta")
    doubles = torch.empty((), dtype=torch.float64, device="meta")
    return not all(isinstance(halves, a) and isinstance(doubles, a) for a in arrays)


def _is_parameter(array: Any) -> bool:
    return isinstance(array.array_type, type) and issubclass(array.array_type, Parameter)


def _as_tensor(hint: Any) -> Any:
    if is_array(hint):
        kind = hint.array_type
        if isinstance(kind, type) and issubclass(kind, Tensor | torch.nn.Buffer):
            return hint.dtype[Tensor, hint.dim_str]
        return hint
    members = alternatives(hint)
    if len(members) > 1:
        return functools.reduce(operator.or_, map(_as_tensor, members))
    return _as_tensor(members[0]) if is_array(members[0]) else members[0]  # Annotated or not
