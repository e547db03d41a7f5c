from math import gcd

import pytest
import torch
from drawn import QUICK, can_be, simplest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from jaxtyping import BFloat16, Bool, Complex, Float, Float64, Int, Int32, Num, UInt8
from torch import Tensor

from typedwave.testing import CheckError, axis_sizes, leading_axes, normal_tensors, tensors

NAMES = ("B", "T", "C", "H", "V", "K")


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


# tensors of an annotation

MATRIX = Float[Tensor, "T C"]


@given(tensors(Float[Tensor, "*B 3 T T-1 C C"], C=(2, 4)))
def test_an_annotated_tensor_has_the_axes_of_its_annotation(x):
    *_, three, time, less, channels, again = x.shape
    assert (three, less, again) == (3, time - 1, channels)
    assert channels in (2, 4)


@given(tensors(Float[Tensor, "B T C"], edges=False))
def test_without_edges_sizes_are_distinct_coprime_and_two_at_least(x):
    b, t, c = x.shape
    assert gcd(b, t) == gcd(b, c) == gcd(t, c) == 1
    assert min(b, t, c) >= 2


EDGES = {
    "no batch": lambda x: x.shape[0] == 0 and x.shape[1] > 1,
    "no time": lambda x: x.shape[1] == 0 and x.shape[0] > 1,
    "a batch of one": lambda x: x.shape[0] == 1 and x.shape[1] > 1,
    "equal sizes": lambda x: x.shape[0] == x.shape[1] > 1,
    "a common divisor": lambda x: 1 < gcd(*x.shape) < min(x.shape),
}


@pytest.mark.parametrize("condition", EDGES.values(), ids=EDGES)
def test_with_edges_there_is(condition):
    assert can_be(tensors(MATRIX), condition)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2,), (2, 2), (2, 3), (2, 3, 5)], ids=str)
def test_a_star_stands_for_none_to_three_axes(shape):
    assert can_be(tensors(Float[Tensor, "*B C"]), lambda x: x.shape[:-1] == shape)


