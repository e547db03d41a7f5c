"""A trained network on disk: safetensors, with config and vocabulary inside. No pickle."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from typedwave.lab.runs.tensor_files import read_tensors, write_tensors
from typedwave.lab.words.corpus import Vocabulary
from typedwave.models import Network, config_of, network_of

__all__ = ["CHECKPOINT", "Checkpoint", "CheckpointError", "load_checkpoint", "save_checkpoint"]

CHECKPOINT = "checkpoint.safetensors"
"""The file in the folder of a run."""

_FORMAT = "typedwave 1"


class CheckpointError(ValueError):
    """A file is not a checkpoint, or not a whole one."""


@dataclass(frozen=True)
class Checkpoint:
    """A network and the vocabulary it speaks; its config is ``network.config``."""

    network: Network
    vocabulary: Vocabulary


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Writes a checkpoint; the file is the old one or the new one, never half of it.

    Raises:
        OSError: It cannot be written.
    """
    network = checkpoint.network
    metadata = {
        "format": _FORMAT,
        "network": json.dumps(dataclasses.asdict(network.config)),
        "characters": json.dumps(checkpoint.vocabulary.characters),
    }
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_tensors(Path(path), tensors, metadata)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint; its network is in eval mode.

    Raises:
        CheckpointError: It is not a checkpoint of ours, or is damaged.
        OSError: It cannot be read, for instance FileNotFoundError.
    """
    path = Path(path)
    tensors, metadata = read_tensors(
        path, what="a checkpoint of typedwave", expected=_FORMAT, error=CheckpointError
    )
    try:
        vocabulary = Vocabulary(tuple(json.loads(metadata["characters"])))
        config = config_of(json.loads(metadata["network"]))
        network = network_of(config, vocab_size=len(vocabulary), device="meta")
        dtype = _check_tensors(network, tensors)
        # Into the memory of the layers, some of which has a layout of its own.
        network.to(dtype).to_empty(device="cpu").load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} does not fit together: {reason}") from None
    return Checkpoint(network.eval(), vocabulary)


def _check_tensors(network: Network, tensors: dict[str, Tensor]) -> torch.dtype:
    """Refuses what load_state_dict lets pass; returns the floating dtype.

    That is a count of batches that is missing, and mixed dtypes.
    """
    expected = network.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    floating = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    kinds = {name: tensor.is_floating_point() for name, tensor in expected.items()}
    wrong = [n for n, t in tensors.items() if kinds.get(n, True) != t.is_floating_point()]
    if len(floating) > 1 or wrong:
        dtypes = sorted(str(dtype).removeprefix("torch.") for dtype in floating)
        raise ValueError(f"its tensors have mixed dtypes: {', '.join(wrong or dtypes)}")
    return floating.pop() if floating else torch.get_default_dtype()
