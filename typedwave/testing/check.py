"""``check``: tries every law that applies to a module, and reports."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky, Unsatisfiable, UnsatisfiedAssumption

from typedwave.contract.hints import describe
from typedwave.testing.calls import Case
from typedwave.testing.cases import cases, edge_cases
from typedwave.testing.declared import CheckError, Declared
from typedwave.testing.finding import Finding, Violation
from typedwave.testing.laws import LAWS, Law, Untried
from typedwave.testing.loading import declarations_of
from typedwave.testing.room import Room
from typedwave.testing.sizes import total
from typedwave.testing.subject import Subject
from typedwave.testing.trial import Trial
from typedwave.testing.values import LAYOUTS, VALUES

__all__ = ["Checker", "Report", "Row", "check"]

EXAMPLES: Final = 20
"""Cases of a law, unless a profile of hypothesis says otherwise."""

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


class Checker:
    """Tries laws on one module; what it finds out about its sizes serves all of them.

    Args:
        source: A module, or something that makes one when called; or a function of tensors.
        declared: What is said about it.
    """

    def __init__(self, source: Any, declared: Declared) -> None:
        self._source, self._declared = source, declared

    @classmethod
    def of(cls, source: Any, declarations: Mapping[str, Any]) -> "Checker":
        """A checker with those declarations, and those that the source carries.

        Raises:
            CheckError: One of them is none.
        """
        return cls(source, Declared.of({**declarations_of(source), **declarations}))

    @cached_property
    def room(self) -> Room:
        """The module and the sizes that it takes."""
        with _quiet():
            room = Room(Subject(self._source, self._declared))
            room.taken  # noqa: B018  # found out here, where warnings are ignored
            return room

    def laws(self, names: str | Sequence[str] | None) -> list[Law]:
        """The laws of those names; all by default.

        Raises:
            CheckError: There is no such law.
        """
        wanted = [names] if isinstance(names, str) else [*(LAWS if names is None else names)]
        for name in wanted:
            if name not in LAWS:
                raise CheckError(f"no law is called {name!r}; there are {', '.join(LAWS)}")
        return [LAWS[name] for name in wanted]

    def report(self, rows: Sequence[Row]) -> Report:
        """The rows, and what the module refuses."""
        room, refused = self.room, []
        for name in room.subject.names:
            found = room.refused(name)
            if found and len(room.taken[name]) > 1:
                sizes = ", ".join(map(str, sorted(found, key=total)))
                refused.append(f"refuses {name} = {sizes}: {next(iter(found.values()))}")
        return Report(room.subject.name, tuple(rows), tuple(refused))

    def row(
        self,
        law: Law,
        *,
        examples: int | None = None,
        seconds: float = 10,
        case: Case | None = None,
    ) -> Row:
        """Tries one law.

        Args:
            law: The law.
            examples: How many cases; by default 20, or as many as the hypothesis profile says.
            seconds: When to stop looking for more cases, or for a smaller one.
            case: The only case to try.
        """
        with _quiet():
            tried = law.tried(self.room)
            if isinstance(tried, Untried):
                return Row(law.name, "say" if tried.asks else "not tried", why=tried.why)
            if case is not None:
                self._refuse(case)
                return self._run(law, lambda test: lambda: test(case), seconds)
            profile = settings.get_profile(settings.get_current_profile_name())
            count = examples or (EXAMPLES if _is_default(profile) else profile.max_examples)
            count = min(count, law.examples or count)
            edges = [*edge_cases(self.room, **tried)][:count]
            quiet = settings(
                max_examples=max(count - len(edges), 1),  # it takes no 0
                database=None,
                deadline=None,
                derandomize=_is_default(profile) or profile.derandomize,
                suppress_health_check=[*HealthCheck],
                phases=[Phase.generate, Phase.shrink],
                report_multiple_bugs=False,
                print_blob=False,
                verbosity=Verbosity.quiet,
            )
            drawn = cases(self.room, **tried)

            def engine(test: Callable[[Case], None]) -> Callable[[], None]:
                def run() -> None:
                    for edge in edges:
                        with contextlib.suppress(UnsatisfiedAssumption):
                            test(edge)
                    if len(edges) < count:
                        quiet(given(drawn)(test))()

                return run

            return self._run(law, engine, seconds)

    def _refuse(self, case: Case) -> None:
        """Refuses a case that is not one of this module."""
        subject = self.room.subject
        missing = [name for name in subject.names if name not in case.sizes]
        if missing:
            raise CheckError(
                f"case gives no size to {', '.join(missing)}; the axes of {subject.name} are "
                f"{', '.join(subject.names)}"
            )
        if case.values not in VALUES or case.layout not in LAYOUTS:
            raise CheckError(
                f"case has values {case.values!r} and layout {case.layout!r}; there are "
                f"{', '.join(VALUES)}, and {', '.join(LAYOUTS)}"
            )

    def _run(
        self,
        law: Law,
        engine: Callable[[Callable[[Case], None]], Callable[[], None]],
        seconds: float,
    ) -> Row:
        begun = time.monotonic()
        run = _Run(law, self.room, seconds)
        broken: Violation | None = None
        try:
            engine(run.test)()
            run.finish()
        except Violation as violation:
            broken = violation
        except Flaky:
            assert run.last is not None
            finding = run.last.finding
            broken = Violation(
                dataclasses.replace(finding, differed=f"{finding.differed} (but not each time)")
            )
        except Unsatisfiable:
            return Row(law.name, "not tried", why="no case was found that it takes")
        took = time.monotonic() - begun
        if broken is not None:
            return Row(law.name, "broken", run.tried, took, broken.finding)
        if run.tried == 0:
            return Row(law.name, "not tried", why="no case was found that it takes")
        return Row(law.name, "held", run.tried, took)


class _Run:
    """The cases of one law, one after the other."""

    def __init__(self, law: Law, room: Room, seconds: float) -> None:
        self._law, self._room, self._until = law, room, time.monotonic() + seconds
        self._seconds = seconds
        self._failed: set[str] = set()
        self._kept: list[Any] = []
        self._trial: Trial | None = None
        self.tried = 0
        self.last: Violation | None = None

    def test(self, case: Case) -> None:
        key = repr(case)
        if self.tried and time.monotonic() > self._until and key not in self._failed:
            return
        law = self._law
        trial = Trial(law.name, law.sentence, self._room, case, meant=law.meant)
        try:
            kept = law.test(trial)
        except Violation as violation:
            if not self._failed:
                self._until = time.monotonic() + self._seconds
            self._failed.add(key)
            self.last = violation
            raise
        self.tried += 1
        self._trial = self._trial or trial
        self._kept.append(kept)

    def finish(self) -> None:
        if self._law.finish is not None and self._trial is not None:
            self._law.finish(self._kept, self._trial)


def check(
    module_or_factory: Any,
    *,
    laws: str | Sequence[str] | None = None,
    examples: int | None = None,
    seconds: float = 10,
    case: Case | None = None,
    **declarations: Any,
) -> Report:
    """Tries the laws that apply to a module on drawn calls.

    Args:
        module_or_factory: A module, which is copied for each trial; or, better, a class or
            function that makes one when called without arguments; or a function of tensors.
        laws: The name of a law, or several; all by default.
        examples: Calls for each law; by default 20, or as many as the hypothesis profile says.
        seconds: How long to look for calls, and then for a smaller one, for each law.
        case: The only case to try, as the line of a finding gives it.
        **declarations: See `Declared`: ``sizes={"C": 8}``, ``causal=True``, ``couples=True``.

    Returns:
        What came of each law. ``check(...).raise_for_findings()`` is the last line of a test.

    Raises:
        CheckError: The module takes no call that was tried, an argument has no annotation, or a
            declaration cannot be meant.

    Example:
        >>> import torch
        >>> from jaxtyping import Float
        >>> from torch import Tensor, nn
        >>> class Center(nn.Module):
        ...     def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        ...         return x - x.mean(0)
        >>> report = check(Center)
        >>> [finding.law for finding in report.findings]
        ['independence', 'batch_size']
    """
    if examples is not None and examples < 1:
        raise CheckError(f"examples is {examples}, but has to be at least 1")
    if case is not None and not isinstance(case, Case):
        raise CheckError(f"case is {describe(case)}, but has to be a Case")
    checker = Checker.of(module_or_factory, declarations)
    wanted = checker.laws(laws)
    return checker.report(
        [checker.row(law, examples=examples, seconds=seconds, case=case) for law in wanted]
    )


def _is_default(profile: settings) -> bool:
    """Whether nobody chose how many examples: 100 is what hypothesis begins with, on CI too."""
    return profile.max_examples == settings.get_profile("default").max_examples


class _quiet(warnings.catch_warnings):  # noqa: N801  # reads as what it does
    """No warnings: what the module warns of is not what is asked."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
