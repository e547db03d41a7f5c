"""The command line: ``typedwave train | eval | sample | inspect | check``.

It parses, calls and prints.
"""

import argparse
import ast
import contextlib
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from typedwave.errors import ContractError
from typedwave.inspect import table
from typedwave.lab.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint
from typedwave.lab.corpus import LEAST_WORDS, read_words, split
from typedwave.lab.experiment import Experiment, claim, losses_of
from typedwave.lab.files import removed_if_empty
from typedwave.lab.names import names_path
from typedwave.lab.presets import PRESETS
from typedwave.lab.recipe import AnyRecipe, PoolRecipe
from typedwave.lab.run import SAMPLES, Run, told
from typedwave.lab.sampling import sample, sample_new
from typedwave.models import Config, NGramConfig, PoolConfig, network_of, sequence_model

__all__ = ["run"]

_INTERRUPTED: Final = 130  # as a shell counts a process that SIGINT ended
# Errors are ours to word, and a flag that is cut short would pass _preset() by.
_STRICT: Final = functools.partial(ArgumentParser, exit_on_error=False, allow_abbrev=False)


def run(arguments: Sequence[str]) -> int:
    """Runs one command; returns 0, 2 after an error of one line, or 130 after Ctrl-C.

    ``check`` returns 1 if a law is broken.
    """
    commands = {
        "train": _train,
        "eval": _eval,
        "sample": _sample,
        "inspect": _inspect,
        "check": _check,
    }
    try:
        options = _parser(arguments).parse_args(list(map(_underscored, arguments)))
        status = commands[options.command](options[options.command])
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
        return _INTERRUPTED


def _train(options: Namespace) -> int:
    _at_least(1, "threads", options.threads)
    torch.set_num_threads(options.threads)
    words = read_words(options.data)
    config, recipe = (_of(part, options) for part in PRESETS[options.preset])
    teacher = Path(options.teacher_run) if options.teacher_run else None
    stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    folder = Path(options.out or Path("runs") / f"{stamp}-{options.preset}")
    say = Console(stderr=options.json, highlight=False, soft_wrap=True)
    with removed_if_empty(folder):
        claim(folder)
        split(words)  # refuses too few, before a line is printed
        run = Run(
            folder,
            words,
            corpus=str(Path(options.data).resolve()),
            compile=options.compile,
            teacher=teacher,
            watch=_watch,
            say=say.print,
        )
        run.check(config, recipe)
        say.print(f"{len(words):,} words from {options.data}")
        record = run.train(config, recipe, options.preset)
        if record is None:
            return _INTERRUPTED
    new = record.pop("new")
    if options.json:
        print(json.dumps({"run": str(folder), **record, "new": new}))
    else:
        say.print(f"{len(new)} samples, none of them among the {len(words):,} words:")
        _print_columns(new)
        say.print(f"the run is in {folder}")
    return _INTERRUPTED if record["interrupted"] else 0


def _eval(options: Namespace) -> int:
    checkpoint, corpus = _open(options.run, options.data)
    assert corpus is not None
    losses = losses_of(checkpoint.network, checkpoint.vocabulary, split(read_words(corpus)))
    print(json.dumps({"corpus": str(corpus), "losses": losses}) if options.json else told(losses))
    return 0


