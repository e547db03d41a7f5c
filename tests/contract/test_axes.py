import ast
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jaxtyping import Shaped, jaxtyped
from torch import Tensor

from typedwave.contract.axes import Axis, Bindings, braces, read_axes

SINGLE = (
    "A", "B", "C", "#A", "#B", "0", "1", "3", "#3", "_", "_any", "rows=3", "A=2", "#rows=3",
    "A+1", "2*A", "A//2", "#A+1", "{n}", "A*{n}", "A-{n}", "{n-1}", "#{n}", "+3", "1_0",
)  # fmt: skip
VARIADIC = ("*S", "*S", "*T", "#*S", "*#S", "*#T", "...", "*_", "*_any")


KNOWN = [("A", (2,)), ("B", (3,)), ("C", (4,)), ("*S", (2, 3)), ("*T", (4,))]


@dataclass
class Scope:
    """Values for the names of one scope: a shape is made right by them, and then perhaps wrong."""

    sizes: dict[str, int]
    stars: dict[str, tuple[int, ...]]
    n: int


@st.composite
def annotations(draw: st.DrawFn) -> str:
    axes = draw(st.lists(st.sampled_from(SINGLE), max_size=4))
    if draw(st.booleans()):
        axes.insert(draw(st.integers(0, len(axes))), draw(st.sampled_from(VARIADIC)))
    return " ".join(axes)


@st.composite
def shapes(draw: st.DrawFn, annotation: str, scope: Scope) -> tuple[int, ...]:
    """Mostly a shape that the annotation accepts, or one that is almost so."""
    small = st.integers(0, 4)
    shape: list[int] = []
    for axis in read_axes(annotation):
        if axis.variadic:
            shape += scope.stars.get(axis.name or "", ()) if draw(st.booleans()) else ()
        elif axis.broadcastable and draw(st.booleans()):
            shape.append(1)
        elif axis.expression is not None:
            text = axis.expression.replace("{", "(").replace("}", ")")
            shape.append(max(0, eval(text, {"n": scope.n, "A": scope.sizes["A"]})))
        elif axis.size is not None:
            shape.append(axis.size)
        else:
            shape.append(scope.sizes.get(axis.name or "", 0) or draw(small))
    wrong = draw(st.sampled_from(["no", "no", "no", "size", "one", "more", "fewer"]))
    if wrong == "more":
        shape.insert(draw(st.integers(0, len(shape))), draw(small))
    elif wrong != "no" and shape:
        i = draw(st.integers(0, len(shape) - 1))
        shape[i : i + 1] = {"fewer": [], "one": [1]}.get(wrong, [draw(small)])
    return tuple(shape)


@st.composite
def scopes(draw: st.DrawFn) -> tuple[int, list[tuple[str, tuple[int, ...]]]]:
    """Annotations with shapes, of which the first says what A is, since arithmetic asks for it."""
    star = st.lists(st.integers(0, 3), max_size=3).map(tuple)
    scope = Scope(
        {name: draw(st.integers(0, 4)) for name in "ABC"},
        {name: draw(star) for name in "ST"},
        draw(st.integers(0, 3)),
    )
    tensors = [("A", (scope.sizes["A"],))]
    for annotation in draw(st.lists(annotations(), min_size=1, max_size=4)):
        tensors.append((annotation, draw(shapes(annotation, scope))))
    return scope.n, tensors


def by_jaxtyping(n: int, tensors: list[tuple[str, tuple[int, ...]]]) -> list[bool]:
    @jaxtyped(typechecker=None)
    def scope(n: int) -> list[bool]:
        return [
            isinstance(torch.empty(shape, device="meta"), Shaped[Tensor, annotation])
            for annotation, shape in tensors
        ]

    return scope(n)


def by_us(n: int, tensors: list[tuple[str, tuple[int, ...]]]) -> list[bool]:
    bindings, fits = Bindings({"n": n}), []
    for i, (annotation, shape) in enumerate(tensors):
        trial = bindings.copy()
        misfits = trial.misfits(read_axes(annotation), shape, f"tensor {i}")
        fits.append(not misfits)
        bindings = bindings if misfits else trial
    return fits


@settings(max_examples=600, deadline=None)
@given(scopes())
@example((1, [("*#S", (2, 1)), ("*#S", (1, 3)), ("*S", (2, 3)), ("*S", (2, 1))]))
@example((1, [("*S", (2, 1)), ("*#S", (1, 1)), ("*#S", (3, 1)), ("*#S", (1,)), ("*#S", (2, 3))]))
@example((1, [("*#S", ()), ("*#S", (0,)), ("*#S", (1,)), ("*S", (0,)), ("*S", (1,))]))
@example((1, [("*#S", (2,)), ("*S", (5, 2)), ("*S", (2,)), ("*#S", (1, 2))]))
@example((1, [("*#S", (2, 1)), ("*S", (2, 3)), ("*#S", (5, 2, 3)), ("*#S", (3,))]))
@example((1, [("S", (2,)), ("*S", (3, 3)), ("S *S", (2, 3, 3)), ("*S S", (3, 3, 2))]))
@example((1, [("#A", (1,)), ("A", (3,)), ("#A", (1,)), ("#A", (2,))]))
@example((2, [("A", (3,)), ("#A*{n}", (1,)), ("#A*{n}", (6,)), ("#A*{n}", (5,))]))
@example((2, [("A=2", (2,)), ("A", (5,)), ("#A=2", (1,)), ("_A", (7,))]))
@example((2, [("A ... B", (2, 3)), ("... A B", (7, 7, 2, 3)), ("A B ...", (2,)), ("...", ())]))
def test_no_misfit_means_what_jaxtyping_says(
    drawn: tuple[int, list[tuple[str, tuple[int, ...]]]],
) -> None:
    assert by_us(*drawn) == by_jaxtyping(*drawn)


