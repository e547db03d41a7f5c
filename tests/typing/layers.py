"""What a type checker makes of our modules; `make check` runs mypy on it, in strict mode.

An ignored error has to be there: mypy reports an ignore that nothing needs.
"""

from typing import assert_type

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from typedwave import Module, nn, typed
from typedwave.models import MLP, NetworkConfig


class TwoResults(Module):
    gain: Float[Parameter, "C"]

    def forward(
        self, x: Float[Tensor, "*B C"], scale: float = 1.0
    ) -> tuple[Float[Tensor, "*B C"], int]:
        return self.gain * x * scale, 1


@typed
def double(x: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    return 2 * x


x = torch.zeros(2, 8, 3)
assert_type(nn.Linear(3, 5)(x), Tensor)
assert_type(nn.Embedding(27, 3)(x.long()), Tensor)
assert_type(nn.BatchNorm1d(3)(x), Tensor)
assert_type(nn.Tanh()(x), Tensor)
assert_type(nn.Flatten()(x), Tensor)
assert_type(nn.FlattenConsecutive(2)(x), Tensor)
assert_type(nn.Sequential(nn.Tanh(), nn.Tanh())(x), Tensor)
assert_type(MLP(NetworkConfig(), vocab_size=27)(x.long()), Tensor)
assert_type(TwoResults()(x, scale=2.0), tuple[Tensor, int])
assert_type(double(x), Tensor)

nn.Linear(3, 5)("x")  # type: ignore[arg-type]
nn.Linear(3, 5)(x, x)  # type: ignore[call-arg]
nn.Linear(3, 5)()  # type: ignore[call-arg, misc]
TwoResults()(x, scale="large")  # type: ignore[arg-type]
double("x")  # type: ignore[arg-type]
