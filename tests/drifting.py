"""Modules that are wrong on purpose, each in one way, for the checks that have to find it."""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Parameter

import typedwave


class BatchNormOfTheLecture(typedwave.Module):
    """Reduces axis 0 alone, so that a (B, T, C) input broadcasts the running buffers to T rows."""

    weight: Float[Parameter, "num_features"]
    running_mean: Float[Tensor, "1 num_features"]
    running_var: Float[Tensor, "1 num_features"]

    def __init__(self, num_features: int, *, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight = Parameter(torch.ones(num_features))
        self.remember("running_mean", torch.zeros(1, num_features))
        self.remember("running_var", torch.ones(1, num_features))

    def remember(self, name: str, value: Tensor) -> None:
        """Makes a buffer."""
        self.register_buffer(name, value)

    def update(self, name: str, value: Tensor) -> None:
        """Assigns the buffer."""
        setattr(self, name, value)

    def forward(self, x: Float[Tensor, "*B num_features"]) -> Float[Tensor, "*B num_features"]:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(0, keepdim=True), x.var(0, keepdim=True, unbiased=False)
            with torch.no_grad():
                for name, new in (("running_mean", mean), ("running_var", var)):
                    old = getattr(self, name)
                    self.update(name, (1 - self.momentum) * old + self.momentum * new)
        return self.weight * (x - mean) / torch.sqrt(var + 1e-5)


class BatchNormOfPlainAttributes(BatchNormOfTheLecture):
    """The same, with running statistics that are no buffers, as in the lecture."""

    def remember(self, name: str, value: Tensor) -> None:
        """Makes a plain attribute."""
        setattr(self, name, value)


class BatchNormByData(BatchNormOfTheLecture):
    """The same, by ``.data =``, which no hook on assignment sees."""

    def update(self, name: str, value: Tensor) -> None:
        """Swaps the data under the buffer."""
        getattr(self, name).data = value


class SwapsResultAxes(typedwave.Module):
    """Returns its axes in another order, which equal sizes hide."""

    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x.mT


class ReturnsNothing(typedwave.Module):
    """Forgets its ``return``."""

    def forward(self, x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:  # type: ignore[empty-body]
        pass


class Drifts(typedwave.Module):
    """Does to its buffer what it is told to, from the call on that it is told to."""

    total: Float[Tensor, "C"]

    def __init__(self, channels: int, change: Any, *, calls_before: int = 0) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(channels))
        self.change = change
        self.calls_before = calls_before

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        if self.calls_before == 0:
            self.total = self.change(self.total)
        self.calls_before -= 1
        return x


class DividesItsCount(typedwave.Module):
    """Halves a count of integers, which becomes a float by it."""

    count: Int64[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.tensor(4))

    def forward(self, x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        self.count = self.count / 2
        return x


class GrowsItsParameter(typedwave.Module):
    """Adds a row to its weight at each call."""

    weight: Float[Parameter, "out_features in_features"]

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = Parameter(torch.zeros(out_features, in_features))

    def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B out_features"]:
        y = x @ self.weight.T
        self.weight = Parameter(torch.cat([self.weight, self.weight[:1]]).detach())
        return y


class DisagreesWithItself(typedwave.Module):
    """Declares two attributes of one size and makes them of two."""

    scale: Float[Parameter, "C"]
    shift: Float[Parameter, "C"]

    def __init__(self, scales: int, shifts: int) -> None:
        super().__init__()
        self.scale = Parameter(torch.ones(scales))
        self.shift = Parameter(torch.zeros(shifts))

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.scale * x + self.shift
