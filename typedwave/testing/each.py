"""``each_law``: a test of pytest for each law."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch.nn import Module

from typedwave.testing.checker import Checker
from typedwave.testing.declared import CheckError
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

    Raises:
        CheckError: The function takes arguments, or no law has one of the names.

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
        takes = ", ".join(inspect.signature(factory).parameters)
        if takes:
            raise CheckError(
                f"each_law: the factory takes no arguments, no fixtures and no self, but "
                f"{factory.__name__} takes {takes}"
            )
        checker = Checker.of(factory, declarations)
        chosen = [law.name for law in checker.laws(wanted)]

        @pytest.mark.typedwave
        @pytest.mark.parametrize("law", chosen)
        @functools.wraps(factory)
        def test(law: str, request: pytest.FixtureRequest) -> None:
            try:
                row = checker.row(LAWS[law], examples=examples, seconds=seconds)
            except CheckError as error:
                pytest.fail(str(error), pytrace=False)
            outcome = [checker.room.subject.name, row.law, row.outcome]
            request.node.user_properties.append(("typedwave", outcome))
            if row.finding is not None:
                pytest.fail(str(row.finding), pytrace=False)
            if row.outcome != "held":
                raise pytest.skip.Exception(row.why, _use_item_location=True)

        del test.__wrapped__  # whose signature pytest would read
        return test

    return decorate
