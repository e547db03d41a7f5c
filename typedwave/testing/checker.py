"""Trying laws on one module, by hypothesis."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky, Unsatisfiable, UnsatisfiedAssumption

from typedwave.testing.calls import Case, quietly, said
from typedwave.testing.cases import cases, edge_cases
from typedwave.testing.declared import CheckError, Declared
from typedwave.testing.finding import Violation
from typedwave.testing.laws import LAWS, Law, Untried
from typedwave.testing.loading import declarations_of
from typedwave.testing.report import Report, Row
from typedwave.testing.room import Room
from typedwave.testing.sizes import total
from typedwave.testing.subject import Subject
from typedwave.testing.trial import Trial
from typedwave.testing.values import LAYOUTS, VALUES

__all__ = ["Checker"]

EXAMPLES: Final = 20
"""Cases of a law, unless a profile of hypothesis says otherwise."""
OURS: Final = "an error of typedwave, please report it"
"""What is said of a law that could not be tried for a reason that is none of the module's."""
_REFUSED: Final = 25
"""Cases that may be no example of a law before it is given up."""


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
        with quietly():
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

        Raises:
            CheckError: A number is out of range, or the case is not one of this module.
        """
        if examples is not None and examples < 1:
            raise CheckError(f"examples is {examples}, but has to be at least 1")
        if seconds <= 0:
            raise CheckError(f"seconds is {seconds}, but has to be more than 0")
        with quietly():
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
                            _twice(test, edge)
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
        except (Flaky, _OnceError):
            assert run.last is not None
            finding = run.last.finding
            broken = Violation(
                dataclasses.replace(finding, differed=f"{finding.differed} (but not each time)")
            )
        except (Unsatisfiable, UnsatisfiedAssumption, _GivenUpError):
            return Row(law.name, "not tried", why=run.why)
        except CheckError:
            raise
        except Exception as error:  # the other laws are not to suffer for it
            return Row(law.name, "not tried", why=f"{OURS}: {said(error)}")
        took = time.monotonic() - begun
        if broken is not None:
            return Row(law.name, "broken", run.tried, took, broken.finding)
        if run.tried == 0:
            return Row(law.name, "not tried", why=run.why)
        return Row(law.name, "held", run.tried, took)


class _GivenUpError(Exception):
    """No case is an example of the law."""


class _Run:
    """The cases of one law, one after the other."""

    def __init__(self, law: Law, room: Room, seconds: float) -> None:
        self._law, self._room, self._until = law, room, time.monotonic() + seconds
        self._seconds = seconds
        self._failed: set[str] = set()
        self._kept: list[Any] = []
        self._trial: Trial | None = None
        self._passed: list[str] = []
        self._refused = 0
        self.tried = 0
        self.last: Violation | None = None

    @property
    def why(self) -> str:
        """Why there was no example."""
        return self._passed[0] if self._passed else "no case was found that it takes"

    def test(self, case: Case) -> None:
        key = repr(case)
        if self.tried and time.monotonic() > self._until and key not in self._failed:
            return
        law = self._law
        trial = Trial(
            law.name, law.sentence, self._room, case, meant=law.meant, passed=self._passed
        )
        try:
            kept = law.test(trial)
        except UnsatisfiedAssumption:
            self._refused += 1
            if self._refused > _REFUSED and not self.tried:
                raise _GivenUpError from None
            raise
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


class _OnceError(Exception):
    """A case has broken a law, and the same case has not."""


def _twice(test: Callable[[Case], None], case: Case) -> None:
    """Tries a case; one that breaks the law is tried again."""
    try:
        test(case)
    except Violation:
        test(case)
        raise _OnceError from None


def _is_default(profile: settings) -> bool:
    """Whether nobody chose how many examples: 100 is what hypothesis begins with, on CI too."""
    return profile.max_examples == settings.get_profile("default").max_examples
