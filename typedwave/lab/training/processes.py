"""Training in several processes: who is who, what is whose share, what they have together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from typedwave.nn import SyncBatchNorm

__all__ = ["ALONE", "Device", "Processes", "processes"]

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
"""Where a network is trained; ``auto`` is cuda where there is one."""


_CPU: Final = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """The processes that train one network together, seen from one of them.

    Each has the whole network and the whole corpus, draws the same batches, computes its share of
    each, and makes the same update from the gradient of all shares.

    Attributes:
        rank: The number of this one, from 0.
        count: How many there are.
        device: Where this one computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = _CPU

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and says what happens."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """The part of a batch that this process computes; the parts differ by at most one row."""
        return batch if self.count == 1 else batch.tensor_split(self.count)[self.rank]

    def wrapped(self, network: Module) -> Module:
        """The network as it is called in training, its gradients averaged over the processes."""
        if self.count == 1:
            return network
        SyncBatchNorm.convert_sync_batchnorm(network)
        # The buffers are equal already: they are made of what all processes see.
        return DistributedDataParallel(network, forward_sync_buffers=False)

    def sum_(self, x: Tensor) -> Tensor:
        """The sum over all processes, in place of what this one has."""
        if self.count > 1 and x.numel():
            dist.all_reduce(x)
        return x

    def agreed(self, value: Any) -> Any:
        """What the first process has."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()


ALONE: Final = Processes()
"""One process on the CPU."""


@contextmanager
def processes(device: Device) -> Iterator[Processes]:
    """The processes that ``torchrun`` started, or this one alone.

    They talk by gloo on CPUs and by nccl on GPUs, of which each process has one.

    Raises:
        ValueError: There is no such device here.
    """
    kind = device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds none; cpu and auto work here")
    local = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if kind == "cuda" else "cpu"
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Processes(device=torch.device(local))
        return
    if kind == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), torch.device(local))
    finally:
        dist.destroy_process_group()
