from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from typedwave.inspect import Row, Table, table
from typedwave.models import MLP, NetworkConfig
from typedwave.testing import axis_sizes


def lines(*rows: str) -> str:
    return "\n".join(rows)


# the text


LECTURE = """\
path       type                input                              output                             parameters
(model)    MLP                 i64[B=32, context=8]               f32[B=32, vocab_size=27]                    0
layers     Sequential          i64[32, 8]                         f32[32, 27]                                 0
layers.0   Embedding           i64[*B=[32, 8]]                    f32[*B=[32, 8], embedding_dim=24]         648
layers.1   FlattenConsecutive  f32[B=32, T=8, C=24]               f32[B=32, T//2=4, C*2=48]                   0
layers.2   Linear              f32[*B=[32, 4], in_features=48]    f32[*B=[32, 4], out_features=128]       6,144
layers.3   BatchNorm1d         f32[*B=[32, 4], num_features=128]  f32[*B=[32, 4], num_features=128]         256
layers.4   Tanh                f32[*S=[32, 4, 128]]               f32[*S=[32, 4, 128]]                        0
layers.5   FlattenConsecutive  f32[B=32, T=4, C=128]              f32[B=32, T//2=2, C*2=256]                  0
layers.6   Linear              f32[*B=[32, 2], in_features=256]   f32[*B=[32, 2], out_features=128]      32,768
layers.7   BatchNorm1d         f32[*B=[32, 2], num_features=128]  f32[*B=[32, 2], num_features=128]         256
layers.8   Tanh                f32[*S=[32, 2, 128]]               f32[*S=[32, 2, 128]]                        0
layers.9   FlattenConsecutive  f32[B=32, T=2, C=128]              f32[B=32, C*2=256]                          0
layers.10  Linear              f32[*B=32, in_features=256]        f32[*B=32, out_features=128]           32,768
layers.11  BatchNorm1d         f32[*B=32, num_features=128]       f32[*B=32, num_features=128]              256
layers.12  Tanh                f32[*S=[32, 128]]                  f32[*S=[32, 128]]                           0
layers.13  Linear              f32[*B=32, in_features=128]        f32[*B=32, out_features=27]             3,483
total                                                                                                    76,579"""  # noqa: E501  # a table is as wide as it is


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_network_of_the_lecture(device):
    network = MLP(NetworkConfig(), vocab_size=27, device=device)
    example = torch.zeros(32, 8, dtype=torch.int64, device=device)
    assert str(table(network, example)) == LECTURE
    assert str(table(network, (32, 8))) == LECTURE


class CallsTwice(nn.Module):
    """Calls one layer twice and gives a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x, scale):
        y = self.layer(x)
        return {"first": y, "both": [self.layer(y) * scale, None]}


def test_a_module_called_twice_has_two_rows_and_counts_once_in_the_total():
    assert str(table(CallsTwice(), torch.zeros(2, 3), 0.5)) == lines(
        "path     type        input                 output"
        "                                       parameters",
        "(model)  CallsTwice  f32[2, 3], float 0.5  "
        "{first: f32[2, 3], both: (f32[2, 3], None)}           0",
        "layer    Linear      f32[2, 3]             "
        "f32[2, 3]                                            12",
        "layer    Linear      f32[2, 3]             "
        "f32[2, 3]                                            12",
        "total                                      "
        "                                                     12",
    )


class TriesAnother(nn.Module):
    """Goes on with another layer where the first one fails, deep inside."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(5, 3))
        self.second = nn.Linear(4, 2)

    def forward(self, x):
        try:
            return self.first(x)
        except RuntimeError:
            return self.second(x)


def test_a_layer_whose_error_the_model_catches_has_raised():
    assert str(table(TriesAnother(), torch.zeros(2, 4))) == lines(
        "path     type          input      output     parameters",
        "(model)  TriesAnother  f32[2, 4]  f32[2, 2]           0",
        "first    Sequential    f32[2, 4]  raised              0",
        "first.0  Linear        f32[2, 4]  raised             18",
        "second   Linear        f32[2, 4]  f32[2, 2]          10",
        "total                                                28",
    )


def test_rows_and_total_are_there_for_programs():
    found = table(nn.Sequential(nn.Linear(3, 5), nn.Tanh()), torch.zeros(2, 3))
    assert found == Table(
        rows=(
            Row("", "Sequential", "f32[2, 3]", "f32[2, 5]", 0),
            Row("0", "Linear", "f32[2, 3]", "f32[2, 5]", 20),
            Row("1", "Tanh", "f32[2, 5]", "f32[2, 5]", 0),
        ),
        parameters=20,
    )


