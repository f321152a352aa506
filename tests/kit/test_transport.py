"""The transport below the kit's client, against servers that answer with given bytes: what it keeps, and what it makes
of a server that breaks the rules."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conformance.client.transport import Transport

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Answers each connection's requests with the next of `answers`, and hangs up after the last."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = threading.Event()
        """A connection was hung up."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/a?b=c"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            for answer in self.answers:
                request = connection.recv(1 << 20)
                if not request:
                    return
                self.requests.append(request)
                connection.sendall(answer)
        self.closed.set()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: bytes) -> Server:
        servers.append(Server(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(transport=Transport(), timeout=5) as client:
        yield client


def test_a_request_is_one_piece_and_its_answer_is_read(serve, client: httpx.Client) -> None:
    server = serve(OK)
    answer = client.post(server.url, content=b"body", headers={"x-a": "b"})
    assert (answer.status_code, answer.text, answer.headers["content-length"]) == (200, "ok", "2")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert b"x-a: b" in head
    assert body == b"body"


def test_a_connection_is_kept(serve, client: httpx.Client) -> None:
    server = serve(OK, OK, OK)
    for _ in range(3):
        assert client.get(server.url).text == "ok"
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ],
    ids=["says so", "HTTP/1.0", "no length"],
)
def test_a_connection_that_ends_is_not_kept(serve, client: httpx.Client, answer: bytes) -> None:
    server = serve(answer)
    assert [client.get(server.url).text for _ in range(2)] == ["ok", "ok"]
    assert server.connections == 2


def test_a_connection_that_was_closed_meanwhile_is_not_used(serve, client: httpx.Client) -> None:
    server = serve(OK)
    client.get(server.url)
    assert server.closed.wait(5)
    assert client.get(server.url).text == "ok"
    assert server.connections == 2


def test_an_answer_that_is_not_read_to_its_end_is_hung_up(serve, client: httpx.Client) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n", OK)
    with client.stream("GET", server.url) as answer:
        assert answer.status_code == 200
    with client.stream("GET", server.url):
        pass
    assert server.connections == 2


def test_chunks_come_as_they_are_sent(serve, client: httpx.Client) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", OK)
    with client.stream("GET", server.url) as answer:
        assert b"".join(answer.iter_raw()) == b"abc"
    client.get(server.url)
    assert server.connections == 1


def test_what_comes_before_an_answer_is_passed_over(serve, client: httpx.Client) -> None:
    server = serve(b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" + OK)
    assert client.get(server.url).text == "ok"


def test_an_answer_to_head_has_no_body(serve, client: httpx.Client) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", OK)
    assert client.head(server.url).content == b""
    assert client.get(server.url).text == "ok"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "Server disconnected without sending a response"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "Server disconnected without sending a response"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "peer closed connection"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "peer closed connection"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "illegal header line"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n", "bad Content-Length"),
        (b"200 OK\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000, "too long"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "without a pending proposal",
        ),
    ],
    ids=["none", "half a head", "short", "half a chunk", "no header", "no length", "no status", "long", "another"],
)
def test_what_is_no_answer_is_said(serve, client: httpx.Client, answer: bytes, reason: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match=reason):
        client.get(serve(answer).url)


def test_an_early_refusal_is_read_though_the_body_was_not(client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 20):
                    pass

        threading.Thread(target=refuse, daemon=True).start()
        answer = client.post(f"http://127.0.0.1:{listener.getsockname()[1]}", content=bytes(1 << 22))
    assert answer.status_code == 413


def test_a_server_that_says_nothing_is_too_late() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        httpx.Client(transport=Transport(), timeout=0.05) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.get(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_nobody_there(client: httpx.Client) -> None:
    with pytest.raises(httpx.ConnectError, match="refused"):
        client.get("http://127.0.0.1:1")


def test_a_header_that_would_be_two_is_not_sent(serve, client: httpx.Client) -> None:
    server = serve(OK)
    with pytest.raises(httpx.LocalProtocolError):
        client.get(server.url, headers={"x": "a\r\ny: b"})


def test_requests_at_once_have_a_connection_each(serve, client: httpx.Client) -> None:
    server = serve(*[OK] * 50)
    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(lambda _: client.get(server.url).text, range(80)))
    assert texts == ["ok"] * 80
    assert server.connections <= 10
