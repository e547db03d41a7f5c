"""The table of a model: path, type, shapes in and out, parameters."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import Parameter, UninitializedParameter

from typedwave.contract import describe
from typedwave.inspect.modes import modes_kept

__all__ = ["Row", "Table", "table"]


@dataclass(frozen=True)
class Row:
    """One call of one module.

    Attributes:
        path: Where it is in the model; ``""`` for the model itself.
        type: The name of its class.
        inputs: Its positional arguments: ``"f32[4, 8, 24]"``.
        output: What it returned.
        parameters: How many numbers are in the parameters that it holds itself.
    """

    path: str
    type: str
    inputs: str
    output: str
    parameters: int


@dataclass(frozen=True)
class Table:
    """The calls of a model's modules in the order in which they began, and what it holds.

    Attributes:
        rows: The calls.
        parameters: How many numbers are in all parameters, shared ones once.
    """

    rows: tuple[Row, ...]
    parameters: int

    def __str__(self) -> str:
        head = ("path", "type", "input", "output", "parameters")
        body = [
            (row.path or "(model)", row.type, row.inputs, row.output, f"{row.parameters:,}")
            for row in self.rows
        ]
        total = ("total", "", "", "", f"{self.parameters:,}")
        widths = [max(map(len, column)) for column in zip(head, *body, total, strict=True)]
        return "\n".join(_line(cells, widths) for cells in (head, *body, total))


def table(model: Module, *example: Any) -> Table:
    """Calls a model once and notes what went in and out of each of its modules.

    The call is made in eval mode and without gradients, and every module has its own mode again
    afterwards. With model and example on the meta device no kernel runs.

    Args:
        model: Any module, its own layers typed or not.
        example: The positional arguments of the call.

    Example:
        >>> from torch import nn
        >>> print(table(nn.Sequential(nn.Linear(3, 5), nn.Tanh()), torch.zeros(2, 3)))
        path     type        input      output     parameters
        (model)  Sequential  f32[2, 3]  f32[2, 5]           0
        0        Linear      f32[2, 3]  f32[2, 5]          20
        1        Tanh        f32[2, 5]  f32[2, 5]           0
        total                                              20
    """
    paths = {module: path for path, module in model.named_modules()}
    began: list[tuple[Module, str]] = []
    outputs: dict[int, str] = {}
    running: list[int] = []

    def before(module: Module, args: tuple[Any, ...]) -> None:
        running.append(len(began))
        began.append((module, ", ".join(map(_shown, args))))

    def after(module: Module, args: tuple[Any, ...], output: Any) -> None:
        while began[running[-1]][0] is not module:  # one that raised, to a caller that caught it
            running.pop()
        outputs[running.pop()] = _shown(output)

    with ExitStack() as stack:
        for module in paths:
            stack.enter_context(module.register_forward_pre_hook(before))
            stack.enter_context(module.register_forward_hook(after))
        stack.enter_context(modes_kept(model))
        stack.enter_context(torch.no_grad())
        model.eval()
        model(*example)
    rows = tuple(
        Row(
            paths[module],
            type(module).__name__,
            inputs,
            outputs.get(i, "raised"),
            _own_parameters(module),
        )
        for i, (module, inputs) in enumerate(began)
    )
    return Table(rows, _numbers(model.parameters()))


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return describe(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "(" + ", ".join(map(_shown, value)) + ")"
    return describe(value)


def _own_parameters(module: Module) -> int:
    return _numbers(module.parameters(recurse=False))


def _numbers(parameters: Iterable[Parameter]) -> int:
    built = (p for p in parameters if not isinstance(p, UninitializedParameter))
    return sum(parameter.numel() for parameter in built)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    *left, last = [
        cell.ljust(width) if i < len(widths) - 1 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join([*left, last])
