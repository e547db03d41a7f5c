"""A page about runs: one file of HTML that needs no other, and no network."""

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from typedwave.lab.comparison.groups import groups_of
from typedwave.lab.files import replacing
from typedwave.lab.page.charts import COLOURS, Chart, curves_of, scatters_of
from typedwave.lab.page.entries import LOSSES, Entry, entries_of
from typedwave.lab.page.inside import inside_of
from typedwave.lab.page.networks import BATCH, flows_of, samples_of
from typedwave.lab.page.settings import differing, equal, spelled
from typedwave.lab.page.words import corpora
from typedwave.lab.runs.record import Record

__all__ = ["write_page"]


def write_page(
    path: str | os.PathLike[str], records: Iterable[Record], *, title: str | None = None
) -> None:
    """Writes a page with the curves, hyper-parameters, shapes and samples of runs.

    Args:
        path: Of the page; what was there stays until the new page is whole.
        records: At least one, finished or not.
        title: Of the page; told by the runs if None.

    Raises:
        ValueError: There is no run.
        CheckpointError: The checkpoint of a run is damaged.
        MetricsError, RecordError: Its metrics or its samples are.
        OSError: A file cannot be read, or the page cannot be written.
    """
    entries = entries_of(records)
    if not entries:
        raise ValueError("there is no run to write a page about")
    page = _rendered(entries, title)
    with replacing(Path(path)) as beside:
        # Of the name of a folder there may be bytes that are no text.
        beside.write_text(page, encoding="utf-8", errors="replace", newline="\n")


def _rendered(entries: Sequence[Entry], title: str | None) -> str:
    settings = [entry.settings for entry in entries]
    groups = _groups(entries)
    words = corpora()
    tones = {i: min(n, COLOURS) for n, group in enumerate(groups) for i in group}
    scripts = [_script(get_plotlyjs()), _script(_part("page.js"))]
    samples = [found for entry in entries if (found := samples_of(entry, words))]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["spelled"] = spelled
    environment.filters["indented"] = _indented
    environment.filters["histogram"] = _histogram
    scatters = scatters_of(entries)
    inside = inside_of(entries, words)
    data = {**curves_of(entries, groups), "scatters": scatters, "inside": inside}
    return environment.from_string(_part("page.html")).render(
        title=title or _title(entries),
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        version=version("typedwave"),
        entries=entries,
        tones=tones,
        losses=LOSSES,
        best={name: _least(entries, name) for name in LOSSES},
        states=_counted(entries),
        corpora=_corpora(entries),
        differing=differing(settings),
        equal=equal(settings),
        seeds=[_spread(entries, group) for group in groups if len(group) > 1],
        flows=flows_of(entries),
        samples=samples,
        inside=inside,
        batch=BATCH,
        scatters=scatters,
        grey=len(groups) > COLOURS,
        window=data["window"],
        curves=any(run["steps"] > 1 for run in data["runs"]),
        levels=any(run["steps"] <= 1 and run["losses"] for run in data["runs"]),
        data=_json(data),
        scripts=scripts,
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
        style=Markup(_part("page.css")),
    )


def _groups(entries: Sequence[Entry]) -> list[list[int]]:
    """The numbers of runs that differ only in the seed, best first."""
    numbers = {entry.record.folder: number for number, entry in enumerate(entries)}
    groups = groups_of(entry.record for entry in entries)
    return [sorted(numbers[record.folder] for record in group.records) for group in groups]


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _script(text: str) -> Markup:
    """A script of ours, with the line ends that a browser would make of it anyway."""
    return Markup(text.replace("\r\n", "\n").replace("\r", "\n"))


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(data: Any) -> Markup:
    """JSON that cannot end the script that it is in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _histogram(layer: Chart) -> Markup:
    """A small picture of a distribution, with its ends."""
    density = [value or 0.0 for value in layer["density"]]
    top, last = max(density) or 1.0, len(density) - 1
    points = " ".join(f"{i},{20 - 20 * value / top:.1f}" for i, value in enumerate(density))
    low, high = (f"{layer['at'][i]:.2g}" for i in (0, -1))
    return Markup(
        '<span class="spark"><span>{low}</span><svg viewBox="0 0 {last} 20" role="img" '
        'aria-label="from {low} to {high}" preserveAspectRatio="none"><polygon '
        'points="0,20 {points} {last},20"/></svg><span>{high}</span></span>'
    ).format(low=low, high=high, last=last, points=points)


def _title(entries: Sequence[Entry]) -> str:
    return entries[0].label if len(entries) == 1 else f"{len(entries)} runs"


def _least(entries: Sequence[Entry], name: str) -> float | None:
    found = [entry.losses[name] for entry in entries if name in entry.losses]
    return min(found, default=None)


def _counted(entries: Sequence[Entry]) -> str:
    """How many there are of each state."""
    states = [entry.state for entry in entries]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _corpora(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Path and checksum of each different corpus."""
    facts = [entry.record.facts for entry in entries]
    found = {str(each.get("words_sha256")): str(each.get("corpus")) for each in reversed(facts)}
    return [(path, digest) for digest, path in reversed(found.items())]


def _spread(entries: Sequence[Entry], group: Sequence[int]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of each loss."""
    members = [entries[i] for i in group]
    spread = {}
    for name in LOSSES:
        found = [entry.losses[name] for entry in members if name in entry.losses]
        if len(found) == len(members):
            spread[name] = (fmean(found), stdev(found))
    return {"first": group[0], "labels": [entry.label for entry in members], "losses": spread}
