"""``check``: tries every law that applies to a module, and reports."""

from collections.abc import Sequence
from typing import Any

from typedwave.contract.hints import describe
from typedwave.testing.calls import Case
from typedwave.testing.checker import Checker
from typedwave.testing.declared import CheckError
from typedwave.testing.report import Report

__all__ = ["check"]


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
    if case is not None and not isinstance(case, Case):
        raise CheckError(f"case is {describe(case)}, but has to be a Case")
    checker = Checker.of(module_or_factory, declarations)
    wanted = checker.laws(laws)
    return checker.report(
        [checker.row(law, examples=examples, seconds=seconds, case=case) for law in wanted]
    )
