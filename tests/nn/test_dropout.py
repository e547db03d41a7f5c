import pytest
import torch
from agreement import assert_compiles, assert_copies_agree, in_each_way, refusal
from hypothesis import given
from hypothesis import strategies as st

import typedwave
from typedwave.nn import Dropout, Sequential, Tanh
from typedwave.testing import leading_axes, normal_tensors

DTYPES = [torch.bfloat16, torch.float32, torch.float64]
probabilities = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@st.composite
def inputs(draw: st.DrawFn):
    return draw(normal_tensors(draw(leading_axes()), dtype=draw(st.sampled_from(DTYPES))))


def seeded(call, x: torch.Tensor, seed: int) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return call(x)


@given(inputs(), probabilities, st.booleans(), st.integers(0, 99))
def test_with_the_same_seed_it_gives_what_torch_gives_to_the_bit(x, p, training, seed):
    ours, theirs = Dropout(p).train(training), torch.nn.Dropout(p).train(training)
    y = seeded(ours, x, seed)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert torch.equal(y, seeded(theirs, x, seed))


@given(inputs(), probabilities)
def test_in_eval_mode_it_leaves_everything_as_it_is(x, p):
    assert torch.equal(Dropout(p).eval()(x), x)


def test_in_training_a_share_p_is_zeroed_and_the_others_are_divided_by_1_minus_p():
    x = torch.rand(100, 100) + 1
    y = seeded(Dropout(0.2), x, 5)
    kept = y != 0
    # 10,000 draws: a deviation is 0.004.
    assert abs(1 - kept.float().mean() - 0.2) < 0.016
    # torch multiplies with the reciprocal, which is one unit of the last place from the quotient.
    torch.testing.assert_close(y[kept], x[kept] / 0.8, rtol=1e-6, atol=0)


@given(inputs(), st.integers(0, 99))
def test_its_gradient_is_what_it_multiplied_with(x, seed):
    given_x = x.clone().requires_grad_()
    y = seeded(Dropout(0.5), given_x, seed)
    gradient = torch.autograd.grad(y, given_x, torch.ones_like(y))[0]
    assert set(gradient.unique().tolist()) <= {0.0, 2.0}
    assert torch.equal(x * gradient, y)


def test_in_place_it_writes_to_its_input_and_otherwise_it_does_not():
    for inplace in (True, False):
        x = torch.ones(50)
        y = seeded(Dropout(0.5, inplace=inplace), x, 5)
        assert torch.equal(x, y if inplace else torch.ones(50))


def test_it_takes_a_number_without_axes_and_an_empty_batch():
    for shape in ((), (0, 3)):
        assert Dropout(0.5)(torch.zeros(shape)).shape == shape


@in_each_way
def test_a_copy_gives_the_same_and_there_is_no_state(copied):
    x = torch.randn(3, 8)
    assert_copies_agree(Dropout(0.5), copied, lambda layer: seeded(layer, x, 5))
    assert Dropout(0.5).state_dict() == {}


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_it_gives_what_it_gives_uncompiled(dynamic):
    assert_compiles(Dropout(0.5).eval(), torch.randn(2, 3), dynamic=dynamic)
    assert_compiles(Dropout(1.0), torch.randn(2, 3), dynamic=dynamic)


def test_it_is_one_of_torch_and_a_module_of_typedwave():
    layer = Dropout(0.25)
    assert isinstance(layer, torch.nn.Dropout)
    assert isinstance(layer, typedwave.Module)
    assert repr(layer) == "Dropout(p=0.25, inplace=False)"
    assert Dropout().p == torch.nn.Dropout().p == 0.5


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_probability_outside_of_0_to_1_is_refused(p):
    assert refusal(Dropout, p, kind=ValueError) == (
        f"dropout probability has to be between 0 and 1, but got {p}"
    )


def test_integers_are_refused_with_the_path():
    model = Sequential(Sequential(Dropout(0.5)), Tanh())
    assert refusal(model, torch.zeros(2, 3, dtype=torch.int64)) == (
        """\
0.0 (Dropout): x has the wrong dtype
  expected  Float "*S"
  got       i64[2, 3]   its dtype is int64
  perhaps   x.float()"""
    )
