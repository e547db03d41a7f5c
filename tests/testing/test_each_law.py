import pytest
from jaxtyping import Float
from small import Centers, Doubles, Halves, Normalizes
from torch import Tensor, nn

from typedwave.testing import LAWS, CheckError, declare, each_law

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("default_profile")


# used as people use it


@each_law(examples=3)
def test_halves() -> nn.Module:
    """Is right in every respect."""
    return Halves()


@each_law(laws=["independence", "statistics"], couples=True)
def test_normalizes() -> nn.Module:
    return Normalizes()


@each_law(laws="inputs")
@declare(inplace=True)
def test_doubles() -> nn.Module:
    return Doubles()


class TestNorms:
    @staticmethod
    @each_law(laws="order", spec={"input": Float[Tensor, "B T 8"]}, examples=3)
    def test_layer_norm() -> nn.Module:
        return nn.LayerNorm(8)


# what it makes


def test_it_keeps_the_name_and_the_sentence_and_bears_the_marker():
    assert test_halves.__name__ == "test_halves"
    assert test_halves.__doc__ == "Is right in every respect."
    marks = {mark.name: mark for mark in test_halves.pytestmark}
    assert {*marks} == {"typedwave", "parametrize"}
    assert marks["parametrize"].args == ("law", [*LAWS])


def test_it_makes_nothing_before_the_tests_run():
    def makes() -> nn.Module:
        raise AssertionError

    assert each_law(laws="purity")(makes) is not makes


def test_names_are_refused_when_it_decorates():
    def makes() -> nn.Module:
        return Centers()

    with pytest.raises(CheckError) as caught:
        each_law(laws="nope")(makes)
    assert str(caught.value) == f"no law is called 'nope'; there are {', '.join(LAWS)}"
    with pytest.raises(CheckError) as caught:
        each_law(casual=True)(makes)
    assert str(caught.value).startswith("'casual' is no declaration; there are batch, ")


def test_a_factory_with_arguments_is_refused():
    def test_net(self, tmp_path):
        return Centers()

    with pytest.raises(CheckError) as caught:
        each_law()(test_net)
    assert str(caught.value) == (
        "each_law: the factory takes no arguments, no fixtures and no self, but test_net takes "
        "self, tmp_path"
    )


# in a run of pytest

SOURCE = """
import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn
from typedwave.testing import each_law

class Centers(nn.Module):
    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x - x.mean(0)

@each_law(laws=["purity", "independence", "receptive_field", "mask"])
def test_centers():
    return Centers()

@pytest.mark.xfail
@each_law(laws="independence")
def test_known():
    return Centers()

@each_law(laws="purity")
def test_nothing():
    return 3

@each_law(laws="purity")
def test_raises():
    raise FileNotFoundError("weights.pt")

def test_other():
    pass
"""


def test_a_run_shows_findings_alone_and_says_why_laws_were_not_tried(pytester):
    pytester.makepyfile(test_nets=SOURCE)
    result = pytester.runpytest_inprocess(
        "-Werror", "-rs", "-p", "no:cacheprovider", "--junitxml=out.xml", "-k", "centers or known"
    )
    result.assert_outcomes(passed=1, failed=1, skipped=2, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_centers[[]independence[]]*",
            "independence: examples of a batch do not influence one another",
            "  module    test_centers",
            "  call      x f32[[]B=2, T=3[]]",
            "  but       only other examples changed, *",
            "  repeat    check(test_centers, laws='independence', case=Case(sizes=*))",
            "-*",
        ],
        consecutive=True,
    )
    result.stdout.fnmatch_lines(
        [
            "*= laws of typedwave =*",
            "test_centers",
            "  held       purity",
            "  broken     independence",
            "  say        receptive_field",
            "  not tried  mask",
            "test_known",
            "  broken     independence",
            "*= short test summary info =*",
        ],
        consecutive=True,
    )
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED *: causal=True or receptive_field=..., if it is meant",
            "SKIPPED *: no argument looks like a mask",
        ]
    )


def test_what_cannot_be_checked_fails_and_says_why(pytester):
    pytester.makepyfile(test_nets=SOURCE)
    result = pytester.runpytest_inprocess("-k", "nothing or raises")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_nothing made no torch.nn.Module, but int 3",
            "*test_raises raised FileNotFoundError: weights.pt",
        ]
    )


def test_what_cannot_be_checked_shows_no_source_of_ours(pytester):
    pytester.makepyfile(test_nets=SOURCE)
    result = pytester.runpytest_inprocess("-k", "nothing or raises")
    assert "typedwave/testing" not in result.stdout.str()


def test_laws_are_chosen_by_marker_by_keyword_and_by_id(pytester):
    pytester.makepyfile(test_nets=SOURCE)
    run = pytester.runpytest_inprocess
    run("-m", "not typedwave").assert_outcomes(passed=1, deselected=7)
    run("-k", "centers and purity").assert_outcomes(passed=1, deselected=7)
    run("test_nets.py::test_centers[purity]").assert_outcomes(passed=1)
