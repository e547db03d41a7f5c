import asyncio
import inspect
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from typedwave import ShapeError, typed

zeros = torch.zeros


@typed
def batches(x: Float[Tensor, "B"], *others: Any) -> Iterator[Float[Tensor, "B"]]:
    yield x
    yield from others


@typed
async def halves(x: Float[Tensor, "B"], by: Any = 2) -> Float[Tensor, "B"]:
    await asyncio.sleep(0)
    return x / by


@typed
async def stream(x: Float[Tensor, "B"], *others: Any) -> AsyncIterator[Float[Tensor, "B"]]:
    for value in (x, *others):
        yield value


async def gathered(values: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in values]


def test_each_kind_of_function_stays_what_it_is() -> None:
    assert inspect.isgeneratorfunction(batches)
    assert inspect.iscoroutinefunction(halves)
    assert inspect.isasyncgenfunction(stream)


@pytest.mark.parametrize("repeat", range(2))
def test_the_arguments_are_judged_when_the_body_would_begin(repeat: int) -> None:
    wrong = zeros(3, 3)
    for call in (
        lambda: list(batches(wrong)),
        lambda: asyncio.run(halves(wrong)),
        lambda: asyncio.run(gathered(stream(wrong))),
    ):
        with pytest.raises(ShapeError, match=r"^\w+: x has the wrong shape"):
            call()


@pytest.mark.parametrize("repeat", range(2))
def test_each_value_that_is_given_is_judged(repeat: int) -> None:
    x = zeros(3)
    assert [value.shape for value in batches(x, x)] == [(3,), (3,)]
    assert asyncio.run(halves(x)).shape == (3,)
    assert [value.shape for value in asyncio.run(gathered(stream(x, x)))] == [(3,), (3,)]
    given = []
    with pytest.raises(ShapeError) as caught:
        given.extend(batches(x, x, zeros(2)))
    assert str(caught.value) == (
        "batches: the yielded value has the wrong shape\n"
        '  expected  Float "B"   B = 3\n'
        "  got       f32[2]      axis 0 is 2\n"
        "  B = 3 comes from x f32[3]"
    )
    with pytest.raises(ShapeError) as caught:
        asyncio.run(gathered(stream(x, x.long())))
    assert str(caught.value) == (
        "stream: the yielded value has the wrong dtype\n"
        '  expected  Float "B"\n'
        "  got       i64[3]   its dtype is int64"
    )
    with pytest.raises(ShapeError, match=r"^halves: the result has the wrong shape"):
        asyncio.run(halves(x, torch.ones(2, 1)))


def test_values_before_a_wrong_one_have_been_given() -> None:
    values = batches(zeros(3), zeros(3), zeros(4))
    assert next(values).shape == (3,)
    assert next(values).shape == (3,)
    with pytest.raises(ShapeError):
        next(values)


@typed
def echo(x: Float[Tensor, "B"]) -> Generator[Float[Tensor, "B"], Any, str]:
    got = []
    while True:
        try:
            sent = yield x
        except ValueError as error:
            sent = str(error)
        got.append(sent)
        if sent == "end":
            return ", ".join(got)


def test_what_is_sent_thrown_and_returned_passes_through() -> None:
    values = echo(zeros(3))
    next(values)
    values.send("a")
    values.throw(ValueError("b"))
    with pytest.raises(StopIteration) as stopped:
        values.send("end")
    assert stopped.value.value == "a, b, end"


def test_a_value_that_answers_an_exception_is_judged() -> None:
    @typed
    def recovers(x: Float[Tensor, "B"]) -> Iterator[Float[Tensor, "B"]]:
        try:
            yield x
        except ValueError:
            yield x[None]

    values = recovers(zeros(3))
    next(values)
    with pytest.raises(ShapeError, match="the yielded value has the wrong shape"):
        values.throw(ValueError())


def test_closing_reaches_the_body() -> None:
    closed = []

    @typed
    def forever(x: Float[Tensor, "B"]) -> Iterator[Float[Tensor, "B"]]:
        try:
            while True:
                yield x
        finally:
            closed.append("generator")

    @typed
    async def forever_async(x: Float[Tensor, "B"]) -> AsyncIterator[Float[Tensor, "B"]]:
        try:
            while True:
                yield x
        finally:
            closed.append("async generator")

    values = forever(zeros(3))
    next(values)
    values.close()

    async def one() -> None:
        stream = forever_async(zeros(3))
        await anext(stream)
        await stream.aclose()

    asyncio.run(one())
    assert closed == ["generator", "async generator"]


def test_an_async_generator_takes_what_is_sent_and_thrown() -> None:
    @typed
    async def echo(x: Float[Tensor, "B"]) -> AsyncIterator[Float[Tensor, "B"]]:
        while True:
            try:
                sent = yield x
            except ValueError:
                sent = zeros(1)
            x = x + len(sent)

    async def told() -> list[float]:
        values = echo(zeros(3))
        first = await anext(values)
        second = await values.asend(zeros(5))
        third = await values.athrow(ValueError())
        await values.aclose()
        return [first[0].item(), second[0].item(), third[0].item()]

    assert asyncio.run(told()) == [0, 5, 6]


def test_a_value_like_one_before_asks_no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    x = zeros(5)
    list(batches(x, x))
    monkeypatch.setattr("typedwave.contract.later.first_refused", None)
    assert len(list(batches(x, x))) == 2
