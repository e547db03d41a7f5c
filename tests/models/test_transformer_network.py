"""The transformer is the one of the paper, without positions and normalised first."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streamed import looking_trained, parameters_of, random_ids, transformers
from torch import Tensor

from typedwave.models import Transformer, TransformerConfig
from typedwave.nn import Dropout, LayerNorm, TokenShift


def plain(config: TransformerConfig, weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Head by head and position by position."""

    def normalised(name: str, x: Tensor) -> Tensor:
        mean, var = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
        y = (x - mean) / torch.sqrt(var + 1e-5)
        return y * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def shifted(name: str, x: Tensor) -> Tensor:
        if not config.token_shift:
            return x
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        return x + weights[f"{name}.weight"] * (before - x)

    def attended(name: str, x: Tensor) -> Tensor:
        weight, bias = weights[f"{name}.in_proj_weight"], weights[f"{name}.in_proj_bias"]
        q, k, v = (x @ weight.T + bias).chunk(3, dim=-1)
        width, y = config.n_embd // config.num_heads, torch.zeros_like(x)
        for head in range(config.num_heads):
            its = slice(head * width, (head + 1) * width)
            for t in range(x.shape[1]):
                scores = (k[:, : t + 1, its] * q[:, t, None, its]).sum(-1) / math.sqrt(width)
                y[:, t, its] = (scores.softmax(1)[:, :, None] * v[:, : t + 1, its]).sum(1)
        return linear(f"{name}.out_proj", y)

    x = weights["embedding.weight"][ids]
    for n in range(config.num_layers):
        block = f"blocks.{n}"
        seen = shifted(f"{block}.shift1", normalised(f"{block}.norm1", x))
        x = x + attended(f"{block}.self_attn", seen)
        seen = shifted(f"{block}.shift2", normalised(f"{block}.norm2", x))
        y = linear(f"{block}.linear1", seen)
        x = x + linear(f"{block}.linear2", y * 0.5 * (1 + torch.erf(y / math.sqrt(2))))
    return linear("head", normalised("norm", x))


@given(config=transformers(), seed=st.integers(0, 2**32), length=st.integers(1, 9))
@torch.no_grad()
def test_the_logits_are_those_of_the_formulas(config, seed, length):
    network = looking_trained(Transformer(config, vocab_size=5, dtype=torch.float64), seed=seed)
    weights, ids = dict(network.named_parameters()), random_ids(2, length, seed=seed)
    for training in (False, True):  # which are the same without dropout
        logits = network.train(training)(ids)
        # Channels that hardly differ are divided by next to nothing.
        torch.testing.assert_close(logits, plain(config, weights, ids), rtol=1e-7, atol=1e-8)


@torch.no_grad()
def test_in_training_the_blocks_drop_and_nothing_else_does():
    config = TransformerConfig(n_embd=6, n_hidden=7, num_heads=2, num_layers=2, dropout=0.25)
    network = looking_trained(Transformer(config, vocab_size=5, dtype=torch.float64)).train()
    dropouts = [name for name, module in network.named_modules() if isinstance(module, Dropout)]
    assert dropouts == ["blocks.0.dropout", "blocks.1.dropout"]
    assert [block.dropout.p for block in network.blocks] == [0.25] * 2
    assert [block.self_attn.dropout for block in network.blocks] == [0.25] * 2
    ids = random_ids(3, 8)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert not torch.equal(network(ids), network.eval()(ids))


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # 27 * 54; a block of 2 * 2 * 54, 2 * 54, 55 * 162 + 55 * 54, 55 * 216 + 217 * 54;
        # and 2 * 54 + 55 * 27
        ({}, 74_655),
        ({"token_shift": False}, 74_439),
        ({"num_layers": 1}, 38_853),
        ({"num_heads": 6}, 74_655),
    ],
)
def test_it_has_as_many_parameters_as_was_counted_by_hand(options, parameters):
    network = Transformer(TransformerConfig(**options), vocab_size=27, device="meta")
    assert parameters_of(network) == parameters


def test_it_knows_what_it_was_made_of():
    config = TransformerConfig()
    network = Transformer(config, vocab_size=7, device="meta", dtype=torch.float64)
    assert network.config is config
    assert network.vocab_size == 7
    assert network.receptive_field is None
    assert {(p.dtype, p.device.type) for p in network.parameters()} == {(torch.float64, "meta")}
    assert [block.self_attn.num_heads for block in network.blocks] == [3] * 2
    assert sum(isinstance(m, TokenShift) for m in network.modules()) == 4
    assert sum(isinstance(m, LayerNorm) for m in network.modules()) == 5


@pytest.mark.parametrize("token_shift", [False, True])
@torch.no_grad()
def test_there_is_no_longest_sequence_and_the_first_position_matters_to_the_last(token_shift):
    config = TransformerConfig(
        n_embd=6, n_hidden=7, num_heads=2, num_layers=2, token_shift=token_shift
    )
    network = looking_trained(Transformer(config, vocab_size=5, dtype=torch.float64))
    ids = random_ids(1, 300)
    other = ids.clone()
    other[0, 0] = (ids[0, 0] + 1) % 5
    assert (network(ids)[0, -1] - network(other)[0, -1]).abs().max() > 1e-9
