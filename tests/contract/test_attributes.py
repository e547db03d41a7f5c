import copy
import inspect
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.fx
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import Parameter

import typedwave

NAMES = ("gain", "total", "plain")


def holder(base: type[nn.Module]) -> type[nn.Module]:
    """A class with annotated state of each kind, under one name whatever it is derived from."""

    class Holder(base):  # type: ignore[misc,valid-type]  # a class that mypy cannot know
        gain: Float[Parameter, "C"] | None
        total: Float[Tensor, "C"] | None
        plain: Float[Tensor, "C"]

        def forward(self, x: Float[Tensor, "C"]) -> Float[Tensor, "C"]:
            return x * self.gain

    return Holder


TYPED, PLAIN = holder(typedwave.Module), holder(nn.Module)


class Filled(TYPED):  # type: ignore[misc,valid-type]  # likewise
    def __init__(self) -> None:
        super().__init__()
        self.gain = Parameter(torch.ones(3))
        self.register_buffer("total", torch.zeros(3))


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or the error that it raises in words."""
    try:
        return call(*arguments)
    except Exception as error:
        return type(error), str(error)


def asks_getattr(module: nn.Module, name: str) -> bool:
    """Whether reading an attribute comes to a `__getattr__` in Python."""
    names = set()
    sys.setprofile(lambda frame, event, _: names.add(frame.f_code.co_name))
    try:
        getattr(module, name)
    finally:
        sys.setprofile(None)
    return "__getattr__" in names


CHANGES: dict[str, Callable[[nn.Module, str, Any], object]] = {
    "assign": setattr,
    "delete": lambda module, name, _: delattr(module, name),
    "register a buffer": lambda module, name, value: module.register_buffer(name, value),
    "register a parameter": lambda module, name, value: module.register_parameter(name, value),
    "put among its attributes": lambda module, name, value: vars(module).update({name: value}),
    "take from its parameters": lambda module, name, _: module._parameters.pop(name, None),
    "take from its buffers": lambda module, name, _: module._buffers.pop(name, None),
    "assign a module": lambda module, name, _: setattr(module, name, nn.Identity()),
    "assign text": lambda module, name, _: setattr(module, name, "text"),
}
values = st.sampled_from([None, torch.zeros(3), Parameter(torch.ones(3)), Parameter(torch.ones(5))])


@given(st.lists(st.tuples(st.sampled_from([*CHANGES]), st.sampled_from(NAMES), values)))
def test_annotated_attributes_are_read_set_and_deleted_as_those_of_a_plain_module(
    changes: list[tuple[str, str, Any]],
) -> None:
    typed, plain = TYPED(), PLAIN()
    for change, name, value in changes:
        made = outcome(CHANGES[change], typed, name, value)
        assert made == outcome(CHANGES[change], plain, name, value)
        for read in NAMES:
            mine, torchs = outcome(getattr, typed, read), outcome(getattr, plain, read)
            modules = isinstance(mine, nn.Identity) and isinstance(torchs, nn.Identity)
            assert mine is torchs or modules or mine == torchs
            assert hasattr(typed, read) == hasattr(plain, read)
    assert typed.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_class_has_no_such_attribute_itself(name: str) -> None:
    assert not hasattr(TYPED, name)
    error = outcome(getattr, TYPED, name)
    assert error == outcome(getattr, PLAIN, name)
    assert error == (AttributeError, f"type object 'Holder' has no attribute '{name}'")


def test_before_the_constructor_of_torch_has_run_there_is_nothing_to_read() -> None:
    typed, plain = TYPED.__new__(TYPED), PLAIN.__new__(PLAIN)
    for name in NAMES:
        error = outcome(getattr, typed, name)
        assert error == outcome(getattr, plain, name)
        assert error == (AttributeError, f"'Holder' object has no attribute '{name}'")


def test_annotated_state_is_read_without_the_search_of_torch() -> None:
    module = Filled()
    for name in ("gain", "total"):
        assert not asks_getattr(module, name)
    module.gain = module.total = None
    assert not asks_getattr(module, "gain")
    assert not asks_getattr(module, "total")
    layer = typedwave.nn.BatchNorm1d(3)
    assert not any(asks_getattr(layer, name) for name in ("weight", "running_mean"))
    assert asks_getattr(nn.BatchNorm1d(3), "weight")


def test_copies_and_pickles_hold_state_of_their_own() -> None:
    module = Filled()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other.gain is other._parameters["gain"] is not module.gain
        assert other.total is other._buffers["total"] is not module.total


class _Doubling(Filled):
    """Has a `__getattr__` of its own."""

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        return 2 * value if name == "gain" else value


class _Halving(TYPED):  # type: ignore[misc,valid-type]  # a class that mypy cannot know
    """Has one too, and state that its base does not have."""

    share: Float[Parameter, "C"]

    def __init__(self) -> None:
        super().__init__()
        self.share = Parameter(torch.ones(3))

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        return value / 2 if name == "share" else value


class _OfHalving(_Halving):
    third: Float[Parameter, "C"]


def test_a_getattr_of_the_authors_is_asked() -> None:
    assert _Doubling().gain.tolist() == [2.0, 2.0, 2.0]
    assert _Halving().share.tolist() == [0.5, 0.5, 0.5]
    assert _OfHalving().share.tolist() == [0.5, 0.5, 0.5]
    assert Filled().gain.tolist() == [1.0, 1.0, 1.0]  # its base is as it was


def test_what_the_author_defines_under_a_name_of_the_state_is_let_be() -> None:
    class Defined(typedwave.Module):
        gain: Float[Parameter, "C"] | None = None
        total: Float[Tensor, "C"]

        @property
        def total(self) -> Tensor:  # type: ignore[no-redef]  # the author means it
            return torch.ones(5)

    class Inherits(Defined):
        gain: Float[Parameter, "C"] | None

    for cls in (Defined, Inherits):
        assert cls.gain is None
        assert cls().total.tolist() == [1.0] * 5


def test_a_subclass_that_keeps_an_attribute_elsewhere_reads_it_there() -> None:
    class Buffered(Filled):
        gain: Float[Tensor, "C"]

        def __init__(self) -> None:
            super().__init__()
            del self.gain
            self.register_buffer("gain", torch.full((3,), 7.0))

    module = Buffered()
    assert module.gain is module._buffers["gain"]
    assert not asks_getattr(module, "gain")
    assert not asks_getattr(Filled(), "gain")


def test_a_class_whose_annotations_cannot_be_resolved_yet_reads_as_torch_does() -> None:
    class Early(Filled):
        later: "Float[Undefined, 'C']"  # type: ignore[name-defined]  # on purpose

    class EarlyDoubling(Early):
        def __getattr__(self, name: str) -> Any:
            value = super().__getattr__(name)
            return 2 * value if name == "gain" else value

    class OfTheAuthors(EarlyDoubling):
        gain = "theirs"  # type: ignore[assignment]  # the author means it

    assert EarlyDoubling().gain.tolist() == [2.0] * 3
    assert OfTheAuthors.gain == "theirs"
    module = Early()
    module.later = Parameter(torch.zeros(2))
    assert module.later is module._parameters["later"]
    assert module.gain is module._parameters["gain"]


def standardized(base: type[nn.Module]) -> nn.Module:
    """A module that computes from its state alone before it meets its argument."""

    class Standardized(base):  # type: ignore[misc,valid-type]  # a class that mypy cannot know
        weight: Float[Parameter, "C"]
        shift: Float[Tensor, "C"]

        def __init__(self) -> None:
            super().__init__()
            self.weight = Parameter(torch.arange(3.0))
            self.register_buffer("shift", torch.ones(3))

        def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
            return x * (self.weight - self.weight.mean()) + self.shift

    return Standardized()


def test_what_torch_fx_traces_follows_the_parameters() -> None:
    module, x = standardized(typedwave.Module), torch.ones(2, 3)
    traced = torch.fx.symbolic_trace(module)
    assert traced.code == torch.fx.symbolic_trace(standardized(nn.Module)).code
    with torch.no_grad():
        for held in (traced, module):
            held.weight.copy_(torch.tensor([5.0, -1.0, 2.0]))
    assert torch.equal(traced(x), module(x))
    assert not asks_getattr(module, "weight")  # the trace is over


def test_without_checks_a_class_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYPEDWAVE_CHECKS", "off")
    cls = holder(typedwave.Module)
    assert all(inspect.getattr_static(cls, name, None) is None for name in NAMES)
