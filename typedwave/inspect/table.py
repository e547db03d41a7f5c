"""The table of a model: path, type, shapes in and out, parameters."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import Parameter, UninitializedParameter

from typedwave.contract import describe
from typedwave.inspect.modes import modes_kept
from typedwave.inspect.names import NamedCall
from typedwave.inspect.shapes import is_shape, without_data

__all__ = ["Row", "Table", "table"]

HEAD: Final = ("path", "type", "input", "output", "parameters")
NOT_CALLED: Final = "not called"
LONGEST: Final = 8
"""Elements of a list, or fields, that are shown; the others are counted."""


@dataclass(frozen=True)
class Row:
    """One call of one module.

    Attributes:
        path: Where it is in the model; ``""`` for the model itself.
        type: The name of its class.
        inputs: Its arguments, axes with the names that its annotations give them:
            ``"f32[B=4, T=8, C=24]"``; numbers where it has none.
        output: What it returned, likewise; ``"raised"`` or ``"not called"``.
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
        body, total = self._cells()
        widths = [max(map(len, column)) for column in zip(HEAD, *body, total, strict=True)]
        return "\n".join(_line(cells, widths) for cells in (HEAD, *body, total))

    def _repr_html_(self) -> str:
        """The table in a notebook, in the colours of its theme."""
        body, total = self._cells()
        rows = "\n".join(map(_html_row, body))
        heads = "".join(f'<th style="{_align(i)}">{text}</th>' for i, text in enumerate(HEAD))
        return (
            f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
            f"<tfoot>{_html_row(total)}</tfoot>\n</table>"
        )

    def _cells(self) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
        body: list[tuple[str, ...]] = [
            (row.path or "(model)", row.type, row.inputs, row.output, f"{row.parameters:,}")
            for row in self.rows
        ]
        return body, ("total", "", "", "", f"{self.parameters:,}")


def table(model: Module, *example: Any, dtype: torch.dtype | None = None) -> Table:
    """Calls a model once and notes what went in and out of each of its modules.

    The call is made in eval mode and without gradients, and every module has its own mode again
    afterwards. Where a shape stands for an example, no kernel runs and nothing is computed; nor
    does it with model and example on the meta device.

    Args:
        model: Any module, its own layers typed or not.
        example: The positional arguments of the call; a tuple or list of whole numbers is the
            shape of one.
        dtype: Of the tensors that shapes stand for. By default one that the annotation of the
            model, or of its first layer, takes.

    Raises:
        Exception: Whatever the call raises.

    Example:
        >>> from torch import nn
        >>> print(table(nn.Sequential(nn.Linear(3, 5), nn.Tanh()), torch.zeros(2, 3)))
        path     type        input      output     parameters
        (model)  Sequential  f32[2, 3]  f32[2, 5]           0
        0        Linear      f32[2, 3]  f32[2, 5]          20
        1        Tanh        f32[2, 5]  f32[2, 5]           0
        total                                              20
    """
    watch = _Watch(model)
    with ExitStack() as stack:
        if any(map(is_shape, example)):
            example = stack.enter_context(without_data(model, example, dtype))
        for module in watch.paths:
            hook = module.register_forward_pre_hook(watch.before, with_kwargs=True)
            stack.enter_context(hook)
            stack.enter_context(module.register_forward_hook(watch.after))
        stack.enter_context(modes_kept(model))
        stack.enter_context(torch.no_grad())
        model.eval()
        model(*example)
    return Table(tuple(watch.rows()), _numbers(model.parameters()))


class _Watch:
    """Notes the calls of the modules of a model, in the order in which they begin."""

    def __init__(self, model: Module) -> None:
        self.paths = {module: path for path, module in model.named_modules()}
        self._calls: list[tuple[Module, NamedCall, str]] = []
        self._outputs: dict[int, str] = {}
        self._running: list[int] = []

    def before(self, module: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        call = NamedCall(module, args, kwargs)
        names = [*call.hints][: len(args)]
        names += [""] * (len(args) - len(names))
        given = [*zip(names, args, strict=True), *kwargs.items()]
        self._running.append(len(self._calls))
        shown = ", ".join(_shown(value, call, name) for name, value in given)
        self._calls.append((module, call, shown))

    def after(self, module: Module, args: tuple[Any, ...], output: Any) -> None:
        while self._calls[self._running[-1]][0] is not module:  # one that raised, and was caught
            self._running.pop()
        i = self._running.pop()
        self._outputs[i] = _shown(output, self._calls[i][1], "return")

    def rows(self) -> Iterable[Row]:
        """A row for each call, then those that were not called though nothing in them was."""
        for i, (module, _, inputs) in enumerate(self._calls):
            yield self._row(module, inputs, self._outputs.get(i, "raised"))
        called = {module for module, *_ in self._calls}
        for module in self.paths:
            if called.isdisjoint(module.modules()) and not isinstance(module, _HOLDERS):
                yield self._row(module, "", NOT_CALLED)

    def _row(self, module: Module, inputs: str, output: str) -> Row:
        name, own = type(module).__name__, _own_parameters(module)
        return Row(self.paths[module], name, inputs, output, own)


_HOLDERS = (
    torch.nn.ModuleList,
    torch.nn.ModuleDict,
    torch.nn.ParameterList,
    torch.nn.ParameterDict,
)


def _shown(value: Any, call: NamedCall, name: str) -> str:
    if isinstance(value, Tensor):
        return call.shown(value, name)
    if isinstance(value, Mapping):
        parts = [f"{key}: {_shown(part, call, '')}" for key, part in value.items()]
        return f"{{{_joined(parts)}}}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return f"({_joined([_shown(part, call, '') for part in value])})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        parts = [f"{name}={_shown(part, call, '')}" for name, part in fields]
        return f"{type(value).__name__}({_joined(parts)})"
    return describe(value)


def _joined(parts: Sequence[str]) -> str:
    more = [f"{len(parts) - LONGEST} more"] if len(parts) > LONGEST else []
    return ", ".join([*parts[:LONGEST], *more])


def _html_row(cells: Sequence[str]) -> str:
    shown = "".join(f'<td style="{_align(i)}">{escape(text)}</td>' for i, text in enumerate(cells))
    return f"<tr>{shown}</tr>"


def _align(column: int) -> str:
    return "text-align: right" if column == len(HEAD) - 1 else "text-align: left"


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
