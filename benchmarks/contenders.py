"""The network of the lecture in the ways that the benchmarks compare."""

import torch
from beartype import beartype
from jaxtyping import jaxtyped

__all__ = ["jaxtyped_network", "unchecked"]


def unchecked(network: torch.nn.Module) -> torch.nn.Module:
    """The same network as it would be with ``TYPEDWAVE_CHECKS=off``."""
    return _with_forwards(network, lambda forward: forward)


def jaxtyped_network(network: torch.nn.Module) -> torch.nn.Module:
    """The same network, its forwards checked by jaxtyping with beartype alone."""
    return _with_forwards(network, jaxtyped(typechecker=beartype))


def _with_forwards(network, decorate):
    """Gives each module a class of its kind with torch's call and another forward."""
    classes: dict[type, type] = {}
    for module in network.modules():
        cls = type(module)
        if cls not in classes:
            classes[cls] = type(cls.__name__, (cls,), {})
            classes[cls].forward = decorate(cls.forward.__wrapped__)
            classes[cls].__call__ = torch.nn.Module.__call__
        module.__class__ = classes[cls]
    return network
