"""What came of the laws of one module."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from typedwave.testing.finding import Finding

__all__ = ["Outcome", "Report", "Row"]

Outcome = Literal["held", "broken", "not tried", "say"]


@dataclass(frozen=True)
class Row:
    """What came of one law.

    Attributes:
        law: Its name.
        outcome: ``"held"``, ``"broken"``, ``"not tried"``, or ``"say"`` where a declaration is
            missing that would let it be tried.
        examples: The cases that it was tried on.
        seconds: How long that took.
        finding: What breaks it, if it is broken.
        why: Why it was not tried, or what to say.
    """

    law: str
    outcome: Outcome
    examples: int = 0
    seconds: float = 0.0
    finding: Finding | None = None
    why: str = ""


@dataclass(frozen=True)
class Report:
    """What came of all laws; as text, a table and the findings under it.

    Attributes:
        subject: The module.
        rows: One for each law.
        refused: Calls that were refused, by axis: what it does not take.
    """

    subject: str
    rows: tuple[Row, ...]
    refused: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The laws that are broken."""
        return tuple(row.finding for row in self.rows if row.finding is not None)

    @property
    def held(self) -> tuple[str, ...]:
        """The names of the laws that were tried and hold."""
        return tuple(row.law for row in self.rows if row.outcome == "held")

    def raise_for_findings(self) -> None:
        """Does nothing if there are none.

        Raises:
            AssertionError: With all findings as its text.
        """
        if self.findings:
            raise AssertionError("\n\n".join(map(str, self.findings)))

    def __str__(self) -> str:
        """The table, and the findings."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        width = max([len(row.law) for row in self.rows], default=0)
        yield f"{self.subject}: " + ", ".join(self._counts())
        for row in self.rows:
            said = row.why or f"{row.examples} examples, {row.seconds:.1f} s"
            if row.outcome == "broken":
                said = "see below"
            yield f"  {row.law:<{width}}  {row.outcome:<9}  {said}"
        for refused in self.refused:
            yield f"  {refused}"
        for finding in self.findings:
            yield ""
            yield str(finding)

    def _counts(self) -> Iterator[str]:
        outcomes = [row.outcome for row in self.rows]
        yield f"{outcomes.count('held')} laws held"
        yield f"{outcomes.count('broken')} broken"
        if "say" in outcomes:
            yield f"{outcomes.count('say')} to be declared"
