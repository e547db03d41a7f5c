"""Where a network has the characters."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from typedwave.lab.looking.diagnostics.asked import check_learner
from typedwave.lab.words.corpus import Vocabulary
from typedwave.models import Network
from typedwave.nn import Embedding

__all__ = ["EmbeddingMap", "embedding_map"]


@dataclass(frozen=True)
class EmbeddingMap:
    """Where the ids of a vocabulary are in a plane.

    Attributes:
        characters: ``(V,)``; the first is empty and stands for the boundary.
        places: ``(V, 2)``: the embedding itself if it has two channels, its two principal
            components otherwise.
        explained: The share of the variance that lies in each of the two.
        principal: Whether these are principal components.
    """

    characters: tuple[str, ...]
    places: NDArray[np.float64]
    explained: tuple[float, float]
    principal: bool


def embedding_map(network: Network, vocabulary: Vocabulary) -> EmbeddingMap:
    """Where the embedding of a network has the characters.

    The sign of a principal component, which nothing decides, is that which makes its largest
    number positive. A lone channel is the first axis, and the second is zero.

    Args:
        network: That learns by gradients.
        vocabulary: Of the network.

    Raises:
        ValueError: The network is of n-grams or a pool.
    """
    check_learner(network)
    table = next(module for module in network.modules() if isinstance(module, Embedding))
    rows = table.weight.detach().double().cpu()
    centred = rows - rows.mean(0)
    principal = rows.shape[1] != 2
    places = _principal(centred) if principal else rows
    spread = centred.square().sum().item() or 1.0
    first, second = ((places - places.mean(0)).square().sum(0) / spread).tolist()
    characters = ("", *vocabulary.characters)
    return EmbeddingMap(characters, places.numpy(), (first, second), principal)


def _principal(centred: Tensor) -> Tensor:
    """``(V, 2)`` of ``(V, C)``."""
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    places = F.pad(centred @ axes[:2].T, (0, 2 - len(axes[:2])))
    largest = places.gather(0, places.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -places, places)
