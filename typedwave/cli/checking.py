"""``typedwave check``."""

import ast
import json
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from typedwave.cli.options import STRICT

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    """The arguments."""
    check = STRICT(description="Try the laws of typedwave.testing on a module.")
    check.add_argument("target", help="package.module:factory, or a module, or a class of one")
    check.add_argument("--laws", type=str, help="names with commas between; all by default")
    check.add_argument("--examples", type=int | None, help="calls for each law; 20 by default")
    check.add_argument("--seconds", type=float, default=10.0, help="to look for calls, each law")
    check.add_argument(
        "--declare",
        type=str,
        action="append",
        default=[],
        help="a declaration: causal=True, \"sizes={'C': 8}\"; can be repeated",
    )
    return check


def run(options: Namespace) -> int:
    """Tries the laws; returns 1 if one is broken."""
    try:
        from typedwave.testing.checker import Checker
        from typedwave.testing.loading import load
        from typedwave.testing.report import Row
    except ModuleNotFoundError as error:
        raise ValueError(f"check needs {error.name}: pip install 'typedwave[testing]'") from None
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
