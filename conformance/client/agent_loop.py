"""A small client-side agent: it drives Conversations and Responses, runs the client's tools, and shows turns as events.

    agent = Agent("http://127.0.0.1:8000/v1", "model", tools=[get_weather])
    session_id = agent.create_session("demo")
    for chunk in agent.turn("How is the weather in Rome?", session_id=session_id):
        print(chunk.event)

`Agent` and `AsyncAgent` show the same events in the same order. A session is a conversation on the server: no history
is sent again, and an agent keeps nothing of a session, so that sessions never mix. Whatever happens on the way, a turn
ends with one TurnCompleted or one TurnFailed, and no exception.

Knows HTTP and the loop around `oracles.turns.Turn`; never how events are made of a stream.

Source: contract LS-REQ-01..05, -08, LS-ERR-05, LS-EVT-10, LS-LIM-01.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from conformance.client.agent_tools import Tool, Tools
from conformance.oracles.sse import DONE, SSEParser
from conformance.oracles.turns import Finished, FollowUp, NextEvent, RunTools, Turn, TurnEvent
from conformance.oracles.turns_events import TurnCompleted
from conformance.oracles.wording import parse_json

TIMEOUT = httpx.Timeout(10, read=600)
"""Seconds. A model may think for long before its first byte."""

MAX_ROUNDS = 50

_TRANSPORT = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of a turn. `response` is the raw response object of the last response, with TurnCompleted only."""

    event: TurnEvent
    response: dict[str, Any] | None = None


class TurnDidNotComplete(RuntimeError):
    """A turn that was run to its end, and failed."""


