"""What decides by which checks a mutant is judged: a tape is the same for the unharmed gateway, and for no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest

from conformance.upstream.client import Upstream
from reference_gateway.backends.http_engine import HttpEngine
from reference_gateway.serving.server import serving as served
from reference_gateway.session.session import Session
from reference_gateway.wire import openai_chat
from tests.mutants import fate, playing
from tests.mutants.harness import build
from tests.mutants.playing import Engine
from tests.mutants.sabotage import Answer, App, Sabotage
from tests.mutants.tape import Recorder, Tape

Play = Callable[[Callable[[Sabotage], Any]], bool]


@pytest.fixture(scope="module")
def recorded(shared_upstream: Upstream) -> Tape:
    """Two turns of a session, and what it exports."""
    fate.install()
    recorder = Recorder()
    logging.disable()
    with (
        recorder.engine(),
        served(cast(Any, recorder.around(build(shared_upstream)[1]))) as url,
        httpx.Client() as http,
    ):
        shared_upstream.begin()
        recorder.begin("turns")
        session = http.post(f"{url}/sessions", json={}).json()
        for number in range(2):
            shared_upstream.says(f"Answer {number}", headers={"x-engine": f"odd {number}"})
            question = {"role": "user", "content": f"{shared_upstream.nonce} question {number}"}
            answer = http.post(f"{session['base_url']}/chat/completions", json={"messages": [question]})
            assert answer.status_code == 200
        exported = http.get(f"{url}/sessions/{session['session_id']}/trajectories").json()
        assert len(exported["trajectories"]) == 2
        recorder.end()
        shared_upstream.end()
    logging.disable(logging.NOTSET)
    return recorder.tapes["turns"]


@pytest.fixture
def same(recorded: Tape, shared_upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Is the tape the same for a gateway with this sabotage?"""

    def play(break_it: Callable[[Sabotage], Any]) -> bool:
        sabotage, engine = Sabotage(monkeypatch), Engine()
        break_it(sabotage)

        async def main() -> bool:
            gateway, app = build(shared_upstream, sabotage)
            async with gateway.router.lifespan_context(gateway):
                return await playing.same(recorded, app, engine, bool(sabotage.rewrites))

        with engine.playing(), asyncio.Runner(loop_factory=playing.Loop) as runner:
            return runner.run(main())

    return play


def test_unharmed_gateway_is_the_same(same: Play) -> None:
    assert same(lambda gateway: None)


def test_headers_of_the_engine_are_replayed(same: Play, recorded: Tape) -> None:
    heard: list[str | None] = []

    def listening(gateway: Sabotage) -> None:
        @gateway.wrap(HttpEngine, "_request")
        @asynccontextmanager
        async def request(original: Any, self: HttpEngine, body: bytes, session_id: str) -> AsyncIterator[Any]:
            async with original(self, body, session_id) as response:
                heard.append(response.headers.get("X-Engine"))
                yield response

    assert same(listening)
    assert heard == ["odd 0", "odd 1"]


def test_gateway_that_does_the_same_by_other_code_is_the_same(same: Play) -> None:
    def wrapped(gateway: Sabotage) -> None:
        gateway.wrap(openai_chat, "_usage")(lambda original, answer: dict(original(answer)))

    assert same(wrapped)


def test_other_answer_is_not_the_same(same: Play) -> None:
    def wrapped(gateway: Sabotage) -> None:
        gateway.wrap(openai_chat, "_usage")(lambda original, answer: {**original(answer), "total_tokens": 0})

    assert not same(wrapped)


def test_other_answer_is_the_same_for_a_check_that_looks_elsewhere(same: Play, recorded: Tape) -> None:
    def fewer(gateway: Sabotage) -> None:
        gateway.wrap(openai_chat, "_usage")(lambda original, answer: {**original(answer), "total_tokens": 0})

    def shorter(gateway: Sabotage) -> None:
        @gateway.rewrite
        def change(answer: Answer) -> None:
            answer.json = {**answer.json, "usage": None} if answer.is_chat else answer.json

    def elsewhere(gateway: Sabotage) -> None:
        gateway.rewrite(lambda answer: answer.headers.update(server="another"))

    chats = [request for request, answer in recorded.answers if answer.is_chat]
    assert len(chats) == 2
    for looked, alike in (({("choices", 0, "message")}, True), ({("usage",)}, False), (None, False)):
        for chat in chats:
            chat.looked = looked
        assert (same(fewer), same(shorter), same(elsewhere)) == (alike, alike, False)


def test_other_export_is_not_the_same(same: Play) -> None:
    assert not same(lambda gateway: gateway.wrap(Session, "trajectories")(lambda original, self: original(self)[::-1]))


def test_other_call_of_the_engine_is_not_the_same(same: Play) -> None:
    def sampled(gateway: Sabotage) -> None:
        @gateway.wrap(Session, "_effective_sampling")
        def warmer(original: Any, self: Session, turn: Any) -> Any:
            sampling, asked = original(self, turn)
            return {**sampling, "temperature": 2.0}, asked

    assert not same(sampled)


def test_rewritten_answer_is_not_the_same(same: Play) -> None:
    def rewritten(gateway: Sabotage) -> None:
        @gateway.rewrite
        def change(answer: Any) -> None:
            answer.headers["x-more"] = "1"

    assert not same(rewritten)


def test_gateway_that_breaks_after_its_answer_is_not_the_same(same: Play) -> None:
    def broken(gateway: Sabotage) -> None:
        @gateway.middleware
        def breaking(app: App) -> App:
            async def run(scope: Any, receive: Any, send: Any) -> None:
                await app(scope, receive, send)
                raise ConnectionAbortedError

            return run

    assert not same(broken)


def test_gateway_that_stands_still_is_not_the_same(same: Play) -> None:
    def stuck(gateway: Sabotage) -> None:
        @gateway.wrap(Session, "_run")
        async def run(original: Any, self: Session, turn: Any) -> Any:
            await asyncio.Event().wait()

    assert not same(stuck)


def test_patched_places_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage = Sabotage(monkeypatch)
    sabotage.patch(Session, "_run", Session._run)
    sabotage.patch(openai_chat, "_usage", openai_chat._usage)
    assert sabotage.places == {(Session, "_run"), (openai_chat, "_usage")}
    assert sabotage.modules == {"reference_gateway.session.session", "reference_gateway.wire.openai_chat"}


def test_a_rewritten_answer_that_comes_out_equal_keeps_its_bytes() -> None:
    plain = Answer("POST", "/v1/chat/completions", b"", 200, {}, b'{"n":1,"ok":true}')
    plain.json = {"n": 1, "ok": True}
    assert plain.body == b'{"n":1,"ok":true}'
    plain.json = {"n": True, "ok": True}
    assert plain.body == b'{"n": true, "ok": true}'


def test_wait_ends_when_nothing_can_happen_any_more() -> None:
    async def waits() -> tuple[bool, bool]:
        loop = cast(playing.Loop, asyncio.get_running_loop())
        soon = asyncio.Event()
        loop.call_later(0.001, soon.set)
        end = loop.time() + 3600
        return await loop.happens(soon, end), await loop.happens(asyncio.Event(), end)

    with asyncio.Runner(loop_factory=playing.Loop) as runner:
        assert runner.run(waits()) == (True, False)
