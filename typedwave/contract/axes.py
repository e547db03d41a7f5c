"""Axis names: reading the shape of a jaxtyping annotation and holding it against sizes.

jaxtyping is the judge of a shape. This module reads the same annotations to say what jaxtyping
does not: every axis that does not fit, and which tensor gave a name its size. It is also what
looks at the symbolic sizes of a compiler, which jaxtyping cannot.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from types import CodeType
from typing import Any

import torch

__all__ = ["Axis", "Binding", "Bindings", "braces", "read_axes"]


@dataclass(frozen=True)
class Axis:
    """One entry of a shape such as ``"*B T//{self.n} 3 _"``; exactly one of the three is set.

    Attributes:
        text: As it was written.
        name: The name that it binds or repeats.
        size: The number that it has to be.
        expression: The arithmetic that gives its size, with ``{...}`` still in it.
        variadic: Whether it stands for any number of axes (``*name``, ``...``).
        broadcastable: Whether a size of one is accepted as well (``#name``).

    An anonymous axis (``_``, ``...``) has none of the three: any size fits.
    """

    text: str
    name: str | None = None
    size: int | None = None
    expression: str | None = None
    variadic: bool = False
    broadcastable: bool = False


@dataclass(frozen=True)
class Binding:
    """The size of a name and the tensor that gave it."""

    size: int | tuple[int, ...]
    source: str
    broadcastable: bool = False


@dataclass
class Bindings:
    """The sizes that names have so far, and the values that ``{...}`` may ask for."""

    arguments: Mapping[str, Any]
    names: dict[str, Binding] = field(default_factory=dict)

    def copy(self) -> "Bindings":
        """Bindings that can be extended without touching these."""
        return Bindings(self.arguments, dict(self.names))

    def misfits(
        self, axes: Sequence[Axis], shape: Sequence[int], source: str
    ) -> list[tuple[int | None, Axis | None]]:
        """Binds what is new in ``axes`` and returns what does not fit, by position.

        Axes behind a variadic one are counted from the end. A wrong number of axes is
        ``(None, None)``, and then no axis is looked at; a variadic axis has no position.
        """
        star = next((i for i, axis in enumerate(axes) if axis.variadic), None)
        if len(shape) != len(axes) and (star is None or len(shape) < len(axes) - 1):
            return [(None, None)]
        found: list[tuple[int | None, Axis | None]] = []
        for position, axis in _positions(axes, star):
            if not self._fits(axis, shape[position], source):
                found.append((position, axis))
        if star is not None:
            rest = tuple(shape[star : len(shape) - (len(axes) - star - 1)])
            if not self._variadic_fits(axes[star], rest, source):
                found.append((None, axes[star]))
        return found

    def evaluate(self, axis: Axis) -> tuple[str, int | None]:
        """The arithmetic of an axis with ``{...}`` filled in, and its value.

        The value is None where a name in it has no size: the tensor that gives it was refused.
        """
        assert axis.expression is not None
        text = eval(f"f'{axis.expression}'", dict(self.arguments))
        known = {name: binding.size for name, binding in self.names.items()}
        try:
            return text, eval(_compiled(text), {}, known)
        except NameError:
            return text, None

    def _fits(self, axis: Axis, size: int, source: str) -> bool:
        if axis.broadcastable and size == 1:
            return True
        if axis.expression is not None:
            return self.evaluate(axis)[1] in (size, None)
        if axis.size is not None:
            return axis.size == size
        if axis.name is None:
            return True
        return self.names.setdefault(axis.name, Binding(size, source)).size == size

    def _variadic_fits(self, axis: Axis, rest: tuple[int, ...], source: str) -> bool:
        if axis.name is None:
            return True
        key = f"*{axis.name}"
        known = self.names.get(key)
        if known is None:
            self.names[key] = Binding(rest, source, axis.broadcastable)
            return True
        if not (known.broadcastable or axis.broadcastable):
            return known.size == rest
        assert isinstance(known.size, tuple)
        try:
            together = tuple(torch.broadcast_shapes(rest, known.size))  # type: ignore[no-untyped-call]  # by torch
        except RuntimeError:
            return False
        if not axis.broadcastable and together != rest:
            return False
        if not known.broadcastable:
            return together == known.size
        self.names[key] = Binding(together, known.source, axis.broadcastable)
        return True


@cache
def read_axes(shape: str) -> tuple[Axis, ...]:
    """Reads the shape of a jaxtyping annotation, ``hint.dim_str``.

    jaxtyping has accepted the string already, so that only its meaning is left to find.
    """
    return tuple(_read_axis(text) for text in shape.split())


def _read_axis(text: str) -> Axis:
    if text == "...":
        return Axis(text, variadic=True)
    rest = text
    flags = set()
    while rest and (rest[0] in "#*_?" or rest.count("=") == 1):
        if rest[0] in "#*_?":
            flags.add(rest[0])
            rest = rest[1:]
        else:  # "rows=3" is documentation for "3"
            rest = rest.split("=")[1]
    variadic, broadcastable = "*" in flags, "#" in flags
    if "_" in flags:
        return Axis(text, variadic=variadic)
    if rest.isidentifier() or not rest:  # a star alone is a name too, an empty one
        return Axis(text, name=rest, variadic=variadic, broadcastable=broadcastable)
    try:
        return Axis(text, size=int(rest), broadcastable=broadcastable)
    except ValueError:
        return Axis(text, expression=rest, broadcastable=broadcastable)


def braces(shape: str) -> Iterator[ast.expr]:
    """The expressions in ``{...}`` of a shape, which jaxtyping evaluates on the arguments."""
    for axis in read_axes(shape):
        if axis.expression is not None:
            text = ast.parse(f"f'{axis.expression}'", mode="eval")
            for node in ast.walk(text):
                if isinstance(node, ast.FormattedValue):
                    yield node.value


def _positions(axes: Sequence[Axis], star: int | None) -> Iterator[tuple[int, Axis]]:
    """Every axis but the variadic one, with its index into the shape."""
    for i, axis in enumerate(axes):
        if star is None or i < star:
            yield i, axis
        elif i > star:
            yield i - len(axes), axis


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> CodeType:
    return compile(expression.strip(), "<axis>", "eval")
