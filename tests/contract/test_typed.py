import contextlib
import functools
import inspect
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import postponed
import pytest
import torch
from beartype import beartype
from hypothesis import given, note, settings
from hypothesis import strategies as st
from jaxtyping import Float, Float32, Int, Shaped, TypeCheckError, jaxtyped
from torch import Tensor
from torch.nn import Parameter

import typedwave
from typedwave import AnnotationError, ShapeError, typed
from typedwave.contract import function as function_module

SIZES = {"A": 2, "B": 3, "C": 5}
"""The sizes of the names where a drawn call is right."""

FLOATS = [Float, Float32, Int, Shaped]
AXES = ["A", "B", "C", "3", "#A", "#B", "_"]
OTHERS = [int, str, float, int | None, Tensor, Parameter, bool, object]


@st.composite
def array_hints(draw: st.DrawFn) -> Any:
    axes = draw(st.lists(st.sampled_from(AXES), max_size=3))
    if draw(st.booleans()):
        axes.insert(draw(st.integers(0, len(axes))), draw(st.sampled_from(["*S", "...", "*#S"])))
    kind, array = draw(st.sampled_from(FLOATS)), draw(st.sampled_from([Tensor] * 5 + [Parameter]))
    return kind[array, " ".join(axes)]


@st.composite
def hints(draw: st.DrawFn, unions: bool = True) -> Any:
    hint = draw(array_hints() if draw(st.integers(0, 3)) else st.sampled_from(OTHERS))
    more = draw(st.sampled_from(["", "", "", "None"] + ["union"] * unions))
    if more == "None":
        return hint | None
    return hint | draw(array_hints()) if more == "union" else hint


@st.composite
def results(draw: st.DrawFn) -> Any:
    """Hints for results, which may do arithmetic with the names of the arguments."""
    if draw(st.integers(0, 2)) == 0:
        return Float[Tensor, draw(st.sampled_from(["A*2", "A+1 ...", "... #A-1", "A//2"]))]
    return draw(hints())


def size(draw: st.DrawFn, axis: str) -> int:
    if axis.startswith("#") and draw(st.booleans()):
        return 1
    if axis[:2] in ("A*", "A+", "A/") or axis.startswith("#A-"):
        return int(eval(axis.lstrip("#"), dict(SIZES)))
    return int(axis) if axis.isdigit() else SIZES.get(axis.lstrip("#"), 2)


@st.composite
def tensors(draw: st.DrawFn, hint: Any) -> Tensor:
    """A tensor that is often what the hint says, and otherwise wrong in one way."""
    shape: list[int] = []
    for axis in hint.dim_str.split():
        if axis in ("*S", "...", "*#S"):
            shape += draw(st.sampled_from([[], [4], [4], [1, 4]]))
        else:
            shape.append(size(draw, axis))
    wrong = draw(st.sampled_from(["no"] * 9 + ["size", "rank", "dtype", "class"]))
    if wrong == "rank":
        shape.append(1)
    elif wrong == "size" and shape:
        shape[draw(st.integers(0, len(shape) - 1))] += 1
    integers = (hint.dtype is Int) != (wrong == "dtype")
    tensor = torch.zeros(shape, dtype=torch.int64 if integers else torch.float32)
    parameter = (hint.array_type is Parameter) != (wrong == "class")
    return Parameter(tensor, requires_grad=False) if parameter else tensor


@st.composite
def values(draw: st.DrawFn, hint: Any) -> Any:
    members = [hint] if isinstance(hint, type) else list(hint.__args__)
    member = draw(st.sampled_from(members))
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([None, 1, 1.5, "text", torch.zeros(3), [torch.zeros(3)]]))
    if member in (int, str, float, bool):
        return member(draw(st.integers(0, 2)))
    if member in (type(None), object):
        return None
    if member in (Tensor, Parameter):
        return member(torch.zeros(2))
    return draw(tensors(member))


