"""What `check` finds and how it says it; test_check_runs has how it goes about it."""

import re

import pytest
import small
from hypothesis import strategies as st
from jaxtyping import Float, Int
from small import (
    Centers,
    Chooses,
    Counts,
    Deep,
    Doubles,
    Draws,
    Drops,
    Forgets,
    Halves,
    Mode,
    Normalizes,
    Overflows,
    Rounds,
)
from torch import Tensor, nn

from typedwave.testing import LAWS, Case, Finding, Report, Row, check, declare

pytestmark = pytest.mark.usefixtures("default_profile")


# what a finding says


def test_a_finding_of_a_module():
    (finding,) = check(Centers, laws="independence").findings
    assert str(finding) == (
        "independence: examples of a batch do not influence one another\n"
        "  module    Centers\n"
        "  call      x f32[B=2, C=3]\n"
        "  but       only other examples changed, and the result of example 0 of 2 did too: "
        "result[0, 1] was 0.395547 and became -0.610352, in eval mode\n"
        "  repeat    check(Centers, laws='independence', case=Case(sizes={'B': 2, 'C': 3}))"
    )
    assert finding == Finding(
        law="independence",
        sentence=LAWS["independence"].sentence,
        subject="Centers",
        case=Case({"B": 2, "C": 3}),
        call="x f32[B=2, C=3]",
        differed=finding.differed,
    )


def test_a_finding_of_a_layer_inside_of_a_network():
    (finding,) = check(Deep, laws="independence").findings
    assert finding.where == "layers.1 (Centers)"
    assert str(finding).splitlines()[1:3] == [
        "  module    Deep, first in layers.1 (Centers)",
        "  call      x f32[B=2, 4]",
    ]


def test_a_finding_that_may_be_meant_with_a_declaration():
    (finding,) = check(Doubles, laws="inputs", sizes={"T": (5, 7)}).findings
    assert str(finding) == (
        "inputs: arguments are not written to\n"
        "  module    Doubles\n"
        "  call      x f32[B=2, T=5]\n"
        "  but       x[0, 2] was -2.17879 and became -4.35758 by the call, in eval mode\n"
        "  repeat    check(Doubles, laws='inputs', sizes={'T': (5, 7)}, "
        "case=Case(sizes={'B': 2, 'T': 5}))\n"
        "  if meant  inplace=True, if it writes to its arguments"
    )


