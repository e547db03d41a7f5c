"""``typedwave report``."""

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from typedwave.cli.options import STRICT
from typedwave.lab.runs.record import find_runs, read_record

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    """The arguments."""
    reporting = STRICT(description="A page about runs: one HTML file that works offline.")
    reporting.add_argument(
        "runs", nargs="+", help="folders of runs, or folders that they are in", metavar="run"
    )
    reporting.add_argument("--out", default="report.html", help="the file of the page")
    reporting.add_argument("--title", type=str, help="of the page")
    return reporting


def run(options: Namespace) -> int:
    """Writes the page and says where it is."""
    from typedwave.lab.page import write_page  # with plotly, which other commands need not load

    records = list(map(read_record, find_runs(options.runs)))
    write_page(options.out, records, title=options.title)
    if options.json:
        print(json.dumps({"report": options.out, "runs": len(records)}))
    else:
        print(f"{len(records)} run{'s' * (len(records) != 1)} in {Path(options.out).resolve()}")
    return 0
