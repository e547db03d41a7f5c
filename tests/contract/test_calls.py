import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn import Parameter

import typedwave
from typedwave import ShapeError, StateError
from typedwave.contract import calls as calls_module
from typedwave.contract.trail import forget
from typedwave.nn import BatchNorm1d, FlattenConsecutive, Linear, Sequential, Tanh

zeros = torch.zeros


@pytest.fixture
def only_like_the_last(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """From the moment it is called on, a call that is not like the last one fails."""

    def begin() -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("this call took the long way")

        for name in ("renew", "judge_after", "other_call"):
            monkeypatch.setattr(calls_module._ModuleCall, name, refuse)

    yield begin
    monkeypatch.undo()


class Scale(typedwave.Module):
    """Has state of all kinds and an argument of each kind."""

    gain: Float[Parameter, "C"]
    shift: Float[Parameter, "C"] | None
    total: Float[Tensor, "C"]

    def __init__(self, channels: int, *, shift: bool = True) -> None:
        super().__init__()
        self.gain = Parameter(torch.ones(channels))
        self.shift = Parameter(zeros(channels)) if shift else None
        self.register_buffer("total", zeros(channels))
        self.n = 1
        self.ran = 0

    def forward(
        self,
        x: Float[Tensor, "*B C*{self.n}"],
        mask: Float[Tensor, "*B"] | None = None,
        *,
        mode: Literal["a", "b"] = "a",
        by: float = 1.0,
        parts: tuple[Float[Tensor, "..."], ...] = (),
    ) -> Float[Tensor, "*B C*{self.n}"]:
        self.ran += 1
        return x * by if mode == "a" else x[..., :1]


def test_a_call_like_the_last_one_goes_no_long_way(
    only_like_the_last: Callable[[], None],
) -> None:
    model = Sequential(Linear(4, 6), BatchNorm1d(6), Tanh(), Sequential(FlattenConsecutive(2)))
    plain, args = Scale(3, shift=False), (zeros(2, 3), zeros(2))
    model(zeros(3, 8, 4))
    plain(*args)
    with typedwave.no_checks():
        pass
    only_like_the_last()
    for _ in range(3):
        assert model(torch.randn(3, 8, 4)).shape == (3, 4, 12)
        assert plain(*args).shape == (2, 3)


SWAPS: dict[str, Callable[[Scale], object]] = {
    "a parameter": lambda m: setattr(m, "gain", Parameter(torch.ones(1))),
    "the data of a parameter": lambda m: setattr(m.gain, "data", torch.ones(1)),
    "an optional parameter": lambda m: setattr(m, "shift", Parameter(torch.ones(5))),
    "the dtype of an optional parameter": lambda m: setattr(
        m, "shift", Parameter(zeros(3).long(), requires_grad=False)
    ),
    "a buffer": lambda m: setattr(m, "total", torch.ones(1)),
    "the data of a buffer": lambda m: setattr(m.total, "data", torch.ones(1)),
    "a buffer in place": lambda m: m.total.resize_(7),
    "a dtype": lambda m: setattr(m.total, "data", zeros(3).long()),
    "a number that a shape asks for": lambda m: setattr(m, "n", 2),
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS)
@pytest.mark.parametrize("shift", [True, False])
def test_a_change_between_calls_is_noticed_before_the_body_runs(
    swap: Callable[[Scale], object], shift: bool
) -> None:
    module = Scale(3, shift=shift)
    for _ in range(3):
        module(zeros(2, 3))
    swap(module)
    with pytest.raises((ShapeError, StateError)):
        module(zeros(2, 3))
    assert module.ran == 3


def test_state_that_is_taken_away_or_moved_is_noticed() -> None:
    module = Scale(3)
    for _ in range(2):
        module(zeros(2, 3))
    module.shift = None
    assert module(zeros(2, 3)).shape == (2, 3)
    module.to("meta")
    assert module(zeros(2, 3)).shape == (2, 3)
    module.total = zeros(3)  # on another device than the rest, which nobody forbids
    for _ in range(2):
        assert module(zeros(2, 3)).shape == (2, 3)
    del module.total
    for _ in range(2):
        assert module(zeros(2, 3)).shape == (2, 3)


def test_a_module_that_was_moved_between_calls_has_not_drifted() -> None:
    class Select(typedwave.Module):
        total: Float[Tensor, "C"]

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", zeros(3))

        def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "_ C"]:
            return x[x[:, 0] > 0]

    select = Select()
    for _ in range(2):
        select(zeros(2, 3))
    select.to("meta")
    assert select(torch.ones(2, 3)).shape == (2, 3)  # a result that is new has the call judged


