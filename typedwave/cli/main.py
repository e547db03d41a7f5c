"""The commands, and what becomes of an error."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from typedwave.cli import (
    checking,
    comparing,
    evaluating,
    inspecting,
    plotting,
    reporting,
    sampling,
    sweeping,
    training,
)
from typedwave.cli.options import INTERRUPTED, STRICT, Defaults, defaults_of, flagged
from typedwave.errors import ContractError

__all__ = ["run"]

Command = tuple[ArgumentParser, Callable[[Namespace], int]]


def run(arguments: Sequence[str]) -> int:
    """Runs one command; returns 0, 2 after an error of one line, or 130 after Ctrl-C.

    ``check`` returns 1 if a law is broken.
    """
    try:
        commands = _commands(defaults_of(arguments))
        options = _parser(commands).parse_args(flagged(arguments))
        status = commands[options.command][1](options[options.command])
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except ContractError as error:  # a table, whose lines are part of what it says
        print(f"typedwave: {error}", file=sys.stderr)
        return 2
    except (ArgumentError, ArithmeticError, ValueError) as error:
        return _fail(str(error))
    except (MemoryError, RuntimeError, TypeError) as error:
        # From torch: a size that no machine has, say.
        return _fail((str(error).splitlines() or [type(error).__name__])[0])
    except KeyboardInterrupt:
        return INTERRUPTED


def _commands(defaults: Defaults) -> dict[str, Command]:
    return {
        "train": (training.parser(defaults), partial(training.run, defaults=defaults)),
        "eval": (evaluating.parser(), evaluating.run),
        "sample": (sampling.parser(), sampling.run),
        "inspect": (inspecting.parser(defaults), partial(inspecting.run, defaults=defaults)),
        "compare": (comparing.parser(), comparing.run),
        "plot": (plotting.parser(), plotting.run),
        "check": (checking.parser(), checking.run),
        "report": (reporting.parser(), reporting.run),
        "sweep": (sweeping.parser(), sweeping.run),
    }


def _parser(commands: Mapping[str, Command]) -> ArgumentParser:
    parser = STRICT(
        prog="typedwave",
        description="Character models of typed layers: train, evaluate, sample, inspect.",
        version=version("typedwave"),
    )
    subcommands = parser.add_subcommands(dest="command", required=True)
    for name, (command, _) in commands.items():
        command.add_argument("--json", action="store_true", help="print JSON and nothing else")
        subcommands.add_subcommand(name, command, help=command.description)
    return parser


def _fail(message: str) -> int:
    print(f"typedwave: {' '.join(message.split())}", file=sys.stderr)
    return 2
