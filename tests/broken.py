"""Silent bugs as people write them, each beside the same module without it.

All run at ordinary sizes and return the shape that they announce. A class that says what it
computes is right with its defaults; a subclass that says what it does wrong is wrong in the method
that it overrides; and what a single value makes wrong is made of the right class, by that value, in
the list at the end. Channels are 8 where not any number will do. Any integer will do as a token.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

# --- attention ------------------------------------------------------------------------------------


class SelfAttention(nn.Module):
    """Multi-head attention of all positions to all positions."""

    def __init__(self, channels: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Linear(channels, channels)
        self.keys = nn.Linear(channels, channels, bias=False)
        self.values = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, C // H)

    def merge(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        q, k, v = (self.split(layer(x)) for layer in (self.queries, self.keys, self.values))
        scores = q @ k.mT / q.size(-1) ** 0.5
        return self.out(self.merge(self.weights(scores) @ v))


class SplitsHeadsByView(SelfAttention):
    """Views (B, T, C) as (B, H, T, D), so that a head is a stretch of time."""

    def split(self, x: Tensor) -> Tensor:
        return x.reshape(x.size(0), self.heads, x.size(1), -1)


class MergesHeadsByReshape(SelfAttention):
    """Reshapes (B, H, T, D) to (B, T, C) without moving the heads back behind time."""

    def merge(self, x: Tensor) -> Tensor:
        return x.reshape(x.size(0), x.size(2), -1)


class CausalAttention(SelfAttention):
    """Multi-head attention of each position to itself and to those before."""

    def __init__(self, diagonal: int = 0, axis: int = -1) -> None:
        super().__init__()
        self.diagonal, self.axis = diagonal, axis

    def allowed(self, scores: Tensor) -> Tensor:
        return torch.ones_like(scores, dtype=torch.bool).tril(self.diagonal)

    def weights(self, scores: Tensor) -> Tensor:
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~self.allowed(scores), lowest).softmax(self.axis)


class CausalButHeadsByView(CausalAttention, SplitsHeadsByView):
    """Views (B, T, C) as (B, H, T, D) before the causal mask."""


class SeesTheFutureOnly(CausalAttention):
    """Builds the mask for scores of (keys, queries)."""

    def allowed(self, scores: Tensor) -> Tensor:
        return torch.ones_like(scores, dtype=torch.bool).triu()


class MasksAfterTheSoftmax(CausalAttention):
    """Masks the weights, when the future already is in their denominator."""

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1) * self.allowed(scores)


class WindowAttention(CausalAttention):
    """Multi-head attention to the last four positions."""

    window = 4

    def allowed(self, scores: Tensor) -> Tensor:
        return super().allowed(scores).triu(1 - self.window)


class WindowOneTooWide(WindowAttention):
    """Counts the window without the position itself."""

    def allowed(self, scores: Tensor) -> Tensor:
        return CausalAttention.allowed(self, scores).triu(-self.window)


class TorchAttention(nn.Module):
    """Self-attention by torch's own module."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return self.attention(x, x, x, need_weights=False)[0]


class CrossAttention(nn.Module):
    """Attends from x to a memory."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Linear(8, 8)
        self.keys = nn.Linear(8, 8, bias=False)
        self.values = nn.Linear(8, 8)

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.keys(memory), self.values(memory)

    def forward(
        self, x: Float[Tensor, "B T C"], memory: Float[Tensor, "B S C"]
    ) -> Float[Tensor, "B T C"]:
        return F.scaled_dot_product_attention(self.queries(x), *self.keys_and_values(memory))


class KeepsTheFirstMemory(CrossAttention):
    """Caches keys and values for sampling and never asks whether the memory is another one."""

    cache: tuple[Tensor, Tensor] | None = None

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        if self.training or memory.requires_grad:
            return super().keys_and_values(memory)
        if self.cache is None or self.cache[0].size(0) != memory.size(0):
            self.cache = super().keys_and_values(memory)
        return self.cache


class WithSummary(nn.Module):
    """Projects every position together with the summary of its example."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 8)

    def rows(self, summary: Tensor, length: int) -> Tensor:
        return summary.repeat_interleave(length, 0)

    def forward(
        self, x: Float[Tensor, "B T C"], summary: Float[Tensor, "B C"]
    ) -> Float[Tensor, "B T C"]:
        rows = torch.cat([x.flatten(0, 1), self.rows(summary, x.size(1))], -1)
        return self.layer(rows).view_as(x)


class TilesInsteadOfInterleaving(WithSummary):
    """Repeats the summaries as a block, so that a row meets the summary of another example."""

    def rows(self, summary: Tensor, length: int) -> Tensor:
        return summary.repeat(length, 1)


# --- convolutions, recurrence and other ways through time ----------------------------------------


class CausalConv(nn.Module):
    """Convolves three positions, this and two before: pads both sides and cuts the end."""

    def __init__(self, padding: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 3, padding=padding)

    def cut(self, y: Tensor, length: int) -> Tensor:
        return y[..., :length]

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        return self.cut(self.conv(x), x.size(-1))


class CutsTheBeginning(CausalConv):
    """Cuts the end that should stay."""

    def cut(self, y: Tensor, length: int) -> Tensor:
        return y[..., -length:]


class WaveNet(nn.Module):
    """Gated residual blocks of dilation 1, 2 and 4, which see eight positions."""

    def __init__(self, growth: int = 2) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(8, 16, 2, dilation=growth**i) for i in range(3))

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        for conv in self.convs:
            value, gate = conv(F.pad(x, (conv.dilation[0], 0))).chunk(2, 1)
            x = x + value.tanh() * gate.sigmoid()
        return x


class ChannelNorm(nn.Module):
    """Layer norm of each position's channels, for channels in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.norm: nn.Module = nn.LayerNorm(8)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        return self.norm(x.mT).mT


class NormalisesOverTime(ChannelNorm):
    """Takes GroupNorm with one group for the same, but its mean is over time too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 8)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        return self.norm(x)


