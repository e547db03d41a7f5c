"""Draws of torch that take no generator, made from a seed and from it alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["global_generator"]


@contextmanager
def global_generator(device: torch.device) -> Iterator[torch.Generator]:
    """The generator that torch draws from on a device, which has its own state again afterwards.

    Initialisation and dropout take no other. `torch.manual_seed` would reseed those of all
    devices, of which `torch.random.fork_rng` puts back only some.

    Raises:
        ValueError: The device is neither a CPU nor a CUDA one.
    """
    if device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"the device is {device}, but torch's generators of cpu and cuda are known"
        )
    generator: torch.Generator = torch.default_generator
    if device.type == "cuda":
        number = torch.empty(0, device=device).device.index  # of "cuda", the current one
        generator = torch.cuda.default_generators[number]
    state = generator.get_state()
    try:
        yield generator
    finally:
        generator.set_state(state)
