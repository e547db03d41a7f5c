"""The training of an n-gram model: one look at all examples."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from typedwave.lab.evaluation import evaluate
from typedwave.lab.words.corpus import Examples
from typedwave.models import NGram

__all__ = ["Counting"]


class Counting:
    """Counts all examples, as a training of one step.

    Args:
        network: Is fitted in place.
        examples: To count.

    Attributes:
        step: How many steps are done.
        steps: How many there are: 1.
        losses: The loss of what was counted, once it is.
    """

    def __init__(self, network: NGram, examples: Examples) -> None:
        self.step, self.steps = 0, 1
        self.losses: Float[Tensor, "N"] = torch.zeros(0)
        self._network, self._examples = network, examples

    def rate(self, step: int) -> float:
        """No learning rate."""
        return 0.0

    def state(self) -> dict[str, Tensor]:
        """Nothing beside the network."""
        return {}

    def restore(self, state: Mapping[str, Tensor], losses: Float[Tensor, "N"]) -> None:
        """Goes on from a state: what is counted is in the network."""
        self.step, self.losses = len(losses), losses

    def run(self, until: int) -> None:
        """Counts, if ``until`` is at least 1 and it was not done yet."""
        if self.step == 0 and until > 0:
            self._network.fit(*self._examples)
            self.losses = torch.tensor([evaluate(self._network, self._examples)])
            self.step = 1
