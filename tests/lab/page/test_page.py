"""The page about runs, as far as it can be judged without a browser."""

import base64
import errno
import hashlib
import json
import math
import os
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from runs_on_disk import GRU, RECIPE, corpus_in, measured, write_run
from scipy.stats import spearmanr
from tiny_networks import POOL, WINDOWS

from typedwave.cli import run
from typedwave.lab import CountingRecipe, PoolRecipe, Recipe, find_runs, read_record
from typedwave.lab.page import write_page
from typedwave.lab.page.charts import scatters_of
from typedwave.lab.page.entries import entries_of
from typedwave.lab.page.lines import SHOWN, Line, thinned, window_of
from typedwave.lab.page.settings import differing, equal, settings_of
from typedwave.lab.runs.checkpoint import CheckpointError
from typedwave.lab.runs.metrics import Metrics, MetricsError, Point
from typedwave.lab.runs.record import Record, RecordError
from typedwave.models import NGramConfig

VOID = {"br", "hr", "img", "input", "link", "meta"}
NGRAM = NGramConfig(order=3)
NONE = "\N{EN DASH}"


@dataclass
class Node:
    tag: str
    attributes: dict[str, str | None]
    children: list["Node | str"] = field(default_factory=list)

    def all(self, tag: str, **attributes: str) -> list["Node"]:
        found = [node for child in self.nodes() for node in child.all(tag, **attributes)]
        wanted = {name.replace("_", "-").strip("-"): value for name, value in attributes.items()}
        return (
            [self, *found]
            if self.tag == tag and wanted.items() <= self.attributes.items()
            else found
        )

    def one(self, tag: str, **attributes: str) -> "Node":
        (found,) = self.all(tag, **attributes)
        return found

    def nodes(self) -> list["Node"]:
        return [child for child in self.children if isinstance(child, Node)]

    @property
    def text(self) -> str:
        parts = (
            c if isinstance(c, str) else "" if c.tag in ("script", "style") else c.text
            for c in self.children
        )
        return collapsed("".join(parts))


