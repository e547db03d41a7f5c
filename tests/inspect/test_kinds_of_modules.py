"""Modules of torch that are called, or hold their parameters, in ways of their own."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import typedwave
from typedwave.inspect import table


def lines(*rows: str) -> str:
    return "\n".join(rows)


@pytest.fixture
def _no_deprecations():
    """torch.jit and torch.ao are on their way out, but people still have such models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("x", [torch.zeros(7, 2, 3), (7, 2, 3)])
def test_an_lstm_returns_tuples_in_tuples(x):
    assert str(table(nn.LSTM(3, 5), x)) == lines(
        "path     type  input         output                                        parameters",
        "(model)  LSTM  f32[7, 2, 3]  (f32[7, 2, 5], (f32[1, 2, 5], f32[1, 2, 5]))         200",
        "total                                                                             200",
    )


def test_packed_sequences_are_records():
    packed = nn.utils.rnn.pack_padded_sequence(torch.zeros(7, 2, 3), [7, 5])
    (row,) = table(nn.GRU(3, 5), packed).rows
    given, taken = (
        f"PackedSequence(data=f32[12, {width}], batch_sizes=i64[7], "
        "sorted_indices=None, unsorted_indices=None)"
        for width in (3, 5)
    )
    assert row.inputs == given
    assert row.output == f"({taken}, f32[1, 2, 5])"


ATTENTION = lines(
    "path      type                             input"
    "                                     output                        parameters",
    "(model)   MultiheadAttention               f32[2, 5, 8], f32[2, 7, 8], f32[2, 7, 8]"
    "  (f32[2, 5, 8], f32[2, 5, 7])         216",
    "out_proj  NonDynamicallyQuantizableLinear                                          "
    "  not called, parameters used           72",
    "total                                                                              "
    "                                       288",
)


def test_what_is_not_called_but_whose_weights_are_used_is_not_dead():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    shapes = ((2, 5, 8), (2, 7, 8), (2, 7, 8))
    assert str(table(attention, *shapes)) == ATTENTION
    assert str(table(attention, *map(torch.zeros, shapes))) == ATTENTION


def test_asking_a_weight_for_its_shape_is_no_use_of_it():
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = (nn.Linear(3, 3, bias=False) for _ in range(4))
            self.dead, self.used, self.listed, self.named = layers

        def forward(self, x):
            x = nn.functional.linear(x, weight=self.named.weight)
            assert self.dead.weight.shape == (3, 3)
            assert self.dead.weight.dtype == x.dtype
            return x @ self.used.weight.T @ torch.stack([self.listed.weight] * 2)

    assert [row.output for row in table(Dead(), torch.zeros(2, 3)).rows] == [
        "f32[2, 2, 3]",
        "not called",
        "not called, parameters used",
        "not called, parameters used",
        "not called, parameters used",
    ]


ENCODER = """\
path                type                             input                                                                                    output                       parameters
(model)             TransformerEncoderLayer          f32[2, 5, 8]                                                                             f32[2, 5, 8]                          0
self_attn           MultiheadAttention               f32[2, 5, 8], f32[2, 5, 8], f32[2, 5, 8], need_weights=bool False, is_causal=bool False  (f32[2, 5, 8], None)                216
dropout1            Dropout                          f32[2, 5, 8]                                                                             f32[2, 5, 8]                          0
norm1               LayerNorm                        f32[2, 5, 8]                                                                             f32[2, 5, 8]                         16
linear1             Linear                           f32[2, 5, 8]                                                                             f32[2, 5, 16]                       144
dropout             Dropout                          f32[2, 5, 16]                                                                            f32[2, 5, 16]                         0
linear2             Linear                           f32[2, 5, 16]                                                                            f32[2, 5, 8]                        136
dropout2            Dropout                          f32[2, 5, 8]                                                                             f32[2, 5, 8]                          0
norm2               LayerNorm                        f32[2, 5, 8]                                                                             f32[2, 5, 8]                         16
self_attn.out_proj  NonDynamicallyQuantizableLinear                                                                                           not called, parameters used          72
total                                                                                                                                                                             600"""  # noqa: E501  # a table is as wide as it is


@pytest.mark.parametrize("x", [torch.zeros(2, 5, 8), (2, 5, 8)])
def test_a_transformer_goes_through_its_layers_and_not_its_fast_path(x):
    assert str(table(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), x)) == ENCODER


def test_a_transformer_and_its_shapes_give_one_table():
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    found = table(model, torch.zeros(2, 5, 8), torch.zeros(2, 7, 8))
    assert found == table(model, (2, 5, 8), (2, 7, 8))
    assert found.rows[0].inputs == "f32[2, 5, 8], f32[2, 7, 8]"
    assert sum(row.parameters for row in found.rows) == found.parameters


