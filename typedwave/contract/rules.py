"""Rules that an annotation cannot express, refused in the form of those that it can."""

from typing import Any

from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.nn import Module

from typedwave.contract.hints import describe
from typedwave.contract.location import where
from typedwave.contract.tracing import local
from typedwave.contract.trail import steps
from typedwave.errors import Mismatch, ShapeError

__all__ = ["unfit"]

_PARTS = ("module", "subject", "value", "hint", "needs", "because", "suggestion")


def unfit(
    module: Module,
    subject: str,
    value: Tensor,
    hint: str,
    *,
    needs: str,
    because: str,
    suggestion: str,
) -> ShapeError:
    """The error for a module to raise; while Dynamo traces, it is raised from here.

    Args:
        module: The module that refuses.
        subject: The argument.
        value: What came.
        hint: The annotated shape: ``'Float "B T C"'``.
        needs: The rule with its numbers: ``"T is a multiple of n = 2"``.
        because: What breaks it: ``"axis 1 is 7"``.
        suggestion: What to do; empty if there is no telling.
    """
    if is_dynamo_compiling():
        from torch._dynamo.comptime import comptime  # imported late, as it takes a second

        comptime(_raise_at_trace_time)
    rows = (("expected", hint, needs), ("got", describe(value), because))
    mismatch = Mismatch(subject, "has the wrong shape", rows)
    flow = steps(module, describe(value), "refused")
    return ShapeError(where(module), [mismatch], flow=flow, suggestion=suggestion or None)


def _raise_at_trace_time(context: Any) -> None:
    module, subject, value, *texts = (local(context, name) for name in _PARTS)
    # A text with the symbol of a size in it cannot be told; the shape shows it.
    hint, *told = (text if isinstance(text, str) else "" for text in texts)
    needs, because, suggestion = told
    raise unfit(module, subject, value, hint, needs=needs, because=because, suggestion=suggestion)
