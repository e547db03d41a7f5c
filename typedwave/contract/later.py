"""Functions whose result comes later: what a generator yields and a coroutine returns."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, get_args

from torch.compiler import is_dynamo_compiling

from typedwave.contract.facts import Reader, fact_reader
from typedwave.contract.function import REMEMBERED, FunctionContract
from typedwave.contract.hints import RESULT, YIELDED, Claim
from typedwave.contract.judge import first_refused, in_scope
from typedwave.contract.switch import is_off

__all__ = ["write_later"]


def write_later(contract: FunctionContract) -> Callable[..., Any]:
    """The checked form of such a function, of the same kind as the function.

    Its arguments are judged when its body would begin to run, and then each value that it gives.
    """
    function, judge = contract.function, _Judge(contract)
    if inspect.iscoroutinefunction(function):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return judge(await contract.call(*args, **kwargs), args, kwargs)

        return coroutine
    if inspect.isasyncgenfunction(function):

        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            values: AsyncGenerator[Any, Any] = contract.call(*args, **kwargs)
            sent: Coroutine[Any, Any, Any] = values.__anext__()
            try:
                while True:
                    try:
                        value = judge(await sent, args, kwargs)
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
        values = contract.call(*args, **kwargs)
        return (yield from _Judged(values, lambda value: judge(value, args, kwargs)))

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


class _Judge:
    """Judges the values that calls of one function give, and remembers what was good."""

    def __init__(self, contract: FunctionContract) -> None:
        self._contract = contract
        self._subject = RESULT if inspect.iscoroutinefunction(contract.function) else YIELDED
        self._good: set[Any] = set()

    @functools.cached_property
    def _hint(self) -> Any:
        hint = self._contract.hints.get("return", Any)
        if self._subject == RESULT:
            return hint
        return (*get_args(hint), Any)[0]  # Iterator[...], Generator[..., S, R]

    @functools.cached_property
    def _fact(self) -> Reader:
        return fact_reader(self._hint, by_value=False)

    def __call__(self, value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Returns the value as it is, if it is what the annotation says."""
        contract = self._contract
        arguments = contract.bind(args, kwargs)
        try:
            known = contract.key(arguments), self._fact(value)
            if known in self._good or is_off(arguments.get("self")):
                return value
        except TypeError:  # what cannot be told
            known = None, ()
        owner, state = contract.owner(arguments)
        held = [] if state is None else state.claims(owner)
        claims = [*contract.argument_claims(arguments), Claim(self._subject, value, self._hint)]
        signature = contract.signature
        refused = in_scope(signature, args, kwargs, lambda: first_refused([*held, *claims]))
        if refused is not None:
            contract.refuse(owner, held, claims, refused, arguments)
        if known[0] is not None and len(self._good) < REMEMBERED:
            self._good.add(known)
        return value
