"""The laws over sequence layers that people install: what is found is what a table explains.

Opt-in, since it needs packages that nothing else here does:

    pip install -r tests/testing/packages.txt
    pytest tests/testing/test_packages.py

Each module stands with what is declared about it, and with the laws that it is expected to break,
in a sentence each. ``see`` names a function in packages_by_hand.py that shows the same in plain
torch. Past 400 lines, since it is a table.
"""

import importlib.metadata
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import packages_by_hand
import pytest
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from typedwave.testing import check

REQUIREMENTS = Path(__file__).with_name("packages.txt").read_text()


def missing() -> list[str]:
    """The packages that are not there in the version that is pinned."""
    found = {each.name.lower(): each.version for each in importlib.metadata.distributions()}
    pinned = re.findall(r"^(\S+)==(\S+)$", REQUIREMENTS, re.MULTILINE)
    return [f"{name} {wanted}" for name, wanted in pinned if found.get(name.lower()) != wanted]


if missing():
    command = "pip install -r tests/testing/packages.txt"
    pytest.skip(f"{missing()[0]} is not installed: {command}", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import loguru
    from conformer import ConformerBlock, ConformerConvModule
    from conformer.conformer import Attention as ConformerAttention
    from local_attention import LocalAttention
    from local_attention.transformer import LocalMHA, LocalTransformer
    from mambapy.mamba import Mamba, MambaBlock, MambaConfig
    from mambapy.pscan import pscan
    from minGRU_pytorch.hybrid import minGRUAttnHybrid
    from minGRU_pytorch.minGRU import minGRU
    from minGRU_pytorch.minLM import minLM
    from minGRU_pytorch.minLSTM import minLSTM
    from ncps.torch import LTC, CfC
    from ncps.wirings import AutoNCP
    from positional_encodings import torch_encodings
    from pytorch_tcn import TCN, TemporalConv1d, TemporalConvTranspose1d
    from rotary_embedding_torch import RotaryEmbedding, apply_rotary_emb
    from taylor_series_linear_attention import (
        ChannelFirstTaylorSeriesLinearAttn,
        TaylorSeriesLinearAttn,
    )
    from torchcrf import CRF
    from vector_quantize_pytorch import (
        FSQ,
        LatentQuantize,
        RandomProjectionQuantizer,
        ResidualVQ,
        VectorQuantize,
    )
    from x_transformers import (
        AttentionPool,
        AutoregressiveWrapper,
        ContinuousTransformerWrapper,
        CrossAttender,
        Decoder,
        Encoder,
        TransformerWrapper,
    )

for chatty in ("vector_quantize_pytorch", "x_transformers"):
    loguru.logger.disable(chatty)

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of packages, about their use of torch
    pytest.mark.usefixtures("default_profile"),
]

EXAMPLES = 6
"""Of a law."""


@dataclass(frozen=True)
class Tried:
    """A module, what is declared about it, and what is found.

    Attributes:
        name: Its package, and how it is used.
        make: Makes it.
        declared: Declarations.
        found: The laws that it breaks, and why that is right.
    """

    name: str
    make: Callable[[], nn.Module]
    declared: Mapping[str, Any]
    found: Mapping[str, str]


TRIED: list[Tried] = []


def tried(
    package: str,
    name: str,
    make: Callable[[], nn.Module],
    declared: Mapping[str, Any],
    **found: str,
) -> None:
    TRIED.append(Tried(f"{package}: {name}", make, declared, found))


def shapes(result: Any = None, **spec: Any) -> dict[str, Any]:
    """The annotations of arguments, and that of the result."""
    return {"spec": spec if result is None else spec | {"return": result}}


IDS, MASK, BTC = Int64[Tensor, "B T"], Bool[Tensor, "B T"], Float[Tensor, "B T 16"]
CAUSAL: dict[str, Any] = {"causal": True}
KEEPS: dict[str, Any] = {"mask": "mask", "mask_keeps": True}
SHORT: dict[str, Any] = {"sizes": {"T": (1, 2, 3, 5, 7, 8)}}
X = shapes(BTC, x=BTC) | SHORT
MASKED = shapes(BTC, x=BTC, mask=MASK) | SHORT | KEEPS
TOKENS = shapes(Float[Tensor, "B T 11"], x=IDS) | SHORT | CAUSAL