def test_a_path_longer_than_its_heading_and_a_model_of_nothing_are_aligned_too():
    assert str(table(nn.Identity(), torch.zeros(()))) == lines(
        "path     type      input  output  parameters",
        "(model)  Identity  f32[]  f32[]            0",
        "total                                      0",
    )


# what is counted


class SharesItsWeight(nn.Module):
    """One weight for table and logits, as in many language models."""

    def __init__(self, ids: int, channels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(ids, channels)
        self.logits = nn.Linear(channels, ids, bias=False)
        self.logits.weight = self.table.weight

    def forward(self, x):
        return self.logits(self.table(x))


@given(axis_sizes("ids", "channels"))
def test_shared_weights_count_once_in_the_total_and_in_each_row_that_holds_them(sizes):
    found = table(SharesItsWeight(**sizes), torch.zeros(2, dtype=torch.int64))
    both = sizes["ids"] * sizes["channels"]
    assert [row.parameters for row in found.rows] == [0, both, both]
    assert found.parameters == both


@given(widths=st.lists(st.integers(1, 9), min_size=2, max_size=6), batch=st.integers(0, 4))
def test_every_layer_has_a_row_in_the_order_of_the_calls(widths, batch):
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    found = table(nn.Sequential(*layers), torch.zeros(batch, widths[0]))
    assert found.rows[0].path == ""
    for i, (row, layer) in enumerate(zip(found.rows[1:], layers, strict=True)):
        assert row == Row(
            str(i),
            "Linear",
            f"f32[{batch}, {widths[i]}]",
            f"f32[{batch}, {widths[i + 1]}]",
            layer.weight.numel() + layer.bias.numel(),
        )
    assert found.parameters == sum(row.parameters for row in found.rows)


def test_a_module_that_is_not_called_is_said_not_to_be():
    network = nn.Identity()
    network.spare = nn.Linear(3, 5)
    network.held = nn.ModuleList([nn.Sequential(nn.Tanh())])
    network.named = nn.ModuleDict({"one": nn.Tanh()})
    network.scales = nn.ParameterList([torch.ones(2)])
    network.shifts = nn.ParameterDict({"one": torch.ones(2)})
    found = table(network, torch.zeros(2))
    assert found.rows[1:] == (
        Row("spare", "Linear", "", "not called", 20),
        Row("held.0", "Sequential", "", "not called", 0),
        Row("held.0.0", "Tanh", "", "not called", 0),
        Row("named.one", "Tanh", "", "not called", 0),
    )
    assert found.parameters == 24


def test_no_frozen_parameter_is_forgotten():
    network = nn.Linear(3, 5).requires_grad_(False)
    assert table(network, torch.zeros(2, 3)).parameters == 20


def test_a_module_of_which_only_parts_are_called_is_none_that_is_not():
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 5), nn.Linear(3, 4))

        def forward(self, x):
            return self.layers[1](x)

    assert [(row.path, row.output) for row in table(Skips(), torch.zeros(2, 3)).rows] == [
        ("", "f32[2, 4]"),
        ("layers.1", "f32[2, 4]"),
        ("layers.0", "not called"),
    ]


def test_keywords_are_arguments_of_the_call_whatever_their_names():
    class Masks(nn.Module):
        def forward(self, x, *, model, mask=None):
            return x * model

    row = table(Masks(), torch.zeros(2), model=torch.zeros(3, 1), mask=None).rows[0]
    assert (row.inputs, row.output) == ("f32[2], model=f32[3, 1]", "f32[3, 2]")


# the meta device


class NoKernels(TorchDispatchMode):
    """Fails at the first operation that gives a tensor with data."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in torch.utils._pytree.tree_leaves(result):
            assert not isinstance(leaf, torch.Tensor) or leaf.is_meta, func
        return result


@pytest.mark.parametrize("network", ["flat", "hierarchical"])
def test_on_the_meta_device_no_kernel_runs_however_large_the_network(network):
    config = NetworkConfig(network=network, n_embd=100_000, n_hidden=1_000_000)
    model = MLP(config, vocab_size=1_000_000, device="meta")
    example = torch.zeros(1_000_000, 8, dtype=torch.int64, device="meta")
    with NoKernels():
        found = table(model, example)
    assert found.rows[-1].output == "f32[*B=1000000, out_features=1000000]"
    assert found.parameters > 10**12