class _Loop:
    """What both agents share: everything but the waiting."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        instructions: str | None = None,
        tools: Iterable[Tool] = (),
        headers: Mapping[str, str] | None = None,
        max_rounds: int = MAX_ROUNDS,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.model = model
        self.instructions = instructions
        self.tools = Tools(tools)
        self.headers = dict(headers or {})
        self.max_rounds = max_rounds

    def _turn(self, session_id: str) -> Turn:
        if not isinstance(session_id, str) or not session_id:
            raise ValueError("a turn needs the session_id that create_session gave")
        return Turn(session_id, self.tools.names, max_rounds=self.max_rounds)

    def _request(self, turn: Turn, input: str | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        body = {
            "model": self.model,
            "instructions": self.instructions,
            "conversation": turn.session_id,
            "input": input,
            "tools": self.tools.described,
            "stream": True,
        }
        return {key: value for key, value in body.items() if value is not None}


class Agent(_Loop):
    """The agent that waits. `base_url` ends before `/conversations` and `/responses`; `headers` go with every request,
    the key of the gateway among them. `client` is used as it is, and left open."""

    def __init__(self, base_url: str, model: str, *, client: httpx.Client | None = None, **settings: Any) -> None:
        super().__init__(base_url, model, **settings)
        self._client = client or httpx.Client(timeout=TIMEOUT)
        self._owned = client is None

    def create_session(self, name: str) -> str:
        """Open a conversation, and say its id. Raises httpx.HTTPError where the server refuses."""
        answer = self._client.post(
            f"{self.base_url}/conversations", json={"metadata": {"name": name}}, headers=self.headers
        )
        return _conversation_id(answer)

    def turn(self, input: str | Sequence[Mapping[str, Any]], *, session_id: str) -> Iterator[Chunk]:
        """One turn, as it happens."""
        turn = self._turn(session_id)
        return self._chunks(turn, input)

    def run(self, input: str | Sequence[Mapping[str, Any]], *, session_id: str) -> dict[str, Any]:
        """One turn to its end: the last response object. Raises TurnDidNotComplete."""
        return _completed([*self.turn(input, session_id=session_id)])

    def close(self) -> None:
        if self._owned:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _chunks(self, turn: Turn, input: str | Sequence[Mapping[str, Any]]) -> Iterator[Chunk]:
        while not isinstance(turn.wants, Finished):
            if isinstance(turn.wants, RunTools):
                events = turn.answer([self.tools.run(call) for call in turn.wants.calls])
                yield from _chunked(turn, events)
            else:
                sent = turn.wants.input if isinstance(turn.wants, FollowUp) else input
                yield from self._respond(turn, self._request(turn, sent))

    def _respond(self, turn: Turn, body: dict[str, Any]) -> Iterator[Chunk]:
        """Send a request, and show what its stream does to the turn."""
        parser = SSEParser()
        try:
            with self._client.stream("POST", f"{self.base_url}/responses", json=body, headers=self.headers) as answer:
                if problem := _refused(answer):
                    answer.read()
                    yield from _chunked(turn, turn.fail(_error_message(answer) or problem))
                for piece in answer.iter_bytes() if not problem else ():
                    for raw in _raw_events(parser, piece):
                        yield from _chunked(turn, turn.feed(raw))
                    if not isinstance(turn.wants, NextEvent | FollowUp):
                        break
        except _TRANSPORT as error:
            yield from _chunked(turn, turn.fail(f"{type(error).__name__}: {error}"))
        yield from _chunked(turn, turn.end_of_stream())


class AsyncAgent(_Loop):
    """The same agent for asyncio, with the same events. Its tools may be coroutine functions."""

    def __init__(self, base_url: str, model: str, *, client: httpx.AsyncClient | None = None, **settings: Any) -> None:
        super().__init__(base_url, model, **settings)
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT)
        self._owned = client is None

    async def create_session(self, name: str) -> str:
        """Open a conversation, and say its id. Raises httpx.HTTPError where the server refuses."""
        answer = await self._client.post(
            f"{self.base_url}/conversations", json={"metadata": {"name": name}}, headers=self.headers
        )
        return _conversation_id(answer)

    def turn(self, input: str | Sequence[Mapping[str, Any]], *, session_id: str) -> AsyncIterator[Chunk]:
        """One turn, as it happens."""
        turn = self._turn(session_id)
        return self._chunks(turn, input)

    async def run(self, input: str | Sequence[Mapping[str, Any]], *, session_id: str) -> dict[str, Any]:
        """One turn to its end: the last response object. Raises TurnDidNotComplete."""
        return _completed([chunk async for chunk in self.turn(input, session_id=session_id)])

    async def close(self) -> None:
        if self._owned:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _chunks(self, turn: Turn, input: str | Sequence[Mapping[str, Any]]) -> AsyncIterator[Chunk]:
        while not isinstance(turn.wants, Finished):
            if isinstance(turn.wants, RunTools):
                events = turn.answer([await self.tools.run_async(call) for call in turn.wants.calls])
                for chunk in _chunked(turn, events):
                    yield chunk
            else:
                sent = turn.wants.input if isinstance(turn.wants, FollowUp) else input
                async for chunk in self._respond(turn, self._request(turn, sent)):
                    yield chunk

    async def _respond(self, turn: Turn, body: dict[str, Any]) -> AsyncIterator[Chunk]:
        """Send a request, and show what its stream does to the turn."""
        parser = SSEParser()
        request = self._client.build_request("POST", f"{self.base_url}/responses", json=body, headers=self.headers)
        answer = None
        try:
            answer = await self._client.send(request, stream=True)
            if problem := _refused(answer):
                await answer.aread()
                for chunk in _chunked(turn, turn.fail(_error_message(answer) or problem)):
                    yield chunk
            else:
                async for piece in answer.aiter_bytes():
                    for raw in _raw_events(parser, piece):
                        for chunk in _chunked(turn, turn.feed(raw)):
                            yield chunk
                    if not isinstance(turn.wants, NextEvent | FollowUp):
                        break
        except _TRANSPORT as error:
            for chunk in _chunked(turn, turn.fail(f"{type(error).__name__}: {error}")):
                yield chunk
        finally:
            if answer is not None:
                await answer.aclose()
        for chunk in _chunked(turn, turn.end_of_stream()):
            yield chunk


def _chunked(turn: Turn, events: Iterable[TurnEvent]) -> Iterator[Chunk]:
    for event in events:
        yield Chunk(event, turn.response if isinstance(event, TurnCompleted) else None)


def _completed(chunks: Sequence[Chunk]) -> dict[str, Any]:
    last = chunks[-1]
    if not isinstance(last.event, TurnCompleted):
        raise TurnDidNotComplete(f"Turn did not complete: {getattr(last.event, 'error_message', 'no reason given')}")
    return last.response or {}


def _raw_events(parser: SSEParser, piece: bytes) -> Iterator[dict[str, Any]]:
    for event in parser.feed(piece):
        raw, _ = parse_json(event.data)
        if event.data != DONE and isinstance(raw, dict):
            yield raw


def _refused(answer: httpx.Response) -> str:
    """Why an answer is no stream; nothing where it is one."""
    if answer.status_code != 200:
        return f"The server answered with status {answer.status_code}"
    kind = answer.headers.get("content-type", "")
    return "" if kind.startswith("text/event-stream") else f"The server answered with {kind or 'no content type'}"


def _error_message(answer: httpx.Response) -> str:
    document, _ = parse_json(answer.text)
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


def _conversation_id(answer: httpx.Response) -> str:
    answer.raise_for_status()
    document, _ = parse_json(answer.text)
    conversation_id = document.get("id") if isinstance(document, dict) else None
    if not isinstance(conversation_id, str) or not conversation_id:
        raise httpx.DecodingError("the conversation has no id", request=answer.request)
    return conversation_id
