"""``typed``: holds every call of a function to its annotations."""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

from torch import Tensor
from torch.compiler import is_dynamo_compiling

from typedwave.contract.function import FunctionContract
from typedwave.contract.later import write_later
from typedwave.contract.switch import checks_are_on, is_off
from typedwave.contract.tracing import before_body, seen
from typedwave.contract.trail import forget, note
from typedwave.contract.written import NAMES, PREFIX, write_checked

__all__ = ["typed"]

F = TypeVar("F", bound=Callable[..., Any] | property)

NAMES.update(
    {
        f"{PREFIX}{name}": value
        for name, value in {
            "Tensor": Tensor,
            "before": before_body,
            "forget": forget,
            "is_dynamo_compiling": is_dynamo_compiling,
            "is_off": is_off,
            "note": note,
            "seen": seen,
        }.items()
    }
)


def typed(function: F) -> F:
    """Holds every call of ``function`` to its annotations, at the cost of a look-up.

    jaxtyping with beartype judges each signature that was not seen before: shapes, dtypes and
    classes of tensors, other arguments by their types, lists, tuples and dicts whole. If the
    first parameter is called ``self`` and is a `torch.nn.Module`, the state that its class
    annotates is checked before and after, and the axis names in that state have the sizes that
    they have there.

    Args:
        function: A function or method; also a classmethod, staticmethod or property.

    Returns:
        The checked function. Under ``torch.compile`` it is checked once, while being traced.

    Raises:
        ShapeError: From a call: an argument or the result is not what its annotation says.
        StateError: From a call: annotated state is not, or no longer, what it was declared.
        AnnotationError: From the first call: an annotation cannot be resolved.

    Example:
        >>> import torch
        >>> from jaxtyping import Float
        >>> from torch import Tensor
        >>> @typed
        ... def attend(q: Float[Tensor, "T C"], k: Float[Tensor, "S C"]) -> Float[Tensor, "T S"]:
        ...     return q @ k.T
        >>> attend(torch.zeros(5, 3), torch.zeros(7, 3)).shape
        torch.Size([5, 7])
        >>> attend(torch.zeros(5, 3), torch.zeros(7, 4))
        Traceback (most recent call last):
        typedwave.errors.ShapeError: attend: k has the wrong shape
          expected  Float "S C"   C = 3
          got       f32[7, 4]     axis 1 is 4
          C = 3 comes from q f32[5, 3]
    """
    if not checks_are_on():
        return function
    if isinstance(function, classmethod | staticmethod):
        return cast(F, type(function)(typed(function.__func__)))
    if isinstance(function, property):
        get, put, delete = function.fget, function.fset, function.fdel
        accessors = (get and typed(get), put and typed(put), delete and typed(delete))
        return cast(F, property(*accessors, doc=function.__doc__))
    if hasattr(function, "__contract__"):
        return function
    if not isinstance(function, FunctionType):
        raise TypeError(
            f"typed takes a function, method or property, but got {function!r}; for a class, "
            "derive it from typedwave.Module"
        )
    return cast(F, functools.wraps(function)(_checked(FunctionContract(function))))


def _checked(contract: FunctionContract) -> Callable[..., Any]:
    checked = write_later(contract) if contract.gives_later else _written(contract)
    checked.__contract__ = contract  # type: ignore[attr-defined]  # marks what is checked already
    return checked


def _written(contract: FunctionContract) -> Callable[..., Any]:
    return write_checked(
        contract.signature,
        number=contract.number,
        judged=contract.judged,
        is_method=contract.is_method,
        has_result=contract.has_result,
        asks="{" in str(contract.function.__annotations__),
        names={
            "contract": contract,
            "function": contract.function,
            "remembered": contract.remembered,
        },
    )
