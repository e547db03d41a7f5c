"""One step of training as one compiled graph: loss, gradient and update."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad
from torch.nn import Module

from typedwave.lab.training.gradients import autocast
from typedwave.lab.training.optimizers import SGD, clipped, descend
from typedwave.lab.training.recipe import Precision

__all__ = ["CompilerError", "compiled_step"]

Step = Callable[[Tensor, Tensor, float], Tensor]
"""Updates a network on contexts and targets at a learning rate; returns the loss before."""


class CompilerError(RuntimeError):
    """The step cannot be compiled on this machine."""


def compiled_step(
    network: Module, optimizer: SGD, *, clip: float = 0.0, precision: Precision = "float32"
) -> Step:
    """A step of SGD with no Python and no tensor between loss, gradient and update.

    Args:
        network: Maps contexts to logits; it is trained in place.
        optimizer: Of all parameters of the network.
        clip: How long all gradients together may be; 0 for no limit.
        precision: Of forward and backward.

    Raises:
        CompilerError: From the first step: torch.compile failed, for want of a C++ compiler say.
    """
    names = [name for name, _ in network.named_parameters()]
    parameters = [parameter.detach() for parameter in optimizer.parameters]
    device = parameters[0].device
    buffers = dict(network.named_buffers())
    # A tensor, since every new float would be compiled in as a constant.
    rate_tensor = torch.zeros((), device=device, dtype=parameters[0].dtype)

    def step(
        parameters: list[Tensor],
        buffers: dict[str, Tensor],
        velocities: list[Tensor | None],
        contexts: Tensor,
        targets: Tensor,
    ) -> Tensor:
        def loss_of(parameters: list[Tensor]) -> tuple[Tensor, tuple[Tensor, dict[str, Tensor]]]:
            # grad() forbids writing to what it did not make, so the layers write to copies.
            copies = {name: buffer.clone() for name, buffer in buffers.items()}
            state = (dict(zip(names, parameters, strict=True)), copies)
            with autocast(device, precision):
                loss = F.cross_entropy(functional_call(network, state, (contexts,)), targets)
            return loss, (loss, copies)

        loss: Tensor
        gradients, (loss, copies) = grad(loss_of, has_aux=True)(parameters)
        gradients = clipped(gradients, clip)
        descend(parameters, gradients, velocities, rate_tensor, optimizer.momentum)
        for name, buffer in buffers.items():
            buffer.copy_(copies[name])
        return loss

    # The wrapper of the graph in C++ too: at this size Python around it is a tenth of a step.
    compiled = torch.compile(step, fullgraph=True, options={"cpp_wrapper": True})

    def run(contexts: Tensor, targets: Tensor, rate: float) -> Tensor:
        rate_tensor.fill_(rate)
        try:
            loss: Tensor = compiled(parameters, buffers, optimizer.velocities, contexts, targets)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            inner = error.inner_exception
            reason = f"{type(inner).__name__}: {(str(inner).splitlines() or [''])[0]}"
            raise CompilerError(
                f"torch.compile cannot compile the step here ({reason}); it needs a C++ compiler, "
                "and without one the step runs uncompiled"
            ) from None
        return loss

    return run