class Directions(nn.Module):
    """Projects the direction of each position's vector."""

    def __init__(self, axis: int = -1, eps: float = 1e-6) -> None:
        super().__init__()
        self.axis, self.eps = axis, eps
        self.out = nn.Linear(8, 8)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return self.out(F.normalize(x, dim=self.axis, eps=self.eps))


class TokenShift(nn.Module):
    """Mixes each position with the one before, as RWKV does."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.rand(8))

    def before(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 1, -1))

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return self.share * x + (1 - self.share) * self.before(x)


class ShiftWrapsAround(TokenShift):
    """Shifts by roll, so that the first position gets the last."""

    def before(self, x: Tensor) -> Tensor:
        return x.roll(1, 1)


class NGrams(nn.Module):
    """Embeds each token together with the one before, hashed into a table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1021, 8)

    def before(self, tokens: Tensor) -> Tensor:
        return F.pad(tokens, (1, -1))

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T 8"]:
        return self.table((tokens + 31 * self.before(tokens)).long() % 1021)


class NGramsWrapAround(NGrams):
    """Takes the last token for the one before the first."""

    def before(self, tokens: Tensor) -> Tensor:
        return tokens.roll(1, 1)


class CumulativeMean(nn.Module):
    """Averages all positions until this one."""

    def counts(self, x: Tensor) -> Tensor:
        return torch.arange(1, x.size(1) + 1, device=x.device)[:, None].to(x.dtype)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return x.cumsum(1) / self.counts(x)


class DividesByTheWholeLength(CumulativeMean):
    """Divides by the number of all positions, those to come too."""

    def counts(self, x: Tensor) -> Tensor:
        return super().counts(x)[-1:]


class Recurrent(nn.Module):
    """A GRU over time."""

    def __init__(self, size: int = 8, batch_first: bool = True, **options: bool) -> None:
        super().__init__()
        self.gru = nn.GRU(8, size, batch_first=batch_first, **options)

    def start(self, x: Tensor) -> Tensor | None:
        return None

    def keep(self, state: Tensor) -> None:
        """Forgets it."""

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        y, state = self.gru(x, self.start(x))
        self.keep(state)
        return y


class RemembersTheLastCall(Recurrent):
    """Goes on with the state of the last batch, which was about something else."""

    last: tuple[Tensor, ...] = ()

    def start(self, x: Tensor) -> Tensor | None:
        return self.last[0] if self.last and self.last[0].size(1) == x.size(0) else None

    def keep(self, state: Tensor) -> None:
        self.last = (state.detach(),)


class StartsInFloat32(Recurrent):
    """Starts from zeros of the default dtype, which stops a module of another."""

    def start(self, x: Tensor) -> Tensor | None:
        return torch.zeros(1, x.size(0), 8, device=x.device)


class StartsOnTheCpu(Recurrent):
    """Starts from zeros of the default device."""

    def start(self, x: Tensor) -> Tensor | None:
        return torch.zeros(1, x.size(0), 8, dtype=x.dtype)


class LearnedStart(nn.Module):
    """A GRU that starts from a learned state."""

    def __init__(self, rows: int = 1) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 8, batch_first=True)
        self.start = nn.Parameter(torch.randn(1, rows, 8))

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        start = self.start[:, : x.size(0)].expand(1, x.size(0), 8)
        return self.gru(x, start.contiguous())[0]


# --- positions ------------------------------------------------------------------------------------


class Sinusoids(nn.Module):
    """Adds sines and cosines of the position."""

    def table(self, x: Tensor, length: int) -> Tensor:
        positions = torch.arange(length, device=x.device)
        rates = 100 ** (-torch.arange(4, device=x.device) / 4)
        angles = positions[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], -1).to(x.dtype)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return x + self.table(x, x.size(1))


class NumbersTheExamples(Sinusoids):
    """Takes axis 0 for time, as the tutorial's (T, B, C) has it."""

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return x + self.table(x, x.size(0))[:, None]


class PositionsInFloat32(Sinusoids):
    """Adds a float32 table, which makes a bfloat16 model go on in float32."""

    def table(self, x: Tensor, length: int) -> Tensor:
        return super().table(x.float(), length)


class PositionsOnTheCpu(Sinusoids):
    """Makes its table on the default device."""

    def table(self, x: Tensor, length: int) -> Tensor:
        return super().table(torch.empty(0, dtype=x.dtype), length)


class AddsToItsInput(Sinusoids):
    """Adds in place, so that the caller's embeddings change."""

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        x += self.table(x, x.size(1))
        return x


class Coordinates(nn.Module):
    """Adds a coordinate that goes from -1 at the first position to 1 at the last."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(8))

    def line(self, x: Tensor) -> Tensor:
        return torch.linspace(-1, 1, x.size(1), device=x.device, dtype=x.dtype)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return x + self.line(x)[:, None] * self.scale


class KeepsTheLongestLine(Coordinates):
    """Keeps the longest line that it has made and cuts the shorter ones from it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[object, Tensor] = {}

    def line(self, x: Tensor) -> Tensor:
        kept = self.lines.get((x.device, x.dtype))
        if kept is None or len(kept) < x.size(1):
            kept = self.lines[x.device, x.dtype] = super().line(x)
        return kept[: x.size(1)]


class DynamicRotary(nn.Module):
    """Rotates pairs of channels by the position, slower for longer texts than trained on."""

    longest = 4  # trained on

    def stretch(self, length: int) -> float:
        return max(self.longest, length) / self.longest

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        base = 100 * self.stretch(x.size(1))
        rates = base ** (-torch.arange(4, device=x.device) / 4)
        angles = torch.arange(x.size(1), device=x.device)[:, None] * rates
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class NeverTurnsFastAgain(DynamicRotary):
    """Stretches for the longest text seen, and stays stretched for the short ones after it."""

    last = 1.0

    def stretch(self, length: int) -> float:
        self.last = max(self.last, super().stretch(length))
        return self.last


# --- norms ----------------------------------------------------------------------------------------


class RMSNorm(nn.Module):
    """Divides by the root of the mean square of the channels."""

    def __init__(self, axis: int | None = -1) -> None:
        super().__init__()
        self.axis = axis
        self.weight = nn.Parameter(torch.rand(8) + 0.5)

    def mean_square(self, x: Tensor) -> Tensor:
        return x.pow(2).mean(self.axis, keepdim=True)

    def inverse_root(self, mean_square: Tensor) -> Tensor:
        return torch.rsqrt(mean_square + 1e-6)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return x * self.inverse_root(self.mean_square(x)) * self.weight


