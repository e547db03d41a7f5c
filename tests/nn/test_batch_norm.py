from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import typedwave
from typedwave import ShapeError, StateError
from typedwave.nn import BatchNorm1d, Linear, Sequential
from typedwave.testing import axis_sizes, leading_axes, normal_tensors

# At least two values per channel, which a training batch needs.
batches = leading_axes(smallest=1).filter(lambda axes: prod(axes) >= 2)
channels = axis_sizes("C").map(lambda sizes: sizes["C"])


@st.composite
def layers(draw: st.DrawFn, *, unbiased: bool = False, **fixed):
    """A layer of ours and torch's, of the same options, parameters and running statistics."""
    options = {
        "eps": draw(st.sampled_from([1e-5, 0.5])),
        "momentum": draw(st.sampled_from([0.1, 0.7, None])),
        "affine": draw(st.booleans()),
        "track_running_stats": draw(st.booleans()),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64])),
        **fixed,
    }
    num_features = draw(channels)
    theirs = torch.nn.BatchNorm1d(num_features, **options)
    for name, tensor in theirs.state_dict().items():
        if tensor.is_floating_point():
            value = draw(normal_tensors(tensor.shape, dtype=tensor.dtype))
            tensor.copy_(value.exp() if name == "running_var" else value)
    ours = BatchNorm1d(num_features, unbiased=unbiased, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    training = draw(st.booleans())
    return ours.train(training), theirs.train(training)


def dtype_of(layer: BatchNorm1d, *, otherwise: torch.dtype = torch.float64) -> torch.dtype:
    return next((t.dtype for t in layer.state_dict().values() if t.is_floating_point()), otherwise)


@st.composite
def inputs(draw: st.DrawFn, layer: BatchNorm1d, shapes=batches):
    shape = (*draw(shapes), layer.num_features)
    return draw(normal_tensors(shape, dtype=dtype_of(layer))) * 3 + 1


def copied(layer: BatchNorm1d) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in layer.state_dict().items()}


def assert_same_state(state: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert list(state) == list(other)
    for name, tensor in state.items():
        assert torch.equal(tensor, other[name]), name


def refusal(model: torch.nn.Module, x: object, kind: type[Exception] = ShapeError) -> str:
    with pytest.raises(kind) as caught:
        model(x)
    return str(caught.value)


# shape, dtype and torch's values


@given(st.data())
def test_shape_and_dtype_are_kept(data):
    ours, _ = data.draw(layers(unbiased=data.draw(st.booleans())))
    x = data.draw(inputs(ours))
    y = ours(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)


@given(st.data())
def test_over_two_axes_it_gives_what_torch_gives_to_the_bit_and_remembers_the_same(data):
    ours, theirs = data.draw(layers())
    for count in data.draw(st.lists(st.sampled_from([2, 3, 8]), min_size=1, max_size=3)):
        x = data.draw(inputs(ours, st.just((count,))))
        assert torch.equal(ours(x), theirs(x))
    assert_same_state(ours.state_dict(), theirs.state_dict())


@given(st.data())
def test_over_more_axes_it_takes_all_but_the_last_as_one_and_remembers_that(data):
    ours, theirs = data.draw(layers())
    for _ in range(data.draw(st.integers(1, 3))):
        x = data.draw(inputs(ours))
        assert torch.equal(ours(x), theirs(x.reshape(-1, ours.num_features)).view(x.shape))
    assert_same_state(ours.state_dict(), theirs.state_dict())


@given(st.data())
def test_over_batch_and_time_it_gives_what_torch_gives_with_the_channels_in_axis_1(data):
    ours, theirs = data.draw(layers(dtype=torch.float64))
    for _ in range(data.draw(st.integers(1, 3))):
        sizes = data.draw(axis_sizes("B", "T"))
        x = data.draw(inputs(ours, st.just(tuple(sizes.values()))))
        expected = theirs(x.transpose(1, 2)).transpose(1, 2)
        # torch sums in another order for that layout, which costs a few units of the last place.
        torch.testing.assert_close(ours(x), expected, rtol=1e-12, atol=1e-12)
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-12, atol=1e-12)


