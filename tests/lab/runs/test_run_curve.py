import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from matplotlib import axes as matplotlib_axes
from matplotlib import pyplot

from typedwave.lab.runs.curve import draw_curve
from typedwave.lab.runs.experiment import Point

POINTS = [Point(10, 3.0, 3.1), Point(20, 2.5, 2.7), Point(25, 2.25, 2.625)]


def test_a_png_is_a_picture_of_960_by_600(tmp_path):
    path = tmp_path / "curve.png"
    draw_curve(path, POINTS, title="hierarchical, 343 parameters")
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[12:16] == b"IHDR"
    assert struct.unpack(">II", content[16:24]) == (960, 600)
    assert content[-8:-4] == b"IEND"
    assert list(tmp_path.iterdir()) == [path]


def test_an_svg_is_xml_of_the_same_shape_and_a_string_will_do_as_a_path(tmp_path):
    path = tmp_path / "curve.svg"
    draw_curve(str(path), POINTS, title="flat")
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.attrib["width"], root.attrib["height"]) == ("576pt", "360pt")


def test_it_draws_the_points_it_is_given(tmp_path, monkeypatch):
    drawn, said = [], []
    plot, annotate = matplotlib_axes.Axes.plot, matplotlib_axes.Axes.annotate

    def noting_plot(self, steps, losses, *style, **options):
        drawn.append((options["label"], list(steps), list(losses)))
        return plot(self, steps, losses, *style, **options)

    def noting_annotate(self, text, place, **options):
        said.append((text, place, self.get_title()))
        return annotate(self, text, place, **options)

    monkeypatch.setattr(matplotlib_axes.Axes, "plot", noting_plot)
    monkeypatch.setattr(matplotlib_axes.Axes, "annotate", noting_annotate)
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig",
        lambda figure, path: said.append(
            tuple(
                getattr(figure.axes[0], f"get_{what}")() for what in ("xlabel", "ylabel", "title")
            )
        ),
    )
    draw_curve(tmp_path / "curve.png", POINTS, title="a title")
    assert drawn == [
        ("train, mean of the window", [10, 20, 25], [3.0, 2.5, 2.25]),
        ("validation", [10, 20, 25], [3.1, 2.7, 2.625]),
    ]
    assert said == [("2.6250", (25, 2.625), ""), ("step", "loss (nats a character)", "a title")]


def test_one_point_is_enough(tmp_path):
    draw_curve(tmp_path / "curve.png", POINTS[:1], title="")
    assert (tmp_path / "curve.png").exists()


def test_a_format_that_there_is_not_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="'frob' is not supported"):
        draw_curve(tmp_path / "curve.frob", POINTS, title="")
    assert list(tmp_path.iterdir()) == []


def test_the_picture_before_stays_if_the_new_one_cannot_be_drawn(tmp_path, monkeypatch):
    path = tmp_path / "curve.png"
    draw_curve(path, POINTS, title="")
    before = path.read_bytes()

    def failing(figure, path):
        Path(path).write_bytes(b"half")
        raise OSError

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", failing)
    with pytest.raises(OSError):  # noqa: PT011  # as raised above
        draw_curve(path, POINTS, title="")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_figure_stays_open_and_no_window_is_needed(tmp_path):
    draw_curve(tmp_path / "curve.png", POINTS, title="")
    assert pyplot.get_fignums() == []
