"""Tensors in a safetensors file, with its format and what else there is to tell beside them."""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from typedwave.lab.files import replacing

__all__ = ["read_tensors", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Writes a file; it is the old one or the new one, never half of it.

    The same tensors and facts give the same bytes.

    Args:
        path: Of it.
        tensors: By name, contiguous.
        facts: The metadata; among them ``format``.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(path) as beside:
        # Not save_file, whose error for a full disk is none of the system's.
        beside.write_bytes(_in_order(safetensors.torch.save(dict(tensors), metadata=dict(facts))))


def _in_order(data: bytes) -> bytes:
    """The same file with its metadata sorted, which safetensors writes in an order of chance."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors are to be aligned
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def read_tensors(
    path: Path, *, what: str, expected: str, error: type[ValueError]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads the tensors by name, and the metadata.

    Args:
        path: Of the file.
        what: It should be, in an error.
        expected: Its format.
        error: That is raised.

    Raises:
        ValueError: As given: it is no whole safetensors file, or of another format.
        OSError: It cannot be read.
    """
    with path.open("rb"):  # safetensors words a missing file its own way
        pass
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
    except safetensors.SafetensorError as problem:
        raise error(f"{path} is not a whole safetensors file: {problem}") from None
    if facts.get("format") != expected:
        raise error(
            f"{path} is a safetensors file, but not {what}: its format is "
            f"{facts.get('format')!r}, not {expected!r}"
        )
    return tensors, facts
