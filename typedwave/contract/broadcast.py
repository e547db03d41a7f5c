"""``no_broadcast``: an error where two tensors broadcast against each other."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode  # private by its path, but documented

from typedwave.errors import BroadcastError

__all__ = ["broadcasts", "no_broadcast"]

_EXPANDS_FIRST: Final[frozenset[Any]] = frozenset(
    {F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, torch.broadcast_tensors}
)
"""What expands its arguments before it computes, so that its operations have equal shapes."""

_OURS: Final = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")


@contextmanager
def no_broadcast(*, one_sided: bool = True) -> Iterator[None]:
    """Within it, tensors that broadcast against each other are an error.

    A bias ``[C]`` added to ``[B, C]`` takes the shape of the other: that is one-sided. ``[B]``
    against ``[B, 1]`` gives ``[B, B]``, a shape that neither had: that is mutual, and in a loss
    it is nearly always a mistake (pytorch#16045). Every elementwise operation of torch is looked
    at, in eager mode and in this thread; what autograd computes going back is not.

    Args:
        one_sided: Whether the one-sided kind is allowed. A tensor without axes always is.

    Raises:
        BroadcastError: From the operation; it says in which line of which file.

    Example:
        >>> import torch
        >>> with no_broadcast():
        ...     y = torch.zeros(5, 3) + torch.zeros(3)
        ...     torch.zeros(5) - torch.zeros(5, 1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        typedwave.errors.BroadcastError: ...: sub broadcasts its arguments against each other: ...
    """
    with broadcasts(_raise, one_sided=one_sided):
        yield


@contextmanager
def broadcasts(
    report: Callable[[BroadcastError], None], *, one_sided: bool = True
) -> Iterator[None]:
    """Within it, ``report`` is told of each broadcast that `no_broadcast` would refuse."""
    with _Functions(report, one_sided), _Operations(report, one_sided):
        yield


def _raise(error: BroadcastError) -> None:
    raise error


class _Functions(TorchFunctionMode):
    def __init__(self, report: Callable[[BroadcastError], None], one_sided: bool) -> None:
        super().__init__()
        self._report, self._one_sided = report, one_sided

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _EXPANDS_FIRST:
            tensors = [
                value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)
            ]
            _look(func.__name__, tensors, self._one_sided, self._report)
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # by torch
    def __init__(self, report: Callable[[BroadcastError], None], one_sided: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # by torch
        self._report, self._one_sided = report, one_sided

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if torch.Tag.pointwise in func.tags and torch._C._current_autograd_node() is None:
            tensors = [value for value in args if isinstance(value, Tensor)]
            _look(func.overloadpacket.__name__, tensors, self._one_sided, self._report)
        return func(*args, **(kwargs or {}))


def _look(
    name: str,
    tensors: Sequence[Tensor],
    one_sided: bool,
    report: Callable[[BroadcastError], None],
) -> None:
    shapes = {tuple(tensor.shape) for tensor in tensors if tensor.ndim}
    if len(shapes) < 2:
        return
    try:
        together = tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]  # by torch
    except RuntimeError:
        return  # torch refuses it itself
    if one_sided and together in shapes:
        return
    found = [tuple(tensor.shape) for tensor in tensors if tensor.ndim]
    report(BroadcastError(_line(), name, found, together))


def _line() -> str:
    """The file and line outside of torch and of here that asked for the operation."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS[:2]):
        frame = frame.f_back
    return "?" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
