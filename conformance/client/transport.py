"""HTTP/1.1 without TLS over kept-alive sockets: what the kit's client stands on.

A transport for httpx and one kind of use: a request whose body is at hand goes out as one piece, and an answer is read
by h11, whose parser is strict, as it comes. The pool that httpx brings along serves protocols, proxies and tracing that
no check has, at several times the cost. Any number of threads may use it; each exchange has a connection to itself.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import httpx

_HEAD = 100 * 1024
"""Bytes that the head of an answer may have."""
_PIECE = 64 * 1024
_IDLE = 4.0
"""Seconds after which a connection is not used again: servers close theirs about then."""

Address = tuple[str, int]


class Transport(httpx.BaseTransport):
    """Raises httpx's errors: `ConnectError`, `ReadError`, `RemoteProtocolError`, `LocalProtocolError`, and its
    timeouts."""

    def __init__(self) -> None:
        self._idle: dict[Address, deque[_Connection]] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        limits = request.extensions.get("timeout", {})
        address = request.url.host, request.url.port or 80
        connection = self._kept(address) or _Connection(address, limits.get("connect"))
        try:
            connection.send(request, limits.get("write"))
            head = connection.head(limits.get("read"))
        except BaseException:
            connection.close()
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=_Body(self, connection, limits.get("read")),
            extensions={"network_stream": connection},
        )

    def close(self) -> None:
        for connections in self._idle.values():
            while connections:
                connections.pop().close()

    def keep(self, connection: _Connection) -> None:
        """For another exchange."""
        self._idle.setdefault(connection.address, deque()).append(connection)

    def _kept(self, address: Address) -> _Connection | None:
        """A connection that is still open, the one that was used last first."""
        connections = self._idle.get(address)
        while connections:
            try:
                connection = connections.pop()
            except IndexError:  # another thread was quicker
                return None
            if connection.is_open:
                return connection
            connection.close()
        return None


class _Connection:
    """A socket and what h11 knows of it. Closed, it is never kept."""

    def __init__(self, address: Address, timeout: float | None) -> None:
        self.address = address
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
        self._used = time.monotonic()
        with _as_httpx(httpx.ConnectTimeout, httpx.ConnectError):
            self._socket = socket.create_connection(address, timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_open(self) -> bool:
        """Whether the server has neither closed it nor sent what nobody asked for."""
        if time.monotonic() - self._used > _IDLE:
            return False
        try:
            self._socket.setblocking(False)
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def send(self, request: httpx.Request, timeout: float | None) -> None:
        try:
            pieces = [
                self._protocol.send(
                    h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
                ),
                self._protocol.send(h11.Data(data=request.content)) if request.content else b"",
                self._protocol.send(h11.EndOfMessage()),
            ]
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        try:
            with _as_httpx(httpx.WriteTimeout, httpx.WriteError):
                self._socket.settimeout(timeout)
                self._socket.sendall(b"".join(piece for piece in pieces if piece))
        except httpx.WriteError:
            pass  # the server may have answered and closed before it read everything: the answer decides

    def head(self, timeout: float | None) -> h11.Response:
        while True:
            event = self._event(timeout)
            if isinstance(event, h11.Response):  # and no 1xx
                return event

    def body(self, timeout: float | None) -> Iterator[bytes]:
        while True:
            event = self._event(timeout)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return

    def is_reusable(self) -> bool:
        """Whether another exchange can follow, for which it is then ready."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        self._used = time.monotonic()
        return self._socket.fileno() >= 0

    def close(self) -> None:
        self._socket.close()

    def _event(self, timeout: float | None) -> Any:
        while True:
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error)) from error
            if event is not h11.NEED_DATA:
                return event
            with _as_httpx(httpx.ReadTimeout, httpx.ReadError):
                self._socket.settimeout(timeout)
                data = self._socket.recv(_PIECE)
            if not data and self._protocol.their_state is h11.SEND_RESPONSE:
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
            self._protocol.receive_data(data)


class _Body(httpx.SyncByteStream):
    def __init__(self, transport: Transport, connection: _Connection, timeout: float | None) -> None:
        self._transport, self._connection, self._timeout = transport, connection, timeout
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self._connection.body(self._timeout)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._connection.is_reusable():
            self._transport.keep(self._connection)
        else:
            self._connection.close()


@contextmanager
def _as_httpx(late: type[httpx.TimeoutException], broken: type[httpx.NetworkError]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error
