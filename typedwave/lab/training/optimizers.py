"""SGD, and Muon on the hidden matrices with Adam on all else."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Linear, Module, RNNBase
from torch.optim.sgd import sgd

from typedwave.nn import CausalConv1d, CausalSelfAttention, ResidualBlock

__all__ = ["SGD", "MuonAndAdam", "clipped", "descend", "hidden_matrices", "orthogonalised"]

_MOMENTUM: Final = 0.95
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)

Parts = Callable[[Tensor], Sequence[Tensor]]
"""Cuts a parameter, or its gradient, into the matrices it is made of: views of it."""


def hidden_matrices(network: Module) -> list[tuple[Tensor, Parts]]:
    """The parameters that are matrices between hidden channels, and how they are cut.

    A matrix of its own is each tap of a convolution, each half of a gated one, each gate of a
    recurrent layer, and each of queries, keys and values. Embeddings are not among them, nor is the
    layer that gives the logits: the last linear one in what the network calls its ``head``. In a
    network that has no ``head``, all linear layers are.
    """
    found: list[tuple[Tensor, Parts]] = []
    gated = {id(m.conv) for m in network.modules() if isinstance(m, ResidualBlock)}
    heads = [m for m in getattr(network, "head", Module()).modules() if isinstance(m, Linear)]
    for module in network.modules():
        match module:
            case CausalConv1d():
                halves = 2 if id(module) in gated else 1
                found.append((module.weight, _taps(halves)))
            case CausalSelfAttention():
                found.append((module.in_proj_weight, _rows(3)))
            case RNNBase():
                gates = {"GRU": 3, "LSTM": 4}.get(module.mode, 1)
                found += [
                    (weight, _rows(gates))
                    for name, weight in module.named_parameters()
                    if name.startswith("weight_")
                ]
            case Linear() if module not in heads[-1:]:
                found.append((module.weight, _rows(1)))
    return found


def _taps(halves: int) -> Parts:
    return lambda weight: [part for tap in weight.unbind(2) for part in tap.chunk(halves)]


def _rows(parts: int) -> Parts:
    return lambda weight: torch.chunk(weight, parts)


def orthogonalised(matrices: Float[Tensor, "N R C"]) -> Float[Tensor, "N R C"]:
    """Nearly the closest matrices with orthonormal rows or columns, by five Newton-Schulz steps.

    Singular values come out between about 0.7 and 1.2.

    Source:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
    """
    a, b, c = _COEFFICIENTS
    x: Tensor = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def clipped(gradients: list[Tensor] | tuple[Tensor, ...], norm: float) -> list[Tensor]:
    """The gradients, scaled so that they are together no longer than ``norm``; as they are if 0."""
    if norm == 0:
        return list(gradients)
    total = torch.nn.utils.get_total_norm(gradients)
    return list(torch._foreach_mul(gradients, (norm / (total + 1e-6)).clamp(max=1.0)))


class SGD:
    """Stochastic gradient descent with momentum: the update of `torch.optim.SGD`.

    Args:
        parameters: What is trained.
        momentum: The share of the last update in the next.

    Attributes:
        parameters: In their order.
        velocities: Of each of them; None without momentum.
        momentum: As given.
    """

    def __init__(self, parameters: Iterable[Tensor], *, momentum: float) -> None:
        self.parameters = list(parameters)
        self.momentum = momentum
        self.velocities: list[Tensor | None] = [
            torch.zeros_like(p, requires_grad=False) if momentum else None for p in self.parameters
        ]

    @torch.no_grad()
    def step(self, gradients: list[Tensor], rate: float) -> None:
        """Updates the parameters by their gradients."""
        descend(self.parameters, gradients, self.velocities, rate, self.momentum)

    def state(self) -> dict[str, Tensor]:
        """What it remembers, by name: the tensors themselves, which can be written to."""
        return {str(i): v for i, v in enumerate(self.velocities) if v is not None}


def descend(
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


@dataclass
class _Group:
    """Matrices of one shape, whose updates are made in one batch."""

    matrices: list[Tensor]
    places: list[tuple[int, int]]  # of the parameter, and of the matrix in it
    momentum: Tensor
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        rows, columns = self.momentum.shape[1:]
        self.scale = max(1.0, rows / columns) ** 0.5


class MuonAndAdam:
    """Muon for `hidden_matrices` and Adam, with betas of 0.9 and 0.98, for all other parameters.

    The numbers of `torch.optim.Muon` with ``adjust_lr_fn="original"``, but the matrices of one
    shape are orthogonalised in one batch and in float32: for the 15 matrices of a small WaveNet in
    1.0 ms and not 5.6, which would be half of its training step.

    It holds views of the parameters as they are now: make it after the network was moved to its
    device or loaded by ``assign=True``. It is no `torch.optim.Optimizer`: gradients are given to
    it, and `state` is what there is to save.

    Args:
        network: What is trained.
        muon_rate: Learning rate of the matrices.
        adam_rate: Learning rate of all else.
        weight_decay: Of the matrices, decoupled: each step takes ``rate * weight_decay`` of them.
    """

    def __init__(
        self, network: Module, *, muon_rate: float, adam_rate: float, weight_decay: float
    ) -> None:
        self._muon_rate, self._adam_rate, self._decay = muon_rate, adam_rate, weight_decay
        cut = hidden_matrices(network)
        self._hidden = [parameter for parameter, _ in cut]
        self._parts = [parts for _, parts in cut]
        chosen = {id(parameter) for parameter in self._hidden}
        self._rest = [p for p in network.parameters() if id(p) not in chosen]
        self.parameters: list[Tensor] = [*self._hidden, *self._rest]
        pieces = [
            (tuple(matrix.shape), (i, j), matrix)
            for i, (parameter, parts) in enumerate(cut)
            for j, matrix in enumerate(parts(parameter.detach()))
        ]
        pieces.sort(key=lambda piece: piece[:2])
        self._groups = []
        for shape, group in groupby(pieces, key=lambda piece: piece[0]):
            _, places, matrices = zip(*group, strict=True)
            zeros = matrices[0].new_zeros(len(matrices), *shape)
            self._groups.append(_Group(list(matrices), list(places), zeros))
        self._adam = torch.optim.Adam(self._rest, betas=(0.9, 0.98), fused=True)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], *, factor: float) -> None:
        """Updates the parameters.

        Args:
            gradients: Of `parameters`, in their order.
            factor: What both learning rates are multiplied by, as a schedule says.
        """
        count = len(self._hidden)
        cut = [parts(g) for parts, g in zip(self._parts, gradients[:count], strict=True)]
        rate = self._muon_rate * factor
        for group in self._groups:
            gradient = torch.stack([cut[i][j] for i, j in group.places])
            group.momentum.lerp_(gradient, 1 - _MOMENTUM)
            update = orthogonalised(gradient.lerp_(group.momentum, _MOMENTUM))
            torch._foreach_mul_(group.matrices, 1 - rate * self._decay)
            torch._foreach_add_(group.matrices, update.unbind(), alpha=-rate * group.scale)
        for parameter, gradient in zip(self._rest, gradients[count:], strict=True):
            parameter.grad = gradient
        self._adam.param_groups[0]["lr"] = self._adam_rate * factor
        self._adam.step()
        self._adam.zero_grad()

    def state(self) -> dict[str, Tensor]:
        """What it remembers, by name: the tensors themselves, which can be written to."""
        for parameter in self._rest:
            if not self._adam.state[parameter]:  # made by the first step otherwise
                self._adam.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                    "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
                }
        return {
            **{f"momentum.{i}": group.momentum for i, group in enumerate(self._groups)},
            **{
                f"adam.{i}.{name}": tensor
                for i, parameter in enumerate(self._rest)
                for name, tensor in self._adam.state[parameter].items()
            },
        }
