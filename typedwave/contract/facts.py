"""What a verdict depends on: the facts that a passed call is remembered by."""

import ast
import builtins
import operator
from abc import ABCMeta
from collections.abc import Callable, Collection, Iterable, Iterator
from types import CodeType, FunctionType, NoneType
from typing import Any, Final, Protocol, get_args

import torch
from torch import Tensor
from torch.fx import Proxy

from typedwave.contract.axes import braces
from typedwave.contract.hints import alternatives, array_hints, has_arrays, is_array, record_fields

__all__ = [
    "Reader",
    "asked_of_self",
    "binds_inside",
    "fact_reader",
    "is_told_by_class",
    "names_asked",
    "questions_to_self",
]

# Values that are interchangeable when they are equal and of one class.
_PLAIN: Final = frozenset(
    {bool, bytes, complex, float, int, str, torch.device, torch.dtype, torch.Size, NoneType}
)
_LONGEST: Final = 16  # of a tuple whose elements are all part of a key

Reader = Callable[[Any], tuple[Any, ...]]


def fact_reader(hint: Any, *, by_value: bool) -> Reader:
    """Reads the facts about a value that its hint can ask for, as a hashable key.

    Of a tensor they are class, dtype and shape. Of other values it is the class, unless the hint
    or a shape asks for more.

    Args:
        hint: Of the value.
        by_value: Whether a shape asks for the value itself, as ``{n}`` does.

    Returns:
        The reader. It raises a TypeError for a value that could change its verdict unseen.
    """
    if by_value or not all(map(_decided_by_class, alternatives(hint))):
        return _value_facts
    return _class_facts if is_told_by_class(hint) else _deep_facts


def is_told_by_class(hint: Any) -> bool:
    """Whether class, dtype and shape are all the facts about a value that its hint asks for."""
    members = alternatives(hint)
    contains = any(not is_array(member) and has_arrays(member) for member in members)
    return not contains and all(map(_decided_by_class, members))


def _class_facts(value: Any) -> tuple[Any, ...]:
    cls = value.__class__
    if isinstance(value, Tensor):
        return cls, value.dtype, value.shape
    if isinstance(value, Proxy):
        raise TypeError("what torch.fx traces has no shape to be remembered by")
    if hasattr(value, "shape") and hasattr(value, "dtype"):  # an array of numpy, say
        return cls, str(value.dtype), tuple(value.shape)
    return (cls,)


def _deep_facts(value: Any) -> tuple[Any, ...]:
    cls = value.__class__
    if cls is tuple or cls is list:
        return cls, *map(_deep_facts, value)
    if cls is dict:
        return cls, *[(_deep_facts(key), _deep_facts(part)) for key, part in value.items()]
    fields = record_fields(cls)
    if fields:
        return cls, *[_deep_facts(getattr(value, name, None)) for name in fields]
    if isinstance(value, Collection) and not isinstance(value, Tensor | str):
        raise TypeError(f"the elements of a {cls.__qualname__} cannot be told")
    return _class_facts(value)


def _value_facts(value: Any) -> tuple[Any, ...]:
    cls = value.__class__
    if isinstance(value, Tensor):
        return cls, value.dtype, value.shape
    if cls in _PLAIN:
        return cls, value
    if cls is tuple and len(value) <= _LONGEST:
        return cls, *map(_value_facts, value)
    raise TypeError(f"a {cls.__qualname__} cannot be remembered")


def _decided_by_class(hint: Any, inside: tuple[Any, ...] = ()) -> bool:
    """Whether values of one class, and arrays of one shape, are all judged alike."""
    if is_array(hint) or hint is Any or hint in inside:
        return True
    if has_arrays(hint):
        parts = (*get_args(hint), *record_fields(hint).values())
        inner = [member for part in parts for member in alternatives(part)]
        return all(part is Ellipsis or _decided_by_class(part, (*inside, hint)) for part in inner)
    asks = getattr(type(hint), "__instancecheck__", None)
    plain = asks in (type.__instancecheck__, ABCMeta.__instancecheck__)
    plain = plain or hint is Tensor or hint is torch.nn.Parameter
    return plain and not get_args(hint) and Protocol not in getattr(hint, "__mro__", ())


def questions_to_self(hints: Iterable[Any], told: Collection[str]) -> tuple[str, ...] | None:
    """The expressions in which ``{...}`` in the shapes of some hints asks something of ``self``.

    None if one asks for what neither ``self`` nor the values of the arguments ``told`` can
    tell, such as an attribute of an argument.
    """
    asked: dict[str, None] = {}
    for expression in _expressions(hints):
        names = _names_in(expression)
        if names <= {"self"}:
            asked[ast.unparse(expression)] = None
        elif not names <= set(told) or not all(
            isinstance(node, _ARITHMETIC) for node in ast.walk(expression)
        ):
            return None
    return tuple(asked)


def asked_of_self(hints: Iterable[Any], told: Collection[str]) -> Reader | None:
    """What those questions are answered with, as a function that reads it; None as there."""
    questions = questions_to_self(hints, told)
    if questions is None:
        return None
    readers = [_reader(question) for question in questions]
    return lambda owner: tuple([read(owner) for read in readers])


def names_asked(hints: Iterable[Any]) -> set[str]:
    """The arguments whose values ``{...}`` in the shapes of some hints asks for."""
    return {name for expression in _expressions(hints) for name in _names_in(expression)}


_ARITHMETIC = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, ast.operator, ast.unaryop)


def _expressions(hints: Iterable[Any]) -> Iterator[ast.expr]:
    for hint in hints:
        for array in array_hints(hint):
            yield from braces(array.dim_str)


def _names_in(expression: ast.expr) -> set[str]:
    names = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    return {name for name in names if not hasattr(builtins, name)}


def _reader(text: str) -> Callable[[Any], Any]:
    attribute = text.removeprefix("self.")
    if attribute != text and all(part.isidentifier() for part in attribute.split(".")):
        return operator.attrgetter(attribute)
    code = compile(text, "<axis>", "eval")
    return lambda owner: eval(code, {"self": owner})


def binds_inside(function: FunctionType) -> bool:
    """Whether the body names something of jaxtyping, and so may ask about axes itself."""
    names = set(_names(function.__code__))
    if "jaxtyping" in names:
        return True
    values = [function.__globals__.get(name) for name in names]
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    return any(map(_is_of_jaxtyping, values))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_of_jaxtyping(value: Any) -> bool:
    if any(array_hints(value)) or (type(value) is tuple and any(map(_is_of_jaxtyping, value))):
        return True
    home = getattr(value, "__module__", None) or getattr(value, "__name__", None)
    return isinstance(home, str) and home.split(".")[0] == "jaxtyping"
