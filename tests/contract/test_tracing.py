from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from drifting import (
    BatchNormByData,
    BatchNormOfPlainAttributes,
    BatchNormOfTheLecture,
    DisagreesWithItself,
    DividesItsCount,
    Drifts,
    ReturnsNothing,
    SwapsResultAxes,
)
from jaxtyping import Float
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.export import Dim
from torch.nn import Parameter

import typedwave
from typedwave import ShapeError, StateError, typed
from typedwave.nn import BatchNorm1d, Embedding, FlattenConsecutive, Linear, Tanh

zeros = torch.zeros
pytestmark = pytest.mark.usefixtures("fresh_dynamo")


class Graphs:
    """A backend that runs nothing but what it was given, and keeps what that was."""

    def __init__(self) -> None:
        self.kept: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.kept.append(graph)
        return graph.forward

    def nodes(self) -> list[Counter[tuple[str, str]]]:
        return [Counter((n.op, str(n.target)) for n in graph.graph.nodes) for graph in self.kept]


def compiled(function: Any, **options: Any) -> Any:
    return torch.compile(function, backend="eager", fullgraph=True, **options)


def refused(call: Callable[[], Any]) -> str:
    """Our text in the error that Dynamo raises, without what it says of the user's code."""
    with pytest.raises(Exception, match=r"ShapeError|StateError") as caught:
        call()
    text = str(caught.value)
    return text.removeprefix("ShapeError: ").removeprefix("StateError: ").split("\n\nfrom user")[0]


@typed
def outer(x: Float[Tensor, "B"], y: Float[Tensor, "C"]) -> Float[Tensor, "B C"]:
    return x[:, None] * y


def unchecked_outer(x: Tensor, y: Tensor) -> Tensor:
    return x[:, None] * y


