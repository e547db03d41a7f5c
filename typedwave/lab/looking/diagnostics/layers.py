"""What the layers of a network give, and what the loss says of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from typedwave.inspect import modes_kept
from typedwave.lab.evaluation import evaluating
from typedwave.lab.looking.diagnostics.asked import Batch, batch_of, check_learner
from typedwave.lab.looking.diagnostics.numbers import Values, in_short
from typedwave.lab.words.corpus import Vocabulary
from typedwave.models import Network
from typedwave.nn import Conditioning, Flatten, FlattenConsecutive, GatedActivation

__all__ = [
    "SATURATED",
    "Activation",
    "NetworkGradients",
    "WeightGradient",
    "activations_of",
    "gradients_of",
]

SATURATED: Final = 0.97
"""A tanh beyond it, on either side, lets less than 6 % of a gradient through; the lecture's."""

_IDLE: Final = (nn.Dropout, nn.Identity, Flatten, FlattenConsecutive, Conditioning)
"""Layers that change no number in eval mode; conditioning, where it has no layers in it."""


@dataclass(frozen=True)
class Activation(Values):
    """What a layer gave.

    A `GatedActivation` is there three times: as ``tanh`` and as ``sigmoid``, which are its factors,
    and as itself.

    Attributes:
        bounds: Between which all numbers are, where the function has some.
        saturated: The share that is where the function is flat: a tanh beyond `SATURATED`, a
            sigmoid as near to 0 or 1, a ReLU at 0. None for all else; also for the gates inside a
            GRU or LSTM, which cannot be seen from outside.
        dead: The share of channels that are there for all that was looked at, so that nothing of
            it teaches them anything.
    """

    bounds: tuple[float, float] | None = None
    saturated: float | None = None
    dead: float | None = None


@dataclass(frozen=True)
class WeightGradient(Values):
    """The gradient of a parameter.

    Attributes:
        shape: Of the parameter.
        ratio: Its standard deviation by that of the parameter; infinite where all numbers of the
            parameter are one.
    """

    shape: tuple[int, ...]
    ratio: float


@dataclass(frozen=True)
class NetworkGradients:
    """What a loss says of the layers and of the parameters of a network.

    Attributes:
        activations: The gradient at what each layer gave, of the sum of the losses, so that it does
            not depend on how many words there are.
        weights: The gradient of each parameter, of the mean of the losses, as training has it.
    """

    activations: tuple[Values, ...]
    weights: tuple[WeightGradient, ...]


def activations_of(
    network: Network, vocabulary: Vocabulary, words: Sequence[str]
) -> tuple[Activation, ...]:
    """What each layer gives on some words, in eval mode.

    Layers are the modules that hold no others, but for those that change no number: dropout in
    eval mode, and flattening. They come in the order in which they are called; padding is left out.

    Args:
        network: That learns by gradients; it is left as it was.
        vocabulary: Of the network.
        words: At least one.

    Raises:
        ValueError: The network is of n-grams or a pool, or there is no word.
        UnknownCharacterError: The vocabulary lacks a character of a word.

    Example:
        >>> from typedwave.models import MLP, NetworkConfig
        >>> vocabulary = Vocabulary.of(["ada", "bo"])
        >>> network = MLP(NetworkConfig(context=2), vocab_size=len(vocabulary))
        >>> [layer.kind for layer in activations_of(network, vocabulary, ["ada", "bo"])]
        ['Embedding', 'Linear', 'BatchNorm1d', 'Tanh', 'Linear']
    """
    check_learner(network)
    batch = batch_of(network, vocabulary, words)
    with evaluating(network), _calls(network) as calls:
        network(batch.ids)
    return tuple(
        _activation(call.name, function, batch) for call in calls for function in _functions(call)
    )


