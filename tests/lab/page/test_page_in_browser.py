"""The page about runs in Debian's Chromium, without a network."""

import base64
import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Browser, browsing
from matplotlib.image import imread
from runs_on_disk import GRU, RECIPE, corpus_in, write_run
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from typedwave.lab import CountingRecipe, find_runs, read_record
from typedwave.lab.page import write_page
from typedwave.models import NGramConfig

EVIL = "<img src=x onerror=alert(1)>&amp; %{y}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Three seeds, n-grams, eight learning rates, and a run that goes on: 13 runs in 11 groups."""
    root = tmp_path_factory.mktemp("many")
    facts: dict[str, Any] = {"corpus": str(corpus_in(root))}
    runs = root / "runs"
    for seed, loss in {1: 1.5, 2: 1.625, 3: 1.5625}.items():
        write_run(runs / f"gru-{seed}", recipe=replace(RECIPE, seed=seed), validation=loss, **facts)
    ngram = NGramConfig(order=3)
    write_run(runs / "counted", ngram, CountingRecipe(), steps=1, validation=1.75, **facts)
    for number in range(8):
        rate, schedule = 0.001 * 2**number, ("linear", "cosine")[number % 2]
        recipe = replace(RECIPE, adam_rate=rate, schedule=schedule)
        config = replace(GRU, n_hidden=6 + number % 2)
        name = {0: EVIL, 7: "rate-10"}.get(number, f"rate-{number}")
        loss = 2.0 + number / 64
        seconds = {"training_seconds": 2.0 + number}
        write_run(runs / name, config, recipe, validation=loss, **facts, **seconds)
    recipe = replace(RECIPE, adam_rate=0.5)
    going = {"steps": 10, "finished": False, "checkpoint": False}
    write_run(runs / "going", recipe=recipe, validation=2.5, **going, **facts)
    write_page(root / "page.html", map(read_record, find_runs([runs])))
    return root / "page.html"


@pytest.fixture
def page(browser, many) -> Browser:
    browser.open(many)
    return browser


def lines(page: Browser, chart: str = "validation") -> list[dict[str, Any]]:
    """The lines of a chart as they are drawn, but for the edges of bands."""
    found: list[dict[str, Any]] = page.run(
        """const chart = document.getElementById(`chart-${arguments[0]}`);
        const lines = chart.querySelectorAll(".scatterlayer > .trace");
        return chart.data.map((trace, i) => ({
          name: trace.name, x: [...trace.x], y: [...trace.y], color: trace.line.color,
          opacity: getComputedStyle(lines[i]).opacity,
          path: lines[i].querySelector(".js-line")?.getAttribute("d") ?? "",
        })).filter((line) => line.name)""",
        chart,
    )
    return found


def names(page: Browser, chart: str = "validation") -> set[str]:
    return {line["name"] for line in lines(page, chart)}


def line(page: Browser, name: str, chart: str = "validation") -> dict[str, Any]:
    (found,) = [line for line in lines(page, chart) if line["name"] == name]
    return found


def rows(page: Browser) -> list[str]:
    return page.texts("table.sortable tbody th")


def column(page: Browser, number: int) -> list[str]:
    return page.texts(f"table.sortable tbody tr > :nth-child({number})")


def eventually(ask: Callable[[], Any], expected: Any) -> None:
    until = time.monotonic() + 5
    while (found := ask()) != expected and time.monotonic() < until:
        time.sleep(0.02)
    assert found == expected


# it is drawn, of itself


def test_all_is_drawn_without_a_network_and_without_a_complaint(page, many):
    assert len(lines(page)) == 11
    assert all(line["path"].startswith("M") for line in lines(page) + lines(page, "train"))
    charts = page.run(
        """return [...document.querySelectorAll(".chart")]
        .filter((e) => e.checkVisibility() && !e.querySelector(".main-svg")).map((e) => e.id)"""
    )
    assert charts == []
    assert page.logged("browser") == []
    kinds = {address.partition(":")[0] for address in page.requested()}
    assert kinds <= {"file", "data", "blob"}
    assert len(page.texts("#inside .chart svg.main-svg")) > 0
    assert page.texts("#scatters figcaption")[0].startswith("network")


