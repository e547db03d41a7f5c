"""Sequences that come in pieces: the states, and each layer that has one."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from agreement import assert_close, assert_equal, redrawn, refusal, tensors_of
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from typedwave.nn import (
    GRU,
    LSTM,
    RNN,
    CausalConv1d,
    CausalSelfAttention,
    Hidden,
    Past,
    ResidualBlock,
    State,
    States,
    TokenShift,
    TransformerBlock,
)
from typedwave.testing import normal_tensors

# --- Past -----------------------------------------------------------------------------------------


@dataclass
class Plain:
    """A Past of lists: for each sequence its positions, which are numbers that do not repeat."""

    rows: list[list[int]]
    length: int | None
    count: int = 0

    def next(self) -> int:
        self.count += 1
        return self.count

    def remembered(self) -> list[list[int]]:
        if self.length is None:
            return self.rows
        return [row[max(0, len(row) - self.length) :] for row in self.rows]


def numbers(past: Past | Tensor) -> list[list[int]]:
    """The first channel of what is remembered."""
    columns = past.columns if isinstance(past, Past) else past
    return columns[..., 0].tolist()


@given(st.data())
def test_a_past_remembers_what_a_list_of_the_last_positions_would(data):
    sequences = data.draw(st.integers(0, 3))
    length = data.draw(st.sampled_from([None, 0, 1, 2, 5]))
    held = data.draw(st.integers(0, 6))  # fewer or more than are kept later on
    plain = Plain([], length)
    plain.rows = [[plain.next() for _ in range(held)] for _ in range(sequences)]

    def as_tensor(rows: list[list[int]], count: int) -> Tensor:
        flat = torch.tensor(rows, dtype=torch.int64).view(len(rows), count)
        return torch.stack([flat, -flat], dim=-1)

    past = Past(as_tensor(plain.rows, held), length=length)
    returned = []
    for _ in range(data.draw(st.integers(1, 8))):
        if data.draw(st.booleans()):
            new = data.draw(st.sampled_from([0, 1, 1, 1, 2, 3, 7]))
            pieces = [[plain.next() for _ in range(new)] for _ in plain.rows]
            before = plain.remembered()
            seen = past.extend(as_tensor(pieces, new))
            plain.rows = [row + piece for row, piece in zip(plain.rows, pieces, strict=True)]
            expected = [row + piece for row, piece in zip(before, pieces, strict=True)]
            assert numbers(seen) == expected
            assert torch.equal(seen[..., 1], -seen[..., 0])
            returned.append((seen, expected))
        else:
            last = len(plain.rows) - 1
            chosen = st.lists(st.integers(0, max(last, 0)), max_size=4 if last >= 0 else 0)
            kept = data.draw(chosen)
            past.select(torch.tensor(kept, dtype=torch.int64))
            plain.rows = [list(plain.rows[place]) for place in kept]
        assert numbers(past) == plain.remembered()
    for seen, expected in returned:
        assert numbers(seen) == expected  # as it was when it was returned


def test_a_past_does_not_write_to_what_it_was_made_with_or_is_given():
    columns, x = torch.zeros(2, 3, 1), torch.ones(2, 2, 1)
    past = Past(columns, length=3)
    past.extend(x)
    past.extend(x + 1)
    assert not columns.any()
    assert torch.equal(x, torch.ones(2, 2, 1))
    x.fill_(7.0)
    assert 7.0 not in past.columns


def test_what_is_remembered_keeps_its_axes_and_its_dtype():
    past = Past(torch.zeros(2, 3, 4, 5, dtype=torch.float64), length=3)
    seen = past.extend(torch.ones(2, 1, 4, 5, dtype=torch.float64))
    assert (seen.shape, seen.dtype) == ((2, 4, 4, 5), torch.float64)
    past.select(torch.tensor([1]))
    assert (past.columns.shape, past.columns.dtype) == ((1, 3, 4, 5), torch.float64)


def memory_of(seen: Tensor) -> tuple[int, int]:
    """Where the memory behind a result is, and how many numbers it holds."""
    storage = seen.untyped_storage()
    return storage.data_ptr(), storage.nbytes() // seen.element_size()


@pytest.mark.parametrize("length", [1, 3, 16])
@pytest.mark.parametrize("piece", [1, 2, 7])
def test_the_memory_of_a_bounded_past_stays_bounded_after_thousands_of_steps(length, piece):
    past, x = Past(torch.zeros(1, length, 1), length=length), torch.zeros(1, piece, 1)
    largest = max(memory_of(past.extend(x))[1] for _ in range(3_000))
    assert largest <= 2 * (length + piece)
    assert past.columns.shape[1] == length
    # A long piece leaves nothing behind once its memory is full.
    past.extend(torch.zeros(1, 1_000, 1))
    held = [memory_of(past.extend(x))[1] for _ in range(3_000)]
    assert max(held) <= 2 * (length + 1_000)
    assert held[-1] <= 2 * (length + piece)


@pytest.mark.parametrize("length", [1, 3, 64, None])
def test_one_position_more_moves_one_position_on_average(length):
    past, x = Past(torch.zeros(1, length or 0, 1), length=length), torch.zeros(1, 1, 1)
    moved, place, steps = 0, None, 3_000
    for _ in range(steps):
        seen = past.extend(x)  # held until the next step, so that no memory is reused
        here, _size = memory_of(seen)
        if here != place:
            moved += seen.shape[1] - 1
        place = here
        last = seen  # noqa: F841  # likewise
    # A past without a bound doubles: it moves at most what the last doubling held, twice.
    assert moved <= (steps if length is not None else 2 * steps)


def test_an_unbounded_past_holds_at_most_twice_what_it_remembers():
    past, x = Past(torch.zeros(1, 0, 1), length=None), torch.zeros(1, 1, 1)
    for step in range(1, 500):
        seen = past.extend(x)
        assert seen.shape[1] == step
        assert memory_of(seen)[1] <= 2 * step + 2


def test_a_selection_lets_go_of_what_is_not_remembered_and_has_room_for_the_next_positions():
    past = Past(torch.zeros(8, 2, 1), length=2)
    past.extend(torch.zeros(8, 100, 1))
    past.select(torch.tensor([3]))
    place, size = memory_of(past.columns)
    assert size <= 2 * (2 + 1)
    assert memory_of(past.extend(torch.zeros(1, 1, 1)))[0] == place


@pytest.mark.parametrize("shape", [(3, 1, 4), (1, 1, 4), (2, 1, 5), (2, 4), (2, 1, 4, 1)])
def test_what_does_not_go_on_from_what_is_remembered_is_refused_and_nothing_is_written(shape):
    past = Past(torch.zeros(2, 3, 4), length=3)
    past.extend(torch.ones(2, 1, 4))
    before = past.columns.clone()
    message = refusal(past.extend, torch.full(shape, 7.0))
    assert message == (
        f"""\
