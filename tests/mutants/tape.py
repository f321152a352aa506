"""What each check had to do with the unharmed gateway, in the order in which it happened, and the same again.

A `Recorder` stands around the gateway and behind it: it keeps every request, every call of the engine, and how both
ended. `Tape.same` plays a check's tape to another gateway, in this thread and without a socket: the requests come in as
they came, the engine answers as it did. A gateway that gives every answer and makes every call just as on the tape is
one that the check cannot tell from the unharmed.

What a gateway takes from chance and from the clock comes from the tape as well (`Fate`), so that the same is the same
byte for byte.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import aiohttp

from reference_gateway.responses import Responses
from reference_gateway.session import Session, Sessions
from tests.mutants.sabotage import Answer, App, Message, Receive, Scope, Send

PATIENCE = 0.5
"""Seconds that a tape may take. One that stands still that long is not the same."""

_token_hex, _uuid4, _time = secrets.token_hex, uuid.uuid4, time.time


@dataclass(eq=False)
class Fate:
    """Ids and times by the name of a check and a count."""

    name: str
    began: float
    drawn: int = 0

    def draw(self) -> int:
        self.drawn += 1
        return self.drawn

    def digits(self) -> str:
        return blake2b(f"{self.name} {self.draw()}".encode(), digest_size=32).hexdigest()


FATE: ContextVar[Fate | None] = ContextVar("FATE", default=None)
"""Of the request in progress; without one, ids are random and the time is what it is."""


def install() -> None:
    """Put `FATE` where the gateway looks for ids and times. It stays there, and does nothing outside a tape."""

    def token_hex(count: int | None = None) -> str:
        fate = FATE.get()
        return fate.digits()[: 2 * (count or 32)] if fate else _token_hex(count)

    def uuid4() -> uuid.UUID:
        fate = FATE.get()
        return uuid.UUID(fate.digits()[:32]) if fate else _uuid4()

    def clock() -> float:
        fate = FATE.get()
        return fate.began + fate.draw() / 1000 if fate else _time()

    secrets.token_hex, uuid.uuid4, time.time = token_hex, uuid4, clock
    for owner in (Session, Sessions, Responses):
        defaults: dict[str, Any] = owner.__init__.__kwdefaults__  # type: ignore[misc]
        defaults["clock"] = clock


@dataclass(eq=False)
class Request:
    """A request as the server gave it to the gateway, and what the gateway sent."""

    scope: Scope
    received: list[Message] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    ended: str = ""
    """Empty while it runs; then `returned`, or the kind of exception that it ended with."""

    @property
    def answered(self) -> bool:
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")


@dataclass(eq=False)
class Call:
    """A call of the engine: what was sent, and what came back."""

    sent: tuple[str, str, bytes, tuple[tuple[str, str], ...]]
    status: int = 0
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
    began: float = field(default_factory=_time)
    events: list[Event] = field(default_factory=list)
    fate: Fate = field(init=False)

    def __post_init__(self) -> None:
        self.fate = Fate(self.name, self.began)

    @property
    def answers(self) -> Iterator[Answer]:
        """What the gateway answered, as it can be rewritten."""
        for event in self.events:
            if isinstance(event, Answered):
                request = event.request
                asked = b"".join(message.get("body", b"") for message in request.received)
                yield Answer.of(request.scope, asked, request.sent)

    async def same(self, app: App, engine: Engine, whole_bodies: bool = False) -> bool:
        """Does this gateway do what is on the tape? `whole_bodies`: in whatever pieces it sends an answer."""
        return await _Playing(self, app, engine, whole_bodies).same()


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
            if tape is None:
                return await ask(self, method, url, **fields)
            call = Call(_asked(method, url, fields))
            tape.events.append(Called(call))
            try:
                response = await ask(self, method, url, **fields)
                call.status, call.body = response.status, await response.read()
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


class Engine:
    """Stands in for the engine while tapes are played: each call waits until the tape answers it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, asyncio.Future[Call]]] = []
        self.moved: Callable[[], None] = lambda: None

    @contextmanager
    def playing(self) -> Iterator[None]:
        engine = self
        ask = aiohttp.ClientSession._request

        async def answer(_: Any, method: str, url: Any, **fields: Any) -> Any:
            future: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
            engine.calls.append((_asked(method, url, fields), future))
            engine.moved()
            try:
                call = await future
            finally:
                engine.moved()
            if call.error is not None and not call.status:
                raise call.error
            return _Response(call)

        aiohttp.ClientSession._request = answer  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            aiohttp.ClientSession._request = ask  # type: ignore[method-assign]


