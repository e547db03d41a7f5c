"""The command line as tests call it, and what a run leaves behind."""

from typing import Any

import pytest

from typedwave.cli import run

RUN_FILES = {
    "checkpoint.safetensors",
    "config.toml",
    "curve.png",
    "metrics.jsonl",
    "run.json",
    "samples.txt",
}
"""Of a run that is finished."""

FRIENDS = [first + last for first in ("an", "ot", "mi", "le", "em") for last in ("na", "to", "l")]
"""Words enough to train on."""


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[str, str]:
    """What a command that passes prints on stdout and on stderr."""
    capsys.readouterr()
    assert run([*map(str, arguments)]) == 0
    return capsys.readouterr()


def prints(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """What a command that passes prints on stdout."""
    return printed(capsys, *arguments)[0]


def fails(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """The one line on stderr of a command that does not, without the name of the command."""
    capsys.readouterr()
    assert run([*map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("typedwave: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("typedwave: ").removesuffix("\n")