def test_a_none_that_is_a_plain_attribute_may_not_become_one_that_does_not_fit() -> None:
    class Sets(Scale):
        def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
            self.shift = self.becomes
            return x

    module = Sets(3, shift=False)
    module.becomes = None
    for _ in range(3):
        module(zeros(2, 3))
    module.becomes = zeros(5)
    with pytest.raises(StateError, match=r"shift .* after forward"):
        module(zeros(2, 3))
    module.shift, module.becomes = None, zeros(3)
    assert module(zeros(2, 3)).shape == (2, 3)


def test_what_a_shape_asks_of_a_module_may_not_be_gone_after_a_call() -> None:
    class Asks(typedwave.Module):
        total: Float[Tensor, "{self.sizes[0]}"]

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", zeros(3))
            self.sizes = {0: 3}
            self.forgets = False

        def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
            if self.forgets:
                self.sizes.clear()
            return x

    asks = Asks()
    for _ in range(3):
        asks(zeros(2))
    asks.forgets = True
    with pytest.raises(KeyError):
        asks(zeros(2))


def test_an_argument_that_is_missing_is_told_by_python_at_every_call() -> None:
    class Plus(typedwave.Module):
        def forward(self, x: Float[Tensor, "B"], other) -> Float[Tensor, "B"]:
            return x if isinstance(other, int) else other

    plus = Plus()
    for _ in range(3):
        assert plus(zeros(3), 1).shape == Tanh()(zeros(3)).shape
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'other'"):
            plus(zeros(3))
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
            Tanh()()
    tanh = Tanh()
    for _ in range(3):
        tanh(zeros(3))
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
            tanh()


def test_a_none_that_is_a_plain_attribute_may_become_a_tensor() -> None:
    module = Scale(3, shift=False)
    for _ in range(3):
        module(zeros(2, 3))
    module.shift = zeros(5)
    with pytest.raises(StateError, match="shift has the wrong shape"):
        module(zeros(2, 3))
    module.shift = zeros(3)
    assert module(zeros(2, 3)).shape == (2, 3)
    del module.shift
    module.register_buffer("shift", zeros(4))
    with pytest.raises(StateError, match="shift has the wrong shape"):
        module(zeros(2, 3))


def test_arguments_of_other_kinds_are_compared_as_they_are_remembered() -> None:
    module = Scale(3)
    x = zeros(2, 3)
    for _ in range(2):
        assert module(x).shape == (2, 3)
        assert module(x, zeros(2)).shape == (2, 3)
        assert module(x, None, by=2.0, parts=(zeros(2), zeros(3))).shape == (2, 3)
    assert module(x, zeros(2)).shape == (2, 3)
    ran = module.ran
    for call in (
        lambda: module(x, zeros(5)),
        lambda: module(x, zeros(2).long()),
        lambda: module(x, by=2),
        lambda: module(x, by="2"),
        lambda: module(x, mode="c"),
        lambda: module(x, parts=(zeros(2), 3)),
        lambda: module(x, parts=[zeros(2)]),
        lambda: module(x.long()),
        lambda: module(x, 3),
        lambda: module(zeros(2, 4)),
    ):
        with pytest.raises(ShapeError):
            call()
    assert module.ran == ran
    with pytest.raises(ShapeError, match="the result has the wrong shape"):
        module(x, mode="b")


