"""Functions that are called in several processes, which talk by gloo."""

import multiprocessing
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

# A process that has imported all this makes the others by a fork, in milliseconds.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["typedwave.lab", "matplotlib.figure"])


def _call(
    rank: int, count: int, port: int, group: bool, folder: str, call: Any, given: Any
) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if group:
        dist.init_process_group("gloo")
    result = call(rank, *given)
    Path(folder, str(rank)).write_bytes(pickle.dumps(result))
    if group:
        dist.destroy_process_group()


def together(count: int, call: Callable[..., Any], *given: Any, group: bool = True) -> list[Any]:
    """What a function of a module returns in each of some processes: ``call(rank, *given)``.

    With ``group`` they are a process group already; else only the environment says that they are
    several, as ``torchrun`` says it.
    """
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        processes = [
            SERVER.Process(target=_call, args=(rank, count, port, group, folder, call, given))
            for rank in range(count)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * count
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(count)]