@given(st.data())
def test_the_gradients_of_input_and_parameters_are_those_of_torch_and_finite(data):
    ours, theirs = data.draw(layers())
    x = data.draw(inputs(ours))
    flat, weights = x.reshape(-1, ours.num_features), data.draw(inputs(ours, st.just(x.shape[:-1])))
    gradients = []
    for layer, given_x in ((ours, x.clone()), (theirs, flat.clone())):
        wanted = [given_x.requires_grad_(), *layer.parameters()]
        out_weights = weights.view(given_x.shape)
        gradients.append(torch.autograd.grad(layer(given_x), wanted, out_weights))
    for mine, reference in zip(*gradients, strict=True):
        assert torch.equal(mine, reference.view(mine.shape))
        assert mine.isfinite().all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2)])
def test_the_gradient_is_the_slope(shape, affine, unbiased, training):
    layer = BatchNorm1d(
        shape[-1], affine=affine, unbiased=unbiased, dtype=torch.float64, momentum=0.0
    ).train(training)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def with_parameters(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(
            layer, dict(zip(["weight", "bias"], parameters, strict=False)), (x,)
        )

    parameters = [torch.randn_like(p).requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(with_parameters, (x, *parameters))


# the statistics of the batch


@given(st.data())
def test_without_affine_each_channel_has_mean_0_and_variance_1(data):
    ours, _ = data.draw(layers(affine=False, dtype=torch.float64, eps=1e-5))
    x = data.draw(inputs(ours, st.just((8, 5))))
    y = ours.train()(x)
    # To eps, which is 1e-5 of a variance that is about 9 and surely more than 1.
    assert y.mean(dim=(0, 1)).abs().max() < 1e-12
    assert (y.var(dim=(0, 1), correction=0) - 1).abs().max() < 1e-5


@given(st.data())
def test_unbiased_divides_by_n_minus_1_and_remembers_what_biased_remembers(data):
    ours, theirs = data.draw(layers(unbiased=True, dtype=torch.float64))
    ours.train()
    theirs.train()
    x = data.draw(inputs(ours)).requires_grad_()
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes, correction=1)
    expected = (x - mean) / torch.sqrt(var + ours.eps)
    if ours.affine:
        expected = expected * ours.weight + ours.bias
    y = ours(x)
    # The layer rearranges the formula to use torch's kernel: a few units of the last place.
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-11)
    theirs(x.reshape(-1, ours.num_features))
    assert_same_state(ours.state_dict(), theirs.state_dict())
    wanted, weights = [x, *ours.parameters()], data.draw(inputs(ours, st.just(x.shape[:-1])))
    gradients = [torch.autograd.grad(each, wanted, weights) for each in (y, expected)]
    for gradient, reference in zip(*gradients, strict=True):
        # Close to a variance of nought the gradient is large and the formula cancels.
        torch.testing.assert_close(gradient, reference, rtol=1e-7, atol=1e-7)


@given(st.data())
def test_unbiased_makes_no_difference_to_running_statistics_in_use(data):
    ours, theirs = data.draw(layers(unbiased=True, track_running_stats=True))
    x = data.draw(inputs(ours, leading_axes().filter(len)))
    ours.eval()
    theirs.eval()
    assert torch.equal(ours(x), theirs(x.reshape(-1, ours.num_features)).view(x.shape))


def test_the_running_statistics_move_by_momentum_towards_the_unbiased_ones():
    layer = BatchNorm1d(2, momentum=0.25)
    layer(torch.tensor([[0.0, 8.0], [4.0, 8.0]]))
    assert layer.running_mean.tolist() == [0.5, 2.0]
    assert layer.running_var.tolist() == [0.75 + 0.25 * 8, 0.75]
    assert layer.num_batches_tracked.item() == 1


def test_without_momentum_the_running_statistics_are_the_average_over_the_batches():
    layer = BatchNorm1d(1, momentum=None)
    for low, high in [(0.0, 2.0), (4.0, 6.0), (-1.0, 1.0)]:
        layer(torch.tensor([[low], [high]]))
    # Float32, and a running average rounds at every batch.
    torch.testing.assert_close(layer.running_mean, torch.tensor([2.0]), rtol=1e-6, atol=0)
    torch.testing.assert_close(layer.running_var, torch.tensor([2.0]), rtol=1e-6, atol=0)
    assert layer.num_batches_tracked.item() == 3


@given(st.data())
def test_statistics_are_one_number_per_channel_whatever_the_axes(data):
    ours, _ = data.draw(layers(track_running_stats=True))
    ours(data.draw(inputs(ours)))
    assert ours.running_mean.shape == ours.running_var.shape == (ours.num_features,)
    assert ours.num_batches_tracked.shape == ()
    assert ours.num_batches_tracked.dtype == torch.int64


