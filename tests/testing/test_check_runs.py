"""How `check` goes about it: what it leaves alone, how long it takes, how many calls it draws."""

import random
import time
import warnings

import pytest
import torch
from hypothesis import settings
from jaxtyping import Float
from small import Halves
from torch import Tensor, nn

from typedwave.testing import Case, check

pytestmark = pytest.mark.usefixtures("default_profile")


@pytest.mark.parametrize("training", [True, False])
def test_the_module_and_all_around_it_are_left_as_they_were(training):
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout()).train(training)
    module[0].weight.grad = torch.ones(4, 4)
    hooks = [
        module.register_forward_hook(lambda *_: None),
        module[0].register_forward_pre_hook(print),
    ]
    hooks[1].remove()
    module[0].bias.requires_grad_(False)
    states = (
        torch.get_rng_state(),
        random.getstate(),
        warnings.filters[:],
        torch.is_grad_enabled(),
    )
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    check(module, spec={"input": Float[Tensor, "B 4"]}, examples=3)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), warnings.filters, torch.is_grad_enabled())
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert {part.training for part in module.modules()} == {training}
    assert [*module._forward_hooks] == [hooks[0].id]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module)
    assert torch.equal(module[0].weight.grad, torch.ones(4, 4))
    assert [p.requires_grad for p in module.parameters()] == [True, False, True, True]
    assert module[1].weight.grad is None


def test_warnings_of_the_module_are_no_errors():
    def warns(x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        warnings.warn("careful", stacklevel=1)
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check(warns, laws="order").held == ("order",)


def test_what_cannot_be_copied_is_made_again():
    class CannotBeCopied(Halves):
        def __init__(self) -> None:
            super().__init__()
            self.numbers = (i for i in range(3))

    assert check(CannotBeCopied, examples=3).findings == ()


def test_a_slow_module_is_tried_for_as_long_as_it_is_told():
    def slow(x: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
        time.sleep(0.01)
        return x - x.mean(0)

    begun = time.monotonic()
    order, independence = check(slow, laws=["order", "independence"], seconds=0.1).rows
    assert time.monotonic() - begun < 10
    assert (order.outcome, independence.outcome) == ("held", "broken")
    assert 1 <= order.examples < 20


def test_what_breaks_a_law_not_each_time_is_reported_as_such():
    def breaks_at(call: int) -> nn.Module:
        class Once(nn.Module):
            calls = 0

            def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
                Once.calls += 1
                return x + (Once.calls == call)

        return Once()

    modules = [breaks_at(call) for call in range(50, 120, 10)]
    said = [f.differed for module in modules for f in check(module, laws="purity").findings]
    assert all("in a second equal call, in eval mode" in differed for differed in said)
    assert any(differed.endswith("eval mode (but not each time)") for differed in said)


def test_a_profile_of_hypothesis_says_how_many_examples():
    settings.register_profile("few", max_examples=3)
    settings.load_profile("few")
    assert [row.examples for row in check(Halves, laws=["order", "inputs"]).rows] == [3, 3]
    assert check(Halves, laws="order", examples=5).rows[0].examples == 5
    settings.load_profile("default")
    assert check(Halves, laws="order").rows[0].examples == 20


def test_on_ci_there_are_as_many_examples_as_elsewhere():
    settings.load_profile("ci")
    assert check(Halves, laws="order").rows[0].examples == 20


def test_a_case_that_the_module_refuses_is_not_tried():
    (row,) = check(
        nn.Linear(3, 3),
        spec={"input": Float[Tensor, "B C"]},
        laws="order",
        case=Case({"B": 2, "C": 5}),
    ).rows
    assert row.outcome == "not tried"
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in row.why


def test_no_law_holds_of_a_forgotten_return():
    class Forgets(nn.Module):
        def forward(self, x: Float[Tensor, "B T"]):
            x.mul(2)

    report = check(Forgets, laws=["purity", "order", "independence", "batch_size"])
    assert {row.why for row in report.rows} == {"its result holds no tensors"}
