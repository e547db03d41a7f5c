"""What people who use PyTorch write, and what was once refused, missed or explained badly."""

import functools
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Optional,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    runtime_checkable,
)

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, Int, jaxtyped
from torch import Tensor, nn
from torch.nn import Parameter

import typedwave
from typedwave import Module, ShapeError, StateError, typed
from typedwave.contract.axes import read_axes
from typedwave.nn import Linear, Tanh

zeros = torch.zeros


# the explanation of an error crashes, and the error with it
def test_an_axis_that_asks_for_a_name_of_a_wrong_argument_is_no_crash():
    @typed
    def f(x: Float[Tensor, "T 3"], y: Float[Tensor, "T*2"]): ...

    for wrong in (zeros(4, 3).long(), zeros(4, 2), zeros(4), None):
        with pytest.raises(ShapeError, match="x "):
            f(wrong, zeros(8))


def test_an_axis_behind_a_wrong_axis_of_the_same_tensor_is_no_crash():
    @typed
    def f(x: Float[Tensor, "3 T"], y: Float[Tensor, "#C 3 C+1"]): ...

    with pytest.raises(ShapeError):
        f(zeros(3, 2), zeros(1, 4, 5))


def test_a_model_that_calls_a_layer_before_its_own_init_still_gets_the_error():
    class Early(nn.Module):
        def __init__(self):
            Linear(3, 4)(zeros(2, 5))

    with pytest.raises(ShapeError):
        Early()


def test_any_as_the_array_type():
    @typed
    def f(x: Float[Any, "C"], y: Float[Tensor, "C"]): ...

    f(zeros(3), zeros(3))
    with pytest.raises(ShapeError):
        f(zeros(3), zeros(4))


def test_a_nameless_star_is_read_as_jaxtyping_does():
    assert read_axes("* 5")[0].variadic

    @typed
    def f(x: Float[Tensor, "*"], y: Float[Tensor, "* 5"]): ...

    with pytest.raises(ShapeError):
        f(zeros(3, 4), zeros(3, 5))


# right programs that are refused
class ListState(Module):
    cache: list[Float[Tensor, "B C"]]

    def __init__(self):
        super().__init__()
        self.cache = [zeros(2, 3)]

    def forward(self, x: Float[Tensor, "B"]):
        return x


@pytest.mark.parametrize(
    "hint",
    [
        list[Float[Tensor, "C"]],
        dict[str, Float[Tensor, "C"]],
        tuple[Float[Tensor, "C"], ...],
        list[Float[Tensor, "C"]] | None,
        Annotated[Float[Tensor, "C"], "doc"],
        Final[Float[Tensor, "C"]],
        ClassVar[Float[Tensor, "C"]],
    ],
)
def test_state_annotations_that_hold_a_shape_inside(hint):
    class M(Module):
        __annotations__ = {"state": hint}

        def forward(self, x: Float[Tensor, "*B"]):
            return x

    M()(zeros(2))
    m = M()
    right = {list: [zeros(3)], dict: {"a": zeros(3)}, tuple: (zeros(3),)}
    m.state = right.get(getattr(hint, "__origin__", None), zeros(3))
    if "None" in str(hint):
        m.state = [zeros(3)]
    m(zeros(2))


def test_a_buffer_annotated_as_torch_nn_buffer():
    class M(Module):
        w: Float[nn.Buffer, "C"]

        def __init__(self):
            super().__init__()
            self.w = nn.Buffer(zeros(3))

        def forward(self, x: Float[Tensor, "C"]):
            return x

    M()(zeros(3))


def test_state_that_is_a_subclass_of_tensor():
    class Marked(Tensor): ...

    class M(Module):
        w: Float[Marked, "C"]

        def __init__(self):
            super().__init__()
            self.w = zeros(3).as_subclass(Marked)

        def forward(self, x: Float[Tensor, "C"]):
            return x

    M()(zeros(3))


def test_a_typed_init_of_a_module_with_annotated_state():
    class M(Module):
        w: Float[Parameter, "C"]

        @typed
        def __init__(self, w: Float[Tensor, "C"]):
            super().__init__()
            self.w = Parameter(w)

        def forward(self, x: Float[Tensor, "C"]):
            return x

    M(zeros(3))(zeros(3))


def test_a_union_of_lists():
    @typed
    def f(x: list[Float[Tensor, "B"]] | list[Int[Tensor, "B"]]): ...

    f([zeros(3)])
    f([zeros(3).long(), zeros(3).long()])
    with pytest.raises(ShapeError):
        f([zeros(3).long(), zeros(3)])


