"""A model on tensors without data: torch's fake tensors, which know all but their numbers.

They are what torch.compile and torch.export trace with. Tensors on the meta device would not do:
a model that makes a tensor of its own (``torch.arange(T, device=self.device)``) would be refused.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (  # private by its path, but documented
    FakeTensorMode,
    UnsupportedFakeTensorException,
    unset_fake_temporarily,
)
from torch.nn import Module, Parameter

from typedwave.inspect.kept import LAZY, state_kept, unbuilt
from typedwave.inspect.shapes import replaced

__all__ = ["without_data"]

_LOG: Final = logging.getLogger("torch._subclasses.fake_tensor")


@contextmanager
def without_data(model: Module) -> Iterator[Callable[[Any], Any]]:
    """Lends a model parameters and buffers without data; new tensors have none either.

    Yields:
        What makes the same of other values for the model: of the tensors in them.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=False)
    lend = partial(_fake, mode)
    lazy = {m: _device(m) for m in model.modules() if "_initialize_hook" in vars(m)}
    with _quiet(), state_kept(model, lend), mode:
        for module, device in lazy.items():
            infer = vars(module)["_initialize_hook"]
            module._forward_pre_hooks[infer.id] = partial(_build, device)
        yield partial(replaced, replace=lend)


def _fake(mode: FakeTensorMode, value: Any) -> Any:
    if isinstance(value, LAZY):
        return unbuilt(value, "meta")
    try:
        return mode.from_tensor(value) if type(value) in (Tensor, Parameter) else value
    except UnsupportedFakeTensorException:  # a quantized one
        return value


def _device(module: Module) -> torch.device:
    return next(iter((*module.parameters(), *module.buffers()))).device


def _build(device: torch.device, module: Any, args: tuple[Any, ...], kwargs: Any) -> None:
    """Lets a lazy module make its parameters, which cannot be done with the mode on."""
    with unset_fake_temporarily():
        module._infer_parameters(module, args, kwargs)
    for held in (module._parameters, module._buffers):
        for name, made in held.items():
            if made is not None:
                held[name] = torch.empty_like(made, device=device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch from printing a traceback of an error that is raised as well."""
    silence: Any = lambda record: False  # noqa: E731
    _LOG.addFilter(silence)
    try:
        yield
    finally:
        _LOG.removeFilter(silence)
