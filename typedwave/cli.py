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
from collections.abc import Iterator, Sequence
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
from typedwave.lab.checkpoint import Checkpoint, load_checkpoint
from typedwave.lab.corpus import Splits, examples, read_words, split
from typedwave.lab.evaluation import evaluate
from typedwave.lab.experiment import Experiment, claim
from typedwave.lab.files import replacing
from typedwave.lab.names import names_path
from typedwave.lab.recipe import PRESETS, Recipe
from typedwave.lab.report import draw_curve
from typedwave.lab.sampling import sample, sample_new
from typedwave.models import MLP, NetworkConfig

__all__ = ["run"]

_SAMPLES: Final = 20
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
    config, recipe = _of(NetworkConfig, options), _of(Recipe, options)
    stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    folder = Path(options.out or Path("runs") / f"{stamp}-{config.network}")
    with _removed_if_empty(folder):
        return _train_into(claim(folder), options, words, config, recipe)


def _train_into(
    folder: Path, options: Namespace, words: list[str], config: NetworkConfig, recipe: Recipe
) -> int:
    say = Console(stderr=options.json, highlight=False, soft_wrap=True)
    experiment = Experiment(words, config, recipe, compile=options.compile)
    say.print(
        f"{len(words):,} words from {options.data}; {config.network} network, "
        f"{_count(experiment.network):,} parameters, {recipe.steps:,} steps"
    )
    interrupted = _watch(experiment)
    if experiment.step == 0:
        return _INTERRUPTED
    record = experiment.save(folder, corpus=str(Path(options.data).resolve()))
    title = f"{config.network}, {record['parameters']:,} parameters"
    draw_curve(folder / "curve.png", experiment.curve, title=title)
    generator = torch.Generator().manual_seed(recipe.seed)
    new = sample_new(
        experiment.network,
        experiment.vocabulary,
        _SAMPLES,
        known=words,
        context=config.context,
        generator=generator,
    )
    with replacing(folder / "samples.txt") as beside:
        beside.write_text("\n".join(new) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps({"run": str(folder), "interrupted": interrupted, **record, "new": new}))
    else:
        if interrupted:
            say.print(f"stopped after {experiment.step:,} of {recipe.steps:,} steps")
        say.print(_losses(record["losses"]))
        say.print(f"{len(new)} samples, none of them among the {len(words):,} words:")
        _print_columns(new)
        say.print(f"the run is in {folder}: its curve is curve.png")
    return _INTERRUPTED if interrupted else 0


def _eval(options: Namespace) -> int:
    checkpoint, corpus = _open(options.run, options.data)
    parts = split(read_words(corpus))
    context = checkpoint.network.config.context
    losses = {
        name: evaluate(checkpoint.network, examples(part, checkpoint.vocabulary, context=context))
        for name, part in zip(Splits._fields, parts, strict=True)
    }
    print(
        json.dumps({"corpus": str(corpus), "losses": losses}) if options.json else _losses(losses)
    )
    return 0


def _sample(options: Namespace) -> int:
    _at_least(0, "count", options.count)
    _at_least(0, "seed", options.seed)
    if options.seed >= 2**64:
        raise ValueError(f"seed is {options.seed}, but has to be less than 2**64")
    checkpoint, corpus = _open(options.run, options.data, needed=options.new)
    network, vocabulary = checkpoint.network, checkpoint.vocabulary
    generator = torch.Generator().manual_seed(options.seed)
    context = network.config.context
    if options.new:
        words = sample_new(
            network,
            vocabulary,
            options.count,
            known=read_words(corpus),
            context=context,
            generator=generator,
        )
    else:
        words = sample(network, vocabulary, options.count, context=context, generator=generator)
    if options.json:
        print(json.dumps(words))
    for word in () if options.json else words:
        print(word)
    return 0


