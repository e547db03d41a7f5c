"""The table of a model: path, type, shapes in and out, parameters."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from typedwave.errors import ContractError
from typedwave.inspect.fake import without_data
from typedwave.inspect.html import as_html
from typedwave.inspect.kept import LAZY, state_kept, unbuilt
from typedwave.inspect.modes import modes_kept
from typedwave.inspect.rows import Row, Watch, numbers
from typedwave.inspect.shapes import Shapes

__all__ = ["Table", "table"]

HEAD: Final = ("path", "type", "input", "output", "parameters")
WIDEST: Final = 120
"""Characters of a cell that are shown."""


@dataclass(frozen=True)
class Table:
    """The calls of a model's modules in the order in which they began, and what it holds.

    Printed it is text; in a notebook it is a table of the notebook's.

    Attributes:
        rows: The calls, and behind them the modules that were not called.
        parameters: How many numbers are in all parameters, shared ones once.
    """

    rows: tuple[Row, ...]
    parameters: int

    def __str__(self) -> str:
        lines = (HEAD, *map(_cells, self.rows), self._total())
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(_line(cells, widths) for cells in lines)

    def _repr_html_(self) -> str:
        depths = [row.path.count(".") + 1 if row.path else 0 for row in self.rows]
        body = zip(depths, map(_cells, self.rows), strict=True)
        return as_html(HEAD, body, self._total())

    def _total(self) -> tuple[str, ...]:
        return ("total", "", "", "", f"{self.parameters:,}")


def table(
    model: Module, /, *example: Any, dtype: torch.dtype | None = None, **keywords: Any
) -> Table:
    """Calls a model once and notes what went in and out of each of its modules.

    The call is made in eval mode and without gradients. Afterwards the model is as it was: modes,
    hooks, attributes and buffers, and so are the random generators. Only what a forward writes into
    its parameters is not undone, unless it was called on a shape.

    A shape may stand for an example: a tuple or list of whole numbers, or an annotation such as
    ``Int64[Tensor, "32 8"]``. Then nothing is computed and no memory is needed; nor is it with
    model and example on the meta device.

    Args:
        model: Any module, its own layers typed or not.
        example: The positional arguments of the call, or their shapes.
        dtype: Of the tensors that shapes stand for; by default one that the annotation of the
            model, or of its first layer, takes. Without a shape, an argument of the call.
        keywords: The other arguments of the call, taken as they are.

    Raises:
        Exception: Whatever the call raises, with a note of the module in which it was raised.
        ValueError: An annotation that stands for a shape has names in the place of numbers, or no
            dtype of torch.

    Example:
        >>> from torch import nn
        >>> print(table(nn.Sequential(nn.Linear(3, 5), nn.Tanh()), torch.zeros(2, 3)))
        path     type        input      output     parameters
        (model)  Sequential  f32[2, 3]  f32[2, 5]           0
        0        Linear      f32[2, 3]  f32[2, 5]          20
        1        Tanh        f32[2, 5]  f32[2, 5]           0
        total                                              20
    """
    watch, shapes = Watch(model), Shapes(model, example)
    with ExitStack() as stack:
        stack.enter_context(_generators_kept(model))
        stack.enter_context(_nothing_compiled())
        stack.enter_context(modes_kept(model))  # a scripted module has its own elsewhere
        stack.enter_context(torch.no_grad())
        if shapes:
            lend = stack.enter_context(without_data(model))
            example, keywords = tuple(lend(shapes.tensors(dtype))), lend(keywords)
        else:
            stack.enter_context(state_kept(model, _copied))
            keywords |= {} if dtype is None else {"dtype": dtype}
        watch.hook()
        for module in model.modules():
            module.training = False  # eval() may be refused, or write to the weights as LoRA's does
        try:
            with watch.used:
                model(*example, **keywords)
        except Exception as error:
            _explain(error, watch, without_data=bool(shapes))
            raise
        return Table(tuple(watch.rows()), numbers(model.parameters()))


def _copied(tensor: Tensor) -> Tensor:
    """A stand-in that may be written to; parameters are too large to have two of each."""
    if isinstance(tensor, LAZY):
        return unbuilt(tensor, tensor.device)
    return tensor if isinstance(tensor, Parameter) else tensor.clone()


def _generators_kept(model: Module) -> AbstractContextManager[None]:
    tensors = (*model.parameters(), *model.buffers())
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    return torch.random.fork_rng([*devices])


def _nothing_compiled() -> AbstractContextManager[None]:
    """What was compiled runs as it was written, since compiled code calls no hooks."""
    if "torch._dynamo" not in sys.modules:  # slow to import, and then nothing is compiled
        return nullcontext()
    return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return]  # by torch


def _explain(error: Exception, watch: Watch, *, without_data: bool) -> None:
    where = watch.raised_in(error)
    if where and not isinstance(error, ContractError):  # they say it themselves
        error.add_note(f"table: raised in {where}")
    if without_data:
        error.add_note(
            "table: a tensor made from a shape has no values, and its dtype may be wrong: "
            "give an example, or dtype="
        )


def _cells(row: Row) -> tuple[str, ...]:
    cells = (row.path or "(model)", row.type, row.inputs, row.output, f"{row.parameters:,}")
    return tuple(cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 4]} ..." for cell in cells)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    *left, last = zip(cells, widths, strict=True)
    return "  ".join([*(cell.ljust(width) for cell, width in left), last[0].rjust(last[1])])