def test_a_default_that_is_not_passed_is_not_judged():
    def f(x: Float[Tensor, "T C"], mask: Float[Tensor, "T T"] = None):
        return x

    jaxtyped(f, typechecker=beartype)(zeros(2, 3))
    typed(f)(zeros(2, 3))


def test_postponed_annotations_below_another_decorator(tmp_path, monkeypatch):
    source = """
from __future__ import annotations
import torch
from jaxtyping import Float
from torch import Tensor
import typedwave

class M(typedwave.Module):
    @torch.no_grad()
    def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x
"""
    (tmp_path / "postponed_below.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    import postponed_below

    postponed_below.M()(zeros(3))


def test_a_postponed_literal_has_quotes_but_no_shape(tmp_path, monkeypatch):
    source = """
from __future__ import annotations
from typing import TYPE_CHECKING
from jaxtyping import Float
from torch import Tensor
from typedwave import typed
if TYPE_CHECKING:
    from typing import Literal

@typed
def f(x: Float[Tensor, "B"], mode: Literal["a", "b"]): ...
"""
    (tmp_path / "postponed_literal.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    import postponed_literal
    import torch as t

    postponed_literal.f(t.zeros(3), "a")


class Node: ...


def test_an_optional_forward_reference():
    @typed
    def f(x: Float[Tensor, "B"], other: Optional["Node"] = None, more: list["Node"] = ()): ...

    f(zeros(3), Node(), [Node()])


def test_self_as_a_result():
    class M(Module):
        @typed
        def f(self, x: Float[Tensor, "B"]) -> Self:
            return self

    M().f(zeros(3))


P = ParamSpec("P")


def test_a_param_spec():
    def f(x: Float[Tensor, "B"], *args: P.args, **kwargs: P.kwargs):
        return x

    jaxtyped(f, typechecker=beartype)(zeros(3), 1)
    typed(f)(zeros(3), 1)


def test_a_format_in_braces():
    def f(x: Float[Tensor, "{n:d}"], n: int):
        return x

    jaxtyped(f, typechecker=beartype)(zeros(3), 3)
    typed(f)(zeros(3), 3)


def test_braces_in_state_that_call_a_function_of_self():
    class M(Module):
        w: Float[Tensor, "{len(self.k)}"]

        def __init__(self):
            super().__init__()
            self.k, self.w = [1, 2, 3], zeros(3)

        def forward(self, x: Float[Tensor, "C"]):
            return x

    M()(zeros(3))


def test_a_module_whose_own_metadata_is_called_state():
    class Mine:
        __state__ = "new"

        @typed
        def f(self, x: Float[Tensor, "B"]): ...

    Mine().f(zeros(3))


# compiling and exporting
def test_an_export_holds_what_the_layers_do_and_nothing_else():
    program = torch.export.export(nn.Sequential(Linear(3, 2), Tanh()), (zeros(7, 3),))
    targets = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert targets == ["aten.linear.default", "aten.tanh.default"]


def test_a_traced_forward_holds_what_the_layer_does_and_nothing_else():
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(lambda x: layer(x))
    layer = Linear(3, 2)
    names = [str(n.target) for n in graph(zeros(7, 3)).graph.nodes]
    assert not any("empty" in name for name in names)


def test_lists_are_checked_when_compiled():
    @typed
    def f(parts: list[Float[Tensor, "B C"]], named: dict[str, Float[Tensor, "B C"]]):
        return sum(parts) + named["a"]

    for parts, a in [([zeros(2, 3), zeros(2, 1)], zeros(2, 3)), ([zeros(2, 3)], zeros(1, 3))]:
        torch._dynamo.reset()
        with pytest.raises(Exception, match="ShapeError"):
            torch.compile(f, backend="eager", fullgraph=True)(parts, {"a": a})


def test_an_export_names_the_path():
    model = nn.Sequential(Tanh(), Linear(3, 2))
    with pytest.raises(Exception, match=r"^1 \(Linear\): x has the wrong shape"):
        torch.export.export(model, (zeros(7, 5),), strict=False)


def test_a_layer_inside_a_compiled_child_has_its_own_path():
    torch._dynamo.reset()
    model = nn.Sequential(nn.Sequential(Linear(3, 4)))
    model[0] = torch.compile(model[0], backend="eager")
    with pytest.raises(Exception, match=r"ShapeError: 0\.0 \(Linear\)"):
        model(zeros(2, 5))


def test_fx_traces_a_model_of_typed_layers():
    torch.fx.symbolic_trace(nn.Sequential(Linear(3, 4)))


# memory, and results that depend on what was called before
def test_results_that_differ_are_forgotten_too():
    @typed
    def loss(x: Float[Tensor, "B"]) -> float:
        loss.n += 1
        return float(loss.n)

    loss.n = 0
    for _ in range(6000):
        loss(zeros(3))
    kept = sum(map(len, loss.__contract__.remembered.values()))
    assert kept <= 4096


def by_helper(x):
    return isinstance(x, Float[Tensor, "B"])


TYPES = (Float[Tensor, "B"], Int[Tensor, "B"])
EITHER = Float[Tensor, "B"] | Int[Tensor, "B"]


class Holder:
    hint = Float[Tensor, "B"]

    @typed
    def f(self, x: Float[Tensor, "B"], y: Tensor) -> bool:
        return isinstance(y, self.hint)


# checks that do not happen
def test_state_is_checked_where_forward_is_inherited_from_torch():
    class Norm(Module, nn.BatchNorm1d):
        running_mean: Float[Tensor, "{self.num_features}"] | None

    norm = Norm(3)
    norm.running_mean = zeros(3).long()
    with pytest.raises(StateError):
        norm.eval()(zeros(2, 3))


def test_an_annotated_forward_that_is_inherited_is_checked():
    class Base(nn.Module):
        def forward(self, x: Float[Tensor, "B C"]):
            return x

    class M(Module, Base): ...

    with pytest.raises(ShapeError):
        M()(zeros(3))


def test_a_set_is_checked_whole():
    @typed
    def f(parts: set[Float[Tensor, "B"]]): ...

    for _ in range(20):
        with pytest.raises(ShapeError):
            f({zeros(3), *[zeros(4) for _ in range(9)]})


# messages that mislead
def text(call, kind=ShapeError):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_a_result_is_not_called_result_in_a_suggestion():
    @typed
    def f(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x.long()

    assert "the result.float()" not in text(lambda: f(zeros(3)))

    @typed
    def g(x: Float[Tensor, "B"]) -> tuple[Float[Tensor, "B"], int]:
        return x.long(), 1

    assert "perhaps" not in text(lambda: g(zeros(3)))


def test_a_wrong_result_does_not_suggest_to_rebuild_the_layer():
    class Wrong(Linear):
        def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B out_features"]:
            return x

    assert "perhaps" not in text(lambda: Wrong(3, 4)(zeros(2, 3)))


def test_a_tensor_that_is_no_parameter_is_not_called_no_tensor():
    @typed
    def f(x: Float[Parameter, "C"]): ...

    assert "is not a tensor" not in text(lambda: f(zeros(3)))


def test_a_numpy_array_that_is_right_is_not_blamed_for_another():
    @typed
    def f(x: Float[np.ndarray, "C"], y: Float[Tensor, "C"]): ...

    message = text(lambda: f(np.zeros(3), zeros(4)))
    assert "y has the wrong shape" in message
    assert "x is not a tensor" not in message


def test_a_tuple_of_a_wrong_length_is_told_so():
    @typed
    def f(x: tuple[Float[Tensor, "A"], Float[Tensor, "B"]]): ...

    message = text(lambda: f((zeros(3), zeros(4), zeros(5))))
    assert message.splitlines()[0].endswith('f: x is not tuple[Float "A", Float "B"]')


def test_state_that_is_a_number_is_described_as_one():
    class M(Module):
        w: Float[Tensor, "C"]

        def forward(self, x: Float[Tensor, "C"]): ...

    m = M()
    m.w = 3
    assert "got       type" not in text(lambda: m(zeros(3)), StateError)


def test_a_moved_buffer_says_where_it_was():
    class M(Module):
        w: Float[Tensor, "C"]

        def __init__(self):
            super().__init__()
            self.register_buffer("w", zeros(3))

        def forward(self, x: Float[Tensor, "C"]):
            self.w = self.w.to("meta")
            return x

    assert "on cpu" in text(lambda: M()(zeros(3)), StateError)


def test_a_drift_beside_a_new_result_is_a_state_error():
    class M(Module):
        w: Float[Tensor, "C"]

        def __init__(self):
            super().__init__()
            self.n = 0
            self.register_buffer("w", zeros(3))

        def forward(self, x: Float[Tensor, "C"]) -> Float[Tensor, "M"]:
            self.n += 1
            if self.n == 1:
                return x
            self.w = zeros(4)
            return zeros(5)

    m = M()
    m(zeros(3))
    assert "w has the wrong shape after forward" in text(lambda: m(zeros(3)), StateError)


def test_annotated_hints_are_explained():
    @typed
    def f(x: Annotated[Float[Tensor, "B C"], "doc"], y: Float[Tensor, "B"]): ...

    assert "B = 3 comes from x" in text(lambda: f(zeros(3, 2), zeros(4)))


def test_arithmetic_with_an_unknown_name_is_our_annotation_error():
    @typed
    def f(x: Float[Tensor, "T*2"]): ...

    with pytest.raises(typedwave.AnnotationError):
        f(zeros(4))


def test_classes_and_partials_are_refused_in_words():
    for wrong in (Node, functools.partial(by_helper), functools.cached_property(by_helper)):
        with pytest.raises(TypeError, match="typed"):
            typed(wrong)


def test_a_checked_forward_is_inherited_and_not_copied():
    class M(Linear): ...

    assert "forward" not in vars(M)
    assert M.forward is Linear.forward


def test_a_number_that_a_shape_asks_for_is_remembered_by_its_value():
    @typed
    def f(x: Float[Tensor, "{n}"], n: int) -> Float[Tensor, "{n}"]:
        return x

    for _ in range(2):
        f(zeros(3), 3)
        f(zeros(4), 4)
        with pytest.raises(ShapeError):
            f(zeros(3), 4)


def test_arrays_of_numpy_are_remembered_by_their_dtype():
    @typed
    def f(x: Float[np.ndarray, "C"]): ...

    for _ in range(2):
        f(np.zeros(3))
        with pytest.raises(ShapeError, match="x has the wrong dtype"):
            f(np.zeros(3, dtype=int))


TYPES = (Float[Tensor, "B"], Int[Tensor, "B"])
EITHER = Float[Tensor, "B"] | Int[Tensor, "B"]


def test_a_body_that_asks_by_an_alias_sees_the_sizes_at_every_call():
    @typed
    def by_tuple(x: Float[Tensor, "B"], y: Tensor) -> bool:
        return isinstance(y, TYPES)

    @typed
    def by_union(x: Float[Tensor, "B"], y: Tensor) -> bool:
        return isinstance(y, EITHER)

    for ask in (by_tuple, by_union):
        assert [ask(zeros(3), zeros(4)) for _ in range(2)] == [False, False]
        assert ask(zeros(3), zeros(3))


@runtime_checkable
class Named(Protocol):
    name: str


def test_what_a_protocol_asks_of_an_object_is_asked_at_every_call():
    @typed
    def f(x: Float[Tensor, "B"], who: Named): ...

    named, nameless = Node(), Node()
    named.name = "a"
    for _ in range(2):
        f(zeros(3), named)
        with pytest.raises(ShapeError, match="who is not Named"):
            f(zeros(3), nameless)


def test_a_function_that_forgot_remembers_again(monkeypatch):
    @typed
    def f(x: Float[Tensor, "B"]): ...

    monkeypatch.setattr("typedwave.contract.function.REMEMBERED", 3)
    kept = []
    for size in range(1, 9):
        f(zeros(size))
        kept.append(len(f.__contract__.remembered))
    assert kept == [1, 2, 3, 1, 2, 3, 1, 2]


def test_state_of_a_subclass_may_change_where_its_annotation_lets_it():
    class Marked(Tensor): ...

    class M(Module):
        w: Float[Marked, "_"]

        def __init__(self):
            super().__init__()
            self.w = zeros(3).as_subclass(Marked)

        def forward(self, x: Float[Tensor, "C"]):
            self.w = zeros(len(self.w) + 1).as_subclass(Marked)

    m = M()
    for _ in range(3):
        m(zeros(3))
    assert m.w.shape == (6,)


def test_a_tuple_of_a_wrong_length_is_told_beside_another_mistake():
    @typed
    def f(x: tuple[Float[Tensor, "A"], Float[Tensor, "B"]], y: Float[Tensor, "3"]): ...

    assert (
        text(lambda: f((zeros(3),), zeros(4)))
        .splitlines()[0]
        .endswith('x is not tuple[Float "A", Float "B"]; y has the wrong shape')
    )


def test_what_a_comparison_gives_back_to_python_is_no_result():
    class Sized:
        @typed
        def __eq__(self, other: object) -> bool:
            return NotImplemented

    assert (Sized() == 3) is False


T = TypeVar("T", bound="Later")


def test_a_hint_that_beartype_cannot_judge_from_outside_is_passed_over():
    @typed
    def make(cls: type[T], x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x

    assert make(int, torch.zeros(3)).shape == (3,)
    with pytest.raises(ShapeError, match="x has the wrong shape"):
        make(int, torch.zeros(3, 3))