# what reaches what


@given(st.data())
def test_in_training_every_element_of_the_batch_reaches_every_other_one(data):
    ours, _ = data.draw(layers(unbiased=data.draw(st.booleans())))
    x = data.draw(inputs(ours))
    place = data.draw(st.integers(0, x[..., 0].numel() - 1))
    x.view(-1, ours.num_features)[place] = torch.nan
    assert ours.train()(x).isnan().all()


@given(st.data())
def test_in_evaluation_what_is_at_one_place_reaches_no_other_place(data):
    ours, _ = data.draw(layers(track_running_stats=True, unbiased=data.draw(st.booleans())))
    ours.eval()
    x = data.draw(inputs(ours, leading_axes(smallest=1).filter(len)))
    place = data.draw(st.integers(0, x[..., 0].numel() - 1))
    spoilt = x.clone()
    spoilt.view(-1, ours.num_features)[place] = torch.nan
    y, z = (ours(each).view(-1, ours.num_features) for each in (x, spoilt))
    others = torch.arange(len(y)) != place
    assert torch.equal(y[others], z[others])
    assert z[place].isnan().all()


@given(st.data())
def test_a_channel_reaches_no_other_channel(data):
    ours, _ = data.draw(layers(unbiased=data.draw(st.booleans())))
    x = data.draw(inputs(ours))
    channel = data.draw(st.integers(0, ours.num_features - 1))
    spoilt = x.clone()
    spoilt[..., channel] = torch.nan
    state = copied(ours)
    y = ours(x)
    ours.load_state_dict(state)
    z = ours(spoilt)
    others = torch.arange(ours.num_features) != channel
    assert torch.equal(y[..., others], z[..., others])
    assert z[..., channel].isnan().all()


@given(st.data())
def test_evaluation_leaves_the_state_alone_and_no_mode_writes_to_the_input(data):
    ours, _ = data.draw(layers(unbiased=data.draw(st.booleans())))
    x = data.draw(inputs(ours))
    before, state = x.clone(), copied(ours)
    assert torch.equal(ours.eval()(x), ours(x))
    assert_same_state(ours.state_dict(), state)
    ours.train()(x)
    assert torch.equal(x, before)


@given(st.data())
def test_without_running_statistics_evaluation_is_as_training(data):
    ours, _ = data.draw(layers(track_running_stats=False))
    x = data.draw(inputs(ours))
    assert ours.running_mean is ours.running_var is ours.num_batches_tracked is None
    assert torch.equal(ours.train()(x), ours.eval()(x))


def test_tracking_that_is_switched_off_later_leaves_the_running_statistics_alone_as_in_torch():
    ours, theirs = BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    x = torch.randn(4, 3)
    state = copied(ours)
    ours.track_running_stats = theirs.track_running_stats = False
    assert torch.equal(ours(x), theirs(x))
    ours(x * torch.inf)  # of which even a share of nought would show
    assert_same_state(ours.state_dict(), state)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_an_input_whose_memory_is_in_another_order_gives_the_same():
    x = torch.randn(5, 4, 3).permute(2, 1, 0)
    assert torch.equal(BatchNorm1d(5)(x), BatchNorm1d(5)(x.contiguous()))


# state


@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_its_state_dict_is_one_of_torch_and_the_other_way_round(affine, track):
    options = {"affine": affine, "track_running_stats": track}
    ours, theirs = BatchNorm1d(3, **options), torch.nn.BatchNorm1d(3, **options)
    assert_same_state(ours.state_dict(), theirs.state_dict())
    ours(torch.randn(4, 3))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert_same_state(theirs.state_dict(), ours.state_dict())


def test_a_state_dict_from_before_batches_were_counted_loads():
    state = torch.nn.BatchNorm1d(3).state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    layer = BatchNorm1d(3)
    layer.load_state_dict(state, strict=True)
    assert layer.num_batches_tracked.item() == 0


def test_it_starts_with_ones_and_zeros_and_comes_back_to_them():
    layer = BatchNorm1d(3)
    start = {
        "weight": torch.ones(3),
        "bias": torch.zeros(3),
        "running_mean": torch.zeros(3),
        "running_var": torch.ones(3),
        "num_batches_tracked": torch.tensor(0),
    }
    assert_same_state(layer.state_dict(), start)
    torch.nn.init.constant_(layer.weight, 5.0)
    layer(torch.randn(4, 3))
    layer.reset_parameters()
    assert_same_state(layer.state_dict(), start)