def _sample(options: Namespace) -> int:
    _at_least(0, "count", options.count)
    _at_least(0, "seed", options.seed)
    if options.seed >= 2**64:
        raise ValueError(f"seed is {options.seed}, but has to be less than 2**64")
    checkpoint, corpus = _open(options.run, options.data, needed=options.new)
    words = [] if corpus is None else read_words(corpus)
    # Words to leave out may be too few to be split; then there is no training part to mark.
    trained_on = frozenset(split(words).train if len(words) >= LEAST_WORDS else [])
    asked = functools.partial(
        sample_new if options.new else sample,
        sequence_model(checkpoint.network),
        checkpoint.vocabulary,
        options.count,
        generator=torch.Generator().manual_seed(options.seed),
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    drawn = asked(known=words) if options.new else asked()
    if options.json:
        print(json.dumps([{"word": word, "known": word in trained_on} for word in drawn]))
    for word in () if options.json else drawn:
        print(f"{word} *" if word in trained_on else word)
    return 0


def _inspect(options: Namespace) -> int:
    _at_least(0, "batch_size", options.batch_size)
    _at_least(1, "vocab_size", options.vocab_size)
    _at_least(0, "length", options.length)
    if options.run is None:
        config = _of(PRESETS[options.preset][0], options)
        members = config.members if isinstance(config, PoolConfig) else (config,)
        if any(isinstance(member, NGramConfig) for member in members):
            raise ValueError("n-grams have no shape before they are counted; name a run of them")
        network = network_of(config, vocab_size=options.vocab_size, device="meta")
    else:
        network = _open(options.run, None, needed=False)[0].network.to("meta")
    shape = (options.batch_size, getattr(network, "context", options.length))
    found = table(network, torch.zeros(shape, dtype=torch.int64, device="meta"))
    print(json.dumps(dataclasses.asdict(found)) if options.json else found)
    return 0


def _check(options: Namespace) -> int:
    try:
        from typedwave.testing.checker import Checker
        from typedwave.testing.loading import load
        from typedwave.testing.report import Row
    except ModuleNotFoundError as error:
        return _fail(f"check needs {error.name}: pip install 'typedwave[testing]'")
    checker = Checker.of(load(options.target), dict(map(_declaration, options.declare)))
    names = [name.strip() for name in (options.laws or "").split(",") if name.strip()]
    laws = checker.laws(names or None)
    rows: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, highlight=False)
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("laws", total=len(laws))
        for law in laws:
            progress.update(task, description=law.name)
            rows.append(checker.row(law, examples=options.examples, seconds=options.seconds))
            progress.advance(task)
    report = checker.report(rows)
    if options.json:
        findings = [
            {"law": f.law, "call": f.call, "differed": f.differed, "where": f.where}
            | {"repeat": f.repeat, "meant": f.meant, "text": str(f)}
            for f in report.findings
        ]
        table = [
            {"law": r.law, "outcome": r.outcome, "examples": r.examples, "why": r.why} for r in rows
        ]
        found = {"laws": table, "findings": findings, "refused": report.refused}
        print(json.dumps({"module": report.subject, **found}))
    else:
        print(report)
    return 1 if report.findings else 0


