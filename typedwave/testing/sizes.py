"""The sizes of axes: which names annotations hold, and numbers for them that fit together."""

import ast
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from typedwave.contract.axes import Axis, Binding, Bindings, read_axes

__all__ = [
    "FIRST_SIZES",
    "Size",
    "Sizes",
    "apart",
    "at_edge",
    "divisors",
    "named_shape",
    "names_of",
    "total",
]

FIRST_SIZES: Final = (2, 3, 5, 7, 11, 13, 17, 19, 23)
"""Distinct and coprime: what swaps or mixes two axes cannot go unseen."""

Size = int | tuple[int, ...]
Sizes = Mapping[str, Size]
"""The size of each name, and the sizes of each variadic one, whose key starts with a star."""


def names_of(shape: str, place: str) -> Iterator[str]:
    """The names in the shape of an annotation; an axis without one is named by its place."""
    axes = read_axes(shape)
    for i, axis in enumerate(axes):
        if axis.expression is None and axis.size is None:
            yield _key(axis, place, i)
    for axis in axes:  # a name that only arithmetic has is one as well
        if axis.expression is not None:
            text = re.sub(r"\{[^}]*\}", "1", axis.expression)
            yield from (n.id for n in ast.walk(ast.parse(text.strip())) if isinstance(n, ast.Name))


def _key(axis: Axis, place: str, i: int) -> str:
    name = f"_{place}{i}" if axis.name is None else axis.name
    return f"*{name}" if axis.variadic else name


def named_shape(
    shape: str, place: str, sizes: Sizes, arguments: Mapping[str, Any]
) -> tuple[tuple[str, int], ...]:
    """The axes of a tensor of that annotation, each with its name and its size.

    The axes under a star have its name in common; a number or arithmetic is its own name.

    Raises:
        LookupError: Arithmetic asks for a name that no tensor or attribute gives a size.
    """
    names = {name: Binding(size, "") for name, size in sizes.items() if not name.startswith("*")}
    axes: list[tuple[str, int]] = []
    for i, axis in enumerate(read_axes(shape)):
        if axis.expression is not None:
            text, size = Bindings(arguments, names).evaluate(axis)
            if size is None:
                raise LookupError(f"{text!r} asks for a name that nothing gives a size")
            axes.append((text, int(size)))
        elif axis.size is not None:
            axes.append((str(axis.size), axis.size))
        else:
            size_ = sizes[_key(axis, place, i)]
            several = size_ if isinstance(size_, tuple) else (size_,)
            axes += [(_key(axis, place, i), size) for size in several]
    return tuple(axes)


def divisors(shapes: Iterable[str], arguments: Mapping[str, Any]) -> dict[str, int]:
    """By what the size of a name has to be divisible for ``//`` in a shape to leave no rest."""
    found: dict[str, int] = {}
    for axis in (axis for shape in shapes for axis in read_axes(shape)):
        if axis.expression is None or "/" not in axis.expression:
            continue
        try:
            text, _ = Bindings(arguments).evaluate(axis)
        except Exception:  # an argument that is not known before the call
            continue
        for node in ast.walk(ast.parse(text.strip(), mode="eval")):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):
                by = _constant(node.right)
                if by is None:
                    continue
                for name in (n.id for n in ast.walk(node.left) if isinstance(n, ast.Name)):
                    found[name] = math.lcm(found.get(name, 1), by)
    return found


def _constant(node: ast.expr) -> int | None:
    try:
        value = eval(compile(ast.Expression(node), "<axis>", "eval"), {"__builtins__": {}})
    except Exception:  # it has names of other axes in it
        return None
    return value if isinstance(value, int) and value > 0 else None


def apart(sizes: Sequence[Size], chosen: Mapping[str, Size]) -> list[Size]:
    """The sizes that have no divisor in common with those of other names; else that are others."""
    taken = [one for other in chosen.values() for one in _each(other)]
    coprime = [s for s in sizes if all(math.gcd(a, b) == 1 for a in _each(s) for b in taken)]
    return coprime or [size for size in sizes if not {*_each(size)} & {*taken}]


def _each(size: Size) -> tuple[int, ...]:
    return size if isinstance(size, tuple) else (size,)


def at_edge(size: Size) -> bool:
    """Whether a size hides mistakes: below 2, or equal ones under a star."""
    sizes = _each(size)
    return any(size < 2 for size in sizes) or len({*sizes}) < len(sizes) or not sizes


def total(size: Size) -> int:
    """How many positions a size makes: the product of those under a star."""
    return math.prod(size) if isinstance(size, tuple) else size
