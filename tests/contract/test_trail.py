import copy
import gc
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

import typedwave
from typedwave import ContractError, ShapeError, typed
from typedwave.contract import trail
from typedwave.errors import Step
from typedwave.nn import Embedding, Linear, Sequential, Tanh

zeros = torch.zeros


@pytest.fixture(autouse=True)
def _no_trail() -> None:
    trail.forget()


def flow(call: Callable[[], Any]) -> list[str]:
    """The lines under "shapes until here" of the error of a call."""
    with pytest.raises(ContractError) as caught:
        call()
    lines = str(caught.value).splitlines()
    if "  shapes until here" not in lines:
        assert caught.value.flow == ()
        return []
    lines = lines[lines.index("  shapes until here") + 1 :]
    return [" ".join(line.split()) for line in lines if line.startswith("    ")]


class Block(typedwave.Module):
    """Calls its layers in another order than that of their names."""

    def __init__(self, channels: int, last: nn.Module | None = None) -> None:
        super().__init__()
        self.b = last or Tanh()
        self.a = Linear(channels, channels)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.b(self.a(self.a(x)))


@pytest.mark.parametrize("before", [0, 1, 2, 5])
def test_the_calls_of_the_outermost_module_are_told_up_to_the_failing_one(before: int) -> None:
    model = Sequential(Linear(3, 5), Tanh(), Sequential(Tanh(), Linear(5, 2)), Linear(2, 7))
    for i in range(before):
        model(zeros(4 + i, 3))
    model[2][1] = Linear(4, 2)
    model[3](zeros(9, 2))  # by hand, and no part of the flow
    assert flow(lambda: model(zeros(4, 3))) == [
        "0 Linear f32[4, 3] -> f32[4, 5]",
        "1 Tanh f32[4, 5] -> f32[4, 5]",
        "2.0 Tanh f32[4, 5] -> f32[4, 5]",
        "2.1 Linear f32[4, 5] -> refused",
    ]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_what_was_called_inside_of_a_call_that_returned_is_folded(before: int) -> None:
    model = Sequential(Block(3), Block(3, Sequential(Tanh(), Tanh())), Linear(3, 2))
    for _ in range(before):
        model(zeros(4, 3))
    model[2] = Linear(5, 2)
    assert flow(lambda: model(zeros(4, 3))) == [
        "0 Block f32[4, 3] -> f32[4, 3]",
        "1 Block f32[4, 3] -> f32[4, 3]",
        "2 Linear f32[4, 3] -> refused",
    ]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_calls_are_told_in_the_order_in_which_they_returned(before: int) -> None:
    model = Sequential(Block(3))
    for _ in range(before):
        model(zeros(4, 3))
    model[0].b = Linear(7, 3)
    assert flow(lambda: model(zeros(4, 3))) == [
        "0.a Linear f32[4, 3] -> f32[4, 3]",
        "0.b Linear f32[4, 3] -> refused",
    ]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_model_that_is_not_typed_has_the_flow_of_its_typed_layers(before: int) -> None:
    model = nn.Sequential(Linear(3, 5), nn.Dropout(0.0), nn.Sequential(Tanh()), Linear(5, 2))
    for _ in range(before):
        model(zeros(4, 3))
    model[3] = Linear(4, 2)
    assert flow(lambda: model(zeros(6, 3))) == [
        "0 Linear f32[6, 3] -> f32[6, 5]",
        "2.0 Tanh f32[6, 5] -> f32[6, 5]",
        "3 Linear f32[6, 5] -> refused",
    ]


def test_a_result_that_is_refused_is_in_the_flow_and_a_state_that_changed() -> None:
    class Wrong(typedwave.Module):
        def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B"]:
            return x

    class Grows(typedwave.Module):
        total: Float[Tensor, "C"]

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", zeros(3))

        def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
            self.total = torch.cat([self.total, self.total])
            return x

    assert flow(lambda: Sequential(Tanh(), Wrong())(zeros(4, 3)))[-1] == (
        "1 Wrong f32[4, 3] -> f32[4, 3], refused"
    )
    assert flow(lambda: Sequential(Tanh(), Grows())(zeros(4, 3)))[-1] == (
        "1 Grows f32[4, 3] -> its state changed"
    )
    broken = Grows()
    broken.total = zeros(3, 3)
    assert flow(lambda: Sequential(Tanh(), broken)(zeros(4, 3)))[-1] == (
        "1 Grows f32[4, 3] -> refused"
    )


def test_there_is_no_flow_where_nothing_returned_before() -> None:
    model = Sequential(Sequential(Linear(3, 2)))
    for _ in range(2):
        assert flow(lambda: model(zeros(4, 5))) == []
        assert flow(lambda: Linear(3, 2)(zeros(4, 5))) == []
        model(zeros(4, 3))


def test_an_exception_ends_the_flow_of_its_call() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError

    model = Sequential(Tanh(), Linear(3, 3), Fails())
    for _ in range(2):
        with pytest.raises(KeyError):
            model(zeros(4, 3))
    model[1] = Linear(5, 3)
    assert flow(lambda: model(zeros(4, 3))) == [
        "0 Tanh f32[4, 3] -> f32[4, 3]",
        "1 Linear f32[4, 3] -> refused",
    ]


@typed
def double(x: Float[Tensor, "B"], *, by: int = 2) -> Float[Tensor, "B"]:
    return x * by


