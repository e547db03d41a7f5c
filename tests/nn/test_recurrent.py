from typing import Any

import pytest
import torch
from agreement import (
    assert_copies_agree,
    assert_equal,
    assert_on_meta,
    assert_same_gradients,
    in_each_way,
    redrawn,
    refusal,
    tensors_of,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import typedwave
from typedwave.nn import GRU, LSTM, RNN, Sequential, Tanh
from typedwave.testing import axis_sizes, check, normal_tensors

KINDS = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}
of_each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
GATES = {RNN: 1, GRU: 3, LSTM: 4}


def in_torch(kind: type, *arguments: Any, **options: Any) -> torch.nn.RNNBase:
    return getattr(torch.nn, kind.__name__)(*arguments, batch_first=True, **options)


@st.composite
def layers_and_inputs(draw: st.DrawFn, kind: type):
    """A layer of ours, torch's of the same weights, an input and perhaps what came before it."""
    sizes = draw(axis_sizes("in", "hidden", "B", "T"))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "dtype": dtype,
    }
    if kind is RNN:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    arguments = sizes["in"], sizes["hidden"]
    ours, theirs = draw(redrawn(kind(*arguments, **options))), in_torch(kind, *arguments, **options)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    b, t = (draw(st.sampled_from([1, sizes[name]])) for name in ("B", "T"))
    x = draw(normal_tensors((b, t, sizes["in"]), dtype=dtype))
    shape = (options["num_layers"], b, sizes["hidden"])
    before = [draw(normal_tensors(shape, dtype=dtype)) for _ in range(1 + (kind is LSTM))]
    before = draw(st.sampled_from([None, before]))
    training = draw(st.booleans())
    return ours.train(training), theirs.train(training), x, before


def as_argument(before: list[Tensor] | tuple[Tensor, ...] | None) -> Any:
    """As torch takes what came before: nothing, a tensor, or two of them in a tuple."""
    if not before:
        return None
    return before[0] if len(before) == 1 else tuple(before)


# values


@of_each_kind
@given(st.data())
def test_it_gives_what_torch_gives_to_the_bit(kind, data):
    ours, theirs, x, before = data.draw(layers_and_inputs(kind))
    kept = x.clone()
    mine, reference = (layer(x, as_argument(before)) for layer in (ours, theirs))
    assert mine[0].shape == (*x.shape[:2], ours.hidden_size)
    assert_equal(mine, reference)
    assert type(mine[1]) is type(reference[1])
    assert torch.equal(x, kept)


@of_each_kind
@given(st.data())
def test_the_gradients_are_those_of_torch_and_finite(kind, data):
    ours, theirs, x, before = data.draw(layers_and_inputs(kind))
    mine, reference = (
        lambda x, *before, layer=layer: layer(x, as_argument(before)) for layer in (ours, theirs)
    )
    inputs = [x, *(before or [])]
    assert_same_gradients(mine, reference, inputs, layers=(ours, theirs), exactly=True)


@of_each_kind
@given(st.data())
def test_without_what_came_before_it_starts_from_zeros(kind, data):
    ours, _, x, _ = data.draw(layers_and_inputs(kind))
    state = ours.initial_state(x.shape[0])
    assert all(not tensor.any() for tensor in state.tensors)
    assert_equal(ours(x), ours(x, as_argument(state.tensors)))


