"""A network and its training as a TOML file."""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from typedwave.lab.files import replacing
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import AnyRecipe, fields_of, recipe_of
from typedwave.models import Config, config_of

__all__ = [
    "config_from",
    "config_text",
    "read_config",
    "read_toml",
    "section",
    "write_config",
]

Made = TypeVar("Made")

_SECTIONS = ("preset", "network", "recipe")


def read_config(path: str | os.PathLike[str]) -> tuple[Config, AnyRecipe]:
    """Reads a network and its training.

    The file has the tables ``network`` and ``recipe``, with the fields of a config and a recipe.
    What they leave out is as in the preset that the file names as ``preset``; if it names none, as
    in the preset of the network's kind.

    Raises:
        ValueError: It is no such file, or a field in it is wrong; the path is told.
        OSError: It cannot be read.
    """
    return read_toml(path, config_from)


def read_toml(path: str | os.PathLike[str], make: Callable[[Mapping[str, Any]], Made]) -> Made:
    """What is made of the tables of a TOML file.

    Raises:
        ValueError: It is no such file, or nothing can be made of it; the path is told.
        OSError: It cannot be read.
    """
    text = Path(path).read_bytes()
    try:
        return make(tomllib.loads(text.decode("utf-8")))
    except (TypeError, ValueError) as error:  # of which UnicodeDecodeError and TOMLDecodeError are
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def config_from(data: Mapping[str, Any]) -> tuple[Config, AnyRecipe]:
    """The network and its training that the tables of such a file declare.

    Raises:
        ValueError: A table or a field in it is wrong.
        TypeError: There is no such field.
    """
    unknown = [name for name in data if name not in _SECTIONS]
    if unknown:
        raise ValueError(f"there is no {unknown[0]!r}; a config has {', '.join(_SECTIONS)}")
    network, recipe = (section(data, name) for name in ("network", "recipe"))
    names = list(PRESETS)  # where what has no hash is looked for too
    kind = network.get("network")
    preset = data.get("preset", kind if kind in names else "demo")
    if preset not in names:
        raise ValueError(f"preset is {preset!r}, but there are {', '.join(PRESETS)}")
    config, training = PRESETS[preset]
    return (
        config_of(_filled(network, asdict(config), "network")),
        recipe_of(_filled(recipe, fields_of(training), "kind")),
    )


def section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One of the tables, empty if it is not there.

    Raises:
        ValueError: It is no table.
    """
    table = data.get(name, {})
    if not isinstance(table, Mapping):
        raise ValueError(f"{name} is {table!r}, but has to be a table: [{name}]")
    return table


def _filled(given: Mapping[str, Any], preset: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The fields that are given, and those of a preset of the same kind."""
    if given.get(kind, preset[kind]) == preset[kind]:
        return {**preset, **given}
    return dict(given)


def write_config(path: str | os.PathLike[str], config: Config, recipe: AnyRecipe) -> None:
    """Writes what `read_config` reads: every field, so that no default can change its meaning."""
    with replacing(Path(path)) as beside:
        beside.write_text(config_text(config, recipe), encoding="utf-8")


def config_text(config: Config, recipe: AnyRecipe) -> str:
    """The text of such a file.

    Example:
        >>> from typedwave.lab.training.presets import PRESETS
        >>> print(config_text(*PRESETS["ngram"]))
        [network]
        network = "ngram"
        order = 5
        <BLANKLINE>
        [recipe]
        kind = "counting"
        seed = 42
        <BLANKLINE>
    """
    return tomli_w.dumps({"network": asdict(config), "recipe": fields_of(recipe)})
