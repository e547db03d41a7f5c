import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from runs_on_disk import write_run
from tiny_networks import EVERY, LEARNING, SEQUENCES, VOCABULARY, WINDOWS, WORDS, made

from typedwave.lab import UnknownCharacterError, evaluate, examples, sequences
from typedwave.lab.looking.diagnostics import (
    SATURATED,
    activations_of,
    embedding_map,
    gradients_of,
    losses_by_place,
    places,
    updates_of,
)
from typedwave.lab.looking.diagnostics.numbers import Values, in_short
from typedwave.lab.runs.metrics import METRICS, Point, lines_of
from typedwave.lab.runs.record import read_record
from typedwave.models import NetworkConfig, RecurrentConfig, TransformerConfig, sequence_model

SOME = st.lists(st.text("abcdefgio", max_size=9), min_size=1, max_size=9)


def message_of(kind: type[Exception], act) -> str:
    with pytest.raises(kind) as caught:
        act()
    return str(caught.value)


def values_at(network, name: str, words) -> torch.Tensor:
    """What a layer gives, one word after another, so that there is no padding: ``(N, C)``."""
    found = []

    def hook(module, given, result):
        y = result[0] if isinstance(result, tuple) else result
        found.append(y.flatten(0, -2))

    handle = network.get_submodule(name).register_forward_hook(hook)
    with torch.no_grad():
        for word in words:
            network.eval()(ids_of(network, word))
    handle.remove()
    return torch.cat(found)


def ids_of(network, word: str) -> torch.Tensor:
    if hasattr(network, "context"):
        return examples([word], VOCABULARY, context=network.context).contexts
    return sequences([word], VOCABULARY).ids


def targets_of(word: str) -> torch.Tensor:
    return torch.tensor([*VOCABULARY.encode(word), 0])


def losses_of_word(network, word: str) -> torch.Tensor:
    """The loss at each position of a word, by the plainest way there is."""
    logits = sequence_model(network).eval()(sequences([word], VOCABULARY).ids)[0]
    return F.cross_entropy(logits, targets_of(word), reduction="none")


# the loss by place


@pytest.mark.parametrize("kind", EVERY)
@given(words=SOME, at_once=st.integers(1, 11))
@settings(max_examples=12)
def test_all_places_together_have_the_loss_that_evaluate_computes(kind, words, at_once):
    network = made(EVERY[kind])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "_EXAMPLES_AT_ONCE", at_once)
        patch.setattr(places, "_WORDS_AT_ONCE", at_once)
        found = losses_by_place(network, VOCABULARY, words)
    if hasattr(network, "context"):
        data = examples(words, VOCABULARY, context=network.context)
    else:
        data = sequences(words, VOCABULARY)
    expected = evaluate(network, data)
    assert found.loss == pytest.approx(expected, rel=1e-6)  # evaluate adds up in float32
    came = found.character_counts > 0
    by_character = found.by_character[came] @ found.character_counts[came]
    assert by_character / found.character_counts.sum() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", EVERY)
@given(words=SOME)
@settings(max_examples=8)
def test_each_place_has_the_mean_of_what_each_word_alone_has_there(kind, words):
    network = made(EVERY[kind])
    found = losses_by_place(network, VOCABULARY, words)
    by_position, by_character = {}, {}
    with torch.no_grad():
        for word in words:
            for position, loss in enumerate(losses_of_word(network, word).tolist()):
                by_position.setdefault(position, []).append(loss)
                character = word[position] if position < len(word) else ""
                by_character.setdefault(character, []).append(loss)
    # The last positions are those of the longest word, so there is none without a word.
    assert found.position_counts.tolist() == [len(by_position[i]) for i in range(len(by_position))]
    means = [np.mean(by_position[i]) for i in range(len(by_position))]
    assert found.by_position == pytest.approx(means, rel=1e-4)  # batches add up in another order
    assert found.characters == ("", *VOCABULARY.characters)
    for character, mean, count in zip(
        found.characters, found.by_character, found.character_counts, strict=True
    ):
        assert count == len(by_character.get(character, []))
        if count:
            assert mean == pytest.approx(np.mean(by_character[character]), rel=1e-4)
        else:
            assert math.isnan(mean)


