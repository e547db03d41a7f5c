"""Every layer keeps the laws that apply to it."""

import pytest
from jaxtyping import Float
from torch import Tensor

from typedwave import nn
from typedwave.testing import each_law

pytestmark = pytest.mark.usefixtures("default_profile")


@each_law()
def test_linear():
    return nn.Linear(5, 3)


@each_law()
def test_linear_without_bias():
    return nn.Linear(5, 3, bias=False)


@each_law()
def test_embedding():
    return nn.Embedding(7, 3)


@each_law()
def test_batch_norm():
    return nn.BatchNorm1d(5)


@each_law()
def test_batch_norm_of_the_lecture():
    return nn.BatchNorm1d(5, unbiased=True)


@each_law(batch="S", equivariant="S")
def test_tanh():
    return nn.Tanh()


@each_law(spec={"x": Float[Tensor, "B T C"], "return": Float[Tensor, "B T*C"]})
def test_flatten():
    return nn.Flatten()


@each_law(sizes={"T": (4, 8, 6, 10)})
def test_flatten_consecutive():
    return nn.FlattenConsecutive(2)


@each_law(spec={"x": Float[Tensor, "*B 6"], "return": Float[Tensor, "*B 3"]})
def test_sequential():
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))
