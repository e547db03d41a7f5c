"""What every model of sequences does, whatever its kind."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from streamed import (
    CONFIGS,
    EXAMPLES,
    assert_close,
    cuts,
    in_pieces,
    looking_trained,
    made,
    of_each_example,
    of_each_kind,
    random_ids,
    refusal,
)
from torch._dynamo.backends.debugging import aot_eager

from typedwave import IdOutOfRangeError, ShapeError
from typedwave.models import Dilated, NGram, Pool, Windowed, build, sequence_model
from typedwave.nn import State

seeds = st.integers(0, 2**32)


# streaming


@of_each_kind
@torch.no_grad()
@given(data=st.data(), seed=seeds, batch=st.integers(1, 3), length=st.integers(1, 24))
def test_in_any_pieces_a_sequence_has_the_logits_that_it_has_as_a_whole(
    kind, data, seed, batch, length
):
    model = made(data.draw(CONFIGS[kind]), seed=seed)
    ids = random_ids(batch, length, seed=seed)
    # Sums in another order.
    assert_close(in_pieces(model, ids, data.draw(cuts(length))), model(ids))


@of_each_kind
@torch.no_grad()
@given(data=st.data(), seed=seeds)
def test_after_a_selection_each_row_goes_on_from_what_it_was(kind, data, seed):
    model = made(data.draw(CONFIGS[kind]), seed=seed)
    batch = data.draw(st.integers(1, 3))
    state, history = model.initial_state(batch), random_ids(batch, 0)
    for step in range(data.draw(st.integers(2, 4))):
        if data.draw(st.booleans()):  # also before the first position
            # Repeated, dropped, in another order, or all gone.
            rows = torch.tensor(data.draw(st.lists(st.integers(0, batch - 1), max_size=4)))
            rows = rows.long()
            state.select(rows)
            history = history[rows]
            batch = len(rows)
            if batch == 0:
                return
        piece = random_ids(batch, data.draw(st.integers(1, 5)), seed=seed + step)
        history = torch.cat([history, piece], 1)
        # Sums in another order.
        assert_close(model.stream(piece, state), model(history)[:, -piece.shape[1] :])


@of_each_example
@torch.no_grad()
def test_streams_of_one_model_do_not_know_of_one_another(config):
    model = made(config)
    one, other = random_ids(2, 7, seed=1), random_ids(3, 7, seed=2)
    states = [model.initial_state(2), model.initial_state(3)]
    assert all(isinstance(state, State) for state in states)
    for t in range(7):
        for ids, state in zip((one, other), states, strict=True):
            step = model.stream(ids[:, t : t + 1], state)
            assert_close(step, model(ids)[:, t : t + 1])


@of_each_example
@torch.no_grad()
def test_a_stream_leaves_its_ids_and_the_model_as_they_were(config):
    model, ids = made(config), random_ids(2, 7)
    before, given_ids = copy.deepcopy(model.state_dict()), ids.clone()
    in_pieces(model, ids, [3, 1, 1, 2])
    assert torch.equal(ids, given_ids)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@of_each_example
@torch.no_grad()
def test_logits_that_a_stream_gave_stay_what_they_were(config):
    model, ids = made(config), random_ids(2, 9)
    state = model.initial_state(2)
    given_logits = [model.stream(ids[:, t : t + 1], state) for t in range(9)]
    kept = [logits.clone() for logits in given_logits]
    state.select(torch.tensor([1, 1]))
    model.stream(ids, state)
    assert all(torch.equal(*pair) for pair in zip(given_logits, kept, strict=True))


@of_each_example
@torch.no_grad()
def test_no_position_has_no_logits_and_a_stream_of_none_changes_nothing(config):
    model, ids = made(config), random_ids(2, 4)
    assert model(ids[:, :0]).shape == (2, 0, 5)
    assert_close(in_pieces(model, ids, [0, 3, 0, 1, 0]), model(ids))


@of_each_example
@torch.no_grad()
def test_no_sequence_has_no_logits(config):
    model = made(config)
    assert model(random_ids(0, 3)).shape == (0, 3, 5)
    assert model.stream(random_ids(0, 3), model.initial_state(0)).shape == (0, 3, 5)


# what a position depends on


@of_each_kind
@torch.no_grad()
@given(data=st.data(), seed=seeds)
def test_what_comes_after_a_position_does_not_matter_to_it(kind, data, seed):
    model = made(data.draw(CONFIGS[kind]), seed=seed)
    length = data.draw(st.integers(1, 12))
    ids = random_ids(2, length, seed=seed)
    padded = torch.cat([ids, random_ids(2, data.draw(st.integers(1, 5)), seed=seed + 1)], 1)
    # Sums in another order, as the sizes are others.
    assert_close(model(padded)[:, :length], model(ids))


@of_each_kind
@torch.no_grad()
@given(data=st.data(), seed=seeds)
def test_what_is_before_the_receptive_field_does_not_matter(kind, data, seed):
    model = made(data.draw(CONFIGS[kind]), seed=seed)
    field = model.receptive_field
    if field is not None:
        ids = random_ids(2, field + 3, seed=seed)
        before = [random_ids(2, 3, seed=seed + n) for n in (1, 2)]
        one, other = (model(torch.cat([start, ids], 1))[:, -4:] for start in before)
        assert_close(one, other)


# gradients


TRAINED = {name: config for name, config in EXAMPLES.items() if name != "ngram"}
of_each_trained = pytest.mark.parametrize("config", TRAINED.values(), ids=TRAINED.keys())


@of_each_trained
@pytest.mark.parametrize("training", [False, True])
def test_gradients_reach_every_parameter(config, training):
    model, ids = made(config).train(training), random_ids(4, 20)
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, [*parameters.values()])
    for name, gradient in zip(parameters, gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.abs().max() > 1e-9, name


@of_each_trained
def test_it_learns_a_sequence_by_heart(config):
    model = made(config, dtype=torch.float32).train()
    ids = random_ids(2, 8, seed=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


# as a module


@of_each_example
@torch.no_grad()
def test_a_state_dict_makes_one_of_other_weights_the_same(config):
    model, ids = made(config, seed=1), random_ids(2, 9)
    other = sequence_model(looking_trained(build_like(config), seed=2))
    assert not torch.equal(other(ids), model(ids))
    assert other.load_state_dict(model.state_dict()) == ([], [])
    assert torch.equal(other(ids), model(ids))
    assert torch.equal(in_pieces(other, ids, [4, 5]), in_pieces(model, ids, [4, 5]))


def build_like(config):
    generator = torch.Generator().manual_seed(9)
    return build(config, vocab_size=5, generator=generator, dtype=torch.float64)


@of_each_example
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@torch.no_grad()
def test_a_copy_gives_the_same_and_is_independent(config, copied):
    model, ids = made(config), random_ids(2, 9)
    expected = model(ids)
    other = copied(model)
    assert repr(other) == repr(model)
    assert torch.equal(other(ids), expected)
    assert torch.equal(in_pieces(other, ids, [4, 5]), in_pieces(model, ids, [4, 5]))
    looking_trained(other, seed=7)
    assert not torch.equal(other(ids), expected)
    assert torch.equal(model(ids), expected)


@of_each_example
@torch.no_grad()
def test_a_state_can_be_copied_to_go_two_ways_from_one_place(config):
    model, ids = made(config), random_ids(2, 6)
    state = model.initial_state(2)
    model.stream(ids, state)
    other = copy.deepcopy(state)
    ways = [random_ids(2, 3, seed=seed) for seed in (4, 5)]
    for way, at in zip(ways, (state, other), strict=True):
        assert_close(model.stream(way, at), model(torch.cat([ids, way], 1))[:, 6:])


@of_each_example
@torch.no_grad()
def test_it_has_the_dtype_asked_for(config):
    for dtype in (torch.float32, torch.bfloat16):
        model = made(config, dtype=dtype)
        assert {t.dtype for t in model.state_dict().values() if t.is_floating_point()} == {dtype}
        logits = model(random_ids(2, 3))
        assert logits.dtype == dtype
        assert in_pieces(model, random_ids(2, 3), [2, 1]).dtype == dtype
    # One that was converted has the numbers of the other one.
    single, ids = made(config, dtype=torch.float32), random_ids(2, 9)
    assert_close(copy.deepcopy(single).double()(ids).float(), single(ids))


@of_each_example
@torch.no_grad()
def test_without_data_it_computes_shapes(config):
    model, ids = made(config).to("meta"), random_ids(2, 9).to("meta")
    logits = model(ids)
    assert logits.is_meta
    assert logits.shape == (2, 9, 5)
    state = model.initial_state(2)
    assert model.stream(ids, state).is_meta


# A table of n-grams is compiled in tests/models/test_ngram.py.
COMPILED = [name for name in EXAMPLES if name not in ("ngram", "pool")]


@pytest.mark.parametrize("name", COMPILED)
@torch.no_grad()
def test_compiled_as_one_graph_for_any_batch_and_length_it_gives_the_same(name):
    model, graphs = made(EXAMPLES[name]), []
    recurs = name in ("rnn", "gru", "lstm")

    def counted(graph, inputs):
        graphs.append(graph)
        # AOTAutograd has no LSTM.
        return graph if recurs else aot_eager(graph, inputs)

    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):  # which it does not trace otherwise
        compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counted)
        compiled(random_ids(3, 11))
        once = len(graphs)
        # Torch's kernels of recurrent layers are compiled for a length.
        for batch, length in ((3, 11), (2, 11 if recurs else 7), (5, 11 if recurs else 13)):
            ids = random_ids(batch, length)
            # Sums in another order.
            assert_close(compiled(ids), model(ids))
    torch._dynamo.reset()
    assert len(graphs) == once


# what it refuses


@of_each_example
@torch.no_grad()
def test_ids_of_another_dtype_or_shape_are_refused_at_the_door(config):
    model = made(config)
    name = type(model).__name__
    for call in (model, lambda ids: model.stream(ids, model.initial_state(2))):
        assert refusal(call, random_ids(2, 3).float(), kind=ShapeError) == (
            f"{name}: ids has the wrong dtype\n"
            '  expected  Int64 "B T"\n'
            "  got       f32[2, 3]   its dtype is float32\n"
            "  perhaps   ids.long()"
        )
        assert refusal(call, random_ids(2), kind=ShapeError) == (
            f"{name}: ids has the wrong shape\n"
            '  expected  Int64 "B T"\n'
            "  got       i64[2]   it has 1 axis"
        )


@of_each_example
def test_a_state_that_was_made_with_gradients_serves_without_them(config):
    model, ids = made(config), random_ids(2, 4)
    state = model.initial_state(2)
    with torch.no_grad():
        assert_close(model.stream(ids, state), model(ids))


@of_each_example
@torch.no_grad()
def test_an_id_out_of_range_is_named_with_its_place_in_what_was_given(config):
    model, ids = made(config), random_ids(2, 4)
    ids[1, 2], ids[0, 3] = 5, -1
    for call in (model, lambda ids: model.stream(ids, model.initial_state(2))):
        message = refusal(call, ids, kind=IdOutOfRangeError)
        assert " holds the id -1 at position [0, 3], and 1 more; ids are 0 to 4, as " in message


@of_each_example
@torch.no_grad()
def test_a_stream_does_not_go_on_with_another_number_of_sequences(config):
    model = made(config)
    state = model.initial_state(2)
    message = refusal(model.stream, random_ids(3, 1), state, kind=ShapeError)
    assert "Past: x does not go on" in message or "hidden" in message


@pytest.mark.parametrize(
    ("name", "of", "came", "expected"),
    [
        ("wavenet", "lstm", "Hidden of 2", "States of 2"),
        ("lstm", "wavenet", "States of 2", "Hidden"),
        ("ngram", "lstm", "Hidden of 2", "Past that keeps 1 position"),
        ("flat", "ngram", "Past that keeps 1 position", "States of 1"),
        ("hierarchical", "flat", "States of 1", "States of 2"),
        ("transformer", "pool", "States of 4", "States of 2"),
        ("pool", "flat", "States of 1", "States of 4"),
    ],
)
@torch.no_grad()
def test_the_state_of_another_model_is_refused(name, of, came, expected):
    model, other = made(EXAMPLES[name]), made(EXAMPLES[of])
    told = refusal(model.stream, random_ids(2, 1), other.initial_state(2))
    assert told == (
        f"{type(model).__name__}: state is {came}, but this goes on from {expected}: "
        "take the state from its initial_state"
    )


def test_each_example_is_of_the_class_that_it_should_be():
    kinds = {name: type(made(config)).__name__ for name, config in EXAMPLES.items()}
    assert kinds == {
        "ngram": Windowed.__name__,
        "flat": Dilated.__name__,
        "hierarchical": Dilated.__name__,
        "wavenet": "WaveNet",
        "wavenet with skips": "WaveNet",
        "rnn": "Recurrent",
        "gru": "Recurrent",
        "lstm": "Recurrent",
        "transformer": "Transformer",
        "transformer without shift": "Transformer",
        "pool": Pool.__name__,
    }
    assert isinstance(made(EXAMPLES["ngram"]).network, NGram)
