import dataclasses
import math
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps, pyplot
from matplotlib.colors import to_hex
from tiny_networks import EVERY, LEARNING, VOCABULARY, WORDS, made

from typedwave.lab.looking.curves import Band, Curves, Line
from typedwave.lab.looking.diagnostics import (
    Activation,
    EmbeddingMap,
    Histogram,
    NetworkGradients,
    PlaceLosses,
    Updates,
    Values,
    WeightGradient,
    activations_of,
    gradients_of,
    losses_by_place,
)
from typedwave.lab.looking.plots import (
    draw_activations,
    draw_characters,
    draw_curves,
    draw_embedding,
    draw_gradients,
    draw_positions,
    draw_updates,
    save_figure,
)
from typedwave.lab.looking.plots.figures import COLOURS, GREY, by_depth, plain, written
from typedwave.lab.runs.record import Record
from typedwave.lab.training.recipe import WordsRecipe, fields_of
from typedwave.models import RecurrentConfig

GRU = RecurrentConfig(n_embd=3, n_hidden=5)


def record(name: str = "run", **recipe) -> Record:
    told = {
        "network": dataclasses.asdict(GRU),
        "recipe": fields_of(WordsRecipe(**recipe)),
    }
    return Record(Path(name), told)


def band(steps, mean, spread=0.0) -> Band:
    mean = np.array(mean, np.float64)
    return Band(np.array(steps, np.float64), mean, mean - spread, mean + spread)


def group(label="a", loss=2.0, *, runs=1, records=None, points=6, shorter=(), level=None) -> Curves:
    train = band([1.5, 2.5, 3.5], [loss + 1, loss + 0.5, loss - 0.25], 0.25)
    steps = np.linspace(1, 4, points)
    validation = band(steps, loss + 1 - np.linspace(0, 1, points), 0.125)
    if level is not None:
        train = validation = None
    records = (record(label),) * max(1, runs) if records is None else records
    return Curves(label, records, runs, train, validation, shorter, level)


def lines_in(axes) -> list[tuple[str, list[list[float]]]]:
    """Colour and data of each line."""
    return [(to_hex(line.get_color()), line.get_xydata().tolist()) for line in axes.lines]


def data(part: Band | Line) -> list[list[float]]:
    losses = part.mean if isinstance(part, Band) else part.losses
    return np.stack([part.steps, losses], axis=1).tolist()