@pytest.mark.parametrize("kind", EVERY)
def test_chances_are_those_that_were_given_where_a_character_came(kind):
    network = made(EVERY[kind])
    found = losses_by_place(network, VOCABULARY, WORDS)
    expected = torch.zeros(len(VOCABULARY), len(VOCABULARY))
    with torch.no_grad():
        for word in WORDS:
            logits = sequence_model(network).eval()(sequences([word], VOCABULARY).ids)[0]
            for target, chances in zip(targets_of(word), logits.softmax(-1), strict=True):
                expected[target] += chances
    expected /= torch.from_numpy(found.character_counts)[:, None]
    came = found.character_counts > 0
    assert found.chances[came] == pytest.approx(expected.numpy()[came], rel=1e-4)
    assert found.chances[came].sum(1) == pytest.approx(1.0, rel=1e-6)
    assert np.isnan(found.chances[~came]).all()


def test_what_never_came_has_no_mean():
    found = losses_by_place(made(EVERY["gru"]), VOCABULARY, ["ab", "a"])
    there = dict(zip(found.characters, found.character_counts.tolist(), strict=True))
    assert {name: count for name, count in there.items() if count} == {"": 2, "a": 2, "b": 1}
    assert np.isnan(found.by_character).tolist() == [not there[name] for name in found.characters]
    assert found.position_counts.tolist() == [2, 2, 1]


# activations


@pytest.mark.parametrize("kind", LEARNING)
def test_layers_are_in_the_order_of_their_calls_and_what_changes_nothing_is_no_layer(kind):
    kinds = [layer.kind for layer in activations_of(made(LEARNING[kind]), VOCABULARY, WORDS)]
    gate = ["CausalConv1d", "tanh", "sigmoid", "GatedActivation", "Linear"]
    level = ["Linear", "BatchNorm1d", "Tanh"]
    norms = ["LayerNorm", "TokenShift", "Linear", "LayerNorm", "TokenShift", "Linear", "Linear"]
    assert (
        kinds
        == {
            "flat": ["Embedding", *level, "Linear"],
            "hierarchical": ["Embedding", *level, *level, "Linear"],
            "wavenet": ["Embedding", "RMSNorm", *gate, "RMSNorm", *gate, "RMSNorm", "Linear"],
            "wavenet with skips": ["Embedding", *gate, "Linear", *gate] + ["ReLU", "Linear"] * 2,
            "rnn": ["Embedding", "RNN", "Linear"],
            "gru": ["Embedding", "GRU", "Linear"],
            "lstm": ["Embedding", "LSTM", "Linear"],
            "transformer": ["Embedding", *norms, *norms, "LayerNorm", "Linear"],
        }[kind]
    )


@pytest.mark.parametrize("kind", LEARNING)
@given(words=SOME)
@settings(max_examples=8)
def test_the_numbers_of_a_layer_are_those_that_the_words_give_one_by_one(kind, words):
    network = made(LEARNING[kind])
    for layer in activations_of(network, VOCABULARY, words):
        if layer.kind in ("tanh", "sigmoid"):
            continue  # below
        expected = values_at(network, layer.name, words).double()
        assert layer.count == expected.numel()
        assert layer.mean == pytest.approx(expected.mean().item(), abs=1e-5)
        assert layer.std == pytest.approx(expected.std(correction=0).item(), abs=1e-5)
        assert layer.histogram.counts.sum() == layer.count


