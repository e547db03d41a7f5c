"""Looking at any `torch.nn.Module`: its layers and the shapes along the way."""

from typedwave.inspect.modes import modes_kept
from typedwave.inspect.rows import Row
from typedwave.inspect.table import Table, table

__all__ = ["Row", "Table", "modes_kept", "table"]