# --- pytorch-tcn ----------------------------------------------------------------------------------

tcn = partial(tried, "pytorch-tcn")


class Streamed(nn.Module):
    """A layer that remembers the end of its last block."""

    def __init__(self, layer: nn.Module, *, graph: bool) -> None:
        super().__init__()
        self.layer, self.graph = layer, graph

    def forward(self, x: Float[Tensor, "1 4 T"]) -> Tensor:
        with torch.set_grad_enabled(self.graph and torch.is_grad_enabled()):
            return self.layer(x, inference=True)


class InBlocks(nn.Module):
    """A stream from its beginning, in blocks of two positions: should be as the whole."""

    def __init__(self, layer: TCN) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Float[Tensor, "1 4 T"]) -> Float[Tensor, "1 5 T"]:
        blocks = [self.layer(block, inference=True) for block in x.split(2, dim=2)]
        self.layer.set_buffers([torch.zeros_like(held) for held in self.layer.get_buffers()])
        return torch.cat(blocks, dim=2)


class Conditioned(nn.Module):
    """A TCN with two embeddings, one for all time and one for each position."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        kinds = [(7,), (3, None)]
        self.tcn = TCN(4, [6, 5], kernel_size=2, embedding_shapes=kinds, embedding_mode=mode)

    def forward(
        self, x: Float[Tensor, "B 4 T"], one: Float[Tensor, "B 7"], each: Float[Tensor, "B 3 T"]
    ) -> Float[Tensor, "B 5 T"]:
        return self.tcn(x, embeddings=[one, each])


SIGNAL = shapes(x=Float[Tensor, "B 4 T"])
SEVEN = CAUSAL | {
    "receptive_field": 1 + 2 * (1 + 2)
}  # two convolutions with dilation 1, two with 2

tcn(
    "TemporalConv1d",
    lambda: TemporalConv1d(4, 6, 3, dilation=2),
    SIGNAL | CAUSAL | {"receptive_field": 5},
)
tcn(
    "TemporalConv1d, not causal",
    lambda: TemporalConv1d(4, 6, 4, causal=False),
    SIGNAL | {"receptive_field": (1, 2)},
)
for mode in ("reflect", "circular"):
    tcn(
        f"TemporalConv1d, padding_mode={mode}",
        lambda mode=mode: TemporalConv1d(4, 6, 3, padding_mode=mode),
        SIGNAL | CAUSAL,
        receptive_field="the padding on the left is of later positions: see padded_by_the_future",
    )
tcn(
    "TemporalConvTranspose1d",
    lambda: TemporalConvTranspose1d(4, 6, 6, stride=3),
    shapes(Float[Tensor, "B 6 3*T"], x=Float[Tensor, "B 4 T"]) | CAUSAL | {"receptive_field": 2},
)
tcn(
    "TCN",
    lambda: TCN(4, [6, 5], kernel_size=2, use_skip_connections=True, use_gate=True),
    shapes(Float[Tensor, "B 5 T"], x=Float[Tensor, "B 4 T"]) | SEVEN,
)
tcn(
    "TCN, batch_norm",
    lambda: TCN(4, [6, 5], kernel_size=2, use_norm="batch_norm", causal=False),
    SIGNAL | {"couples": True},
)
tcn(
    "TCN, output_activation=softmax",
    lambda: TCN(4, [5], kernel_size=2, output_activation="softmax"),
    SIGNAL,
    independence="its softmax is over the batch: see softmax_over_the_batch",
    batch_size="the same: an example alone gives 1 throughout",
)
tcn(
    "TCN, embeddings added",
    lambda: Conditioned("add"),
    CAUSAL,
    gradients="embedding_projection_2 is made in any case, and used where they are concatenated",
)
tcn("TCN, embeddings concatenated", lambda: Conditioned("concat"), CAUSAL)
tcn(
    "TCN, streamed",
    lambda: Streamed(TCN(4, [6, 5], kernel_size=2), graph=True),
    {"stateful": True},
    state="without no_grad its buffers keep the graph of all that came before",
)
tcn("TCN, streamed in blocks", lambda: InBlocks(TCN(4, [6, 5], kernel_size=2)), SEVEN)
tcn(
    "TemporalConv1d, kernel_size=1, streamed",
    lambda: Streamed(TemporalConv1d(4, 6, 1), graph=False),
    {"stateful": True, "unused": "layer"},
    state="its buffer of no positions grows with each call: see pointwise_stream_grows",
    state_dict="a buffer that has grown does not fit into a new layer",
)

# --- x-transformers -------------------------------------------------------------------------------

xt = partial(tried, "x-transformers")
SMALL: dict[str, Any] = {"dim": 16, "depth": 1, "heads": 2, "attn_dim_head": 8}
LM: dict[str, Any] = {"num_tokens": 11, "max_seq_len": 8}
ACROSS = (
    shapes(BTC, x=BTC, context=Float[Tensor, "B S 16"], context_mask=Bool[Tensor, "B S"])
    | {"sizes": SHORT["sizes"] | {"S": (1, 2, 3, 5, 7)}}
    | {"mask": "context_mask", "mask_keeps": True}
)


def decoder(**given: Any) -> Callable[[], nn.Module]:
    return lambda: Decoder(**SMALL, **given)


for named, given in {
    "rotary": {"rotary_pos_emb": True},
    "alibi": {"alibi_pos_bias": True},
    "cope, memories": {"attn_use_cope": True, "attn_num_mem_kv": 2},
    "shifted tokens, gates": {"shift_tokens": 2, "gate_residual": True, "attn_gate_values": True},
    "residual streams": {"num_residual_streams": 2},
    "gumbel softmax": {"attn_gumbel_softmax": True},
}.items():
    draws = {"random": True, "surrogate": True} if "gumbel" in named else {}
    xt(f"Decoder, {named}", decoder(**given), X | CAUSAL | draws)
xt(
    "Decoder, attn_max_attend_past=2",
    decoder(attn_max_attend_past=2),
    X | CAUSAL | {"receptive_field": 3},
)
for named in (
    "attn_orthog_projected_values",
    "attn_orthog_projected_values_per_head",
    "orthog_residual",
    "mv_split_residual",
):
    xt(
        f"Decoder, {named}",
        decoder(**{named: True}),
        X | CAUSAL,
        receptive_field="it mixes in all positions, later ones too: see decoder_sees_the_future",
    )
xt(
    "Decoder, dynamic_pos_bias",
    decoder(dynamic_pos_bias=True),
    X | CAUSAL,
    dtype="the distances are float32, whatever the layers behind them are",
)
xt(
    "Decoder, integrate_layers",
    decoder(integrate_layers=True),
    X | CAUSAL,
    gradients="the first integrator weighs one layer by a softmax: always by 1",
)
xt("Encoder", lambda: Encoder(**SMALL), X | {"equivariant": "T"})
xt(
    "Encoder, mask",
    lambda: Encoder(**SMALL),
    MASKED,
    dtype="with a mask, what leaves the attention is float32: see mask_in_bfloat16",
)
xt(
    "Encoder, mask, shifted tokens",
    lambda: Encoder(**SMALL, shift_tokens=1),
    MASKED,
    mask="the feedforward shifts masked tokens to kept positions: see shifted_past_the_mask",
    dtype="see mask_in_bfloat16",
)
xt(
    "Decoder, cross_attend",
    decoder(cross_attend=True),
    ACROSS | CAUSAL | {"equivariant": "S"},
)
xt("CrossAttender", lambda: CrossAttender(**SMALL), ACROSS | {"equivariant": ("S", "T")})
xt(
    "AttentionPool",
    lambda: AttentionPool(dim=16, num_pooled_tokens=2, heads=2, dim_head=8),
    shapes(context=BTC, mask=MASK) | SHORT | KEEPS | {"equivariant": "T"},
)
xt(
    "TransformerWrapper",
    lambda: TransformerWrapper(**LM, attn_layers=Decoder(**SMALL), num_memory_tokens=2),
    TOKENS,
)
xt(
    "TransformerWrapper, tie_embedding",
    lambda: TransformerWrapper(**LM, attn_layers=Decoder(**SMALL), tie_embedding=True),
    TOKENS,
    copied="a copy takes its logits from the embedding of the original: see tied_to_the_original",
    state_dict="the same: it was loaded into a copy",
    dtype="the same: it was asked of a copy",
)
xt(
    "ContinuousTransformerWrapper",
    lambda: ContinuousTransformerWrapper(
        dim_in=5, dim_out=3, max_seq_len=8, attn_layers=Decoder(**SMALL)
    ),
    shapes(Float[Tensor, "B T 3"], x=Float[Tensor, "B T 5"]) | SHORT | CAUSAL,
)
xt(
    "AutoregressiveWrapper",
    lambda: AutoregressiveWrapper(TransformerWrapper(**LM, attn_layers=Decoder(**SMALL))),
    shapes(x=IDS) | {"sizes": {"T": (2, 3, 5, 8)}, "loss": "mean", "target": "x"},
)

# --- local-attention ------------------------------------------------------------------------------

local = partial(tried, "local-attention")
HEADS = Float[Tensor, "B H T 8"]
QKV = shapes(HEADS, q=HEADS, k=HEADS, v=HEADS) | {"sizes": SHORT["sizes"] | {"H": 2}}
ROTARY_F32 = "its rotary scale is float32, and bfloat16 refused: see rotary_in_bfloat16"

local(
    "LocalAttention",
    lambda: LocalAttention(window_size=3, causal=True, dim=8, autopad=True, exact_windowsize=True),
    QKV | CAUSAL | {"receptive_field": 4},
    dtype=ROTARY_F32,
)
local(
    "LocalAttention, both ways",
    lambda: LocalAttention(window_size=2, autopad=True, exact_windowsize=True),
    QKV | {"receptive_field": (2, 2)},
)
local(
    "LocalMHA, mask",
    lambda: LocalMHA(dim=16, dim_head=8, heads=2, window_size=2, qk_rmsnorm=True, use_xpos=True),
    MASKED,
)
local(
    "LocalTransformer",
    lambda: LocalTransformer(
        **LM, dim=16, depth=2, dim_head=8, heads=2, local_attn_window_size=2, num_residual_streams=1
    ),
    TOKENS | {"receptive_field": 5},
    dtype=ROTARY_F32,
)

# --- rotary-embedding-torch, positional-encodings -------------------------------------------------

rotary = partial(tried, "rotary-embedding-torch")
encoding = partial(tried, "positional-encodings")


class Rotated(nn.Module):
    """Queries, rotated."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.rotary = RotaryEmbedding(8, cache_max_seq_len=32, **given)

    def forward(self, x: HEADS) -> HEADS:
        return self.rotary.rotate_queries_or_keys(x)


