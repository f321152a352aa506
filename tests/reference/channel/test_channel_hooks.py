"""Hooks around a target: what they see, in which order, and what their failures do (contract AF-HOOK)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from reference_gateway import isolation
from reference_gateway.channel import request as targets
from reference_gateway.channel.hooks import Hooks, ResponseContext
from reference_gateway.channel.host import ACKNOWLEDGED, FinalizeFailed, Host
from reference_gateway.channel.request import ChannelRequest, InvocationFailed
from reference_gateway.channel.target import response_ids

REQUEST = ChannelRequest("hi", session_key="invocations:a", attributes={"session_id": "a"})


class Said:
    """A target that says these chunks; an exception among them is raised there, `final` at the end."""

    def __init__(self, *chunks: str | Exception, final: Exception | None = None) -> None:
        self.chunks, self.final = chunks, final
        self.requests: list[ChannelRequest] = []
        self.seen: list[object] = []
        self.closed = False

    async def run(self, request: ChannelRequest) -> str:
        self.requests.append(request)
        self.seen.append(response_ids())
        return "".join([chunk async for chunk in self])

    def stream(self, request: ChannelRequest) -> Said:
        self.requests.append(request)
        return self

    async def __aiter__(self) -> AsyncIterator[str]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            self.seen.append((isolation.current(), response_ids()))
            yield chunk

    async def get_final_response(self) -> str:
        if self.final is not None:
            raise self.final
        return "".join(map(str, self.chunks))

    async def aclose(self) -> None:
        self.closed = True


async def collected(host: Host, request: ChannelRequest, target: Said) -> list[str]:
    return [chunk async for chunk in host.chunks(request, target)]


def test_the_run_hook_sees_the_request_the_target_and_the_whole_body():
    seen = []

    def hook(request, *, target, protocol_request):
        seen.append((request, target, protocol_request))
        return replace(request, input="ho", options={"temperature": 0})

    target = Said("A")
    prepared = asyncio.run(Host(Hooks(run=hook)).prepare(REQUEST, target, {"message": "hi", "more": 1}))
    assert seen == [(REQUEST, target, {"message": "hi", "more": 1})]
    assert (prepared.input, prepared.options) == ("ho", {"temperature": 0})
    asyncio.run(Host(Hooks(run=hook)).prepare(REQUEST, target))
    assert seen[1][2] is None


@pytest.mark.parametrize("coroutine", [False, True])
def test_hooks_may_be_coroutines(coroutine):
    def shout(text, *rest):
        return text.upper()

    async def shout_later(text, *rest):
        return text.upper()

    hook = shout_later if coroutine else shout
    host = Host(Hooks(update=hook, response=hook))
    assert asyncio.run(host.reply(REQUEST, Said("a", "b"))) == "AB"
    assert asyncio.run(collected(host, REQUEST, Said("a", "b"))) == ["A", "B"]


def test_an_update_hook_drops_chunks_and_a_response_hook_is_not_for_streams():
    host = Host(Hooks(update=lambda chunk: None if chunk == "a" else chunk, response=lambda result, context: "never"))
    assert asyncio.run(collected(host, REQUEST, Said("a", "", "b"))) == ["b"]
    assert asyncio.run(collected(host, REQUEST, Said("a", "a"))) == []


def test_a_response_hook_is_told_for_whom():
    seen = []
    host = Host(Hooks(response=lambda result, context: seen.append(context) or result + "!"))
    assert asyncio.run(host.reply(REQUEST, Said("A"))) == "A!"
    assert seen == [ResponseContext(REQUEST, "invocations", None, originating=True, is_echo=False)]


def test_a_run_hook_that_returns_no_request_is_a_type_error():
    with pytest.raises(TypeError, match="returned dict, expected a ChannelRequest"):
        asyncio.run(Host(Hooks(run=lambda *_, **__: {})).prepare(REQUEST, Said()))


def test_a_failing_update_hook_ends_the_stream_and_closes_it():
    def hook(chunk):
        raise InvocationFailed("no")

    target = Said("a", "b")
    with pytest.raises(InvocationFailed):
        asyncio.run(collected(Host(Hooks(update=hook)), REQUEST, target))
    assert target.closed


def test_a_final_response_that_fails_is_told_apart():
    target = Said("p", final=InvocationFailed("boom\nline2"))
    with pytest.raises(FinalizeFailed) as raised:
        asyncio.run(collected(Host(), REQUEST, target))
    assert str(raised.value.reason) == "boom\nline2"


def test_response_ids_are_bound_around_the_run_where_there_are_any():
    target = Said("a")
    asyncio.run(Host().reply(replace(REQUEST, response_id="r2", previous_response_id="r1"), target))
    asyncio.run(Host().reply(REQUEST, target))
    named, _, unnamed, _ = target.seen
    assert (named.response_id, named.previous_response_id) == ("r2", "r1")
    assert unnamed is None
    assert response_ids() is None


def test_an_answer_that_goes_elsewhere_is_acknowledged_and_never_told():
    class Elsewhere:
        option = "report"

        async def deliver(self, request, result, hooks):
            return False

    host = Host(delivery=Elsewhere())
    request = replace(REQUEST, response_target=targets.NONE)
    assert asyncio.run(host.reply(request, Said("secret"))) == ACKNOWLEDGED
    assert asyncio.run(collected(host, request, Said("sec", "ret"))) == [ACKNOWLEDGED]
    assert asyncio.run(host.reply(REQUEST, Said("told"))) == "told"


@pytest.mark.parametrize("key", ["..", "a/b", "C:x"])
def test_a_key_that_names_no_file_keeps_nothing_and_is_warned_of_once(key, caplog):
    with isolation.bound(isolation.Keys(key)):
        prepared = asyncio.run(Host().prepare(REQUEST, Said()))
    assert prepared == replace(REQUEST, session_key=None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