@typed
def pair(x: Float[Tensor, "B"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    return x, double(x)


@typed
def pipeline(x: Float[Tensor, "B"], y: Any) -> Float[Tensor, "B"]:
    a, b = pair(double(x))
    return double(a + b + double(y))


@pytest.mark.parametrize("before", [0, 1, 2])
def test_functions_have_a_flow_of_what_returned_in_the_function_that_called_them(
    before: int,
) -> None:
    for _ in range(before):
        pipeline(zeros(3), zeros(3))
    double(zeros(7))  # before, and no part of it
    with pytest.raises(ShapeError) as caught:
        pipeline(zeros(3), zeros(3, 1))
    assert caught.value.flow == (
        Step("", "pair", "f32[3]", "(f32[3], f32[3])"),
        Step("", "double", "f32[3, 1]", "refused"),
    )
    assert flow(lambda: double(zeros(3, 1))) == []


def test_a_function_that_raised_is_no_part_of_a_later_flow() -> None:
    @typed
    def fails(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        raise KeyError(double(x))

    for _ in range(3):
        with pytest.raises(KeyError):
            fails(zeros(3))
        pair(zeros(3))
        assert flow(lambda: double(zeros(3, 1))) == []


def test_methods_hooked_modules_and_several_inputs_are_in_the_flow() -> None:
    class Attend(typedwave.Module):
        def forward(
            self, q: Float[Tensor, "B T C"], k: Float[Tensor, "B S C"], scale: float = 1.0
        ) -> Float[Tensor, "B T S"]:
            return q @ k.mT * scale

    class Model(typedwave.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.attend, self.out = Embedding(9, 4), Attend(), Linear(6, 2)

        def forward(self, x: Any) -> Float[Tensor, "*B C"]:
            x = self.embed(x)
            return self.out(self.attend(x, k=x))

    model = Model()
    model.attend.register_forward_hook(lambda *_: None)
    for _ in range(3):
        assert flow(lambda: model(zeros(2, 5).long())) == [
            "embed Embedding i64[2, 5] -> f32[2, 5, 4]",
            "attend Attend f32[2, 5, 4], f32[2, 5, 4] -> f32[2, 5, 5]",
            "out Linear f32[2, 5, 5] -> refused",
        ]


def test_a_long_flow_is_cut_and_counted() -> None:
    model = Sequential(*[Tanh() for _ in range(30)], Linear(3, 2))
    lines = flow(lambda: model(zeros(4, 5)))
    assert lines[0] == "(19 calls before)"
    assert lines[1] == "19 Tanh f32[4, 5] -> f32[4, 5]"
    assert lines[-1] == "30 Linear f32[4, 5] -> refused"
    assert len(lines) == 13


def test_a_call_with_more_marks_than_are_kept_tells_its_end() -> None:
    model = Sequential(*[Tanh() for _ in range(trail.LONGEST + 5)], Linear(3, 2))
    lines = flow(lambda: model(zeros(4, 5)))
    assert lines[-2:] == [
        f"{trail.LONGEST + 4} Tanh f32[4, 5] -> f32[4, 5]",
        f"{trail.LONGEST + 5} Linear f32[4, 5] -> refused",
    ]


def test_models_in_other_threads_are_left_out() -> None:
    stop = threading.Event()
    other = Sequential(Tanh(), Tanh())

    def work() -> None:
        while not stop.is_set():
            other(zeros(8, 8))
            time.sleep(1e-4)  # or its marks alone would fill the trail

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            model = Sequential(Tanh(), Linear(3, 2))
            assert flow(lambda model=model: model(zeros(4, 5))) == [
                "0 Tanh f32[4, 5] -> f32[4, 5]",
                "1 Linear f32[4, 5] -> refused",
            ]
    finally:
        stop.set()
        thread.join()


def test_the_flow_survives_pickling() -> None:
    with pytest.raises(ShapeError) as caught:
        Sequential(Tanh(), Linear(3, 2))(zeros(4, 5))
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.flow == caught.value.flow != ()
    assert str(error) == str(caught.value)


def test_a_copy_of_a_model_has_a_flow_of_its_own() -> None:
    model = Sequential(Tanh(), Linear(3, 2))
    model(zeros(4, 3))
    copied = copy.deepcopy(model)
    copied[1] = Linear(5, 2)
    model(zeros(6, 3))
    assert flow(lambda: copied(zeros(4, 3))) == [
        "0 Tanh f32[4, 3] -> f32[4, 3]",
        "1 Linear f32[4, 3] -> refused",
    ]


@pytest.mark.parametrize("before", [0, 1])
def test_a_model_that_is_compiled_has_the_flow_of_the_eager_one(before: int) -> None:
    torch._dynamo.reset()
    model = Sequential(Linear(3, 5), Sequential(Tanh()), Linear(4, 2))
    expected = [
        "0 Linear f32[6, 3] -> f32[6, 5]",
        "1 Sequential f32[6, 5] -> f32[6, 5]",
        "2 Linear f32[6, 5] -> refused",
    ]
    for _ in range(before):
        assert flow(lambda: model(zeros(6, 3))) == expected
    with pytest.raises(Exception, match="shapes until here") as caught:
        torch.compile(model, backend="eager", fullgraph=True)(zeros(6, 3))
    told = [" ".join(line.split()) for line in str(caught.value).splitlines()]
    start = told.index("shapes until here") + 1
    assert told[start : start + 3] == expected
    torch._dynamo.reset()


def test_what_modules_did_that_are_gone_is_not_told_of_those_that_got_their_place() -> None:
    def plain() -> nn.Module:  # a root of torch's leaves no mark where it begins
        return nn.Sequential(nn.Identity(), Linear(4, 3), Linear(3, 2))

    for _ in range(50):
        plain()(zeros(7, 4))
        gc.collect()
        assert flow(lambda: plain()(zeros(2, 5))) == []