@pytest.mark.parametrize("kind", ["wavenet", "wavenet with skips"])
def test_a_gate_is_told_by_its_factors(kind):
    network = made(LEARNING[kind])
    with torch.no_grad():  # so that there is something flat
        for block in network.blocks:
            block.conv.weight.mul_(9)
    layers = [
        layer
        for layer in activations_of(network, VOCABULARY, WORDS)
        if layer.name == "blocks.1.gate"
    ]
    x = values_at(network, "blocks.1.conv", WORDS).double()
    filtered, gate = x[:, :5].tanh(), x[:, 5:].sigmoid()
    assert [layer.kind for layer in layers] == ["tanh", "sigmoid", "GatedActivation"]
    assert [layer.bounds for layer in layers] == [(-1, 1), (0, 1), (-1, 1)]
    assert layers[0].mean == pytest.approx(filtered.mean().item(), abs=1e-6)
    assert layers[1].mean == pytest.approx(gate.mean().item(), abs=1e-6)
    assert layers[2].mean == pytest.approx((filtered * gate).mean().item(), abs=1e-6)
    assert 0.1 < layers[0].saturated == (filtered.abs() > SATURATED).double().mean().item()
    flat = (gate < (1 - SATURATED) / 2) | (gate > (1 + SATURATED) / 2)
    assert 0.1 < layers[1].saturated == flat.double().mean().item()
    assert layers[2].saturated is None
    assert layers[2].dead is None


@pytest.mark.parametrize("kind", [*WINDOWS, "rnn"])
def test_the_share_of_a_tanh_that_is_saturated_and_of_its_channels_that_are_dead(kind):
    network = made(LEARNING[kind])
    with torch.no_grad():
        if kind == "rnn":
            name = "recurrent"
            network.recurrent.bias_ih_l0[:2] = torch.tensor([50.0, -50.0])
            network.recurrent.weight_ih_l0.mul_(5)
        else:
            name = "layers.4"
            network.layers[3].bias[:2] = torch.tensor([50.0, -50.0])
    layer = next(x for x in activations_of(network, VOCABULARY, WORDS) if x.name == name)
    y = values_at(network, name, WORDS)
    assert layer.kind in ("Tanh", "RNN")
    assert layer.bounds == (-1, 1)
    assert layer.saturated == (y.abs() > 0.97).double().mean().item()
    assert 0.4 < layer.saturated < 1
    assert layer.dead == 2 / 5


def test_a_channel_that_one_word_brings_back_is_not_dead():
    network = made(WINDOWS["flat"])
    with torch.no_grad():  # channel 0 is 5 in front of the tanh, and 0 where the window has an i
        network.layers[0].weight.zero_()[VOCABULARY.encode("i")[0]] = 1.0
        network.layers[2].weight.zero_()[0] = -5 / 4
        network.layers[3].reset_parameters()
        network.layers[3].bias[0] = 5.0
    found = {
        words: next(x for x in activations_of(network, VOCABULARY, words) if x.kind == "Tanh")
        for words in (("ana", "bo"), ("ana", "bo", "ida"))
    }
    assert found["ana", "bo"].saturated == found["ana", "bo"].dead == 1 / 5
    assert found["ana", "bo", "ida"].dead == 0
    assert found["ana", "bo", "ida"].saturated == pytest.approx(8 / 11 / 5)  # 3 of 11 have seen it


def test_a_relu_is_flat_at_zero():
    network = made(SEQUENCES["wavenet with skips"])
    layers = {x.name: x for x in activations_of(network, VOCABULARY, WORDS)}
    for name in ("head.0", "head.2"):
        y = values_at(network, name, WORDS)
        assert layers[name].saturated == (y == 0).double().mean().item()
        assert layers[name].dead == (y == 0).all(0).double().mean().item()
        assert layers[name].bounds is None