def test_its_state_is_made_on_the_device_and_of_the_dtype_asked_for():
    layer = BatchNorm1d(3, device="meta", dtype=torch.float64)
    kinds = {(t.device.type, t.dtype) for t in layer.state_dict().values() if t.ndim}
    assert kinds == {("meta", torch.float64)}
    y = layer(torch.zeros(4, 2, 3, device="meta", dtype=torch.float64))
    assert (y.shape, y.device.type, y.dtype) == ((4, 2, 3), "meta", torch.float64)


def test_it_normalises_half_precision_with_single_precision_state_as_torch_does():
    x = torch.randn(6, 3).bfloat16()
    ours, theirs = BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    assert torch.equal(ours(x), theirs(x))
    assert_same_state(ours.state_dict(), theirs.state_dict())


def test_it_is_a_module_of_typedwave_and_not_what_tools_take_for_channels_in_axis_1():
    layer = BatchNorm1d(3)
    assert isinstance(layer, typedwave.Module)
    assert not isinstance(layer, torch.nn.BatchNorm1d)
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(torch.nn.Sequential(layer))
    assert model[0] is layer


def test_it_prints_its_arguments():
    assert repr(BatchNorm1d(5)) == (
        "BatchNorm1d(5, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
    )
    assert repr(BatchNorm1d(5, 0.1, None, False, False, unbiased=True)) == (
        "BatchNorm1d(5, eps=0.1, momentum=None, affine=False, bias=False, "
        "track_running_stats=False, unbiased=True)"
    )


# errors


@given(st.data(), st.sampled_from([(1,), (1, 1), (0,), (0, 3), (2, 0)]))
def test_a_training_batch_without_a_variance_is_refused_and_leaves_no_trace(data, shape):
    ours, _ = data.draw(layers(unbiased=data.draw(st.booleans())))
    ours.train()
    state = copied(ours)
    with pytest.raises(ShapeError, match=f"it has {prod(shape)}(\n|$)"):
        ours(data.draw(inputs(ours, st.just(shape))))
    assert_same_state(ours.state_dict(), state)


@given(st.data(), st.sampled_from([(1,), (1, 1), (0,), (0, 3)]))
def test_without_running_statistics_evaluation_needs_a_variance_as_well(data, shape):
    ours, _ = data.draw(layers(track_running_stats=False))
    with pytest.raises(ShapeError, match=f"it has {prod(shape)}(\n|$)"):
        ours.eval()(data.draw(inputs(ours, st.just(shape))))


@given(st.data(), st.sampled_from([(1,), (1, 1), (0,), (0, 3), (2, 0)]))
def test_running_statistics_serve_a_batch_of_any_size(data, shape):
    ours, theirs = data.draw(layers(track_running_stats=True))
    x = data.draw(inputs(ours, st.just(shape)))
    expected = theirs.eval()(x.reshape(-1, ours.num_features))
    assert torch.equal(ours.eval()(x), expected.view(x.shape))


def test_a_training_batch_with_one_value_per_channel_is_explained():
    assert refusal(BatchNorm1d(68), torch.zeros(1, 1, 68)) == (
        """\
BatchNorm1d: x has the wrong shape
  expected  Float "*B num_features"   at least 2 values per channel to train on
  got       f32[1, 1, 68]             it has 1
  perhaps   a larger batch, or eval() to use the running statistics"""
    )


def test_an_empty_training_batch_is_explained():
    assert refusal(BatchNorm1d(68), torch.zeros(0, 4, 68)) == (
        """\
BatchNorm1d: x has the wrong shape
  expected  Float "*B num_features"   at least 2 values per channel to train on
  got       f32[0, 4, 68]             it has 0
  perhaps   a larger batch, or eval() to use the running statistics"""
    )


@pytest.mark.parametrize("training", [True, False])
def test_channels_in_axis_1_are_refused_in_either_mode(training):
    assert refusal(BatchNorm1d(5).train(training), torch.zeros(3, 5, 4)) == (
        """\
BatchNorm1d: x has the wrong shape
  expected  Float "*B num_features"   num_features = 5
  got       f32[3, 5, 4]              axis -1 is 4
  num_features = 5 comes from weight f32[5]
  perhaps   BatchNorm1d(num_features=4)"""
    )


