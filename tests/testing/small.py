"""Small modules, right ones and such as break one law."""

from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Halves(nn.Module):
    """Is right in every respect."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
        return self.linear(x) / 2


class Drops(Halves):
    def forward(self, x: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
        return nn.functional.dropout(super().forward(x), training=self.training)


class Normalizes(nn.Module):
    """Is right if examples are meant to influence one another in training."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
        if not self.training:
            return x - self.mean
        mean = x.mean(0)
        with torch.no_grad():
            self.mean.lerp_(mean, 0.1)
        return x - mean


class Centers(nn.Module):
    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        return x - x.mean(0)


class Deep(nn.Module):
    """Has a layer that centers in its middle."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), Centers(), nn.Linear(8, 4))

    def forward(self, x: Float[Tensor, "B 4"]) -> Float[Tensor, "B 4"]:
        return self.layers(x)


class Doubles(nn.Module):
    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x.mul_(2)


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        self.calls += 1
        return x + self.calls


class Draws(nn.Module):
    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x + torch.rand(())


class Rounds(nn.Module):
    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x + (x.round() - x).detach()


class Forgets(Halves):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(4))


class Mode(Enum):
    PLAIN = 0
    CENTERED = 1


class Chooses(nn.Module):
    def forward(self, x: Float[Tensor, "B T"], mode: Mode) -> Float[Tensor, "B T"]:
        return x if mode is Mode.PLAIN else x - x.mean(0)


class Overflows(nn.Module):
    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x.exp() / x.exp().sum(-1, keepdim=True)
