import copy
from collections import OrderedDict, defaultdict, deque
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from typedwave.inspect.kept import state_kept


class Holder(nn.Module):
    """Holds what it is given, as an attribute."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held


def copied(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone()


leaves = st.integers(0, 3) | st.builds(lambda: torch.zeros(2))
nests = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(0, 3), inner, max_size=3)
        | st.lists(inner, max_size=3).map(lambda parts: deque(parts, maxlen=9))
        | st.sets(st.integers(0, 3))
    ),
    max_leaves=8,
)


def spoil(value: Any) -> None:
    """Changes all that can be changed inside of a value."""
    if isinstance(value, torch.Tensor):
        value.add_(1)
    if isinstance(value, dict | list | deque):
        for part in [*(value.values() if isinstance(value, dict) else value)]:
            spoil(part)
    if isinstance(value, dict):
        value[torch] = value.pop(0, None)
    elif isinstance(value, list | deque):
        value.append(1)
    elif isinstance(value, set):
        value.add(torch)


def told(value: Any) -> Any:
    """A value as something that can be compared, with the identity of what is in it."""
    if isinstance(value, torch.Tensor):
        return id(value), value.tolist()
    if isinstance(value, dict):
        return id(value), [(key, told(part)) for key, part in value.items()]
    if isinstance(value, list | deque):
        return id(value), getattr(value, "maxlen", None), [told(part) for part in value]
    return value if isinstance(value, int) else (id(value), sorted(value))


@given(nests)
def test_whatever_happens_inside_of_an_attribute_is_gone_afterwards(held: Any) -> None:
    module = Holder(held)
    before = told(held)
    with state_kept(module, copied):
        spoil(module.held)
    assert module.held is held
    assert told(held) == before


@pytest.mark.parametrize("kind", [dict, OrderedDict, lambda: defaultdict(list)])
def test_dicts_of_all_kinds_are_kept(kind: Any) -> None:
    held = kind()
    held["a"] = [1]
    with state_kept(Holder(held), copied):
        held["a"].append(2)
        held["b"] = 3
    assert held == {"a": [1]}


def test_attributes_that_are_set_or_deleted_are_as_they_were() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3))
    inner, before = module[0], copy.copy(vars(module[0]))
    with state_kept(module, copied):
        inner.new = 1
        del inner.eps
        inner.weight = nn.Parameter(torch.zeros(7))
        inner.running_mean = None
        inner.child = nn.Tanh()
        inner.training = False
        module.append(nn.Tanh())
    assert vars(inner) == before
    assert [name for name, _ in inner.named_parameters()] == ["weight", "bias"]
    assert inner.running_mean.shape == (3,)
    assert [*module] == [inner]
    assert not hasattr(inner, "child")


def test_it_is_as_it_was_after_an_exception_and_what_was_lent_half_is_given_back() -> None:
    module = nn.BatchNorm1d(3)
    mean, variance = module.running_mean, module.running_var
    with pytest.raises(KeyError), state_kept(module, copied):
        {}[module.running_mean.add_(1)]
    assert module.running_mean is mean
    assert not mean.any()

    def runs_out(tensor: torch.Tensor) -> torch.Tensor:
        if tensor is variance:
            raise MemoryError
        return tensor.clone()

    with pytest.raises(MemoryError), state_kept(module, runs_out):
        pytest.fail("it was not lent")
    assert module.running_mean is mean


def test_hooks_that_come_and_go_are_as_they_were() -> None:
    module = nn.Identity()
    calls: list[str] = []
    handle = module.register_forward_hook(lambda *_: calls.append("kept"))
    with state_kept(module, copied):
        module.register_forward_pre_hook(lambda *_: calls.append("added"))
        handle.remove()
        module(1)
    assert calls == ["added"]
    module(1)
    assert calls == ["added", "kept"]
    handle.remove()
    module(1)
    assert calls == ["added", "kept"]


def test_a_module_has_its_class_again() -> None:
    module = nn.Sequential(nn.Tanh())
    with state_kept(module, copied):
        module[0].__class__ = nn.ReLU
    assert type(module[0]) is nn.Tanh


def test_modules_that_are_not_registered_are_kept_too() -> None:
    hidden = Holder(1)
    with state_kept(Holder([{"deep": hidden}]), copied):
        hidden.held = 2
    assert hidden.held == 1


def test_a_model_that_holds_itself_is_no_problem() -> None:
    module = Holder(None)
    module.held = [module, module.__dict__]
    with state_kept(module, copied):
        module.held = None
    assert module.held[0] is module


def test_what_is_shared_stays_shared_meanwhile() -> None:
    x = torch.zeros(2)
    module = nn.Sequential(Holder(x), Holder([x]))
    with state_kept(module, copied):
        assert module[0].held is module[1].held[0]
        assert module[0].held is not x
    assert module[0].held is module[1].held[0] is x


def test_a_set_is_kept_but_the_tensors_in_it_are_not_lent() -> None:
    x = torch.zeros(2)
    module = Holder({x})
    with state_kept(module, copied):
        assert module.held == {x}
        module.held.clear()
    assert module.held == {x}


def test_what_a_generator_gives_is_given_again() -> None:
    generator = torch.Generator().manual_seed(3)
    with state_kept(Holder([generator]), copied):
        first = torch.rand(4, generator=generator)
    assert torch.equal(torch.rand(4, generator=generator), first)