@st.composite
def functions(draw: st.DrawFn, first: str = "") -> tuple[Callable[..., Any], list[Any]]:
    """A function that returns the first value in a list, and that list.

    Its first annotated parameter binds A, since the results may ask for it.
    """
    count = draw(st.integers(0, 3))
    marks = sorted(draw(st.lists(st.integers(1, count + 1), min_size=2, max_size=2)))
    namespace: dict[str, Any] = {"box": [], "h0": Shaped[Tensor, "A ..."]}
    parameters = [f"{first}p0: h0"]
    for i in range(1, count + 1):
        namespace[f"h{i}"] = draw(hints())
        parameters += ["/"] * (i == marks[0]) + ["*"] * (i == marks[1]) + [f"p{i}: h{i}"]
    if draw(st.booleans()) and marks[1] == count + 1:
        namespace["h"] = draw(hints(unions=False))
        parameters.append("*args: h")
    if draw(st.booleans()):
        # Of a union, beartype tries the members in an order that differs from one place to the
        # next; with several values of one hint, that decides which names they bind.
        namespace["k"] = draw(hints(unions=False))
        parameters.append("**kwargs: k")
    arrow = ""
    if draw(st.integers(0, 3)):
        namespace["r"], arrow = draw(results()), " -> r"
    exec(f"def f({', '.join(parameters)}){arrow}: return box[0]", namespace)
    return namespace["f"], namespace["box"]


