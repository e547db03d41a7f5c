"""What the laws find in packages, once more in plain torch: each function stands alone.

A function passes while the behaviour is there, in the version that packages.txt pins. None of this
is a judgement on a package: these are layers that work, and that people were given for nothing.
"""

import copy
from collections.abc import Callable

import torch

BY_HAND: list[Callable[[], None]] = []
"""All of them."""

SMALL = {"dim": 16, "depth": 1, "heads": 2, "attn_dim_head": 8}


def changed_at_the_end(shape: tuple[int, ...], axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two inputs that differ at the last position of an axis only."""
    x = torch.randn(shape)
    y = x.clone()
    y.select(axis, -1).copy_(torch.randn_like(y.select(axis, -1)))
    return x, y


def by_hand(function: Callable[[], None]) -> Callable[[], None]:
    BY_HAND.append(function)
    return function


def refusal(call: Callable[[], object]) -> str:
    """The text of the error that a call raises."""
    try:
        call()
    except Exception as error:
        return str(error)
    return ""


# --- pytorch-tcn ----------------------------------------------------------------------------------


@by_hand
def padded_by_the_future() -> None:
    """A causal layer pads on the left with later positions, if the padding is not zeros."""
    from pytorch_tcn import TemporalConv1d

    x, y = changed_at_the_end((1, 4, 5), axis=2)
    layer = TemporalConv1d(4, 6, 3, causal=True, padding_mode="circular")
    assert not torch.allclose(layer(x)[..., 0], layer(y)[..., 0])


@by_hand
def softmax_over_the_batch() -> None:
    """``nn.Softmax()`` without a dim normalises the first axis of three."""
    from pytorch_tcn import TCN

    y = TCN(4, [5], output_activation="softmax").eval()(torch.randn(2, 4, 7))
    assert torch.allclose(y.sum(0), torch.ones(5, 7))
    assert not torch.allclose(y.sum(1), torch.ones(2, 7))


@by_hand
def pointwise_stream_grows() -> None:
    """With a kernel of 1 the buffer is ``x[..., -0:]``, which is all of x."""
    from pytorch_tcn import TemporalConv1d

    layer = TemporalConv1d(4, 6, kernel_size=1)
    x = torch.randn(1, 4, 2)
    assert [layer(x, inference=True).shape[-1] for _ in range(3)] == [2, 4, 6]


# --- x-transformers -------------------------------------------------------------------------------


@by_hand
def decoder_sees_the_future() -> None:
    """Projections and means over all positions, the later ones among them.

    ``orthog_project`` packs ``"b *"``, so that its unit vector is of the whole sequence.
    """
    from x_transformers import Decoder

    for name in (
        "attn_orthog_projected_values",
        "attn_orthog_projected_values_per_head",
        "orthog_residual",
        "mv_split_residual",
    ):
        x, y = changed_at_the_end((1, 5, 16), axis=1)
        decoder = Decoder(**SMALL, **{name: True}).eval()
        assert (decoder(x) - decoder(y))[:, 0].abs().max() > 1e-4


@by_hand
def mask_in_bfloat16() -> None:
    """``einx.where(..., mask, out, 0.)`` behind the attention gives float32."""
    from x_transformers import Encoder

    encoder = Encoder(**SMALL).bfloat16()
    x, mask = torch.randn(1, 3, 16).bfloat16(), torch.ones(1, 3, dtype=torch.bool)
    assert encoder(x).dtype == torch.bfloat16
    assert "same dtype" in refusal(lambda: encoder(x, mask=mask))


@by_hand
def shifted_past_the_mask() -> None:
    """The feedforward shifts tokens too, and is not given the mask."""
    from x_transformers import Encoder

    x, y = changed_at_the_end((1, 5, 16), axis=1)
    mask = torch.tensor([[True, True, True, True, False]])
    encoder = Encoder(**SMALL, shift_tokens=1).eval()
    assert not torch.allclose(encoder(x, mask=mask)[:, :4], encoder(y, mask=mask)[:, :4])


@by_hand
def tied_to_the_original() -> None:
    """``to_logits`` is a lambda that holds the module it was made in, in copies too."""
    from x_transformers import Decoder, TransformerWrapper

    given = {"num_tokens": 11, "max_seq_len": 8, "tie_embedding": True}
    model = TransformerWrapper(**given, attn_layers=Decoder(**SMALL))
    average, x = copy.deepcopy(model), torch.randint(11, (2, 3))
    before = average(x)
    model.token_emb.emb.weight.data.zero_()
    assert not torch.allclose(average(x), before)


# --- local-attention ------------------------------------------------------------------------------


@by_hand
def rotary_in_bfloat16() -> None:
    """The scale of rotary embeddings is ``torch.ones(1)``, which makes q and k float32, not v."""
    from local_attention import LocalAttention

    layer = LocalAttention(window_size=2, causal=True, dim=8).bfloat16()
    q, k, v = torch.randn(3, 1, 4, 8).bfloat16()
    assert "expected scalar type Float" in refusal(lambda: layer(q, k, v))


@by_hand
def local_dropout_is_not_passed_on() -> None:
    """Found beside the laws: an argument without effect, as is that of Conformer."""
    from conformer import Conformer
    from local_attention.transformer import LocalMHA

    x = torch.randn(1, 4, 16)
    given = {"dim": 16, "dim_head": 8, "heads": 2}
    for layer in (
        LocalMHA(**given, window_size=2, dropout=0.9),
        Conformer(**given, depth=1, attn_dropout=0.9, ff_dropout=0.9, conv_causal=True),
    ):
        assert torch.equal(layer.train()(x), layer(x))


# --- rotary-embedding-torch, positional-encodings -------------------------------------------------


@by_hand
def scales_of_a_longer_sequence() -> None:
    """Cached scales are of the first call; the products of queries and keys do not change."""
    from rotary_embedding_torch import RotaryEmbedding

    (q, k), other = torch.randn(2, 1, 1, 5, 8), torch.randn(1, 1, 9, 8)
    new, used = (RotaryEmbedding(8, use_xpos=True) for _ in range(2))
    used.rotate_queries_and_keys(other, other)
    (q1, k1), (q2, k2) = (each.rotate_queries_and_keys(q, k) for each in (new, used))
    assert not torch.allclose(q1, q2, rtol=1e-4)
    assert torch.allclose(q1 @ k1.mT, q2 @ k2.mT, atol=1e-5)


@by_hand
def rounded_positions_are_cached() -> None:
    """Found beside the laws: bfloat16 has no 257, and float32 calls are given its 256."""
    from rotary_embedding_torch import RotaryEmbedding

    x = torch.randn(1, 1, 300, 8)
    new, used = (RotaryEmbedding(8) for _ in range(2))
    used.rotate_queries_or_keys(x.bfloat16())
    new, used = (each.rotate_queries_or_keys(x) for each in (new, used))
    assert torch.allclose(new[..., :256, :], used[..., :256, :])
    assert not torch.allclose(new[..., 257, :], used[..., 257, :])


@by_hand
def table_is_given_out() -> None:
    """Found beside the laws: who adds to the result adds to the next one."""
    from positional_encodings.torch_encodings import PositionalEncoding1D

    layer, x = PositionalEncoding1D(6), torch.zeros(2, 3, 6)
    layer(x).add_(1)
    assert torch.allclose(layer(x), PositionalEncoding1D(6)(x) + 1)
    assert layer(x.double()).dtype == torch.float32


# --- vector-quantize-pytorch ----------------------------------------------------------------------


@by_hand
def affine_statistics_in_eval() -> None:
    """``update_affine`` asks for training for two of its four statistics."""
    from vector_quantize_pytorch import VectorQuantize

    layer = VectorQuantize(dim=6, codebook_size=8, affine_param=True)
    layer(torch.randn(4, 9, 6))
    layer.eval()
    before = layer._codebook.batch_mean.clone()
    layer(torch.randn(4, 9, 6))
    assert not torch.equal(layer._codebook.batch_mean, before)


@by_hand
def latent_values_never_learn() -> None:
    """``z + (quantize - z).detach()``: the values are parameters, and are detached."""
    from vector_quantize_pytorch import LatentQuantize

    layer = LatentQuantize(levels=[5, 5, 8], dim=6)
    result, _, loss = layer(torch.randn(2, 6, 9))
    (result.sum() + loss).backward()
    assert all(values.grad is None for values in layer.values_per_latent)


# --- conformer ------------------------------------------------------------------------------------


@by_hand
def context_of_its_length() -> None:
    """The distances are of x to x; and a mask of the context alone meets a lambda."""
    from conformer.conformer import Attention

    layer, x = Attention(16, heads=2, dim_head=8), torch.randn(1, 5, 16)
    assert "must match" in refusal(lambda: layer(x, context=torch.randn(1, 3, 16)))
    mask = torch.ones(1, 5, dtype=torch.bool)
    assert "unknown to einops" in refusal(lambda: layer(x, context=x, context_mask=mask))


@by_hand
def convolved_past_the_mask() -> None:
    """The mask goes to the attention only."""
    from conformer import ConformerBlock

    x, y = changed_at_the_end((1, 5, 16), axis=1)
    mask = torch.tensor([[True, True, True, True, False]])
    block = ConformerBlock(dim=16, dim_head=8, heads=2, conv_kernel_size=3).eval()
    assert not torch.allclose(block(x, mask=mask)[:, 3], block(y, mask=mask)[:, 3])


# --- minGRU-pytorch -------------------------------------------------------------------------------


@by_hand
def lstm_goes_on() -> None:
    """For T = 1 the hidden state is taken as it is, for T > 1 as ``log_g`` of it, not its log."""
    from minGRU_pytorch.minGRU import minGRU
    from minGRU_pytorch.minLSTM import minLSTM

    for kind, same in ((minGRU, True), (minLSTM, False)):
        layer, x = kind(6), torch.randn(1, 5, 6)
        whole = layer(x)
        first, hidden = layer(x[:, :3], return_next_prev_hidden=True)
        rest = layer(x[:, 3:], hidden)
        assert torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-5) == same


# --- ncps -----------------------------------------------------------------------------------------


@by_hand
def spans_of_units() -> None:
    """``timespans[:, t].squeeze()`` of shape (B,) is broadcast against (B, units)."""
    from ncps.torch import CfC

    layer, x, spans = CfC(4, 6), torch.randn(6, 3, 4), torch.rand(6, 3)
    alone = layer(x[:1], timespans=spans[:1])[0]
    assert not torch.allclose(layer(x, timespans=spans)[0][:1], alone, atol=1e-3)
    assert "must match" in refusal(lambda: layer(x[:5], timespans=spans[:5]))


@by_hand
def computes_with_old_parameters() -> None:
    """The cell keeps its parameters in a dict too: new ones in their place are not seen."""
    from ncps.torch import LTC
    from ncps.wirings import AutoNCP

    layer, x = LTC(4, AutoNCP(8, 3)), torch.randn(2, 3, 4)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in layer.state_dict().items()}
    before = layer(x)[0]
    assert torch.equal(torch.func.functional_call(layer, zeros, (x,))[0], before)
    layer.load_state_dict(zeros, assign=True)
    assert torch.equal(layer(x)[0], before)


# --- pytorch-crf ----------------------------------------------------------------------------------


@by_hand
def transition_out_of_a_hole() -> None:
    """The tag at a masked position counts, as the one before the next position."""
    from torchcrf import CRF

    crf, emissions = CRF(5, batch_first=True), torch.randn(1, 3, 5)
    mask = torch.tensor([[True, False, True]])
    one, other = (crf(emissions, torch.tensor([[0, tag, 1]]), mask=mask) for tag in (2, 3))
    assert not torch.allclose(one, other)
