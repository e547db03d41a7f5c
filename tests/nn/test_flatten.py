import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import typedwave
from typedwave import ShapeError
from typedwave.nn import Flatten, FlattenConsecutive, Sequential, Tanh
from typedwave.testing import axis_sizes, leading_axes, normal_tensors

DTYPES = [torch.bfloat16, torch.float32, torch.float64]


@st.composite
def layers_and_inputs(draw: st.DrawFn, *, smallest: int = 0, n: int | None = None):
    """A FlattenConsecutive in one mode and an input of a length that its n divides."""
    sizes = draw(axis_sizes("B", "groups", "n", "C"))
    batch = draw(st.sampled_from([sizes["B"], 1] + [0] * (smallest == 0)))
    groups = draw(st.sampled_from([sizes["groups"], 1] + [0] * (smallest == 0)))
    n = n or draw(st.sampled_from([sizes["n"], 1]))
    layer = FlattenConsecutive(n, squeeze=draw(st.booleans())).train(draw(st.booleans()))
    dtype = draw(st.sampled_from(DTYPES))
    return layer, draw(normal_tensors((batch, groups * n, sizes["C"]), dtype=dtype))


def by_concatenation(x: torch.Tensor, n: int) -> torch.Tensor:
    return torch.cat([x[:, i::n] for i in range(n)], dim=-1)


def refusal(model: torch.nn.Module, x: object) -> str:
    with pytest.raises(ShapeError) as caught:
        model(x)
    return str(caught.value)


# FlattenConsecutive


@given(layers_and_inputs())
def test_neighbours_are_fused_and_one_position_left_is_dropped_if_asked_for(case):
    layer, x = case
    batch, length, channels = x.shape
    y = layer(x)
    if layer.squeeze and length == layer.n:
        assert y.shape == (batch, channels * layer.n)
    else:
        assert y.shape == (batch, length // layer.n, channels * layer.n)
    assert y.dtype == x.dtype


@given(layers_and_inputs())
def test_the_channels_of_neighbours_are_side_by_side_in_order(case):
    layer, x = case
    y = layer(x)
    expected = by_concatenation(x, layer.n)
    assert torch.equal(y, expected[:, 0] if y.ndim == 2 else expected)


@given(layers_and_inputs(n=2))
def test_with_two_the_even_positions_come_before_the_odd_ones(case):
    layer, x = case
    even, odd = layer(x).reshape(len(x), x.shape[1] // 2, 2 * x.shape[2]).split(x.shape[2], dim=2)
    assert torch.equal(even, x[:, ::2])
    assert torch.equal(odd, x[:, 1::2])


def test_the_numbers_of_a_small_example():
    x = torch.arange(8.0).view(1, 4, 2)
    assert FlattenConsecutive(2)(x).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    assert FlattenConsecutive(4)(x).tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]]
    assert FlattenConsecutive(4, squeeze=False)(x).tolist() == [[[0, 1, 2, 3, 4, 5, 6, 7]]]


@given(axis_sizes("B", "a", "b", "C"), st.sampled_from([1, 3]), st.booleans(), st.data())
def test_fusing_a_and_then_b_is_fusing_their_product(sizes, groups, squeeze, data):
    batch, a, b, channels = sizes.values()
    x = data.draw(normal_tensors((batch, groups * a * b, channels)))
    first, second, at_once = (FlattenConsecutive(n, squeeze=squeeze) for n in (a, b, a * b))
    assert torch.equal(second(first(x)), at_once(x))


@pytest.mark.parametrize("length", [4, 8])
def test_fusing_two_twice_is_fusing_four(length):
    x = torch.randn(3, length, 5)
    twice = Sequential(FlattenConsecutive(2), FlattenConsecutive(2))
    assert torch.equal(twice(x), FlattenConsecutive(4)(x))


