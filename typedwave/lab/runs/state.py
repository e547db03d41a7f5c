"""The state of a training on disk, from which it goes on as if it had never stopped."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from typedwave.lab.runs.tensor_files import read_tensors, write_tensors

__all__ = ["State", "StateFileError", "load_state", "save_state", "state_files"]

_FORMAT: Final = "typedwave state 1"
_KEPT: Final = 2


class StateFileError(ValueError):
    """A file is not the state of a training, or not a whole one."""


@dataclass(frozen=True)
class State:
    """Where a training is.

    Attributes:
        step: How many steps are done.
        seconds: Spent in them.
        tensors: Of the network, the optimizer and the generators, by name.
    """

    step: int
    seconds: float
    tensors: Mapping[str, Tensor]


def state_files(folder: Path) -> list[Path]:
    """The states in a folder, the newest first."""
    return sorted(folder.glob("state-*.safetensors"), reverse=True)


def save_state(folder: Path, state: State) -> None:
    """Writes a state beside the one before; older ones go once the new one is on the disk.

    Raises:
        OSError: It cannot be written. The states before are still there.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    counted = {"step": json.dumps(state.step), "seconds": json.dumps(state.seconds)}
    metadata = {"format": _FORMAT, **counted, "sha256": _digest(tensors, counted)}
    path = folder / f"state-{state.step:012}.safetensors"
    write_tensors(path, tensors, metadata)
    for old in state_files(folder)[_KEPT:]:
        old.unlink()


def load_state(path: str | os.PathLike[str]) -> State:
    """Reads a state.

    Raises:
        StateFileError: It is not one, or a byte of it is not what was written.
        OSError: It cannot be read.
    """
    path = Path(path)
    tensors, metadata = read_tensors(
        path, what="the state of a training", expected=_FORMAT, error=StateFileError
    )
    counted = {name: metadata.get(name, "") for name in ("step", "seconds")}
    if metadata.get("sha256") != _digest(tensors, counted):
        raise StateFileError(f"{path} is damaged: its numbers are not those that were written")
    return State(int(metadata["step"]), float(metadata["seconds"]), tensors)


def _digest(tensors: Mapping[str, Tensor], counted: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(counted).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
