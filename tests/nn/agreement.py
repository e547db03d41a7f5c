"""What tests of several layers say of a layer: that two of them agree, and that a copy is one."""

import copy
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from typedwave import ShapeError
from typedwave.testing import normal_tensors

ROUNDING = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.float64: {"rtol": 1e-11, "atol": 1e-12},
}
"""What sums of a few dozen numbers in another order may differ by: some units of the last place."""


def refusal(call: Callable[..., object], *args: Any, kind: type[Exception] = ShapeError) -> str:
    """The whole message with which a call is refused."""
    with pytest.raises(kind) as caught:
        call(*args)
    assert type(caught.value) is kind
    return str(caught.value)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors of a result, however nested."""
    if isinstance(value, Tensor):
        yield value
    else:
        for part in value:
            yield from tensors_of(part)


def assert_equal(value: Any, expected: Any) -> None:
    """To the bit."""
    for mine, reference in zip(tensors_of(value), tensors_of(expected), strict=True):
        assert (mine.shape, mine.dtype) == (reference.shape, reference.dtype)
        assert torch.equal(mine, reference)


def assert_close(value: Any, expected: Any) -> None:
    """To the rounding of their dtype."""
    for mine, reference in zip(tensors_of(value), tensors_of(expected), strict=True):
        torch.testing.assert_close(mine, reference, **ROUNDING[reference.dtype])


def gradients(
    call: Callable[..., Any], inputs: Sequence[Tensor], layer: torch.nn.Module, *, seed: int = 0
) -> dict[str, Tensor]:
    """Of a weighed sum of all that a call gives, by what it was derived by."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    results = [y for y in tensors_of(call(*leaves)) if y.requires_grad]  # but an empty skip
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(y.shape, generator=generator, dtype=y.dtype) for y in results]
    wanted = {f"input {place}": leaf for place, leaf in enumerate(leaves)}
    wanted |= dict(layer.named_parameters())
    found = torch.autograd.grad(results, list(wanted.values()), weights)
    return dict(zip(wanted, found, strict=True))


def assert_same_gradients(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    inputs: Sequence[Tensor],
    *,
    layers: tuple[torch.nn.Module, torch.nn.Module],
    exactly: bool = False,
) -> None:
    """Two calls derive alike by their inputs and by the parameters of a layer each."""
    mine, reference = (
        gradients(call, inputs, layer) for call, layer in zip((ours, theirs), layers, strict=True)
    )
    assert set(mine) == set(reference)
    for name, gradient in mine.items():
        assert gradient.isfinite().all(), name
        (assert_equal if exactly else assert_close)(gradient, reference[name])


@st.composite
def redrawn(draw: st.DrawFn, layer: torch.nn.Module):
    """The layer with parameters of normal numbers: none is left at its zeros or ones."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(draw(normal_tensors(tuple(parameter.shape), dtype=parameter.dtype)))
    return layer


def copied_by_file(layer: torch.nn.Module) -> torch.nn.Module:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def from_state_dict(layer: torch.nn.Module, *, assign: bool = False) -> torch.nn.Module:
    """A layer without numbers that is given those of another."""
    fresh = copy.deepcopy(layer).to("meta")
    if not assign:
        fresh.to_empty(device="cpu")
        for tensor in fresh.state_dict().values():
            tensor.fill_(torch.nan)
    fresh.load_state_dict(layer.state_dict(), strict=True, assign=assign)
    return fresh


COPIES: dict[str, Callable[[torch.nn.Module], torch.nn.Module]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "file": copied_by_file,
    "state dict": from_state_dict,
    "assigned state dict": lambda layer: from_state_dict(layer, assign=True),
}
in_each_way = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())


def assert_copies_agree(
    layer: torch.nn.Module,
    copied: Callable[[torch.nn.Module], torch.nn.Module],
    call: Callable[[torch.nn.Module], Any],
) -> None:
    """A copy of a layer that was called before prints and gives the same."""
    expected = call(layer)
    other = copied(layer)
    assert type(other) is type(layer)
    assert repr(other) == repr(layer)
    assert_equal(call(other), expected)
    assert_equal(call(other.double().float()), expected)


def assert_compiles(call: Callable[..., Any], *inputs: Tensor, dynamic: bool = False) -> None:
    """Compiled as one graph, a call gives what it gives else."""
    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    # Decomposed kernels sum in another order.
    assert_close(compiled(*inputs), call(*inputs))
    torch._dynamo.reset()


def assert_on_meta(layer: torch.nn.Module, *inputs: Tensor) -> None:
    """A layer made on the device called meta, in bfloat16, gives what has shape and dtype only."""
    kinds = {(parameter.device.type, parameter.dtype) for parameter in layer.parameters()}
    assert kinds == {("meta", torch.bfloat16)}
    for y in tensors_of(layer(*(x.to("meta", torch.bfloat16) for x in inputs))):
        assert (y.device.type, y.dtype) == ("meta", torch.bfloat16)