def test_a_finding_of_a_function_bears_its_name():
    def center(x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        return x - x.mean(0)

    for function in (center, lambda: Centers()):
        (finding,) = check(function, laws=["order", "batch_size"]).findings
        assert finding.law == "batch_size"
    assert check(center, laws="order").subject == "center"
    assert "<" not in check(lambda: Centers(), laws="order").subject


def test_the_choices_of_a_call_are_shown():
    (finding,) = check(Chooses, laws="independence").findings
    assert finding.call == "x f32[B=2, T=3], mode Mode.CENTERED"
    assert finding.case.choices == {"mode": Mode.CENTERED}


def test_a_function_of_torch_is_checked_with_its_arguments_drawn():
    report = check(
        nn.functional.softmax,
        spec={"input": Float[Tensor, "B C"], "dim": st.sampled_from([1, 0])},
        laws=["independence", "order"],
    )
    assert report.subject == "softmax"
    (finding,) = report.findings
    assert finding.call == "input f32[B=2, C=3], dim int 0"


REPEATED = [
    (Centers, "independence", {}),
    (Deep, "batch_size", {}),
    (Doubles, "inputs", {"sizes": {"T": 5}}),
    (Counts, "history", {}),
    (Draws, "purity", {}),
    (Rounds, "derivatives", {}),
    (Chooses, "independence", {}),
    (Overflows, "finite", {}),
    (Forgets, "gradients", {}),
    (Centers, "receptive_field", {"causal": True, "time": "B"}),
    (
        nn.Identity,
        "annotation",
        {"spec": {"input": Float[Tensor, "B T"], "return": Int[Tensor, "B"]}},
    ),
]


@pytest.mark.parametrize(("module", "law", "declared"), REPEATED, ids=lambda each: str(each)[:30])
def test_the_line_that_repeats_a_finding_repeats_it(module, law, declared):
    (finding,) = check(module, laws=law, **declared).findings
    again = eval(finding.repeat, {**globals(), **vars(small), module.__name__: module})
    assert again.findings == (finding,)
    assert [row.law for row in again.rows] == [law]


# reports


def test_a_report_has_a_row_for_each_law_and_an_outcome():
    report = check(Deep, examples=4)
    rows = {row.law: row for row in report.rows}
    assert [*rows] == [*LAWS]
    assert {row.outcome for row in report.rows} == {"held", "broken", "not tried"}
    for row in report.rows:
        assert (row.finding is not None) == (row.outcome == "broken")
        assert bool(row.why) == (row.outcome in ("not tried", "say"))
        assert (row.law in report.held) == (row.outcome == "held")
    assert rows["order"].examples == 4
    assert [finding.law for finding in report.findings] == ["independence", "batch_size"]
    assert rows["mask"] == Row("mask", "not tried", why="no argument looks like a mask")


def test_a_report_is_a_table_with_the_findings_below():
    report = check(Doubles, laws=["order", "receptive_field", "inputs", "mask"])
    (finding,) = report.findings
    assert re.sub(r"\d\.\d s", "0.0 s", str(report)) == (
        "Doubles: 1 laws held, 1 broken, 1 to be declared\n"
        "  order            held       20 examples, 0.0 s\n"
        "  receptive_field  say        causal=True or receptive_field=..., if it is meant\n"
        "  inputs           broken     see below\n"
        "  mask             not tried  no argument looks like a mask\n"
        "\n"
        f"{finding}"
    )


def test_a_report_says_what_sizes_are_refused():
    def pair(x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        if x.shape[1] % 2 or x.shape[1] > 8:
            raise ValueError("give pairs\nand few")
        return x

    report = check(pair, laws="order")
    assert report.refused == ("refuses T = 1, 3, 5, 7, 9, 11, 12, 13, 16: ValueError: give pairs",)
    assert str(report).endswith(f"\n  {report.refused[0]}")


def test_raising_for_findings_raises_all_of_them():
    report = check(Deep, laws=["independence", "order", "batch_size"])
    with pytest.raises(AssertionError) as caught:
        report.raise_for_findings()
    assert str(caught.value) == "\n\n".join(map(str, report.findings))
    assert check(Halves, laws="order").raise_for_findings() is None
    assert Report("Nothing", ()).raise_for_findings() is None


# right ones, and what may be meant


@pytest.mark.parametrize("module", [Halves, Drops, Halves(), Drops().eval(), nn.Dropout, nn.ReLU])
def test_nothing_is_found_in_what_is_right(module):
    spec = {"input": Float[Tensor, "*B C"]} if module in (nn.Dropout, nn.ReLU) else {}
    report = check(module, examples=4, spec=spec)
    assert report.findings == ()
    assert {"annotation", "purity", "independence"} - {*report.held} <= {"annotation"}


MEANT = {
    "random": (Draws, "purity"),
    "stateful": (Counts, "purity"),
    "inplace": (Doubles, "inputs"),
    "surrogate": (Rounds, "derivatives"),
    "couples": (Normalizes, "independence"),
    "unused": (Forgets, "gradients"),
}


@pytest.mark.parametrize("option", MEANT)
def test_a_declaration_silences_what_a_finding_says_it_does(option):
    module, law = MEANT[option]
    (finding,) = check(module, laws=law).findings
    assert f"{option}=" in finding.meant
    declared = {option: "bias" if option == "unused" else True}
    assert check(module, examples=4, **declared).findings == ()


def test_a_factory_carries_declarations_and_those_of_check_come_before_them():
    @declare(couples=True)
    def make() -> nn.Module:
        return Normalizes()

    laws = ["independence", "statistics"]
    assert check(make, laws=laws).held == ("independence", "statistics")
    (finding,) = check(make, laws=laws, couples=False).findings
    assert finding.law == "independence"
    marked = declare(inplace=True)(Doubles)
    try:
        assert check(marked, laws="inputs").findings == check(Doubles(), laws="inputs").findings
    finally:
        del Doubles.__typedwave_declarations__
