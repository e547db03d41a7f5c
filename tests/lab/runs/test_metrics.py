import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedwave.lab.runs.metrics import (
    Metrics,
    MetricsError,
    Point,
    cut_metrics,
    lines_of,
    read_metrics,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LOSSES = st.floats(0, 2.0**99, width=32)  # whose sum is finite
NAMES = st.text(min_size=1, max_size=5)

# Groups of steps, each of which may end in a point: validation and updates.
GROUPS = st.lists(
    st.tuples(
        st.lists(st.tuples(LOSSES, NUMBERS), min_size=1, max_size=4),
        st.none() | st.tuples(NUMBERS, st.dictionaries(NAMES, NUMBERS, max_size=3)),
    ),
    max_size=6,
)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "metrics.jsonl"


def text_of(groups) -> tuple[str, Metrics]:
    """The lines of some groups, and what they say."""
    text, train, rate, points, before = "", [], [], [], 0
    for steps, point in groups:
        after = len(train)
        losses, rates = (list(each) for each in zip(*steps, strict=True))
        train += losses
        rate += rates
        found = None
        if point is not None:
            mean = math.fsum(train[before:]) / len(train[before:])
            found = Point(len(train), mean, *point)
            points.append(found)
            before = len(train)
        text += lines_of(losses, rates, after, found)
    return text, Metrics(np.array(train, np.float64), np.array(rate, np.float64), tuple(points))


def assert_same(found: Metrics, expected: Metrics) -> None:
    assert found.train.tolist() == expected.train.tolist()
    assert found.rate.tolist() == expected.rate.tolist()
    assert (found.train.dtype, found.rate.dtype) == (np.float64, np.float64)
    assert found.points == expected.points
    assert found.steps.tolist() == list(range(1, len(expected.train) + 1))


def first(metrics: Metrics, steps: int) -> Metrics:
    points = tuple(point for point in metrics.points if point.step <= steps)
    return Metrics(metrics.train[:steps], metrics.rate[:steps], points)


# there and back


@given(groups=GROUPS)
def test_what_is_written_is_read_to_the_bit(groups):
    text, expected = text_of(groups)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.write_text(text, encoding="utf-8")
        assert_same(read_metrics(path), expected)
        assert_same(read_metrics(str(path)), expected)


@given(groups=GROUPS, data=st.data())
def test_no_more_steps_are_read_than_asked_for(groups, data):
    text, expected = text_of(groups)
    steps = data.draw(st.integers(0, len(expected.train) + 2))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.write_text(text, encoding="utf-8")
        assert_same(read_metrics(path, steps=steps), first(expected, steps))


@given(groups=GROUPS, data=st.data())
def test_a_last_line_that_is_cut_off_anywhere_is_left_out(groups, data):
    text, expected = text_of(groups)
    whole = text.encode()
    cut = data.draw(st.integers(0, len(whole)))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.write_bytes(whole[:cut])
        assert_same(read_metrics(path), first(expected, whole[:cut].count(b"\n")))


@given(groups=GROUPS, data=st.data())
def test_cutting_keeps_the_first_steps_to_the_byte(groups, data):
    text, expected = text_of(groups)
    steps = data.draw(st.integers(0, len(expected.train)))
    rest = data.draw(st.sampled_from(["", '{"step', "{}"]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.write_text(text + rest, encoding="utf-8")
        cut_metrics(path, steps=steps)
        lines = text.splitlines(keepends=True)
        assert path.read_text(encoding="utf-8") == "".join(lines[:steps])


def test_a_line_has_the_step_the_loss_and_the_rate_and_the_last_one_the_point():
    point = Point(5, 2.5, 2.75, {"a.weight": 0.125})
    assert lines_of([3.5, 1.5], [0.1, 0.05], 3, point) == (
        '{"step": 4, "train": 3.5, "rate": 0.1}\n'
        '{"step": 5, "train": 1.5, "rate": 0.05, "validation": 2.75, '
        '"updates": {"a.weight": 0.125}}\n'
    )
    assert lines_of([3.5], [0.1], 0, None) == '{"step": 1, "train": 3.5, "rate": 0.1}\n'
    assert lines_of([], [], 7, None) == ""


def test_losses_and_rates_are_of_the_same_steps():
    with pytest.raises(ValueError, match="zip"):
        lines_of([3.5, 2.5], [0.1], 0, None)


def test_a_point_is_the_mean_since_the_one_before(path):
    lines = lines_of([5.0, 3.0], [1.0, 1.0], 0, Point(2, 4.0, 4.5))
    lines += lines_of([2.0, 1.0, 0.0], [1.0, 1.0, 1.0], 2, None)
    lines += lines_of([9.0], [1.0], 5, Point(6, 3.0, 3.5))
    lines += lines_of([7.0], [1.0], 6, None)  # of no point yet
    path.write_text(lines)
    assert read_metrics(path).points == (Point(2, 4.0, 4.5), Point(6, 3.0, 3.5))


def test_a_point_without_updates_has_none(path):
    path.write_text('{"step": 1, "train": 3.5, "rate": 0.1, "validation": 2.5}\n')
    assert read_metrics(path).points == (Point(1, 3.5, 2.5, {}),)


def test_a_file_of_nothing_has_no_steps(path):
    path.write_bytes(b"")
    assert_same(read_metrics(path), Metrics(np.zeros(0), np.zeros(0), ()))


# what is not whole


LINES = lines_of([3.0, 2.0, 1.0], [0.1] * 3, 0, None).splitlines(keepends=True)


@pytest.mark.parametrize(
    "damaged",
    [
        "\n",
        "{\n",
        "2\n",
        "null\n",
        "[]\n",
        "{}\n",
        LINES[0],  # a step twice
        LINES[2],  # a step that is missing
        LINES[1].replace("train", "trian"),
        LINES[1].replace("rate", "rat"),
        LINES[1].replace("2.0", "2.O"),
        LINES[1].replace("2.0", '"2.0"'),
        LINES[1].replace("2.0", "null"),
        LINES[1].replace("0.1", "[]"),
        LINES[1].replace("}", ', "validation": {}}'),
        LINES[1].replace("}", ', "validation": 2.0, "updates": 3}'),
        LINES[1].replace("}", "}}"),
        LINES[1].replace("2.0", "\udcff"),  # no UTF-8
    ],
)
def test_a_line_in_the_middle_that_is_damaged_is_named(path, damaged):
    text = LINES[0] + damaged + LINES[2]
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(MetricsError) as caught:
        read_metrics(path)
    assert str(caught.value) == f"{path}, line 2 is not the metrics of step 2"
    assert read_metrics(path, steps=1).train.tolist() == [3.0]
    assert issubclass(MetricsError, ValueError)


def test_a_whole_last_line_that_is_damaged_is_named_too(path):
    path.write_text(LINES[0] + "{}\n")
    with pytest.raises(MetricsError) as caught:
        read_metrics(path)
    assert str(caught.value) == f"{path}, line 2 is not the metrics of step 2"


@pytest.mark.parametrize("rest", ["", '{"step": 4, "train": 3.0, "rate": 0.1}'])
def test_too_few_lines_are_not_cut(path, rest):
    path.write_text("".join(LINES) + rest)
    with pytest.raises(MetricsError) as caught:
        cut_metrics(path, steps=1004)
    assert str(caught.value) == f"{path} has 3 whole lines, but 1,004 steps were done"
    assert path.read_text() == "".join(LINES) + rest


def test_a_file_that_is_not_there_is_an_error_of_the_system(path):
    with pytest.raises(FileNotFoundError):
        read_metrics(path)
    with pytest.raises(FileNotFoundError):
        cut_metrics(path, steps=0)


def test_lines_that_are_no_numbers_as_json_has_them_are_still_read(path):
    # Losses that are not finite end a run; but a reader does not choke on what Python writes.
    path.write_text(json.dumps({"step": 1, "train": math.nan, "rate": math.inf}) + "\n")
    assert math.isnan(read_metrics(path).train[0])