def test_an_rnn_that_is_no_tanh_has_no_bounds():
    network = made(RecurrentConfig(network="rnn", n_embd=3, n_hidden=5))
    network.recurrent.nonlinearity = "relu"
    layer = activations_of(network, VOCABULARY, WORDS)[1]
    assert (layer.kind, layer.bounds, layer.saturated) == ("RNN", None, None)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_layer_with_gates_of_its_own_has_bounds_but_nothing_is_said_of_where_it_is_flat(kind):
    layer = activations_of(made(SEQUENCES[kind]), VOCABULARY, WORDS)[1]
    assert (layer.bounds, layer.saturated, layer.dead) == ((-1, 1), None, None)


# gradients


@pytest.mark.parametrize("kind", LEARNING)
@given(words=SOME)
@settings(max_examples=8)
def test_gradients_are_those_of_the_words_one_by_one(kind, words):
    network = made(LEARNING[kind]).eval()
    found = gradients_of(network, VOCABULARY, words)
    kept: dict[str, list[torch.Tensor]] = {layer.name: [] for layer in found.activations}

    def hook(name):
        def keep(module, given, result):
            y = result[0] if isinstance(result, tuple) else result
            y.retain_grad()
            kept[name].append(y)

        return keep

    for name in kept:
        network.get_submodule(name).register_forward_hook(hook(name))
    for word in words:
        logits = network(ids_of(network, word)).reshape(-1, len(VOCABULARY))
        F.cross_entropy(logits, targets_of(word), reduction="sum").backward()
    for layer in found.activations:
        expected = torch.cat([y.grad.flatten() for y in kept[layer.name]]).double()
        assert layer.count == len(expected)
        assert layer.mean == pytest.approx(expected.mean().item(), rel=1e-3, abs=1e-6)
        assert layer.std == pytest.approx(expected.std(correction=0).item(), rel=1e-3, abs=1e-7)
    parameters = dict(network.named_parameters())
    places = sum(len(word) + 1 for word in words)
    for weight in found.weights:
        gradient = parameters[weight.name].grad.double() / places
        assert weight.shape == tuple(gradient.shape)
        spread = gradient.std(correction=0).item()
        assert weight.mean == pytest.approx(gradient.mean().item(), rel=1e-3, abs=1e-6)
        assert weight.std == pytest.approx(spread, rel=1e-3, abs=1e-7)
        size = parameters[weight.name].detach().double().std(correction=0).item()
        if size:
            assert weight.ratio == pytest.approx(spread / size, rel=1e-3, abs=1e-6)
        else:
            assert weight.ratio == math.inf


@pytest.mark.parametrize("kind", LEARNING)
def test_every_layer_and_parameter_has_a_gradient(kind):
    network = made(LEARNING[kind])
    found = gradients_of(network, VOCABULARY, WORDS)
    layers = activations_of(network, VOCABULARY, WORDS)
    names = [x.name for x in layers if x.kind not in ("tanh", "sigmoid")]
    assert [x.name for x in found.activations] == names
    assert [x.name for x in found.weights] == [name for name, _ in network.named_parameters()]


def test_what_is_frozen_or_takes_no_part_has_none():
    network = made(SEQUENCES["gru"])
    network.head.bias.requires_grad_(False)
    network.register_parameter("idle", torch.nn.Parameter(torch.ones(2)))
    names = [weight.name for weight in gradients_of(network, VOCABULARY, WORDS).weights]
    assert names == [n for n, _ in network.named_parameters() if n not in ("head.bias", "idle")]
    network.embedding.weight.requires_grad_(False)
    kinds = [layer.kind for layer in gradients_of(network, VOCABULARY, WORDS).activations]
    assert kinds == ["GRU", "Linear"]


def test_twice_the_words_is_twice_as_many_gradients_of_the_same_size():
    network = made(SEQUENCES["wavenet"])
    once, twice = (gradients_of(network, VOCABULARY, WORDS * n) for n in (1, 2))
    for first, second in zip(once.activations, twice.activations, strict=True):
        assert second.count == 2 * first.count
        assert second.std == pytest.approx(first.std, rel=1e-5)
    for first, second in zip(once.weights, twice.weights, strict=True):
        assert second.count == first.count
        assert second.std == pytest.approx(first.std, rel=1e-4)


