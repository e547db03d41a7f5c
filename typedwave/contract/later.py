"""Functions whose result comes later: what a generator yields and a coroutine returns."""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any

from torch.compiler import is_dynamo_compiling

from typedwave.contract.function import FunctionContract

__all__ = ["write_later"]


def write_later(contract: FunctionContract) -> Callable[..., Any]:
    """The checked form of such a function, of the same kind as the function.

    Its arguments are judged when its body would begin to run, and then each value that it gives.
    """
    function = contract.function
    if inspect.iscoroutinefunction(function):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            judge = _judge(contract, args, kwargs)
            return judge(await contract.call(*args, **kwargs))

        return coroutine
    if inspect.isasyncgenfunction(function):

        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            judge = _judge(contract, args, kwargs)
            values: AsyncGenerator[Any, Any] = contract.call(*args, **kwargs)
            sent: Coroutine[Any, Any, Any] = values.__anext__()
            try:
                while True:
                    try:
                        value = judge(await sent)
                    except StopAsyncIteration:
                        return
                    try:
                        sent = values.asend((yield value))
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # thrown in by the caller
                        sent = values.athrow(error)
            finally:
                await values.aclose()

        return async_generator

    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        if is_dynamo_compiling():
            return (yield from function(*args, **kwargs))
        judge = _judge(contract, args, kwargs)
        return (yield from _Judged(contract.call(*args, **kwargs), judge))

    return generator


class _Judged(Generator[Any, Any, Any]):
    """A generator whose values are judged on their way out."""

    def __init__(self, values: Generator[Any, Any, Any], judge: Callable[[Any], Any]) -> None:
        self._values = values
        self._judge = judge

    def send(self, value: Any) -> Any:
        return self._judge(self._values.send(value))

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        error = kind if value is None else value
        return self._judge(self._values.throw(error))

    def close(self) -> None:
        self._values.close()


def _judge(
    contract: FunctionContract, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Any], Any]:
    """Returns a value as it is, if it is what the annotation says, or raises the error."""

    def judge(value: Any) -> Any:
        contract.judge_given(value, args, kwargs)
        return value

    return judge
