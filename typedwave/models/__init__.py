"""Networks made of the typed layers, built from a config."""

from typedwave.models.config import NetworkConfig
from typedwave.models.mlp import MLP, build

__all__ = ["MLP", "NetworkConfig", "build"]