Past: x does not go on from what is remembered
  expected  Shaped "B T *C"   B and C as in what is kept, f32[2, 3, 4]
  got       f32[{", ".join(map(str, shape))}]"""
    )
    assert torch.equal(past.columns, before)


# --- Hidden and States ----------------------------------------------------------------------------


def test_hidden_tensors_have_their_sequences_on_axis_1():
    first, second = torch.arange(6).view(2, 3, 1), torch.arange(12).view(2, 3, 2)
    hidden = Hidden([first, second])
    hidden.select(torch.tensor([2, 0, 0]))
    assert_equal(hidden.tensors, (first[:, [2, 0, 0]], second[:, [2, 0, 0]]))
    hidden.select(torch.tensor([], dtype=torch.int64))
    assert [tuple(tensor.shape) for tensor in hidden.tensors] == [(2, 0, 1), (2, 0, 2)]


def test_states_are_given_in_order_and_selected_from_all():
    parts = [Past(torch.tensor([[[1]], [[2]]]), length=1), Hidden([torch.tensor([[[3], [4]]])])]
    states = States(iter(parts))
    assert [*states] == parts
    States([states]).select(torch.tensor([1, 1, 0]))
    assert parts[0].columns.flatten().tolist() == [2, 2, 1]
    assert parts[1].tensors[0].flatten().tolist() == [4, 4, 3]


# --- layers ---------------------------------------------------------------------------------------

CHANNELS = 6


@dataclass(frozen=True)
class Streaming:
    """A layer that streams: how it is made and called."""

    make: Callable[[], Any]
    known: dict[str, int] = field(default_factory=dict)  # conditions, and their channels
    states: int = 1  # that it is made of

    def conditions(self, x: Tensor) -> dict[str, Tensor]:
        """What is known beside x, from a seed: global of each sequence, local of each position."""
        generator = torch.Generator().manual_seed(x.shape[1])
        return {
            name: torch.randn(
                *x.shape[: 1 if name == "global_" else 2],
                channels,
                generator=generator,
                dtype=x.dtype,
            )
            for name, channels in self.known.items()
        }


LAYERS = {
    "convolution": Streaming(lambda: CausalConv1d(CHANNELS, 5, 2)),
    "convolution of one tap": Streaming(lambda: CausalConv1d(CHANNELS, 5, 1)),
    "dilated convolution": Streaming(lambda: CausalConv1d(CHANNELS, 5, 3, dilation=2, bias=False)),
    "residual block": Streaming(
        lambda: ResidualBlock(CHANNELS, gate_channels=5, skip_channels=4, dilation=3, norm=True)
    ),
    "last block": Streaming(
        lambda: ResidualBlock(CHANNELS, gate_channels=5, skip_channels=4, residual=False)
    ),
    "conditioned block": Streaming(
        lambda: ResidualBlock(
            CHANNELS, gate_channels=5, skip_channels=0, global_channels=3, local_channels=2
        ),
        known={"global_": 3, "local": 2},
    ),
    "RNN": Streaming(lambda: RNN(CHANNELS, 5)),
    "GRU": Streaming(lambda: GRU(CHANNELS, 5, 2)),
    "LSTM": Streaming(lambda: LSTM(CHANNELS, 5, 2)),
    "attention": Streaming(lambda: CausalSelfAttention(CHANNELS, 2)),
    "shift": Streaming(lambda: TokenShift(CHANNELS)),
    "transformer": Streaming(lambda: TransformerBlock(CHANNELS, 2, 7)),
    "shifting transformer": Streaming(
        lambda: TransformerBlock(CHANNELS, 3, 7, token_shift=True), states=3
    ),
}
layer_by_layer = pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS.keys())


@st.composite
def doubled(draw: st.DrawFn, case: Streaming):
    """The layer in doubles, so that pieces and whole differ by the last digits of sixteen."""
    return draw(redrawn(case.make().double().eval()))


@st.composite
def pieces(draw: st.DrawFn, length: int, *, smallest: int):
    """Lengths that add up to a length, some of them 1 and, where it is asked for, 0."""
    cuts = sorted(draw(st.lists(st.integers(0, length), max_size=5)))
    bounds = [0, *cuts, length]
    lengths = [end - start for start, end in pairwise(bounds)]
    return [length for length in lengths if length >= smallest]


def streamed(
    case: Streaming, layer: Any, state: State, x: Tensor, given_: dict[str, Tensor], span: slice
) -> Any:
    """The result for the positions of a span."""
    known = {name: v[:, span] if name == "local" else v for name, v in given_.items()}
    return layer.stream(x[:, span], state, **known)


def whole(layer: Any, x: Tensor, known: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """What forward gives for each position: all it gives, but for what is handed on."""
    y = layer(x, **known)
    if isinstance(layer, torch.nn.RNNBase):
        return (y[0],)
    return y if isinstance(y, tuple) else (y,)


def as_tuple(y: Any) -> tuple[Tensor, ...]:
    return y if isinstance(y, tuple) else (y,)


def joined(parts: list[Any]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(each, dim=1) for each in zip(*map(as_tuple, parts), strict=True))


@layer_by_layer
@given(st.data())
def test_pieces_give_what_the_whole_gives_however_it_is_split(case, data):
    layer = data.draw(doubled(case))
    batch, length = data.draw(st.sampled_from([0, 1, 3])), data.draw(st.integers(1, 13))
    x = data.draw(normal_tensors((batch, length, CHANNELS), dtype=torch.float64))
    known = case.conditions(x)
    state, parts, start = layer.initial_state(batch), [], 0
    with torch.no_grad():
        for size in data.draw(pieces(length, smallest=0)):
            parts.append(streamed(case, layer, state, x, known, slice(start, start + size)))
            start += size
        # Products of fewer rows, and shorter rows of weights, are added up in another order.
        assert_close(joined(parts), whole(layer, x, known))


@layer_by_layer
def test_a_piece_of_no_positions_gives_none_and_changes_nothing(case):
    layer, x = case.make().eval(), torch.randn(2, 3, CHANNELS)
    known, state = case.conditions(x), layer.initial_state(2)
    with torch.no_grad():
        for _ in range(2):
            before = [tensor.clone() for tensor in tensors_in(state)]
            nothing = streamed(case, layer, state, x, known, slice(0, 0))
            assert_equal(tensors_in(state), before)
            y = streamed(case, layer, state, x, known, slice(0, 3))
            expected = [(each.shape[0], 0, *each.shape[2:]) for each in as_tuple(y)]
            assert [each.shape for each in as_tuple(nothing)] == expected


@layer_by_layer
def test_position_by_position_a_long_sequence_gives_what_it_gives_at_once(case):
    layer, x = case.make().double().eval(), torch.randn(2, 100, CHANNELS, dtype=torch.float64)
    known, state = case.conditions(x), layer.initial_state(2)
    with torch.no_grad():
        parts = [streamed(case, layer, state, x, known, slice(t, t + 1)) for t in range(100)]
        assert_close(joined(parts), whole(layer, x, known))


@layer_by_layer
@given(st.data())
def test_selected_sequences_go_on_as_if_they_had_been_streamed_so_from_the_beginning(case, data):
    layer = data.draw(doubled(case))
    length, state, start = data.draw(st.integers(2, 9)), layer.initial_state(3), 0
    x = data.draw(normal_tensors((3, length, CHANNELS), dtype=torch.float64))
    known = case.conditions(x)
    with torch.no_grad():
        for size in data.draw(pieces(length, smallest=1)):
            span = slice(start, start + size)
            y = streamed(case, layer, state, x, known, span)
            assert_close(as_tuple(y), tuple(each[:, span] for each in whole(layer, x, known)))
            start += size
            if data.draw(st.booleans()):
                # None, one, some of them twice, in any order.
                chosen = st.lists(st.integers(0, max(len(x) - 1, 0)), max_size=4 if len(x) else 0)
                rows = torch.tensor(data.draw(chosen), dtype=torch.int64)
                state.select(rows)
                x, known = x[rows], {name: value[rows] for name, value in known.items()}


@layer_by_layer
def test_one_layer_serves_many_batches_each_with_a_state_of_its_own(case):
    layer = case.make().double().eval()
    batches = [torch.randn(b, 8, CHANNELS, dtype=torch.float64) for b in (2, 2, 5)]
    known = [case.conditions(x) for x in batches]
    states = [layer.initial_state(len(x)) for x in batches]
    parts: list[list[Any]] = [[] for _ in batches]
    with torch.no_grad():
        for start in range(0, 8, 2):
            for place, x in enumerate(batches):
                span = slice(start, start + 2)
                y = streamed(case, layer, states[place], x, known[place], span)
                parts[place].append(y)
        for place, x in enumerate(batches):
            assert_close(joined(parts[place]), whole(layer, x, known[place]))


@layer_by_layer
def test_streaming_and_selecting_work_where_gradients_are_on_as_well(case):
    layer, x = case.make().double().eval(), torch.randn(3, 6, CHANNELS, dtype=torch.float64)
    known, state = case.conditions(x), layer.initial_state(3)
    for t in range(3):
        streamed(case, layer, state, x, known, slice(t, t + 1))
    rows = torch.tensor([2, 2, 0])
    state.select(rows)
    x, known = x[rows], {name: value[rows] for name, value in known.items()}
    y = streamed(case, layer, state, x, known, slice(3, 6))
    assert_close(as_tuple(y), tuple(each[:, 3:] for each in whole(layer, x, known)))


@pytest.mark.parametrize(
    "layer",
    [
        ResidualBlock(CHANNELS, gate_channels=5, skip_channels=4, dropout=0.5),
        GRU(CHANNELS, 5, 2, dropout=0.5),
        CausalSelfAttention(CHANNELS, 2, dropout=0.5),
        TransformerBlock(CHANNELS, 2, 7, dropout=0.5, token_shift=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_in_training_a_stream_leaves_out_what_forward_leaves_out(layer):
    x, results = torch.randn(1, 7, CHANNELS), []
    for call in (lambda: whole(layer, x, {}), lambda: layer.stream(x, layer.initial_state(1))):
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(5)
            results.append(as_tuple(call()))
    assert_close(*results)


@layer_by_layer
def test_a_copy_of_a_state_goes_its_own_way(case):
    layer, x = case.make().double().eval(), torch.randn(2, 7, CHANNELS, dtype=torch.float64)
    known, state = case.conditions(x), layer.initial_state(2)
    with torch.no_grad():
        streamed(case, layer, state, x, known, slice(0, 3))
        other = copy.deepcopy(state)
        streamed(case, layer, other, -x, known, slice(3, 5))
        y = streamed(case, layer, state, x, known, slice(3, 7))
        assert_close(as_tuple(y), tuple(each[:, 3:] for each in whole(layer, x, known)))


@layer_by_layer
def test_what_was_given_earlier_stays_what_it_was(case):
    layer, x = case.make().eval(), torch.randn(3, 6, CHANNELS)
    known, state = case.conditions(x), layer.initial_state(3)
    with torch.no_grad():
        parts = [streamed(case, layer, state, x, known, slice(t, t + 1)) for t in range(5)]
        kept = [tuple(y.clone() for y in as_tuple(part)) for part in parts]
        state.select(torch.tensor([2, 0, 1]))
        streamed(case, layer, state, x, known, slice(5, 6))
    assert_equal([as_tuple(part) for part in parts], kept)


@layer_by_layer
def test_streaming_writes_neither_to_its_input_nor_to_the_layer(case):
    layer, x = case.make().eval(), torch.randn(2, 4, CHANNELS)
    known, state = case.conditions(x), layer.initial_state(2)
    before, weights = x.clone(), copy.deepcopy(layer.state_dict())
    with torch.no_grad():
        for _ in range(3):
            streamed(case, layer, state, x, known, slice(0, 4))
    assert torch.equal(x, before)
    assert_equal(layer.state_dict().values(), weights.values())


def tensors_in(state: Any) -> list[Tensor]:
    if isinstance(state, States):
        return [tensor for part in state for tensor in tensors_in(part)]
    return [state.columns] if isinstance(state, Past) else [*state.tensors]


@layer_by_layer
def test_the_initial_state_is_of_zeros_or_nothing_of_the_dtype_and_device_of_the_layer(case):
    for kind in ({"dtype": torch.float64}, {"device": "meta", "dtype": torch.bfloat16}):
        layer = case.make().to(**kind)
        state = layer.initial_state(3)
        for tensor in tensors_in(state):
            assert tensor.dtype == kind["dtype"]
            assert tensor.device.type == kind.get("device", "cpu")
            assert not tensor.requires_grad
            assert 3 in tensor.shape[:2]
            assert tensor.is_meta or not tensor.any()
    assert len([*state] if isinstance(state, States) else [state]) == case.states


@layer_by_layer
def test_a_state_remembers_no_more_than_is_looked_back_on(case):
    layer, x = case.make().eval(), torch.randn(2, 40, CHANNELS)
    known, state = case.conditions(x), layer.initial_state(2)
    with torch.no_grad():
        streamed(case, layer, state, x, known, slice(0, 40))
    held = {tensor.shape[1] for tensor in tensors_in(state)}
    if isinstance(layer, torch.nn.RNNBase):
        assert held == {2}  # the batch
    elif isinstance(layer, (CausalSelfAttention, TransformerBlock)):
        assert held <= {40, 1}
    else:
        assert held == {layer.receptive_field - 1}


@layer_by_layer
def test_a_state_for_another_number_of_sequences_is_refused(case):
    layer, x = case.make().eval(), torch.randn(3, 2, CHANNELS)
    known = case.conditions(x)
    for batch in (1, 2, 4):
        state = layer.initial_state(batch)
        first, *_ = refusal(partial(layer.stream, x, state, **known)).splitlines()
        if isinstance(layer, torch.nn.RNNBase):
            assert first.startswith(f"{type(layer).__name__}: hidden")
        else:
            assert first == "Past: x does not go on from what is remembered"


@layer_by_layer
def test_what_forward_refuses_a_stream_refuses_and_the_state_stays_as_it_was(case):
    layer, x = case.make().eval(), torch.randn(2, 3, CHANNELS)
    known, state = case.conditions(x), layer.initial_state(2)
    with torch.no_grad():
        streamed(case, layer, state, x, known, slice(0, 2))
        before = [tensor.clone() for tensor in tensors_in(state)]
        name = type(layer).__name__
        assert refusal(lambda: layer.stream(x[..., 1:], state, **known)).startswith(
            f"{name}: x has the wrong shape"
        )
        assert refusal(lambda: layer.stream(x[0], state, **known)).startswith(
            f"{name}: x has the wrong shape"
        )
        assert_equal(tensors_in(state), before)


def test_the_wrong_kind_of_state_is_explained():
    layer = TransformerBlock(6, 2, 7)
    state = layer.self_attn.initial_state(2)
    assert refusal(layer.stream, torch.zeros(2, 1, 6), state) == (
        """\
