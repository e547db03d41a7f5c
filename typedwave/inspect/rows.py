"""The calls of a model's modules, a row for each."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import Parameter
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

from typedwave.inspect.kept import LAZY
from typedwave.inspect.names import NamedCall

__all__ = ["Row", "Watch", "numbers"]

_HOLDERS: Final = (
    torch.nn.ModuleList,
    torch.nn.ModuleDict,
    torch.nn.ParameterList,
    torch.nn.ParameterDict,
)


@dataclass(frozen=True)
class Row:
    """One call of one module, or one module that was not called.

    Attributes:
        path: Where it is in the model; ``""`` for the model itself.
        type: The name of its class.
        inputs: Its arguments, axes with the names that its annotations give them:
            ``"f32[B=4, T=8, C=24]"``; numbers where it has none. Without named ones of None.
        output: What it returned, likewise; or ``"raised"``; or ``"not called"``, and where its
            parameters took part nevertheless, ``"not called, parameters used"``.
        parameters: How many numbers are in the parameters that it holds itself.
    """

    path: str
    type: str
    inputs: str
    output: str
    parameters: int


class Watch:
    """Notes the calls of the modules of a model, in the order in which they begin.

    Attributes:
        used: The mode that has to be on during the call.
    """

    def __init__(self, model: Module) -> None:
        self.used = _Used()
        parts = {module: _parts(module) for module in model.modules()}
        hidden = {part for module, found in parts.items() for part in found if part is not module}
        self._paths = {m: path for path, m in model.named_modules() if m not in hidden}
        self._parts = {module: parts[module] for module in self._paths}
        # Taken now: a lazy module becomes another.
        self._types = {module: _type(module) for module in self._paths}
        self._calls: list[tuple[Module, str]] = []
        self._outputs: dict[int, str] = {}
        self._running: list[tuple[int, NamedCall]] = []

    def hook(self) -> None:
        """Asks to be told of calls; the hooks are for the caller to remove."""
        for module in self._paths:  # not module.register...: a scripted one refuses
            Module.register_forward_pre_hook(module, self._before, with_kwargs=True)
            Module.register_forward_hook(module, self._after)

    def _before(self, module: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        call = NamedCall(module, args, kwargs)
        self._running.append((len(self._calls), call))
        self._calls.append((module, call.inputs(args, kwargs)))

    def _after(self, module: Module, args: tuple[Any, ...], output: Any) -> None:
        i, call = self._running.pop()
        while self._calls[i][0] is not module:  # one that raised, and was caught
            i, call = self._running.pop()
        self._outputs[i] = call.output(output)

    def rows(self) -> Iterator[Row]:
        """A row for each call, then those that were not called though nothing in them was."""
        for i, (module, inputs) in enumerate(self._calls):
            yield self._row(module, inputs, self._outputs.get(i, "raised"))
        called = {module for module, _ in self._calls}
        for module in self._paths:
            if called.isdisjoint(module.modules()) and not isinstance(module, _HOLDERS):
                used = any(id(p) in self.used.ids for p in self._own(module))
                yield self._row(module, "", "not called, parameters used" if used else "not called")

    def raised_in(self, error: BaseException) -> str:
        """The innermost module that an error came through, and what it was called on."""
        frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
        selves = [frame.f_locals.get("self") for frame in frames]
        inputs = dict(self._calls)
        modules = [m for m in selves if isinstance(m, Module) and m in inputs]
        if not modules:
            return ""
        *_, module = modules
        path, name = self._paths[module], self._types[module]
        return f"{f'{path} ({name})' if path else name}, called on {inputs[module]}"

    def _row(self, module: Module, inputs: str, output: str) -> Row:
        own = numbers(self._own(module))
        return Row(self._paths[module], self._types[module], inputs, output, own)

    def _own(self, module: Module) -> Iterable[Parameter]:
        parts = self._parts[module]
        return {id(p): p for part in parts for p in part.parameters(recurse=False)}.values()


class _Used(TorchFunctionMode):
    """Notes which tensors go into functions of torch that make others from them."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[int] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if next(_tensors(result), None) is not None:  # so not one that only asks for a shape
            self.ids.update(map(id, _tensors((args, kwargs))))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _parts(module: Any) -> list[Module]:
    """The module, and what is in it but not called as layers are: its parametrizations.

    What is in a scripted module is called out of sight.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return [*module.modules()]
    return [module, *module.parametrizations.modules()] if is_parametrized(module) else [module]


def _type(module: Any) -> str:
    scripted = isinstance(module, torch.jit.ScriptModule)
    return str(module.original_name) if scripted else type(module).__name__


def numbers(parameters: Iterable[Parameter]) -> int:
    """How many numbers there are in parameters; those still to be built do not count."""
    return sum(parameter.numel() for parameter in parameters if not isinstance(parameter, LAZY))
