"""``no_broadcast``: an error where two tensors broadcast against each other."""

import os
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

_MEANT: Final[frozenset[Any]] = frozenset(
    {
        torch.einsum,
        torch.outer,
        torch.ger,
        torch.kron,
        torch.cartesian_prod,
        torch.cdist,
        F.multi_head_attention_forward,
        F.scaled_dot_product_attention,
    }
)
"""What pairs all with all by its very name, or adds masks to one another."""

_OURS: Final = tuple(f"{Path(path).parent}{os.sep}" for path in (torch.__file__, __file__))


@contextmanager
def no_broadcast(*, one_sided: bool = True) -> Iterator[None]:
    """Within it, tensors that broadcast against each other are an error.

    A bias ``[C]`` added to ``[B, C]`` takes the shape of the other: that is one-sided. ``[B]``
    against ``[B, 1]`` gives ``[B, B]``, a shape that neither had: that is mutual, and in a loss
    it is nearly always a mistake (pytorch#16045). Looked at are the operations that torch tags as
    pointwise, and the losses that expand first, in eager mode and in this thread; not what autograd
    computes going back. Where all pairs are meant, an einsum, ``outer`` or ``cdist`` says so.

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
    operations = _Operations(report, one_sided)
    with _Functions(operations), operations:
        yield


def _raise(error: BroadcastError) -> None:
    raise error


class _Functions(TorchFunctionMode):
    def __init__(self, operations: "_Operations") -> None:
        super().__init__()
        self._operations = operations

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
            self._operations.look(func.__name__, tensors)
        self._operations.is_paused = func in _MEANT
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self._operations.is_paused = False


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # by torch
    def __init__(self, report: Callable[[BroadcastError], None], one_sided: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # by torch
        self._report, self._one_sided = report, one_sided
        self.is_paused = False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        going_back = torch._C._current_autograd_node() is not None
        if torch.Tag.pointwise in func.tags and not going_back and not self.is_paused:
            tensors = [value for value in args if isinstance(value, Tensor)]
            self.look(func.overloadpacket.__name__.strip("_"), tensors)
        return func(*args, **(kwargs or {}))

    def look(self, name: str, tensors: Sequence[Tensor]) -> None:
        """Reports if the tensors broadcast in a way that is not allowed."""
        shapes = [tuple(t.shape) for t in tensors if not t.is_nested and t.ndim]
        if len({*shapes}) < 2:
            return
        try:
            together = tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]  # by torch
        except RuntimeError:
            return  # torch refuses it itself
        if not self._one_sided or together not in shapes:
            self._report(BroadcastError(_line(), name, shapes, together))


def _line() -> str:
    """The file and line outside of torch and of here that asked for the operation."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return "?" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
