"""Plays a tape to another gateway, in this thread and without a socket.

The requests come in as they came, the engine answers as it did. A gateway that gives every answer and makes every call
just as on the tape is one that the check cannot tell from the unharmed.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import aiohttp

from tests.mutants.fate import FATE, Fate
from tests.mutants.looks import alike
from tests.mutants.sabotage import App, Message
from tests.mutants.tape import (
    Answered,
    Asked,
    Call,
    Called,
    Came,
    Content,
    Event,
    HungUp,
    Request,
    Returned,
    Tape,
    asked,
)

PATIENCE = 1.0
"""Seconds that a tape may take. One that stands still is given up at once, unless the gateway waits for less."""
CLOSE = 0.01
"""Seconds before the end of patience that are its end: a wait that long is the tape's own."""


async def same(tape: Tape, app: App, engine: Engine, whole_bodies: bool = False) -> bool:
    """Does this gateway do what is on the tape? `whole_bodies`: in whatever pieces it sends an answer. Runs in a
    `Loop`."""
    return await _Playing(tape, app, engine, whole_bodies).same()


class Loop(asyncio.SelectorEventLoop):
    """The event loop in which tapes are played. It knows when nothing can happen any more: all that happens is in it,
    and what the gateway gives to threads is done on the spot."""

    def __init__(self) -> None:
        self._waits = _Selector()
        super().__init__(self._waits)
        self.set_default_executor(_OnTheSpot())

    async def happens(self, event: asyncio.Event, until: float) -> bool:
        """Wait for the event. False as soon as it cannot happen before `until`, by this loop's clock."""
        stands_still = False

        def give_up() -> None:
            nonlocal stands_still
            stands_still = True
            event.set()

        self._waits.until, self._waits.give_up = until, give_up
        try:
            await event.wait()
        finally:
            self._waits.until = None
        return not stands_still


class _Selector(selectors.DefaultSelector):
    """Gives up when the loop has nothing to do `until` then."""

    until: float | None = None
    give_up: Callable[[], None]

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.until is not None and (timeout is None or time.monotonic() + timeout > self.until - CLOSE):
            self.until = None
            self.give_up()
            return events
        return super().select(timeout)


class _OnTheSpot(ThreadPoolExecutor):
    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Engine:
    """Stands in for the engine while tapes are played: each call waits until the tape answers it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Asked, asyncio.Future[Call]]] = []
        self.moved: Callable[[], None] = lambda: None
        self.fate: Fate | None = None
        """Of the tape that is played; calls that others have left to run are never answered."""
        self._waiting: set[asyncio.Future[Call]] = set()

    @contextmanager
    def playing(self) -> Iterator[None]:
        engine = self
        ask = aiohttp.ClientSession._request

        async def answer(_: Any, method: str, url: Any, **fields: Any) -> Any:
            future: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
            engine._waiting.add(future)
            future.add_done_callback(engine._waiting.discard)
            if FATE.get() is not engine.fate:
                await future
            engine.calls.append((asked(method, url, fields), future))
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

    def leave(self) -> None:
        """Cancel the calls that were never answered, so that none waits for them any more."""
        for future in list(self._waiting):
            future.cancel()


class _Response:
    """The little of an HTTP client's answer that the gateway uses."""

    def __init__(self, call: Call) -> None:
        self.status, self.headers = call.status, call.headers
        self.content = Content(call)

    async def __aenter__(self) -> _Response:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def wait_for_close(self) -> None:
        """Called by the HTTP client."""


class _Playing:
    """One tape and one gateway."""

    def __init__(self, tape: Tape, app: App, engine: Engine, whole_bodies: bool) -> None:
        self._tape, self._app, self._engine, self._whole = tape, app, engine, whole_bodies
        self._loop = cast(Loop, asyncio.get_running_loop())
        self._gives_up = self._loop.time() + PATIENCE
        self._fate = Fate(tape.name, tape.began)
        self._moved = asyncio.Event()
        self._ours: dict[Request, Request] = {}
        self._tasks: dict[Request, asyncio.Task[None]] = {}
        self._gone: dict[Request, asyncio.Event] = {}
        self._futures: dict[Call, asyncio.Future[Call]] = {}

    async def same(self) -> bool:
        self._engine.calls.clear()
        self._engine.moved, self._engine.fate = self._moved.set, self._fate
        try:
            async with asyncio.timeout_at(self._gives_up):
                for event in self._tape.events:
                    if not await self._happens(event):
                        return False
                for request in self._tasks:
                    if request.ended and not await self._ends(self._ours[request]):
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

        self._tasks[request] = self._loop.create_task(run())

    def _take(self, call: Call) -> bool:
        for place, (sent, future) in enumerate(self._engine.calls):
            if sent == call.sent:
                self._futures[call] = future
                del self._engine.calls[place]
                return True
        return False

    async def _until(self, happened: Callable[[], bool]) -> bool:
        while not happened():
            self._moved.clear()
            if not await self._loop.happens(self._moved, self._gives_up):
                return False
        return True

    async def _ends(self, ours: Request) -> bool:
        return await self._until(lambda: bool(ours.ended))

    async def _settle(self) -> None:
        """Let every request go as far as it gets by itself."""
        for _ in range(20):
            await _pass()

    def _alike(self, theirs: Request, ours: Request) -> bool:
        if theirs.sent == ours.sent:
            return True
        looked = None if _is_stream(theirs) else theirs.looked
        if looked is None and not self._whole:
            return False
        return _head(theirs) == _head(ours) and alike(looked, _body(theirs), _body(ours))


class _Pass:
    def __await__(self) -> Generator[None, None, None]:
        yield


async def _pass() -> None:
    """One turn of the loop for everybody else."""
    await _Pass()


def _head(request: Request) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Status and headers; the length of the body only where it is another than the body has."""
    start, length = request.sent[0], (b"content-length", str(len(_body(request))).encode())
    return start["status"], [each for each in start["headers"] if (each[0].lower(), each[1]) != length]


def _is_stream(request: Request) -> bool:
    return any(value.startswith(b"text/event-stream") for _, value in request.sent[0]["headers"])


def _body(request: Request) -> bytes:
    return b"".join(message.get("body", b"") for message in request.sent[1:])