class Scaled(nn.Module):
    """Queries and keys, rotated and scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.rotary = RotaryEmbedding(8, cache_max_seq_len=32, use_xpos=True)

    def forward(self, q: HEADS, k: HEADS) -> tuple[HEADS, HEADS]:
        return self.rotary.rotate_queries_and_keys(q, k)


class Axial(nn.Module):
    """Positions on two axes, relative to their lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.rotary = RotaryEmbedding(4, freqs_for="pixel", max_freq=16)

    def forward(self, x: Float[Tensor, "B T W 8"]) -> Float[Tensor, "B T W 8"]:
        return apply_rotary_emb(self.rotary.get_axial_freqs(*x.shape[1:3]), x)


POINTWISE = {"sizes": {"H": 2}, "receptive_field": 1}
rotary("RotaryEmbedding", Rotated, POINTWISE)
rotary("RotaryEmbedding, learned", lambda: Rotated(learned_freq=True), POINTWISE)
rotary(
    "RotaryEmbedding, use_xpos",
    Scaled,
    {"sizes": {"H": 2}},
    history="scales of a longer call are used again; q @ k stays: see scales_of_a_longer_sequence",
)
rotary("RotaryEmbedding, axial", Axial, {})
encoding(
    "PositionalEncoding1D",
    lambda: torch_encodings.PositionalEncoding1D(5),
    shapes(Float[Tensor, "B T 5"], tensor=Float[Tensor, "B T 5"]),
)
encoding(
    "PositionalEncodingPermute2D",
    lambda: torch_encodings.PositionalEncodingPermute2D(7),
    shapes(Float[Tensor, "B 7 T W"], tensor=Float[Tensor, "B 7 T W"]),
)
encoding(
    "Summer",
    lambda: torch_encodings.Summer(torch_encodings.PositionalEncoding1D(6)),
    shapes(Float[Tensor, "B T 6"], tensor=Float[Tensor, "B T 6"]) | {"receptive_field": 1},
)

