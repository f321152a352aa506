"""One connection of a gateway.

Knows requests as HTTP/1.1, parsed by httptools; what a call says is for `recording`. Invariants: a gateway's connection
has one connection to the engine, which is closed when the gateway's is and closes it when the engine does, so that
each side sees what it would see of the other; what comes is passed on as it comes; who reads slowly is waited for;
hop-by-hop headers end here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from ssl import SSLContext
from typing import cast

import httptools
import orjson

from conformance.recorded.recorder.engine import EngineSide
from conformance.recorded.recorder.message import MAX_HEAD, Headers, Request, chunk, end_to_end
from conformance.recorded.recorder.recording import Ledger, Recording, route_of
from conformance.upstream.ledger import ABORTED, FAILED

MAX_BODY = 256 * 1024 * 1024
"""Bytes of a recorded request's body, at most."""
CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the engine is. `prefix` stands in front of every path."""

    url: str
    host: str
    port: int
    authority: bytes
    prefix: bytes = b""
    tls: SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Recorder:
    """What all connections share. `passive`: the engine is asked for nothing that the gateway does not ask for. `open`
    are the connections that there are."""

    engine: Engine
    ledger: Ledger
    passive: bool = False
    open: set[Caller] = field(default_factory=set)


class Caller(asyncio.Protocol):
    """The gateway's side."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[Request] = deque()
        self._engine: EngineSide | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closing = False

    # from the gateway -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._recorder.open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # no other protocol is spoken here: the request stays one
            self._parser = httptools.HttpRequestParser(self)
            if rest := data[upgrade.args[0] :]:
                self.data_received(rest)
        except httptools.HttpParserError as error:
            self.refuse(400, f"this is no HTTP/1.1 request: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._recorder.open.discard(self)
        if self._requests and (recording := self._requests[0].recording) is not None:
            recording.hung_up()
        self._requests.clear()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._engine is not None:
            self._engine.close()

    def pause_writing(self) -> None:
        if self._engine is not None:
            self._engine.pause_reading()

    def resume_writing(self) -> None:
        if self._engine is not None:
            self._engine.resume_reading()

    # callbacks of the parser ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._target, self._head_size = b"", 0
        self._headers: Headers = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            self.refuse(400, "the headers are too long")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._closing:
            return
        method, modern = self._parser.get_method(), self._parser.get_http_version() != "1.0"
        path, _, _ = self._target.partition(b"?")
        fields = {name.lower(): value for name, value in self._headers}
        length = fields.get(b"content-length")
        request = Request(
            method,
            self._target,
            self._headers,
            keep=modern and self._parser.should_keep_alive(),
            chunks=modern,
            recorded=route_of(method, path) is not None and b"content-encoding" not in fields,
            length=int(length) if length is not None else None,
            chunked=b"transfer-encoding" in fields,
        )
        if fields.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._requests.append(request)
        if len(self._requests) == 1:
            self._begin(request)

    def on_body(self, data: bytes) -> None:
        if not self._requests:  # it was refused
            return
        request = self._requests[-1]
        if request is self._requests[0] and not request.recorded:
            self._send(chunk(data) if request.chunked else data)
            return
        request.body.append(data)
        request.size += len(data)
        if request.size > MAX_BODY:
            self.refuse(413, f"the body has more than {MAX_BODY} bytes")

    def on_message_complete(self) -> None:
        if not self._requests:
            return
        request = self._requests[-1]
        request.whole = True
        if request is self._requests[0]:
            self._complete(request)

    # to the engine ----------------------------------------------------------------------------------------------------

    def _begin(self, request: Request) -> None:
        """The request is the one that is exchanged now."""
        if request.recorded:
            return
        framing = b""
        if request.chunked:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif request.length is not None:
            framing = b"Content-Length: %d\r\n" % request.length
        self._send(self._head(request, framing))
        for piece in request.body:
            self._send(chunk(piece) if request.chunked else piece)
        request.body.clear()

    def _complete(self, request: Request) -> None:
        """Its body is whole."""
        if not request.recorded:
            if request.chunked:
                self._send(b"0\r\n\r\n")
            return
        body = b"".join(request.body)
        request.body.clear()
        path = request.target.partition(b"?")[0]
        if (route := route_of(request.method, path)) is not None:
            request.recording = Recording.of(
                self._recorder.ledger, route, body, request.headers, self._recorder.passive
            )
        if request.recording is not None:
            body = request.recording.body
        self._send(self._head(request, b"Content-Length: %d\r\n" % len(body)) + body)

    def _head(self, request: Request, framing: bytes) -> bytes:
        engine = self._recorder.engine
        # What is read here must not come compressed.
        left_out = {b"accept-encoding"} if request.recorded else set[bytes]()
        lines = [
            b"%b %b%b HTTP/1.1\r\nHost: %b\r\n" % (request.method, engine.prefix, request.target, engine.authority)
        ]
        lines += [b"%b: %b\r\n" % header for header in end_to_end(request.headers) if header[0].lower() not in left_out]
        return b"".join([*lines, framing, b"\r\n"])

    def _send(self, data: bytes) -> None:
        if self._closing:
            return
        if self._engine is None:
            self._engine = EngineSide(self)
            self._connecting = asyncio.get_running_loop().create_task(self._connect(self._engine))
        self._engine.send(data)

    async def _connect(self, side: EngineSide) -> None:
        engine = self._recorder.engine
        try:
            connecting = asyncio.get_running_loop().create_connection(
                lambda: side, engine.host, engine.port, ssl=engine.tls
            )
            await asyncio.wait_for(connecting, CONNECT_S)
        except (OSError, TimeoutError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
            message = f"the recorder reaches no engine at {engine.url}: {why}"
            if self._requests and (recording := self._requests[0].recording) is not None:
                recording.close(FAILED, 502, message)
            self.refuse(502, message)

    # to the gateway ---------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Request | None:
        """The request whose answer is awaited."""
        return self._requests[0] if self._requests else None

    def write(self, data: bytes) -> None:
        if data:
            self.transport.write(data)

    def stop(self) -> None:
        """The recorder ends: what is open is broken off."""
        if self._requests and (recording := self._requests[0].recording) is not None:
            recording.close(ABORTED, None, "the recorder was stopped")
        self.abort()

    def answered(self, keep: bool) -> None:
        """The answer to the current request has left."""
        request = self._requests.popleft()
        if not (keep and request.keep and request.whole):
            self.end()
        elif self._requests:
            following = self._requests[0]
            self._begin(following)
            if following.whole:
                self._complete(following)

    def end(self) -> None:
        """Close the connection behind what was written."""
        self._closing = True
        self.transport.close()

    def abort(self) -> None:
        """End the connection in the middle of an answer."""
        self._closing = True
        self.transport.abort()

    def refuse(self, status: int, message: str) -> None:
        """Answer by ourselves, and end the connection."""
        if self._closing:
            return
        error = {"message": message, "type": "recorder_error", "param": None, "code": status}
        body = orjson.dumps({"error": error})
        head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        self.transport.write(head % (status, HTTPStatus(status).phrase.encode(), len(body)) + body)
        self._requests.clear()
        self.end()
