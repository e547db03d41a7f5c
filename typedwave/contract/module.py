"""``Module``: a torch.nn.Module whose annotated forward and state are checked."""

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor

from typedwave.contract.attributes import read_in_place
from typedwave.contract.calls import install_call
from typedwave.contract.decorator import typed
from typedwave.contract.explain import state_error
from typedwave.contract.state import StateContract
from typedwave.contract.switch import ATTRIBUTE, OFF, checks_are_on, is_off
from typedwave.errors import StateError

__all__ = ["Module", "typed_class"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class _HasForward(Protocol[P, R_co]):
    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class _CallsForward(Protocol):
    """To a type checker, calling a module is calling its forward."""

    def __get__(self, instance: _HasForward[P, R_co], owner: object) -> Callable[P, R_co]: ...


class Module(torch.nn.Module):
    """A `torch.nn.Module` whose annotated ``forward`` and annotated state are checked.

    ``forward`` needs no decorator. An attribute of the class that is annotated with a jaxtyping
    shape, be it a parameter, a buffer or a plain tensor, is state: it is checked when it is used
    and after every forward, and its axis names mean, in every forward of that instance, the
    sizes they have there.

    Raises:
        ShapeError: From a call: an argument or the result is not what its annotation says.
        StateError: From a call: annotated state is not, or no longer, what it was declared.

    Example:
        >>> from jaxtyping import Float
        >>> from torch import Tensor
        >>> from torch.nn import Parameter
        >>> class Scale(Module):
        ...     gain: Float[Parameter, "C"]
        ...     def __init__(self, channels: int) -> None:
        ...         super().__init__()
        ...         self.gain = Parameter(torch.ones(channels))
        ...     def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        ...         return self.gain * x
        >>> Scale(3)(torch.zeros(2, 5, 3)).shape
        torch.Size([2, 5, 3])
        >>> Scale(3)(torch.zeros(2, 5, 1))
        Traceback (most recent call last):
        typedwave.errors.ShapeError: Scale: x has the wrong shape
          expected  Float "*B C"   C = 3
          got       f32[2, 5, 1]   axis -1 is 1
          C = 3 comes from gain f32[3]
    """

    __state_contract__: ClassVar[StateContract]

    if TYPE_CHECKING:
        __call__: _CallsForward  # torch says Callable[..., Any]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # What to(), half() and their like come to. Refused before anything is converted.
        for module in self.modules() if recurse else [self]:
            contract = getattr(module, "__state_contract__", None)
            if contract is not None and not is_off(module):
                _raise(state_error(module, contract.converted(module, fn)))
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # by torch

    def __getstate__(self) -> dict[str, Any]:
        # What is remembered of the last call is no part of a pickle; that checks are off is.
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[no-untyped-call]  # by torch
        if state.get(ATTRIBUTE) is not OFF:
            state.pop(ATTRIBUTE, None)
        return state

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *others: Any
    ) -> None:
        contract = getattr(self, "__state_contract__", None)
        if local_metadata.get("assign_to_params_buffers") and contract and not is_off(self):
            held = {**self._parameters, **self._buffers}
            loaded = {name: state_dict.get(prefix + name) for name in contract.hints}
            fitting = {  # another shape is told by torch, for all modules at once
                name: value
                for name, value in loaded.items()
                if isinstance(value, Tensor) and value.shape == getattr(held.get(name), "shape", 0)
            }
            _raise(state_error(self, contract.claims(self, fitting)))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        typed_class(cls)


def _raise(error: StateError | None) -> None:
    if error is not None:
        raise error from None


C = TypeVar("C", bound=type)


def typed_class(cls: C) -> C:
    """Checks a class of modules as if it was derived from `Module`; any other is let be.

    Args:
        cls: The class, which is changed in place.
    """
    if not issubclass(cls, torch.nn.Module) or not checks_are_on():
        return cls
    if "__state_contract__" in vars(cls):  # it is checked already
        return cls
    cls.__state_contract__ = StateContract(cls)  # type: ignore[attr-defined]  # ours
    forward = cls.forward  # its own or inherited, from a layer of torch say
    if isinstance(forward, FunctionType) and forward is not torch.nn.Module.forward:
        checked = typed(forward)
        if checked is not forward:
            cls.forward = checked
    install_call(cls)
    try:
        places = cls.__state_contract__.places  # type: ignore[attr-defined]  # ours
    except Exception:  # of whatever kind; the first call says it
        places = {}
    read_in_place(cls, places)
    return cls
