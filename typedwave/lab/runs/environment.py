"""Where a run is made: versions, machine, and the commit of the code."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from typedwave.lab.training.processes import Processes

__all__ = ["environment"]

_PACKAGE = Path(__file__).resolve().parents[2]


def environment(processes: Processes) -> dict[str, Any]:
    """What may matter to whoever wants to know why a run went as it did."""
    gpu = processes.device.type == "cuda"
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "typedwave": version("typedwave"),
        "commit": _commit(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes.count,
        "device": torch.cuda.get_device_name(processes.device) if gpu else "cpu",
    }


def _commit() -> str | None:
    """The commit of a checkout, with a plus sign if files were changed since; None elsewhere."""
    commit = _git("log", "-1", "--format=%H", "--", ".")  # nothing, if another project's
    if not commit:
        return None
    return commit + ("+" if _git("status", "--porcelain", "--", ".") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:  # no git here
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