# the embedding


def test_an_embedding_of_two_channels_is_the_map():
    network = made(NetworkConfig(context=4, n_embd=2, n_hidden=5))
    found = embedding_map(network, VOCABULARY)
    table = network.layers[0].weight.detach().double()
    assert np.array_equal(found.places, table.numpy())
    assert found.characters == ("", *VOCABULARY.characters)
    assert not found.principal
    variance = table.var(0, correction=0)
    assert found.explained == pytest.approx((variance / variance.sum()).tolist())


@pytest.mark.parametrize("n_embd", [3, 5, 8])
def test_other_embeddings_are_seen_along_their_principal_components(n_embd):
    network = made(RecurrentConfig(n_embd=n_embd, n_hidden=5))
    found = embedding_map(network, VOCABULARY)
    rows = network.embedding.weight.detach().double().numpy()
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    expected = (rows - rows.mean(0)) @ vectors[:, ::-1][:, :2]
    assert found.principal
    assert found.explained == pytest.approx(values[::-1][:2] / values.sum())
    for axis in (0, 1):
        place = found.places[:, axis]
        assert np.abs(place) == pytest.approx(np.abs(expected[:, axis]), abs=1e-9)
        assert place[np.abs(place).argmax()] > 0  # which decides the sign
        assert abs(place @ expected[:, axis]) == pytest.approx(place @ place)


def test_one_channel_is_an_axis():
    network = made(RecurrentConfig(n_embd=1, n_hidden=5))
    found = embedding_map(network, VOCABULARY)
    rows = network.embedding.weight.detach().double()[:, 0]
    assert np.abs(found.places[:, 0]) == pytest.approx((rows - rows.mean()).abs().numpy())
    assert (found.places[:, 1] == 0).all()
    assert found.explained == pytest.approx((1.0, 0.0))


def test_characters_that_are_all_at_one_place_explain_nothing():
    network = made(TransformerConfig(n_embd=6, n_hidden=5, num_heads=2))
    torch.nn.init.ones_(network.embedding.weight)
    found = embedding_map(network, VOCABULARY)
    assert found.explained == (0.0, 0.0)
    assert np.array_equal(found.places, np.zeros((len(VOCABULARY), 2)))


# updates


def test_updates_are_those_of_the_points_in_the_order_of_the_network(tmp_path):
    write_run(tmp_path / "run", WINDOWS["flat"], steps=0)
    updates = [
        {"layers.5.bias": 0.5, "layers.2.weight": 0.25, "layers.0.weight": 0.125},
        {"layers.5.bias": math.inf, "layers.2.weight": 0.0, "layers.0.weight": math.nan},
        {"of.another": 1.0, "layers.2.weight": 0.03125, "layers.3.weight": 1.0},
    ]
    text = ""
    for number, each in enumerate(updates):
        point = Point(2 * number + 2, 0.0, 2.0, each)
        text += lines_of([3.0, 2.0], [0.1, 0.1], 2 * number, point)
    (tmp_path / "run" / METRICS).write_text(text)
    found = updates_of(read_record(tmp_path / "run"))
    assert found.steps.tolist() == [2, 4, 6]
    names = ["layers.0.weight", "layers.2.weight", "layers.3.weight", "layers.5.bias"]
    assert list(found.ratios) == names
    none = math.nan
    expected = [[0.125, none, none], [0.25, 0.0, 0.03125], [none, none, 1.0], [0.5, none, none]]
    assert np.array_equal(np.stack([*found.ratios.values()]), expected, equal_nan=True)
    assert found.matrices == ("layers.0.weight", "layers.2.weight")