class Parsed(HTMLParser):
    """A tree; refuses tags that are not closed or are closed by others."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Node("document", {})
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert self._open == [self.root]

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), attrs
        node = Node(tag, dict(attrs))
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag, attrs):
        self._open[-1].children.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop().tag == tag

    def handle_data(self, data):
        self._open[-1].children.append(data)


def page_of(tmp_path: Path, *records: Record, title: str | None = None) -> Node:
    path = tmp_path / "page.html"
    write_page(path, records, title=title)
    return Parsed(path.read_text(encoding="utf-8")).root


def table_of(page: Node) -> list[dict[str, str]]:
    table = page.one("table", _class="sortable")
    names = [heading.text for heading in table.one("thead").all("th")]
    rows = table.one("tbody").all("tr")
    return [dict(zip(names, [cell.text for cell in row.nodes()], strict=True)) for row in rows]


def data_of(page: Node) -> dict:
    return json.loads(page.one("script", id="data").children[0], parse_constant=pytest.fail)


def details_of(page: Node, name: str) -> dict[str, str]:
    (details,) = [d for d in page.all("details") if d.one("summary").text.startswith(name)]
    pairs = [div for dl in details.all("dl") for div in dl.nodes()]
    return {div.one("dt").text: div.one("dd").text for div in pairs}


@pytest.fixture
def plotly():
    """All of it, for a test that looks at it."""


@pytest.fixture(autouse=True)
def _little_to_write_and_to_parse(request, monkeypatch):
    if "plotly" not in request.fixturenames:
        monkeypatch.setattr("typedwave.lab.page.rendering.get_plotlyjs", lambda: "/* plotly */")


@pytest.fixture
def three(tmp_path):
    """Runs that differ in their learning rate, worst first."""
    for number, (rate, loss) in enumerate([(0.1, 2.25), (0.01, 2.0), (0.001, 2.125)], start=1):
        recipe = replace(RECIPE, adam_rate=rate)
        write_run(tmp_path / "runs" / f"run-{number}", recipe=recipe, validation=loss)
    return tmp_path / "runs"


# what is told


def test_the_table_has_the_best_run_first_and_columns_for_what_differs(tmp_path, three):
    page = page_of(tmp_path, *map(read_record, find_runs([three])))
    rows = table_of(page)
    assert [row["run"] for row in rows] == ["run-2", "run-3", "run-1"]
    assert [row["adam_rate"] for row in rows] == ["0.01", "0.001", "0.1"]
    assert rows[0] == {
        "run": "run-2",
        "validation": "2.0000",
        "train": "1.7500",
        "test": "2.1250",
        "unseen": "2.2500",
        "state": "finished",
        "adam_rate": "0.01",
        "parameters": "1,234",
        "steps": "20",
        "seconds": "1.5",
    }
    best = [cell.text for cell in page.all("td", _class="number best")]
    assert best == ["2.0000", "1.7500", "2.1250", "2.2500"]


def test_what_is_equal_is_told_once(tmp_path, three):
    page = page_of(tmp_path, *map(read_record, find_runs([three])))
    told = details_of(page, "Equal")
    assert told["n_hidden"] == "5"
    assert told["network"] == "gru"
    assert told["muon_rate"] == "0.02"
    assert "adam_rate" not in told


def test_the_summary_is_of_the_best_run(tmp_path, three):
    page = page_of(tmp_path, *map(read_record, find_runs([three])))
    tiles = page.one("dl", _class="tiles").nodes()
    assert [(tile.one("dt").text, tile.one("dd").text) for tile in tiles] == [
        ("Best by validation", "run-2"),
        ("validation", "2.0000"),
        ("train", "1.7500"),
        ("test", "2.1250"),
        ("unseen", "2.2500"),
        ("parameters", "1,234"),
        ("seconds", "1.5"),
        ("runs", "3 finished"),
    ]
    assert page.one("title").text == page.one("h1").text == "3 runs"


def test_each_run_tells_its_config_and_where_it_was_made(tmp_path):
    write_run(tmp_path / "alone")
    page = page_of(tmp_path, read_record(tmp_path / "alone"))
    told = details_of(page, "alone")
    expected = {
        "folder": str(tmp_path / "alone"),
        "python": "3.11.7",
        "commit": "null",
        "threads": "1",
        "train examples": "50",
        "n_hidden": "5",
        "epochs": "2",
        "compiled": "false",
        "interrupted": "false",
    }
    assert {name: told[name] for name in expected} == expected
    assert page.one("title").text == "alone"


def test_runs_of_one_seed_each_have_a_mean_and_a_deviation(tmp_path):
    losses = {1: 2.0, 2: 2.5, 3: 1.75}
    for seed, loss in losses.items():
        recipe = replace(RECIPE, seed=seed)
        write_run(tmp_path / f"gru-{seed}", recipe=recipe, validation=loss)
    write_run(tmp_path / "other", config=replace(GRU, n_hidden=6))
    page = page_of(tmp_path, *map(read_record, find_runs([tmp_path])))
    (row,) = page.one("div", aria_label="Groups of runs").one("tbody").all("tr")
    mean, deviation = np.mean([*losses.values()]), np.std([*losses.values()], ddof=1)
    assert [cell.text for cell in row.nodes()][:3] == [
        "gru-3, gru-1, gru-2",
        "3",
        f"{mean:.4f} ± {deviation:.4f}",
    ]
    groups = data_of(page)["groups"]
    assert groups == [{"runs": [0, 1, 3], "tone": 0}, {"runs": [2], "tone": 1}]


def test_a_run_that_goes_on_is_told_by_its_last_point(tmp_path):
    write_run(tmp_path / "a", validation=2.5, finished=False, checkpoint=False, samples=())
    page = page_of(tmp_path, read_record(tmp_path / "a"))
    (row,) = table_of(page)
    assert row == {
        "run": "a",
        "validation": "2.5000",
        "train": NONE,
        "test": NONE,
        "unseen": NONE,
        "state": "unfinished",
        "parameters": "1,234",
        "steps": "20",
        "seconds": NONE,
    }
    for part in ("shapes", "samples", "inside"):
        assert page.all("section", id=part) == []
    assert page.one("section", id="curves")


def test_a_run_before_its_first_step_is_told_as_well(tmp_path):
    write_run(tmp_path / "a", steps=0, finished=False, checkpoint=False, samples=())
    page = page_of(tmp_path, read_record(tmp_path / "a"))
    (row,) = table_of(page)
    assert (row["validation"], row["steps"], row["state"]) == (NONE, NONE, "unfinished")
    assert page.all("section", id="curves") == []


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, "finished"),
        ({"interrupted": True}, "interrupted"),
        ({"losses": {}, "interrupted": True}, "unfinished"),
    ],
)
def test_a_state_is_what_the_record_says(tmp_path, facts, state):
    write_run(tmp_path / "a", **facts)
    page = page_of(tmp_path, read_record(tmp_path / "a"))
    assert table_of(page)[0]["state"] == state


def test_a_sweep_says_why_a_trial_ended(tmp_path):
    write_run(tmp_path / "trial-0001", interrupted=True, validation=1.5)
    write_run(tmp_path / "trial-0002", validation=1.75)
    write_run(tmp_path / "trial-0003", finished=False, validation=2.0)
    write_run(tmp_path / "trial-0004", interrupted=True, validation=2.25)
    write_run(tmp_path / "trial-x", interrupted=True, validation=2.5)
    (tmp_path / "trials.csv").write_text(
        "number,state,loss,reason\n1,pruned,1.5,it did not look good\n2,running,,\n3,failed,,<b>\n"
    )
    page = page_of(tmp_path, *map(read_record, find_runs([tmp_path])))
    states = ["pruned", "finished", "failed", "interrupted", "interrupted"]
    assert [row["state"] for row in table_of(page)] == states
    assert details_of(page, "trial-0001")["pruned"] == "it did not look good"
    assert details_of(page, "trial-0003")["failed"] == "<b>"
    assert page.one("dd", _class="small").text == ("1 pruned, 1 finished, 1 failed, 2 interrupted")


def test_pools_and_n_grams_have_a_page_without_curves(tmp_path):
    recipes = PoolRecipe(recipes=(Recipe(steps=5), CountingRecipe(), RECIPE))
    write_run(tmp_path / "pool", POOL, recipes, steps=0)
    write_run(tmp_path / "ngram", NGRAM, CountingRecipe(), steps=1, validation=1.5)
    page = page_of(tmp_path, *map(read_record, find_runs([tmp_path])))
    assert [row["run"] for row in table_of(page)] == ["ngram", "pool"]
    assert page.all("section", id="curves") == []
    flows = page.all("figure", data_chosen="flow")
    assert [flow.one("figcaption").text for flow in flows] == ["ngram", "pool"]
    assert "NGram" in flows[0].text


def test_runs_of_other_words_are_not_comparable(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", corpus="other & words.txt", words_sha256="f" * 64, validation=1.0)
    page = page_of(tmp_path, *map(read_record, find_runs([tmp_path])))
    warning = page.one("aside").text
    assert warning.startswith("Not comparable: these runs are of 2 different corpora.")
    assert "other & words.txt sha256 ffffffffffff…" in warning
    assert page_of(tmp_path, read_record(tmp_path / "a")).all("aside") == []


def test_runs_of_one_name_are_told_apart_by_the_folders_above(tmp_path):
    for folder in ("x/a", "y/a", "y/b"):
        write_run(tmp_path / folder)
    records = [read_record(tmp_path / folder) for folder in ("x/a", "y/a", "y/b")]
    assert [entry.label for entry in entries_of(records)] == ["x/a", "y/a", "b"]


def test_a_title_can_be_given(tmp_path):
    write_run(tmp_path / "a")
    page = page_of(tmp_path, read_record(tmp_path / "a"), title="What <we> found")
    assert page.one("title").text == page.one("h1").text == "What <we> found"


# the network


def test_networks_that_are_equal_are_shown_once_with_the_names_of_their_axes(tmp_path):
    write_run(tmp_path / "a", validation=1.0)
    write_run(tmp_path / "b", recipe=replace(RECIPE, adam_rate=0.5))
    write_run(tmp_path / "c", WINDOWS["flat"], Recipe(steps=20))
    page = page_of(tmp_path, *map(read_record, find_runs([tmp_path])))
    flows = page.all("figure", data_chosen="flow")
    assert [flow.one("figcaption").text for flow in flows] == ["a, b", "c"]
    first, *_ = flows[1].one("tbody").all("tr")
    cells = ["(model)", "MLP", "i64[B=32, context=3]", "f32[B=32, vocab_size=12]", "0"]
    assert [cell.text for cell in first.nodes()] == cells
    assert [o.text for o in page.one("select", data_chooses="flow").all("option")] == [
        "a and 1 more",
        "c",
    ]


def test_samples_that_were_trained_on_are_marked(tmp_path):
    corpus = corpus_in(tmp_path)
    write_run(tmp_path / "a", corpus=str(corpus), samples=("zoe", "cecile", "ana", "bo"))
    page = page_of(tmp_path, read_record(tmp_path / "a"))
    figure = page.one("figure", data_chosen="sample")
    assert [item.text for item in figure.all("li")] == ["zoe", "cecile", "ana", "bo"]
    marked = [mark.text for mark in figure.all("mark")]
    assert "ana" in marked  # it is in the corpus twice
    assert "zoe" not in marked
    assert figure.one("figcaption").text == f"a: 4 words, {len(marked)} of which were trained on"


@pytest.mark.parametrize("change", ["gone", "other words", "no UTF-8", "too few"])
def test_nothing_is_marked_if_the_words_are_not_at_hand(tmp_path, change):
    corpus = corpus_in(tmp_path)
    write_run(tmp_path / "a", corpus=str(corpus))
    if change == "gone":
        corpus.unlink()
    else:
        corpus.write_bytes(
            {"other words": b"x\n" * 9, "no UTF-8": b"\xff", "too few": b"a"}[change]
        )
    page = page_of(tmp_path, read_record(tmp_path / "a"))
    figure = page.one("figure", data_chosen="sample")
    told = "a: 2 words; the corpus is not there any more, or is another by now"
    assert figure.one("figcaption").text == told
    assert figure.all("mark") == []
    assert data_of(page)["inside"]["positions"] is None


def test_words_that_are_too_few_to_be_split_mark_nothing(tmp_path):
    corpus = tmp_path / "words.txt"
    corpus.write_text("ana\nbo\n")
    digest = hashlib.sha256(b"ana\nbo").hexdigest()
    write_run(tmp_path / "a", corpus=str(corpus), words_sha256=digest)
    assert page_of(tmp_path, read_record(tmp_path / "a")).all("mark") == []


def test_inside_is_the_best_that_learns(tmp_path):
    corpus = str(corpus_in(tmp_path))
    write_run(tmp_path / "counted", NGRAM, CountingRecipe(), steps=1, validation=1.0, corpus=corpus)
    write_run(tmp_path / "better", finished=False, checkpoint=False, validation=1.1, corpus=corpus)
    write_run(tmp_path / "learnt", validation=1.2, corpus=corpus)
    page = page_of(tmp_path, *map(read_record, find_runs([tmp_path])))
    inside = data_of(page)["inside"]
    assert (inside["label"], inside["best"], inside["words"]) == ("learnt", False, 1)
    assert inside["embedding"]["characters"][:3] == ["end", "a", "b"]
    assert inside["updates"]["ratios"] == {"recurrent.weight_hh_l0": [0.001] * 10}
    assert inside["updates"]["steps"] == list(range(2, 21, 2))
    assert [layer["name"] for layer in inside["layers"]] == ["embedding", "recurrent", "head"]
    seen = inside["characters"]
    assert seen["losses"] == sorted(seen["losses"], reverse=True)
    assert sum(seen["counts"]) == sum(inside["positions"]["counts"])
    rows = page.one("div", aria_label="Layers").one("tbody").all("tr")
    assert [row.one("th").text for row in rows] == ["embedding", "recurrent", "head"]


def test_n_grams_alone_tell_their_losses_by_place_only(tmp_path):
    corpus = str(corpus_in(tmp_path))
    write_run(tmp_path / "a", NGRAM, CountingRecipe(), steps=1, corpus=corpus)
    inside = data_of(page_of(tmp_path, read_record(tmp_path / "a")))["inside"]
    assert inside["positions"]
    assert inside["embedding"] is inside["updates"] is inside["layers"] is None


# charts


@given(length=st.integers(0, 60), window=st.integers(1, 9))
def test_a_thinned_line_has_the_means_of_windows(length, window):
    steps, values = np.arange(1, length + 1), np.arange(length) ** 2.0
    line = thinned(steps, values, window=window)
    starts = range(0, length, window)
    assert line.steps == [float(np.mean(steps[i : i + window])) for i in starts]
    assert line.values == pytest.approx([np.mean(values[i : i + window]) for i in starts], 1e-4)


@given(st.integers(0, 10_000_000))
def test_no_line_has_more_points_than_can_be_seen_nor_far_less(longest):
    points = math.ceil(longest / window_of(longest))
    assert points <= SHOWN
    assert points > SHOWN / 2 or window_of(longest) == 1


def test_what_is_not_finite_is_a_gap():
    assert thinned([1, 2, 3, 4], [1.0, math.nan, math.inf, -math.inf], window=1) == Line(
        [1, 2, 3, 4], [1.0, None, None, None]
    )
    assert thinned([1, 2, 3, 4], [1.0, 2.0, math.inf, -math.inf], window=2).values == [1.5, None]


def test_losses_that_are_not_finite_are_missing(tmp_path):
    write_run(tmp_path / "a", losses={"train": math.nan, "validation": math.inf})
    write_run(tmp_path / "b", losses={}, validation=2.5, steps=0)
    page = page_of(tmp_path, *map(read_record, find_runs([tmp_path])))
    rows = {row["run"]: row for row in table_of(page)}
    assert rows["a"]["validation"] == "2.0000"  # of the last point
    assert rows["a"]["train"] == rows["a"]["test"] == rows["b"]["validation"] == NONE
    data_of(page)


def with_settings(tmp_path: Path, name: str, values: list, losses: list[float]) -> list[Record]:
    records = []
    for number, (value, loss) in enumerate(zip(values, losses, strict=True)):
        recipe = replace(RECIPE, **{name: value})
        folder = tmp_path / f"{name}-{number}"
        records.append(write_run(folder, recipe=recipe, validation=loss, checkpoint=False, steps=0))
    return records


def test_an_axis_is_logarithmic_from_a_decade_on(tmp_path):
    for name, values, log in [
        ("adam_rate", [0.001, 0.0101], True),
        ("muon_rate", [0.001, 0.01], False),
        ("clip", [0.0, 100.0], False),
    ]:
        (chart,) = scatters_of(entries_of(with_settings(tmp_path, name, values, [1.0, 2.0])))
        assert chart == {"name": name, "log": log, "values": values, "correlation": None}


def test_what_is_no_number_has_categories(tmp_path):
    values = ["linear", "cosine", "linear"]
    (chart,) = scatters_of(entries_of(with_settings(tmp_path, "schedule", values, [1.0, 2.0, 3.0])))
    assert chart == {"name": "schedule", "categories": ["cosine", "linear"], "values": [1, 0, 1]}


def test_seeds_explain_nothing_and_so_have_no_chart(tmp_path):
    assert scatters_of(entries_of(with_settings(tmp_path, "seed", [1, 2], [1.0, 2.0]))) == []


def test_parameters_and_seconds_have_charts_where_they_differ(tmp_path):
    write_run(tmp_path / "a", parameters=10)
    write_run(tmp_path / "b", parameters=20, training_seconds=200.0)
    charts = scatters_of(entries_of(map(read_record, find_runs([tmp_path]))))
    assert [(chart["name"], chart["values"]) for chart in charts] == [
        ("parameters", [10, 20]),
        ("seconds of training", [1.5, 200.0]),
    ]


def test_the_correlation_is_of_ranks(tmp_path):
    values, losses = [0.1, 0.2, 0.2, 0.4, 0.5, 0.3], [1.5, 1.0, 2.0, 2.5, 2.0, 1.25]
    (chart,) = scatters_of(entries_of(with_settings(tmp_path, "weight_decay", values, losses)))
    assert chart["correlation"] == pytest.approx(spearmanr(values, losses).statistic)


def test_four_runs_or_equal_losses_have_no_correlation(tmp_path):
    few = with_settings(tmp_path, "clip", [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0])
    equal_losses = with_settings(tmp_path, "warm_up", [0.1, 0.2, 0.3, 0.4, 0.5], [1.0] * 5)
    for records in (few, equal_losses):
        (chart,) = scatters_of(entries_of(records))
        assert chart["correlation"] is None


def test_a_setting_differs_only_among_those_that_have_it(tmp_path):
    gru = settings_of(write_run(tmp_path / "gru"))
    flat = settings_of(write_run(tmp_path / "flat", WINDOWS["flat"], Recipe(steps=20)))
    names = differing([gru, flat])
    assert "network" in names
    assert "n_embd" in names
    assert "num_layers" not in names
    assert equal([gru, flat])["num_layers"] == 1
    assert equal([gru, flat])["unbiased"] is False


def test_forty_runs_of_200000_steps_are_a_page_of_less_than_10_megabytes(plotly, tmp_path):
    record = write_run(tmp_path / "a", checkpoint=False)
    rng = np.random.default_rng(1)
    points = tuple(Point(step, 2.0, float(2 + 1 / step)) for step in range(4_000, 200_001, 4_000))
    metrics = Metrics(rng.normal(2.0, 0.1, 200_000), np.linspace(0.1, 0.01, 200_000), points)
    records = [measured(Record(tmp_path / f"run-{i}", record.facts), metrics) for i in range(40)]
    path = tmp_path / "page.html"
    write_page(path, records)
    assert path.stat().st_size < 10_000_000
    text = path.read_text(encoding="utf-8")
    assert "a point of train is the mean of 200 steps" in text
    assert "thinned" not in page_of(tmp_path, record).text


# one file that needs nothing


def test_nothing_is_loaded_from_anywhere(plotly, tmp_path, three):
    page = page_of(tmp_path, *map(read_record, find_runs([three])))
    for node in every(page):
        for name in ("src", "srcset", "href", "data", "action", "poster", "xlink:href"):
            assert (node.attributes.get(name) or "#").startswith(("#", "data:,")), node
        assert "onclick" not in node.attributes
    (style,) = page.all("style")
    assert not re.search(r"@import|url\s*\(", style.children[0])
    data, theirs, ours = page.all("script")
    assert theirs.children[0].startswith("/**\n* plotly.js")
    forbidden = r"fetch\(|XMLHttpRequest|WebSocket|EventSource|import\(|https?:|sendBeacon|eval\("
    assert not re.search(forbidden, ours.children[0] + data.children[0])


def test_the_browser_is_told_to_run_and_load_nothing_else(plotly, tmp_path, three):
    page = page_of(tmp_path, *map(read_record, find_runs([three])))
    policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    scripts = [node.children[0] for node in page.all("script") if not node.attributes]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def every(node: Node) -> list[Node]:
    return [node, *(inner for child in node.nodes() for inner in every(child))]


names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)
nasty = st.sampled_from(
    [
        "<script>alert(1)</script>".replace("/", "\N{FRACTION SLASH}"),
        "</script><script>alert(1)</script>".replace("/", "\\"),
        '" onmouseover="alert(1)',
        "<!--<script>",
        "]]>",
        "{{ 7 * 7 }}{% for %}",
        "&lt;&amp;amp;",
        "%{y}<b>",
        "\N{LINE SEPARATOR}\N{RIGHT-TO-LEFT OVERRIDE}",
        "'`${1}",
    ]
)


def named(folder: Path, facts: dict, **more: str) -> Record:
    """A run of three steps that is nowhere on disk."""
    metrics = Metrics(np.ones(3), np.ones(3), (Point(2, 1.0, 2.0), Point(3, 1.0, 1.5)))
    return measured(Record(folder, {**facts, **more}), metrics)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@example(name="<!--<script>", title="</title><b>", corpus="</dd><b>")
@given(name=names | nasty, title=st.text(min_size=1) | nasty, corpus=st.text() | nasty)
def test_whatever_something_is_called_it_is_only_text(tmp_path_factory, name, title, corpus):
    tmp_path = tmp_path_factory.mktemp("page")
    facts = dict(write_run(tmp_path / "plain").facts)
    plain = page_of(tmp_path, named(Path("plain"), facts, more="plain"), title="plain")
    record = named(tmp_path / name, facts, corpus=corpus, more=name)
    page = page_of(tmp_path, record, title=title)
    assert shape_of(page) == shape_of(plain)
    assert [run["label"] for run in data_of(page)["runs"]] == [name]
    assert not {"<", ">", "&"} & {*page.one("script", id="data").children[0]}
    assert page.one("h1").text == collapsed(title)
    assert page.one("tbody").all("a")[0].text == collapsed(name)


def collapsed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def shape_of(page: Node) -> list[tuple[str, list[str]]]:
    """All of a page but its text."""
    return [(node.tag, sorted(node.attributes)) for node in every(page) if node.tag != "span"]


def test_samples_and_settings_are_only_text(tmp_path):
    evil = "<b>&amp;</b>"
    write_run(tmp_path / "a", samples=(evil, "</li>"), environment={evil: [evil]})
    taught = replace(RECIPE, teacher="</script><script>alert(1)</script>")
    write_run(tmp_path / "b", recipe=taught, samples=())
    page = page_of(tmp_path, *map(read_record, find_runs([tmp_path])))
    assert table_of(page)[1]["teacher"] == "</script><script>alert(1)</script>"
    (chart,) = data_of(page)["scatters"]
    assert chart["categories"] == ["", "</script><script>alert(1)</script>"]
    assert [item.text for item in page.all("li")] == [evil, "</li>"]
    assert details_of(page, "a")[evil] == f'[ "{evil}" ]'


def test_a_folder_whose_name_is_no_text_has_a_page(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xff"))
    write_run(folder, checkpoint=False)  # safetensors takes no such path
    page = page_of(tmp_path, read_record(folder))
    assert table_of(page)[0]["run"] == "run-?"


# what can be wrong


@pytest.mark.parametrize(
    ("file", "content", "kind", "message"),
    [
        (
            "run.json",
            b"{",
            RecordError,
            "{path} is not the record of a run: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)",
        ),
        ("run.json", b"{}", RecordError, "{path} is not the record of a run: it lacks 'network'"),
        (
            "metrics.jsonl",
            b'{"step": 2}\n',
            MetricsError,
            "{path}, line 1 is not the metrics of step 1",
        ),
        (
            "checkpoint.safetensors",
            b"x",
            CheckpointError,
            "{path} is not a whole safetensors file: Error while deserializing header: "
            "header too small",
        ),
        (
            "samples.txt",
            b"\xff",
            RecordError,
            "{path} is not UTF-8, so these are no samples of a run",
        ),
    ],
)
def test_a_damaged_run_is_named_and_the_page_before_stays(
    tmp_path, three, capsys, file, content, kind, message
):
    page = tmp_path / "page.html"
    page.write_text("before")
    path = three / "run-3" / file
    path.write_bytes(content)
    expected = message.format(path=path)
    with pytest.raises(kind) as caught:
        write_page(page, map(read_record, find_runs([three])))
    assert str(caught.value) == expected
    assert run(["report", str(three), "--out", str(page)]) == 2
    assert capsys.readouterr() == ("", f"typedwave: {expected}\n")
    assert page.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "runs"]


def test_the_page_before_stays_if_the_new_one_cannot_be_written(tmp_path, three, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("before")

    def failing(self, text, **options):
        self.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", failing)
    with pytest.raises(OSError) as caught:  # noqa: PT011  # as raised above
        write_page(page, map(read_record, find_runs([three])))
    assert (caught.value.filename, page.read_text()) == (str(page), "before")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "runs"]


def test_a_page_about_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        write_page(tmp_path / "page.html", [])
    assert str(caught.value) == "there is no run to write a page about"
    assert not any(tmp_path.iterdir())


# the command


def test_the_command_says_where_the_page_is(tmp_path, three, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["report", str(three)]) == 0
    assert capsys.readouterr() == (f"3 runs in {tmp_path / 'report.html'}\n", "")
    one = [str(three / "run-1"), "--out", "one.html", "--title", "One & only"]
    assert run(["report", *one]) == 0
    assert capsys.readouterr() == (f"1 run in {tmp_path / 'one.html'}\n", "")
    page = Parsed((tmp_path / "one.html").read_text(encoding="utf-8")).root
    assert page.one("h1").text == "One & only"


def test_the_command_says_it_in_json(tmp_path, three, capsys):
    out = str(tmp_path / "page.html")
    runs = [str(three / "run-2"), str(three / "run-1")]
    assert run(["report", *runs, "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": out, "runs": 2}


def test_the_command_needs_runs_and_a_place(tmp_path, three, capsys):
    assert run(["report", str(tmp_path / "page.html")]) == 2
    page = tmp_path / "page.html"
    assert capsys.readouterr().err == (
        f"typedwave: there is no run in {page}: no run.json in it or below it\n"
    )
    missing = tmp_path / "missing" / "page.html"
    assert run(["report", str(three), "--out", str(missing)]) == 2
    assert capsys.readouterr().err == f"typedwave: {missing}: No such file or directory\n"
