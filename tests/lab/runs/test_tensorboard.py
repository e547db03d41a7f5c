import math
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from typedwave.lab.runs.metrics import METRICS, MetricsError, Point, cut_metrics, lines_of
from typedwave.lab.runs.tensorboard import Events, NoTensorBoardError, write_events

WINDOW = 25


def metrics_of(points: int, *, window: int = WINDOW, base: float = 3.0) -> str:
    text = ""
    for number in range(points):
        after = number * window
        losses = [base - (after + i) / 1024 for i in range(window)]
        point = Point(after + window, 0.0, base + number, {"a.weight": 10.0**-number, "b": 0.0})
        text += lines_of(losses, [0.5 / (number + 1)] * window, after, point)
    return text


def append(folder: Path, text: str) -> None:
    with (folder / METRICS).open("a") as file:
        file.write(text)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.out.tfevents.*"))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads."""
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_each_point_and_the_means_of_the_steps_between_are_there(tmp_path):
    append(tmp_path, metrics_of(3))
    write_events(tmp_path)
    found = scalars(tmp_path)
    assert sorted(found) == [
        "learning_rate",
        "loss/train",
        "loss/validation",
        "update_ratio_log10/a.weight",
    ]
    assert found["loss/validation"] == [(25, 3.0), (50, 4.0), (75, 5.0)]
    assert found["update_ratio_log10/a.weight"] == [(25, 0.0), (50, -1.0), (75, -2.0)]
    rates = [(25, 0.5), (50, 0.25), (75, pytest.approx(0.5 / 3))]
    assert found["learning_rate"] == rates
    # 25 steps are five pairs and fifteen single steps; each at its last step.
    pairs, single = [(2 * i, 2 * i - 0.5) for i in range(1, 6)], [(i, i) for i in range(11, 26)]
    expected = [
        (after + step, pytest.approx(3 - (after + middle - 1) / 1024))
        for after in (0, 25, 50)
        for step, middle in pairs + single
    ]
    assert found["loss/train"] == expected


@pytest.mark.parametrize("window", [1, 3, 19, 20])
def test_few_steps_are_there_one_by_one(window, tmp_path):
    append(tmp_path, metrics_of(2, window=window))
    write_events(tmp_path)
    train = scalars(tmp_path)["loss/train"]
    assert train == [(i + 1, pytest.approx(3 - i / 1024)) for i in range(2 * window)]


@given(
    cuts=st.lists(st.integers(0, 4_000), max_size=8),
    window=st.sampled_from([1, 7, 25]),
)
@settings(max_examples=12)
def test_however_often_it_looks_on_the_events_are_those_of_the_whole(
    cuts, window, tmp_path_factory
):
    text = metrics_of(3, window=window)
    whole, bit_by_bit = (tmp_path_factory.mktemp(name) for name in ("whole", "bits"))
    append(whole, text)
    write_events(whole)
    with closing(Events(bit_by_bit)) as events:
        before = 0
        for cut in sorted(min(cut, len(text)) for cut in [*cuts, len(text)]):
            append(bit_by_bit, text[before:cut])  # also in the middle of a line
            events.update()
            before = cut
    assert scalars(bit_by_bit) == scalars(whole)
    assert len(files_in(bit_by_bit)) == 1


def test_they_can_be_read_while_training_goes_on(tmp_path):
    events = Events(tmp_path)
    events.update()
    assert files_in(tmp_path) == []  # no metrics yet
    text = metrics_of(3).splitlines(keepends=True)
    append(tmp_path, "".join(text[:20]))
    events.update()
    assert files_in(tmp_path) == []  # no point yet
    append(tmp_path, "".join(text[20:60]))
    events.update()
    assert scalars(tmp_path)["loss/validation"] == [(25, 3.0), (50, 4.0)]
    append(tmp_path, "".join(text[60:]))
    events.update()
    assert scalars(tmp_path)["loss/validation"] == [(25, 3.0), (50, 4.0), (75, 5.0)]
    events.close()


@pytest.mark.parametrize("kept", [0, 25, 40, 75])
def test_a_run_that_was_killed_has_no_step_twice_and_none_missing(kept, tmp_path):
    append(tmp_path, metrics_of(3, base=9.0))
    killed = Events(tmp_path)
    killed.update()  # and is never closed
    cut_metrics(tmp_path / METRICS, steps=kept)
    with closing(Events(tmp_path)) as events:
        events.update()
        append(tmp_path, "".join(metrics_of(4).splitlines(keepends=True)[kept:]))
        events.update()
    expected = tmp_path / "expected"
    expected.mkdir()
    (expected / METRICS).write_text((tmp_path / METRICS).read_text())
    write_events(expected)
    assert scalars(tmp_path) == scalars(expected)
    assert [step for step, _ in scalars(tmp_path)["loss/validation"]] == [25, 50, 75, 100]
    killed.close()


def test_a_reader_who_had_the_file_before_goes_on_with_the_new_one(tmp_path):
    append(tmp_path, metrics_of(3, base=9.0))
    killed = Events(tmp_path)
    killed.update()
    reader = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert [event.value for event in reader.Scalars("loss/validation")] == [9, 10, 11]
    cut_metrics(tmp_path / METRICS, steps=25)
    with closing(Events(tmp_path)) as events:
        append(tmp_path, "".join(metrics_of(4).splitlines(keepends=True)[25:]))
        events.update()
    reader.Reload()
    found = [(event.step, event.value) for event in reader.Scalars("loss/validation")]
    assert found == [(25, 9.0), (50, 4.0), (75, 5.0), (100, 6.0)]
    killed.close()


def test_files_do_not_heap_up_and_others_are_left_alone(tmp_path):
    (tmp_path / "events.out.tfevents.1.other").write_bytes(b"mine")
    append(tmp_path, metrics_of(1))
    for _ in range(4):
        write_events(tmp_path)
    ours = [path for path in files_in(tmp_path) if path.suffix == ".typedwave"]
    assert [path.stat().st_size > 0 for path in ours] == [False, True]
    assert (tmp_path / "events.out.tfevents.1.other").read_bytes() == b"mine"


@pytest.mark.parametrize("ratio", [0.0, math.nan, math.inf])
def test_a_ratio_without_a_logarithm_is_left_out(ratio, tmp_path):
    append(tmp_path, lines_of([3.0], [0.1], 0, Point(1, 3.0, 3.0, {"a": ratio})))
    write_events(tmp_path)
    assert sorted(scalars(tmp_path)) == ["learning_rate", "loss/train", "loss/validation"]


@pytest.mark.parametrize(
    "line",
    [
        "damaged\n",
        '{"step": 3, "train": 1.0, "rate": 0.1}\n',
        '{"step": 2, "rate": 0.1}\n',
        '{"train": 1.0, "rate": 0.1}\n',
        "[1]\n",
    ],
)
def test_damaged_metrics_are_refused(line, tmp_path):
    append(tmp_path, lines_of([3.0], [0.1], 0, None) + line)
    with pytest.raises(MetricsError) as caught, closing(Events(tmp_path)) as events:
        events.update()
    assert str(caught.value) == f"{tmp_path / METRICS}, line 2 is not the metrics of step 2"


def test_without_tensorboard_it_is_told_before_anything_is_trained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(NoTensorBoardError) as caught:
        Events(tmp_path)
    expected = "TensorBoard is not installed: pip install 'typedwave[tensorboard]'"
    assert str(caught.value) == expected
