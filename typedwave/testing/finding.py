"""Findings: what breaks a law, said so that a person can act on it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from typedwave.testing.calls import Case

__all__ = ["Finding", "Violation"]


@dataclass(frozen=True)
class Finding:
    """One law that does not hold.

    Attributes:
        law: Its name.
        sentence: What it says.
        subject: The module, as it was given.
        declared: What was declared, as arguments of ``check``.
        case: The smallest case in which it does not hold.
        call: The arguments of that case: ``"x f32[B=2, T=3]"``.
        differed: What differed, and where.
        where: The submodule that breaks it first, ``"layers.2 (BatchNorm1d)"``; ``""`` if that
            could not be told.
        meant: The declaration to make if it is meant to be so; ``""`` if there is none.
    """

    law: str
    sentence: str
    subject: str
    case: Case
    call: str
    differed: str
    declared: str = ""
    where: str = ""
    meant: str = ""

    @property
    def repeat(self) -> str:
        """The line that shows it again."""
        declared = f", {self.declared}" if self.declared else ""
        return f"check({self.subject}, laws={self.law!r}{declared}, case={self.case!r})"

    def _lines(self) -> Iterator[str]:
        yield f"{self.law}: {self.sentence}"
        rows = {
            "module": f"{self.subject}, first in {self.where}" if self.where else self.subject,
            "call": self.call,
            "but": self.differed,
            "repeat": self.repeat,
            "if meant": self.meant,
        }
        for label, text in rows.items():
            if text:
                yield f"  {label:<8}  {text}"

    def __str__(self) -> str:
        """The law, the module, the call, what differed and how to see it again."""
        return "\n".join(self._lines())


class Violation(AssertionError):  # noqa: N818  # of a law; no error of the one who asks
    """Raised inside of a law; carries its finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding

    def at(self, where: str) -> "Violation":
        """The same with the submodule that breaks the law first."""
        return Violation(replace(self.finding, where=where))
