"""What several commands have in common: flags from presets and config files, and trained runs."""

import argparse
import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from jsonargparse import ArgumentParser, Namespace

from typedwave.lab.runs.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint
from typedwave.lab.runs.config_file import read_config
from typedwave.lab.runs.record import RECORD, read_facts, read_record, words_of
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import AnyRecipe, PoolRecipe, recipe_of
from typedwave.lab.words.corpus import read_words
from typedwave.models import CONFIGS, Config, PoolConfig, config_of

__all__ = [
    "INTERRUPTED",
    "MOST_THREADS",
    "STRICT",
    "Defaults",
    "add_flags",
    "add_preset",
    "add_run",
    "at_least",
    "checkpoint_at",
    "defaults_of",
    "flagged",
    "of_flags",
    "open_run",
    "within",
]

INTERRUPTED: Final = 130
"""As a shell counts a process that SIGINT ended."""

MOST_THREADS: Final = 1024
"""Far more than that, and torch ends the process."""

# Errors are ours to word, a flag that is cut short would pass defaults_of() by, and --print_config
# is ours too.
STRICT: Final = functools.partial(
    ArgumentParser, exit_on_error=False, allow_abbrev=False, print_config=None
)


@dataclass(frozen=True)
class Defaults:
    """Where the flags of a network and of its training have their defaults from."""

    name: str
    config: Config
    recipe: AnyRecipe
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of the run that is gone on with."""


def defaults_of(arguments: Sequence[str]) -> Defaults:
    """The preset, config file or run that is asked for, which decides the defaults of all else.

    Raises:
        ValueError: The file is no config, or no record of a run.
        OSError: It cannot be read.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    parser.add_argument("--config")
    parser.add_argument("--network", default="demo")  # a preset of its kind, if no other is named
    parser.add_argument("--out")
    parser.add_argument("--resume", action="store_true")
    with contextlib.suppress(argparse.ArgumentError):
        asked = parser.parse_known_args(list(arguments))[0]
        facts = _facts(asked)
        if asked.config and asked.preset:
            raise ValueError(
                "--config and --preset both say where the defaults come from; name one"
            )
        if asked.config:
            return Defaults(Path(asked.config).stem, *read_config(asked.config), facts)
        if facts and not asked.preset:
            config, recipe = config_of(facts["network"]), recipe_of(facts["recipe"])
            return Defaults(facts.get("name", Path(asked.out).name), config, recipe, facts)
        if asked.network not in (*CONFIGS, "demo"):
            raise ValueError(f"network is {asked.network!r}, but there are {', '.join(CONFIGS)}")
        name: str = asked.preset or asked.network
        if name in PRESETS and (asked.preset or name != "pool"):  # whose members have no flags
            return Defaults(name, *PRESETS[name], facts)
    return Defaults("demo", *PRESETS["demo"])  # the real parser says what is wrong with a flag


def _facts(asked: argparse.Namespace) -> Mapping[str, Any]:
    """The record of the run that is to be gone on with, if there is one yet."""
    if not (asked.resume and asked.out and (Path(asked.out) / RECORD).exists()):
        return {}
    return read_record(asked.out).facts


def flagged(arguments: Sequence[str]) -> list[str]:
    """``--n-embd=24`` as ``--n_embd=24``: either is a flag, but behind ``--`` there are none."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [*map(_flagged, arguments[:end]), *arguments[end:]]


def _flagged(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if name[:2] == "--" else argument


def add_preset(parser: ArgumentParser, defaults: Defaults) -> None:
    """Flags for where the defaults of a network come from, and for the network."""
    preset = defaults.name if defaults.name in PRESETS else None
    parser.add_argument(
        "--preset",
        choices=[*PRESETS, *([] if preset else [None])],  # of which the default has to be one
        default=preset,
        help="where the defaults come from",
        metavar=f"{{{','.join(PRESETS)}}}",
    )
    parser.add_argument(
        "--config",
        type=str,
        help="a TOML file that they come from: config.toml of a run",
    )
    add_flags(parser, defaults.config)
    parser.epilog = (
        f"The kinds of network are {', '.join(CONFIGS)}. Each has flags of its own, which "
        "--network KIND --help shows."
    )


def add_flags(parser: ArgumentParser, preset: Config | AnyRecipe) -> None:
    """Flags for what a preset decides; the members of a pool have none."""
    if not isinstance(preset, PoolConfig | PoolRecipe):
        parser.add_class_arguments(type(preset), as_group=True)
        parser.set_defaults(dataclasses.asdict(preset))


def of_flags(preset: Any, options: Namespace) -> Any:
    """A config or recipe like a preset's, from the flags of the same names."""
    if isinstance(preset, PoolConfig | PoolRecipe):
        return preset
    fields = dataclasses.fields(preset)
    return type(preset)(**{field.name: options[field.name] for field in fields})


def add_run(parser: ArgumentParser) -> None:
    """The arguments for a run and for other words than its own."""
    parser.add_argument("run", help="folder of a run, or a checkpoint")
    parser.add_argument("data", nargs="?", type=str, help="words, if not those of the run")


def checkpoint_at(run: str) -> Path:
    """The file of a checkpoint that is named by its own path or by the folder of its run."""
    path = Path(run)
    return path / CHECKPOINT if path.is_dir() else path


class Opened(NamedTuple):
    """A trained network and the words that belong to it."""

    checkpoint: Checkpoint
    corpus: str
    words: list[str]


def open_run(run: str, data: str | None, *, needed: bool = True) -> Opened:
    """The checkpoint of a run and the words that were named, or those that it was trained on.

    Words that are not needed are none where they cannot be found.
    """
    file = checkpoint_at(run)
    checkpoint = load_checkpoint(file)
    if data is not None:
        return Opened(checkpoint, data, read_words(data))
    record = file.parent / RECORD
    try:
        if not record.exists():
            raise ValueError(f"there is no {RECORD} beside {file}; name the file of words as data")
        facts = read_facts(record)
        return Opened(checkpoint, str(facts.get("corpus")), words_of(file.parent, facts))
    except (OSError, ValueError):
        if needed:
            raise
        return Opened(checkpoint, "", [])


def within(least: int, most: int, name: str, value: int) -> None:
    """Refuses a number that is too small or too large."""
    at_least(least, name, value)
    if value > most:
        raise ValueError(f"{name} is {value}, but has to be at most {most}")


def at_least(least: int, name: str, value: int) -> None:
    """Refuses a number that is too small."""
    if value < least:
        raise ValueError(f"{name} is {value}, but has to be at least {least}")