# --- vector-quantize-pytorch ----------------------------------------------------------------------

vq = partial(tried, "vector-quantize-pytorch")
CODEBOOK: dict[str, Any] = {"dim": 6, "codebook_size": 8}
ROUNDED = {"surrogate": True}
VECTORS = shapes(x=Float[Tensor, "B T 6"]) | SHORT
QUANTIZED = VECTORS | ROUNDED | {"couples": True}
LOSS_F32 = "the losses beside the result are float32 always"


class Affine(nn.Module):
    """One that was trained: a new one computes with memory that nothing was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.vq = VectorQuantize(**CODEBOOK, affine_param=True)
        self.vq(torch.randn(4, 9, 6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.vq(x)[:2]


vq("VectorQuantize", lambda: VectorQuantize(**CODEBOOK), QUANTIZED)
vq(
    "VectorQuantize, mask",
    lambda: VectorQuantize(**CODEBOOK, use_cosine_sim=True),
    shapes(x=Float[Tensor, "B T 6"], mask=MASK)
    | {"sizes": SHORT["sizes"] | {"B": (1, 2, 3)}}  # einx compiles for each shape
    | ROUNDED
    | {"couples": True}
    | KEEPS,
)
vq(
    "VectorQuantize, kmeans_init",
    lambda: VectorQuantize(**CODEBOOK, kmeans_init=True, kmeans_iters=2),
    QUANTIZED,
    purity="the first call makes the codebook, in eval mode too",
    history="the same: of the first batch that it sees",
    independence="the same: of all examples in it",
)
vq(
    "VectorQuantize, affine_param",
    Affine,
    QUANTIZED,
    purity="eval mode moves the statistics of the batch: see affine_statistics_in_eval",
    history="the same",
    independence="the same",
    batch_size="the same",
    dtype="what it quantizes is made float32, and its statistics are not",
)
vq("ResidualVQ", lambda: ResidualVQ(**CODEBOOK, num_quantizers=2), QUANTIZED, dtype=LOSS_F32)
vq(
    "FSQ",
    lambda: FSQ(levels=[3, 4, 5], dim=6),
    shapes(z=Float[Tensor, "B T 6"]) | SHORT | ROUNDED,
)
vq(
    "LatentQuantize",
    lambda: LatentQuantize(levels=[5, 5, 8], dim=6),
    shapes(z=Float[Tensor, "B 6 T"]) | SHORT | ROUNDED,
    gradients="its values are parameters, and are detached: see latent_values_never_learn",
    dtype=LOSS_F32,
)
vq(
    "RandomProjectionQuantizer",
    lambda: RandomProjectionQuantizer(dim=6, codebook_size=8, codebook_dim=4, num_codebooks=2),
    VECTORS,
    gradients="it is frozen, as in its paper, but its projections ask for a gradient",
)

# --- conformer ------------------------------------------------------------------------------------

conformer = partial(tried, "conformer")
TWO_HEADS: dict[str, Any] = {"dim": 16, "dim_head": 8, "heads": 2}
conformer(
    "ConformerConvModule, causal",
    lambda: ConformerConvModule(16, causal=True, kernel_size=3),
    X | CAUSAL | {"receptive_field": 3},
)
conformer(
    "ConformerConvModule",
    lambda: ConformerConvModule(16, kernel_size=4),
    X | {"receptive_field": (2, 1), "couples": True},
)
conformer("Attention, mask", lambda: ConformerAttention(**TWO_HEADS, max_pos_emb=3), MASKED)
conformer(
    "Attention, context",
    lambda: ConformerAttention(**TWO_HEADS, max_pos_emb=3),
    shapes(BTC, x=BTC, context=Float[Tensor, "B S 16"]) | {"sizes": {"S": (2, 3, 5, 7)}},
    annotation="a context is taken if it is as long as x, or one is 1: see context_of_its_length",
)
conformer(
    "ConformerBlock, mask",
    lambda: ConformerBlock(**TWO_HEADS, conv_kernel_size=3),
    MASKED | {"couples": True},
    mask="its convolution is not given the mask: see convolved_past_the_mask",
)

# --- minGRU-pytorch -------------------------------------------------------------------------------

gru = partial(tried, "minGRU-pytorch")
GOES_ON = shapes(BTC, x=BTC, prev_hidden=Float[Tensor, "B 1 24"]) | SHORT | CAUSAL
GOES_ON["bounds"] = {"prev_hidden": (0.1, 2.0)}  # as its own are; a logarithm is taken of it

gru("minGRU, prev_hidden", lambda: minGRU(16, expansion_factor=1.5), GOES_ON)
gru(
    "minLSTM, prev_hidden",
    lambda: minLSTM(16, expansion_factor=1.5),
    GOES_ON,
    receptive_field="one position goes on otherwise than several do: see lstm_goes_on",
)
gru("minGRUAttnHybrid", lambda: minGRUAttnHybrid(16, dim_head=8, heads=2), X | CAUSAL)
gru(
    "minLM",
    lambda: minLM(num_tokens=11, dim=16, depth=1, enable_conv=True, use_lstm=True, dropout=0.1),
    TOKENS,
)

# --- mambapy --------------------------------------------------------------------------------------

mamba = partial(tried, "mambapy")
A_F32 = "A and D are made float32, so that bfloat16 is refused where no autocast is"


def small_mamba(**given: Any) -> MambaConfig:
    return MambaConfig(d_model=16, n_layers=1, d_state=4, **given)


class Scan(nn.Module):
    """The parallel scan, whose gradient is written by hand."""

    def forward(
        self, a: Float[Tensor, "B T D N"], x: Float[Tensor, "B T D N"]
    ) -> Float[Tensor, "B T D N"]:
        return pscan(a, x)


class Stepped(nn.Module):
    """A block, one position after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.block = MambaBlock(small_mamba())

    def forward(self, x: Tensor) -> Tensor:
        cache, steps = (None, x.new_zeros(x.shape[0], 32, 3)), []
        for position in x.unbind(1):
            step, cache = self.block.step(position, cache)
            steps.append(step)
        return torch.stack(steps, 1)


