"""An app that the kit's client asks without a socket, in the thread and the loop in which it is served.

Sockets, and HTTP on both of their ends, are a third of what a check costs. What a client gets this way is what the
server would have given it; requests that a check writes byte by byte, and those after them, still go over sockets, to
the same app.
"""

from __future__ import annotations

import asyncio
import queue
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast
from urllib.parse import unquote

import httpx

from conformance.client.http import Recorder
from tests.mutants.sabotage import App, Message, Receive, Scope, Send

PIECE = 1 << 16
"""So much of a body comes in one message."""
FAILED = b"Internal Server Error"
"""What the server says of an app that ends without an answer."""


class Direct(httpx.BaseTransport):
    """The app around another, which is to be served, and the transport to it."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.loop: asyncio.AbstractEventLoop | None = None
        self.state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.loop, self.state = asyncio.get_running_loop(), scope.get("state", {})
        await self.app(scope, receive, send)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return _Exchange(self, request).answer()


class DirectRecorder(Recorder):
    """The kit's transport, by which an app is asked without a socket. A check that has dialled one itself goes over
    sockets from then on: what happens on them happens in an order."""

    def __init__(self, direct: Direct, timeout: float, trust: ssl.SSLContext | None = None) -> None:
        super().__init__(timeout=timeout, trust=trust)
        self._direct = direct

    def _transport(self, scheme: str) -> httpx.BaseTransport:
        return super()._transport(scheme) if self.sockets else self._direct


class _Exchange(httpx.SyncByteStream):
    """One request and its answer, which is also the stream of the answer's body. What ends in `_there` runs in the
    loop, all else in the client's thread."""

    def __init__(self, direct: Direct, request: httpx.Request) -> None:
        assert direct.loop is not None, "asked before it is served"
        self._app, self._state, self._loop = direct.app, direct.state, direct.loop
        self._request, self._body = request, request.read()
        self._patience: float = request.extensions["timeout"]["read"]
        self._sent: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        """What the app has sent; None when the connection would have been closed."""
        self._gone = asyncio.Event()
        """The client has hung up, or has its answer: nothing more can be sent."""
        self._due: int | None = None
        """Bytes of the body that the app has still to send, if it has said how many."""
        self._left: int | None = None
        """Those that the client has still to read."""
        self._whole = False
        """The client has all of its answer."""

    def answer(self) -> httpx.Response:
        self._loop.call_soon_threadsafe(self._begin_there)
        start = self._next()
        self._left = 0 if self._request.method == "HEAD" else _announced(start)
        return httpx.Response(start["status"], headers=list(start["headers"]), stream=self)

    def __iter__(self) -> Iterator[bytes]:
        last = False
        while not (last if self._left is None else self._left == 0):
            message = self._next()
            body, last = message["body"], not message["more_body"]
            if self._left is not None:
                self._left -= len(body)
            if body:
                yield body
        self._whole = True

    def close(self) -> None:
        """Hang up, if there is anything to come."""
        if not self._whole and not self._gone.is_set():
            self._loop.call_soon_threadsafe(self._gone.set)

    def _next(self) -> Message:
        try:
            message = self._sent.get(timeout=self._patience)
        except queue.Empty:
            self.close()
            raise httpx.ReadTimeout("timed out", request=self._request) from None
        if message is None:
            raise httpx.RemoteProtocolError("the connection was closed within the answer", request=self._request)
        return message

    def _begin_there(self) -> None:
        task = self._loop.create_task(self._run_there())
        _RUNNING.add(task)
        task.add_done_callback(_RUNNING.discard)

    async def _run_there(self) -> None:
        url = self._request.url
        path, _, query = url.raw_path.partition(b"?")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": url.scheme,
            "method": self._request.method,
            "root_path": "",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
            "state": self._state.copy(),
        }
        pieces = [self._body[start : start + PIECE] for start in range(0, len(self._body), PIECE)] or [b""]
        begun = False

        async def receive() -> Message:
            if pieces:
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal begun
            begun = True
            self._send_there(message)

        with suppress(BaseException):  # the server would log it
            await self._app(scope, receive, cast(Send, send))
        if not begun:
            length = str(len(FAILED)).encode()
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
            self._send_there({"type": "http.response.start", "status": 500, "headers": headers})
            self._send_there({"type": "http.response.body", "body": FAILED})
        self._sent.put(None)
        self._gone.set()

    def _send_there(self, message: Message) -> None:
        if self._gone.is_set():
            return
        if message["type"] == "http.response.start":
            self._due = _announced(message)
            self._sent.put(message)
            return
        body, more = message.get("body", b""), bool(message.get("more_body"))
        if self._request.method == "HEAD":
            body, self._due = b"", 0
        elif self._due is not None:
            self._due -= len(body)
            if self._due < 0:
                raise RuntimeError("the body is longer than content-length says")
        if not more and not self._due:
            self._gone.set()
        self._sent.put({"body": body, "more_body": more})
        if not more and self._due:
            raise RuntimeError("the body is shorter than content-length says")


def _announced(start: Message) -> int | None:
    """How long the body is, if the head of the answer says so."""
    return next((int(value) for name, value in start["headers"] if name.lower() == b"content-length"), None)


_RUNNING: set[asyncio.Task[None]] = set()
"""A loop keeps no task alive by itself."""