NUMBERS = {
    "normal": lambda x: x.isfinite().all() and 0.1 < x.double().std() < 4,
    "counting": lambda x: set(x.tolist()) <= {-3, -2, -1, 0, 1, 2, 3},
    "constant": lambda x: x.unique().numel() == 1 and x[0] != 0,
    "zero": lambda x: (x == 0).all(),
    "large": lambda x: 1e3 < x.abs().max() < 1e5,
    "huge": lambda x: (x.abs() == torch.finfo(x.dtype).max).all(),
    "tiny": lambda x: (x.abs() == torch.finfo(x.dtype).tiny).all(),
    "inf": lambda x: x.isinf().any() and not x.isinf().all() and not x.isnan().any(),
    "nan": lambda x: x.isnan().any() and not x.isnan().all() and not x.isinf().any(),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_of_the_kind_asked_for(kind, dtype):
    @given(tensors(Float[Tensor, "T"], values=kind, dtypes=[dtype], T=11))
    @settings(max_examples=5)
    def holds(x):
        assert x.dtype == dtype
        assert NUMBERS[kind](x)

    holds()


def test_of_several_kinds_each_is_drawn_and_the_first_is_the_simplest():
    strategy = tensors(MATRIX, values=("zero", "constant", "nan"))
    for kind in ("zero", "constant"):
        assert can_be(strategy, lambda x, kind=kind: x.numel() and NUMBERS[kind](x.flatten()))
    assert can_be(strategy, lambda x: x.isnan().any())
    assert not simplest(strategy).any()


@given(tensors(MATRIX, bounds=(-0.25, 0.5)))
def test_numbers_are_within_their_bounds(x):
    assert ((x >= -0.25) & (x <= 0.5)).all()


LAYOUTS = {
    "contiguous": lambda x: x.is_contiguous(),
    "transposed": lambda x: x.stride()[0] == 1 and x.mT.is_contiguous(),
    "strided": lambda x: x.stride()[-1] == 2 and x.stride()[0] > 2 * x.shape[1],
    "expanded": lambda x: x.stride()[0] == 0 and (x == x[0]).all() and x[0].is_contiguous(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.data())
def test_tensors_lie_in_memory_as_asked_for(layout, data):
    x = data.draw(tensors(MATRIX, layouts=layout, edges=False))
    assert LAYOUTS[layout](x)
    x[0, 0] = 7  # they can be written to
    assert x[0, 0] == 7


def test_another_layout_changes_no_number():
    plain = simplest(tensors(MATRIX))
    for layout in ("transposed", "strided"):
        assert torch.equal(simplest(tensors(MATRIX, layouts=layout)), plain)


@pytest.mark.parametrize(
    ("hint", "dtype"),
    [
        (Float, torch.float32),
        (Float64, torch.float64),
        (BFloat16, torch.bfloat16),
        (Num, torch.float32),
        (Int, torch.int64),
        (Int32, torch.int32),
        (UInt8, torch.uint8),
        (Bool, torch.bool),
        (Complex, torch.complex64),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_the_dtype_is_the_usual_one_of_the_annotation(hint, dtype):
    assert simplest(tensors(hint[Tensor, "T"])).dtype == dtype


def test_a_floating_dtype_is_drawn_where_the_annotation_leaves_it_open():
    kinds = [None, torch.float64]
    for kind in (torch.float32, torch.float64):
        assert can_be(tensors(MATRIX, dtypes=kinds), lambda x, kind=kind: x.dtype == kind)
    assert simplest(tensors(BFloat16[Tensor, "T"], dtypes=[torch.float64])).dtype == torch.bfloat16
    assert simplest(tensors(Int[Tensor, "T"], dtypes=[torch.float64])).dtype == torch.int64


@given(tensors(Int[Tensor, "T"], below=3, edges=False), tensors(Bool[Tensor, "T"], edges=False))
def test_integers_are_below_their_bound_and_booleans_are_both(ids, mask):
    assert set(ids.tolist()) <= {0, 1, 2}
    assert set(mask.tolist()) == {True, False}


def test_the_largest_integer_occurs():
    assert can_be(tensors(Int[Tensor, "T"], below=3), lambda x: (x == 2).any())


def test_complex_numbers_have_an_imaginary_part():
    assert simplest(tensors(Complex[Tensor, "T"])).imag.all()


def test_the_smallest_tensor_is_small():
    assert find(tensors(MATRIX), lambda _: True, settings=QUICK).shape == (2, 3)
    assert find(tensors(MATRIX), lambda x: x.shape[0] > 5, settings=QUICK).shape == (7, 2)
    assert find(tensors(MATRIX), lambda x: x.numel() >= 40, settings=QUICK).numel() <= 55


REFUSED = {
    "tensors takes an annotation such as Float[Tensor, 'B C'], not <class 'int'>": {"hint": int},
    "sizes speaks of an axis 'Q', but the axes of Float \"T C\" are C, T": {"Q": 3},
    "sizes: T is -1; give a size, or several, of 0 or more": {"T": -1},
    "sizes: T is (); give a size, or several, of 0 or more": {"T": ()},
    "sizes: T is 'x'; give a size, or several, of 0 or more": {"T": "x"},
    "sizes: T is 2.5; give a size, or several, of 0 or more": {"T": 2.5},
    "bounds: x is 3; give the least and the largest number": {"bounds": 3},
    "bounds: x is (1, 0); give the least and the largest number": {"bounds": (1, 0)},
    "values is 'many'; there are normal, counting, constant, zero, large, huge, tiny, inf, nan": {
        "values": "many"
    },
    "layouts is []; there are contiguous, transposed, strided, expanded": {"layouts": []},
}


@pytest.mark.parametrize(("message", "options"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_cannot_be_drawn_is_refused_at_once(message, options):
    with pytest.raises(CheckError) as caught:
        tensors(**{"hint": MATRIX, **options})
    assert str(caught.value) == message
