from math import gcd

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from typedwave.testing import axis_sizes, leading_axes, normal_tensors

NAMES = ("B", "T", "C", "H", "V", "K")


def can_be(strategy: st.SearchStrategy, condition) -> bool:
    """Whether the strategy draws something of which the condition holds."""
    try:
        find(strategy, condition, settings=settings(max_examples=1000, database=None))
    except NoSuchExample:
        return False
    return True


@given(st.integers(0, 6).map(lambda count: NAMES[:count]), st.data())
def test_the_sizes_of_axes_are_by_name_distinct_and_coprime(names, data):
    sizes = data.draw(axis_sizes(*names))
    assert tuple(sizes) == names
    values = list(sizes.values())
    assert all(size >= 2 for size in values)
    assert all(gcd(a, b) == 1 for i, a in enumerate(values) for b in values[:i])


def test_either_of_two_axes_can_be_the_longer_one():
    assert can_be(axis_sizes("B", "C"), lambda sizes: sizes["B"] < sizes["C"])
    assert can_be(axis_sizes("B", "C"), lambda sizes: sizes["B"] > sizes["C"])


@pytest.mark.parametrize("size", [2, 3, 5, 7, 11, 13])
def test_an_axis_can_have_each_of_six_sizes(size):
    assert can_be(axis_sizes("B"), lambda sizes: sizes == {"B": size})


def test_more_axes_than_there_are_sizes_are_refused():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # the whole message is compared
        axis_sizes(*NAMES, "S")
    assert str(caught.value) == "axis_sizes: 7 names, but sizes for 6 at most"


@given(st.integers(0, 4), st.data())
def test_leading_axes_are_at_most_three_and_of_the_least_size_at_least(smallest, data):
    shape = data.draw(leading_axes(smallest=smallest))
    assert type(shape) is tuple
    assert len(shape) <= 3
    assert all(smallest <= size <= 4 for size in shape)


@pytest.mark.parametrize(
    "condition",
    [
        lambda shape: shape == (),
        lambda shape: 0 in shape,
        lambda shape: 1 in shape,
        lambda shape: 4 in shape,
        lambda shape: len(shape) == 3,
        lambda shape: len(shape) == 2 and shape[0] == shape[1] > 1,
        lambda shape: len(shape) == 2 and shape[0] < shape[1],
        lambda shape: len(shape) == 2 and shape[0] > shape[1],
    ],
    ids=["none", "empty", "one", "four", "three axes", "equal", "growing", "shrinking"],
)
def test_leading_axes_can_be(condition):
    assert can_be(leading_axes(), condition)


def test_leading_axes_are_never_empty_if_not_asked_for():
    assert not can_be(leading_axes(smallest=1), lambda shape: 0 in shape)


@given(leading_axes(), st.sampled_from([torch.bfloat16, torch.float32, torch.float64]), st.data())
def test_tensors_have_the_shape_and_dtype_asked_for(shape, dtype, data):
    x = data.draw(normal_tensors(shape, dtype=dtype))
    assert (x.shape, x.dtype, x.device.type) == (shape, dtype, "cpu")
    assert not x.requires_grad
    assert x.isfinite().all()


def test_tensors_are_single_precision_if_not_told_otherwise():
    assert find(normal_tensors((2,)), lambda x: True).dtype == torch.float32


@settings(max_examples=10)
@given(normal_tensors((100, 100)))
def test_values_are_standard_normal(x):
    # Six standard errors of 10,000 values: 0.01 for the mean, 0.007 for the deviation, and
    # sqrt(p (1 - p)) / 100 for the share of values beyond 1, where p = 0.3173.
    assert abs(x.mean()) < 0.06
    assert abs(x.std() - 1) < 0.042
    assert abs((x.abs() > 1).float().mean() - 0.3173) < 0.028


def test_values_differ_from_draw_to_draw():
    pairs = st.tuples(normal_tensors((3,)), normal_tensors((3,)))
    assert can_be(pairs, lambda pair: not torch.equal(*pair))
    assert can_be(pairs, lambda pair: torch.equal(*pair))


def test_a_drawn_tensor_is_the_same_when_its_example_is_repeated():
    seen: list[list[float]] = []

    def remember(x: torch.Tensor) -> bool:
        seen.append(x.tolist())
        return True

    for _ in range(2):
        find(normal_tensors((3,)), remember, settings=settings(database=None))
    assert seen[0] == seen[-1]


@given(st.data())
def test_the_global_generator_of_torch_is_left_alone(data):
    before = torch.get_rng_state()
    data.draw(normal_tensors((3, 2)))
    assert torch.equal(torch.get_rng_state(), before)
