"""The networks of the lecture: an embedding, hidden layers with batch norm, and logits."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from typedwave.contract import Module
from typedwave.models.config import NetworkConfig
from typedwave.nn import BatchNorm1d, Embedding, FlattenConsecutive, Linear, Sequential, Tanh
from typedwave.nn.sizes import check_sizes

__all__ = ["MLP", "initialise"]


class MLP(Module):
    """Logits of the next id from a window of ids.

    Flat, all positions are fused at once and there is one hidden layer. Hierarchical, each level
    fuses ``config.fuse`` neighbours, so that positions meet in a tree.

    Args:
        config: Its shape.
        vocab_size: Ids, V.
        device: Where parameters and buffers are made.
        dtype: Their floating dtype.

    Shape:
        ids ``(B, context)``, int64, to logits ``(B, vocab_size)`` of the network's dtype.

    Attributes:
        layers: The layers in order, as torch.nn initialises them; `initialise` does it as
            the lecture does.

    Raises:
        ShapeError: The window is not ``context`` long, or the ids are not int64.
        IdOutOfRangeError: An id is not below ``vocab_size``.

    Example:
        >>> network = MLP(NetworkConfig(), vocab_size=27)
        >>> network(torch.zeros(32, 8, dtype=torch.int64)).shape
        torch.Size([32, 27])
        >>> sum(parameter.numel() for parameter in network.parameters())
        76579

    Source:
        Bengio et al., "A Neural Probabilistic Language Model" (2003), and "Building makemore
        part 5", which makes the tree after van den Oord et al., "WaveNet" (2016), figure 3.
    """

    def __init__(
        self,
        config: NetworkConfig,
        *,
        vocab_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("MLP", 1, vocab_size=vocab_size)
        self.config = config
        self.context = config.context
        self.vocab_size = vocab_size
        flat = config.network == "flat"
        fuse, levels = (config.context, 1) if flat else (config.fuse, config.levels)
        channels, hidden = config.n_embd, config.n_hidden
        layers: list[torch.nn.Module] = [
            Embedding(vocab_size, channels, device=device, dtype=dtype)
        ]
        for _ in range(levels):
            layers += [
                FlattenConsecutive(fuse),
                Linear(channels * fuse, hidden, bias=False, device=device, dtype=dtype),
                BatchNorm1d(hidden, unbiased=config.unbiased, device=device, dtype=dtype),
                Tanh(),
            ]
            channels = hidden
        layers.append(Linear(channels, vocab_size, device=device, dtype=dtype))
        self.layers = Sequential(*layers)

    @property
    def head(self) -> Linear:
        """The layer that gives the logits."""
        last = self.layers[-1]
        assert isinstance(last, Linear)
        return last

    def forward(self, x: Int64[Tensor, "B {self.context}"]) -> Float[Tensor, "B {self.vocab_size}"]:
        return self.layers(x)


def initialise(network: MLP, generator: torch.Generator) -> None:
    """Draws the first weights as the lecture does, from ``generator`` alone.

    Layer by layer: the embedding is standard normal, a linear weight is normal with variance
    ``1 / in_features``, drawn as ``(in_features, out_features)`` and laid out as torch does; the
    last is multiplied by ``config.output_scale``; biases are zero, batch norm starts as identity.
    """
    for module in network.modules():
        if isinstance(module, BatchNorm1d):
            module.reset_parameters()
        elif isinstance(module, Embedding):
            torch.nn.init.normal_(module.weight, generator=generator)
        elif isinstance(module, Linear):
            _draw(module, generator)
    with torch.no_grad():
        network.head.weight.mul_(network.config.output_scale)


def _draw(linear: Linear, generator: torch.Generator) -> None:
    weight = linear.weight
    shape = (linear.in_features, linear.out_features)
    drawn = torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)
    with torch.no_grad():
        weight.copy_((drawn / linear.in_features**0.5).T)
        if linear.bias is not None:
            linear.bias.zero_()
