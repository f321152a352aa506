"""An engine that answers with bytes, and keeps those that it gets: for what no HTTP library lets one send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

Answering = Callable[[socket.socket], None]


class CannedEngine:
    """Answers each request on its connections with `answer`; `requests` are their bytes."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = threading.Event()
        """Set when a caller has closed its connection."""
        self.answer: Answering = says(b"HTTP/1.1 204 No Content\r\n\r\n")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while (request := read_request(connection)) is not None:
                self.requests.append(request)
                try:
                    self.answer(connection)
                except OSError:
                    break
        self.gone.set()


def says(*pieces: bytes, then_close: bool = False) -> Answering:
    """Answer with these bytes; `then_close` ends the connection behind them."""

    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
        if then_close:
            connection.shutdown(socket.SHUT_RDWR)

    return answer


def read_request(connection: socket.socket) -> bytes | None:
    """One request with its body, by length or chunked; None where the connection ends."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (piece := _received(connection))
        if not piece:
            return None
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])}
    length = int(fields.get(b"content-length", b"0"))
    chunked = b"transfer-encoding" in fields
    while len(body) < length or (chunked and not body.endswith(b"0\r\n\r\n")):
        body += (piece := _received(connection))
        if not piece:
            return None
    return head + b"\r\n\r\n" + body


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def exchange(url: str, *pieces: bytes) -> bytes:
    """All that is answered to these bytes, until it ends or nothing more comes for two tenths of a second."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while True:
            connection.settimeout(0.2 if answer else 10)
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                return answer
            except ConnectionResetError:
                return answer + b"<reset>"
            if not piece:
                return answer + b"<end>"
            answer += piece
