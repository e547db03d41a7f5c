"""Axis names: the values of a call, said in the names that its annotations give to their axes."""

import dataclasses
import inspect
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from torch import Tensor
from torch.nn import Module

from typedwave.contract.annotations import function_hints
from typedwave.contract.axes import Axis, Bindings, read_axes
from typedwave.contract.hints import (
    Claim,
    alternatives,
    describe,
    describe_array,
    elements,
    is_array,
    record_fields,
)

__all__ = ["Forward", "NamedCall"]

LONGEST: Final = 8
"""Elements of a list, or fields, that are shown; the others are counted."""


def _takes_anything(*args: Any, **kwargs: Any) -> None: ...


class Forward:
    """The signature and the hints of a module's forward; no hints where they cannot be read."""

    def __init__(self, module: Module) -> None:
        try:
            written = inspect.unwrap(module.forward)
            self.hints = function_hints(getattr(written, "__func__", written))
            self._signature = inspect.signature(module.forward)
        except Exception:  # built in, scripted, or with names that cannot be resolved
            self.hints = {}
            self._signature = inspect.signature(_takes_anything)
        parameters = self._signature.parameters.values()
        self._positional = [p for p in parameters if p.kind < p.KEYWORD_ONLY]
        self._rest = next((p.name for p in parameters if p.kind == p.VAR_KEYWORD), "")

    def hint_at(self, position: int) -> Any:
        """The hint of the positional argument there, None if there is none."""
        last = self._positional[-1] if self._positional else None
        if last is not None and last.kind == last.VAR_POSITIONAL:
            position = min(position, len(self._positional) - 1)
        fits = position < len(self._positional)
        return self.hints.get(self._positional[position].name) if fits else None

    def hint_of(self, name: str) -> Any:
        """The hint of the argument of that name, None if there is none."""
        return self.hints.get(name if name in self._signature.parameters else self._rest)

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults among them; none if the call does not fit."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return {}
        bound.apply_defaults()
        return bound.arguments


class NamedCall:
    """One call of a module; where its annotations give no names, or do not fit, it has numbers."""

    def __init__(self, module: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._forward = Forward(module)
        given = self._forward.arguments(args, kwargs)
        self._names = _Names(Bindings({"self": module, **given}))

    def inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The arguments, ``f32[B=32, T=8, C=24], mask=bool[T=8]``, without named ones of None."""
        shown = [self._names.shown(value, self._forward.hint_at(i)) for i, value in enumerate(args)]
        shown += [
            f"{name}={self._names.shown(value, self._forward.hint_of(name))}"
            for name, value in kwargs.items()
            if value is not None
        ]
        return ", ".join(shown)

    def output(self, value: Any) -> str:
        """The result; its names are those of the arguments, which have to be shown before."""
        return self._names.shown(value, self._forward.hints.get("return"))


class _Names:
    """Values shown one after the other, in names that mean the same size in all of them."""

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings

    def shown(self, value: Any, hint: Any) -> str:
        if isinstance(value, Tensor):
            return self._tensor(value, hint)
        if (names := _fields(value)) is not None:
            own, hints = _Names(Bindings({})), record_fields(type(value))
            fields = ((name, getattr(value, name, None)) for name in names)
            parts = (f"{name}={own.shown(part, hints.get(name))}" for name, part in fields)
            return f"{type(value).__name__}({_joined(parts, len(names))})"
        if isinstance(value, Mapping):
            inside = _inside(value, hint)
            parts = (
                f"{key}: {self.shown(part, inside.get(f'[{key!r}]'))}"
                for key, part in value.items()
            )
            return f"{{{_joined(parts, len(value))}}}"
        if isinstance(value, list | tuple | deque):
            inside = _inside(value, hint)
            parts = (self.shown(part, inside.get(f"[{i}]")) for i, part in enumerate(value))
            return f"({_joined(parts, len(value))})"
        return describe(value)

    def _tensor(self, tensor: Tensor, hint: Any) -> str:
        for array in filter(is_array, alternatives(hint)):
            bindings = self._bindings.copy()
            axes = read_axes(array.dim_str)
            try:
                fits = isinstance(tensor, array.dtype[array.array_type, "..."])
                if fits and not bindings.misfits(axes, tensor.shape, ""):
                    shape = _named(axes, tensor.shape, bindings)
                    self._bindings = bindings
                    return describe_array(tensor.dtype, shape)
            except Exception:  # what the braces ask for is not there
                continue
        try:
            return describe(tensor)
        except RuntimeError:  # a nested one has no shape
            return f"nested {describe_array(tensor.dtype, [])[:-2]}"


def _named(axes: tuple[Axis, ...], shape: Iterable[int], bindings: Bindings) -> list[str]:
    sizes = [*shape]
    named: list[str] = []
    for i, axis in enumerate(axes):
        if axis.variadic:
            count = len(sizes) - (len(axes) - i - 1)
            rest, sizes = sizes[:count], sizes[count:]
            many = f"*{axis.name}={rest[0] if count == 1 else rest}"
            named += [many] if axis.name else map(str, rest)
        else:
            named.append(_with_name(axis, sizes.pop(0), bindings))
    return named


def _with_name(axis: Axis, size: int, bindings: Bindings) -> str:
    if axis.expression is None:
        return f"{axis.name}={size}" if axis.name else str(size)
    text, _ = bindings.evaluate(axis)
    if text == str(size):  # braces alone: what they ask for is the better name
        text = axis.text.strip("#{}").removeprefix("self.")
    return f"{text}={size}"


def _fields(value: Any) -> list[str] | None:
    """The names of the fields of a dataclass or a NamedTuple, None if it is neither."""
    if isinstance(value, tuple):
        return list(value._fields) if hasattr(value, "_fields") else None
    if isinstance(value, type | Mapping) or not dataclasses.is_dataclass(value):
        return None  # some mappings are dataclasses whose fields that are None are not in there
    return [field.name for field in dataclasses.fields(value)]


def _inside(value: Any, hint: Any) -> dict[str, Any]:
    """The hints of what is in a container, by how it is reached: ``[0]``."""
    return {claim.subject: claim.hint for claim in elements(Claim("", value, hint))}


def _joined(parts: Iterable[str], count: int) -> str:
    more = [f"{count - LONGEST} more"] if count > LONGEST else []
    return ", ".join([*islice(parts, LONGEST), *more])
