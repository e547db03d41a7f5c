"""The command line: it parses, calls and prints."""

from typedwave.cli.main import run

__all__ = ["run"]