def test_a_tensor_of_another_class_is_noticed() -> None:
    class Needs(typedwave.Module):
        def forward(self, x: Float[Parameter, "B"], y: Float[Parameter, "B"]) -> None: ...

    needs = Needs()
    x, y = Parameter(zeros(3)), Parameter(zeros(3))
    for _ in range(2):
        needs(x, y)
    for args in ((zeros(3), y), (x, zeros(3))):
        with pytest.raises(ShapeError, match="is not a Parameter"):
            needs(*args)


def test_a_call_like_the_last_one_is_not_checked_in_a_block_without_checks() -> None:
    class Wrong(typedwave.Module):
        wrong = False

        def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
            return x[None] if self.wrong else x

    module = Wrong()
    for _ in range(2):
        module(zeros(3))
    module.wrong = True
    with typedwave.no_checks():
        assert module(zeros(3)).shape == (1, 3)
    with pytest.raises(ShapeError):
        module(zeros(3))


def test_a_result_that_depends_on_values_is_judged_whenever_it_is_new() -> None:
    class Select(typedwave.Module):
        def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "_"] | None:
            return None if x[0] < 0 else zeros(2, 2) if x[0] > 9 else x[x > 0]

    select = Select()
    for _ in range(2):
        for values in ([1.0, 1.0], [1.0, -1.0], [-1.0, 0.0], [0.0, 0.0]):
            select(torch.tensor(values))
        with pytest.raises(ShapeError, match="the result has the wrong shape"):
            select(torch.tensor([10.0, 1.0]))


@pytest.mark.parametrize("before", [0, 1, 5])
def test_hooks_are_run_from_the_next_call_on(before: int) -> None:
    layer, seen = Tanh(), []
    for _ in range(before):
        layer(zeros(3))
    for register in (
        lambda hook: layer.register_forward_hook(hook),
        lambda hook: layer.register_forward_pre_hook(hook),
        lambda hook: nn.modules.module.register_module_forward_hook(hook),
        lambda hook: nn.modules.module.register_module_forward_pre_hook(hook),
    ):
        handle = register(lambda *_: seen.append(1))
        layer(zeros(3))
        layer(zeros(3))
        handle.remove()
        layer(zeros(3))
    assert len(seen) == 8
    for i, register in enumerate(
        (
            layer.register_full_backward_hook,
            layer.register_full_backward_pre_hook,
            nn.modules.module.register_module_full_backward_hook,
            nn.modules.module.register_module_full_backward_pre_hook,
        )
    ):
        handle = register(lambda *_, i=i: seen.append(i))
        layer(zeros(3).requires_grad_()).sum().backward()
        handle.remove()
        layer(zeros(3).requires_grad_()).sum().backward()
    assert seen[8:] == [0, 1, 2, 3]


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_module_that_is_compiled_in_place_runs_what_was_compiled(before: int) -> None:
    torch._dynamo.reset()
    layer, counter = Tanh(), CompileCounter()
    for _ in range(before):
        layer(zeros(3))
    layer.compile(backend=counter, fullgraph=True)
    for _ in range(3):
        assert layer(zeros(3)).shape == (3,)
    assert (counter.frame_count, counter.op_count) == (1, 1)
    torch._dynamo.reset()


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_forward_that_is_put_in_place_of_another_is_called(before: int) -> None:
    class Own(Tanh):
        pass

    layer = Own()
    for _ in range(before):
        layer(zeros(3))
    layer.forward = lambda x: x + 1
    assert torch.equal(layer(zeros(3)), torch.ones(3))
    assert torch.equal(layer(zeros(3)), torch.ones(3))
    del layer.forward
    assert torch.equal(layer(zeros(3)), zeros(3))
    Own.forward = lambda self, x: x + 2
    assert torch.equal(layer(zeros(3)), 2 * torch.ones(3))


