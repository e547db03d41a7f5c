"""Each silent bug is found by the law that is meant for it, and none is where there is no bug."""

import pytest
from broken import TWINS, Twin

from typedwave.testing import LAWS, check
from typedwave.testing.checker import OURS

pytestmark = pytest.mark.usefixtures("default_profile")
twins = pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)


@twins
def test_a_silent_bug_is_found_by_its_law(twin: Twin) -> None:
    report = check(twin.broken, laws=twin.law, **twin.declared)
    assert [finding.law for finding in report.findings] == [twin.law]


@twins
def test_nothing_is_found_without_the_bug(twin: Twin) -> None:
    report = check(twin.fixed, examples=8, **twin.declared)
    report.raise_for_findings()
    assert twin.law in report.held
    assert not [row for row in report.rows if OURS in row.why]


@twins
def test_the_line_of_a_finding_finds_it_again(twin: Twin) -> None:
    (found,) = check(twin.broken, laws=twin.law, **twin.declared).findings
    (again,) = check(twin.broken, laws=twin.law, case=found.case, **twin.declared).findings
    assert str(again) == str(found)


def test_there_is_a_bug_for_every_law_but_the_compiler() -> None:
    assert {twin.law for twin in TWINS.values()} == {*LAWS} - {"compiled"}
