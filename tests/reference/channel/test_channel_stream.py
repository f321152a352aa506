"""A stream and what is bound to it: open to its end, closed once (contract AF-BRS)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from reference_gateway.channel.stream import BENIGN, BoundStream


class Binding:
    def __init__(self, *, breaks: bool = False) -> None:
        self.opened = self.closed = 0
        self.breaks = breaks

    def __enter__(self) -> Binding:
        self.opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1
        if self.breaks:
            raise RuntimeError("the binding broke")


class Inner:
    colour = "red"

    def __init__(self, binding: Binding, *chunks: str, closing: Exception | None = None) -> None:
        self.binding, self.chunks, self.closing = binding, chunks, closing
        self.given = self.closed = 0

    async def __aiter__(self) -> AsyncIterator[str]:
        for chunk in self.chunks:
            assert not self.binding.closed
            self.given += 1
            yield chunk

    async def get_final_response(self) -> str:
        return "".join(self.chunks)

    async def aclose(self) -> None:
        self.closed += 1
        if self.closing is not None:
            raise self.closing


def test_the_binding_is_open_until_the_stream_is_exhausted():
    async def story() -> list[str]:
        stream = BoundStream(Inner(binding, "a", "b"), binding)
        assert binding.opened == 1
        return [chunk async for chunk in stream]

    binding = Binding()
    assert asyncio.run(story()) == ["a", "b"]
    assert binding.closed == 1


@pytest.mark.parametrize("how", ["get_final_response", "await"])
def test_the_final_response_closes_it(how):
    async def story() -> str:
        stream = BoundStream(Inner(binding, "a", "b"), binding)
        return await (stream if how == "await" else stream.get_final_response())

    binding = Binding()
    assert asyncio.run(story()) == "ab"
    assert binding.closed == 1


def test_an_abandoned_stream_runs_no_further_and_may_be_closed_twice():
    async def story() -> None:
        stream = BoundStream(inner, binding)
        async for _ in stream:
            break
        await stream.aclose()
        await stream.aclose()

    binding = Binding()
    inner = Inner(binding, "a", "b", "c")
    asyncio.run(story())
    assert (inner.given, inner.closed, binding.closed) == (1, 1, 1)


def test_an_error_of_the_stream_closes_it_and_is_raised():
    async def story() -> None:
        async with BoundStream(inner, binding) as stream:
            async for _ in stream:
                raise LookupError

    binding = Binding()
    inner = Inner(binding, "a")
    with pytest.raises(LookupError):
        asyncio.run(story())
    assert (inner.closed, binding.closed) == (1, 1)


def test_unknown_attributes_are_those_of_the_inner_stream():
    binding = Binding()
    assert BoundStream(Inner(binding), binding).colour == "red"


@pytest.mark.parametrize("closing", [*map(RuntimeError, BENIGN), RuntimeError("other"), OSError("other")], ids=str)
def test_only_the_benign_noise_of_closing_is_silenced(closing, caplog):
    async def story() -> None:
        await BoundStream(Inner(binding, closing=closing), binding).aclose()

    binding = Binding()
    asyncio.run(story())
    assert binding.closed == 1
    logged = [(record.levelname, bool(record.exc_info)) for record in caplog.records]
    assert logged == ([] if str(closing) in BENIGN else [("ERROR", True)])


def test_a_binding_that_breaks_is_logged_and_not_raised(caplog):
    async def story() -> list[str]:
        return [chunk async for chunk in BoundStream(Inner(binding, "a"), binding)]

    binding = Binding(breaks=True)
    assert asyncio.run(story()) == ["a"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_stream_that_fails_by_itself_is_closed_too():
    class Breaking(Inner):
        async def __aiter__(self) -> AsyncIterator[str]:
            yield "a"
            raise LookupError

    async def story() -> None:
        async with BoundStream(inner, binding) as stream:
            async for _ in stream:
                pass

    binding = Binding()
    inner = Breaking(binding)
    with pytest.raises(LookupError):
        asyncio.run(story())
    assert (inner.closed, binding.closed) == (1, 1)