class _Response:
    """The little of an HTTP client's answer that the gateway uses."""

    def __init__(self, call: Call) -> None:
        self.status = call.status
        self._call = call

    async def read(self) -> bytes:
        if self._call.error is not None:
            raise self._call.error
        return self._call.body

    @property
    async def content(self) -> Any:
        for line in (await self.read()).splitlines(keepends=True):
            yield line

    async def __aenter__(self) -> _Response:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def wait_for_close(self) -> None:
        """Called by the HTTP client."""


def _asked(method: str, url: Any, fields: dict[str, Any]) -> tuple[str, str, bytes, tuple[tuple[str, str], ...]]:
    return method, str(url), fields.get("data") or b"", tuple(sorted((fields.get("headers") or {}).items()))


class _Playing:
    """One tape and one gateway."""

    def __init__(self, tape: Tape, app: App, engine: Engine, whole_bodies: bool) -> None:
        self._tape, self._app, self._engine, self._whole = tape, app, engine, whole_bodies
        self._fate = Fate(tape.name, tape.began)
        self._moved = asyncio.Event()
        self._ours: dict[Request, Request] = {}
        self._tasks: dict[Request, asyncio.Task[None]] = {}
        self._gone: dict[Request, asyncio.Event] = {}
        self._futures: dict[Call, asyncio.Future[Call]] = {}

    async def same(self) -> bool:
        self._engine.calls.clear()
        self._engine.moved = self._moved.set
        try:
            async with asyncio.timeout(PATIENCE):
                for event in self._tape.events:
                    if not await self._happens(event):
                        return False
                for request in self._tasks:
                    if request.ended and not await self._until(lambda ours=self._ours[request]: bool(ours.ended)):
                        return False
        except TimeoutError:
            return False
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._engine.calls:
            return False
        return all(not theirs.ended or theirs.ended == self._ours[theirs].ended for theirs in self._tasks)

    async def _happens(self, event: Event) -> bool:
        match event:
            case Came(request):
                self._come(request)
                if len(self._busy) > 1:
                    await self._settle()
                return True
            case Answered(request):
                ours = self._ours[request]
                return await self._until(lambda: ours.answered) and self._alike(request, ours)
            case HungUp(request):
                self._gone[request].set()
                await self._settle()
                return True
            case Called(call):
                return await self._until(lambda: self._take(call))
            case Returned(call):
                future = self._futures[call]
                if call.cancelled:
                    return await self._until(future.cancelled)
                if not future.done():
                    future.set_result(call)
                if len(self._busy) > 1:
                    await self._settle()
                return True

    @property
    def _busy(self) -> list[Request]:
        return [ours for ours in self._ours.values() if not ours.ended]

    def _come(self, request: Request) -> None:
        ours = self._ours[request] = Request(dict(request.scope))
        gone = self._gone[request] = asyncio.Event()
        waiting = iter(list(request.received))

        async def receive() -> Message:
            for message in waiting:
                ours.received.append(message)
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            ours.sent.append(message)
            self._moved.set()

        async def run() -> None:
            FATE.set(self._fate)
            try:
                await self._app(dict(request.scope), receive, send)
                ours.ended = "returned"
            except BaseException as error:
                ours.ended = type(error).__name__
            finally:
                self._moved.set()

        self._tasks[request] = asyncio.get_running_loop().create_task(run())

    def _take(self, call: Call) -> bool:
        for place, (sent, future) in enumerate(self._engine.calls):
            if sent == call.sent:
                self._futures[call] = future
                del self._engine.calls[place]
                return True
        return False

    async def _until(self, happened: Callable[[], bool]) -> bool:
        while not happened():
            busy = len(self._busy)
            if busy <= (1 if self._engine.calls else 0):
                return False  # whoever could do it is done, or waits for an answer that is not on the tape
            self._moved.clear()
            await self._moved.wait()
        return True

    async def _settle(self) -> None:
        """Let every request go as far as it gets by itself."""
        for _ in range(20):
            await _pass()

    def _alike(self, theirs: Request, ours: Request) -> bool:
        if not self._whole:
            return theirs.sent == ours.sent
        return (_head(theirs), _body(theirs)) == (_head(ours), _body(ours))


class _Pass:
    def __await__(self) -> Iterator[None]:
        yield


async def _pass() -> None:
    """One turn of the loop for everybody else."""
    await _Pass()


def _head(request: Request) -> tuple[int, list[tuple[bytes, bytes]]]:
    start = request.sent[0]
    return start["status"], list(start["headers"])


def _body(request: Request) -> bytes:
    return b"".join(message.get("body", b"") for message in request.sent[1:])


__all__ = ["FATE", "Engine", "Recorder", "Tape", "install"]
