"""The gradient of a batch: of parts of it one after another, and of shares over processes."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from typedwave.lab.training.processes import Processes
from typedwave.lab.training.recipe import Precision

__all__ = ["Gradients", "autocast"]

Part = TypeVar("Part")


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """What forward and loss are computed in."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


class Gradients:
    """The gradients of a loss that is a sum over the parts of a batch.

    Args:
        network: Is called in train mode.
        parameters: What the gradients are of.
        processes: Each of which has other parts; what they find is added.
        precision: Of forward and backward.
    """

    def __init__(
        self,
        network: Module,
        parameters: Sequence[Tensor],
        *,
        processes: Processes,
        precision: Precision,
    ) -> None:
        self._parameters = list(parameters)
        self._processes = processes
        self._precision: Precision = precision
        self._network = processes.wrapped(network)

    def __call__(
        self,
        parts: Sequence[Part],
        loss_of: Callable[[Module, Part], Tensor],
        *,
        divisor: float = 1.0,
    ) -> tuple[Tensor, list[Tensor]]:
        """The gradients of all parts of all processes.

        Args:
            parts: Of this process; as many as the other processes have, and at least one.
            loss_of: The loss of the network on a part.
            divisor: What the loss is divided by.

        Returns:
            The sum of the losses of the parts of this process, not divided, and the gradients.
        """
        descend = self._alone if self._processes.count == 1 else self._together
        total, gradients = descend(parts, loss_of, divisor)
        return total.detach(), gradients

    def _loss(
        self, part: Part, loss_of: Callable[[Module, Part], Tensor], divisor: float
    ) -> tuple[Tensor, Tensor]:
        """The loss of a part, and what is differentiated."""
        with autocast(self._processes.device, self._precision):
            loss = loss_of(self._network, part)
        return loss, loss / divisor if divisor != 1.0 else loss

    def _alone(
        self, parts: Sequence[Part], loss_of: Callable[[Module, Part], Tensor], divisor: float
    ) -> tuple[Tensor, list[Tensor]]:
        total, divided = self._loss(parts[0], loss_of, divisor)
        gradients = list(torch.autograd.grad(divided, self._parameters))
        for part in parts[1:]:
            loss, divided = self._loss(part, loss_of, divisor)
            torch._foreach_add_(gradients, torch.autograd.grad(divided, self._parameters))
            total = total.detach() + loss
        return total, gradients

    def _together(
        self, parts: Sequence[Part], loss_of: Callable[[Module, Part], Tensor], divisor: float
    ) -> tuple[Tensor, list[Tensor]]:
        network = self._network
        assert isinstance(network, DistributedDataParallel)
        total = torch.zeros((), device=self._processes.device)
        for number, part in enumerate(parts, start=1):
            with network.no_sync() if number < len(parts) else nullcontext():
                loss, divided = self._loss(part, loss_of, divisor)
                # DDP takes the mean over the processes.
                torch.autograd.backward(divided * self._processes.count)
            total += loss.detach()
        gradients = []
        for parameter in self._parameters:
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            parameter.grad = None
        return total, gradients