mamba("pscan", Scan, SHORT | CAUSAL | {"bounds": {"a": (0, 1)}})
mamba("MambaBlock", lambda: MambaBlock(small_mamba()), X | CAUSAL, dtype=A_F32)
mamba("MambaBlock, step by step", Stepped, X | CAUSAL, dtype=A_F32)
mamba(
    "Mamba",
    lambda: Mamba(small_mamba(inner_layernorms=True, mup=True, pscan=False)),
    X | CAUSAL,
    dtype=A_F32,
)

# --- ncps -----------------------------------------------------------------------------------------

ncps = partial(tried, "ncps")
SERIES = shapes(input=Float[Tensor, "B T 4"]) | SHORT
UNITS = tuple[Float[Tensor, "B T 6"], Float[Tensor, "B 6"]]
ZEROS_F32 = "the hidden state that it begins with is float32, whatever its input is"

ncps("CfC", lambda: CfC(4, 6, backbone_units=8), SERIES | CAUSAL, dtype=ZEROS_F32)
ncps(
    "CfC, hx",
    lambda: CfC(4, 6, backbone_units=8, mode="no_gate", proj_size=3),
    shapes(
        tuple[Float[Tensor, "B T 3"], Float[Tensor, "B 6"]],
        input=Float[Tensor, "B T 4"],
        hx=Float[Tensor, "B 6"],
    )
    | SHORT
    | CAUSAL,
)
ncps(
    "CfC, timespans",
    lambda: CfC(4, 6, backbone_units=8),
    shapes(UNITS, input=Float[Tensor, "B T 4"], timespans=Float[Tensor, "B T"])
    | {"sizes": {"T": (1, 2, 3), "B": (1, 6)}, "bounds": {"timespans": (0.1, 2.0)}},
    independence="the spans of examples go to units in their place: see spans_of_units",
    order="the same",
    batch_size="the same; and no batch but 1 and 6, the number of units, is taken",
    dtype=ZEROS_F32,
)
ncps(
    "LTC",
    lambda: LTC(4, AutoNCP(8, 3)),
    SERIES,
    device="it keeps its parameters twice: see computes_with_old_parameters",
    dtype=ZEROS_F32,
)

