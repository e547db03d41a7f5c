"""One step of training: loss, gradient and update, eager or as one compiled graph."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad
from torch.nn import Module
from torch.optim.sgd import sgd

__all__ = ["CompilerError", "compiled_step", "eager_step"]

Step = Callable[[Tensor, Tensor, float], Tensor]
"""Updates a network on contexts and targets at a learning rate; returns the loss before."""


class CompilerError(RuntimeError):
    """The step cannot be compiled on this machine."""


def eager_step(network: Module, *, momentum: float) -> Step:
    """A step of SGD, kernel by kernel."""
    parameters: list[Tensor] = list(network.parameters())
    velocities = _velocities(parameters, momentum)

    def step(contexts: Tensor, targets: Tensor, rate: float) -> Tensor:
        loss = F.cross_entropy(network(contexts), targets)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            _descend(parameters, list(gradients), velocities, rate, momentum)
        return loss.detach()

    return step


def compiled_step(network: Module, *, momentum: float) -> Step:
    """The same step as one graph: no Python and no tensor between loss, gradient and update.

    Raises:
        CompilerError: From the first step: torch.compile failed, for want of a C++ compiler say.
    """
    names = [name for name, _ in network.named_parameters()]
    parameters = [parameter.detach() for parameter in network.parameters()]
    velocities = _velocities(parameters, momentum)
    buffers = dict(network.named_buffers())
    # A tensor, since every new float would be compiled in as a constant.
    rate_tensor = torch.zeros((), device=parameters[0].device, dtype=parameters[0].dtype)

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
            loss = F.cross_entropy(functional_call(network, state, (contexts,)), targets)
            return loss, (loss, copies)

        loss: Tensor
        gradients, (loss, copies) = grad(loss_of, has_aux=True)(parameters)
        _descend(parameters, list(gradients), velocities, rate_tensor, momentum)
        for name, buffer in buffers.items():
            buffer.copy_(copies[name])
        return loss

    # The wrapper of the graph in C++ too: at this size Python around it is a tenth of a step.
    compiled = torch.compile(step, fullgraph=True, options={"cpp_wrapper": True})

    def run(contexts: Tensor, targets: Tensor, rate: float) -> Tensor:
        rate_tensor.fill_(rate)
        try:
            loss: Tensor = compiled(parameters, buffers, velocities, contexts, targets)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            inner = error.inner_exception
            reason = f"{type(inner).__name__}: {(str(inner).splitlines() or [''])[0]}"
            raise CompilerError(
                f"torch.compile cannot compile the step here ({reason}); it needs a C++ compiler, "
                "and without one the step runs uncompiled"
            ) from None
        return loss

    return run


def _velocities(parameters: list[Tensor], momentum: float) -> list[Tensor | None]:
    return [torch.zeros_like(p, requires_grad=False) if momentum else None for p in parameters]


def _descend(
    parameters: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor | None],
    rate: float | Tensor,
    momentum: float,
) -> None:
    """The update of `torch.optim.SGD`, without what its step() spends in Python."""
    sgd(
        parameters,
        gradients,
        velocities,
        foreach=True,
        fused=False,
        weight_decay=0.0,
        momentum=momentum,
        lr=rate,  # type: ignore[arg-type]  # a tensor is taken too, as torch.optim.SGD says
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )
