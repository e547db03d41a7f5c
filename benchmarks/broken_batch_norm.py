"""The batch norm of the lecture before its bug is found, to measure what the bug costs."""

import torch
from torch import Tensor

from typedwave.lab.evaluation import evaluate
from typedwave.lab.words.corpus import Examples
from typedwave.nn import BatchNorm1d

__all__ = ["BrokenBatchNorm1d", "break_batch_norms", "loss_of"]


class BrokenBatchNorm1d(torch.nn.Module):
    """Reduces axis 0 alone, so that each position of a (B, T, C) input has statistics of its own.

    Nothing fails: the running statistics start as (1, C), become (1, T, C) on the first batch
    and broadcast from then on. Each is estimated from T times fewer values. It is no
    `typedwave.Module`, whose contract on state would refuse it.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = torch.nn.Parameter(torch.ones(num_features))
        self.bias = torch.nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(1, num_features))
        self.register_buffer("running_var", torch.ones(1, num_features))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            mean, var = self.running_mean, self.running_var
        else:
            mean, var = x.mean(0, keepdim=True), x.var(0, keepdim=True)
            with torch.no_grad():
                self.running_mean = torch.lerp(self.running_mean, mean, self.momentum)
                self.running_var = torch.lerp(self.running_var, var, self.momentum)
        return self.weight * (x - mean) / (var + self.eps).sqrt() + self.bias


def break_batch_norms(network: torch.nn.Module) -> None:
    """Replaces every batch norm of a network that is not trained yet."""
    for path, module in list(network.named_modules()):
        if isinstance(module, BatchNorm1d):
            network.set_submodule(path, BrokenBatchNorm1d(module.num_features))


def loss_of(network: torch.nn.Module, data: Examples) -> float:
    """The loss, each window by itself.

    `evaluate` computes the equal nodes of an `MLP` once, in one long row. That is for layers which
    treat positions alike, as the broken ones do not; of a network in a Sequential it knows nothing.
    """
    return evaluate(torch.nn.Sequential(network), data)
