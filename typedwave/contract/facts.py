"""What a verdict depends on: the facts that a passed call is remembered by."""

import ast
import operator
from collections.abc import Callable, Collection, Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor

from typedwave.contract.axes import braces
from typedwave.contract.hints import array_hints

__all__ = ["asked_of_self", "binds_inside", "facts", "facts_or_none"]

# Values that are interchangeable when they are equal and of one class.
_PLAIN = frozenset(
    {bool, bytes, complex, float, int, str, torch.device, torch.dtype, torch.Size, type(None)}
)


def facts(value: Any) -> tuple[Any, ...]:
    """A hashable key of all that a contract can ask of a value.

    Raises:
        TypeError: A contract could ask for more than can be told here.
    """
    cls = value.__class__
    if isinstance(value, Tensor):
        return cls, value.dtype, value.shape
    if cls in _PLAIN:
        return cls, value
    if cls is tuple or cls is list:
        return cls, *map(facts, value)
    if cls is dict:
        return cls, *[(facts(key), facts(part)) for key, part in value.items()]
    raise TypeError(f"a {cls.__qualname__} cannot be remembered")


def facts_or_none(value: Any) -> tuple[Any, ...] | None:
    """The facts of a value, or None where they cannot be told or, as symbols, not be hashed."""
    try:
        known = facts(value)
        hash(known)
    except TypeError:
        return None
    return known


def asked_of_self(
    hints: Iterable[Any], told: Collection[str]
) -> Callable[[Any], tuple[Any, ...]] | None:
    """What ``{...}`` in the shapes of some hints asks of ``self``, as a function that reads it.

    None if one asks for what neither ``self`` nor the facts about the arguments ``told`` can
    tell, such as an attribute of an argument.
    """
    readers: dict[str, Callable[[Any], Any]] = {}
    for hint in hints:
        for array in array_hints(hint):
            for expression in braces(array.dim_str):
                names = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
                text = ast.unparse(expression)
                if names == {"self"}:
                    readers[text] = _reader(text)
                elif not names <= set(told) or not all(
                    isinstance(node, _ARITHMETIC) for node in ast.walk(expression)
                ):
                    return None
    found = tuple(readers.values())
    return lambda owner: tuple([read(owner) for read in found])


_ARITHMETIC = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, ast.operator, ast.unaryop)


def _reader(text: str) -> Callable[[Any], Any]:
    attribute = text.removeprefix("self.")
    if all(part.isidentifier() for part in attribute.split(".")):
        return operator.attrgetter(attribute)
    code = compile(text, "<axis>", "eval")
    return lambda owner: eval(code, {"self": owner})


def binds_inside(function: FunctionType) -> bool:
    """Whether the body names something of jaxtyping, and so may ask about axes itself."""
    names = set(_names(function.__code__))
    if "jaxtyping" in names:
        return True
    cells = function.__closure__ or ()
    values = [function.__globals__.get(name) for name in names]
    for cell in cells:
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    return any(_is_of_jaxtyping(value) for value in values)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_of_jaxtyping(value: Any) -> bool:
    home = getattr(value, "__module__", None) or getattr(value, "__name__", None)
    return isinstance(home, str) and home.split(".")[0] == "jaxtyping"
