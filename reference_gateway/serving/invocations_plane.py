"""The route of the Invocations wire, below a session's `/v1`.

Knows HTTP and the order of its refusals: key, body, envelope, session. Plain ASGI, like the data plane. Invariants:
what is refused is a status and the flat envelope, streamed or not; a bad envelope calls neither a hook nor the target;
what fails is a status where the answer is one document, and in a stream one error frame without `[DONE]`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from reference_gateway.channel.hooks import RUN_HOOK
from reference_gateway.channel.host import FinalizeFailed, Host
from reference_gateway.channel.request import ChannelRequest
from reference_gateway.channel.target import SessionTarget
from reference_gateway.codec.live import LiveText
from reference_gateway.serving.access import Access
from reference_gateway.serving.errors import Problem, problem_of
from reference_gateway.serving.http import JSON, HungUp, headers_of, raw, read_body, respond, while_connected
from reference_gateway.serving.metrics import Metrics
from reference_gateway.session import Sessions
from reference_gateway.wire import invocations, sse
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.invocations import DONE, Framing, Invocation
from reference_gateway.wire.json_body import require_json

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """`path` is where invocations are taken, below `/v1`; empty is `/v1` itself. The rest are the declared options."""

    path: str = "/invocations"
    stream_flag: str = invocations.STREAM_FLAG[0]
    run_hook: str = RUN_HOOK[0]
    framing: Framing = field(default_factory=Framing)


class InvocationsPlane:
    """Serves the invocations of all sessions; `serve` is an ASGI app that was told the session and the path. `live`
    makes, for a turn without tools, text of ids as they come, where streams are incremental."""

    def __init__(
        self,
        host: Host,
        sessions: Sessions,
        access: Access,
        metrics: Metrics,
        max_body: int,
        settings: Settings | None = None,
        live: Callable[[None, Sequence[str]], LiveText | None] | None = None,
    ) -> None:
        self._host = host
        self._sessions = sessions
        self._access = access
        self._metrics = metrics
        self._max_body = max_body
        self.settings = settings or Settings()
        self._live = live

    def takes(self, path: str) -> bool:
        """Whether a path below `/v1` is this wire's, also one that does not exist below its own."""
        mount = self.settings.path.removesuffix("/invoke")
        if not mount:
            return path.removesuffix("/") == self.settings.path
        return path == mount or path.startswith(f"{mount}/")

    async def serve(self, session_id: str, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        try:
            status = await self._serve(session_id, path, scope, receive, send)
        except HungUp:
            self._metrics.hung_up += 1
            return
        except Exception as error:
            problem = problem_of(error)
            status = problem.status
            _note(session_id, problem)
            body = invocations.error(status, problem.message)
            await respond(send, status, body, [*JSON, *raw(problem.headers)])
        self._metrics.requests[invocations.name, status] += 1

    async def _serve(self, session_id: str, path: str, scope: Scope, receive: Receive, send: Send) -> int:
        self._require_route(path, scope)
        headers = headers_of(scope)
        self._access.require_session(headers, session_id)
        require_json(headers.get("content-type"))
        content = await read_body(receive, headers, self._max_body)
        invocation = invocations.parse(content, self.settings.stream_flag)
        session = self._sessions.get(session_id)
        target = SessionTarget(session, self._metrics.answered, self._text)
        target.require_open()
        request = ChannelRequest(
            input=invocation.message,
            session_key=invocation.session_key,
            stream=invocation.stream,
            attributes={} if invocation.session_id is None else {"session_id": invocation.session_id},
        )
        turn = _Turn(self._host, target, request, invocation, self.settings)
        self._metrics.in_flight += 1
        try:
            if self.settings.run_hook == "before_stream_decision":
                await while_connected(turn.prepare(), receive)
            if turn.request.stream:
                await self._stream(session_id, turn, receive, send)
            else:
                body = invocations.plain(await while_connected(turn.reply(), receive), invocation.session_id)
                await respond(send, 200, body, JSON)
        finally:
            self._metrics.in_flight -= 1
        return 200

    async def _stream(self, session_id: str, turn: _Turn, receive: Receive, send: Send) -> None:
        """Send the frames as they come. What is refused before the first one is raised: it is a status then."""
        frames = turn.frames()
        async with aclosing(frames):
            # The headers wait for the first frame, so that a refusal can still be a status.
            frame = await while_connected(_next(frames), receive)
            await send({"type": "http.response.start", "status": 200, "headers": list(sse.HEADERS)})
            while frame is not None:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                frame = await while_connected(_next(frames), receive)
        if turn.problem is not None:
            _note(session_id, turn.problem)
        await send({"type": "http.response.body", "body": b""})

    def _text(self, stops: Sequence[str]) -> LiveText | None:
        return self._live(None, stops) if self._live else None

    def _require_route(self, path: str, scope: Scope) -> None:
        method = scope["method"]
        if path.removesuffix("/") != self.settings.path:
            raise RequestRefused(f"no such route: {method} {scope['path']}", status=404)
        if method != "POST":
            message = f"method {method} is not allowed here: expected POST"
            raise RequestRefused(message, status=405, headers={"allow": "POST"})


class _Turn:
    """One accepted invocation. `problem` is what ended its stream, if something did."""

    def __init__(
        self, host: Host, target: SessionTarget, request: ChannelRequest, invocation: Invocation, settings: Settings
    ) -> None:
        self.request = request
        self.problem: Problem | None = None
        self._host = host
        self._target = target
        self._invocation = invocation
        self._framing = settings.framing
        self._prepared = False

    async def prepare(self) -> None:
        """Call the run hook, the first time."""
        if not self._prepared:
            self._prepared = True
            self.request = await self._host.prepare(self.request, self._target, self._invocation.body)

    async def reply(self) -> str:
        await self.prepare()
        return await self._host.reply(self.request, self._target)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """All frames, the last one included. A refusal that comes before the first frame is raised."""
        begun = False
        try:
            await self.prepare()
            async with aclosing(self._host.chunks(self.request, self._target)) as chunks:
                async for chunk in chunks:
                    yield self._framing.chunk(chunk)
                    begun = True
            yield DONE
        except Exception as error:
            finalizing = isinstance(error, FinalizeFailed)
            self.problem = problem_of(error.reason if isinstance(error, FinalizeFailed) else error)
            if self.problem.status < 500 and not begun:
                raise
            message = self.problem.message
            yield self._framing.failure(f"finalize failed: {message}" if finalizing else message)


async def _next(frames: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(frames, None)


def _note(session_id: str, problem: Problem) -> None:
    if problem.status >= 500:
        log.warning("invocation failed", extra={"session": session_id, "error": problem.message})