def test_what_gets_into_the_page_may_load_nothing(page):
    page.run(
        """const image = document.createElement("img");
        image.src = "http://127.0.0.1:9/x.png";
        document.body.append(image);
        const script = document.createElement("script");
        script.textContent = "window.injected = true";
        document.body.append(script);
        return fetch("http://127.0.0.1:9/").catch(() => {})"""
    )
    assert page.run("return window.injected") is None
    messages = [entry["message"] for entry in page.logged("browser")]
    for what in ("inline script violates", "Connecting to 'http:", "Loading the image 'http:"):
        assert any(what in message and "blocked" in message for message in messages), what


def test_no_button_sends_a_chart_away(page):
    titles = page.run(
        """return [...document.querySelectorAll("#chart-train .modebar-btn")]
        .map((button) => button.dataset.title.toLowerCase())"""
    )
    assert titles == ["zoom", "pan", "autoscale", "reset axes", "download plot as a png"]
    assert page.run("return [...document.links].filter((a) => a.origin !== 'null' && a.host)") == []


def test_without_scripts_all_can_be_read(browser, many):
    browser.emulate("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(many)
        assert browser.one("noscript").text == "Curves are drawn by JavaScript, which is off."
        assert all(figure.is_displayed() for figure in browser.all("[data-chosen]"))
        assert not browser.one(".controls").is_displayed()
        assert len(browser.all("table.sortable tbody tr")) == 13
    finally:
        browser.emulate("Emulation.setScriptExecutionDisabled", value=False)


# the table


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(page):
    ranked = rows(page)
    assert ranked[:4] == ["gru-1", "gru-3", "gru-2", "counted"]
    (heading,) = [h for h in page.all("table.sortable thead th") if h.text.startswith("adam_rate")]
    place = page.texts("table.sortable thead th").index("adam_rate") + 1
    heading.find_element("css selector", "button").click()
    rates = ["0.001", "0.002", "0.004", "0.008", "0.008", "0.008", "0.008"]
    rates += ["0.016", "0.032", "0.064", "0.128", "0.5"]
    assert column(page, place) == [*rates, "\N{EN DASH}"]
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert column(page, place) == [*reversed(rates), "\N{EN DASH}"]  # n-grams have none either way
    assert heading.get_attribute("aria-sort") == "descending"
    sorts = page.run("return [...document.querySelectorAll('[aria-sort]')].map((e) => e.ariaSort)")
    assert sorts.count("none") == len(sorts) - 1
    page.one("table.sortable thead th:nth-child(2) button").click()
    assert rows(page) == ranked


def test_names_are_sorted_as_people_do(page):
    page.one("table.sortable thead th:first-child button").click()
    seeds, rates = [f"gru-{i}" for i in (1, 2, 3)], [f"rate-{i}" for i in (1, 2, 3, 4, 5, 6, 10)]
    assert rows(page)[1:] == ["counted", "going", *seeds, *rates]


# the curves


def test_runs_that_differ_in_the_seed_are_one_line_in_a_band(page):
    mean = line(page, "gru (3 seeds), mean")
    assert mean["y"][-1] == pytest.approx((1.5 + 1.625 + 1.5625) / 3)
    low, high = page.run(
        """return document.getElementById("chart-validation").data
        .filter((trace) => trace.runs.length === 3 && trace.line.width === 0)
        .map((trace) => trace.y[trace.y.length - 1])"""
    )
    assert (low, high) == (1.5, 1.625)
    assert not {"gru-1", "gru-2", "gru-3"} & names(page)
    page.one("#each").click()
    assert {"gru-1", "gru-2", "gru-3", "gru (3 seeds), mean"} <= names(page)
    page.one('tr[data-run="2"] input').click()  # the worst of them
    mean = line(page, "gru (2 seeds), mean")
    assert mean["y"][-1] == pytest.approx((1.5 + 1.5625) / 2)
    assert "gru-2" not in names(page)


def test_the_best_eight_have_colours_and_the_others_are_grey(page):
    colours = [line["color"] for line in lines(page)]
    grey = page.run("return getComputedStyle(document.body).getPropertyValue('--tone8')")
    assert colours.count(grey.strip()) == 3
    assert len(set(colours)) == 9
    assert "The best eight have colours" in page.one("#curves").text


def test_what_is_not_trained_in_steps_is_a_level(page):
    counted = line(page, "counted")
    assert counted["y"] == [1.75] * 3
    assert counted["x"] == [0, 10, 20]


def test_the_legend_toggles_groups(page):
    button = page.one("#legend button")
    assert button.text == "gru (3 seeds)"
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert not any(name.startswith("gru") for name in names(page) | names(page, "train"))
    assert button.get_attribute("aria-pressed") == "false"
    assert not page.one('tr[data-run="0"] input').is_selected()
    button.send_keys(Keys.ENTER)
    assert "gru (3 seeds), mean" in names(page)
    assert page.one('tr[data-run="0"] input').is_selected()


def test_all_none_and_the_best_eight(page):
    none, best, every = (page.one(f'[data-show="{which}"]') for which in ("none", "best", "all"))
    none.click()
    assert lines(page) == []
    assert "nothing is shown" in page.one("#chart-validation").text
    best.click()
    assert len(lines(page)) == 6  # of eight runs, three are one line
    every.click()
    assert len(lines(page)) == 11


def test_a_row_that_is_pointed_at_stands_out(page):
    page.point_at(page.one('tr[data-run="5"] td'))
    (name,) = page.texts('tr[data-run="5"] th')
    assert {line["name"] for line in lines(page) if line["opacity"] == "1"} == {name}
    page.point_at(page.one("h1"))
    assert {line["opacity"] for line in lines(page)} == {"1"}


def pixel(page: Browser, name: str, chart: str = "chart-validation") -> dict[str, int]:
    """Where the end of a line is, from the middle of the chart."""
    found: dict[str, int] = page.run(
        """const [id, name] = arguments, chart = document.getElementById(id);
        const { xaxis, yaxis } = chart._fullLayout, box = chart.getBoundingClientRect();
        const { x, y } = chart.data.find((trace) => trace.name === name), end = x.length - 2;
        return {
          x: Math.round(xaxis._offset + xaxis.l2p(x[end]) - box.width / 2),
          y: Math.round(yaxis._offset + yaxis.l2p(y[end]) - box.height / 2),
        }""",
        chart,
        name,
    )
    return found


def test_a_line_that_is_pointed_at_tells_the_name_and_a_click_keeps_it(page):
    chart = page.one("#chart-validation")
    escaped = EVIL.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    page.run("arguments[0].scrollIntoView({block: 'center'})", chart)
    page.point_at(chart, **pixel(page, escaped))
    hover = "return document.querySelector('#chart-validation .hoverlayer').textContent"
    loss = line(page, escaped)["y"][-2]
    eventually(lambda: page.run(hover), f"{EVIL}{loss:.4f} at step 18")
    assert page.texts("tr.focus th") == [EVIL]
    page.point_at(chart, **pixel(page, escaped), click=True)
    page.point_at(page.one("h1"))
    eventually(lambda: page.texts("tr.focus th"), [EVIL])
    assert [line["name"] for line in lines(page) if line["opacity"] == "1"] == [escaped]
    assert page.logged("browser") == []


def test_train_is_smoothed_as_far_as_one_likes(page):
    def set_to(value: int) -> None:
        page.run(
            """arguments[0].value = arguments[1];
            arguments[0].dispatchEvent(new Event("input"))""",
            page.one("#smoothing"),
            value,
        )

    set_to(0)
    raw, validation = np.array(line(page, "rate-1", "train")["y"]), line(page, "rate-1")
    set_to(20)
    assert page.one("output").text == "20 %"
    smooth = line(page, "rate-1", "train")["y"]
    near = [raw[max(0, i - min(2, i)) : i + min(2, i) + 1].mean() for i in range(20)]
    assert smooth == pytest.approx(near)
    assert line(page, "rate-1") == validation


def test_curves_run_over_steps_shares_or_seconds(page):
    along = Select(page.one("#along"))
    assert line(page, "rate-1")["x"][-1] == 20
    along.select_by_value("share")
    assert line(page, "rate-1")["x"][-1] == line(page, "going")["x"][-1] == 100
    along.select_by_value("seconds")
    assert line(page, "rate-1")["x"][-1] == 3
    assert "going" not in names(page)  # nobody knows
    assert page.run("return document.getElementById('chart-train').layout.xaxis.title.text") == (
        "seconds of training"
    )


def test_the_learning_rate_is_drawn_when_it_is_asked_for(page):
    page.one("#rates summary").click()
    eventually(lambda: page.run("return !!document.getElementById('chart-rate').data"), True)
    assert line(page, "gru-1", "rate")["y"][0] == 0.02


# hyper-parameters


def test_each_hyper_parameter_has_a_chart_of_its_kind(page):
    charts = page.run(
        """return Object.fromEntries([...document.querySelectorAll("#scatters .chart")].map(
        ({ layout, data }) => [layout.xaxis.title.text, {
          type: layout.xaxis.type ?? "", text: layout.xaxis.ticktext ?? [],
          points: data[data.length - 1].x.length,
        }]))"""
    )
    assert charts["adam_rate"] == {"type": "log", "text": [], "points": 12}
    assert charts["schedule"] == {"type": "linear", "text": ["cosine", "linear"], "points": 12}
    assert charts["n_hidden"] == {"type": "linear", "text": ["5", "6", "7"], "points": 12}
    assert page.one("#parallel").is_displayed()
    lines = page.run("return document.querySelector('#parallel .chart').data.length")
    assert lines == 13


def test_a_run_that_is_not_finished_is_hollow(page):
    symbols = page.run(
        """const { data } = document.querySelector("#scatters .chart");
        const { customdata, marker } = data[data.length - 1];
        return customdata.map((run, i) => [run, marker.symbol[i]])"""
    )
    going = rows(page).index("going")
    assert {run for run, symbol in symbols if symbol.endswith("-open")} == {going}


# one network of many


@pytest.mark.parametrize("kind", ["flow", "sample"])
def test_one_of_several_is_shown_and_can_be_chosen(page, kind):
    chooser = Select(page.one(f'[data-chooses="{kind}"]'))

    def shown() -> list[bool]:
        return [figure.is_displayed() for figure in page.all(f'[data-chosen="{kind}"]')]

    count = len(chooser.options)
    assert shown() == [i == 0 for i in range(count)]
    chooser.select_by_index(2)
    assert shown() == [i == 2 for i in range(count)]


def test_a_link_in_the_table_opens_what_is_told_of_the_run(page):
    details = page.one("#run-4")
    assert details.get_attribute("open") is None
    page.one('tr[data-run="4"] a').click()
    eventually(lambda: details.get_attribute("open"), "true")


# whoever looks at it


@pytest.fixture
def dark(browser):
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.emulate("Emulation.setEmulatedMedia", features=features)
    yield
    browser.emulate("Emulation.setEmulatedMedia", features=[])


LUMINANCE = """
const luminance = (name) => {
  const value = parseInt(getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1), 16);
  const [r, g, b] = [value >> 16, (value >> 8) & 255, value & 255].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
"""  # noqa: E501


def contrasts(page: Browser) -> tuple[float, float]:
    """The least of text, and of lines."""
    least: list[float] = page.run(
        LUMINANCE
        + """
        const tones = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => contrast(`--tone${i}`, "--page"));
        const texts = [["--text", "--page"], ["--quiet", "--page"], ["--accent", "--page"],
          ["--text", "--raised"], ["--quiet", "--raised"], ["--text", "--mark"],
          ["--text", "--warn"]];
        return [Math.min(...texts.map(([a, b]) => contrast(a, b))), Math.min(...tones)]"""
    )
    return least[0], least[1]


def test_it_can_be_read_by_day(page):
    text, tone = contrasts(page)
    assert text >= 4.5  # WCAG 2, AA
    assert tone >= 3


def test_it_can_be_read_by_night(dark, page):
    text, tone = contrasts(page)
    assert text >= 4.5
    assert tone >= 3
    assert luminous(page) < 0.25
    colour = page.run("return document.getElementById('chart-train').layout.font.color")
    assert colour == "#e4e7ea"


def test_night_may_fall_while_it_is_looked_at(page, browser):
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    ask = "return document.getElementById('chart-train').layout.font.color"
    assert page.run(ask) == "#1c2024"
    browser.emulate("Emulation.setEmulatedMedia", features=features)
    try:
        eventually(lambda: page.run(ask), "#e4e7ea")
        page.run("dispatchEvent(new Event('beforeprint'))")
        assert page.run(ask) == "#1c2024"  # paper is white
        page.run("dispatchEvent(new Event('afterprint'))")
        assert page.run(ask) == "#e4e7ea"
    finally:
        browser.emulate("Emulation.setEmulatedMedia", features=[])


def luminous(page: Browser) -> float:
    """How bright what is seen is on average, from 0 to 1."""
    png = base64.b64decode(page.driver.get_screenshot_as_base64())
    return float(imread(io.BytesIO(png))[..., :3].mean())


def test_it_is_bright_by_day(page):
    assert luminous(page) > 0.85


@pytest.mark.parametrize("width", [320, 400, 768])
def test_nothing_is_wider_than_a_narrow_screen(browser, many, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.emulate("Emulation.setDeviceMetricsOverride", **size)
    try:
        browser.open(many)
        browser.run(
            "for (const details of document.querySelectorAll('details')) details.open = true"
        )
        root = "const root = document.documentElement; return root."
        assert browser.run(f"{root}scrollWidth") == browser.run(f"{root}clientWidth")
        charts = browser.run(
            """return Math.max(...[...document.querySelectorAll("#curves .chart, #scatters .chart")]
            .map((chart) => chart._fullLayout?.width ?? 0))"""
        )
        assert 200 < charts <= width
    finally:
        browser.emulate("Emulation.clearDeviceMetricsOverride")


def test_it_can_be_printed(page):
    pdf = base64.b64decode(page.emulate("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 50_000


def test_everything_that_can_be_used_has_a_name(page):
    nameless = page.run(
        """return [...document.querySelectorAll(
          "button, input, select, a[href], [role=img], [role=region], summary, table.sortable"
        )].filter((e) => e.checkVisibility() && !(
          e.ariaLabel || e.textContent.trim() || e.labels?.length
          || e.getAttribute("aria-labelledby")
        )).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert [html for html in nameless if "modebar" not in html] == []
    scopes = page.run("return [...document.querySelectorAll('th')].filter((e) => !e.scope).length")
    assert scopes == 0


# a single run


def test_a_single_run_has_a_page_without_what_is_for_many(browser, tmp_path):
    write_run(tmp_path / "alone")
    write_page(tmp_path / "page.html", [read_record(tmp_path / "alone")])
    browser.open(tmp_path / "page.html")
    assert names(browser) == {"alone"}
    assert browser.logged("browser") == []
    assert browser.all("#legend, #settings, [data-show], .chooser") == []
    assert not browser.one("tbody input").is_displayed()
    assert browser.one("#run-0").get_attribute("open") == "true"


def test_a_run_without_a_point_has_a_page_without_a_complaint(browser, tmp_path):
    write_run(tmp_path / "new", steps=0, finished=False, checkpoint=False, samples=())
    write_run(tmp_path / "newer", steps=0, finished=False, checkpoint=False, samples=())
    write_page(tmp_path / "page.html", map(read_record, find_runs([tmp_path])))
    browser.open(tmp_path / "page.html")
    assert browser.logged("browser") == []
    assert rows(browser) == ["new", "newer"]
