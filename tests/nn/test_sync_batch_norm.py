"""Batch norm over processes is batch norm over their batches together."""

import pytest
import torch
from together import together
from torch import Tensor, nn

from typedwave import ShapeError
from typedwave.nn import BatchNorm1d, SyncBatchNorm

C = 3


def batch(seed: int = 0, rows: int = 11) -> Tensor:
    return torch.randn(
        rows, 2, C, generator=torch.Generator().manual_seed(seed), dtype=torch.double
    )


def made(**arguments) -> BatchNorm1d:
    layer = BatchNorm1d(C, dtype=torch.double, **arguments)
    generator = torch.Generator().manual_seed(1)
    for tensor in (*layer.parameters(), layer.running_mean):
        if tensor is not None:
            tensor.data.normal_(generator=generator)
    return layer


def done(layer: nn.Module, shares: list[Tensor], weights: Tensor) -> dict[str, list]:
    """Two steps on the shares: results, gradients and buffers."""
    found = {"y": [], "x.grad": []}
    for x in shares:
        x = x.clone().requires_grad_()
        y = layer(x)
        (y * weights[: len(x)]).square().sum().backward()
        found["y"].append(y.tolist())
        found["x.grad"].append(x.grad.tolist())
    found |= {name: [p.grad.tolist()] for name, p in layer.named_parameters()}
    return found | {name: [b.tolist()] for name, b in layer.named_buffers()}


def share_of(rank: int, sizes: tuple[int, ...], arguments: dict) -> dict[str, list]:
    layer = SyncBatchNorm.convert_sync_batchnorm(made(**arguments))
    starts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    part = slice(starts[rank], starts[rank + 1])
    return done(layer, [batch(0)[part], batch(1)[part]], batch(2)[part])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"unbiased": True},
        {"affine": False},
        {"momentum": None},
        {"track_running_stats": False},
        {"eps": 0.5, "momentum": 0.3},
    ],
    ids=str,
)
@pytest.mark.parametrize("sizes", [(5, 6), (1, 10), (11, 0)], ids=str)
def test_a_step_on_shares_is_the_step_on_the_batch(sizes, arguments):
    whole = done(made(**arguments), [batch(0), batch(1)], batch(2))
    parts = together(2, share_of, sizes, arguments)
    for name in whole:
        if name in ("y", "x.grad"):  # each process has its rows
            got = [a + b for a, b in zip(*(part[name] for part in parts), strict=True)]
        elif name in ("weight", "bias"):  # gradients, which DDP adds
            added = torch.tensor([part[name] for part in parts], dtype=torch.double).sum(0)
            got = added.tolist()
        else:
            assert parts[0][name] == parts[1][name], name
            got = parts[0][name]
        for ours, theirs in zip(got, whole[name], strict=True):
            torch.testing.assert_close(
                torch.tensor(ours, dtype=torch.double),
                torch.tensor(theirs, dtype=torch.double),
                rtol=1e-9,
                atol=1e-9,
            )


def refusals(rank: int) -> list[str]:
    layer = SyncBatchNorm(C)
    found = []
    for x in (torch.zeros(1 - rank, C), torch.zeros(4, C + 1)):
        with pytest.raises(ShapeError) as caught:
            layer(x)
        found.append(str(caught.value))
    return found


def test_fewer_than_two_values_in_all_processes_are_refused():
    for few, wide in together(2, refusals):
        assert few.startswith("ShapeError") or "x has the wrong shape" in few
        assert "at least 2 values per channel to train on" in few
        assert "num_features = 3" in wide


def evaluated(rank: int) -> bool:
    layer = SyncBatchNorm.convert_sync_batchnorm(made()).eval()
    return torch.equal(layer(batch()), made().eval()(batch()))


def test_in_evaluation_each_process_is_by_itself():
    assert together(2, evaluated) == [True, True]


def test_without_processes_it_is_a_batch_norm():
    ours = done(SyncBatchNorm.convert_sync_batchnorm(made()), [batch(0), batch(1)], batch(2))
    assert ours == done(made(), [batch(0), batch(1)], batch(2))


def test_conversion_keeps_parameters_buffers_and_names():
    network = nn.Sequential(nn.Linear(2, C), BatchNorm1d(C), nn.Sequential(BatchNorm1d(C)))
    before = network.state_dict(keep_vars=True)
    assert SyncBatchNorm.convert_sync_batchnorm(network) is network
    after = network.state_dict(keep_vars=True)
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    assert [type(m) for m in network.modules()].count(SyncBatchNorm) == 2


def halves(rank: int) -> tuple[str, list]:
    layer = SyncBatchNorm(C)
    x = torch.randn(6, C, generator=torch.Generator().manual_seed(rank)).bfloat16()
    y = layer(x)
    return str(y.dtype), layer.running_mean.tolist()


def test_in_bfloat16_the_statistics_are_in_float32():
    (kind, mean), (other, same) = together(2, halves)
    assert kind == other == "torch.bfloat16"
    assert mean == same
    rows = [
        torch.randn(6, C, generator=torch.Generator().manual_seed(r)).bfloat16() for r in (0, 1)
    ]
    expected = torch.cat(rows).float().mean(0) * 0.1
    torch.testing.assert_close(torch.tensor(mean), expected, rtol=1e-5, atol=1e-6)
