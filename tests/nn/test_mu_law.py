import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from typedwave import ShapeError
from typedwave.nn.mu_law import mu_law_decode, mu_law_encode

LEVELS = st.one_of(st.integers(2, 300), st.sampled_from([4_096, 32_767, 65_535, 65_536]))
AMPLITUDES = st.floats(-1, 1, width=32)


def refusal(function, *args, **options) -> str:
    with pytest.raises(ValueError, match=f"^{function.__name__}: ") as caught:
        function(*args, **options)
    assert caught.value.__context__ is None
    return str(caught.value)


@given(LEVELS)
def test_each_level_is_encoded_as_itself(levels):
    ids = torch.arange(levels)
    assert torch.equal(mu_law_encode(mu_law_decode(ids, levels=levels), levels=levels), ids)


@given(LEVELS)
def test_levels_rise_strictly_from_minus_one_to_one(levels):
    x = mu_law_decode(torch.arange(levels), levels=levels)
    assert (x.diff() > 0).all()
    assert (x[0].item(), x[-1].item()) == (-1.0, 1.0)


@given(LEVELS)
def test_levels_are_symmetric_to_the_bit(levels):
    x = mu_law_decode(torch.arange(levels), levels=levels)
    assert torch.equal(x, -x.flip(0))


@given(st.lists(AMPLITUDES, min_size=1, max_size=20), LEVELS)
def test_encoding_never_falls(values, levels):
    x = torch.tensor(sorted(values))
    ids = mu_law_encode(x, levels=levels)
    assert (ids.diff() >= 0).all()
    assert ((ids >= 0) & (ids < levels)).all()


@given(AMPLITUDES, LEVELS)
def test_an_amplitude_and_its_negative_are_levels_that_mirror_each_other(value, levels):
    one, other = mu_law_encode(torch.tensor([value, -value]), levels=levels).tolist()
    # Halfway between two levels both are rounded up.
    assert one + other - (levels - 1) in (0, 1)


@given(st.lists(AMPLITUDES, min_size=1, max_size=20), LEVELS)
def test_what_comes_back_is_off_by_half_a_step_at_most(values, levels):
    # |y - y'| <= 1 / mu on the scale of the law, where 1 + mu |x| = (1 + mu)^|y|. So for one sign
    # |x'| + 1/mu is at most (1 + mu)^(1/mu) times |x| + 1/mu; where 0 is between them, |y| + |y'|
    # is at most 1/mu, and (1 + mu)^|y| - 1 is convex, so the same bound holds.
    mu = levels - 1
    x = torch.tensor(values, dtype=torch.float64)
    again = mu_law_decode(mu_law_encode(x, levels=levels), levels=levels)
    bound = (x.abs() + 1 / mu) * math.expm1(math.log1p(mu) / mu)
    # Levels are rounded to float32, by 6e-8 at most.
    assert ((x - again).abs() <= bound + 6e-8).all()


def test_the_bound_is_reached_between_the_two_loudest_levels():
    x = torch.linspace(0.95, 1, 100_001, dtype=torch.float64)
    off = (x - mu_law_decode(mu_law_encode(x))).abs()
    bound = (x + 1 / 255) * math.expm1(math.log1p(255) / 255)
    assert 0.97 < (off / bound).max() < 1


@given(st.lists(AMPLITUDES, min_size=1, max_size=20))
def test_it_is_the_formula_of_the_paper(values):
    x = torch.tensor(values, dtype=torch.float64)
    y = x.sign() * torch.log(1 + 255 * x.abs()) / math.log(256)
    exact = (y + 1) / 2 * 255
    assert ((mu_law_encode(x) - exact).abs() <= 0.5 + 1e-9).all()


def test_a_few_levels_by_hand():
    # mu = 3: 1/3 is log(2) / log(4), a half of the scale.
    x = torch.tensor([-1.0, -1 / 3, -0.3, 0.0, 0.1, 0.34, 1.0])
    assert mu_law_encode(x, levels=4).tolist() == [0, 1, 1, 2, 2, 2, 3]
    expected = torch.tensor([-1.0, -(4 ** (1 / 3) - 1) / 3, (4 ** (1 / 3) - 1) / 3, 1.0])
    torch.testing.assert_close(mu_law_decode(torch.arange(4), levels=4), expected)


def test_silence_is_the_level_in_the_middle():
    for levels in (2, 3, 255, 256, 65_536):
        assert mu_law_encode(torch.zeros(()), levels=levels).item() == levels // 2
    assert mu_law_decode(torch.tensor(128), levels=257).item() == 0


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (2, 0, 7)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_shape_and_floating_dtype_is_taken(shape, dtype):
    ids = mu_law_encode(torch.rand(shape).to(dtype))
    assert (ids.shape, ids.dtype) == (shape, torch.int64)
    x = mu_law_decode(ids)
    assert (x.shape, x.dtype) == (shape, torch.float32)


def test_it_is_the_same_compiled_to_one_graph():
    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        ids = mu_law_encode(x)
        return ids, mu_law_decode(ids)

    x = torch.linspace(-1, 1, 1_001)
    for mine, reference in zip(
        torch.compile(both, fullgraph=True, backend="eager")(x), both(x), strict=True
    ):
        assert torch.equal(mine, reference)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [0.5, 1.0001, -0.2],
            "mu_law_encode: x holds 1.0001, but amplitudes are from -1 to 1; "
            "x.clamp(-1, 1) clips it",
        ),
        (
            [-300.0, 8.0],
            "mu_law_encode: x holds -300, but amplitudes are from -1 to 1; x.clamp(-1, 1) clips it",
        ),
        (
            [0.1, -math.inf],
            "mu_law_encode: x holds -inf, but amplitudes are from -1 to 1; x.clamp(-1, 1) clips it",
        ),
        ([0.1, math.nan, 5.0], "mu_law_encode: x holds nan, but amplitudes are from -1 to 1"),
    ],
)
def test_what_is_too_loud_and_nan_are_refused(values, message):
    assert refusal(mu_law_encode, torch.tensor(values)) == message


@pytest.mark.parametrize(("ids", "wrong"), [([0, 256], 256), ([-1, 300], -1)])
def test_what_is_no_level_is_refused(ids, wrong):
    assert refusal(mu_law_decode, torch.tensor(ids)) == (
        f"mu_law_decode: ids hold {wrong}, but levels are 0 to 255, as levels = 256"
    )


@pytest.mark.parametrize("levels", [1, 0, -3, 65_537, True])
def test_a_number_of_levels_that_is_none_is_refused(levels):
    for function, x in ((mu_law_encode, torch.zeros(1)), (mu_law_decode, torch.tensor([0]))):
        assert refusal(function, x, levels=levels) == (
            f"{function.__name__}: levels is {levels!r}, but has to be a whole number from 2 to "
            "65536"
        )


def test_samples_in_whole_numbers_are_refused():
    with pytest.raises(ShapeError) as caught:
        mu_law_encode(torch.tensor([3, -7]))
    assert str(caught.value) == (
        """\
mu_law_encode: x has the wrong dtype
  expected  Float "*S"
  got       i64[2]   its dtype is int64
  perhaps   x.float()"""
    )
