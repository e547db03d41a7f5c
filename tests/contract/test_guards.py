import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.guards
from jaxtyping import Float
from test_torch import BATCH, case_by_case, twins
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn.modules.module import register_module_forward_hook

import typedwave
from typedwave import typed

zeros = torch.zeros
pytestmark = pytest.mark.usefixtures("fresh_dynamo")


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that describe the guards of what is compiled from here on."""
    lines: list[str] = []
    monkeypatch.setattr(
        torch._dynamo.guards,
        "guard_manager_testing_hook_fn",
        lambda manager, *_: lines.extend(
            line.partition(" # ")[0] for line in str(manager).splitlines()
        ),
    )
    return lines


def compiled(model: Callable[..., Any]) -> tuple[Any, CompileCounter]:
    counter = CompileCounter()
    return torch.compile(model, backend=counter, fullgraph=True), counter


def ours(guards: list[str]) -> list[str]:
    """The guards that look at our code.

    The arguments of a call of ours are none of it, nor are hooks for all modules, which are
    torch's.
    """
    leaves = [line for line in guards if "GuardManager" not in line]
    found = [line for line in leaves if re.search(r"typedwave_dot_contract|\['_typedwave_", line)]
    return [line for line in found if not re.search(r"torch_module|L\['_typedwave_", line)]


@case_by_case
def test_a_compiled_module_is_guarded_by_no_code_of_ours(case: Any, guards: list[str]) -> None:
    counts = []
    for model in twins(case, training=True):
        guards.clear()
        compiled(model)[0](case.inputs(BATCH))
        assert guards
        assert not ours(guards)
        counts.append([sum(kind in line for line in guards) for kind in ("Manager", "DICT_CONT")])
    # For all modules together: hooks are read through a module of ours, and a call has arguments.
    assert counts[0][0] <= counts[1][0] + 12
    assert counts[0][1] <= counts[1][1] + 1


def test_a_compiled_function_is_guarded_by_no_code_of_ours(guards: list[str]) -> None:
    @typed
    def double(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return 2 * x

    assert compiled(lambda x: double(x) + 1)[0](zeros(3)).tolist() == [1.0] * 3
    assert guards
    assert not ours(guards)
    assert any("L['double']" in line for line in guards)


class Scaled(typedwave.Module):
    by = 2.0

    def forward(self, x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return self.by * x


def test_what_is_not_ours_is_still_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = Scaled(), torch.ones(3)
    run, counter = compiled(lambda x: module(x))
    assert run(x).tolist() == [2.0] * 3
    monkeypatch.setattr(Scaled, "by", 5.0)
    assert run(x).tolist() == [5.0] * 3
    module.forward = torch.neg  # type: ignore[method-assign,assignment]  # as a patch would
    assert run(x).tolist() == [-1.0] * 3
    assert counter.frame_count == 3


def test_a_hook_for_all_modules_that_was_traced_is_still_looked_at() -> None:
    module, x = Scaled(), torch.ones(3)
    run, _ = compiled(lambda x: module(x))
    hook = register_module_forward_hook(lambda *_: torch.full((3,), 7.0))
    try:
        assert run(x).tolist() == [7.0] * 3
    finally:
        hook.remove()
    assert run(x).tolist() == [2.0] * 3


def test_a_closure_of_the_users_around_a_checked_module_is_still_looked_at() -> None:
    module, by = Scaled(), 3.0

    def outer(x: Tensor) -> Tensor:
        y: Tensor = by * module(x)
        return y

    run, _ = compiled(outer)
    assert run(torch.ones(2)).tolist() == [6.0] * 2
    by = 10.0
    assert run(torch.ones(2)).tolist() == [20.0] * 2


def after(function: Callable[[Tensor], Tensor]) -> tuple[Callable[[Tensor], Tensor], Any]:
    """A function that calls another, and the cell that holds the other."""

    def run(x: Tensor) -> Tensor:
        return function(x)

    assert run.__closure__ is not None
    return run, run.__closure__[0]


def doubled(x: Tensor) -> Tensor:
    return 2 * x


def negated(x: Tensor) -> Tensor:
    return -x


def test_a_function_that_a_closure_of_the_users_exchanges_is_still_looked_at() -> None:
    module = Scaled()
    helper, cell = after(doubled)
    run, _ = compiled(lambda x: helper(module(x)))
    assert run(torch.ones(2)).tolist() == [4.0] * 2
    cell.cell_contents = negated
    assert run(torch.ones(2)).tolist() == [-2.0] * 2


def test_a_compiled_module_follows_a_parameter_that_is_exchanged_or_moved() -> None:
    module = typedwave.nn.Linear(3, 2)
    run, _ = compiled(module)
    x = torch.randn(5, 3)
    assert torch.equal(run(x), module(x))
    module.weight = nn.Parameter(torch.randn(2, 3))
    assert torch.equal(run(x), module(x))
    del module.weight
    module.weight = torch.randn(2, 3)
    assert torch.equal(run(x), module(x))
    module.bias = None
    assert torch.equal(run(x), module(x))
