"""The checking: contracts on calls and on what a module remembers."""

from typedwave.contract.decorator import typed
from typedwave.contract.hints import describe
from typedwave.contract.location import where
from typedwave.contract.module import Module
from typedwave.contract.rules import unfit

__all__ = ["Module", "describe", "typed", "unfit", "where"]