@st.composite
def calls(draw: st.DrawFn, function: Callable[..., Any]) -> tuple[list[Any], dict[str, Any], Any]:
    args, kwargs = [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "self":
            continue
        value = values(parameter.annotation)
        if parameter.kind is parameter.VAR_POSITIONAL:
            args += draw(st.lists(value, max_size=2))
        elif parameter.kind is parameter.VAR_KEYWORD:
            kwargs |= draw(st.dictionaries(st.sampled_from("abc"), value, max_size=2))
        elif parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[name] = draw(value)
        else:
            args.append(draw(value))
    returned = function.__annotations__.get("return", object)
    return args, kwargs, draw(values(returned))


def accepts(call: Callable[[], Any]) -> bool:
    try:
        call()
    except (ShapeError, TypeCheckError):
        return False
    return True


# In the long profile 5,000 functions and as many forwards, of which 28 calls each are judged twice:
# 280,000 cases. Some in every run.
DIFFERENTIAL = settings(max_examples=5_000 if settings.default.max_examples > 1000 else 100)


def assert_same_verdicts(
    function: Callable[..., Any],
    box: list[Any],
    data: st.DataObject,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
) -> None:
    """Of drawn calls, the first time and repeated, and with the results of one another."""
    note(f"{inspect.signature(function)}")
    seen = [data.draw(calls(function)) for _ in range(4)]
    again = [(args, kwargs, other) for args, kwargs, _ in seen for *_, other in seen]
    for args, kwargs, result in [*seen, *seen, *again, *seen]:
        box[:] = [result]
        expected = accepts(lambda a=args, k=kwargs: theirs(*a, **k))
        assert accepts(lambda a=args, k=kwargs: ours(*a, **k)) == expected


@DIFFERENTIAL
@given(functions(), st.data())
def test_a_function_accepts_what_it_accepts_under_jaxtyping_with_beartype(
    drawn: tuple[Callable[..., Any], list[Any]], data: st.DataObject
) -> None:
    function, box = drawn
    theirs = jaxtyped(function, typechecker=beartype)
    assert_same_verdicts(function, box, data, typed(function), theirs)


@DIFFERENTIAL
@given(functions("self, "), st.data())
def test_a_module_accepts_what_it_accepts_under_jaxtyping_with_beartype(
    drawn: tuple[Callable[..., Any], list[Any]], data: st.DataObject
) -> None:
    function, box = drawn
    checked = jaxtyped(function, typechecker=beartype)
    theirs = type("Theirs", (torch.nn.Module,), {"forward": checked})()
    ours = type("Ours", (typedwave.Module,), {"forward": function})()
    assert_same_verdicts(function, box, data, ours, theirs)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the judge has been asked, as a list that grows."""
    asked: list[int] = []
    first_refused = function_module.first_refused

    def counted(claims: Any) -> Any:
        asked.append(1)
        return first_refused(claims)

    monkeypatch.setattr(function_module, "first_refused", counted)
    return asked


def judgements(judged: list[int], call: Callable[[], Any]) -> int:
    judged.clear()
    call()
    return len(judged)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


def test_a_passed_signature_costs_no_second_judgement(judged: list[int]) -> None:
    @typed
    def f(x: Float[Tensor, "B C"], *, scale: float = 1.0) -> Float[Tensor, "B"]:
        return x.sum(1) * scale

    assert judgements(judged, lambda: f(zeros(2, 3))) == 2
    assert judgements(judged, lambda: f(zeros(2, 3))) == 0
    assert judgements(judged, lambda: f(zeros(2, 3), scale=1.0)) == 0
    assert judgements(judged, lambda: f(zeros(2, 4))) == 2
    assert judgements(judged, lambda: f(zeros(2, 3).double())) == 2
    assert judgements(judged, lambda: f(Parameter(zeros(2, 3)))) == 2


def test_a_refused_call_is_refused_again() -> None:
    @typed
    def f(x: Float[Tensor, "B C"]) -> None: ...

    for _ in range(3):
        with pytest.raises(ShapeError):
            f(zeros(2))


def test_a_new_result_of_a_remembered_call_is_judged(judged: list[int]) -> None:
    @typed
    def f(x: Float[Tensor, "B"], returned: Any) -> Float[Tensor, "B"] | Int[Tensor, "B"]:
        return box[0]

    box = [zeros(3)]
    f(zeros(3), None)
    box = [zeros(3).long()]
    assert judgements(judged, lambda: f(zeros(3), None)) == 1
    assert judgements(judged, lambda: f(zeros(3), None)) == 0
    for wrong in (zeros(4), None, [zeros(3)], 3.0, np.zeros(3, np.float32)):
        box = [wrong]
        for _ in range(2):
            with pytest.raises(ShapeError, match="the result"):
                f(zeros(3), None)


def test_a_result_whose_facts_cannot_be_told_is_judged_each_time() -> None:
    @typed
    def f(x: Float[Tensor, "B"]) -> torch.Generator:
        return box[0]

    for _ in range(2):
        box = [torch.Generator()]
        f(zeros(3))
        box = [object()]
        with pytest.raises(ShapeError, match="the result is not Generator"):
            f(zeros(3))


def test_a_remembered_call_goes_no_long_way() -> None:
    class Sized:
        n = 3

        @typed
        def f(self, x: Float[Tensor, "{self.n} B"], /, y: int, *, z: Any) -> Float[Tensor, "B"]:
            return x[0]

    contract = Sized.f.__contract__
    Sized().f(zeros(3, 2), 1, z=[zeros(2)])
    contract.call = contract.judge_result = None  # the long ways
    assert Sized().f(zeros(3, 2), 1, z=[zeros(2)]).shape == (2,)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_module, "REMEMBERED", 5)

    @typed
    def f(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x

    for n in range(23):
        f(zeros(n))
        assert 1 <= len(f.__contract__.remembered) <= 5


@pytest.mark.parametrize("value", [torch.Generator(), object(), {1, 2}, np.zeros(3), [object()]])
def test_an_argument_whose_facts_cannot_be_told_is_judged_each_time(
    judged: list[int], value: Any
) -> None:
    @typed
    def f(x: Float[Tensor, "B"], other: list[int] | object) -> Float[Tensor, "B"]:
        return x

    f(zeros(3), value)
    assert judgements(judged, lambda: f(zeros(3), value)) == 2
    with pytest.raises(ShapeError):
        f(zeros(3, 2), value)
    assert len(f.__contract__.remembered) == 0


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, 1, 1.0),
        (int, 1, "1"),
        (bool, True, 1),
        (float, 1.0, 1),
        (int | None, None, 1.0),
        (Optional[str], "a", b"a"),  # noqa: UP045  # the old spelling has to work as well
        (torch.dtype, torch.float32, "float32"),
        (torch.device, torch.device("cpu"), "cpu"),
        (tuple[int, ...], (1, 2), [1, 2]),
        (list[int], [1], (1,)),
        (dict[str, int], {"a": 1}, {1: 1}),
        (type, int, 3),
        (Callable[..., Any], len, 3),
    ],
)
def test_what_is_no_tensor_is_held_to_its_type(hint: Any, right: Any, wrong: Any) -> None:
    def f(x: Float[Tensor, "B"], other: Any) -> None: ...

    f.__annotations__["other"] = hint
    f = typed(f)
    for _ in range(2):
        f(zeros(3), right)
    for _ in range(2):
        with pytest.raises(ShapeError):
            f(zeros(3), wrong)
    f(zeros(3), right)


def test_equal_values_of_two_types_are_two_signatures() -> None:
    @typed
    def f(x: Float[Tensor, "B"], n: int) -> None: ...

    f(zeros(3), 1)
    with pytest.raises(ShapeError):
        f(zeros(3), 1.0)


CONTAINERS = {
    list[Float[Tensor, "B C"]]: list,
    Sequence[Float[Tensor, "B C"]]: tuple,
    tuple[Float[Tensor, "B C"], ...]: tuple,
    list[Float[Tensor, "B C"]] | None: list,
    list[Float[Tensor, "B C"] | None]: list,
    dict[str, Float[Tensor, "B C"]]: lambda parts: {str(i): x for i, x in enumerate(parts)},
    Mapping[str, Float[Tensor, "B C"]]: lambda parts: {str(i): x for i, x in enumerate(parts)},
    list[list[Float[Tensor, "B C"]]]: lambda parts: [[], parts],
    dict[str, list[Float[Tensor, "B C"]]]: lambda parts: {"a": [], "b": parts},
    list[tuple[int, Float[Tensor, "B C"]]]: lambda parts: list(enumerate(parts)),
}


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(list(CONTAINERS.items())),
    st.integers(1, 9),
    st.data(),
    st.sampled_from([zeros(2, 4), zeros(2, 3, 1), zeros(2, 3).long(), "text", zeros(3, 2)]),
)
def test_a_container_is_checked_whole(
    container: tuple[Any, Callable[[list[Any]], Any]], count: int, data: st.DataObject, wrong: Any
) -> None:
    hint, make = container

    def f(first: Float[Tensor, "B C"], parts: Any) -> Any: ...

    def g(first: Float[Tensor, "B C"], parts: Any) -> Any:
        return parts

    f.__annotations__["parts"] = hint
    g.__annotations__["return"] = hint
    f, g = typed(f), typed(g)
    right = [zeros(2, 3) for _ in range(count)]
    spoilt = list(right)
    spoilt[data.draw(st.integers(0, count - 1))] = wrong
    for _ in range(2):
        f(zeros(2, 3), make(right))
        g(zeros(2, 3), make(right))
        with pytest.raises(ShapeError):
            f(zeros(2, 3), make(spoilt))
        with pytest.raises(ShapeError):
            g(zeros(2, 3), make(spoilt))


def test_a_tuple_of_named_length_is_checked_part_by_part() -> None:
    @typed
    def f(pair: tuple[Float[Tensor, "B"], Int[Tensor, "B C"]]) -> None: ...

    f((zeros(2), zeros(2, 3).long()))
    for wrong in [
        (zeros(2), zeros(3, 3).long()),
        (zeros(2), zeros(2, 3)),
        (zeros(2), zeros(2, 3).long(), zeros(2)),
        (zeros(2),),
        [zeros(2), zeros(2, 3).long()],
    ]:
        with pytest.raises(ShapeError):
            f(wrong)


def test_an_empty_container_is_accepted() -> None:
    @typed
    def f(parts: list[Float[Tensor, "B"]], named: dict[str, Float[Tensor, "B"]]) -> None: ...

    f([], {})
    f([], {})


def test_a_list_that_grew_since_is_another_signature() -> None:
    @typed
    def f(parts: list[Float[Tensor, "B"]]) -> None: ...

    parts = [zeros(3)]
    f(parts)
    parts.append(zeros(4))
    with pytest.raises(ShapeError):
        f(parts)


def test_every_tensor_of_args_and_kwargs_is_checked() -> None:
    @typed
    def f(*parts: Float[Tensor, "B"], **named: Int[Tensor, "B"]) -> None: ...

    f()
    f(zeros(3), zeros(3), a=zeros(3).long())
    for args, kwargs in [
        ((zeros(3), zeros(4)), {}),
        ((zeros(3),), {"a": zeros(4).long()}),
        ((zeros(3),), {"a": zeros(3)}),
        ((), {"a": zeros(3).long(), "b": zeros(4).long()}),
        ((zeros(3), None), {}),
    ]:
        with pytest.raises(ShapeError):
            f(*args, **kwargs)


def test_defaults_are_used_and_not_shared_wrongly() -> None:
    later = zeros(3)

    @typed
    def f(x: Float[Tensor, "B"], y: Float[Tensor, "B"] = later, /, *, z: str = "z") -> Any:
        return x, y, z

    assert f(zeros(3))[1] is later
    assert f(zeros(3))[2] == "z"
    assert f(zeros(4), zeros(4), z="a")[2] == "a"
    with pytest.raises(ShapeError):
        f(zeros(3), zeros(4))


@pytest.mark.parametrize(
    "names",
    [
        ["_", "__", "___"],
        ["_result", "_key", "_state", "_good"],
        ["result", "contract", "function", "facts"],
        ["key", "remembered", "Tensor", "TypeError"],
        ["isinstance", "getattr", "default_x", "checked"],
        ["_default_x", "__default_x", "is_compiling", "traced"],
        ["args", "kwargs", "owner", "arguments"],
    ],
)
@pytest.mark.parametrize("star", ["", "*, "])
def test_a_parameter_may_have_any_name(names: list[str], star: str) -> None:
    scope: dict[str, Any] = {"Float": Float, "Tensor_": Tensor, "later": zeros(3)}
    declared = ", ".join(f'{name}: Float[Tensor_, "B"] = later' for name in names)
    exec(f"def f({star}{declared}): return [{', '.join(names)}]", scope)
    f = typed(scope["f"])
    parts = {name: zeros(3) for name in names}
    for _ in range(2):
        assert all(x is y for x, y in zip(f(**parts), parts.values(), strict=True))
        assert all(x is scope["later"] for x in f())
        with pytest.raises(ShapeError):
            f(**parts | {names[-1]: zeros(4)})


def test_what_python_refuses_is_left_to_python() -> None:
    def plain(x: Float[Tensor, "B"], /, y: int, *, z: int = 0) -> None: ...

    def starred(x: Float[Tensor, "B"], /, *args: int) -> None: ...

    def positional(x: Float[Tensor, "B"], y: int = 0, /) -> None: ...

    for function in (plain, starred, positional):
        checked = typed(function)
        for args, kwargs in [((), {}), ((zeros(3),), {"w": 1}), ((), {"x": zeros(3)})]:
            with pytest.raises(TypeError) as theirs:
                function(*args, **kwargs)
            with pytest.raises(TypeError) as ours:
                checked(*args, **kwargs)
            assert str(ours.value) == str(theirs.value)
            assert not isinstance(ours.value, ShapeError)


class Descriptors:
    """Has a typed one of every kind of method."""

    n = 2

    @typed
    def method(self, x: Float[Tensor, "B {self.n}"]) -> Float[Tensor, "B"]:
        return x.sum(1)

    @typed
    @classmethod
    def typed_class(cls, x: Float[Tensor, "B"]) -> type:
        return cls

    @classmethod
    @typed
    def class_typed(cls, x: Float[Tensor, "B {cls.n}"]) -> type:
        return cls

    @typed
    @staticmethod
    def static(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x

    @typed
    @property
    def stored(self) -> Float[Tensor, "3"]:
        """What is kept."""
        return self._stored

    @stored.setter
    @typed
    def stored(self, value: Float[Tensor, "*B"]) -> None:
        self._stored = value

    @stored.deleter
    def stored(self) -> None:
        del self._stored


class MoreDescriptors(Descriptors):
    """Inherits them."""

    n = 4


def test_methods_of_all_kinds_are_checked() -> None:
    one = Descriptors()
    assert one.method(zeros(3, 2)).shape == (3,)
    assert MoreDescriptors().method(zeros(3, 4)).shape == (3,)
    with pytest.raises(ShapeError):
        MoreDescriptors().method(zeros(3, 2))
    assert one.typed_class(zeros(3)) is Descriptors.typed_class(zeros(3)) is Descriptors
    assert MoreDescriptors.class_typed(zeros(3, 4)) is MoreDescriptors
    with pytest.raises(ShapeError):
        MoreDescriptors.class_typed(zeros(3, 2))
    assert one.static(zeros(3)).shape == Descriptors.static(zeros(3)).shape == (3,)
    for wrong in (one.method, one.typed_class, one.static):
        with pytest.raises(ShapeError):
            wrong(zeros(3, 2, 2))


def test_a_property_is_checked_when_read_and_when_set_and_keeps_its_docstring() -> None:
    one = Descriptors()
    one.stored = zeros(3)
    assert one.stored.shape == (3,)
    with pytest.raises(ShapeError):
        one.stored = zeros(3).long()
    one.stored = zeros(4)
    with pytest.raises(ShapeError):
        _ = one.stored
    del one.stored
    assert typed(property(lambda self: 1, doc="What is kept.")).__doc__ == "What is kept."


def test_all_three_accessors_of_a_typed_property_are_typed() -> None:
    def get(self: object) -> int:
        return 1

    whole = typed(property(get, lambda self, value: None, lambda self: None))
    for accessor in (whole.fget, whole.fset, whole.fdel):
        assert hasattr(accessor, "__contract__")
    alone = typed(property(get))
    assert alone.fset is None
    assert alone.fdel is None


def test_a_value_that_braces_ask_of_self_may_change_between_calls() -> None:
    one = Descriptors()
    for n in (2, 5, 3, 2):
        one.n = n
        assert one.method(zeros(3, n)).shape == (3,)
        with pytest.raises(ShapeError):
            one.method(zeros(3, n + 1))


def test_braces_ask_for_attributes_of_attributes_and_for_arithmetic() -> None:
    class Nested:
        def __init__(self, n: int) -> None:
            self.config = self
            self.n, self.sizes = n, [n, n + 1]

        @typed
        def f(self, x: Float[Tensor, "{self.config.n} {self.sizes[1]} {self.n*2}"]) -> None: ...

    nested = Nested(2)
    for n in (2, 3):
        nested.n, nested.sizes[1] = n, n + 1
        for _ in range(2):
            nested.f(zeros(n, n + 1, n * 2))
        for wrong in [(n + 1, n + 1, n * 2), (n, n, n * 2), (n, n + 1, n)]:
            with pytest.raises(ShapeError):
                nested.f(zeros(*wrong))


def test_braces_may_ask_for_other_arguments(judged: list[int]) -> None:
    @typed
    def f(x: Float[Tensor, "B*{n}"], n: int, parts: Any = ()) -> Float[Tensor, "{n}"]:
        return zeros(n)

    @typed
    def g(x: Float[Tensor, "{len(parts)}"], parts: Any) -> None: ...

    @typed
    def h(x: Float[Tensor, "{n}"], n) -> None: ...  # type: ignore[no-untyped-def]  # on purpose

    with pytest.raises(Exception, match="Cannot process symbolic axis"):
        f(zeros(6), 2)  # nothing says what B is

    for n in (2, 3, 2):
        for unasked in (g, h):
            other = [0] * n if unasked is g else n
            unasked(zeros(n), other)
            assert judgements(judged, lambda u=unasked, n=n, o=other: u(zeros(n), o)) > 0
            with pytest.raises(ShapeError):
                unasked(zeros(n + 1), other)


def test_numbers_that_braces_ask_for_are_part_of_the_signature(judged: list[int]) -> None:
    @typed
    def f(x: Float[Tensor, "B"], n: int) -> Float[Tensor, "B*{n}"]:
        return x.repeat(n if n < 5 else 1)

    for n in (2, 3):
        assert f(zeros(4), n).shape == (4 * n,)
        assert judgements(judged, lambda n=n: f(zeros(4), n)) == 0
    with pytest.raises(ShapeError, match="the result"):
        f(zeros(4), 5)


def test_a_body_that_asks_jaxtyping_itself_sees_the_bindings_at_every_call(
    judged: list[int],
) -> None:
    @typed
    def f(x: Float[Tensor, "B"], y: Tensor) -> bool:
        return isinstance(y, Float[Tensor, "B"])

    for _ in range(3):
        assert f(zeros(3), zeros(3))
        assert not f(zeros(3), zeros(4))
    assert judgements(judged, lambda: f(zeros(3), zeros(3))) == 2


HINT = Float[Tensor, "B"]


def test_an_alias_of_a_hint_and_a_nested_function_count_as_asking() -> None:
    here = HINT

    @typed
    def by_global(x: Float[Tensor, "B"], y: Tensor) -> bool:
        return isinstance(y, HINT)

    @typed
    def by_closure(x: Float[Tensor, "B"], y: Tensor) -> bool:
        return isinstance(y, here)

    @typed
    def inside(x: Float[Tensor, "B"], y: Tensor) -> bool:
        return all(isinstance(z, Float[Tensor, "B"]) for z in [y])

    @typed
    def importing(x: Float[Tensor, "B"], y: Tensor) -> bool:
        from jaxtyping import Inexact  # under a name that is not known outside

        return isinstance(y, Inexact[Tensor, "B"])

    for f in (by_global, by_closure, inside, importing):
        for _ in range(2):
            assert f(zeros(3), zeros(3))
            assert not f(zeros(3), zeros(4))


def test_recursion_opens_a_scope_for_each_call() -> None:
    @typed
    def halve(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        if len(x) > 1:
            assert halve(x[::2]).shape == x[::2].shape
        return x

    @typed
    def wrong_inside(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x if len(x) == 1 else wrong_inside(x[::2])

    for _ in range(2):
        assert halve(zeros(8)).shape == (8,)
        with pytest.raises(ShapeError):
            wrong_inside(zeros(8))


def test_threads_do_not_see_the_names_of_one_another() -> None:
    @typed
    def f(x: Float[Tensor, "B"], y: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x + y

    refused, failures = [], []

    def run(seed: int) -> None:
        try:
            for i in range(40):
                n = seed + 10 * (i % 8)
                assert f(zeros(n), zeros(n)).shape == (n,)
                with pytest.raises(ShapeError):
                    f(zeros(n), zeros(n + 1))
                refused.append(n)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(refused) == 160


def test_an_exception_of_the_body_comes_out_as_it_was_raised() -> None:
    raised = KeyError("mine")

    @typed
    def f(x: Float[Tensor, "B"], fail: bool) -> Float[Tensor, "B"]:
        if fail:
            raise raised
        return x

    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            f(zeros(3), True)
        assert caught.value is raised
        assert not hasattr(raised, "__notes__")
        assert raised.__cause__ is raised.__context__ is None
    f(zeros(3), False)
    with pytest.raises(KeyError):
        f(zeros(3), True)
    assert len(f.__contract__.remembered) == 1


def test_the_scope_of_a_call_that_failed_is_closed() -> None:
    @typed
    def f(x: Float[Tensor, "B"]) -> None:
        raise KeyboardInterrupt

    with jaxtyped("context"):
        assert isinstance(zeros(7), Float[Tensor, "B"])
        with contextlib.suppress(KeyboardInterrupt):
            f(zeros(3))
        with pytest.raises(ShapeError):
            f(zeros(3, 3))
        assert isinstance(zeros(7), Float[Tensor, "B"])
        assert not isinstance(zeros(3), Float[Tensor, "B"])


def test_postponed_annotations_are_resolved() -> None:
    assert postponed.outer(zeros(2), zeros(3)).shape == (2, 3)
    with pytest.raises(ShapeError):
        postponed.outer(zeros(2), zeros(3, 1))
    assert postponed.with_later(zeros(2), postponed.Later()).shape == (2,)
    with pytest.raises(ShapeError):
        postponed.with_later(zeros(2), None)
    assert postponed.Scale(3)(zeros(2, 3)).shape == (2, 3)
    with pytest.raises(ShapeError):
        postponed.Scale(3)(zeros(2, 4))


def test_an_unresolvable_annotation_without_a_shape_is_ignored() -> None:
    assert postponed.beside_unresolvable(zeros(2), "no path at all") == "no path at all"
    with pytest.raises(ShapeError):
        postponed.beside_unresolvable(zeros(2, 2), "no path at all")


def test_an_unresolvable_annotation_with_a_shape_is_an_error_at_each_call() -> None:
    for _ in range(2):
        with pytest.raises(AnnotationError) as caught:
            postponed.unresolvable(zeros(2))
        assert str(caught.value) == (
            "unresolvable: the annotation of x, Int[Tensor, 'B'], cannot be resolved: name 'Int' "
            "is not defined; what it names has to be imported at run time, not only under "
            "TYPE_CHECKING"
        )
        assert caught.value.__suppress_context__
        with pytest.raises(AnnotationError) as caught:
            postponed.UnresolvableState()(zeros(2))
        assert str(caught.value) == (
            "UnresolvableState: the annotation of ids, Int[Tensor, 'C'], cannot be resolved: name "
            "'Int' is not defined; what it names has to be imported at run time, not only under "
            "TYPE_CHECKING"
        )


def test_annotations_may_name_what_the_function_closes_over() -> None:
    class Config:
        pass

    local = Float[Tensor, "B"]

    @typed
    def f(x: "local", config: "Config", y: 'Float[Tensor, "B"]') -> "Config":
        assert local
        return config

    config = Config()
    assert f(zeros(3), config, zeros(3)) is config
    for wrong in [(zeros(3, 1), config, zeros(3)), (zeros(3), config, zeros(4))]:
        with pytest.raises(ShapeError):
            f(*wrong)


def test_the_function_keeps_its_face() -> None:
    def f(x: Float[Tensor, "B"], y: int = 3, *, z: str = "z") -> Float[Tensor, "B"]:
        """What it does."""
        return x

    f.mark = object()  # type: ignore[attr-defined]  # any attribute
    checked = typed(f)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "mark"):
        assert getattr(checked, name) is getattr(f, name)
    assert checked.__wrapped__ is f
    assert inspect.signature(checked) == inspect.signature(f)


def test_typing_twice_is_typing_once() -> None:
    @typed
    def f(x: Float[Tensor, "B"]) -> None: ...

    assert typed(f) is f


@typed
def at_module_level(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    return x


class Whole(typedwave.Module):
    """Is pickled with its bound methods."""

    def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x


def test_functions_and_bound_methods_survive_pickling() -> None:
    Whole()(zeros(3))
    for call in (at_module_level, Whole().forward, Whole()):
        restored = pickle.loads(pickle.dumps(call))
        assert restored(zeros(3)).shape == (3,)
        with pytest.raises(ShapeError):
            restored(zeros(3, 3))


def test_decorators_above_and_below_are_called() -> None:
    def doubled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(function)
        def double(*args: Any, **kwargs: Any) -> Tensor:
            return torch.cat([function(*args, **kwargs)] * 2)

        return double

    @doubled
    @typed
    def above(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x

    @typed
    @doubled
    def below(x: Float[Tensor, "B"]) -> Float[Tensor, "2*B"]:
        return x

    @typed
    @torch.no_grad()
    def without_grad(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x * 2

    for _ in range(2):
        assert above(zeros(3)).shape == below(zeros(3)).shape == (6,)
        assert not without_grad(Parameter(zeros(3))).requires_grad
        for f in (above, below, without_grad):
            with pytest.raises(ShapeError):
                f(zeros(3, 3))


def test_a_subclass_of_tensor_is_a_signature_of_its_own(judged: list[int]) -> None:
    class Marked(Tensor):
        pass

    @typed
    def f(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x

    @typed
    def g(x: Float[Marked, "B"]) -> None: ...

    marked = zeros(3).as_subclass(Marked)
    f(zeros(3))
    assert judgements(judged, lambda: f(marked)) == 2
    assert type(f(marked)) is Marked
    g(marked)
    for _ in range(2):
        with pytest.raises(ShapeError):
            g(zeros(3))


def test_a_plain_call_in_a_loop_leaves_no_name_behind() -> None:
    @typed
    def f(x: Float[Tensor, "B"]) -> None: ...

    with jaxtyped("context"):
        for n in range(5):
            f(zeros(n))
        assert isinstance(zeros(9), Float[Tensor, "B"])
