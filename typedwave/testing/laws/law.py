"""What a law is, and when it is tried."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from typedwave.testing.room import Room
from typedwave.testing.trial import Trial

__all__ = ["Law", "Untried"]


@dataclass(frozen=True)
class Untried:
    """Why a law is not tried.

    Attributes:
        why: A sentence's end: ``"no axis is called B"``.
        asks: Whether a declaration is missing that would let it be tried.
    """

    why: str
    asks: bool = False


def _by_default(room: Room) -> Mapping[str, Any] | Untried:
    return {}


@dataclass(frozen=True)
class Law:
    """A statement about any module.

    Attributes:
        name: How it is chosen and reported.
        sentence: What it says.
        test: Tries it on one case; raises a `Violation`. What it returns is kept for ``finish``.
        tried: The cases that it is tried on, as arguments of `cases`; or why it is not.
        meant: The declaration that allows what the law forbids.
        finish: Is given what ``test`` returned, and the last trial.
        examples: How many cases at most; None for as many as are asked for.
    """

    name: str
    sentence: str
    test: Callable[[Trial], Any]
    tried: Callable[[Room], Mapping[str, Any] | Untried] = field(default=_by_default)
    meant: str = ""
    finish: Callable[[list[Any], Trial], None] | None = None
    examples: int | None = None
