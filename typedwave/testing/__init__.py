"""Hypothesis strategies for any module: sizes that hide no swapped axis, and tensors of them."""

from typedwave.testing.strategies import axis_sizes, leading_axes, normal_tensors

__all__ = ["axis_sizes", "leading_axes", "normal_tensors"]
