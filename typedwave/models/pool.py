"""Several models that are asked together."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from typedwave.contract import typed
from typedwave.models.sequence import SequenceModel
from typedwave.nn import State, States
from typedwave.nn.streaming import state_for

__all__ = ["Pool"]


class Pool(SequenceModel):
    """The weighted geometric mean of what several models say: ``sum of w_i log p_i``.

    Args:
        models: Of one vocabulary, at least one.
        weights: One for each; equal ones of sum 1 if not given.
        config: What it was made from, for a checkpoint.

    Shape:
        ids ``(B, T)``, int64, to logits ``(B, T, V)``.

    Raises:
        ValueError: There is no model, or not a weight for each, or the vocabularies differ.

    Example:
        >>> from typedwave.models import Recurrent, RecurrentConfig, WaveNet, WaveNetConfig
        >>> members = [
        ...     WaveNet(WaveNetConfig(), vocab_size=27),
        ...     Recurrent(RecurrentConfig(), vocab_size=27),
        ... ]
        >>> Pool(members, [0.4, 0.6])(torch.zeros(32, 9, dtype=torch.int64)).shape
        torch.Size([32, 9, 27])

    Source:
        Hinton, "Training Products of Experts by Minimizing Contrastive Divergence" (2002).
    """

    def __init__(
        self,
        models: Sequence[SequenceModel],
        weights: Sequence[float] | None = None,
        *,
        config: Any = None,
    ) -> None:
        super().__init__()
        self.config = config
        if not models:
            raise ValueError("Pool: there is no model")
        sizes = {model.vocab_size for model in models}
        if len(sizes) > 1:
            raise ValueError(f"Pool: vocab_size differs: {', '.join(map(str, sorted(sizes)))}")
        weights = [1 / len(models)] * len(models) if weights is None else [*weights]
        if len(weights) != len(models):
            raise ValueError(f"Pool: {len(models)} models, but {len(weights)} weights")
        self.models = torch.nn.ModuleList(models)
        self.weights = weights
        self.vocab_size = sizes.pop()

    @property
    def receptive_field(self) -> int | None:
        """That of the model which looks back farthest."""
        fields = [model.receptive_field for model in self._members()]
        known = [field for field in fields if field is not None]
        return max(known) if len(known) == len(fields) else None

    def forward(self, ids: Int64[Tensor, "B T"]) -> Float[Tensor, "B T {self.vocab_size}"]:
        return self._together([model(ids) for model in self._members()])

    def initial_state(self, batch_size: int) -> States:
        """The states of the members."""
        return States([model.initial_state(batch_size) for model in self._members()])

    @typed
    def stream(
        self, ids: Int64[Tensor, "B T"], state: State
    ) -> Float[Tensor, "B T {self.vocab_size}"]:
        """Logits for the next positions; ``state`` has that of each member."""
        states = state_for(self, state, States, count=len(self.models))
        pairs = zip(self._members(), states, strict=True)
        return self._together([model.stream(ids, before) for model, before in pairs])

    def _members(self) -> list[SequenceModel]:
        return [*self.models]

    def _together(self, logits: list[Tensor]) -> Tensor:
        weighed = zip(self.weights, logits, strict=True)
        parts = [weight * torch.log_softmax(each, dim=-1) for weight, each in weighed]
        return torch.stack(parts).sum(0)