@settings(max_examples=200, deadline=None)
@given(scopes())
def test_the_misfits_are_the_axes_that_jaxtyping_refuses_one_by_one(
    drawn: tuple[int, list[tuple[str, tuple[int, ...]]]],
) -> None:
    n, tensors = drawn
    for annotation, shape in tensors:
        axes = read_axes(annotation)
        bindings = Bindings({"n": n})
        assert [bindings.misfits(read_axes(name), size, "") for name, size in KNOWN] == [[]] * 5
        misfits = bindings.misfits(axes, shape, "x")
        if misfits == [(None, None)]:
            continue
        positions = [position for position, _ in misfits if position is not None]
        star = next((i for i, axis in enumerate(axes) if axis.variadic), len(axes))
        indices = [*range(star), *range(star + 1 - len(axes), 0)]
        assert positions == [
            i for i in indices if not by_jaxtyping(n, [*KNOWN, (axes[i].text, (shape[i],))])[-1]
        ]
        assert all(axes[i] is axis for i, axis in misfits if i is not None and axis is not None)


def test_every_wrong_axis_is_reported_and_not_the_first_alone() -> None:
    bindings = Bindings({})
    assert bindings.misfits(read_axes("A B 5"), (2, 3, 5), "q") == []
    axes = read_axes("A _ *S B 5")
    assert bindings.misfits(axes, (9, 0, 7, 7, 8, 6), "k") == [
        (0, Axis("A", name="A")),
        (-2, Axis("B", name="B")),
        (-1, Axis("5", size=5)),
    ]


def test_a_wrong_number_of_axes_is_reported_alone_and_binds_nothing() -> None:
    bindings = Bindings({})
    assert bindings.misfits(read_axes("A B"), (2, 3, 4), "x") == [(None, None)]
    assert bindings.misfits(read_axes("A *S B"), (2,), "x") == [(None, None)]
    assert bindings.names == {}


def test_a_variadic_misfit_has_no_position() -> None:
    bindings = Bindings({})
    assert bindings.misfits(read_axes("*S C"), (2, 3, 4), "q") == []
    assert bindings.misfits(read_axes("*S C"), (2, 5, 4), "k") == [
        (None, Axis("*S", name="S", variadic=True))
    ]


def test_a_name_remembers_the_tensor_that_gave_its_size_first() -> None:
    bindings = Bindings({})
    bindings.misfits(read_axes("A *#S"), (2, 1, 3), "q")
    bindings.misfits(read_axes("A *#S B"), (2, 4, 3, 5), "k")
    assert {name: (b.size, b.source) for name, b in bindings.names.items()} == {
        "A": (2, "q"),
        "*S": ((4, 3), "q"),
        "B": (5, "k"),
    }


def test_a_copy_of_bindings_is_extended_apart() -> None:
    bindings = Bindings({"n": 3})
    copy = bindings.copy()
    assert copy.misfits(read_axes("A"), (2,), "x") == []
    assert bindings.names == {}
    assert copy.evaluate(read_axes("A*{n}")[0]) == ("A*3", 6)


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("C", {"name": "C"}),
        ("#C", {"name": "C", "broadcastable": True}),
        ("*C", {"name": "C", "variadic": True}),
        ("*#C", {"name": "C", "variadic": True, "broadcastable": True}),
        ("#*C", {"name": "C", "variadic": True, "broadcastable": True}),
        ("...", {"variadic": True}),
        ("_", {}),
        ("_C", {}),
        ("*_", {"variadic": True}),
        ("7", {"size": 7}),
        ("#7", {"size": 7, "broadcastable": True}),
        ("C=7", {"size": 7}),
        ("#C=7", {"size": 7, "broadcastable": True}),
        ("C==7", {"expression": "C==7"}),
        ("C+1", {"expression": "C+1"}),
        ("#C+1", {"expression": "C+1", "broadcastable": True}),
        ("T//{self.n}", {"expression": "T//{self.n}"}),
        ("min(A,B)", {"expression": "min(A,B)"}),
    ],
)
def test_an_axis_is_read_as_jaxtyping_means_it(text: str, axis: dict[str, Any]) -> None:
    assert read_axes(text) == (Axis(text, **axis),)


def test_axes_are_separated_by_any_space() -> None:
    assert [axis.text for axis in read_axes("  B\n   T  C ")] == ["B", "T", "C"]
    assert read_axes("") == ()


def test_braces_are_found_wherever_they_stand() -> None:
    found = [ast.unparse(e) for e in braces("B T//{self.n} {self.a}*{n+1} C")]
    assert found == ["self.n", "self.a", "n + 1"]
