"""What each law is made of: modules that only one part of it can tell from right ones."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from typedwave.testing import LAWS, Case, check

pytestmark = pytest.mark.usefixtures("default_profile")


class Calls(nn.Module):
    """Computes what it is given."""

    def __init__(self, compute: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return self.compute(self, x)


def found(law: str, compute: Any, **declared: Any) -> str:
    """What a law finds; empty if it holds."""
    (row,) = check(lambda: Calls(compute), laws=law, **declared).rows
    assert row.outcome in ("held", "broken"), row.why
    return row.finding.differed if row.finding else ""


def test_a_law_that_fails_itself_leaves_the_others_alone(monkeypatch):
    def fail(trial: Any) -> None:
        raise KeyError("ours")

    monkeypatch.setitem(LAWS, "order", dataclasses.replace(LAWS["order"], test=fail))
    report = check(lambda: Calls(lambda m, x: x), laws=["order", "purity"])
    assert [row.outcome for row in report.rows] == ["not tried", "held"]
    assert report.rows[0].why == "an error of typedwave, please report it: KeyError: 'ours'"


# the batch


@pytest.mark.parametrize("mode", [True, False])
def test_examples_are_kept_apart_in_either_mode(mode):
    text = found("independence", lambda m, x: x - x.mean(0) if m.training is mode else x)
    assert text.endswith(f"in {'training' if mode else 'eval'} mode")


def test_examples_may_share_statistics_in_training_where_it_is_declared():
    assert (
        found("independence", lambda m, x: x - x.mean(0) if m.training else x, couples=True) == ""
    )


@pytest.mark.parametrize("seed", range(6))
def test_there_is_always_another_order(seed):
    case = Case({"B": 2, "T": 3}, seed=seed)
    assert found("order", lambda m, x: x + torch.arange(len(x))[:, None], case=case)


@pytest.mark.parametrize("wrong", [1, 4])
def test_an_example_alone_and_a_batch_without_the_last_are_tried(wrong):
    sizes = {"B": (wrong, 5)}
    assert found("batch_size", lambda m, x: x * (1 + (len(x) == wrong)), sizes=sizes)


def test_a_batch_of_one_that_is_refused_is_found():
    def refuse(module: nn.Module, x: Tensor) -> Tensor:
        assert len(x) > 1, "too few"
        return x

    assert found("batch_size", refuse).endswith("one of 1 refused: AssertionError: too few")


def test_results_that_are_random_are_left_to_the_law_that_says_so():
    noise = lambda m, x: x + torch.rand_like(x)  # noqa: E731
    assert [found(law, noise) for law in ("order", "batch_size", "independence")] == ["", "", ""]
    assert "in a second equal call" in found("purity", noise)
    assert (check(Calls(noise), laws="purity", random=True).rows[0].outcome) == "not tried"


# positions


def shifted(x: Tensor, by: int) -> Tensor:
    """What was ``by`` positions before, and zeros."""
    zeros = torch.zeros_like(x)
    return (
        torch.cat([zeros[:, :by], x[:, :-by]], 1)
        if by > 0
        else torch.cat([x[:, -by:], zeros[:, by:]], 1)
    )


def test_a_dependence_that_only_the_gradient_has_is_one():
    def leak(module: nn.Module, x: Tensor) -> Tensor:
        later = shifted(x, -1)
        return x + (later - later.detach())

    assert "1 after it, where at most 0 may be" in found("receptive_field", leak, causal=True)


def test_a_dependence_without_a_gradient_is_one():
    leak = lambda m, x: x + shifted(x, -1).detach()  # noqa: E731
    assert "1 after it, where at most 0 may be" in found("receptive_field", leak, causal=True)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (3, ""),
        (2, "2 before it, where at most 1 may be"),
        (4, "at most 2 positions before its own, where 3 are declared"),
        ((2, 0), ""),
        ((2, 1), "at most 0 positions after its own, where 1 are declared"),
        ((1, 3), "2 before it, where at most 1 may be"),
    ],
)
def test_a_receptive_field_is_neither_wider_nor_narrower(declared, text):
    reach = lambda m, x: x + shifted(x, 2)  # noqa: E731
    said = found("receptive_field", reach, receptive_field=declared)
    assert said.endswith(text) if text else said == ""


def test_what_depends_on_how_many_positions_there_are_is_not_causal():
    assert "was cut off" in found("receptive_field", lambda m, x: x / x.shape[1], causal=True)


def test_what_is_about_a_fixed_number_of_positions_is_judged_as_well():
    causal = lambda m, x: x.cumsum(1) / x.shape[1]  # noqa: E731
    assert found("receptive_field", causal, causal=True, sizes={"T": 6}) == ""
    assert found("receptive_field", lambda m, x: x.flip(1), causal=True, sizes={"T": 6})


def test_a_result_that_is_empty_does_not_keep_the_others_from_being_judged():
    class Both(nn.Module):
        def forward(
            self, x: Float[Tensor, "B T C"]
        ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B T 0"]]:
            return x + x.roll(1, 1), x[..., :0]

    (row,) = check(Both, laws="receptive_field", receptive_field=2).rows
    assert row.outcome == "broken"  # the first position sees the last


class Pools(nn.Module):
    """The sum of what a mask keeps, or of all."""

    def __init__(self, masks: bool) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
        return (x * mask if self.masks else x).sum(1)


@pytest.mark.parametrize("sizes", [{}, {"T": 4}])
@pytest.mark.parametrize("masks", [True, False])
def test_masked_numbers_are_changed_where_no_position_can_be_cut_off(masks, sizes):
    report = check(Pools(masks), laws="mask", mask="mask", mask_keeps=True, sizes=sizes)
    assert len(report.findings) == (not masks)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_mask_means_what_it_is_said_to_mean(keeps):
    report = check(Pools(True), laws="mask", mask="mask", mask_keeps=keeps)
    assert len(report.findings) == (not keeps)


# state


class Projects(nn.Module):
    """Projects by random numbers that are saved, or not."""

    def __init__(self, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(4, 3), persistent=persistent)

    def forward(self, x: Float[Tensor, "B 4"]) -> Float[Tensor, "B 3"]:
        return x @ self.directions


@pytest.mark.parametrize("persistent", [True, False])
def test_a_factory_shows_what_a_state_dict_lacks(persistent):
    report = check(lambda: Projects(persistent), laws="state_dict")
    assert len(report.findings) == (not persistent)


@pytest.mark.parametrize("mode", [True, False])
def test_arguments_are_not_written_to_in_either_mode(mode):
    def write(module: nn.Module, x: Tensor) -> Tensor:
        return x.add_(1) if module.training is mode else x + 1

    text = found("inputs", write)
    assert text.endswith(f"by the call, in {'training' if mode else 'eval'} mode")
    assert check(lambda: Calls(write), laws="inputs", inplace=True).findings == ()


def test_a_dtype_that_is_kept_for_halves_only_is_found():
    assert found("dtype", lambda m, x: x.float() if x.dtype == torch.float64 else x)
    assert found("dtype", lambda m, x: x + torch.zeros(1, dtype=torch.float32))


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded"])
def test_each_layout_shows_who_reads_memory_as_it_lies(layout):
    case = Case({"B": 2, "T": 3}, layout=layout)
    assert found("layout", lambda m, x: x.as_strided(x.shape, (x.shape[1], 1)), case=case)
    assert found("layout", lambda m, x: x * 2, case=case) == ""


@pytest.mark.parametrize(
    "lies",
    [
        lambda x: x.stride(0) == 0,
        lambda x: x.stride(0) == 1,
        lambda x: x.stride(1) == 2,
    ],
)
def test_arguments_are_laid_out_in_each_way(lies):
    assert found("layout", lambda m, x: x + int(lies(x)), sizes={"B": (2, 3), "T": (3, 5)})


@pytest.mark.parametrize("differs", [True, False])
def test_a_module_that_computes_something_else_when_compiled_is_found(differs):
    def compute(module: nn.Module, x: Tensor) -> Tensor:
        return x + (1 if differs and torch.compiler.is_compiling() else 0)

    said = found("compiled", compute, compiled=True)
    assert said.endswith("where it was compiled") if differs else said == ""


# numbers


class Weighs(nn.Module):
    """Scales by a weight, in a way of its own."""

    def __init__(self, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute
        self.weight = nn.Parameter(torch.zeros(3))
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
        return self.compute(self.inner(x), self.weight)


def test_a_weight_of_zeros_hides_no_gradient_behind_it():
    assert check(lambda: Weighs(torch.mul), laws="gradients").findings == ()


def test_a_gradient_of_zeros_is_none():
    (finding,) = check(lambda: Weighs(lambda x, w: x + 0 * w), laws="gradients").findings
    assert finding.differed == "no gradient but zero reached weight"
    assert check(lambda: Weighs(lambda x, w: x), laws="gradients", unused="weight").findings == ()


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return grad * weight, (grad * x).mean(0)  # and not the sum


def test_a_wrong_derivative_of_a_parameter_is_found():
    (finding,) = check(lambda: Weighs(_Scale.apply), laws="derivatives").findings
    assert "a random direction of the parameters" in finding.differed
    assert check(lambda: Weighs(_Scale.apply), laws="derivatives", surrogate=True).findings == ()


@pytest.mark.parametrize(
    ("compute", "numbers"),
    [
        (lambda m, x: x / x, "zeros"),
        (lambda m, x: x.exp() / x.exp().sum(1, keepdim=True), "numbers of about 1e4"),
        (lambda m, x: (x - x.mean(1, keepdim=True)).square(), ""),
        (lambda m, x: (1 - x.square()).sqrt(), "ordinary numbers"),
        (lambda m, x: (x - torch.full((), 1.1)).abs().log(), "equal numbers"),
    ],
)
def test_numbers_of_each_kind_have_to_give_finite_results(compute, numbers):
    said = found("finite", compute)
    assert said.endswith(f"on {numbers}") if numbers else said == ""


# losses


def loss(reduce: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def squares(y: Float[Tensor, "B T"], target: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        return reduce((y - target).square())

    return squares


@pytest.mark.parametrize("said", ["mean", "sum"])
@pytest.mark.parametrize("meant", ["mean", "sum"])
def test_a_loss_is_what_it_is_said_to_be(said, meant):
    reduce = {"mean": torch.mean, "sum": lambda x: x.mean(1).sum()}[meant]
    report = check(loss(reduce), laws="mean_of_examples", loss=said)
    assert len(report.findings) == (said != meant)


def entropy(y: Float[Tensor, "B V T"], target: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    return nn.functional.cross_entropy(y, target, ignore_index=-1)


@pytest.mark.parametrize(("said", "count"), [("positions", 0), ("mean", 1)])
def test_ignored_positions_decide_what_an_example_weighs(said, count):
    report = check(entropy, laws="mean_of_examples", loss=said, ignore=-1)
    assert len(report.findings) == count


def test_an_ignored_position_that_counts_is_found():
    assert check(entropy, laws="ignored", loss="positions", ignore=-1).findings == ()

    def counts(y: Float[Tensor, "B V T"], target: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
        return nn.functional.cross_entropy(y, target.clamp(min=0))

    (finding,) = check(counts, laws="ignored", loss="mean", ignore=-1).findings
    assert finding.differed.endswith("when only positions changed whose target is -1")


def test_a_loss_may_pair_all_with_all_but_not_its_target():
    def contrasts(y: Float[Tensor, "B C"], target: Float[Tensor, "B C"]) -> Float[Tensor, ""]:
        return ((y[:, :, None] * torch.ones(1, 1, 2)).mean(2) - target).square().mean()

    assert check(contrasts, laws="broadcast", loss="mean").findings == ()