def test_the_recurrent_layer_of_elman_is_its_formula():
    layer = RNN(3, 2, dtype=torch.float64)
    x, h = torch.randn(1, 4, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    y, last = layer(x)
    for t in range(4):
        h = torch.tanh(
            layer.weight_ih_l0 @ x[0, t]
            + layer.bias_ih_l0
            + layer.weight_hh_l0 @ h
            + layer.bias_hh_l0
        )
        torch.testing.assert_close(y[0, t], h, rtol=1e-12, atol=1e-14)  # sums in another order
    assert torch.equal(last[0, 0], y[0, -1])


@of_each_kind
def test_an_empty_batch_gives_an_empty_batch(kind):
    y, *_ = tensors_of(kind(5, 3)(torch.zeros(0, 7, 5)))
    assert y.shape == (0, 7, 3)


@of_each_kind
def test_no_positions_give_none_and_hand_on_what_came_before(kind):
    """Which torch refuses."""
    layer, x = kind(5, 3, 2, dtype=torch.float64), torch.zeros(4, 0, 5, dtype=torch.float64)
    before = tuple(torch.randn(2, 4, 3, dtype=torch.float64) for _ in range(1 + (kind is LSTM)))
    y, after = layer(x, as_argument(before))
    assert (y.shape, y.dtype) == ((4, 0, 3), torch.float64)
    assert_equal(after, as_argument(before))
    zeros = tuple(torch.zeros_like(tensor) for tensor in before)
    assert_equal(layer(x)[1], as_argument(zeros))
    assert type(layer(x)[1]) is type(after)


@of_each_kind
def test_in_training_channels_are_left_out_between_layers_and_not_in_eval_mode(kind):
    options = {"num_layers": 2, "dropout": 0.5}
    ours, theirs = kind(5, 64, **options), in_torch(kind, 5, 64, **options)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 5)
    results = []
    for layer in (ours, theirs):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            results.append(layer.train()(x))
    assert_equal(*results)
    assert not torch.equal(results[0][0], ours.eval()(x)[0])
    assert_equal(ours.eval()(x), theirs.eval()(x))


# what it depends on


@of_each_kind
@pytest.mark.parametrize("num_layers", [1, 2])
def test_position_t_depends_on_all_positions_up_to_it_and_on_no_other(kind, num_layers):
    layer = kind(3, 4, num_layers)

    def result(x: Tensor) -> Tensor:
        return layer(x)[0]

    report = check(layer, laws="receptive_field", examples=5, causal=True, spec={"hidden": None})
    assert [row.outcome for row in report.rows] == ["held"]
    jacobian = torch.autograd.functional.jacobian(result, torch.randn(1, 6, 3))
    depends = jacobian.abs().sum((0, 2, 3, 5)) > 0
    assert torch.equal(depends, torch.ones(6, 6, dtype=torch.bool).tril())


# parameters


@of_each_kind
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bias": False}])
def test_it_starts_with_the_weights_that_torch_would_draw_under_the_same_names(kind, options):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        ours = kind(5, 4, **options)
        torch.manual_seed(3)
        theirs = in_torch(kind, 5, 4, **options)
    mine, reference = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(reference)
    assert_equal(mine.values(), reference.values())
    assert ours.weight_ih_l0.shape == (GATES[kind] * 4, 5)
    assert ours.weight_hh_l0.shape == (GATES[kind] * 4, 4)
    assert all(parameter.abs().max() <= 4**-0.5 for parameter in ours.parameters())