def test_points_without_updates_are_left_out(tmp_path):
    write_run(tmp_path / "run", steps=0)
    text = lines_of([3.0], [0.1], 0, Point(1, 3.0, 3.0))
    text += lines_of([3.0], [0.1], 1, Point(2, 3.0, 3.0, {"head.weight": 0.5}))
    (tmp_path / "run" / METRICS).write_text(text)
    found = updates_of(read_record(tmp_path / "run"))
    assert found.steps.tolist() == [2]
    assert found.ratios["head.weight"].tolist() == [0.5]


@pytest.mark.parametrize("kind", ["ngram", "pool", "gru"])
def test_metrics_that_do_not_tell_are_told(kind, tmp_path):
    record = write_run(tmp_path / "run", steps=0)
    assert message_of(ValueError, lambda: updates_of(record)) == (
        f"the metrics of {tmp_path / 'run'} do not tell how far a step moved the parameters"
    )


# the numbers in short


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60))
def test_a_histogram_counts_every_number_once_and_integrates_to_one(numbers):
    tensor = torch.tensor(numbers)
    found = Values(**in_short("x", "Linear", tensor))
    assert (found.name, found.kind, found.count) == ("x", "Linear", len(numbers))
    assert found.mean == pytest.approx(np.mean(numbers), abs=1e-6)
    assert found.std == pytest.approx(np.std(numbers), abs=1e-6)
    histogram = found.histogram
    assert histogram.counts.sum() == len(numbers)
    assert (np.diff(histogram.edges) > 0).all()
    assert (histogram.density * np.diff(histogram.edges)).sum() == pytest.approx(1)
    inside = (histogram.edges[1] <= tensor.double()) & (tensor.double() < histogram.edges[-2])
    assert histogram.counts[1:-1].sum() == inside.sum()


def test_a_number_far_away_does_not_make_the_bins_wide():
    numbers = torch.cat([torch.linspace(-1, 1, 999), torch.tensor([1e4])])
    found = Values(**in_short("x", "Linear", numbers))
    assert found.histogram.edges[0] == -1
    assert found.histogram.edges[-1] == pytest.approx(found.mean + 5 * found.std)
    assert found.histogram.counts[-1] == 1
    found = Values(**in_short("x", "Linear", -numbers))
    assert found.histogram.edges[0] == pytest.approx(found.mean - 5 * found.std)
    assert found.histogram.edges[-1] == 1
    assert found.histogram.counts[0] == 1


def test_the_edges_of_a_function_with_bounds_are_its_bounds():
    found = Values(**in_short("x", "Tanh", torch.tensor([-0.5, 0.5]), (-1.0, 1.0)))
    assert (found.histogram.edges[0], found.histogram.edges[-1]) == (-1, 1)
    assert found.histogram.edges == pytest.approx(np.linspace(-1, 1, 81))
    assert np.flatnonzero(found.histogram.counts).tolist() == [20, 60]


@pytest.mark.parametrize("number", [0.0, -3.0, 1e-30, 1e30])
def test_numbers_that_are_all_one_are_in_the_middle_of_a_histogram(number):
    histogram = Values(**in_short("x", "Linear", torch.full((7,), number))).histogram
    assert histogram.edges[0] < number < histogram.edges[-1]
    assert histogram.counts.tolist() == [0] * 40 + [7] + [0] * 39


def test_numbers_that_differ_by_a_rounding_are_taken_for_one():
    numbers = torch.tensor([1.0, 1.0 + 2**-52], dtype=torch.float64)
    histogram = Values(**in_short("x", "Linear", numbers)).histogram
    assert (np.diff(histogram.edges) > 0.001).all()
    assert histogram.counts.sum() == 2


# what is refused, and what is left behind

LOOKS = {
    "activations": activations_of,
    "gradients": gradients_of,
    "embedding": lambda network, vocabulary, words: embedding_map(network, vocabulary),
    "places": losses_by_place,
}