@pytest.mark.parametrize("x", [torch.zeros(2, 3), (2, 3)])
def test_a_lazy_model_shows_what_it_would_have_and_stays_lazy(x):
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())
    generator = torch.get_rng_state()
    assert str(table(model, x)) == lines(
        "path     type             input      output     parameters",
        "(model)  Sequential       f32[2, 3]  f32[2, 4]           0",
        "0        LazyLinear       f32[2, 3]  f32[2, 4]          16",
        "1        LazyBatchNorm1d  f32[2, 4]  f32[2, 4]           8",
        "total                                                   24",
    )
    assert torch.equal(torch.get_rng_state(), generator)
    assert [type(module).__name__ for module in model] == ["LazyLinear", "LazyBatchNorm1d"]
    assert model[0].has_uninitialized_params()
    assert model[1].has_uninitialized_params()
    assert model(torch.zeros(2, 5)).shape == (2, 4)
    assert table(model, (2, 5)).parameters == 32


@pytest.mark.parametrize("x", [torch.zeros(2, 3), (2, 3)])
@pytest.mark.parametrize("lazy", [nn.LazyLinear(4, bias=False), nn.LazyBatchNorm1d(affine=False)])
def test_a_lazy_module_may_lack_parameters(lazy, x):
    assert table(lazy, x).parameters == (12 if isinstance(lazy, nn.Linear) else 0)


def test_a_lazy_module_that_is_not_called_has_no_parameters_yet():
    model = nn.Identity()
    model.spare = nn.LazyLinear(4)
    assert table(model, (2, 3)).rows[1].output == "not called"
    assert table(model, (2, 3)).parameters == 0


@pytest.mark.parametrize("x", [torch.zeros(2, 3), (2, 3)])
@pytest.mark.parametrize("kind", [nn.Linear, typedwave.nn.Linear])
def test_parametrizations_count_as_the_layer_that_they_are_of(kind, x):
    layer = parametrizations.spectral_norm(parametrizations.weight_norm(kind(3, 4)))
    vector = layer.parametrizations.weight[1]._u.clone()
    found = table(nn.Sequential(layer), x)
    assert [(row.path, row.type, row.parameters) for row in found.rows] == [
        ("", "Sequential", 0),
        ("0", "ParametrizedLinear", 20),
    ]
    assert found.parameters == 20
    assert torch.equal(layer.parametrizations.weight[1]._u, vector)


@pytest.mark.usefixtures("_no_deprecations")
@pytest.mark.parametrize("x", [torch.zeros(2, 3), (2, 3)])
def test_a_weight_that_a_hook_computes(x):
    layer = nn.utils.weight_norm(nn.Linear(3, 4))
    weight = layer.weight
    assert table(layer, x).parameters == 20
    assert layer.weight is weight


@pytest.mark.usefixtures("_no_deprecations")
@pytest.mark.parametrize("x", [torch.zeros(2, 3), (2, 3)])
@pytest.mark.parametrize("traced", [False, True])
def test_of_a_scripted_module_nothing_inside_is_seen(x, traced):
    plain = nn.Sequential(nn.Linear(3, 4), nn.Dropout())
    scripted = torch.jit.trace(plain, torch.zeros(2, 3)) if traced else torch.jit.script(plain)
    assert str(table(nn.Sequential(scripted, nn.Tanh()), x)) == lines(
        "path     type        input      output     parameters",
        "(model)  Sequential  f32[2, 3]  f32[2, 4]           0",
        "0        Sequential  f32[2, 3]  f32[2, 4]          16",
        "1        Tanh        f32[2, 4]  f32[2, 4]           0",
        "total                                              16",
    )
    assert scripted.training
    assert all(module.training for module in scripted.modules())
    assert len(scripted._forward_hooks) == 0


@pytest.mark.usefixtures("_no_deprecations")
def test_a_quantized_module_has_a_table_but_not_from_a_shape():
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 4)), {nn.Linear})
    assert table(model, torch.zeros(2, 3)).rows[1].output == "f32[2, 4]"
    with pytest.raises(RuntimeError, match=r"quantized.linear_dynamic") as caught:
        table(model, (2, 3))
    assert caught.value.__notes__[0] == "table: raised in 0 (Linear), called on f32[2, 3]"


def test_a_buffer_that_torch_has_no_fake_of_stays_as_it_is():
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            zeros = torch.zeros(3)
            self.register_buffer("q", torch.quantize_per_tensor(zeros, 0.1, 0, torch.quint8))

        def forward(self, x):
            return str(self.q.dtype)

    assert table(Holds(), (2, 3)).rows[0].output == "str 'torch.quint8'"


@pytest.mark.parametrize("x", [torch.zeros(2, 3), (2, 3)])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_runs_as_it_was_written(x, in_place):
    def backend(graph, example):
        pytest.fail("it was compiled")

    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    if in_place:
        model.compile(backend=backend)
        names = ["", "0", "1"]
    else:
        model = torch.compile(model, backend=backend)
        names = ["", "_orig_mod", "_orig_mod.0", "_orig_mod.1"]
    rows = table(model, x).rows
    assert [row.path for row in rows] == names
    assert rows[-2].output == "f32[2, 4]"


def test_an_exported_model_refuses_eval_but_has_a_table():
    exported = torch.export.export(nn.Sequential(nn.Linear(3, 4)), (torch.zeros(2, 3),)).module()
    rows = table(exported, torch.zeros(2, 3)).rows
    assert (rows[0].type, rows[0].output) == ("GraphModule", "f32[2, 4]")
    assert [row.output for row in rows if row.path == "0"] == ["not called, parameters used"]
