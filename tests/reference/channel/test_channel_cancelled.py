"""A client that is gone at any point of its request leaves nothing behind (contract X-09).

The whole request is driven by hand, and cancelled where it waits for the first time, for the second, and so on until it
is through.
"""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Coroutine, Generator, Mapping, Sequence
from typing import Any

import pytest

from reference_gateway import isolation
from reference_gateway.app import build_codec, create_app
from reference_gateway.config import Config
from reference_gateway.types import Generation, Media, Progress

CODEC = build_codec(Config())


@types.coroutine
def one_turn() -> Generator[None, None, None]:
    """Lets the event loop do what else there is to do, once."""
    yield


class Slow:
    """A backend that makes every call wait a few times."""

    name = "slow"

    async def generate(
        self,
        context: Sequence[int],
        sampling: Mapping[str, Any],
        *,
        session_id: str,
        media: Media,
        progress: Progress | None = None,
    ) -> Generation:
        vocabulary = CODEC.vocabulary
        ids = [*vocabulary.encode("Abc"), vocabulary.token_id("<|im_end|>")]
        for one in ids:
            await one_turn()
            if progress is not None:
                progress.sampled([one])
        return Generation(ids, stop_reason="stop")

    async def close(self) -> None: ...


class CancelledAt:
    """Runs a coroutine and cancels it where it waits for the `k`-th time; `reached` says whether it did."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], k: int) -> None:
        self.coroutine, self.k = coroutine, k
        self.reached = False

    def __await__(self) -> Generator[Any, None, None]:
        waits = 0
        resume = self.coroutine.send
        argument: Any = None
        while True:
            try:
                waited = resume(argument)
            except StopIteration:
                return
            except asyncio.CancelledError:
                assert self.reached
                return
            waits += 1
            resume, argument = self.coroutine.send, None
            if waits == self.k:
                self.reached = True
                if waited is not None:
                    waited._asyncio_future_blocking = False
                    waited.cancel()
                resume, argument = self.coroutine.throw, asyncio.CancelledError()
                continue
            yield waited


class Request:
    """One invocation of alice's as a server gives it to an app; the client never closes its connection."""

    def __init__(self, path: str, stream: bool, message: str) -> None:
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(b"content-type", b"application/json"), (b"x-agent-user-isolation-key", b"alice")],
            "query_string": b"",
        }
        self.body = json.dumps({"message": message, "session_id": "talk", "stream": stream}).encode()
        self.asked = 0
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        self.asked += 1
        await one_turn()
        if self.asked <= 2:
            half = len(self.body) // 2
            part = self.body[:half] if self.asked == 1 else self.body[half:]
            return {"type": "http.request", "body": part, "more_body": self.asked == 1}
        await asyncio.Event().wait()
        return None

    async def send(self, message: Any) -> None:
        await one_turn()
        self.sent.append(message)


@pytest.mark.parametrize(("stream", "kind"), [(False, "synthesised"), (True, "synthesised"), (True, "incremental")])
def test_cancelled_at_every_wait(stream, kind):
    async def story(k: int) -> bool:
        app = create_app(Config(stream=kind), codec=CODEC, backend=Slow())
        session = app.state.sessions.create("s")
        request = Request("/sessions/s/v1/invocations", stream, "hi")
        attempt = CancelledAt(app(request.scope, request.receive, request.send), k)
        await attempt
        for _ in range(4):
            await one_turn()

        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert isolation.current() is None
        assert session.in_flight == 0
        with isolation.bound(isolation.Keys("alice")):
            history = session.histories.of("invocations:talk")
        assert not history.turn.locked()
        assert len(history.messages) in (0, 2)
        assert bool(history.messages) == bool(session.trajectories())

        again = Request("/sessions/s/v1/invocations", stream, "more")
        await app(again.scope, again.receive, again.send)
        assert again.sent[0]["status"] == 200
        assert len(history.messages) in (2, 4)
        return attempt.reached

    k = 1
    while asyncio.run(story(k)):
        k += 1
    assert k > 6