@pytest.mark.parametrize("kind", ["ngram", "pool"])
@pytest.mark.parametrize("look", ["activations", "gradients", "embedding"])
def test_n_grams_and_pools_have_no_layers_to_look_at(kind, look):
    network = made(EVERY[kind])
    assert message_of(ValueError, lambda: LOOKS[look](network, VOCABULARY, WORDS)) == (
        "activations, gradients and an embedding are of one network that learns by gradients, but "
        f"this one is of kind {kind}; its losses by position and by character can be looked at"
    )


@pytest.mark.parametrize("look", ["activations", "gradients", "places"])
@pytest.mark.parametrize("kind", ["flat", "gru"])
def test_there_has_to_be_a_word(look, kind):
    network = made(EVERY[kind])
    message = message_of(ValueError, lambda: LOOKS[look](network, VOCABULARY, []))
    assert message == "there is no word to look at"


@pytest.mark.parametrize("look", ["activations", "gradients", "places"])
@pytest.mark.parametrize("kind", ["flat", "gru"])
def test_characters_have_to_be_known(look, kind):
    network = made(EVERY[kind])
    message = message_of(
        UnknownCharacterError, lambda: LOOKS[look](network, VOCABULARY, ["ana", "zoe"])
    )
    assert message.startswith("'zoe' has characters that the vocabulary lacks: 'z'")


def everything(network):
    """What a look must leave as it was."""
    return (
        [module.training for module in network.modules()],
        [module._forward_hooks for module in network.modules()],
        [(p.requires_grad, p.grad if p.grad is None else p.grad.clone(), p.is_leaf)
         for p in network.parameters()],
        {name: tensor.clone() for name, tensor in network.state_dict().items()},
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    )  # fmt: skip


def check_same(before, after) -> None:
    modes, hooks, parameters, state, generator, enabled = before
    assert modes == after[0]
    assert all(not hook for hook in [*hooks, *after[1]])
    for (learns, gradient, leaf), (learns_now, gradient_now, leaf_now) in zip(
        parameters, after[2], strict=True
    ):
        assert (learns, leaf) == (learns_now, leaf_now)
        assert (gradient is None) == (gradient_now is None)
        assert gradient is None or torch.equal(gradient, gradient_now)
    assert state.keys() == after[3].keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, after[3][name]), name
    assert torch.equal(generator, after[4])
    assert enabled == after[5]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", LEARNING)
@pytest.mark.parametrize("training", [True, False])
def test_a_look_leaves_the_network_as_it_was(look, kind, training):
    network = made(LEARNING[kind]).train(training)
    network.get_submodule(next(n for n, _ in network.named_children())).train(not training)
    first = next(network.parameters())
    first.grad = torch.ones_like(first)
    before = everything(network)
    LOOKS[look](network, VOCABULARY, WORDS)
    check_same(before, everything(network))


@pytest.mark.parametrize("look", ["activations", "gradients", "places"])
@pytest.mark.parametrize("kind", LEARNING)
def test_a_look_that_fails_does_too(look, kind):
    network = made(LEARNING[kind]).train()
    last = [module for module in network.modules() if not list(module.children())][-1]
    last.forward = lambda x: 1 / 0
    before = everything(network)
    with pytest.raises(ZeroDivisionError):
        LOOKS[look](network, VOCABULARY, WORDS)
    check_same(before, everything(network))


@pytest.mark.parametrize("look", ["activations", "gradients"])
def test_dropout_leaves_nothing_out(look):
    config = TransformerConfig(n_embd=6, n_hidden=10, num_heads=2, dropout=0.9)
    network = made(config).train()
    first, second = (LOOKS[look](network, VOCABULARY, WORDS) for _ in range(2))
    if look == "gradients":
        first, second = first.activations, second.activations
    assert [layer.mean for layer in first] == [layer.mean for layer in second]
    assert "Dropout" not in {layer.kind for layer in first}


def test_gradients_are_computed_where_they_are_switched_off():
    network = made(SEQUENCES["gru"])
    with torch.no_grad():
        assert gradients_of(network, VOCABULARY, WORDS).weights
        assert not torch.is_grad_enabled()