# --- pytorch-crf, taylor-series-linear-attention --------------------------------------------------

crf = partial(tried, "pytorch-crf")
taylor = partial(tried, "taylor-series-linear-attention")


class Negative(nn.Module):
    """The negative log-likelihood of tags."""

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.crf, self.reduction = CRF(5, batch_first=True), reduction

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None) -> Tensor:
        return -self.crf(emissions, tags, mask=mask, reduction=self.reduction)


TAGS: dict[str, Any] = {"emissions": Float[Tensor, "B T 5"], "tags": IDS}
for named in ("sum", "mean"):
    crf(
        f"CRF, {named}",
        lambda named=named: Negative(named),
        shapes(**TAGS) | SHORT | {"loss": named, "target": "tags"},
    )
CUT_OFF = shapes(Float[Tensor, "B"], **TAGS, mask=MASK) | SHORT | KEEPS
crf("CRF, mask of padding", lambda: Negative("none"), CUT_OFF | {"padding": True})
crf(
    "CRF, mask",
    lambda: Negative("none"),
    CUT_OFF,
    mask="padding is meant: a tag in a hole counts, see transition_out_of_a_hole",
)

TAYLOR: dict[str, Any] = {"dim": 16, "dim_head": 4, "heads": 2}
taylor(
    "TaylorSeriesLinearAttn, mask",
    lambda: TaylorSeriesLinearAttn(**TAYLOR, one_headed_kv=True, gate_value_heads=True),
    MASKED | shapes(BTC, x=BTC, mask=MASK, context=None) | {"equivariant": "T"},
)
taylor(
    "TaylorSeriesLinearAttn, context",
    lambda: TaylorSeriesLinearAttn(**TAYLOR, prenorm=True),
    shapes(BTC, x=BTC, context=Float[Tensor, "B S 16"], mask=Bool[Tensor, "B S"])
    | {"sizes": ACROSS["sizes"], "equivariant": "S"}
    | KEEPS,
)
taylor(
    "TaylorSeriesLinearAttn, rotary",
    lambda: TaylorSeriesLinearAttn(**TAYLOR, rotary_emb=True, remove_even_power_dups=True),
    X | shapes(BTC, x=BTC, mask=None, context=None),
)
taylor(
    "ChannelFirstTaylorSeriesLinearAttn",
    lambda: ChannelFirstTaylorSeriesLinearAttn(**TAYLOR),
    shapes(Float[Tensor, "B 16 T W"], x=Float[Tensor, "B 16 T W"])
    | SHORT
    | {"equivariant": ("T", "W")},
)


@pytest.mark.parametrize("each", TRIED, ids=lambda each: each.name)
def test_what_is_found_is_what_the_table_explains(each: Tried) -> None:
    report = check(each.make, examples=EXAMPLES, **each.declared)
    assert {finding.law for finding in report.findings} == {*each.found}, str(report)


@pytest.mark.parametrize("shown", packages_by_hand.BY_HAND, ids=lambda shown: shown.__name__)
def test_plain_torch_shows_it_too(shown: Callable[[], None]) -> None:
    torch.manual_seed(0)
    shown()


def test_what_the_table_refers_to_is_there() -> None:
    named = {name for each in TRIED for why in each.found.values() for name in seen(why)}
    assert named <= {shown.__name__ for shown in packages_by_hand.BY_HAND}


def seen(why: str) -> list[str]:
    return re.findall(r"see (\w+)", why)
