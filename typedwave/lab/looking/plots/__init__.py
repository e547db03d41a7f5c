"""Pictures: figures of matplotlib, without pyplot and its state."""

from typedwave.lab.looking.plots.curves import draw_curves
from typedwave.lab.looking.plots.embedding import draw_embedding
from typedwave.lab.looking.plots.figures import save_figure
from typedwave.lab.looking.plots.layers import draw_activations, draw_gradients
from typedwave.lab.looking.plots.places import draw_characters, draw_positions
from typedwave.lab.looking.plots.updates import draw_updates

__all__ = [
    "draw_activations",
    "draw_characters",
    "draw_curves",
    "draw_embedding",
    "draw_gradients",
    "draw_positions",
    "draw_updates",
    "save_figure",
]
