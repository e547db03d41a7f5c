"""Batch norm over the batches of several processes."""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from typedwave.nn.batch_norm import BatchNorm1d

__all__ = ["SyncBatchNorm"]

Network = TypeVar("Network", bound=Module)


class SyncBatchNorm(BatchNorm1d):
    """A `BatchNorm1d` whose batch, in training, is that of all processes together.

    So that a step on shares of a batch is the step on the batch. Shares may differ in size, and may
    be empty. In evaluation, and where there is one process only, it is a `BatchNorm1d`.

    Args:
        num_features: Channels. All arguments are those of `BatchNorm1d`.
        process_group: The processes; all of them if None.

    Shape:
        ``(*B, num_features)`` to the same, a floating dtype, kept.

    Raises:
        ShapeError: The last axis is not ``num_features``, or there are fewer than two values per
            channel in all processes together.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(5, 3), BatchNorm1d(3))
        >>> type(SyncBatchNorm.convert_sync_batchnorm(network)[1]).__name__
        'SyncBatchNorm'

    Source:
        `torch.nn.SyncBatchNorm`, which has the channels in axis 1 and needs GPUs.
    """

    process_group: dist.ProcessGroup | None = None

    @classmethod
    def convert_sync_batchnorm(
        cls, module: Network, process_group: dist.ProcessGroup | None = None
    ) -> Network:
        """Makes every `BatchNorm1d` of a module one of these, in place; returns the module.

        Parameters and buffers stay what they are, and so does the state dict.
        """
        for part in module.modules():
            if type(part) is BatchNorm1d:
                part.__class__ = cls
                assert isinstance(part, cls)
                part.process_group = process_group
        return module

    def forward(self, x: Float[Tensor, "*B num_features"]) -> Float[Tensor, "*B num_features"]:
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return super().forward(x)
        if x.shape[-1] != self.num_features:  # without state no annotation knows it
            raise self._unfit(x, f"num_features = {self.num_features}", f"axis -1 is {x.shape[-1]}")
        flat = x.flatten(0, -2) if x.ndim > 1 else x[None]
        wide = flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat
        # Two passes: the mean square less the squared mean would lose digits.
        sums = self._summed(torch.cat([wide.sum(0), wide.new_tensor([len(wide)])]))
        count = int(sums[-1])
        if count < 2:
            raise self._unfit(x, "at least 2 values per channel to train on", f"it has {count}")
        mean = sums[:-1] / count
        centred = wide - mean
        squares = self._summed(centred.square().sum(0))
        variance = squares / (count - 1 if self.unbiased else count)
        y = centred * (variance + self.eps).rsqrt()
        if self.weight is not None:
            y = y * self.weight
        if self.bias is not None:
            y = y + self.bias
        share = self._update_share()
        if self.track_running_stats and self.running_mean is not None:
            assert self.running_var is not None
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                self.running_var.lerp_((squares / (count - 1)).to(self.running_var.dtype), share)
        return y.to(x.dtype).view(x.shape)

    def _summed(self, x: Tensor) -> Tensor:
        summed: Tensor = _Summed.apply(x, self.process_group)  # type: ignore[no-untyped-call]  # torch's
        return summed


class _Summed(torch.autograd.Function):
    """The sum over processes. What a process adds counts in the losses of all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        x = x.clone()
        dist.all_reduce(x, group=group)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad, group=ctx.group)
        return grad, None
