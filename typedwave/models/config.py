"""What decides a network, apart from the vocabulary it is for."""

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["NetworkConfig"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The network.

    Args:
        network: How positions are brought together: all at once (flat), or a few neighbours at a
            time in a tree (hierarchical).
        context: Positions it sees, T; for a hierarchical network a power of fuse.
        n_embd: Channels of the embedding.
        n_hidden: Channels of each hidden layer.
        fuse: Neighbours that a level of a hierarchical network brings together.
        unbiased: Whether batch norm divides by the unbiased variance in training, as the lecture.
        output_scale: What the last layer's first weights are multiplied by, so that an untrained
            network is not confidently wrong.

    Raises:
        ValueError: A number is out of range, or the context is not a power of fuse.
    """

    network: Literal["flat", "hierarchical"] = "hierarchical"
    context: int = 8
    n_embd: int = 24
    n_hidden: int = 128
    fuse: int = 2
    unbiased: bool = False
    output_scale: float = 0.1

    def __post_init__(self) -> None:
        if self.network not in ("flat", "hierarchical"):
            raise ValueError(f"network is {self.network!r}, but there are flat and hierarchical")
        for name, least in (("context", 1), ("n_embd", 1), ("n_hidden", 1), ("fuse", 2)):
            value = getattr(self, name)
            if type(value) is not int:
                raise ValueError(f"{name} is {value!r}, but has to be a whole number")
            if value < least:
                raise ValueError(f"{name} is {value}, but has to be at least {least}")
        if type(self.unbiased) is not bool:
            raise ValueError(f"unbiased is {self.unbiased!r}, but has to be True or False")
        if type(self.output_scale) not in (int, float) or not math.isfinite(self.output_scale):
            raise ValueError(
                f"output_scale is {self.output_scale!r}, but has to be a finite number"
            )
        if self.network == "hierarchical" and self.levels == 0:
            below = self.fuse
            while below * self.fuse < self.context:
                below *= self.fuse
            raise ValueError(
                f"context is {self.context}, but a hierarchical network needs a power of "
                f"fuse = {self.fuse}, such as {below} or {below * self.fuse}"
            )

    @property
    def levels(self) -> int:
        """Levels of the tree: log(context) to the base fuse; 0 if that is not a whole number."""
        levels, size = 0, 1
        while size < self.context:
            levels, size = levels + 1, size * self.fuse
        return levels if size == self.context else 0
