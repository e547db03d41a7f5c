"""``each_law``: a test of pytest for each law."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch.nn import Module

from typedwave.testing.check import Checker
from typedwave.testing.finding import Violation
from typedwave.testing.laws import LAWS

__all__ = ["each_law"]


def each_law(
    *,
    laws: str | Sequence[str] | None = None,
    examples: int | None = None,
    seconds: float = 10,
    **declarations: Any,
) -> Callable[[Callable[[], Module]], Callable[..., None]]:
    """Makes tests of a function that makes a module: one for each law, all independent.

    A law that does not apply, or lacks a declaration, is skipped, and says why.

    Args:
        laws: The name of a law, or several; all by default.
        examples: Calls for each law.
        seconds: How long to look for calls.
        **declarations: See `Declared`.

    Example:
        >>> from jaxtyping import Float
        >>> from torch import Tensor, nn
        >>> @each_law(spec={"input": Float[Tensor, "B T 8"]})
        ... def test_norm() -> nn.Module:
        ...     return nn.LayerNorm(8)
    """
    import pytest

    wanted = [laws] if isinstance(laws, str) else [*(LAWS if laws is None else laws)]

    def decorate(factory: Callable[[], Module]) -> Callable[..., None]:
        checker = Checker.of(factory, declarations)
        chosen = [law.name for law in checker.laws(wanted)]

        @pytest.mark.typedwave
        @pytest.mark.parametrize("law", chosen)
        @functools.wraps(factory)
        def test(law: str, record_property: Callable[[str, object], None]) -> None:
            row = checker.row(LAWS[law], examples=examples, seconds=seconds)
            record_property("typedwave", [checker.room.subject.name, row.law, row.outcome])
            if row.finding is not None:
                raise Violation(row.finding) from None
            if row.outcome != "held":
                pytest.skip(row.why)

        del test.__wrapped__  # whose signature pytest would read
        return test

    return decorate
