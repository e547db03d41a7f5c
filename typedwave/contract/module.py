"""``Module``: a torch.nn.Module whose annotated forward and state are checked."""

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeVar

import torch

from typedwave.contract.decorator import typed
from typedwave.contract.state import StateContract

__all__ = ["Module"]

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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__state_contract__ = StateContract(cls)
        forward = cls.forward  # its own or inherited, from a layer of torch say
        if isinstance(forward, FunctionType) and forward is not torch.nn.Module.forward:
            checked = typed(forward)
            if checked is not forward:
                cls.forward = checked
