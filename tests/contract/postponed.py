"""Functions whose annotations are kept as strings until something asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

import typedwave
from typedwave import typed

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Int


@typed
def outer(x: Float[Tensor, "B"], y: Float[Tensor, "C"]) -> Float[Tensor, "B C"]:
    return x[:, None] * y


@typed
def with_later(x: Float[Tensor, "B"], later: Later) -> Float[Tensor, "B"]:
    return x * later.factor


@typed
def beside_unresolvable(x: Float[Tensor, "B"], path: Path) -> Path:
    return path


@typed
def unresolvable(x: Int[Tensor, "B"]) -> None: ...


class Later:
    """Defined after what names it."""

    factor = 2


class Scale(typedwave.Module):
    """Has postponed annotations on its state and on its forward."""

    gain: Float[Tensor, "C"]

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = torch.ones(channels)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.gain * x


class UnresolvableState(typedwave.Module):
    """Has state whose annotation names what is not there at run time."""

    ids: Int[Tensor, "C"]

    def forward(self, x: Tensor) -> Tensor:
        return x