def _inspect(options: Namespace) -> int:
    _at_least(0, "batch_size", options.batch_size)
    _at_least(1, "vocab_size", options.vocab_size)
    if options.run is None:
        config = _of(NetworkConfig, options)
        network = MLP(config, vocab_size=options.vocab_size, device="meta")
    else:
        network = _open(options.run, None, needed=False)[0].network.to("meta")
    shape = (options.batch_size, network.config.context)
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
    network, recipe = PRESETS[_preset(arguments)]
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
    train.add_argument("--threads", type=int, default=1, help="threads; one is best at this size")
    _add_network(train, network)
    train.add_class_arguments(Recipe, as_group=True)
    train.set_defaults(dataclasses.asdict(recipe))

    evaluation = _STRICT(description="The losses of a trained network.")
    _add_run(evaluation)

    sampling = _STRICT(description="Words drawn from a network.")
    _add_run(sampling)
    sampling.add_argument("--count", type=int, default=_SAMPLES, help="how many")
    sampling.add_argument("--seed", type=int, default=0, help="of the draws")
    sampling.add_argument(
        "--new", action="store_true", help="none that is in the corpus, none twice"
    )

    inspection = _STRICT(description="Layers, shapes along the way and parameters.")
    inspection.add_argument("run", nargs="?", type=str | None, help="folder or checkpoint of a run")
    inspection.add_argument("--vocab_size", type=int, default=27, help="ids, where there is no run")
    inspection.add_argument("--batch_size", type=int, default=32, help="of the example")
    _add_network(inspection, network)

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


def _add_network(parser: ArgumentParser, network: NetworkConfig) -> None:
    parser.add_argument(
        "--preset", choices=list(PRESETS), default="demo", help="where the defaults come from"
    )
    parser.add_class_arguments(NetworkConfig, as_group=True)
    parser.set_defaults(dataclasses.asdict(network))


def _add_run(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="folder of a run, or a checkpoint")
    parser.add_argument("data", nargs="?", type=str | None, help="words, if not those of the run")


def _preset(arguments: Sequence[str]) -> str:
    """The preset that is asked for, which decides the defaults of all else."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset", default="demo")
    with contextlib.suppress(argparse.ArgumentError):
        name: str = parser.parse_known_args(list(arguments))[0].preset
        if name in PRESETS:
            return name
    return "demo"  # the real parser says what is wrong with the one that was given


def _underscored(argument: str) -> str:
    """``--n-embd=24`` as ``--n_embd=24``: either is a flag."""
    name, equals, value = argument.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if name[:2] == "--" else argument


def _open(run: str, data: str | None, *, needed: bool = True) -> tuple[Checkpoint, Path]:
    """The checkpoint of a run and the words that belong to it."""
    path = Path(run)
    file = path / "checkpoint.safetensors" if path.is_dir() else path
    checkpoint = load_checkpoint(file)
    record = file.parent / "run.json"
    if data is None and needed:
        if not record.exists():
            raise ValueError(f"there is no run.json beside {file}; name the file of words as well")
        data = _corpus(record)
    return checkpoint, Path(data or "")


def _corpus(record: Path) -> str:
    try:
        corpus = json.loads(record.read_text(encoding="utf-8"))["corpus"]
    except (KeyError, TypeError, ValueError):
        corpus = None
    if not isinstance(corpus, str):
        raise ValueError(f"{record} does not say what the words are; name their file as well")
    return corpus


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Takes away the folders that are made on the way to ``folder``, if nothing comes of them."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the first that holds something ends it
            for path in made:
                path.rmdir()


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
    steps = experiment.recipe.steps
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


def _of(cls: type[Any], options: Namespace) -> Any:
    """An instance of a config from the flags of the same names."""
    return cls(**{field.name: options[field.name] for field in dataclasses.fields(cls)})


def _losses(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {loss:.4f}" for name, loss in losses.items()) + "  nats a character"


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _print_columns(words: Sequence[str]) -> None:
    width = max(map(len, words), default=0) + 2
    for start in range(0, len(words), 5):
        print("  " + "".join(word.ljust(width) for word in words[start : start + 5]).rstrip())


def _fail(message: str) -> int:
    print(f"typedwave: {' '.join(message.split())}", file=sys.stderr)
    return 2