class DetachesTheNorm(RMSNorm):
    """Takes the norm for a constant in the backward pass."""

    def mean_square(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().mean_square(x)


class AddsEpsOutsideTheRoot(RMSNorm):
    """Protects the inverse instead of what is inverted: zero times infinity for a row of zeros."""

    def inverse_root(self, mean_square: Tensor) -> Tensor:
        return torch.rsqrt(mean_square) + 1e-6


class StaysInFloat32(RMSNorm):
    """Computes in float32 for precision and forgets to go back."""

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return super().forward(x.float())


class BatchNorm(nn.Module):
    """Normalises each channel: by the batch in training, by running statistics in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8) + 0.5)
        self.bias = nn.Parameter(torch.randn(8))
        self.remember("mean", torch.zeros(8))
        self.remember("var", torch.ones(8))

    def remember(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, 8)
        return rows.mean(0), rows.var(0, unbiased=False)

    @torch.no_grad()
    def update(self, mean: Tensor, var: Tensor) -> None:
        self.mean = 0.9 * self.mean + 0.1 * mean
        self.var = 0.9 * self.var + 0.1 * var

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        mean, var = self.mean, self.var
        if self.training:
            mean, var = self.statistics(x)
            self.update(mean, var)
        return (x - mean) * torch.rsqrt(var + 1e-5) * self.weight + self.bias


class ReducesTheFirstAxis(BatchNorm):
    """Reduces axis 0 alone, so that (B, T, C) broadcasts the running statistics to T rows."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(0), x.var(0, unbiased=False)


class NormalisesPositionsApart(ReducesTheFirstAxis):
    """Reduces axis 0 alone, and averages only what it remembers."""

    def update(self, mean: Tensor, var: Tensor) -> None:
        super().update(mean.reshape(-1, 8).mean(0), var.reshape(-1, 8).mean(0))


class KeepsTheGraph(BatchNorm):
    """Updates without no_grad, so that the buffers hold on to the graph of every step."""

    def update(self, mean: Tensor, var: Tensor) -> None:
        self.mean = 0.9 * self.mean + 0.1 * mean
        self.var = 0.9 * self.var + 0.1 * var


class RemembersPlainAttributes(BatchNorm):
    """Keeps its running statistics in attributes, which no state dict contains."""

    def remember(self, name: str, value: Tensor) -> None:
        setattr(self, name, value)


class RemembersWithoutSaving(BatchNorm):
    """Keeps its running statistics out of the state dict."""

    def remember(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)


class RemembersTheDeviation(BatchNorm):
    """Keeps a running standard deviation under the name of a variance."""

    def update(self, mean: Tensor, var: Tensor) -> None:
        super().update(mean, var.sqrt())


class DropsItsUpdate(BatchNorm):
    """Computes the new running mean and does not assign it."""

    @torch.no_grad()
    def update(self, mean: Tensor, var: Tensor) -> None:
        self.mean.lerp(mean, 0.1)
        self.var = self.var.lerp(var, 0.1)


class AddsWithoutForgetting(BatchNorm):
    """Adds a share of the new to all of the old, so that the running statistics grow for ever."""

    @torch.no_grad()
    def update(self, mean: Tensor, var: Tensor) -> None:
        self.mean = self.mean + 0.1 * mean
        self.var = self.var + 0.1 * var


class LearnsInEvalMode(BatchNorm):
    """Updates its running statistics by the data that it is evaluated on."""

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        if not self.training:
            self.update(*self.statistics(x))
        return super().forward(x)


# --- gates, experts, pooling ----------------------------------------------------------------------


class Experts(nn.Module):
    """Mixes three layers by the weights that a router gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, 3)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.register_buffer("load", torch.ones(3) / 3)
        self.register_buffer("seen", torch.tensor(0))

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)

    def watch(self, weights: Tensor) -> None:
        self.load = 0.9 * self.load + 0.1 * weights.detach().mean(0)
        self.seen = self.seen + len(weights)

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        weights = self.weights(self.router(x))
        if self.training:
            self.watch(weights)
        y = torch.stack([expert(x) for expert in self.experts], -1)
        return (y @ weights[..., None]).squeeze(-1)


class ExamplesCompete(Experts):
    """Takes the softmax over the batch: an expert chooses among examples."""

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(0)


class RoutesByArgmax(Experts):
    """Picks the best expert and does not weigh it, so that the router never learns."""

    def weights(self, scores: Tensor) -> Tensor:
        return F.one_hot(scores.argmax(-1), 3).to(scores.dtype)


class WatchesTheGraph(Experts):
    """Keeps the average load of the experts with the graph of every step."""

    def watch(self, weights: Tensor) -> None:
        self.load = 0.9 * self.load + 0.1 * weights.mean(0)


class AveragesACount(Experts):
    """Averages the size of batches in a buffer made of the integer 0, which becomes a float."""

    def watch(self, weights: Tensor) -> None:
        self.seen = 0.9 * self.seen + 0.1 * len(weights)


class SqueezeExcitation(nn.Module):
    """Scales each channel by what the example's averages say about it."""

    def __init__(self, axes: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.axes = axes
        self.squeeze = nn.Conv1d(8, 4, 1)
        self.excite = nn.Conv1d(4, 8, 1)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        summary = x.mean(self.axes, keepdim=True)
        return x * self.excite(F.silu(self.squeeze(summary))).sigmoid()


class PeakNorm(nn.Module):
    """Scales each waveform so that its peak is one."""

    def __init__(self, axes: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x / x.abs().amax(self.axes, keepdim=True).clamp(min=1e-5)


class Proportions(nn.Module):
    """Divides amounts by their sum."""

    def __init__(self, keepdim: bool = True) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x / (x.abs().sum(1, keepdim=self.keepdim) + 1e-6)


class Highway(nn.Module):
    """Gates between its input and a function of it."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(8, 8)
        self.gate = nn.Linear(8, 8)

    def open(self, x: Tensor) -> Tensor:
        return self.gate(x).sigmoid()

    def carry(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        gate = self.open(x)
        return gate * self.value(x).tanh() + (1 - gate) * self.carry(x)


class DetachesTheGate(Highway):
    """Reads the gate's data."""

    def open(self, x: Tensor) -> Tensor:
        return super().open(x).data


class OverwritesTheGate(Highway):
    """Computes the gate and then another one by the layer of the value."""

    def open(self, x: Tensor) -> Tensor:
        gate = self.gate(x)
        gate = self.value(x)
        return gate.sigmoid()


class CarriesTheData(Highway):
    """Carries its input past the graph, so that layers below get the gradient of one branch."""

    def carry(self, x: Tensor) -> Tensor:
        return x.data


class Stack(nn.Module):
    """Three residual layers, each with a scale for its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = self.collect([nn.Linear(8, 8) for _ in range(3)])
        self.scales = nn.ParameterList(torch.rand(8) + 0.5 for _ in range(3))

    def collect(self, layers: list[nn.Linear]) -> Any:
        return nn.ModuleList(layers)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        for layer, scale in zip(self.layers, self.scales, strict=True):
            x = x + scale * layer(x).tanh()
        return x


class KeepsLayersInAList(Stack):
    """Keeps its layers in a list, which no optimiser looks into."""

    def collect(self, layers: list[nn.Linear]) -> Any:
        return layers


class EveryLayerReadsTheInput(Stack):
    """Feeds each layer the input, so that only the last one counts."""

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        for layer, scale in zip(self.layers, self.scales, strict=True):
            y = x + scale * layer(x).tanh()
        return y


class ForgetsTheScales(Stack):
    """Makes scales and does not use them."""

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        for layer in self.layers:
            x = x + layer(x).tanh()
        return x


class Temperature(nn.Module):
    """Divides scores by a learned temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.learn(torch.full((1,), 0.5))

    def learn(self, start: Tensor) -> None:
        self.log = nn.Parameter(start)

    def temperature(self) -> Tensor | float:
        return self.log.exp()

    def forward(self, x: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
        return x / self.temperature()


class LearnsAPlainTensor(Temperature):
    """Sets requires_grad on a tensor and calls it a parameter."""

    def learn(self, start: Tensor) -> None:
        self.log = start.requires_grad_()


class LearnsANumber(Temperature):
    """Takes the number out of its parameter."""

    def temperature(self) -> Tensor | float:
        return self.log.exp().item()


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over time, as in speaker recognition."""

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.project = nn.Linear(8, 8)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B 16"]:
        y = self.project(x)
        deviation = (y.var(1, unbiased=False) + self.eps).sqrt()
        return torch.cat([y.mean(1), deviation], -1)


class MeanPooling(nn.Module):
    """Projects the mean over time."""

    def __init__(self, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis
        self.out = nn.Linear(8, 8)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B C"]:
        return self.out(x.sum(1) / x.size(self.axis))


class Chunks(nn.Module):
    """Runs its layer on four examples at a time, to save memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        return torch.cat([self.layer(chunk) for chunk in x.split(4)])


class ForgetsTheRemainder(Chunks):
    """Runs whole chunks only and leaves the last examples zero."""

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        y = torch.zeros_like(x)
        for start in range(0, x.size(0) - 3, 4):
            y[start : start + 4] = self.layer(x[start : start + 4])
        return y


class Score(nn.Module):
    """One number for each example."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 1)

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B"]:
        return self.out(x).squeeze(-1)


class SqueezesABatchOfOne(Score):
    """Squeezes every axis of size one, the batch too."""

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B"]:
        return self.out(x).squeeze()


class SpectralFilter(nn.Module):
    """Damps what oscillates fast."""

    def length(self, x: Tensor) -> int | None:
        return x.size(-1)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # no FFT of bfloat16
        spectrum = torch.fft.rfft(wide)
        damping = 1 / (1 + torch.arange(spectrum.size(-1), device=x.device))
        return torch.fft.irfft(spectrum * damping, n=self.length(x)).to(x.dtype)


class LosesTheOddPosition(SpectralFilter):
    """Leaves the length to irfft, which takes it for even."""

    def length(self, x: Tensor) -> int | None:
        return None


# --- sets -----------------------------------------------------------------------------------------


class PointwiseConv(nn.Module):
    """A convolution of width one over the channels of each point."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 1)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return self.conv(x.mT).mT


class MovesChannelsByView(PointwiseConv):
    """Views (B, T, C) as (B, C, T), which moves no axis but mixes points."""

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        return self.conv(x.reshape(x.size(0), 8, -1)).reshape(x.shape)


class LocalAndGlobal(nn.Module):
    """Gives each point the mean of all, as PointNet does for segmentation."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis
        self.out = nn.Linear(16, 8)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        both = torch.cat([x, x.mean(1, keepdim=True).expand_as(x)], self.axis)
        return self.out(both.reshape(x.size(0), x.size(1), 16))


# --- masks: True marks what counts, unless the argument is called padding ------------------------


class MaskedMean(nn.Module):
    """Averages the positions that count."""

    def total(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask[..., None]).sum(1)

    def count(self, x: Tensor, mask: Tensor) -> Tensor | int:
        return mask.sum(1, keepdim=True).clamp(min=1)

    def forward(self, x: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        return self.total(x, mask) / self.count(x, mask)


class SumsThePadding(MaskedMean):
    """Divides by the number that count, and sums all."""

    def total(self, x: Tensor, mask: Tensor) -> Tensor:
        return x.sum(1)


class DividesByThePadding(MaskedMean):
    """Sums what counts, and divides by the number of all."""

    def count(self, x: Tensor, mask: Tensor) -> Tensor | int:
        return x.size(1)


class MaskedMax(nn.Module):
    """The largest log-probability of each channel among the positions that count."""

    def hide(self, logs: Tensor, mask: Tensor) -> Tensor:
        return logs.masked_fill(~mask[..., None], torch.finfo(logs.dtype).min)

    def forward(self, x: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        return self.hide(F.logsigmoid(x), mask).amax(1) * mask.any(1, keepdim=True)


class ZerosWinTheMax(MaskedMax):
    """Sets the padding to zero, which is more than any of them."""

    def hide(self, logs: Tensor, mask: Tensor) -> Tensor:
        return logs * mask[..., None]


class AttentionPooling(nn.Module):
    """Averages the positions that count, by learned weights."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(8, 1, bias=False)

    def weights(self, scores: Tensor, mask: Tensor) -> Tensor:
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~mask, lowest).softmax(-1) * mask

    def forward(self, x: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        return (self.weights(self.score(x).squeeze(-1), mask)[..., None] * x).sum(1)


class MasksWithZero(AttentionPooling):
    """Sets scores of padding to zero before the softmax, where zero is a weight like another."""

    def weights(self, scores: Tensor, mask: Tensor) -> Tensor:
        return (scores * mask).softmax(-1)


class Encoder(nn.Module):
    """Self-attention to the positions that are no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Linear(8, 8)
        self.keys = nn.Linear(8, 8, bias=False)
        self.values = nn.Linear(8, 8)

    def allowed(self, padding: Tensor) -> Tensor:
        return ~padding[:, None, :]

    def forward(
        self, x: Float[Tensor, "B T C"], padding: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T C"]:
        q, k, v = self.queries(x), self.keys(x), self.values(x)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.allowed(padding))


class AttendsToPaddingOnly(Encoder):
    """Gives a mask of padding to a function that wants what to attend to."""

    def allowed(self, padding: Tensor) -> Tensor:
        return padding[:, None, :]


class MasksTheQueries(Encoder):
    """Masks the rows of the scores instead of their columns."""

    def allowed(self, padding: Tensor) -> Tensor:
        return ~padding[:, :, None]


class MasksInPlace(Encoder):
    """Inverts the caller's mask in place."""

    def allowed(self, padding: Tensor) -> Tensor:
        return padding.logical_not_()[:, None, :]


class MaskedConv(nn.Module):
    """A convolution that takes padding for silence."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "B C T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B C T"]:
        return self.conv(x * mask[:, None])


class MasksWhatComesOut(MaskedConv):
    """Masks the result, after padding has gone into its neighbours."""

    def forward(
        self, x: Float[Tensor, "B C T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B C T"]:
        return self.conv(x) * mask[:, None]


class LastPosition(nn.Module):
    """Projects the last position that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 8)

    def last(self, x: Tensor, mask: Tensor) -> Tensor:
        places = (mask * torch.arange(x.size(1), device=x.device)).argmax(1)
        last = x.take_along_dim(places[:, None, None], 1).squeeze(1)
        return last * mask.any(1, keepdim=True)

    def forward(self, x: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        return self.out(self.last(x, mask))


class TakesTheLastPadding(LastPosition):
    """Takes position -1, which is padding in all examples but the longest."""

    def last(self, x: Tensor, mask: Tensor) -> Tensor:
        return x[:, -1]


class HashedBag(nn.Module):
    """Averages the embeddings of the tokens that count, hashed into a table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(61, 8)

    def counted(self, mask: Tensor) -> Tensor:
        return mask

    def forward(
        self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B 8"]:
        counted = self.counted(mask)[..., None]
        total = (self.table(tokens.long() % 61) * counted).sum(1)
        return total / counted.sum(1).clamp(min=1)


class CountsPaddingTokens(HashedBag):
    """Takes the embedding of padding for zero, which hashing does not make it."""

    def counted(self, mask: Tensor) -> Tensor:
        return torch.ones_like(mask)


# --- noise, writing, storage ----------------------------------------------------------------------


class Dropout(nn.Module):
    """A layer whose result is dropped out in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def drop(self, y: Tensor) -> Tensor:
        return F.dropout(y, 0.2, training=self.training)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.drop(self.layer(x))


class DropsInEvalMode(Dropout):
    """Leaves F.dropout its default, which is to drop."""

    def drop(self, y: Tensor) -> Tensor:
        return F.dropout(y, 0.2)


class NoiseInEvalMode(Dropout):
    """Adds noise as augmentation, in eval mode too."""

    def drop(self, y: Tensor) -> Tensor:
        return y + 0.1 * torch.randn_like(y)


class MaxNorm(nn.Module):
    """A layer whose rows of weights are at most one long."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8))

    def short(self) -> Tensor:
        return self.weight / self.weight.norm(dim=1, keepdim=True).clamp(min=1)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return F.linear(x, self.short())


class ShortensItsWeights(MaxNorm):
    """Writes the shortened weights back at each call, those in eval mode too."""

    def short(self) -> Tensor:
        with torch.no_grad():
            self.weight.copy_(super().short())
        return self.weight


class PreActivation(nn.Module):
    """A residual layer that activates first."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.activation = nn.LeakyReLU(0.1, inplace=inplace)
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return x + self.layer(self.activation(x))


class NeighbourMeans(nn.Module):
    """Averages each position and the next."""

    def pairs(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, :-1], x[:, 1:]], -1)

    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T-1"]:
        return self.pairs(x).mean(-1)


class StridesOverStorage(NeighbourMeans):
    """Makes windows by as_strided, with the strides of a contiguous tensor."""

    def pairs(self, x: Tensor) -> Tensor:
        rows, length = x.shape
        return x.as_strided((rows, length - 1, 2), (length, 1, 1))


class SilentChannel(nn.Module):
    """Scales its channels and leaves zero in the first."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(8) + 0.5)

    def silence(self, y: Tensor) -> None:
        y[..., 0] = 0

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        y = x * self.scale
        self.silence(y)
        return y


class SilencesACopy(SilentChannel):
    """Writes through reshape, which is a view of a contiguous tensor, and a copy of another."""

    def silence(self, y: Tensor) -> None:
        y.reshape(-1, 8)[:, 0] = 0


# --- numbers --------------------------------------------------------------------------------------


class Softmax(nn.Module):
    """The softmax by hand."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def shift(self, x: Tensor) -> Tensor:
        return x - x.amax(self.axis, keepdim=True)

    def forward(self, x: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
        powers = self.shift(x).exp()
        return powers / powers.sum(self.axis, keepdim=True)


class ExponentiatesTheScores(Softmax):
    """Subtracts no maximum, so that large scores give infinity over infinity."""

    def shift(self, x: Tensor) -> Tensor:
        return x


class _Swish(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x.sigmoid()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def slope(x: Tensor, gate: Tensor) -> Tensor:
        return gate * (1 + x * (1 - gate))

    @classmethod
    def backward(cls, ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * cls.slope(x, x.sigmoid())


class _SwishWithoutAFactor(_Swish):
    @staticmethod
    def slope(x: Tensor, gate: Tensor) -> Tensor:
        return gate + x * (1 - gate)


class Swish(nn.Module):
    """x times its sigmoid, which remembers x alone for the backward pass."""

    function = _Swish

    def forward(self, x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return self.function.apply(x)


class SwishForgetsAFactor(Swish):
    """Forgets a factor in its backward pass."""

    function = _SwishWithoutAFactor


# --- losses ---------------------------------------------------------------------------------------


class RootMeanSquare(nn.Module):
    """The mean over examples of the root of the mean square error."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes or (1,)

    def reduce(self, y: Tensor, target: Tensor) -> Tensor:
        return ((y - target).pow(2).mean(self.axes) + 1e-8).sqrt().mean()

    def forward(
        self, prediction: Float[Tensor, "B T"], target: Float[Tensor, "B T"]
    ) -> Float[Tensor, ""]:
        return self.reduce(prediction, target)


class Dice(RootMeanSquare):
    """One minus the overlap of a predicted and a true region, the mean over examples."""

    def reduce(self, y: Tensor, target: Tensor) -> Tensor:
        p = y.sigmoid()
        sizes = p.pow(2).sum(self.axes) + target.pow(2).sum(self.axes)
        return (1 - 2 * (p * target).sum(self.axes) / (sizes + 1e-6)).mean()


class SquaredSum(RootMeanSquare):
    """The sum over examples of the mean square error."""

    def reduce(self, y: Tensor, target: Tensor) -> Tensor:
        return (y - target).pow(2).mean(self.axes).sum()


class MeanSquare(nn.Module):
    """The mean square error of a head that keeps its last axis."""

    def __init__(self, squeeze: bool = True) -> None:
        super().__init__()
        self.squeeze = squeeze

    def errors(self, y: Tensor, target: Tensor) -> Tensor:
        return (y - target).pow(2)

    def forward(
        self, prediction: Float[Tensor, "B 1"], target: Float[Tensor, "B"]
    ) -> Float[Tensor, ""]:
        y = prediction.squeeze(-1) if self.squeeze else prediction
        return self.errors(y, target).mean()


class BinaryEntropy(MeanSquare):
    """The binary cross entropy of a head that keeps its last axis."""

    def errors(self, y: Tensor, target: Tensor) -> Tensor:
        return -(target * F.logsigmoid(y) + (1 - target) * F.logsigmoid(-y))


class SmoothedTokens(nn.Module):
    """Cross entropy with smoothed labels; the mean over examples of that over their tokens."""

    def logs(self, prediction: Tensor) -> Tensor:
        return prediction.log_softmax(-1)

    def losses(self, logs: Tensor, target: Tensor, kept: Tensor) -> Tensor:
        hard = logs.gather(-1, target.clamp(min=0).long()[..., None]).squeeze(-1)
        return -(0.9 * hard + 0.1 * logs.mean(-1)) * kept

    def average(self, losses: Tensor, kept: Tensor) -> Tensor:
        return (losses.sum(1) / kept.sum(1).clamp(min=1)).mean()

    def forward(
        self, prediction: Float[Tensor, "B T V"], target: Int[Tensor, "B T"]
    ) -> Float[Tensor, ""]:
        kept = target != -100
        return self.average(self.losses(self.logs(prediction), target, kept), kept)


class LogOfSoftmax(SmoothedTokens):
    """Takes the logarithm of probabilities that have become zero."""

    def logs(self, prediction: Tensor) -> Tensor:
        return prediction.softmax(-1).log()


class SmoothsPadding(SmoothedTokens):
    """Leaves out the ignored tokens in one of its two terms."""

    def losses(self, logs: Tensor, target: Tensor, kept: Tensor) -> Tensor:
        hard = logs.gather(-1, target.clamp(min=0).long()[..., None]).squeeze(-1)
        return -(0.9 * hard * kept + 0.1 * logs.mean(-1))


class IgnoredIsClassZero(SmoothedTokens):
    """Clamps the ignored targets for the look-up, and so trains them to be class 0."""

    def losses(self, logs: Tensor, target: Tensor, kept: Tensor) -> Tensor:
        return super().losses(logs, target, torch.ones_like(kept))


class WeighsExamplesByLength(SmoothedTokens):
    """Divides by the tokens of the batch, so that an example's share depends on the others."""

    def average(self, losses: Tensor, kept: Tensor) -> Tensor:
        return losses.sum() / kept.sum().clamp(min=1)


# --- copies ---------------------------------------------------------------------------------------


class TiedWeights(nn.Module):
    """A layer and back, with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3, bias=False)

    def back(self, x: Tensor) -> Tensor:
        return x @ self.layer.weight

    def forward(self, x: Float[Tensor, "B 8"]) -> Float[Tensor, "B 8"]:
        return self.back(torch.tanh(self.layer(x)))


class TiesByLambda(TiedWeights):
    """Ties by a lambda, in which self is the original for ever, in each copy of it."""

    def __init__(self) -> None:
        super().__init__()
        self.back = lambda x: x @ self.layer.weight  # type: ignore[method-assign]


# --- the list -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Twin:
    """A bug, the law that has to find it, what has to be declared, and the same without the bug."""

    law: str
    broken: Callable[[], nn.Module]
    fixed: Callable[[], nn.Module]
    declared: Mapping[str, Any] = field(default_factory=dict)


WIDE: dict[str, Any] = {"sizes": {"C": 8}}
CAUSAL = WIDE | {"causal": True}
POINTS = WIDE | {"equivariant": ("T",)}
COUPLED = WIDE | {"couples": True}
NAMED_MASK: dict[str, Any] = {"mask": "mask", "mask_keeps": True}
MASKED = WIDE | NAMED_MASK
PADDED = WIDE | {"mask": "padding", "mask_keeps": False}
TOKENS: dict[str, Any] = {"sizes": {"V": 5}, "loss": "mean", "ignore": -100}


def _reaches(positions: int) -> dict[str, Any]:
    return WIDE | {"receptive_field": positions}


# fmt: off
TWINS: dict[str, Twin] = {
    # annotation
    "squeeze drops a batch of one": Twin("annotation", SqueezesABatchOfOne, Score, WIDE),
    "keepdim is forgotten": Twin("annotation", partial(Proportions, keepdim=False), Proportions),
    "irfft makes odd lengths even": Twin("annotation", LosesTheOddPosition, SpectralFilter),
    # state
    "batch norm reduces one axis too few": Twin("state", ReducesTheFirstAxis, BatchNorm, COUPLED),
    "running statistics keep the graph": Twin("state", KeepsTheGraph, BatchNorm, COUPLED),
    "load of experts keeps the graph": Twin("state", WatchesTheGraph, Experts, WIDE),
    "integer buffer becomes a float": Twin("state", AveragesACount, Experts, WIDE),
    # independence
    "attention without batch_first": Twin(
        "independence", partial(TorchAttention, batch_first=False), TorchAttention, WIDE),
    "GRU without batch_first": Twin(
        "independence", partial(Recurrent, batch_first=False), Recurrent, WIDE),
    "router's softmax over the batch": Twin("independence", ExamplesCompete, Experts, WIDE),
    "RMS norm over all axes": Twin("independence", partial(RMSNorm, axis=None), RMSNorm, WIDE),
    "peak of the whole batch": Twin("independence", partial(PeakNorm, axes=(0, 1)), PeakNorm),
    "squeeze-excitation averages the batch": Twin(
        "independence", partial(SqueezeExcitation, axes=(0, 2)), SqueezeExcitation, WIDE),
    "repeat instead of repeat_interleave": Twin(
        "independence", TilesInsteadOfInterleaving, WithSummary, WIDE),
    # order
    "positions along the batch axis": Twin("order", NumbersTheExamples, Sinusoids, WIDE),
    "learned start for each row of the batch": Twin(
        "order", partial(LearnedStart, rows=64), LearnedStart, WIDE),
    # batch_size
    "sum over time divided by the batch size": Twin(
        "batch_size", partial(MeanPooling, axis=0), MeanPooling, WIDE),
    "last incomplete chunk stays zero": Twin("batch_size", ForgetsTheRemainder, Chunks, WIDE),
    # leading_axes
    "batch norm normalises each position apart": Twin(
        "leading_axes", NormalisesPositionsApart, BatchNorm, COUPLED),
    "RMS norm over axis 1": Twin("leading_axes", partial(RMSNorm, axis=1), RMSNorm, WIDE),
    "softmax over axis 1": Twin("leading_axes", partial(Softmax, axis=1), Softmax),
    # receptive_field
    "causal attention splits heads by a view": Twin(
        "receptive_field", CausalButHeadsByView, CausalAttention, CAUSAL),
    "mask one diagonal too high": Twin(
        "receptive_field", partial(CausalAttention, diagonal=1), CausalAttention, CAUSAL),
    "mask one diagonal too low": Twin(
        "receptive_field", partial(CausalAttention, diagonal=-1), CausalAttention, CAUSAL),
    "mask for transposed scores": Twin(
        "receptive_field", SeesTheFutureOnly, CausalAttention, CAUSAL),
    "softmax over the queries": Twin(
        "receptive_field", partial(CausalAttention, axis=-2), CausalAttention, CAUSAL),
    "mask after the softmax": Twin(
        "receptive_field", MasksAfterTheSoftmax, CausalAttention, CAUSAL),
    "window one position too wide": Twin(
        "receptive_field", WindowOneTooWide, WindowAttention, _reaches(4)),
    "causal convolution pads both sides": Twin(
        "receptive_field", partial(CausalConv, padding=1), CausalConv, CAUSAL),
    "padding cut off at the wrong end": Twin(
        "receptive_field", CutsTheBeginning, CausalConv, _reaches(3)),
    "dilation never grows": Twin(
        "receptive_field", partial(WaveNet, growth=1), WaveNet, _reaches(8)),
    "dilation grows too fast": Twin(
        "receptive_field", partial(WaveNet, growth=3), WaveNet, _reaches(8)),
    "group norm over time": Twin("receptive_field", NormalisesOverTime, ChannelNorm, CAUSAL),
    "F.normalize over its default axis": Twin(
        "receptive_field", partial(Directions, axis=1), Directions, CAUSAL),
    "token shift wraps around": Twin("receptive_field", ShiftWrapsAround, TokenShift, _reaches(2)),
    "n-grams wrap around": Twin("receptive_field", NGramsWrapAround, NGrams, {"causal": True}),
    "cumulative mean divides by the whole length": Twin(
        "receptive_field", DividesByTheWholeLength, CumulativeMean, {"causal": True}),
    "bidirectional GRU in a causal model": Twin(
        "receptive_field", partial(Recurrent, size=4, bidirectional=True), Recurrent, CAUSAL),
    # permutation
    "attention splits heads by a view": Twin(
        "permutation", SplitsHeadsByView, SelfAttention, POINTS),
    "attention merges heads by a reshape": Twin(
        "permutation", MergesHeadsByReshape, SelfAttention, POINTS),
    "channels moved by a view": Twin("permutation", MovesChannelsByView, PointwiseConv, POINTS),
    "features joined along the points": Twin(
        "permutation", partial(LocalAndGlobal, axis=1), LocalAndGlobal, POINTS),
    # mask
    "mean sums the padding": Twin("mask", SumsThePadding, MaskedMean, MASKED),
    "mean divides by the padded length": Twin("mask", DividesByThePadding, MaskedMean, MASKED),
    "zeros of the padding win the max": Twin("mask", ZerosWinTheMax, MaskedMax, MASKED),
    "scores of padding are zero": Twin("mask", MasksWithZero, AttentionPooling, MASKED),
    "mask of padding is inverted": Twin("mask", AttendsToPaddingOnly, Encoder, PADDED),
    "mask of padding on the queries": Twin("mask", MasksTheQueries, Encoder, PADDED),
    "convolution masks what comes out": Twin("mask", MasksWhatComesOut, MaskedConv, MASKED),
    "last position is padding": Twin("mask", TakesTheLastPadding, LastPosition, MASKED),
    "bag of tokens counts padding": Twin("mask", CountsPaddingTokens, HashedBag, NAMED_MASK),
    # purity
    "dropout in eval mode": Twin("purity", DropsInEvalMode, Dropout, WIDE),
    "noise in eval mode": Twin("purity", NoiseInEvalMode, Dropout, WIDE),
    "running statistics change in eval mode": Twin("purity", LearnsInEvalMode, BatchNorm, COUPLED),
    "weights shortened in place in eval mode": Twin("purity", ShortensItsWeights, MaxNorm, WIDE),
    # history
    "keys of the first memory are kept": Twin("history", KeepsTheFirstMemory, CrossAttention, WIDE),
    "hidden state of the last call is kept": Twin(
        "history", RemembersTheLastCall, Recurrent, WIDE),
    "coordinates cut from the longest": Twin("history", KeepsTheLongestLine, Coordinates, WIDE),
    "rotary base stays stretched": Twin("history", NeverTurnsFastAgain, DynamicRotary, WIDE),
    # state_dict
    "running statistics are plain attributes": Twin(
        "state_dict", RemembersPlainAttributes, BatchNorm, COUPLED),
    "running statistics are not persistent": Twin(
        "state_dict", RemembersWithoutSaving, BatchNorm, COUPLED),
    # copied
    "weights tied by a lambda": Twin("copied", TiesByLambda, TiedWeights),
    # registered
    "layers in a list": Twin("registered", KeepsLayersInAList, Stack, WIDE),
    "plain tensor that requires grad": Twin("registered", LearnsAPlainTensor, Temperature),
    # statistics
    "running variance is a deviation": Twin(
        "statistics", RemembersTheDeviation, BatchNorm, COUPLED),
    "running mean is never updated": Twin("statistics", DropsItsUpdate, BatchNorm, COUPLED),
    "running statistics grow for ever": Twin(
        "statistics", AddsWithoutForgetting, BatchNorm, COUPLED),
    # gradients
    "gate by .data": Twin("gradients", DetachesTheGate, Highway, WIDE),
    "gate overwritten": Twin("gradients", OverwritesTheGate, Highway, WIDE),
    "temperature by .item()": Twin("gradients", LearnsANumber, Temperature),
    "router by argmax": Twin("gradients", RoutesByArgmax, Experts, WIDE),
    "every layer reads the input": Twin("gradients", EveryLayerReadsTheInput, Stack, WIDE),
    "scales are never used": Twin("gradients", ForgetsTheScales, Stack, WIDE),
    "root of a variance of zero": Twin(
        "finite", partial(StatisticsPooling, eps=0.0), StatisticsPooling, WIDE),
    # derivatives
    "backward forgets a factor": Twin("derivatives", SwishForgetsAFactor, Swish),
    "norm without gradient": Twin("derivatives", DetachesTheNorm, RMSNorm, WIDE),
    "residual branch by .data": Twin("derivatives", CarriesTheData, Highway, WIDE),
    # finite
    "softmax without the maximum": Twin("finite", ExponentiatesTheScores, Softmax),
    "logarithm of a softmax": Twin("finite", LogOfSoftmax, SmoothedTokens, TOKENS),
    "direction of zero": Twin("finite", partial(Directions, eps=0.0), Directions, WIDE),
    "eps outside of the root": Twin("finite", AddsEpsOutsideTheRoot, RMSNorm, WIDE),
    # dtype
    "position table in float32": Twin("dtype", PositionsInFloat32, Sinusoids, WIDE),
    "norm stays in float32": Twin("dtype", StaysInFloat32, RMSNorm, WIDE),
    "first state in float32": Twin("dtype", StartsInFloat32, Recurrent, WIDE),
    # device
    "position table on the CPU": Twin("device", PositionsOnTheCpu, Sinusoids, WIDE),
    "first state on the CPU": Twin("device", StartsOnTheCpu, Recurrent, WIDE),
    # inputs
    "positions added in place": Twin("inputs", AddsToItsInput, Sinusoids, WIDE),
    "activation in place": Twin(
        "inputs", partial(PreActivation, inplace=True), PreActivation, WIDE),
    "mask inverted in place": Twin("inputs", MasksInPlace, Encoder, PADDED),
    # layout
    "as_strided of a contiguous tensor": Twin("layout", StridesOverStorage, NeighbourMeans),
    "written through a reshape": Twin("layout", SilencesACopy, SilentChannel, WIDE),
    # mean_of_examples
    "root of the mean of the batch": Twin(
        "mean_of_examples", partial(RootMeanSquare, 0, 1), RootMeanSquare, {"loss": "mean"}),
    "dice of the whole batch": Twin(
        "mean_of_examples", partial(Dice, 0, 1), Dice, {"loss": "mean"}),
    "sum over the wrong axis": Twin(
        "mean_of_examples", partial(SquaredSum, 0), SquaredSum, {"loss": "sum"}),
    "examples weighed by their tokens": Twin(
        "mean_of_examples", WeighsExamplesByLength, SmoothedTokens, TOKENS),
    # ignored
    "label smoothing of ignored tokens": Twin("ignored", SmoothsPadding, SmoothedTokens, TOKENS),
    "ignored tokens are class 0": Twin("ignored", IgnoredIsClassZero, SmoothedTokens, TOKENS),
    # broadcast
    "squared errors of all pairs": Twin(
        "broadcast", partial(MeanSquare, squeeze=False), MeanSquare, {"loss": "mean"}),
    "entropies of all pairs": Twin(
        "broadcast", partial(BinaryEntropy, squeeze=False), BinaryEntropy, {"loss": "mean"}),
}
# fmt: on