def _declaration(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    try:
        return name, ast.literal_eval(value) if equals else True
    except (SyntaxError, ValueError):
        raise ValueError(
            f"--declare {text}: {value} is no number, string, tuple or dict of Python; a string "
            "has quotes, and what cannot be written so is declared by typedwave.testing.declare"
        ) from None


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    preset = _preset(arguments)
    network, recipe = PRESETS[preset]
    parser = _STRICT(
        prog="typedwave",
        description="Character models of typed layers: train, evaluate, sample, inspect.",
        version=version("typedwave"),
    )
    commands = parser.add_subcommands(dest="command", required=True)

    train = _STRICT(description="Train a network on words.")
    train.add_argument("data", nargs="?", default=str(names_path()), help="one word a line, UTF-8")
    train.add_argument("--out", type=str | None, help="folder for the run, new or empty")
    train.add_argument("--compile", action="store_true", help="compile the step; needs g++")
    train.add_argument(
        "--teacher_run", type=str | None, help="folder of a trained teacher, for a recipe with one"
    )
    train.add_argument("--threads", type=int, default=1, help="threads; one is best at this size")
    _add_network(train, network, preset)
    _add_flags(train, recipe)

    evaluation = _STRICT(description="The losses of a trained network.")
    _add_run(evaluation)

    sampling = _STRICT(description="Words drawn from a network.")
    _add_run(sampling)
    sampling.add_argument("--count", type=int, default=SAMPLES, help="how many")
    sampling.add_argument("--seed", type=int, default=0, help="of the draws")
    sampling.add_argument(
        "--temperature", type=float, default=1.0, help="less is likelier, more is bolder"
    )
    sampling.add_argument("--top_k", type=int | None, help="draw from so many of the likeliest")
    sampling.add_argument(
        "--top_p", type=float, default=1.0, help="draw from the likeliest of this chance together"
    )
    sampling.add_argument(
        "--new", action="store_true", help="none that is in the corpus, none twice"
    )

    inspection = _STRICT(description="Layers, shapes along the way and parameters.")
    inspection.add_argument("run", nargs="?", type=str | None, help="folder or checkpoint of a run")
    inspection.add_argument("--vocab_size", type=int, default=27, help="ids, where there is no run")
    inspection.add_argument("--batch_size", type=int, default=32, help="of the example")
    inspection.add_argument(
        "--length", type=int, default=9, help="of the example, where the network takes any"
    )
    _add_network(inspection, network, preset)

    check = _STRICT(description="Try the laws of typedwave.testing on a module.")
    check.add_argument("target", help="package.module:factory, or a module, or a class of one")
    check.add_argument("--laws", type=str | None, help="names with commas between; all by default")
    check.add_argument("--examples", type=int | None, help="calls for each law; 20 by default")
    check.add_argument("--seconds", type=float, default=10.0, help="to look for calls, each law")
    check.add_argument(
        "--declare",
        type=str,
        action="append",
        default=[],
        help="a declaration: causal=True, \"sizes={'C': 8}\"; can be repeated",
    )

    for name, command in (
        ("train", train),
        ("eval", evaluation),
        ("sample", sampling),
        ("inspect", inspection),
        ("check", check),
    ):
        command.add_argument("--json", action="store_true", help="print JSON and nothing else")
        commands.add_subcommand(name, command, help=command.description)
    return parser


def _add_network(parser: ArgumentParser, network: Config, preset: str) -> None:
    parser.add_argument(
        "--preset", choices=list(PRESETS), default=preset, help="where the defaults come from"
    )
    _add_flags(parser, network)


def _add_flags(parser: ArgumentParser, preset: Config | AnyRecipe) -> None:
    """Flags for what a preset decides; the members of a pool have none."""
    if not isinstance(preset, PoolConfig | PoolRecipe):
        parser.add_class_arguments(type(preset), as_group=True)
        parser.set_defaults(dataclasses.asdict(preset))


def _add_run(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="folder of a run, or a checkpoint")
    parser.add_argument("data", nargs="?", type=str | None, help="words, if not those of the run")


def _preset(arguments: Sequence[str]) -> str:
    """The preset that is asked for, which decides the defaults of all else."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    parser.add_argument("--network", default="demo")  # a preset of its kind, if no other is named
    with contextlib.suppress(argparse.ArgumentError):
        asked = parser.parse_known_args(list(arguments))[0]
        name: str = asked.preset or asked.network
        if name in PRESETS and (asked.preset or name != "pool"):  # whose members have no flags
            return name
    return "demo"  # the real parser says what is wrong with the one that was given


def _underscored(argument: str) -> str:
    """``--n-embd=24`` as ``--n_embd=24``: either is a flag."""
    name, equals, value = argument.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if name[:2] == "--" else argument


def _open(run: str, data: str | None, *, needed: bool = True) -> tuple[Checkpoint, Path | None]:
    """The checkpoint of a run and the words that belong to it.

    What is not needed is None where it cannot be found.
    """
    path = Path(run)
    file = path / CHECKPOINT if path.is_dir() else path
    checkpoint = load_checkpoint(file)
    record = file.parent / "run.json"
    if data is not None:
        return checkpoint, Path(data)
    if needed and not record.exists():
        raise ValueError(f"there is no run.json beside {file}; name the file of words as well")
    try:
        corpus = Path(_corpus(record))
    except (OSError, ValueError):
        if needed:
            raise
        return checkpoint, None
    return checkpoint, corpus if needed or corpus.exists() else None


def _corpus(record: Path) -> str:
    try:
        corpus = json.loads(record.read_text(encoding="utf-8"))["corpus"]
    except (KeyError, TypeError, ValueError):
        corpus = None
    if not isinstance(corpus, str):
        raise ValueError(f"{record} does not say what the words are; name their file as well")
    return corpus


def _at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}, but has to be at least {least}")


def _watch(experiment: Experiment) -> bool:
    """Trains under a progress bar; returns whether Ctrl-C ended it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, highlight=False)
    steps = experiment.steps
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=steps)
        try:
            for count, point in enumerate(experiment.points(), start=1):
                losses = f"train {point.train:.4f}  validation {point.validation:.4f}"
                progress.update(task, completed=point.step, description=losses)
                if not console.is_terminal and count % 10 == 0:  # a log wants lines, and few
                    console.print(f"{losses}  after {point.step:,} of {steps:,} steps")
        except KeyboardInterrupt:
            return True
    return False


def _of(preset: Any, options: Namespace) -> Any:
    """A config or recipe like a preset's, from the flags of the same names."""
    if isinstance(preset, PoolConfig | PoolRecipe):
        return preset
    fields = dataclasses.fields(preset)
    return type(preset)(**{field.name: options[field.name] for field in fields})


def _print_columns(words: Sequence[str]) -> None:
    width = max(map(len, words), default=0) + 2
    for start in range(0, len(words), 5):
        print("  " + "".join(word.ljust(width) for word in words[start : start + 5]).rstrip())


def _fail(message: str) -> int:
    print(f"typedwave: {' '.join(message.split())}", file=sys.stderr)
    return 2
