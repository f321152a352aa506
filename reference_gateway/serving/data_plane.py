"""The routes that agents call: `/sessions/{session_id}/v1/...`, one wire for each.

Knows which wire serves which path, and the order of a turn: key, body, session, gates, then the session's own work. It
is plain ASGI, since nothing here needs a framework and every turn pays for one.

Invariants: a turn is committed before the first byte of its answer is sent (contract UA-SSE-06), or, where streams are
incremental, before its terminal frame; a request that is refused has not reached the session; a client that hangs up
before its turn is committed leaves no trace.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.types import Receive, Scope, Send

from reference_gateway.serving.access import Access
from reference_gateway.serving.errors import problem_of
from reference_gateway.serving.http import (
    JSON,
    HungUp,
    RawHeaders,
    headers_of,
    raw,
    read_body,
    respond,
    while_connected,
)
from reference_gateway.serving.live import Relay, Text
from reference_gateway.serving.live_responses import LiveTexts
from reference_gateway.serving.metrics import Metrics
from reference_gateway.serving.responses_plane import ResponsesPlane, methods_of
from reference_gateway.session import Session, Sessions
from reference_gateway.wire import anthropic_messages, models, openai_chat, openai_responses, sse
from reference_gateway.wire.base import Policy, RequestRefused, Wire, WireRequest
from reference_gateway.wire.json_body import read_object, require_json

log = logging.getLogger(__name__)

OPENAI: Wire = openai_chat
ANTHROPIC: Wire = anthropic_messages
WIRES: Mapping[str, Wire] = {"/chat/completions": OPENAI, "/messages": ANTHROPIC}
"""Path below `/sessions/{session_id}/v1` -> the wire whose turns are taken there."""
COUNT_TOKENS, MODELS = "/messages/count_tokens", "/models"
METHODS: Mapping[str, tuple[str, ...]] = {**dict.fromkeys((*WIRES, COUNT_TOKENS), ("POST",)), MODELS: ("GET",)}
"""Path -> the methods that it takes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request of the data plane goes: a session, and a path below its `/v1`."""

    session_id: str
    path: str


def locate(path: str) -> Place | None:
    """The place that a URL's path names; None for every path outside the data plane."""
    parts = path.split("/", 4)
    if len(parts) < 4 or parts[1] != "sessions" or parts[3] != "v1":
        return None
    return Place(parts[2], "/" + parts[4] if len(parts) == 5 else "")


def envelope_of(path: str) -> Wire:
    """The wire in whose envelope a path is refused, also a path that does not exist (contract UA-ERR-05, UA-RT-06)."""
    return ANTHROPIC if f"{path}/".startswith("/messages/") else OPENAI