TransformerBlock: state is not States
  expected  States
  got       Past"""
    )


def test_a_state_that_remembers_another_number_of_positions_is_refused():
    near, far = CausalConv1d(4, 3, 2), CausalConv1d(4, 3, 2, dilation=3)
    for layer, other, kept, keeps in ((near, far, 3, "1 position"), (far, near, 1, "3 positions")):
        state = other.initial_state(2)
        said = refusal(layer.stream, torch.zeros(2, 5, 4), state, kind=ValueError)
        assert said == (
            f"CausalConv1d: state is Past that keeps {kept} position{'s' * (kept != 1)}, but this "
            f"goes on from Past that keeps {keeps}: take the state from its initial_state"
        )
        assert state.columns.shape == (2, kept, 4)  # nothing was written


def test_a_state_of_another_kind_is_refused():
    cases = [
        (GRU(4, 3), LSTM(4, 3), "GRU: state is Hidden of 2, but this goes on from Hidden of 1"),
        (LSTM(4, 3), GRU(4, 3), "LSTM: state is Hidden of 1, but this goes on from Hidden of 2"),
        (
            TransformerBlock(4, 2, 8),
            TransformerBlock(4, 2, 8, token_shift=True),
            "TransformerBlock: state is States of 3, but this goes on from States of 1",
        ),
    ]
    for layer, other, message in cases:
        said = refusal(layer.stream, torch.zeros(2, 5, 4), other.initial_state(2), kind=ValueError)
        assert said == f"{message}: take the state from its initial_state"


@pytest.mark.parametrize(
    "name", ["dilated convolution", "conditioned block", "attention", "shifting transformer"]
)
def test_compiled_a_stream_gives_what_it_gives_uncompiled(name):
    case = LAYERS[name]
    layer, x = case.make().eval(), torch.randn(2, 5, CHANNELS)
    known, states = case.conditions(x), [layer.initial_state(2) for _ in range(2)]
    torch._dynamo.reset()
    compiled = torch.compile(layer.stream, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for t in range(2):
            piece = {n: v[:, t : t + 1] if n == "local" else v for n, v in known.items()}
            y, expected = (
                stream(x[:, t : t + 1], state, **piece)
                for stream, state in zip((compiled, layer.stream), states, strict=True)
            )
            assert_close(list(tensors_of(y)), list(tensors_of(expected)))
    torch._dynamo.reset()
