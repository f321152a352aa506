"""One TCP connection to the gateway, written byte by byte: for exchanges that no HTTP client would make.

Knows HTTP/1.1 as bytes, never what a route means. Each request that was begun stands in the record of exchanges like
any other, also one that was never finished; the check's deadline bounds every read and write.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from types import TracebackType
from typing import NoReturn, Self
from urllib.parse import urlsplit

from conformance.client.failure import ConformanceFailure
from conformance.client.http import NoAnswer, Recorder, Reply
from conformance.client.transcript import Exchange
from conformance.oracles import Violation


class RawConnection:
    """A connection to the server of `base_url`, opened at once. `post` is a whole exchange; `begin`, `write` and
    `reply` or `hang_up` are its steps. `ended` says whether the server closes, or announced to close."""

    def __init__(self, recorder: Recorder, base_url: str, api_key: str) -> None:
        parts = urlsplit(base_url)
        self._recorder, self._base_url, self._path = recorder, base_url, parts.path
        self._host = parts.netloc.rpartition("@")[2]
        self._authorization = f"Bearer {api_key}"
        self._exchange: Exchange | None = None
        self.ended = False
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            plain = socket.create_connection((parts.hostname or "", port), recorder.left)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are two writes
            secure = parts.scheme == "https"
            context = (recorder.trust or ssl.create_default_context()) if secure else None
            self._socket = context.wrap_socket(plain, server_hostname=parts.hostname) if context else plain
        except OSError as error:
            raise ConformanceFailure([Violation(f"connecting to {self._host}", "a connection", str(error))]) from error
        recorder.sockets.append(self._socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def post(self, body: bytes, path: str = "/chat/completions") -> Reply:
        """Send a whole request and read its answer."""
        return self.begin(path, content_length=str(len(body))).write(body).reply()

    def begin(self, path: str = "/chat/completions", **headers: str) -> Self:
        """Send the head of a POST below the base URL: these headers (`content_length` is `content-length`), the host,
        the key and the content type, and none that says how long the body is."""
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        head = {"host": self._host, "authorization": self._authorization, "content-type": "application/json", **own}
        self._exchange = Exchange("POST", self._base_url + path, head, b"", time.monotonic())
        self._recorder.exchanges.append(self._exchange)
        lines = [f"POST {self._path}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        return self._put("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def write(self, data: bytes) -> Self:
        """Send bytes of the body."""
        self.exchange.request_body += data
        return self._put(data)

    def write_chunk(self, data: bytes) -> Self:
        """Send bytes of the body as one chunk of `transfer-encoding: chunked`; no bytes end the body."""
        self.exchange.request_body += data
        return self._put(b"%x\r\n%s\r\n" % (len(data), data))

    def reply(self) -> Reply:
        """Read one answer, and leave the connection open."""
        exchange = self.exchange
        self._socket.settimeout(self._recorder.left)
        response = http.client.HTTPResponse(self._socket, method=exchange.method)
        try:
            response.begin()
            exchange.status = response.status
            exchange.headers = {name.lower(): value for name, value in response.getheaders()}
            exchange.chunks.append((time.monotonic(), response.read()))
        except (OSError, http.client.HTTPException) as error:
            self._broken(exchange, error)
        finally:
            response.close()
        exchange.finished = time.monotonic()
        self._exchange = None
        self.ended = response.will_close
        return Reply(exchange)

    def read_first_byte(self) -> Self:
        """Wait until the answer begins."""
        exchange = self.exchange
        self._socket.settimeout(self._recorder.left)
        try:
            if not self._socket.recv(1):
                raise ConnectionError("the server closed it without an answer")
        except OSError as error:
            self._broken(exchange, error)
        return self

    def read_until(self, part: bytes) -> Self:
        """Wait until this is part of what the answer has said so far."""
        exchange = self.exchange
        seen = b""
        try:
            while part not in seen:
                self._socket.settimeout(self._recorder.left)
                chunk = self._socket.recv(65536)
                if not chunk:
                    raise ConnectionError("the server closed it before that")
                exchange.chunks.append((time.monotonic(), chunk))
                seen += chunk
        except OSError as error:
            self._broken(exchange, error)
        return self

    def hang_up(self) -> None:
        """Close the connection, whatever was begun."""
        self._socket.close()
        if self._exchange is not None:
            self._exchange.error, self._exchange.finished = "(the client hung up)", time.monotonic()

    @property
    def exchange(self) -> Exchange:
        """What was exchanged since `begin`."""
        assert self._exchange is not None, "begin() comes first"
        return self._exchange

    def _put(self, data: bytes) -> Self:
        self._socket.settimeout(self._recorder.left)
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            self._broken(self.exchange, error)
        except OSError:
            pass  # the server may have answered and closed before it read everything: the answer decides
        return self

    def _broken(self, exchange: Exchange, error: Exception) -> NoReturn:
        exchange.finished = time.monotonic()
        waited = exchange.finished - exchange.started
        exchange.error = (
            f"no answer within {waited:.1f} s"
            if isinstance(error, TimeoutError)
            else f"connection failed: {error or type(error).__name__}"
        )
        raise NoAnswer(exchange) from error