class DataPlane:
    """Serves the requests of all sessions; `serve` is an ASGI app that was told the place. `model` is what the list of
    models names."""

    def __init__(
        self,
        sessions: Sessions,
        access: Access,
        metrics: Metrics,
        policy: Policy,
        responses: ResponsesPlane,
        max_body: int,
        model: str | None = None,
        live: LiveTexts | None = None,
    ) -> None:
        self._sessions = sessions
        self._access = access
        self._metrics = metrics
        self._policy = policy
        self._responses = responses
        self._max_body = max_body
        self._model = model or "default"
        self._live = live

    async def serve(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens, in the envelope of the path that it was sent to. A slash may end it."""
        place = Place(place.session_id, place.path.removesuffix("/"))
        wire, of_responses = envelope_of(place.path), methods_of(place.path) is not None
        headers: RawHeaders = JSON
        try:
            _require_route(place.path, scope)
            if of_responses:
                answer = await self._respond(place, scope, receive, send)
            else:
                answer = await self._answer(wire, place, scope, receive, send)
            if answer is None:
                return
            status, (body, headers) = 200, answer
        except HungUp:
            self._metrics.hung_up += 1
            return
        except Exception as error:
            problem = problem_of(error)
            status, body = problem.status, wire.error(problem.status, problem.message)
            headers = [*JSON, *raw(problem.headers)]
            if status >= 500:
                about = {"session": place.session_id, "error": problem.message}
                log.warning("turn failed", extra=about)
        self._metrics.requests[openai_responses.name if of_responses else wire.name, status] += 1
        await respond(send, status, body, headers)

    async def _answer(
        self, wire: Wire, place: Place, scope: Scope, receive: Receive, send: Send
    ) -> tuple[bytes, RawHeaders] | None:
        """The answer; None when it left as it was made."""
        headers = headers_of(scope)
        self._access.require_session(headers, place.session_id)
        if place.path == MODELS:
            self._sessions.get(place.session_id)
            return models.listed(self._model), JSON
        require_json(headers.get("content-type"))
        body = read_object(await read_body(receive, headers, self._max_body))
        session = self._sessions.get(place.session_id)
        request = wire.parse(body, headers, self._policy)
        if place.path == COUNT_TOKENS:
            return anthropic_messages.counted(session.count(request.turn)), JSON
        text = self._text(session, request) if request.stream else None
        self._metrics.in_flight += 1
        try:
            if text is not None:
                await self._follow(wire, session, request, text, receive, send)
                return None
            answer = await while_connected(session.run(request.turn), receive)
        finally:
            self._metrics.in_flight -= 1
        self._metrics.answered(answer)
        if request.stream:
            return b"".join(wire.stream(answer, request)), sse.HEADERS
        return wire.plain(answer, request), JSON

    def _text(self, session: Session, request: WireRequest) -> Text | None:
        """Makes text of the turn's ids as they come; None where its answer is sent when it is whole."""
        if self._live is None:
            return None
        return self._live(request.turn.tools, session.stop_strings(request.turn.sampling))

    async def _follow(
        self, wire: Wire, session: Session, request: WireRequest, text: Text, receive: Receive, send: Send
    ) -> None:
        relay = Relay(wire.live(request), text)
        turn = session.run(replace(request.turn, progress=relay))

        def problem(error: Exception) -> tuple[int, str]:
            failure = problem_of(error)
            log.warning("turn failed in its stream", extra={"session": session.session_id, "error": failure.message})
            return failure.status, failure.message

        answer = await while_connected(relay.follow(turn, send, sse.HEADERS, problem), receive)
        self._metrics.requests[wire.name, 200] += 1
        if answer is not None:
            self._metrics.answered(answer)

    async def _respond(
        self, place: Place, scope: Scope, receive: Receive, send: Send
    ) -> tuple[bytes, RawHeaders] | None:
        """A request of the Responses wire, whose answers lean on what the session keeps of its conversations; None when
        the answer left as it was made."""
        headers = headers_of(scope)
        self._access.require_session(headers, place.session_id)
        if scope["method"] == "GET":
            return self._responses.read(self._sessions.get(place.session_id), place.path, scope["query_string"])
        if scope["method"] == "DELETE":
            return await self._responses.delete(self._sessions.get(place.session_id), place.path)
        require_json(headers.get("content-type"))
        body = read_object(await read_body(receive, headers, self._max_body))
        session = self._sessions.get(place.session_id)
        self._metrics.in_flight += 1
        try:
            answer = await while_connected(self._responses.write(session, place.path, body, headers, send), receive)
        finally:
            self._metrics.in_flight -= 1
        if answer is None:
            self._metrics.requests[openai_responses.name, 200] += 1
        return answer


def _require_route(path: str, scope: Scope) -> None:
    method = scope["method"]
    allowed = METHODS.get(path) or methods_of(path)
    if not allowed or method == "HEAD":  # agents probe with HEAD, and nothing is here for it (contract UA-RT-07)
        raise RequestRefused(f"no such route: {method} {scope['path']}", status=404)
    if method not in allowed:
        message = f"method {method} is not allowed here: expected {' or '.join(allowed)}"
        raise RequestRefused(message, status=405, headers={"allow": ", ".join(allowed)})
