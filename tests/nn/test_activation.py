import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import typedwave
from typedwave import ShapeError
from typedwave.nn import Linear, Sequential, Tanh
from typedwave.testing import leading_axes, normal_tensors

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


@st.composite
def tensors(draw: st.DrawFn, *, smallest: int = 0):
    shape = draw(leading_axes(smallest=smallest))
    return draw(normal_tensors(shape, dtype=draw(st.sampled_from(DTYPES))))


def refusal(model: torch.nn.Module, x: object) -> str:
    with pytest.raises(ShapeError) as caught:
        model(x)
    return str(caught.value)


@given(tensors(), st.booleans())
def test_it_gives_what_torch_gives_to_the_bit_in_either_mode(x, training):
    before = x.clone()
    y = Tanh().train(training)(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert torch.equal(y, torch.nn.Tanh()(x))
    assert torch.equal(y, torch.tanh(x))
    assert torch.equal(x, before)


@given(tensors())
def test_its_gradient_is_that_of_torch_and_finite(x):
    gradients = []
    for layer in (Tanh(), torch.nn.Tanh()):
        given_x = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(layer(given_x), [given_x], torch.ones_like(x))[0])
    assert torch.equal(*gradients)
    assert gradients[0].isfinite().all()


@given(tensors(smallest=1), st.data())
def test_what_is_at_one_place_reaches_no_other_place(x, data):
    place = data.draw(st.integers(0, x.numel() - 1))
    spoilt = x.clone()
    spoilt.view(-1)[place] = torch.nan
    y, z = Tanh()(x).view(-1), Tanh()(spoilt).view(-1)
    others = torch.arange(x.numel()) != place
    assert torch.equal(y[others], z[others])
    assert z[place].isnan()


def test_it_has_no_state_and_prints_no_arguments():
    assert Tanh().state_dict() == {}
    assert Tanh().load_state_dict(torch.nn.Tanh().state_dict(), strict=True).missing_keys == []
    assert repr(Tanh()) == "Tanh()"


def test_it_runs_on_the_device_of_its_input():
    y = Tanh()(torch.zeros(2, 3, device="meta", dtype=torch.float64))
    assert (y.shape, y.device.type, y.dtype) == ((2, 3), "meta", torch.float64)


def test_it_is_a_tanh_of_torch_and_a_module_of_typedwave():
    assert isinstance(Tanh(), torch.nn.Tanh)
    assert isinstance(Tanh(), typedwave.Module)


def test_integers_are_refused():
    assert refusal(Tanh(), torch.zeros(32, 8, dtype=torch.int64)) == (
        """\
Tanh: x has the wrong dtype
  expected  Float "*S"
  got       i64[32, 8]   its dtype is int64
  perhaps   x.float()"""
    )


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.complex64])
def test_only_floating_tensors_pass(dtype):
    with pytest.raises(ShapeError, match="x has the wrong dtype"):
        Tanh()(torch.zeros(3, dtype=dtype))


def test_what_is_no_tensor_is_refused():
    assert refusal(Tanh(), 0.5) == (
        """\
Tanh: x is not a tensor
  expected  Float "*S"
  got       float 0.5"""
    )


@pytest.mark.parametrize("container", [torch.nn.Sequential, Sequential])
def test_the_error_has_the_path_inside_a_model(container):
    model = container(container(Tanh()), Linear(3, 2))
    assert refusal(model, torch.zeros(3, dtype=torch.int32)) == (
        """\
0.0 (Tanh): x has the wrong dtype
  expected  Float "*S"
  got       i32[3]   its dtype is int32
  perhaps   x.float()"""
    )
