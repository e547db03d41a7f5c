"""Tests of pytest for ``--typedwave-module``; only the plugin imports this."""

from collections.abc import Iterator
from typing import Any

import pytest

from typedwave.testing.checker import Checker
from typedwave.testing.declared import CheckError
from typedwave.testing.finding import Violation
from typedwave.testing.laws import LAWS, Law
from typedwave.testing.loading import load

__all__ = ["checker_of", "law_items"]


def checker_of(target: str) -> Checker:
    """What tries laws on ``package.module:factory``.

    Raises:
        UsageError: Nothing has that name, or it cannot be checked.
    """
    try:
        checker = Checker.of(load(target), {})
        _ = checker.room  # what cannot be called is said now
    except CheckError as error:
        raise pytest.UsageError(f"--typedwave-module: {error}") from None
    return checker


def law_items(session: pytest.Session, target: str, checker: Checker) -> Iterator[pytest.Item]:
    """A test for each law."""
    for law in LAWS.values():
        yield LawItem.from_parent(
            session, name=law.name, nodeid=f"{target}::{law.name}", checker=checker, law=law
        )


class LawItem(pytest.Item):
    """One law tried on one module."""

    def __init__(self, *, checker: Checker, law: Law, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._checker, self._law = checker, law
        self.add_marker("typedwave")

    def runtest(self) -> None:
        """Tries the law."""
        row = self._checker.row(self._law)
        module = self.nodeid.partition("::")[0]
        self.user_properties.append(("typedwave", [module, row.law, row.outcome]))
        if row.finding is not None:
            raise Violation(row.finding)
        if row.outcome != "held":
            raise pytest.skip.Exception(row.why, _use_item_location=True)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """The finding alone: where it was raised says nothing."""
        if isinstance(excinfo.value, Violation | CheckError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """How the test is called."""
        return self.nodeid.partition(":")[0], 0, self.name
