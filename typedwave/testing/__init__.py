"""Hypothesis strategies and laws for any module: what its annotations cannot see."""

from typedwave.testing.calls import Call, Case
from typedwave.testing.check import check
from typedwave.testing.declared import CheckError, Declared
from typedwave.testing.each import each_law
from typedwave.testing.finding import Finding
from typedwave.testing.laws import LAWS, Law
from typedwave.testing.loading import declare
from typedwave.testing.report import Report, Row
from typedwave.testing.strategies import (
    arguments,
    axis_sizes,
    leading_axes,
    normal_tensors,
    tensors,
)

__all__ = [
    "LAWS",
    "Call",
    "Case",
    "CheckError",
    "Declared",
    "Finding",
    "Law",
    "Report",
    "Row",
    "arguments",
    "axis_sizes",
    "check",
    "declare",
    "each_law",
    "leading_axes",
    "normal_tensors",
    "tensors",
]
