"""The connection to the engine that belongs to one connection of a gateway.

Knows answers as HTTP/1.1; what they say is for `recording`. A stream is passed on as it comes, a plain answer that is
recorded when it is whole. Where the engine breaks off, so does what is behind it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from conformance.recorded.recorder.message import MAX_HEAD, Headers, Request, chunk, end_to_end
from conformance.upstream.ledger import FAILED


class Waiting(Protocol):
    """Who waits for the answers: the gateway's side."""

    transport: asyncio.Transport

    @property
    def current(self) -> Request | None:
        """The request whose answer is awaited."""

    def write(self, data: bytes) -> None: ...

    def answered(self, keep: bool) -> None:
        """The answer to the current request has left; `keep`: another can follow."""

    def end(self) -> None:
        """Close the connection behind what was written."""

    def abort(self) -> None:
        """End the connection in the middle of an answer."""


class EngineSide(asyncio.Protocol):
    """The connection to the engine."""

    transport: asyncio.Transport

    def __init__(self, caller: Waiting) -> None:
        self._caller = caller
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: list[bytes] | None = []
        self._closed = False
        self._forget()

    def _forget(self) -> None:
        self._reason, self._headers, self._size = b"", Headers(), 0
        self._begun, self._framed, self._chunks = False, True, False
        self._streamed, self._held = False, False
        self._plain: list[bytes] = []

    def send(self, data: bytes) -> None:
        if self._waiting is None:
            self.transport.write(data)
        else:
            self._waiting.append(data)

    def close(self) -> None:
        self._closed = True
        if self._waiting is None:
            self.transport.abort()

    def pause_reading(self) -> None:
        if self._waiting is None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._waiting is None:
            self.transport.resume_reading()

    # from the engine --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        waiting, self._waiting = self._waiting or [], None
        if self._closed:
            self.transport.abort()
            return
        self.transport.writelines(waiting)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._broke_off(f"the engine's answer is no HTTP/1.1: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        if self._caller.current is None:
            self._caller.end()
        elif self._begun and not self._framed:  # without a length, an answer ends with its connection
            self._whole(keep=False)
        else:
            self._broke_off("the engine closed the connection before its answer was whole")

    def pause_writing(self) -> None:
        self._caller.transport.pause_reading()

    def resume_writing(self) -> None:
        self._caller.transport.resume_reading()

    # callbacks of the parser ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._forget()

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value)
        if self._size > MAX_HEAD:
            raise httptools.HttpParserError("the headers are too long")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        request = self._caller.current
        self._status = self._parser.get_status_code()
        if request is None or self._status < 200:
            return
        fields = {name.lower(): value for name, value in self._headers}
        self._begun = True
        length = fields.get(b"content-length")
        bodiless = request.method == b"HEAD" or self._status in (204, 304)
        self._framed = bodiless or length is not None or b"transfer-encoding" in fields
        if request.recording is not None:
            if fields.get(b"content-encoding", b"identity").lower() != b"identity":
                request.recording.unread(self._status, "the answer came compressed")
            else:
                self._streamed = self._status == 200 and b"text/event-stream" in fields.get(b"content-type", b"")
                self._held = not self._streamed
        if self._held:
            return  # it leaves when it is whole
        if length is not None and not self._streamed:
            framing = b"Content-Length: %b\r\n" % length
        else:
            self._chunks = request.chunks and not bodiless
            framing = b"Transfer-Encoding: chunked\r\n" if self._chunks else b""
        self._caller.write(self._head(framing))
        if request.method == b"HEAD":
            keep, self._parser = self._parser.should_keep_alive(), httptools.HttpResponseParser(self)
            self._whole(keep)

    def on_body(self, data: bytes) -> None:
        request = self._caller.current
        if request is None or not self._begun:
            return
        if self._held:
            self._plain.append(data)
        elif self._streamed and request.recording is not None:
            self._pass(request.recording.part(self._status, data))
        else:
            self._pass(data)

    def on_message_complete(self) -> None:
        if self._begun and self._framed:
            self._whole(keep=self._parser.should_keep_alive())

    # to the gateway ---------------------------------------------------------------------------------------------------

    def _head(self, framing: bytes) -> bytes:
        request = self._caller.current
        lines = [b"HTTP/1.1 %d %b\r\n" % (self._status, self._reason)]
        lines += [b"%b: %b\r\n" % header for header in end_to_end(self._headers)]
        if request is None or not request.keep or not self._parser.should_keep_alive():
            lines.append(b"Connection: close\r\n")
        return b"".join([*lines, framing, b"\r\n"])

    def _pass(self, data: bytes) -> None:
        if data:
            self._caller.write(chunk(data) if self._chunks else data)

    def _whole(self, keep: bool) -> None:
        request = self._caller.current
        self._begun = False
        if request is None:
            return
        if request.recording is not None and self._held:
            body = request.recording.whole(self._status, b"".join(self._plain))
            self._caller.write(self._head(b"Content-Length: %d\r\n" % len(body)) + body)
        elif request.recording is not None and self._streamed:
            self._pass(request.recording.rest(self._status))
        if self._chunks:
            self._caller.write(b"0\r\n\r\n")
        self._caller.answered(keep and self._framed)

    def _broke_off(self, why: str) -> None:
        """What came of the answer has left, or leaves now; then the gateway's connection ends as the engine's did."""
        self._closed = True
        request = self._caller.current
        if request is not None and request.recording is not None:
            request.recording.close(FAILED, self._status if self._begun else None, why)
        if self._begun and self._held:
            length = next((value for name, value in self._headers if name.lower() == b"content-length"), None)
            framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %b" % length
            data = b"".join(self._plain)
            self._caller.write(self._head(framing + b"\r\n") + (chunk(data) if length is None and data else data))
        if self._begun:
            self._caller.end()
        else:
            self._caller.abort()
        self.transport.abort()
