"""Normalisation by the statistics of the batch."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _NormBase

from typedwave.contract import Module, unfit
from typedwave.errors import ShapeError

__all__ = ["BatchNorm1d"]


# _NormBase makes the parameters and buffers, loads old checkpoints and prints the layer. Not
# torch.nn.BatchNorm1d itself: tools that know that class, such as SyncBatchNorm's converter,
# would take axis 1 of a (B, T, C) input for the channels.
class BatchNorm1d(Module, _NormBase):
    """Each channel brought to mean 0 and variance 1 over all other axes, then scaled and shifted.

    ``y = weight * (x - mean) / sqrt(var + eps) + bias``. In training, mean and variance are
    those of the batch over every leading axis; in evaluation, the running ones. Channels are
    last, so that ``(B, C)`` and ``(B, T, C)`` are treated alike.

    Args:
        num_features: Channels.
        eps: Added to the variance.
        momentum: The share of the new batch in the running statistics; None averages over all
            batches so far.
        affine: Whether there are ``weight`` and ``bias``.
        track_running_stats: Whether there are running statistics; without them evaluation uses
            those of the batch as well.
        unbiased: Whether training divides by the unbiased variance (n - 1) of the batch, as the
            lecture does, and not by the biased one (n), as torch and the paper do. A compiled
            training step is then compiled anew for every number of values, which is in eps.
        device: Where parameters and buffers are made.
        dtype: Their floating dtype.

    Shape:
        ``(*B, num_features)`` to the same, a floating dtype, kept.

    Attributes:
        weight: ``(num_features,)``, ones; None without affine.
        bias: ``(num_features,)``, zeros; None without affine.
        running_mean: ``(num_features,)``, zeros.
        running_var: ``(num_features,)``, ones; moves by the unbiased variance, as in torch.
        num_batches_tracked: A number, zero.
        couples_batch: That examples influence one another in training; typedwave.testing asks.

    Raises:
        ShapeError: The last axis is not ``num_features``, or a training batch has fewer than two
            values per channel, whose variance means nothing.

    Example:
        >>> BatchNorm1d(68)(torch.randn(32, 4, 68)).shape
        torch.Size([32, 4, 68])

    Source:
        Ioffe and Szegedy, "Batch Normalization" (2015), algorithm 1. `torch.nn.BatchNorm1d`,
        which has the channels in axis 1; ``unbiased`` is ours.
    """

    couples_batch: ClassVar[bool] = True

    weight: Float[Parameter, "num_features"] | None  # type: ignore[assignment]  # torch omits None
    bias: Float[Parameter, "num_features"] | None  # type: ignore[assignment]  # likewise
    running_mean: Float[Tensor, "num_features"] | None
    running_var: Float[Tensor, "num_features"] | None
    num_batches_tracked: Int64[Tensor, ""] | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        unbiased: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype
        )
        self.unbiased = unbiased

    def forward(self, x: Float[Tensor, "*B num_features"]) -> Float[Tensor, "*B num_features"]:
        # Each of these is a look-up in Python, so each is made once.
        weight, running_mean, running_var = self.weight, self.running_mean, self.running_var
        by_batch = self.training or running_mean is None
        # flatten and view, not rearrange, which would take a tenth of the layer's time.
        flat = x.flatten(0, -2) if x.ndim > 1 else x[None]
        count = flat.shape[0]
        if x.shape[-1] != self.num_features:  # without state no annotation knows it
            raise self._unfit(x, f"num_features = {self.num_features}", f"axis -1 is {x.shape[-1]}")
        if by_batch and count < 2:
            needs = "at least 2 values per channel" + (" to train on" if self.training else "")
            raise self._unfit(x, needs, f"it has {count}")
        eps = self.eps
        if by_batch and self.unbiased:
            # w (x - m) / sqrt(v n / (n - 1) + eps), by the kernel that divides by v.
            shrink = (count - 1) / count
            eps = eps * shrink
            weight = self._ones(x) * shrink**0.5 if weight is None else weight * shrink**0.5
        if self.training and not self.track_running_stats:
            running_mean = running_var = None
        y = F.batch_norm(
            flat,
            running_mean,
            running_var,
            weight,
            self.bias,
            by_batch,
            self._update_share(),
            eps,
        )
        return y.view(x.shape)

    def _unfit(self, x: Tensor, needs: str, because: str) -> ShapeError:
        can_evaluate = self.training and self.track_running_stats
        return unfit(
            self,
            "x",
            x,
            'Float "*B num_features"',
            needs=needs,
            because=because,
            suggestion="a larger batch, or eval() to use the running statistics"
            if can_evaluate and needs.startswith("at least")
            else "",
        )

    def _ones(self, x: Tensor) -> Tensor:
        """A weight of ones, of the dtype that the kernel wants beside these statistics."""
        dtype = x.dtype if self.running_mean is None else self.running_mean.dtype
        return torch.ones(self.num_features, dtype=dtype, device=x.device)

    def _update_share(self) -> float:
        """The share of this batch in the running statistics, counting the batch."""
        if not (self.training and self.track_running_stats):
            return 0.0
        batches = self.num_batches_tracked
        assert batches is not None
        batches.add_(1)
        if self.momentum is None:
            return 1.0 / float(batches)
        return self.momentum

    def extra_repr(self) -> str:
        """The arguments, for the printed layer."""
        shown: str = super().extra_repr()  # type: ignore[no-untyped-call]  # by torch
        return shown + (", unbiased=True" if self.unbiased else "")