@of_each_kind
def test_reset_parameters_draws_all_of_them_anew(kind):
    layer = kind(5, 4, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(7.0)
    layer.reset_parameters()
    for parameter in layer.parameters():
        assert parameter.abs().max() <= 4**-0.5
        assert len(parameter.unique()) == parameter.numel()


@in_each_way
@of_each_kind
def test_a_copy_gives_the_same(kind, copied):
    x = torch.randn(2, 7, 5)
    assert_copies_agree(kind(5, 4, 2), copied, lambda layer: layer(x))


@of_each_kind
def test_its_parameters_are_made_on_the_device_and_of_the_dtype_asked_for(kind):
    assert_on_meta(kind(5, 4, 2, device="meta", dtype=torch.bfloat16), torch.zeros(2, 7, 5))


@of_each_kind
def test_compiled_it_gives_what_it_gives_uncompiled(kind):
    layer, x = kind(5, 4, 2), torch.randn(2, 7, 5)
    # Without the experimental option Dynamo traces none of torch's own recurrent layers either, and
    # AOTAutograd fails to derive its LSTM.
    with torch._dynamo.config.patch(allow_rnn=True):
        torch._dynamo.reset()
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        assert_equal(compiled(x), layer(x))
    torch._dynamo.reset()


@of_each_kind
def test_it_is_one_of_torch_and_a_module_of_typedwave(kind):
    layer = kind(5, 4, 2)
    assert isinstance(layer, getattr(torch.nn, kind.__name__))
    assert isinstance(layer, typedwave.Module)
    assert repr(layer) == f"{kind.__name__}(5, 4, num_layers=2, batch_first=True)"
    assert not layer.bidirectional


# refusals


@of_each_kind
@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
def test_a_size_of_0_is_refused(kind, name):
    sizes = {"input_size": 5, "hidden_size": 4, "num_layers": 1, name: 0}
    message = refusal(lambda: kind(**sizes), kind=ValueError)
    assert message == f"{name} must be greater than zero"


@of_each_kind
def test_a_dropout_out_of_range_is_refused(kind):
    assert refusal(lambda: kind(5, 4, 2, dropout=2.0), kind=ValueError) == (
        "dropout should be a number in range [0, 1] representing the probability of an element "
        "being zeroed"
    )


def test_another_nonlinearity_is_refused():
    assert refusal(lambda: RNN(5, 4, 1, "sin"), kind=ValueError) == (
        "Unknown nonlinearity 'sin'. Select from 'tanh' or 'relu'."
    )


@of_each_kind
def test_the_wrong_number_of_channels_is_explained_with_the_path(kind):
    name, rows = kind.__name__, GATES[kind] * 3
    assert refusal(Sequential(Tanh(), kind(4, 3)), torch.zeros(2, 7, 5)) == (
        f"""\
1 ({name}): x has the wrong shape
  expected  Float "B T input_size"   input_size = 4
  got       f32[2, 7, 5]             axis 2 is 5
  input_size = 4 comes from 1.weight_ih_l0 f32[{rows}, 4]
  shapes until here
    0  Tanh  f32[2, 7, 5]  -> f32[2, 7, 5]
    1  {name:<4}  f32[2, 7, 5]  -> refused
  perhaps   {name}(input_size=5)"""
    )


@of_each_kind
def test_an_input_without_a_batch_axis_is_refused(kind):
    message = refusal(kind(4, 3), torch.zeros(7, 4))
    assert message.startswith(f"{kind.__name__}: x has the wrong shape")
    assert "it has 2 axes" in message


@pytest.mark.parametrize("kind", [RNN, GRU])
def test_a_hidden_state_for_another_batch_or_number_of_layers_is_explained(kind):
    assert refusal(kind(4, 3), torch.zeros(2, 7, 4), torch.zeros(2, 5, 3)) == (
        f"""\
{kind.__name__}: hidden has the wrong shape
  expected  Float "{{self.num_layers}} B hidden_size" or None   {{self.num_layers}} = 1, B = 2
  got       f32[2, 5, 3]                                      axis 0 is 2, axis 1 is 5
  B = 2 comes from x f32[2, 7, 4]"""
    )


def test_a_cell_of_another_size_is_explained():
    before = torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)
    assert refusal(LSTM(4, 3), torch.zeros(2, 7, 4), before) == (
        """\
LSTM: hidden[1] has the wrong shape
  expected  Float "{self.num_layers} B hidden_size"   hidden_size = 3
  got       f32[1, 2, 4]                              axis 2 is 4
  hidden_size = 3 comes from weight_hh_l0 f32[12, 3]
  perhaps   LSTM(hidden_size=4)"""
    )


def test_a_hidden_state_without_a_cell_is_refused():
    wanted = 'Float "{self.num_layers} B hidden_size"'
    assert refusal(LSTM(4, 3), torch.zeros(2, 7, 4), torch.zeros(1, 2, 3)) == (
        f"""\
LSTM: hidden is not tuple[{wanted}, {wanted}] or None
  expected  tuple[{wanted}, {wanted}] or None
  got       f32[1, 2, 3]"""
    )
