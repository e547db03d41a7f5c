import gc
import weakref
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import typedwave
from typedwave import ShapeError
from typedwave.inspect import Row, Table, table
from typedwave.models import MLP, NetworkConfig
from typedwave.testing import axis_sizes


def hooks_of(model: nn.Module) -> int:
    return sum(
        len(hooks)
        for module in model.modules()
        for name, hooks in vars(module).items()
        if name.endswith("_hooks") and isinstance(hooks, dict)
    )


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


def test_an_lstm_returns_tuples_in_tuples():
    assert str(table(nn.LSTM(3, 5), torch.zeros(7, 2, 3))) == lines(
        "path     type  input         output                                        parameters",
        "(model)  LSTM  f32[7, 2, 3]  (f32[7, 2, 5], (f32[1, 2, 5], f32[1, 2, 5]))         200",
        "total                                                                             200",
    )


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
    found = table(network, torch.zeros(2))
    assert found.rows[1:] == (
        Row("spare", "Linear", "", "not called", 20),
        Row("held.0", "Sequential", "", "not called", 0),
        Row("held.0.0", "Tanh", "", "not called", 0),
    )
    assert found.parameters == 20


def test_no_frozen_parameter_is_forgotten():
    network = nn.Linear(3, 5).requires_grad_(False)
    assert table(network, torch.zeros(2, 3)).parameters == 20


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        ("hm", "str 'hm'"),
        ((), "()"),
        ([torch.zeros(2), {"a": torch.zeros(3, dtype=torch.bool)}], "(f32[2], {a: bool[3]})"),
    ],
)
def test_what_is_no_tensor_is_shown_by_its_type_and_containers_by_what_is_in_them(value, shown):
    (row,) = table(nn.Identity(), value).rows
    assert (row.inputs, row.output) == (shown, shown)


# what it leaves behind


class Recorder(nn.Module):
    """Notes the mode and whether gradients are on, and fails if told to."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 3))
        self.fails = fails
        self.seen = []

    def forward(self, x):
        self.seen.append((self.training, self.inner[1].training, torch.is_grad_enabled()))
        y = self.inner(x)
        if self.fails:
            raise ZeroDivisionError
        return y


@given(fails=st.booleans(), modes=st.lists(st.booleans(), min_size=5, max_size=5))
def test_hooks_are_gone_and_modes_are_back_also_when_the_call_fails(fails, modes):
    network = Recorder(fails=fails)
    for module, mode in zip(network.modules(), modes, strict=True):
        module.training = mode
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if fails:
        with pytest.raises(ZeroDivisionError):
            table(network, torch.ones(2, 3))
    else:
        table(network, torch.ones(2, 3))
    assert network.seen == [(False, False, False)]
    assert [module.training for module in network.modules()] == modes
    assert hooks_of(network) == 0
    assert torch.is_grad_enabled()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_hooks_of_the_user_stay_and_run_once():
    network, calls = nn.Sequential(nn.Linear(3, 3)), []
    network[0].register_forward_hook(lambda *call: calls.append(1))
    table(network, torch.zeros(2, 3))
    assert calls == [1]
    assert hooks_of(network) == 1


def test_an_error_of_the_model_is_the_one_that_the_model_would_raise():
    network = typedwave.nn.Sequential(typedwave.nn.Linear(3, 5), typedwave.nn.Linear(4, 2))
    messages = []
    for call in (network, lambda x: table(network, x)):
        with pytest.raises(ShapeError) as caught:
            call(torch.zeros(2, 3))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert hooks_of(network) == 0


def test_the_model_and_the_example_are_not_kept_alive():
    network, x = nn.Linear(3, 5), torch.zeros(2, 3)
    found = table(network, x)  # noqa: F841  # it lives on
    watched = [weakref.ref(network), weakref.ref(x)]
    del network, x
    gc.collect()
    assert [reference() for reference in watched] == [None, None]


def test_the_example_is_not_written_to_and_the_global_generator_stays():
    torch.manual_seed(3)
    before, x = torch.get_rng_state(), torch.ones(4, 3)
    table(nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3)), x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, torch.ones(4, 3))


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