@given(layers_and_inputs(smallest=1), st.data())
def test_a_position_reaches_its_own_place_in_its_own_group_and_nothing_else(case, data):
    layer, x = case
    batch, length, channels = x.shape
    i = data.draw(st.integers(0, batch - 1))
    t = data.draw(st.integers(0, length - 1))
    spoilt = x.clone()
    spoilt[i, t] = torch.nan
    y, z = (layer(each).reshape(batch, -1, layer.n, channels) for each in (x, spoilt))
    reached = torch.zeros(y.shape, dtype=torch.bool)
    reached[i, t // layer.n, t % layer.n] = True
    assert torch.equal(z.isnan(), reached)
    assert torch.equal(y[~reached], z[~reached])


@given(layers_and_inputs(), st.data())
def test_the_gradient_is_that_of_the_concatenation(case, data):
    layer, x = case
    given_x = x.clone().requires_grad_()
    expected = by_concatenation(given_x, layer.n)
    weights = data.draw(normal_tensors(expected.shape, dtype=x.dtype))
    (reference,) = torch.autograd.grad(expected, [given_x], weights)
    y = layer(given_x)
    (mine,) = torch.autograd.grad(y, [given_x], weights.reshape(y.shape))
    assert torch.equal(mine, reference)
    assert mine.isfinite().all()


@pytest.mark.parametrize("length", [2, 6])
def test_the_gradient_is_the_slope(length):
    x = torch.randn(2, length, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(FlattenConsecutive(2), (x,))


@given(layers_and_inputs())
def test_it_does_not_write_to_its_input_and_is_the_same_in_train_and_in_eval_mode(case):
    layer, x = case
    before = x.clone()
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert torch.equal(x, before)


def test_an_input_whose_memory_is_in_another_order_gives_the_same():
    x = torch.randn(5, 4, 3).permute(2, 1, 0)
    assert torch.equal(FlattenConsecutive(2)(x), by_concatenation(x.contiguous(), 2))


def test_it_has_no_state_and_runs_on_the_device_of_its_input():
    layer = FlattenConsecutive(2)
    assert layer.state_dict() == {}
    y = layer(torch.zeros(3, 4, 5, device="meta", dtype=torch.float64))
    assert (y.shape, y.device.type, y.dtype) == ((3, 2, 10), "meta", torch.float64)


def test_it_is_a_module_of_typedwave_that_prints_its_arguments():
    assert isinstance(FlattenConsecutive(2), typedwave.Module)
    assert repr(FlattenConsecutive(2)) == "FlattenConsecutive(n=2)"
    assert repr(FlattenConsecutive(3, squeeze=False)) == "FlattenConsecutive(n=3, squeeze=False)"


@pytest.mark.parametrize("n", [0, -2])
def test_fewer_than_one_position_cannot_be_fused(n):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # the whole message is compared
        FlattenConsecutive(n)
    assert str(caught.value) == (f"FlattenConsecutive: n is {n}, but at least 1 position is fused")


@given(axis_sizes("B", "n", "C"), st.integers(0, 30), st.booleans())
def test_exactly_the_lengths_that_n_divides_pass(sizes, length, squeeze):
    batch, n, channels = sizes.values()
    layer, x = FlattenConsecutive(n, squeeze=squeeze), torch.zeros(batch, length, channels)
    if length % n == 0:
        assert layer(x).numel() == x.numel()
    else:
        with pytest.raises(ShapeError, match=f"T is a multiple of n = {n}\n"):
            layer(x)


def test_a_length_that_n_does_not_divide_is_explained():
    assert refusal(FlattenConsecutive(3), torch.zeros(32, 8, 10)) == (
        """\
FlattenConsecutive: x has the wrong shape
  expected  Float "B T C"    T is a multiple of n = 3
  got       f32[32, 8, 10]   axis 1 is 8
  perhaps   torch.nn.functional.pad(x, (0, 0, 1, 0))"""
    )


def test_a_length_shorter_than_n_is_explained():
    assert refusal(FlattenConsecutive(4, squeeze=False), torch.zeros(2, 1, 5)) == (
        """\
FlattenConsecutive: x has the wrong shape
  expected  Float "B T C"   T is a multiple of n = 4
  got       f32[2, 1, 5]    axis 1 is 1
  perhaps   torch.nn.functional.pad(x, (0, 0, 3, 0))"""
    )


@given(axis_sizes("B", "T", "n", "C"))
def test_the_padding_that_the_error_suggests_makes_the_input_pass(sizes):
    batch, length, n, channels = sizes.values()
    x = torch.ones(batch, length, channels)
    with pytest.raises(ShapeError) as caught:
        FlattenConsecutive(n)(x)
    padded = eval(caught.value.suggestion, {"torch": torch, "x": x})
    assert FlattenConsecutive(n, squeeze=False)(padded).shape[1] == -(-length // n)
    assert torch.equal(padded[:, -length:], x)


@pytest.mark.parametrize(
    ("shape", "got", "axes"),
    [
        ((), "[]", "0 axes"),
        ((4,), "[4]", "1 axis"),
        ((3, 4), "[3, 4]", "2 axes"),
        ((3, 4, 2, 5), "[3, 4, 2, 5]", "4 axes"),
    ],
)
def test_an_input_without_three_axes_is_refused(shape, got, axes):
    assert refusal(FlattenConsecutive(2), torch.zeros(shape)) == (
        f"""\
FlattenConsecutive: x has the wrong shape
  expected  Float "B T C"
  got       f32{got}   it has {axes}"""
    )


def test_integers_are_refused():
    assert refusal(FlattenConsecutive(2), torch.zeros(3, 4, 5, dtype=torch.int64)) == (
        """\
FlattenConsecutive: x has the wrong dtype
  expected  Float "B T C"
  got       i64[3, 4, 5]   its dtype is int64
  perhaps   x.float()"""
    )


@pytest.mark.parametrize("container", [torch.nn.Sequential, Sequential])
def test_the_error_has_the_path_inside_a_model(container):
    model = container(Tanh(), container(FlattenConsecutive(2), FlattenConsecutive(2)))
    assert refusal(model, torch.zeros(3, 6, 5)) == (
        """\
1.1 (FlattenConsecutive): x has the wrong shape
  expected  Float "B T C"   T is a multiple of n = 2
  got       f32[3, 3, 10]   axis 1 is 3
  shapes until here
    0    Tanh                f32[3, 6, 5]   -> f32[3, 6, 5]
    1.0  FlattenConsecutive  f32[3, 6, 5]   -> f32[3, 3, 10]
    1.1  FlattenConsecutive  f32[3, 3, 10]  -> refused
  perhaps   torch.nn.functional.pad(x, (0, 0, 1, 0))"""
    )


# Flatten


@given(leading_axes(), axis_sizes("a", "b", "c"), st.data())
def test_flatten_gives_what_torch_gives_for_any_axes_and_dtype(lead, sizes, data):
    shape = (*lead, *sizes.values())
    start = data.draw(st.integers(0, len(shape) - 1))
    end = data.draw(st.integers(start, len(shape) - 1)) - data.draw(
        st.sampled_from([0, len(shape)])
    )
    dtype = data.draw(st.sampled_from([torch.bool, torch.int64, torch.float64, torch.complex64]))
    x = data.draw(normal_tensors(shape)).to(dtype)
    ours, theirs = Flatten(start, end), torch.nn.Flatten(start, end)
    y = ours.train(data.draw(st.booleans()))(x)
    assert (y.shape, y.dtype) == (theirs(x).shape, dtype)
    assert torch.equal(y, theirs(x))


@given(leading_axes(), axis_sizes("B", "C"))
def test_flatten_keeps_the_first_axis_and_fuses_the_others_if_not_told_otherwise(lead, sizes):
    x = torch.arange(float(torch.Size((sizes["B"], *lead, sizes["C"])).numel()))
    x = x.view(sizes["B"], *lead, sizes["C"])
    y = Flatten()(x)
    assert y.shape == (sizes["B"], x[0].numel())
    assert torch.equal(y.flatten(), x.flatten())


def test_flatten_keeps_the_elements_of_a_batch_apart_and_passes_gradients_through():
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 20, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(Flatten()(x), [x], weights)
    assert torch.equal(gradient, weights.view(3, 4, 5))
    assert torch.autograd.gradcheck(Flatten(), (x,))


def test_flatten_is_one_of_torch_and_a_module_of_typedwave_that_prints_its_arguments():
    assert isinstance(Flatten(), torch.nn.Flatten)
    assert isinstance(Flatten(), typedwave.Module)
    assert repr(Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert repr(Flatten(0, 2)) == "Flatten(start_dim=0, end_dim=2)"
    assert Flatten().state_dict() == {}


def test_flatten_leaves_it_to_torch_to_say_that_there_is_no_such_axis():
    with pytest.raises(IndexError, match="Dimension out of range"):
        Flatten(1, 2)(torch.zeros(3, 4))


@pytest.mark.parametrize("container", [torch.nn.Sequential, Sequential])
def test_flatten_refuses_what_is_no_tensor(container):
    rest = '(Flatten): x is not a tensor\n  expected  Shaped "..."\n  got       list of 1'
    assert refusal(Flatten(), [1]) == rest.replace("(Flatten)", "Flatten")
    if container is torch.nn.Sequential:  # ours refuses it itself, before its first layer
        assert refusal(container(Flatten()), [1]) == f"0 {rest}"
    else:
        assert refusal(container(Flatten()), [1]) == rest.replace("(Flatten)", "Sequential")
