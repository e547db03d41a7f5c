"""``typedwave plot``."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from jsonargparse import ArgumentParser, Namespace

from typedwave.cli.options import STRICT, at_least
from typedwave.lab.files import removed_if_empty
from typedwave.lab.runs.record import Record, find_runs, read_record, told_apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["parser", "run"]

CURVES: Final = "curves"
"""The kind that has all runs in one picture."""

KINDS: Final = ("activations", "gradients", "updates", "embedding", "positions", "characters")
"""The kinds that are of one run."""

FORMATS: Final = ("png", "svg", "pdf")


class Picture(NamedTuple):
    """One that is asked for: what its file is called, and how it is drawn."""

    name: str
    draw: "Callable[[], Figure]"


def parser() -> ArgumentParser:
    """The arguments."""
    plot = STRICT(description="Pictures of runs, and of what goes on in their networks.")
    plot.add_argument("runs", nargs="+", help="folders of runs, or folders that hold such folders")
    plot.add_argument(
        "--out",
        default="plots",
        help="a folder, or for a single picture a file that ends with .png, .svg or .pdf",
    )
    plot.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="in a folder")
    plot.add_argument(
        "--kind", choices=[CURVES, *KINDS, "all"], default=CURVES, help="what is drawn"
    )
    plot.add_argument(
        "--smooth",
        type=int | None,
        help="steps that the train loss is smoothed over; a hundredth of the longest run if not",
    )
    plot.add_argument("--log", action="store_true", help="curves on logarithmic axes")
    plot.add_argument("--data", type=str, help="the words, if not those of the runs")
    plot.add_argument(
        "--words", type=int, default=512, help="of validation, for activations and gradients"
    )
    return plot


def run(options: Namespace) -> int:
    """Draws, and prints where the pictures are; on stderr, what could not be drawn."""
    from typedwave.lab.looking.plots import save_figure  # when it is needed: it takes a while

    if options.smooth is not None:
        at_least(1, "smooth", options.smooth)
    at_least(1, "words", options.words)
    pictures = _pictures(options, list(map(read_record, find_runs(options.runs))))
    out = Path(options.out)
    single = out.suffix.removeprefix(".") in FORMATS
    if single and len(pictures) > 1:
        raise ValueError(
            f"{out} is one picture, but there are {len(pictures)} to draw; name a folder"
        )
    drawn: list[str] = []
    left_out: dict[str, str] = {}
    for picture in pictures:
        path = out if single else out / f"{picture.name}.{options.format}"
        try:
            figure = picture.draw()
        except (OSError, ValueError) as error:
            if len(pictures) == 1:
                raise
            left_out[picture.name] = str(error)
            continue
        with removed_if_empty(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_figure(path, figure)
        drawn.append(str(path))
    if not drawn:
        raise ValueError(f"nothing could be drawn: {next(iter(left_out.values()))}")
    _tell(drawn, left_out, as_json=options.json)
    return 0


def _tell(drawn: Sequence[str], left_out: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"pictures": drawn, "left_out": left_out}))
        return
    for name, reason in left_out.items():
        print(f"typedwave: left out {name}: {reason}", file=sys.stderr)
    for path in drawn:
        print(path)


def _pictures(options: Namespace, records: Sequence[Record]) -> list[Picture]:
    """What is asked for: of all runs together, then of each."""
    from typedwave.lab.looking.look import Look, picture_of_curves

    pictures = []
    if options.kind in (CURVES, "all"):
        draw = partial(picture_of_curves, records, window=options.smooth, log=options.log)
        pictures.append(Picture(CURVES, draw))
    names = _names([record.folder for record in records])
    kinds = [kind for kind in KINDS if options.kind in (kind, "all")]
    for name, record in zip(names, records, strict=True):
        look = Look(record, name=name, data=options.data, words=options.words)
        pictures += [Picture(f"{name}-{kind}", getattr(look, kind)) for kind in kinds]
    return pictures


def _names(folders: Sequence[Path]) -> list[str]:
    """What the files of pictures begin with: the names of the folders, if these tell them apart."""
    names: list[str] = []
    for end in told_apart(folders):
        name = end.replace("/", "-")
        same = sum(other == name or other.startswith(f"{name}~") for other in names)
        names.append(f"{name}~{same + 1}" if same else name)  # a-1 beside a/1
    return names
