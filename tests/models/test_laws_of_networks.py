"""The networks keep every law that applies to them."""

import pytest
import torch

from typedwave.models import MLP, NetworkConfig
from typedwave.models.mlp import build
from typedwave.testing import each_law

pytestmark = pytest.mark.usefixtures("default_profile")


@each_law()
def test_hierarchical_network() -> MLP:
    generator = torch.Generator().manual_seed(0)
    return build(NetworkConfig(), vocab_size=27, generator=generator)


@each_law()
def test_flat_network() -> MLP:
    config = NetworkConfig(network="flat", n_embd=10, n_hidden=200)
    return MLP(config, vocab_size=27)
