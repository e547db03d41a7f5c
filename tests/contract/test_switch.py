import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import typedwave
from typedwave import ShapeError, no_checks, set_checks, typed
from typedwave.contract.function import FunctionContract
from typedwave.nn import Linear, Sequential, Tanh

zeros = torch.zeros


@typed
def head(x: Float[Tensor, "B C"]) -> Float[Tensor, "B"]:
    return x[..., 0]


class Wrong(typedwave.Module):
    """Gives back something else than it says."""

    def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B B"]:
        return x


def refuses(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ShapeError:
        return True
    return False


@pytest.mark.parametrize("used", [False, True])
def test_a_block_runs_without_checks_and_checks_come_back(used: bool) -> None:
    layer = Wrong()
    if used:
        assert refuses(lambda: layer(zeros(3)))
        head(zeros(3, 2))
    with no_checks():
        assert layer(zeros(3)).shape == (3,)
        assert layer.forward(zeros(3)).shape == (3,)
        assert head(zeros(3)).shape == ()
        with no_checks():
            assert head(zeros(3)).shape == ()
        assert head(zeros(3)).shape == ()
    assert refuses(lambda: layer(zeros(3)))
    assert refuses(lambda: layer.forward(zeros(3)))
    assert refuses(lambda: head(zeros(3)))


def test_in_a_block_nothing_is_made_ready_for_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Linear(3, 2), zeros(7, 3)
    layer(x)
    # What a call costs that is not like the last one, without checks as well until this was found.
    monkeypatch.setattr(FunctionContract, "bind", lambda *_: pytest.fail("arguments were bound"))
    with no_checks():
        layer(x)
        layer(zeros(5, 3))


def test_an_exception_in_a_block_brings_the_checks_back() -> None:
    with pytest.raises(KeyError), no_checks():
        raise KeyError
    assert refuses(lambda: head(zeros(3)))


def test_a_block_may_be_a_function() -> None:
    @no_checks()
    def unchecked() -> Tensor:
        return head(zeros(3))

    assert unchecked().shape == ()
    assert unchecked().shape == ()
    assert refuses(lambda: head(zeros(3)))


def test_a_call_without_checks_leaves_nothing_to_be_remembered() -> None:
    layer = Linear(3, 2)
    with no_checks():
        head(zeros(3, 2).long())
        layer(zeros(7, 3))
    assert refuses(lambda: head(zeros(3, 2).long()))
    assert layer(zeros(7, 3)).shape == (7, 2)


def test_generators_and_coroutines_run_without_checks() -> None:
    @typed
    def values(x: Float[Tensor, "B"]) -> Iterator[Float[Tensor, "B"]]:
        yield x

    @typed
    async def value(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x

    with no_checks():
        assert next(iter(values(zeros(3, 2)))).shape == (3, 2)
        assert asyncio.run(value(zeros(3, 2))).shape == (3, 2)
    assert refuses(lambda: list(values(zeros(3, 2))))
    assert refuses(lambda: asyncio.run(value(zeros(3, 2))))


def test_other_threads_are_checked_on() -> None:
    layer = Wrong()
    found: list[bool] = []

    def work() -> None:
        found.extend([refuses(lambda: head(zeros(3))), refuses(lambda: layer(zeros(3)))])

    with no_checks():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not refuses(lambda: layer(zeros(3)))
    assert found == [True, True]


@pytest.mark.parametrize("used", [False, True])
def test_a_model_is_switched_off_with_all_that_is_in_it(used: bool) -> None:
    model, other = Sequential(Tanh(), Sequential(Wrong())), Wrong()
    if used:
        assert refuses(lambda: model(zeros(3)))
    set_checks(model, False)
    for _ in range(2):
        assert model(zeros(3)).shape == (3,)
        assert model[1][0].forward(zeros(3)).shape == (3,)
        assert model(3 * [zeros(1)][0]).shape == (1,)
    assert refuses(lambda: other(zeros(3)))
    set_checks(model[1], True)
    assert refuses(lambda: model(zeros(3)))
    assert refuses(lambda: model[1][0](zeros(3)))
    set_checks(model, True)
    assert refuses(lambda: model[0](zeros(3).long()))


def test_a_remembered_call_of_a_switched_off_module_is_not_checked() -> None:
    class Wrong(typedwave.Module):
        wrong = False

        def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
            return x[None] if self.wrong else x

    module = Wrong()
    module(zeros(3))
    set_checks(module, False)
    module.wrong = True
    assert module.forward(zeros(3)).shape == (1, 3)
    assert module(zeros(3)).shape == (1, 3)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_keeps_the_setting(copied: Callable[[Wrong], Wrong]) -> None:
    on, off = Wrong(), Wrong()
    set_checks(off, False)
    assert copied(off)(zeros(3)).shape == (3,)
    assert refuses(lambda: copied(on)(zeros(3)))


def test_hooks_of_a_switched_off_module_run() -> None:
    layer, seen = Wrong(), []
    set_checks(layer, False)
    handle = layer.register_forward_hook(lambda *_: seen.append(1))
    assert layer(zeros(3)).shape == (3,)
    handle.remove()
    layer(zeros(3))
    assert seen == [1]
    layer.forward = lambda x: x + 1
    assert torch.equal(layer(zeros(3)), torch.ones(3))


def test_what_is_off_is_traced_unchecked() -> None:
    layer = Wrong()
    set_checks(layer, False)
    assert torch.compile(layer, backend="eager", fullgraph=True)(zeros(3)).shape == (3,)
    assert torch.compile(layer, backend="eager", fullgraph=True)(zeros(3, 2)).shape == (3, 2)
    torch._dynamo.reset()
    with no_checks():
        assert torch.compile(Wrong(), backend="eager", fullgraph=True)(zeros(3)).shape == (3,)
    torch._dynamo.reset()


def test_a_module_that_was_compiled_in_place_can_be_switched_off_and_on() -> None:
    torch._dynamo.reset()
    layer = Tanh()
    layer.compile(backend="eager", fullgraph=True)
    set_checks(layer, False)
    assert layer(zeros(3)).shape == (3,)
    set_checks(layer, True)
    assert layer(zeros(3)).shape == (3,)
    with pytest.raises(Exception, match="x has the wrong dtype"):
        layer(zeros(3).long())
    torch._dynamo.reset()


PROGRAM = """
import torch, typedwave
from jaxtyping import Float
from torch import Tensor

def head(x: Float[Tensor, "B C"]) -> Float[Tensor, "B"]:
    return x[..., 0]

class Wrong(typedwave.Module):
    def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B B"]:
        return x

print(typedwave.typed(head) is head, Wrong()(torch.zeros(3)).shape)
print(Wrong.__call__ is torch.nn.Module.__call__, hasattr(Wrong.forward, "__wrapped__"))
"""


def run_with(value: str) -> subprocess.CompletedProcess[str]:
    environment = {"TYPEDWAVE_CHECKS": value, "PATH": ""}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_off_in_the_environment_is_the_undecorated_function() -> None:
    assert run_with("off").stdout == "True torch.Size([3])\nTrue False\n"


def test_another_value_in_the_environment_is_refused() -> None:
    last = run_with("of").stderr.splitlines()[-1]
    assert last == (
        "ValueError: the environment variable TYPEDWAVE_CHECKS is 'of'; it takes on or off"
    )