def told(figure) -> list[str]:
    """The legend's."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def drawable(figure, folder: Path) -> None:
    """Whether it can be written without a warning, which would be an error here."""
    save_figure(folder / "picture.png", figure)
    assert (folder / "picture.png").stat().st_size > 1_000


# curves


def test_a_group_is_two_lines_in_one_colour_with_bands_around_them(tmp_path):
    first, second = group("a", 3.0, runs=3), group("b", 2.0, runs=2)
    figure = draw_curves([first, second], window=2)
    (axes,) = figure.axes
    # The better one first.
    assert lines_in(axes) == [
        (COLOURS[0].lower(), data(second.train)),
        (COLOURS[0].lower(), data(second.validation)),
        (COLOURS[1].lower(), data(first.train)),
        (COLOURS[1].lower(), data(first.validation)),
    ]
    assert [line.get_marker() for line in axes.lines] == ["", "o"] * 2
    widths = [line.get_linewidth() for line in axes.lines]
    assert widths[0] < widths[1]
    assert [to_hex(band.get_facecolor()[0]) for band in axes.collections] == [
        colour.lower() for colour in (COLOURS[0], COLOURS[0], COLOURS[1], COLOURS[1])
    ]
    for drawn, part in zip(
        axes.collections,
        (second.train, second.validation, first.train, first.validation),
        strict=True,
    ):
        (path,) = drawn.get_paths()
        corners = {tuple(corner) for corner in path.vertices.tolist()}
        assert corners == {*zip(part.steps, part.low), *zip(part.steps, part.high)}  # noqa: B905
    assert told(figure) == [
        "b (2 runs): 2.0000",
        "a (3 runs): 3.0000",
        "train, mean of 2 steps",
        "validation",
    ]
    assert axes.get_title(loc="left") == "band: from the lowest run to the highest"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss (nats a character)")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    drawable(figure, tmp_path)


def test_a_run_alone_has_no_band_and_is_called_by_its_name(tmp_path):
    figure = draw_curves([group("gru", records=(record("$mine$_1"),))], window=1)
    assert len(figure.axes[0].collections) == 0
    assert figure.axes[0].get_title(loc="left") == ""
    assert told(figure) == [r"\$mine\$_1: 2.0000", "train", "validation"]
    drawable(figure, tmp_path)


def test_a_group_alone_is_called_by_its_kind():
    figure = draw_curves([group("gru", runs=2)], window=1)
    assert told(figure)[0] == "gru (2 runs): 2.0000"
    assert figure.axes[0].get_title(loc="left") == "band: from the lowest run to the highest"


def test_a_shorter_run_is_a_line_with_a_cross_at_its_end(tmp_path):
    train, validation = Line(np.arange(1.0, 3), np.array([5.0, 4.0])), Line(np.ones(1), np.ones(1))
    none = Line(np.zeros(0), np.zeros(0))
    curves = group(
        "a", runs=1, records=(record(),) * 3, shorter=((train, validation), (train, none))
    )
    figure = draw_curves([curves], window=1)
    lines = figure.axes[0].lines
    assert lines_in(figure.axes[0])[2:] == [
        (COLOURS[0].lower(), data(part)) for part in (train, validation, train, none)
    ]
    assert [line.get_marker() for line in lines] == ["", "o", "x", "x", "x", "x"]
    assert [line.get_markevery() for line in lines[2:]] == [[-1], [-1], [-1], None]
    assert told(figure)[0] == "a (3 runs, 2 of them shorter): 2.0000"
    drawable(figure, tmp_path)


def test_what_has_no_curve_is_a_dotted_line_at_its_loss(tmp_path):
    figure = draw_curves([group("a"), group("pool", level=1.5)], window=1)
    lines = figure.axes[0].lines
    assert lines[0].get_linestyle() == ":"
    assert list(lines[0].get_ydata()) == [1.5, 1.5]
    assert list(lines[0].get_xdata()) == [0, 1]  # of the width of the axes
    assert told(figure) == ["pool: 1.5000", "a: 2.0000", "train", "validation"]
    assert [handle.get_linestyle() for handle in figure.legends[0].get_lines()[:2]] == [":", "-"]
    drawable(figure, tmp_path)


def test_levels_alone_need_no_word_about_lines():
    figure = draw_curves([group("pool", level=1.5), group("ngram", level=1.75)], window=1)
    assert told(figure) == ["pool: 1.5000", "ngram: 1.7500"]


def test_what_has_no_loss_yet_is_told(tmp_path):
    nothing = Curves("b", (record(),), 0, None, None, (), None)
    begun = Curves("c", (record(),), 1, band([1.0], [3.0]), None, (), None)
    figure = draw_curves([nothing, begun, group("a")], window=1)
    assert told(figure)[:3] == ["a: 2.0000", "b: no loss yet", "c: no loss yet"]
    assert lines_in(figure.axes[0])[2:] == [(COLOURS[2].lower(), [[1.0, 3.0]])]
    drawable(figure, tmp_path)


def test_a_teacher_is_told_of():
    taught = (record(teacher="pool"), record())
    assert told(draw_curves([group(records=taught, runs=2)], window=10))[1] == (
        "train, mean of 10 steps, against the teacher where there is one"
    )


def test_of_many_groups_the_best_seven_have_a_name(tmp_path):
    groups = [
        group(f"g{i}", 2 + i / 10, runs=2, records=(record(muon_rate=i, clip=i),)) for i in range(9)
    ]
    figure = draw_curves(groups[::-1], window=1)
    (axes,) = figure.axes
    grey = [line for line in lines_in(axes) if line[0] == GREY.lower()]
    assert grey == [(GREY.lower(), data(each.validation)) for each in groups[7:]]
    named = [line for line in lines_in(axes) if line[0] != GREY.lower()]
    assert named == [
        (colour.lower(), data(part))
        for colour, each in zip(COLOURS, groups[:7], strict=True)
        for part in (each.train, each.validation)
    ]
    assert len(axes.collections) == 14  # bands of those that have a name
    assert told(figure) == [
        *[f"g{i}: {2 + i / 10:.4f}" for i in range(7)],
        "2 others",
        "train",
        "validation",
    ]
    assert axes.get_ylabel() == "loss (nats a character)"
    drawable(figure, tmp_path)


def test_seven_groups_have_a_name_each_whatever_they_differ_in():
    groups = [group(f"g{i}", 2 + i, records=(record(muon_rate=i),)) for i in range(7)]
    figure = draw_curves(groups, window=1)
    assert len(figure.axes) == 1
    assert told(figure) == [*[f"g{i}: {2 + i}.0000" for i in range(7)], "train", "validation"]


@pytest.mark.parametrize(
    ("rates", "scale"), [([1, 2, 3, 4, 5, 6, 7, 9.9], "linear"), ([1, 2, 3, 4, 5, 6, 7, 10], "log")]
)
def test_many_groups_that_differ_in_one_number_have_its_colours(rates, scale, tmp_path):
    groups = [
        group(f"g{i}", 3 - i / 10, runs=2, records=(record(muon_rate=rate),) * 2)
        for i, rate in enumerate(rates)
    ]
    figure = draw_curves(groups, window=1)
    axes, bar = figure.axes
    assert bar.get_ylabel() == "muon_rate"
    assert bar.get_yscale() == scale
    assert bar.get_ylim() == pytest.approx((rates[0], rates[-1]))
    assert axes.get_ylabel() == "validation loss (nats a character)"
    assert [line for _, line in lines_in(axes)] == [data(each.validation) for each in groups[::-1]]
    colours = [colour for colour, _ in lines_in(axes)]
    assert len(set(colours)) == 8
    brightness = [sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in colours]
    assert brightness[0] == max(brightness)  # the highest number, which is the best here
    assert brightness[-1] == min(brightness)
    assert len(axes.collections) == 0
    assert axes.get_title(loc="left") == ""
    assert told(figure) == []
    drawable(figure, tmp_path)


def test_where_validation_is_too_short_to_be_seen_train_is_drawn_too():
    groups = [
        group(f"g{i}", 3 - i / 10, points=2, records=(record(muon_rate=i + 1),)) for i in range(8)
    ]
    figure = draw_curves(groups, window=3)
    assert len(figure.axes[0].lines) == 16
    assert figure.axes[0].get_ylabel() == "loss (nats a character)"
    assert told(figure) == ["train, mean of 3 steps", "validation"]


def test_rates_from_zero_on_have_no_logarithm(tmp_path):
    groups = [group(f"g{i}", records=(record(muon_rate=i),)) for i in range(8)]
    figure = draw_curves(groups, window=1)
    assert figure.axes[1].get_yscale() == "linear"
    drawable(figure, tmp_path)


def test_axes_can_be_logarithmic_and_have_numbers_within_a_decade(tmp_path):
    figure = draw_curves([group()], window=1, log=True)
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    shown = [
        label.get_text() for label in axes.get_yticklabels() if low < label.get_position()[1] < high
    ]
    assert len(shown) >= 4
    assert all(float(text) for text in shown)
    drawable(figure, tmp_path)


# activations and gradients


def layer(name="layers.0", kind="Linear", std=1.0, **more) -> Activation:
    histogram = Histogram(np.array([-1.0, 0.0, 3.0]), np.array([6, 3]))  # densities 2/3 and 1/9
    return Activation(name, kind, 9, 0.25, std, histogram, **more)


def test_each_layer_is_a_row_and_bounds_decide_the_side(tmp_path):
    layers = [
        layer("layers.0", "Embedding", 0.5),
        layer("layers.3", "Tanh", bounds=(-1, 1), saturated=0.125, dead=0.0),
        layer("gate", "sigmoid", bounds=(0, 1), saturated=0.5, dead=0.25),
        layer("gate", "GatedActivation", bounds=(-1, 1)),
        layer("layers.4", "Linear"),
    ]
    figure = draw_activations(layers, title="of mine")
    assert figure.get_suptitle() == "of mine"
    left, right = figure.axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["layers.3 Tanh", "gate sigmoid", "gate GatedActivation"]
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "layers.0 Embedding",
        "layers.4 Linear",
    ]
    assert [text.get_text() for text in left.texts] == [
        "std 1.00, 12.5 % flat",
        "std 1.00, 50.0 % flat, 25.0 % dead",
        "std 1.00",
    ]
    assert [text.get_text() for text in right.texts] == ["std 0.50", "std 1.00"]
    # Rows go down; the highest bin of each is as high.
    for number, row in enumerate(left.patches):
        heights, edges, baseline = row.get_data()
        assert baseline == -number
        assert (heights + number).tolist() == pytest.approx([0.85, 0.85 / 6])
        assert edges.tolist() == [-1, 0, 3]
    assert list(left.get_yticks()) == [0, -1, -2]
    # The dashes are where the functions are flat, in the rows that tell it.
    dashes = [path.tolist() for lines in left.collections for path in lines.get_segments()]
    assert dashes == [
        pytest.approx(np.array(each))
        for each in (
            [[-0.97, 0], [-0.97, 1]],
            [[0.97, 0], [0.97, 1]],
            [[0.015, -1], [0.015, 0]],
            [[0.985, -1], [0.985, 0]],
        )
    ]
    assert (left.get_xlabel(), right.get_xlabel()) == ("activation", "activation")
    colours = {to_hex(row.get_facecolor()) for axes in figure.axes for row in axes.patches}
    assert colours == {to_hex(by_depth(number, 5)) for number in range(5)}
    assert len(colours) == 5
    drawable(figure, tmp_path)


@pytest.mark.parametrize("kind", LEARNING)
def test_every_network_can_be_drawn(kind, tmp_path):
    network = made(LEARNING[kind])
    layers = activations_of(network, VOCABULARY, WORDS)
    figure = draw_activations(layers, title=kind)
    assert sum(len(axes.patches) for axes in figure.axes) == len(layers)
    drawable(figure, tmp_path)
    gradients = gradients_of(network, VOCABULARY, WORDS)
    figure = draw_gradients(gradients, title=kind)
    assert len(figure.axes[0].patches) == len(gradients.activations)
    drawable(figure, tmp_path)


def test_gradients_are_of_layers_and_of_matrices_in_proportion_to_them(tmp_path):
    gradients = gradients_of(made(LEARNING["flat"]), VOCABULARY, WORDS)
    figure = draw_gradients(gradients, title="of mine")
    left, middle, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        f"{each.name} {each.kind}" for each in gradients.activations
    ]
    matrices = [each for each in gradients.weights if each.name != "layers.3.weight"]
    matrices = [each for each in matrices if each.name.endswith("weight")]
    assert len(matrices) == 3
    assert [label.get_text() for label in middle.get_yticklabels()] == [m.name for m in matrices]
    assert [text.get_text() for text in middle.texts] == [f"std {m.std:.2e}" for m in matrices]
    for row, matrix in zip(middle.patches, matrices, strict=True):
        assert row.get_data().edges.tolist() == matrix.histogram.edges.tolist()
    (dots,) = right.collections
    assert dots.get_offsets().tolist() == [[m.ratio, -i] for i, m in enumerate(matrices)]
    assert right.get_xscale() == "log"
    assert right.get_ylim() == middle.get_ylim()
    low, high = right.get_xlim()
    assert [math.log10(end) % 1 for end in (low, high)] == [0, 0]
    assert low <= min(m.ratio for m in matrices) < 10 * low
    assert high / 10 <= max(m.ratio for m in matrices) < high
    for axes, rows in ((left, gradients.activations), (middle, matrices)):
        reach = 3 * max(row.std for row in rows)
        assert axes.get_xlim() == (-reach, reach)
    drawable(figure, tmp_path)


def test_gradients_that_are_all_zero_can_be_drawn(tmp_path):
    network = made(LEARNING["gru"])
    network.head.weight.data.zero_()
    gradients = gradients_of(network, VOCABULARY, WORDS)
    assert gradients.activations[0].std == 0
    figure = draw_gradients(gradients, title="")
    dots = figure.axes[2].collections[0].get_offsets().filled(math.nan)[:, 0]
    ratios = [each.ratio for each in gradients.weights if len(each.shape) > 1]
    assert sorted(set(ratios)) == [0, math.inf]  # that of the head, whose numbers are all one
    assert len(dots) == len(ratios)
    assert np.isnan(dots).all()
    drawable(figure, tmp_path)


def test_gradients_of_which_none_is_in_proportion_to_anything_can_be_drawn(tmp_path):
    network = made(LEARNING["gru"])
    for parameter in network.parameters():
        parameter.data.fill_(0.5)
    gradients = gradients_of(network, VOCABULARY, WORDS)
    assert {each.ratio for each in gradients.weights} == {math.inf}
    drawable(draw_gradients(gradients, title=""), tmp_path)


def test_gradients_none_of_which_is_there_can_be_drawn(tmp_path):
    nothing = Histogram(np.array([-0.5, 0.5]), np.array([3]))
    weight = WeightGradient("w", "Parameter", 3, 0.0, 0.0, nothing, shape=(3, 1), ratio=0.0)
    layer = Values("x", "Linear", 3, 0.0, 0.0, nothing)
    drawable(draw_gradients(NetworkGradients((layer,), (weight,)), title=""), tmp_path)


# updates


def test_updates_are_lines_on_a_logarithmic_axis_with_the_guide(tmp_path):
    ratios = {
        "first.weight": np.array([0.1, 0.0, 0.001]),
        "first.bias": np.array([1.0, 1.0, 1.0]),
        "last.weight": np.array([math.nan, 0.01, 0.02]),
    }
    updates = Updates(np.array([10, 20, 30]), ratios, ("first.weight", "last.weight"))
    figure = draw_updates(updates, title="of mine")
    (axes,) = figure.axes
    first, last, guide = axes.lines
    assert np.array_equal(first.get_xydata(), [[10, 0.1], [20, math.nan], [30, 0.001]], True)
    assert np.array_equal(last.get_xydata(), [[10, math.nan], [20, 0.01], [30, 0.02]], True)
    assert list(guide.get_ydata()) == [1e-3, 1e-3]
    assert axes.get_yscale() == "log"
    assert told(figure) == ["first.weight", "last.weight", "a thousandth"]
    assert axes.get_title() == "of mine"
    assert axes.get_ylabel() == "std of update / std of parameter"
    drawable(figure, tmp_path)


def test_where_nothing_is_a_matrix_all_parameters_are_drawn():
    updates = Updates(np.array([1]), {"bias": np.array([0.5])}, ())
    assert told(draw_updates(updates, title="")) == ["bias", "a thousandth"]


def test_more_matrices_than_can_be_read_have_no_legend_but_their_depth(tmp_path):
    names = [f"layers.{i}.weight" for i in range(31)]
    updates = Updates(np.array([1, 2]), {name: np.ones(2) for name in names}, tuple(names))
    figure = draw_updates(updates, title="")
    assert told(figure) == ["a thousandth"]
    axes, bar = figure.axes
    assert bar.get_ylabel() == "from layers.0.weight to layers.30.weight"
    assert len(axes.lines) == 32
    drawable(figure, tmp_path)


# the embedding


def test_characters_stand_at_their_places(tmp_path):
    places = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, -5.0], [1.0, 1.0]])
    embedding = EmbeddingMap(("", "a", "$", "中"), places, (0.5, 0.25), True)
    figure = draw_embedding(embedding, title="of mine")
    (axes,) = figure.axes
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert texts == {"start": (0, 1), "a": (2, 3), r"\$": (4, -5), "U+4E2D": (1, 1)}
    assert axes.collections[0].get_offsets().tolist() == places.tolist()
    assert axes.get_xlabel() == "first principal component (50 % of the variance)"
    assert axes.get_ylabel() == "second principal component (25 % of the variance)"
    assert axes.get_aspect() == 1
    drawable(figure, tmp_path)


def test_two_channels_are_called_so():
    embedding = EmbeddingMap(("", "a"), np.eye(2), (0.5, 0.5), False)
    axes = draw_embedding(embedding, title="").axes[0]
    assert axes.get_xlabel() == "first channel (50 % of the variance)"


# places


def losses(positions=(3.0, 1.0), counts=(40, 20)) -> PlaceLosses:
    return PlaceLosses(
        np.array(positions),
        np.array(counts),
        ("", "a", "b"),
        np.array([1.0, 3.0, math.nan]),
        np.array([20, 40, 0]),
        np.array([[0.5, 0.25, 0.25], [0.25, 0.7, 0.05], [math.nan] * 3]),
    )


def test_positions_are_bars_with_their_counts_below(tmp_path):
    figure = draw_positions(losses(), title="of mine")
    above, below = figure.axes
    for axes, heights in ((above, [3, 1]), (below, [40, 20])):
        assert [bar.get_height() for bar in axes.patches] == heights
        assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == [1, 2]
    (line,) = above.lines
    assert list(line.get_ydata()) == pytest.approx([140 / 60] * 2)
    assert above.texts[0].get_text() == "mean of all 2.3333"
    # What few words say is paler, and told.
    colours = [to_hex(bar.get_facecolor()) for bar in above.patches]
    assert colours == [COLOURS[0].lower(), COLOURS[5].lower()]
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["fewer than 30 words"]
    assert above.get_title() == "of mine"
    drawable(figure, tmp_path)


def test_where_all_positions_have_many_words_nothing_is_told():
    figure = draw_positions(losses(counts=(40, 30)), title="")
    assert figure.axes[0].get_legend() is None


def test_characters_have_their_loss_their_share_and_what_was_expected(tmp_path):
    figure = draw_characters(losses(), title="of mine")
    left, middle, right, bar = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["end", "a", "b"]
    assert [label.get_text() for label in right.get_xticklabels()] == ["end", "a", "b"]
    widths = [each.get_width() for each in left.patches]
    assert widths[:2] == [1, 3]
    assert math.isnan(widths[2])
    places, shares = ([each.get_width() for each in bars] for bars in middle.containers)
    assert places == pytest.approx([100 / 3, 200 / 3, 0])
    assert shares == pytest.approx([100 * 20 / 140, 100 * 120 / 140, 0])
    assert [text.get_text() for text in middle.get_legend().get_texts()] == [
        "of all places",
        "of all loss",
    ]
    (image,) = right.images
    assert np.array_equal(image.get_array().filled(math.nan), losses().chances, equal_nan=True)
    assert image.get_clim() == (0, 0.7)
    # What came is told from the top, in all three.
    assert left.get_ylim() == middle.get_ylim() == right.get_ylim() == (2.5, -0.5)
    assert bar.get_ylabel() == "chance"
    assert left.get_xlabel() == "loss where it came (nats)"
    drawable(figure, tmp_path)


def test_of_an_alphabet_that_is_too_long_those_are_shown_that_came_most_often(tmp_path):
    count = 70
    characters = ("", *map(chr, range(0x100, 0x100 + count - 1)))
    counts = np.arange(count)[::-1].copy()
    counts[:5] = 0
    many = PlaceLosses(
        np.ones(1),
        np.ones(1, int),
        characters,
        np.linspace(1, 2, count),
        counts,
        np.full((count, count), 1 / count),
    )
    figure = draw_characters(many, title="")
    left, _, right, _ = figure.axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels == list(characters[5:65])
    assert right.images[0].get_array().shape == (60, 60)
    assert [each.get_width() for each in left.patches] == pytest.approx(
        np.linspace(1, 2, count)[5:65]
    )
    drawable(figure, tmp_path)


@pytest.mark.parametrize("kind", EVERY)
def test_the_places_of_every_network_can_be_drawn(kind, tmp_path):
    found = losses_by_place(made(EVERY[kind]), VOCABULARY, ["ana", "bo"])
    drawable(draw_positions(found, title=kind), tmp_path)
    drawable(draw_characters(found, title=kind), tmp_path)


# what all have in common


@pytest.mark.parametrize(
    ("character", "text"),
    [("a", "a"), ("", "end"), (" ", "U+20"), ("\t", "U+09"), ("中", "U+4E2D"), ("ß", "ß")],
)
def test_characters_are_written_so_that_they_can_be_read(character, text):
    assert written(character, boundary="end") == text


def test_dollars_are_dollars(tmp_path):
    embedding = EmbeddingMap(("", "a"), np.eye(2), (1.0, 0.0), True)
    figure = draw_embedding(embedding, title=plain("a $x_ and $"))
    drawable(figure, tmp_path)


def test_colours_go_from_dark_to_light():
    sums = [sum(by_depth(number, 5)[:3]) for number in range(5)]
    assert sums == sorted(sums)
    assert by_depth(0, 1) == by_depth(0, 5) == colormaps["viridis"](0.0)
    assert by_depth(4, 5) == colormaps["viridis"](0.85)  # what is lighter is not seen on white


def test_a_picture_is_written_whole_in_the_format_of_its_ending(tmp_path):
    figure = draw_updates(Updates(np.array([1]), {"bias": np.array([0.5])}, ()), title="")
    save_figure(tmp_path / "a.png", figure)
    content = (tmp_path / "a.png").read_bytes()
    assert struct.unpack(">II", content[16:24]) == (1080, 660)
    save_figure(str(tmp_path / "a.svg"), figure)
    assert ET.fromstring((tmp_path / "a.svg").read_text()).tag.endswith("svg")
    with pytest.raises(ValueError, match="'frob' is not supported"):
        save_figure(tmp_path / "a.frob", figure)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]
    assert pyplot.get_fignums() == []
