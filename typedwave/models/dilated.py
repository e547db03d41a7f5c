"""The tree of the lecture as dilated convolutions, which share its nodes between positions."""

from copy import deepcopy

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from typedwave.contract import Module, typed
from typedwave.inspect import modes_kept
from typedwave.models.mlp import MLP
from typedwave.models.sequence import SequenceModel
from typedwave.nn import (
    BatchNorm1d,
    CausalConv1d,
    Embedding,
    FlattenConsecutive,
    Linear,
    State,
    States,
    Tanh,
)
from typedwave.nn.streaming import state_for

__all__ = ["Dilated", "to_dilated"]


class Level(Module):
    """One level of the tree at all positions: a dilated convolution, batch norm and tanh.

    Args:
        conv: Brings together what were neighbours in the tree.
        norm: Of its result; None if it is folded into the convolution.
    """

    def __init__(self, conv: CausalConv1d, norm: BatchNorm1d | None) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(
        self, seen: Float[Tensor, "B L {self.conv.in_channels}"]
    ) -> Float[Tensor, "B T {self.conv.out_channels}"]:
        y = self.conv.over(seen)
        return torch.tanh(y if self.norm is None else self.norm(y))


class Dilated(SequenceModel):
    """Logits of the next id at every position, of the levels of a tree as dilated convolutions.

    `to_dilated` makes it. Position t has the logits that the tree gives to the window that ends
    at t, boundaries before the first position.

    Args:
        embedding: Of the ids.
        levels: From the bottom of the tree to its top.
        head: To the logits.

    Shape:
        ids ``(B, T)``, int64, to logits ``(B, T, V)``.

    Attributes:
        receptive_field: The context of the tree.

    Raises:
        ShapeError: A shape is wrong.
        IdOutOfRangeError: An id is not below ``vocab_size``.
    """

    def __init__(self, embedding: Embedding, levels: list[Level], head: Linear) -> None:
        super().__init__()
        self.embedding = embedding
        self.levels = torch.nn.ModuleList(levels)
        self.head = head
        self.vocab_size = head.out_features

    @property
    def receptive_field(self) -> int:
        """The context of the tree."""
        return 1 + sum(level.conv.reach for level in self._stack())

    def forward(self, ids: Int64[Tensor, "B T"]) -> Float[Tensor, "B T {self.vocab_size}"]:
        # The boundaries before the first position are ids like all others, since what the tree
        # makes of them is not zero; each level leaves as many positions away as it looks back.
        boundary = self.embedding.weight[0].expand(ids.shape[0], self.receptive_field - 1, -1)
        x = torch.cat([boundary, self.embedding(ids)], dim=1)
        for level in self._stack():
            x = level(x)
        return self.head(x)

    def initial_state(self, batch_size: int) -> States:
        """What the levels make of boundaries, for each sequence."""
        state = States([level.conv.initial_state(1) for level in self._stack()])
        device = self.head.weight.device
        boundaries = torch.zeros(1, self.receptive_field, dtype=torch.int64, device=device)
        # In training batch norm would count them.
        with modes_kept(self), torch.no_grad():
            self.eval().stream(boundaries, state)
        state.select(boundaries.new_zeros(batch_size))
        return state

    @typed
    def stream(
        self, ids: Int64[Tensor, "B T"], state: State
    ) -> Float[Tensor, "B T {self.vocab_size}"]:
        """Logits for the next positions; ``state`` has the queue of each level."""
        states = state_for(self, state, States, count=len(self.levels))
        x = self.embedding(ids)
        for level, past in zip(self._stack(), states, strict=True):
            x = level(past.extend(x))
        return self.head(x)

    def _stack(self) -> list[Level]:
        return [*self.levels]


def to_dilated(tree: MLP, *, fold_batch_norm: bool = False) -> Dilated:
    """The network whose logits at every position are those of the tree at that position's window.

    A level that brings ``fuse`` neighbours together, of which each covers n ids, becomes a
    convolution of kernel size ``fuse`` and dilation n, its weight the same numbers in another
    order. The tree computes a node for each window that it is in; this one computes it once.

    In eval mode the logits agree up to the rounding of sums that are taken in another order: some
    1e-6 in float32. In training batch norm takes its statistics over all positions, while the tree
    takes them over the windows of a batch.

    Args:
        tree: Flat or hierarchical; a flat network is a tree of one level.
        fold_batch_norm: Whether the running statistics are multiplied into the weights, for
            inference: fewer operations, the same logits up to rounding.

    Returns:
        A network with copies of the weights, in the tree's mode.

    Example:
        >>> from typedwave.models import NetworkConfig
        >>> tree = MLP(NetworkConfig(), vocab_size=27).eval()
        >>> dilated = to_dilated(tree)
        >>> ids = torch.tensor([[0, 5, 13, 13, 1]])
        >>> window = torch.tensor([[0, 0, 0, 0, 5, 13, 13, 1]])
        >>> torch.allclose(dilated(ids)[:, -1], tree(window), atol=1e-5)
        True

    Source:
        "Building makemore part 5", which says that a convolution is this for-loop, and leaves it
        for later; van den Oord et al., "WaveNet" (2016), figure 3.
    """
    _check_layers(tree)
    embedding, *between, head = deepcopy(tree.layers)
    assert isinstance(embedding, Embedding)
    assert isinstance(head, Linear)
    levels, dilation = [], 1
    for flatten, linear, norm, _ in zip(*[iter(between)] * 4, strict=True):
        levels.append(_level(flatten.n, linear, norm, dilation, fold=fold_batch_norm))
        dilation *= flatten.n
    return Dilated(embedding, levels, head).train(tree.training)


def _check_layers(tree: MLP) -> None:
    """Refuses a tree whose layers are not those that it was made with."""
    levels = (len(tree.layers) - 2) // 4
    kinds = [Embedding, *[FlattenConsecutive, Linear, BatchNorm1d, Tanh] * levels, Linear]
    for number, (layer, kind) in enumerate(zip(tree.layers, kinds, strict=False)):
        if not isinstance(layer, kind):
            raise ValueError(
                f"to_dilated: layers.{number} is {type(layer).__name__}, but a tree has "
                f"{kind.__name__} there"
            )
    if len(tree.layers) != len(kinds):
        raise ValueError(
            f"to_dilated: the tree has {len(tree.layers)} layers, but one of {levels} levels has "
            f"{len(kinds)}"
        )


def _level(fuse: int, linear: Linear, norm: BatchNorm1d, dilation: int, *, fold: bool) -> Level:
    weight = rearrange(linear.weight.detach(), "out (fuse c) -> out c fuse", fuse=fuse)
    conv = CausalConv1d(
        weight.shape[1],
        weight.shape[0],
        fuse,
        dilation=dilation,
        bias=fold or linear.bias is not None,
        device="meta",  # so that nothing is drawn for weights that are there
        dtype=weight.dtype,
    ).to_empty(device=weight.device)
    with torch.no_grad():
        bias = linear.bias
        if fold:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            weight, bias = fuse_conv_bn_weights(
                weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
        conv.weight.copy_(weight)
        if bias is not None:
            assert conv.bias is not None
            conv.bias.copy_(bias)
    return Level(conv, None if fold else norm)