def test_a_call_of_the_author_is_kept_and_may_call_ours() -> None:
    class Counts(Linear):
        calls = 0

        def __call__(self, x: Any) -> Any:
            self.calls += 1
            return super().__call__(x)

        def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B out_features"]:
            return super().forward(x) + 1

    layer = Counts(3, 2)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    for _ in range(3):
        assert torch.equal(layer(zeros(5, 3)), torch.ones(5, 2))
        with pytest.raises(ShapeError):
            layer(zeros(5, 4))
    assert layer.calls == 6


def test_a_module_that_becomes_another_class_is_called_as_that() -> None:
    class Double(Linear):
        def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B in_features"]:
            return 2 * x

    layer = Linear(3, 2)
    for _ in range(3):
        layer(zeros(5, 3))
    layer.__class__ = Double
    for _ in range(3):
        assert torch.equal(layer(torch.ones(5, 3)), 2 * torch.ones(5, 3))
    layer.__class__ = Linear
    assert layer(zeros(5, 3)).shape == (5, 2)


def test_a_class_whose_annotations_are_resolved_only_later_is_checked_too() -> None:
    namespace: dict[str, Any] = {"typedwave": typedwave, "Tensor": Tensor}
    source = """
class Late(typedwave.Module):
    def forward(self, x: 'Float[Tensor, "B C"]') -> 'Float[Tensor, "C B"]':
        return x.T
"""
    exec(source, namespace)
    namespace["Float"] = Float
    module = namespace["Late"]()
    for _ in range(3):
        assert module(zeros(2, 3)).shape == (3, 2)
        with pytest.raises(ShapeError):
            module(zeros(2))


def test_a_forward_that_asks_jaxtyping_itself_has_its_names_at_every_call() -> None:
    class Asks(typedwave.Module):
        def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
            assert isinstance(x + 1, Float[Tensor, "B"])
            assert not isinstance(zeros(len(x) + 1), Float[Tensor, "B"])
            return x

    module = Asks()
    for size in (3, 3, 4, 3):
        assert module(zeros(size)).shape == (size,)


def test_a_forward_without_arguments_is_checked_and_traced() -> None:
    class Table(typedwave.Module):
        weight: Float[Parameter, "N C"]

        def __init__(self) -> None:
            super().__init__()
            self.weight = Parameter(zeros(3, 2))
            self.right = True

        def forward(self) -> Float[Tensor, "N C"]:
            return self.weight if self.right else self.weight.T

    table = Table()
    for _ in range(3):
        assert table().shape == (3, 2)

    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = table

        def forward(self, x: Tensor) -> Tensor:
            return x + self.table()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit itself
        assert torch.jit.trace(Adds(), (zeros(3, 2),))(zeros(3, 2)).shape == (3, 2)
    table.right = False
    with pytest.raises(ShapeError, match="the result has the wrong shape"):
        table()


def test_neither_a_model_nor_what_it_held_is_kept_alive() -> None:
    model = Sequential(Linear(3, 2), BatchNorm1d(2))
    for _ in range(3):
        model(zeros(5, 3))
    old = weakref.ref(model[0].weight)
    model[0].weight = Parameter(zeros(2, 3))
    gc.collect()
    assert old() is None
    model(zeros(5, 3))
    gone = [weakref.ref(model), weakref.ref(model[0]), weakref.ref(model[0].weight)]
    del model
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]


def test_a_class_is_not_kept_alive() -> None:
    class Passing(typedwave.Module):
        def forward(self, x: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
            return x

    Passing()(zeros(3))
    reference = weakref.ref(Passing)
    del Passing
    forget()
    gc.collect()
    assert reference() is None


def test_a_signature_that_python_refuses_is_pythons_error() -> None:
    layer = Linear(3, 2)
    for _ in range(2):
        with pytest.raises(TypeError, match="positional argument"):
            layer()
        with pytest.raises(TypeError, match="positional argument"):
            layer(zeros(5, 3), 4)
        layer(zeros(5, 3))
