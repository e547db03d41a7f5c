from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

import typedwave
from typedwave import ShapeError
from typedwave.contract import where
from typedwave.nn import Linear


class Model(nn.Module):
    """Knows nothing of typedwave; calls ``inner`` and nothing else."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class TypedModel(typedwave.Module):
    """Is checked itself, too."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.inner(x)


def refused_at(call: Callable[..., Any]) -> str:
    with pytest.raises(ShapeError) as caught:
        call(torch.zeros(7, 5))
    return caught.value.where


def bad() -> Linear:
    return Linear(3, 2)


def test_a_module_that_is_called_directly_has_no_path() -> None:
    assert refused_at(bad()) == refused_at(bad().forward) == "Linear"
    assert where(bad()) == "Linear"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: nn.Sequential(nn.Identity(), bad()), "1 (Linear)"),
        (lambda: typedwave.nn.Sequential(nn.Identity(), bad()), "1 (Linear)"),
        (lambda: nn.Sequential(OrderedDict(first=bad())), "first (Linear)"),
        (lambda: Model(bad()), "inner (Linear)"),
        (lambda: TypedModel(bad()), "inner (Linear)"),
        (lambda: Model(nn.Sequential(nn.Tanh(), Model(bad()))), "inner.1.inner (Linear)"),
        (lambda: nn.Sequential(TypedModel(Model(bad()))), "0.inner.inner (Linear)"),
    ],
)
def test_the_path_is_that_in_the_outermost_model(
    model: Callable[[], nn.Module], expected: str
) -> None:
    assert refused_at(model()) == expected


def test_a_second_call_and_a_remembered_outer_call_name_the_same_path() -> None:
    model = TypedModel(nn.Sequential(bad()))
    model(torch.zeros(7, 3))
    model(torch.zeros(7, 3))
    assert refused_at(model) == refused_at(model) == "inner.0 (Linear)"
    assert refused_at(model.inner) == "0 (Linear)"


def test_modules_in_lists_and_dicts_have_a_path() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Identity(), bad()])
            self.heads = nn.ModuleDict({"a": bad()})

        def forward(self, x: Tensor, use: str) -> Tensor:
            return self.heads["a"](x) if use == "heads" else self.layers[1](x)

    lists = Lists()
    assert refused_at(lambda x: lists(x, "layers")) == "layers.1 (Linear)"
    assert refused_at(lambda x: lists(x, "heads")) == "heads.a (Linear)"


def test_a_module_used_twice_goes_by_its_first_path() -> None:
    layer = Linear(5, 5)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    layer.weight = nn.Parameter(torch.zeros(3, 5))
    layer.bias = nn.Parameter(torch.zeros(3))
    assert refused_at(model) == "0 (Linear)"


def test_methods_that_are_not_forward_give_a_path_as_well() -> None:
    class Trainer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(bad())

        def fit(self, x: Tensor) -> Tensor:
            return (lambda y: self.net(y))(x)

    assert refused_at(Trainer().fit) == "net.0 (Linear)"


def test_a_model_that_only_calls_the_layer_without_owning_it_is_no_root() -> None:
    layer = bad()

    class Borrows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return borrowed(x)

    def borrowed(x: Tensor) -> Tensor:
        return nn.Sequential(nn.Identity(), layer)(x)

    assert refused_at(Borrows()) == "1 (Linear)"


def test_a_self_that_is_no_module_is_passed_over() -> None:
    class Runner:
        def __init__(self) -> None:
            self.model = nn.Sequential(bad())

        def run(self, x: Tensor) -> Tensor:
            return self.model(x)

    assert refused_at(Runner().run) == "0 (Linear)"


def test_origins_carry_the_path() -> None:
    with pytest.raises(ShapeError) as caught:
        Model(bad())(torch.zeros(7, 5))
    assert [origin.source for origin in caught.value.origins] == ["inner.weight f32[2, 3]"]


def test_a_state_error_carries_the_path() -> None:
    layer = bad()
    layer.bias = nn.Parameter(torch.zeros(7))
    with pytest.raises(typedwave.StateError) as caught:
        Model(layer)(torch.zeros(7, 3))
    assert caught.value.where == "inner (Linear)"


@pytest.mark.parametrize("compile_", [torch.compile, lambda m, **k: m.compile(**k) or m])
def test_a_compiled_model_gives_the_path_in_the_model(compile_: Callable[..., Any]) -> None:
    torch._dynamo.reset()
    model = compile_(Model(nn.Sequential(nn.Tanh(), bad())), backend="eager", fullgraph=True)
    with pytest.raises(Exception, match=r"ShapeError: inner\.1 \(Linear\): x has the wrong shape"):
        model(torch.zeros(7, 5))
    torch._dynamo.reset()
