"""What each check had to do with the unharmed gateway, in the order in which it happened.

A `Recorder` stands around the gateway and behind it: it keeps every request, every call of the engine, and how both
ended. What the gateway takes from chance and from the clock comes from `fate` meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import orjson

from conformance.client.transcript import Exchange
from tests.mutants.fate import FATE, Fate
from tests.mutants.looks import Looked
from tests.mutants.sabotage import Answer, App, Message, Receive, Scope, Send

Asked = tuple[str, str, bytes, tuple[tuple[str, str], ...]]
"""A call of the engine: method, URL, body, headers."""


@dataclass(eq=False)
class Request:
    """A request as the server gave it to the gateway, and what the gateway sent."""

    scope: Scope
    received: list[Message] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    ended: str = ""
    """Empty while it runs; then `returned`, or the kind of exception that it ended with."""
    looked: Looked = None
    """What the check looks at in a plain answer."""

    @property
    def answered(self) -> bool:
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")


@dataclass(eq=False)
class Call:
    """A call of the engine: what was sent, and what came back."""

    sent: tuple[str, str, bytes, tuple[tuple[str, str], ...]]
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: BaseException | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Came:
    request: Request


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    request: Request


@dataclass(frozen=True, slots=True, eq=False)
class HungUp:
    request: Request


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    call: Call


@dataclass(frozen=True, slots=True, eq=False)
class Returned:
    call: Call


Event = Came | Answered | HungUp | Called | Returned


@dataclass(eq=False)
class Tape:
    """What happened in one check."""

    name: str
    began: float = field(default_factory=time.time)
    events: list[Event] = field(default_factory=list)
    fate: Fate = field(init=False)

    def __post_init__(self) -> None:
        self.fate = Fate(self.name, self.began)

    @cached_property
    def answers(self) -> list[tuple[Request, Answer]]:
        """What the gateway answered, as it can be rewritten."""
        return [(event.request, _answer(event.request)) for event in self.events if isinstance(event, Answered)]

    def looked_at(self, looks: Iterable[tuple[Exchange, Looked]]) -> None:
        """Keep with each request what the check looks at in its answer: for requests that are the same, in any of
        theirs. One of which nothing is said may be looked at anywhere."""
        said: dict[object, list[Looked]] = {}
        for exchange, looked in looks:
            url = urlsplit(exchange.url)
            sent = exchange.method, unquote(url.path), url.query.encode(), exchange.request_body
            said.setdefault(sent, []).append(looked)
        came: dict[object, list[Request]] = {}
        for event in self.events:
            if isinstance(event, Came):
                scope, body = event.request.scope, _body(event.request.received)
                came.setdefault((scope["method"], scope["path"], scope["query_string"], body), []).append(event.request)
        for sent, requests in came.items():
            known = said.get(sent, [])
            if len(known) == len(requests) and None not in known:
                for request in requests:
                    request.looked = frozenset().union(*filter(None, known))


class Recorder:
    """Fills the tape of the check that is running."""

    def __init__(self) -> None:
        self.tapes: dict[str, Tape] = {}
        self.tape: Tape | None = None

    def begin(self, name: str) -> None:
        """This check runs from now on."""
        self.tape = self.tapes[name] = Tape(name)

    def end(self) -> None:
        """What happens from now on is on no tape."""
        self.tape = None

    def around(self, app: App) -> App:
        """The gateway, recorded."""

        async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
            tape = self.tape
            if scope["type"] != "http" or tape is None:
                await app(scope, receive, send)
                return
            FATE.set(tape.fate)
            request = Request(dict(scope))
            tape.events.append(Came(request))

            async def listen() -> Message:
                message = await receive()
                if message["type"] == "http.request":
                    request.received.append(message)
                elif not request.answered:
                    tape.events.append(HungUp(request))
                return message

            async def tell(message: Message) -> None:
                request.sent.append(message)
                if request.answered:
                    tape.events.append(Answered(request))
                await send(message)

            try:
                await app(scope, listen, tell)
            except BaseException as error:
                request.ended = type(error).__name__
                raise
            request.ended = "returned"

        return recorded

    @contextmanager
    def engine(self) -> Iterator[None]:
        """Records the calls of the engine while the block runs."""
        ask = aiohttp.ClientSession._request
        recorder = self

        async def recorded(self: Any, method: str, url: Any, **fields: Any) -> Any:
            tape = recorder.tape
            if tape is None or FATE.get() is not tape.fate:  # what an earlier check has left to run calls, too
                return await ask(self, method, url, **fields)
            call = Call(asked(method, url, fields))
            tape.events.append(Called(call))
            try:
                response = await ask(self, method, url, **fields)
                call.status, call.headers = response.status, response.headers
                call.body = await response.read()
                response.content = Content(call)  # what was read is read again
            except BaseException as error:
                call.error, call.cancelled = error, isinstance(error, asyncio.CancelledError)
                raise
            finally:
                tape.events.append(Returned(call))
            return response

        aiohttp.ClientSession._request = recorded  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            aiohttp.ClientSession._request = ask  # type: ignore[method-assign]


class Content:
    """The body of an answer of the engine, as the gateway reads it."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def exception(self) -> Exception:
        """What the HTTP client asks for when it is done with an answer: this one is no stream of its own."""
        return EOFError("the answer was read")

    async def iter_any(self) -> AsyncIterator[bytes]:
        if self._call.error is not None:
            raise self._call.error
        for line in self._call.body.splitlines(keepends=True):
            yield line


def _answer(request: Request) -> Answer:
    return Answer.of(request.scope, _body(request.received), request.sent)


def _body(messages: Sequence[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


def asked(method: str, url: Any, fields: dict[str, Any]) -> Asked:
    """The call that these arguments of the HTTP client make."""
    body = fields.get("data") or (orjson.dumps(fields["json"]) if "json" in fields else b"")
    return method, str(url), body, tuple(sorted((fields.get("headers") or {}).items()))
