"""What a strategy draws, for the tests of strategies."""

from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from typedwave.testing import Call, arguments

QUICK = settings(database=None, max_examples=200, derandomize=True)


def smallest(function: Any, condition: Callable[[Call], bool] = lambda _: True, **options) -> Call:
    """The call of that kind that hypothesis shrinks to."""
    return find(arguments(function, **options), condition, settings=QUICK)


def simplest(strategy: st.SearchStrategy) -> Any:
    """What hypothesis draws first."""
    first = settings(QUICK, max_examples=1, phases=[Phase.generate])
    return find(strategy, lambda _: True, settings=first)


@cache
def drawn(function: Any) -> list[Call]:
    """Two hundred calls."""
    found: list[Call] = []

    @given(arguments(function))
    @settings(QUICK, phases=[Phase.generate])
    def remember(call):
        found.append(call)

    remember()
    return found


def can_be(strategy: st.SearchStrategy, condition: Callable[[Any], Any]) -> bool:
    """Whether the strategy draws something of which the condition holds."""
    try:
        find(strategy, condition, settings=settings(max_examples=1000, database=None))
    except NoSuchExample:
        return False
    return True
