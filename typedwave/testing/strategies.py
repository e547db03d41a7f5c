"""Strategies for the sizes of axes and for tensors of those sizes."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Module

from typedwave.contract.hints import is_array, spell
from typedwave.testing.calls import Call
from typedwave.testing.cases import cases
from typedwave.testing.declared import CheckError, Declared
from typedwave.testing.room import Room
from typedwave.testing.subject import Subject
from typedwave.testing.values import LAYOUTS, VALUES, Layout, Values

__all__ = ["arguments", "axis_sizes", "leading_axes", "normal_tensors", "tensors"]

_PRIMES: Final = (2, 3, 5, 7, 11, 13)


def axis_sizes(*names: str) -> st.SearchStrategy[dict[str, int]]:
    """Sizes for named axes, distinct and coprime: what swaps or mixes two axes cannot go unseen.

    Args:
        names: The axes, at most six.

    Raises:
        ValueError: More than six names, or one of them twice.

    Example:
        >>> from hypothesis import given
        >>> @given(axis_sizes("B", "T", "C"))
        ... def test(sizes: dict[str, int]) -> None:
        ...     assert len(set(sizes.values())) == 3
        >>> test()
    """
    if len(set(names)) < len(names):
        raise ValueError(f"axis_sizes: {', '.join(names)}: a name stands twice")
    if len(names) > len(_PRIMES):
        raise ValueError(f"axis_sizes: {len(names)} names, but sizes for {len(_PRIMES)} at most")
    return st.permutations(_PRIMES).map(lambda sizes: dict(zip(names, sizes, strict=False)))


def leading_axes(*, smallest: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    """The sizes of any number of leading axes (``*B``), from none to three, equal ones too.

    Args:
        smallest: The least size of an axis; 0 draws empty batches as well.
    """
    return st.lists(st.integers(smallest, 4), max_size=3).map(tuple)


@st.composite
def normal_tensors(
    draw: st.DrawFn, shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Tensors of standard normal values, drawn by seed so that an example is cheap to repeat.

    Args:
        draw: Given by hypothesis.
        shape: The sizes of the axes.
        dtype: A floating dtype.
    """
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    return torch.randn(shape, generator=generator, dtype=dtype)


def arguments(
    function: Module | Callable[..., Any],
    *,
    values: Values | Sequence[Values] = ("normal",),
    layouts: Layout | Sequence[Layout] = ("contiguous",),
    dtypes: Sequence[torch.dtype | None] = (None,),
    edges: bool = True,
    **declarations: Any,
) -> st.SearchStrategy[Call]:
    """Calls of a function or module: arguments that its annotations allow and that it takes.

    Shared names have one size, arithmetic and ``{self.n}`` are evaluated, what is divided has no
    rest, and ids are within the range that the function takes. Sizes are distinct and coprime but
    for some cases at the edge. What it takes is found out by calling it.

    Args:
        function: A module, its ``forward``, or another function or bound method of tensors.
        values: The kinds of numbers; shrinks to the first.
        layouts: How tensors lie in memory.
        dtypes: Floating dtypes where an annotation leaves them open; None for that of the module.
        edges: Also sizes of 0 and 1, and equal ones, where the function takes them.
        **declarations: ``spec``, ``sizes``, ``bounds``, ``ids``; see `Declared`.

    Raises:
        CheckError: An argument has no annotation, or no call is taken.

    Example:
        >>> from hypothesis import given
        >>> from jaxtyping import Float
        >>> def attend(q: Float[Tensor, "B T C"], k: Float[Tensor, "B S C"]) -> Tensor:
        ...     return q @ k.mT
        >>> @given(arguments(attend))
        ... def test(call: Call) -> None:
        ...     q, k = call.args
        ...     assert attend(*call.args).shape == (*q.shape[:2], k.shape[1])
        >>> test()
    """
    if isinstance(function, type):
        raise CheckError(f"{function.__name__} is a class; give a module of it")
    source = getattr(function, "__self__", None) if _is_forward(function) else function
    subject = Subject(source, Declared.of(declarations), makes=False)
    room = Room(subject)
    kinds: list[Values] = _known("values", values, VALUES)
    ways: list[Layout] = _known("layouts", layouts, LAYOUTS)
    drawn = cases(room, values=kinds, layouts=ways, dtypes=dtypes, least_edge=0 if edges else None)
    return drawn.map(subject.call)


def tensors(
    hint: Any,
    *,
    values: Values | Sequence[Values] = ("normal",),
    layouts: Layout | Sequence[Layout] = ("contiguous",),
    dtypes: Sequence[torch.dtype | None] = (None,),
    bounds: tuple[float, float] | None = None,
    below: int = 100,
    edges: bool = True,
    **sizes: int | Sequence[int],
) -> st.SearchStrategy[Tensor]:
    """Tensors of an annotation.

    Args:
        hint: ``Float[Tensor, "B T C"]``.
        values: The kinds of numbers; shrinks to the first.
        layouts: How they lie in memory.
        dtypes: Floating dtypes where the annotation leaves them open; None for torch's default.
        bounds: The least and the largest number.
        below: One more than the largest integer.
        edges: Also sizes of 0 and 1, and equal ones.
        **sizes: The size of an axis, or those that it may have.

    Raises:
        CheckError: It is no annotation of a shape, torch has no such dtype, or what is asked for
            cannot be.

    Example:
        >>> from hypothesis import given
        >>> from jaxtyping import Float
        >>> @given(tensors(Float[Tensor, "B T C"], C=8))
        ... def test(x: Tensor) -> None:
        ...     assert x.shape[-1] == 8
        >>> test()
    """
    if not is_array(hint):
        raise CheckError(f"tensors takes an annotation such as Float[Tensor, 'B C'], not {hint!r}")

    def takes(x: Any) -> None: ...

    takes.__annotations__["x"] = hint
    takes.__name__ = spell(hint)
    calls = arguments(
        takes,
        values=values,
        layouts=layouts,
        dtypes=dtypes,
        edges=edges,
        sizes=sizes,
        bounds={} if bounds is None else {"x": bounds},
        ids={"x": below},
    )
    return calls.map(lambda call: call.args[0])


def _known(kind: str, chosen: Any, known: tuple[Any, ...]) -> list[Any]:
    several = [chosen] if isinstance(chosen, str) else [*chosen]
    if not several or any(each not in known for each in several):
        raise CheckError(f"{kind} is {chosen!r}; there are {', '.join(known)}")
    return several


def _is_forward(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    return isinstance(owner, Module) and getattr(function, "__name__", "") == "forward"