def gradients_of(
    network: Network, vocabulary: Vocabulary, words: Sequence[str]
) -> NetworkGradients:
    """The gradients of the loss of some words, in eval mode.

    What takes no part in the loss, or is frozen, is left out.

    Args:
        network: That learns by gradients; it is left as it was, its parameters' ``grad`` too.
        vocabulary: Of the network.
        words: At least one.

    Raises:
        ValueError: The network is of n-grams or a pool, or there is no word.
        UnknownCharacterError: The vocabulary lacks a character of a word.
    """
    check_learner(network)
    batch = batch_of(network, vocabulary, words)
    with modes_kept(network), torch.enable_grad(), _calls(network) as calls:
        network.eval()
        total = F.cross_entropy(batch.kept(network(batch.ids)), batch.targets, reduction="sum")
    calls = [call for call in calls if call.output.requires_grad]
    learning = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    found: Sequence[Tensor | None] = torch.autograd.grad(
        total,
        [*(call.output for call in calls), *(parameter for _, parameter in learning)],
        allow_unused=True,
    )
    layers = zip(calls, found[: len(calls)], strict=True)
    parameters = zip(learning, found[len(calls) :], strict=True)
    return NetworkGradients(
        tuple(
            Values(**in_short(call.name, call.kind, batch.kept(gradient)))
            for call, gradient in layers
            if gradient is not None
        ),
        tuple(
            _weight_gradient(name, parameter.detach(), gradient / len(batch.targets))
            for (name, parameter), gradient in parameters
            if gradient is not None
        ),
    )


@dataclass(frozen=True)
class _Call:
    """A layer, what it was given and what it gave."""

    name: str
    module: nn.Module
    input: Tensor
    output: Tensor

    @property
    def kind(self) -> str:
        return type(self.module).__name__


@contextmanager
def _calls(network: Network) -> Iterator[list[_Call]]:
    """What the layers of a network are given and give, for as long as it lasts."""
    calls: list[_Call] = []

    def noting(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Any], None]:
        def hook(module: nn.Module, given: tuple[Tensor, ...], result: Any) -> None:
            output = result[0] if isinstance(result, tuple) else result  # beside a hidden state
            calls.append(_Call(name, module, given[0], output))

        return hook

    handles = [
        module.register_forward_hook(noting(name))
        for name, module in network.named_modules()
        if not any(True for _ in module.children()) and not isinstance(module, _IDLE)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class _Function:
    """What a layer computes: of which kind, its values, and where it is flat."""

    kind: str
    values: Tensor
    bounds: tuple[float, float] | None = None
    flat: Tensor | None = None


def _functions(call: _Call) -> Iterator[_Function]:
    module, y = call.module, call.output
    if isinstance(module, nn.Tanh) or (
        isinstance(module, nn.RNN) and module.nonlinearity == "tanh"
    ):
        yield _tanh(call.kind, y)
    elif isinstance(module, nn.ReLU):
        yield _Function(call.kind, y, None, y == 0)
    elif isinstance(module, GatedActivation):
        filtered, gate = call.input.chunk(2, dim=-1)
        yield _tanh("tanh", torch.tanh(filtered))
        sigmoid = torch.sigmoid(gate)  # which is (1 + tanh(gate / 2)) / 2
        yield _Function("sigmoid", sigmoid, (0.0, 1.0), (2 * sigmoid - 1).abs() > SATURATED)
        yield _Function(call.kind, y, (-1.0, 1.0))
    elif isinstance(module, nn.GRU | nn.LSTM):
        yield _Function(call.kind, y, (-1.0, 1.0))
    else:
        yield _Function(call.kind, y)


def _tanh(kind: str, values: Tensor) -> _Function:
    return _Function(kind, values, (-1.0, 1.0), values.abs() > SATURATED)


def _activation(name: str, function: _Function, batch: Batch) -> Activation:
    numbers = in_short(name, function.kind, batch.kept(function.values), function.bounds)
    if function.flat is None:
        return Activation(**numbers, bounds=function.bounds)
    flat = batch.kept(function.flat).flatten(0, -2)
    saturated, dead = flat.double().mean().item(), flat.all(0).double().mean().item()
    return Activation(**numbers, bounds=function.bounds, saturated=saturated, dead=dead)


def _weight_gradient(name: str, parameter: Tensor, gradient: Tensor) -> WeightGradient:
    numbers = in_short(name, "Parameter", gradient)
    spread = parameter.double().std(correction=0).item()
    ratio = numbers["std"] / spread if spread else math.inf
    return WeightGradient(**numbers, shape=tuple(parameter.shape), ratio=ratio)
