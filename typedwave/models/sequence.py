"""Models of whole sequences: logits for all positions at once, or as the sequence goes on."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor
from torch.compiler import is_compiling

from typedwave.contract import Module, typed
from typedwave.errors import IdOutOfRangeError
from typedwave.nn import Past, State
from typedwave.nn.ids import out_of_range
from typedwave.nn.streaming import state_for

__all__ = ["SequenceModel", "Windowed", "windows"]


class SequenceModel(Module):
    """Logits of the id that follows each position, from the ids up to it.

    A sequence starts with id 0, the boundary, and ends before the next one.

    Attributes:
        vocab_size: Ids, V.
        receptive_field: Positions that a logit depends on at most; None for all so far.
    """

    vocab_size: int

    @property
    def receptive_field(self) -> int | None:
        """Positions that a logit depends on at most; None for all so far."""
        raise NotImplementedError

    def forward(self, ids: Int64[Tensor, "B T"]) -> Float[Tensor, "B T {self.vocab_size}"]:
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> State:
        """What is before the first position of each sequence."""
        raise NotImplementedError

    def stream(
        self, ids: Int64[Tensor, "B T"], state: State
    ) -> Float[Tensor, "B T {self.vocab_size}"]:
        """Logits for the next positions, of which ``state`` holds those before; it moves on.

        In eval mode and without gradients: `typedwave.nn.State`.
        """
        raise NotImplementedError


@typed
def windows(ids: Int64[Tensor, "B T"], context: int) -> Int64[Tensor, "B T {context}"]:
    """For each position the window of ids that ends there, boundaries before the first one."""
    return _windows(F.pad(ids, (context - 1, 0)), context)


def _windows(seen: Tensor, context: int) -> Tensor:
    if seen.shape[1] < context:  # there is no position, and unfold would not have it
        return seen[:, :0, None].expand(-1, -1, context)
    return seen.unfold(1, context, 1)


class Windowed(SequenceModel):
    """A network for windows of ids, applied to the window that ends at each position.

    This is the for-loop over positions, as one batch: nothing is shared between windows.

    Args:
        network: Maps windows ``(B, context)`` to logits ``(B, V)``, and has ``context`` and
            ``vocab_size``.

    Shape:
        ids ``(B, T)``, int64, to logits ``(B, T, V)``. Before the first position are boundaries.

    Example:
        >>> from typedwave.models import MLP, NetworkConfig
        >>> model = Windowed(MLP(NetworkConfig(), vocab_size=27))
        >>> model(torch.zeros(32, 5, dtype=torch.int64)).shape
        torch.Size([32, 5, 27])
    """

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.vocab_size = int(network.vocab_size)  # type: ignore[arg-type]  # torch knows modules only
        self.context = int(network.context)  # type: ignore[arg-type]  # likewise

    @property
    def receptive_field(self) -> int:
        """The length of a window."""
        return self.context

    def forward(self, ids: Int64[Tensor, "B T"]) -> Float[Tensor, "B T {self.vocab_size}"]:
        return self._over(ids, windows(ids, self.context))

    def initial_state(self, batch_size: int) -> Past:
        """Boundaries."""
        device = next((tensor.device for tensor in self.state_dict().values()), None)
        before = torch.zeros(batch_size, self.context - 1, dtype=torch.int64, device=device)
        return Past(before, length=self.context - 1)

    @typed
    def stream(
        self, ids: Int64[Tensor, "B T"], state: State
    ) -> Float[Tensor, "B T {self.vocab_size}"]:
        """Logits for the next positions; ``state`` holds the ids before them."""
        past = state_for(self, state, Past, length=self.context - 1)
        return self._over(ids, _windows(past.extend(ids), self.context))

    def _over(self, ids: Tensor, each: Tensor) -> Tensor:
        flat = rearrange(each, "b t context -> (b t) context")
        if is_compiling():
            logits: Tensor = self.network(flat)
        else:
            try:
                logits = self.network(flat)
            except IdOutOfRangeError:  # it tells the place in a window
                raise out_of_range(self, ids, self.vocab_size, "vocab_size", name="ids") from None
        return rearrange(logits, "(b t) v -> b t v", b=each.shape[0], t=each.shape[1])