def test_without_affine_the_size_comes_from_the_running_mean():
    assert refusal(BatchNorm1d(5, affine=False), torch.zeros(3, 4)) == (
        """\
BatchNorm1d: x has the wrong shape
  expected  Float "*B num_features"   num_features = 5
  got       f32[3, 4]                 axis -1 is 4
  num_features = 5 comes from running_mean f32[5]
  perhaps   BatchNorm1d(num_features=4)"""
    )


def test_a_wrong_shape_leaves_no_trace():
    layer = BatchNorm1d(5)
    state = copied(layer)
    refusal(layer, torch.zeros(3, 4))
    assert_same_state(layer.state_dict(), state)


def test_integers_are_refused():
    assert refusal(BatchNorm1d(5), torch.zeros(3, 5, dtype=torch.int64)) == (
        """\
BatchNorm1d: x has the wrong dtype
  expected  Float "*B num_features"
  got       i64[3, 5]   its dtype is int64
  perhaps   x.float()"""
    )


def test_what_is_no_tensor_is_refused():
    assert refusal(BatchNorm1d(5), None) == (
        """\
BatchNorm1d: x is not a tensor
  expected  Float "*B num_features"
  got       None"""
    )


@pytest.mark.parametrize("container", [torch.nn.Sequential, Sequential])
def test_the_error_has_the_path_inside_a_model(container):
    model = container(Linear(3, 7), container(BatchNorm1d(7), BatchNorm1d(5)))
    assert refusal(model, torch.zeros(1, 3)) == (
        """\
1.0 (BatchNorm1d): x has the wrong shape
  expected  Float "*B num_features"   at least 2 values per channel to train on
  got       f32[1, 7]                 it has 1
  shapes until here
    0    Linear       f32[1, 3]  -> f32[1, 7]
    1.0  BatchNorm1d  f32[1, 7]  -> refused
  perhaps   a larger batch, or eval() to use the running statistics"""
    )
    assert refusal(model, torch.zeros(2, 3)) == (
        """\
1.1 (BatchNorm1d): x has the wrong shape
  expected  Float "*B num_features"   num_features = 5
  got       f32[2, 7]                 axis -1 is 7
  num_features = 5 comes from 1.1.weight f32[5]
  shapes until here
    0    Linear       f32[2, 3]  -> f32[2, 7]
    1.0  BatchNorm1d  f32[2, 7]  -> f32[2, 7]
    1.1  BatchNorm1d  f32[2, 7]  -> refused
  perhaps   BatchNorm1d(num_features=7)"""
    )


def test_running_statistics_that_kept_an_axis_are_wrong_state():
    layer = BatchNorm1d(5)
    layer.running_var = torch.ones(1, 5)
    assert refusal(layer, torch.zeros(3, 5), StateError) == (
        """\
BatchNorm1d: running_var has the wrong shape
  declared  Float "num_features" or None   num_features = 5
  got       f32[1, 5]                      it has 2 axes
  num_features = 5 comes from weight f32[5]"""
    )


def test_a_count_of_batches_that_is_no_number_is_wrong_state():
    layer = BatchNorm1d(5)
    layer.num_batches_tracked = torch.zeros(5, dtype=torch.int64)
    assert refusal(layer, torch.zeros(3, 5), StateError) == (
        """\
BatchNorm1d: num_batches_tracked has the wrong shape
  declared  Int64 "" or None
  got       i64[5]   it has 1 axis"""
    )


def test_one_sample_without_a_batch_axis_is_normalised_by_the_running_statistics():
    layer = BatchNorm1d(5).eval()
    layer.running_mean += 2
    x = torch.arange(5.0)
    assert torch.equal(layer(x), layer(x[None])[0])


def test_without_any_state_the_channels_are_still_counted():
    layer = BatchNorm1d(5, affine=False, track_running_stats=False)
    assert refusal(layer, torch.zeros(3, 4)) == (
        """\
BatchNorm1d: x has the wrong shape
  expected  Float "*B num_features"   num_features = 5
  got       f32[3, 4]                 axis -1 is 4"""
    )


@pytest.mark.parametrize("affine", [False, True])
def test_unbiased_takes_half_precision_beside_its_own_statistics(affine):
    x = torch.linspace(-1, 1, 18).reshape(6, 3)
    layer = BatchNorm1d(3, affine=affine, unbiased=True)
    halved = layer(x.bfloat16())
    assert halved.dtype == torch.bfloat16
    # bfloat16 has eight bits: values near 1.5 are 1/128 apart.
    torch.testing.assert_close(halved.float(), layer(x), atol=0.02, rtol=0)