class Norm(nn.Module):
    """BatchNorm1d, unchecked."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        return BatchNorm1d.forward.__wrapped__(self.inner, x)


def test_a_wrong_argument_is_told_as_in_eager_mode() -> None:
    model = nn.Sequential(Tanh(), Linear(3, 2))
    with pytest.raises(ShapeError) as eager:
        model(zeros(7, 5))
    assert refused(lambda: compiled(model)(zeros(7, 5))) == str(eager.value)
    with pytest.raises(ShapeError) as eager:
        outer(zeros(3), zeros(3, 1))
    assert refused(lambda: compiled(outer)(zeros(3), zeros(3, 1))) == str(eager.value)


def test_arguments_that_disagree_are_told_as_in_eager_mode() -> None:
    @typed
    def add(x: Float[Tensor, "*B C"], y: Float[Tensor, "*B C"], *, z: Float[Tensor, "#C"]) -> Any:
        return x + y + z

    for x, y, z in [
        (zeros(2, 3), zeros(1, 3), zeros(3)),
        (zeros(2, 3), zeros(2, 1), zeros(1)),
        (zeros(2, 3), zeros(2, 3), zeros(1, 1)),
        (zeros(2, 3), zeros(2, 3).long(), zeros(3)),
        (zeros(1, 3), zeros(2, 3), zeros(())),
    ]:
        torch._dynamo.reset()
        with pytest.raises(ShapeError) as eager:
            add(x, y, z=z)
        assert refused(lambda x=x, y=y, z=z: compiled(add)(x, y, z=z)) == str(eager.value)


def test_a_wrong_result_that_nothing_notices_is_told() -> None:
    model = nn.Sequential(SwapsResultAxes(), nn.Tanh())
    assert refused(lambda: compiled(model)(zeros(2, 3))) == (
        "0 (SwapsResultAxes): the result has the wrong shape\n"
        '  expected  Float "B T"   B = 2, T = 3\n'
        "  got       f32[3, 2]     axis 0 is 3, axis 1 is 2\n"
        "  B = 2 comes from x f32[2, 3]\n"
        "  T = 3 comes from x f32[2, 3]"
    )

    def sums(x: Tensor) -> Tensor:
        return wrong(x).sum()

    @typed
    def wrong(x: Float[Tensor, "B C"]) -> Float[Tensor, "B"]:
        return x.sum(0)

    assert "the result has the wrong shape" in refused(lambda: compiled(sums)(zeros(2, 3)))


def test_a_result_of_none_is_told() -> None:
    def ignores(x: Tensor) -> Tensor:
        module(x)
        return x + 1

    module = ReturnsNothing()
    assert refused(lambda: compiled(ignores)(zeros(2))) == (
        'ReturnsNothing: the result is not a tensor\n  expected  Float "*B"\n  got       None'
    )


@pytest.mark.parametrize(
    ("module", "x"),
    [
        (BatchNormOfTheLecture(3), zeros(2, 5, 3)),
        (BatchNormOfPlainAttributes(3), zeros(2, 5, 3)),
        (BatchNormByData(3), zeros(2, 5, 3)),
        (DividesItsCount(), zeros(3)),
        (Drifts(3, lambda total: torch.cat([total, total])), zeros(2, 3)),
        (Drifts(3, lambda total: total[None]), zeros(2, 3)),
    ],
)
def test_a_buffer_that_drifts_is_told_as_in_eager_mode(module: nn.Module, x: Tensor) -> None:
    text = refused(lambda: compiled(module)(x))
    with pytest.raises(StateError) as eager:
        module(x)
    assert text == str(eager.value)


def test_state_that_is_wrong_from_the_start_is_told() -> None:
    module = DisagreesWithItself(3, 1)
    text = refused(lambda: compiled(module)(zeros(2, 3)))
    with pytest.raises(StateError) as eager:
        module(zeros(2, 3))
    assert text == str(eager.value)


def test_a_buffer_that_is_updated_rightly_is_updated() -> None:
    module, twin = Drifts(3, lambda total: total + 1), Drifts(3, lambda total: total + 1)
    module.calls_before = twin.calls_before = 0
    compiled(module)(zeros(2, 3))
    twin(zeros(2, 3))
    assert torch.equal(module.total, twin.total)
    norm = BatchNormOfTheLecture(3)
    assert compiled(norm)(torch.randn(7, 3)).shape == (7, 3)
    assert norm.running_mean.shape == (1, 3)


def test_the_graph_is_that_of_the_undecorated_function() -> None:
    checked, unchecked = Graphs(), Graphs()
    args = (zeros(3), zeros(5))
    torch.compile(outer, backend=checked, fullgraph=True)(*args)
    torch.compile(unchecked_outer, backend=unchecked, fullgraph=True)(*args)
    assert checked.nodes() == unchecked.nodes()


@pytest.mark.parametrize("training", [True, False])
def test_the_graph_of_a_layer_with_state_is_that_of_the_unchecked_layer(training: bool) -> None:
    checked, unchecked = Graphs(), Graphs()
    x = torch.randn(7, 5)
    torch.compile(BatchNorm1d(5).train(training), backend=checked, fullgraph=True)(x)
    torch.compile(Norm().train(training), backend=unchecked, fullgraph=True)(x)
    ops = [Counter({k[0]: v for k, v in nodes.items()}) for nodes in checked.nodes()]
    expected = [Counter({k[0]: v for k, v in nodes.items()}) for nodes in unchecked.nodes()]
    assert ops == expected
    assert [len(g.graph.nodes) for g in checked.kept] == [
        len(g.graph.nodes) for g in unchecked.kept
    ]


def test_dynamic_sizes_stay_dynamic() -> None:
    counter = CompileCounter()
    function = torch.compile(outer, backend=counter, fullgraph=True, dynamic=True)
    for b, c in [(3, 5), (4, 7), (11, 2)]:
        assert function(zeros(b), zeros(c)).shape == (b, c)
    assert counter.frame_count == 1


def test_a_whole_model_compiles_once_for_all_batches() -> None:
    counter = CompileCounter()
    model = nn.Sequential(
        Embedding(27, 5),
        FlattenConsecutive(2, squeeze=False),
        Linear(10, 6),
        BatchNorm1d(6),
        Tanh(),
    ).eval()
    function = torch.compile(model, backend=counter, fullgraph=True, dynamic=True)
    for batch in (3, 5, 8):
        ids = zeros(batch, 8, dtype=torch.int64)
        assert torch.equal(function(ids), model(ids))
    assert counter.frame_count == 1


def test_what_is_checked_adds_no_guard() -> None:
    counters = []
    for function in (outer, unchecked_outer):
        torch._dynamo.reset()
        counter = CompileCounter()
        call = torch.compile(function, backend=counter, fullgraph=True)
        for b, c in [(3, 5), (4, 7), (6, 7), (6, 6), (2, 2), (9, 9)]:
            call(zeros(b), zeros(c))
        counters.append(counter.frame_count)
    assert counters[0] == counters[1]


def test_a_wrong_dynamic_size_is_told_with_the_sizes_of_the_example() -> None:
    text = refused(lambda: compiled(Linear(3, 2), dynamic=True)(zeros(7, 5)))
    with pytest.raises(ShapeError) as eager:
        Linear(3, 2)(zeros(7, 5))
    assert "in_features = 3" in text
    assert text.splitlines()[0] == str(eager.value).splitlines()[0]
    assert text.splitlines()[1].split() == str(eager.value).splitlines()[1].split()
    assert "axis -1 is 5" in text


def test_arithmetic_with_attributes_is_checked_on_symbols() -> None:
    class Pairs(typedwave.Module):
        def __init__(self, wrong: int) -> None:
            super().__init__()
            self.n, self.wrong = 2, wrong

        def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T//{self.n} C*{self.n}"]:
            y = x.unflatten(1, (-1, self.n)).flatten(2)
            return y[:, self.wrong :]

    for dynamic in (True, False):
        torch._dynamo.reset()
        assert compiled(Pairs(0), dynamic=dynamic)(zeros(3, 8, 5)).shape == (3, 4, 10)
        text = refused(lambda d=dynamic: compiled(Pairs(1), dynamic=d)(zeros(3, 8, 5)))
        assert "T//2 = 4" in text
        assert "axis 1 is 3" in text


def test_arguments_that_are_no_tensors_are_let_through() -> None:
    @typed
    def scaled(
        x: Float[Tensor, "B"], by: float, names: list[str], config: dict[str, Any] | None = None
    ) -> Float[Tensor, "B"]:
        return x * by * len(names)

    assert compiled(scaled)(zeros(3), 2.0, ["a"], {"b": 1}).shape == (3,)
    assert "x has the wrong shape" in refused(lambda: compiled(scaled)(zeros(3, 3), 2.0, ["a"]))


class Config:
    """Nothing that a contract knows."""

    factor = 2


def test_an_argument_that_the_compiler_does_not_show_is_let_through() -> None:
    @typed
    def scaled(x: Float[Tensor, "B"], by: Float[Tensor, "B"] | Config) -> Float[Tensor, "B"]:
        return x * by.factor

    assert compiled(scaled)(zeros(3), Config()).shape == (3,)


def test_a_wrong_argument_that_the_body_ignores_is_told() -> None:
    @typed
    def ignores(x: Float[Tensor, "B"], mask: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x + 1

    text = refused(lambda: compiled(ignores)(zeros(3), zeros(4)))
    assert "mask has the wrong shape" in text


def test_star_arguments_are_checked() -> None:
    @typed
    def total(*parts: Float[Tensor, "B"], **named: Float[Tensor, "B"]) -> Any:
        return sum(parts) + named["a"]

    assert compiled(total)(zeros(3), zeros(3), a=zeros(3)).shape == (3,)
    for args, a in [((zeros(3), zeros(1)), zeros(3)), ((zeros(3), zeros(3)), zeros(1))]:
        torch._dynamo.reset()
        with pytest.raises(ShapeError) as eager:
            total(*args, a=a)
        assert refused(lambda args=args, a=a: compiled(total)(*args, a=a)) == str(eager.value)


def test_a_compiled_layer_trains_like_an_eager_one() -> None:
    eager, other = Linear(3, 2), Linear(3, 2)
    other.load_state_dict(eager.state_dict())
    x = torch.randn(7, 3)
    for layer in (eager, compiled(other)):
        layer(x).sum().backward()
    assert torch.equal(eager.weight.grad, other.weight.grad)


def test_optional_state_and_a_plain_tensor_are_traced() -> None:
    class Shifted(typedwave.Module):
        shift: Float[Tensor, "C"]
        scale: Float[Parameter, "C"] | None

        def __init__(self) -> None:
            super().__init__()
            self.shift, self.scale = torch.ones(3), None

        def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
            return x + self.shift

    module = Shifted()
    assert torch.equal(compiled(module)(zeros(2, 3)), torch.ones(2, 3))
    module.shift = torch.ones(1)
    assert "C = 1 comes from shift f32[1]" in refused(lambda: compiled(module)(zeros(2, 3)))


@pytest.mark.parametrize("strict", [True, False])
def test_an_exported_layer_keeps_a_dynamic_batch_and_a_wrong_one_is_told(strict: bool) -> None:
    model = nn.Sequential(Linear(3, 2), Tanh())
    shapes = ({0: Dim("batch")},)
    program = torch.export.export(model, (zeros(7, 3),), dynamic_shapes=shapes, strict=strict)
    assert program.module()(zeros(11, 3)).shape == (11, 2)
    with pytest.raises(Exception, match=r"Linear\)?: x has the wrong shape"):
        torch.export.export(model, (zeros(7, 5),), strict=strict)


def test_a_strict_export_holds_what_the_layers_do_and_nothing_else() -> None:
    model = nn.Sequential(Linear(3, 2), Tanh())
    program = torch.export.export(model, (zeros(7, 3),), strict=True)
    targets = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert targets == ["aten.linear.default", "aten.tanh.default"]


def test_a_wrong_result_is_told_in_an_export() -> None:
    for strict in (True, False):
        with pytest.raises(Exception, match="the result has the wrong shape"):
            torch.export.export(SwapsResultAxes(), (zeros(2, 3),), strict=strict)
