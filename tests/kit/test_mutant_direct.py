"""What a client gets from an app without a socket is what it gets over one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from conformance.client.http import NoAnswer, Recorder, client
from conformance.client.raw import RawConnection
from conformance.client.transcript import Exchange
from reference_gateway.serving.server import serving
from tests.mutants.direct import PIECE, Direct, DirectRecorder
from tests.mutants.sabotage import App, Receive, Scope, Send

START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}
SIZED = {"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"4")]}


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


async def echoes(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it was asked."""
    kept = ("type", "http_version", "scheme", "method", "root_path", "path", "raw_path", "query_string", "headers")
    asked = "\n".join(f"{name}: {scope[name]!r}" for name in kept).encode()
    body = await read(receive)
    await send(START)
    await send(piece(asked, more=True))
    await send(piece(body))


async def says_its_size(scope: Scope, receive: Receive, send: Send) -> None:
    await send(SIZED)
    await send(piece(b"fo", more=True))
    await send(piece(b"ur"))


async def says_too_much(scope: Scope, receive: Receive, send: Send) -> None:
    await send(SIZED)
    await send(piece(b"four", more=True))
    await send(piece(b"five"))


async def says_too_little(scope: Scope, receive: Receive, send: Send) -> None:
    await send(SIZED)
    await send(piece(b"two"))


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("the app")


async def fails_in_its_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(piece(b"half", more=True))
    raise ValueError("the app")


async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def stops_in_its_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(piece(b"half", more=True))


async def goes_on_behind_its_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send(SIZED)
    await send(piece(b"four"))
    assert (await receive())["type"] in ("http.request", "http.disconnect")
    raise ValueError("nobody hears of this")


APPS = [
    echoes,
    says_its_size,
    says_too_much,
    says_too_little,
    fails,
    fails_in_its_answer,
    says_nothing,
    stops_in_its_answer,
    goes_on_behind_its_answer,
]
REQUESTS: dict[str, dict[str, Any]] = {
    "get": {"method": "GET", "path": "/a%20b/%C3%BC?x=1&y=%20"},
    "head": {"method": "HEAD", "path": "/"},
    "post": {"method": "POST", "path": "/a", "json": {"ü": 1}, "headers": {"X-Two": "1"}},
    "large": {"method": "POST", "path": "/a", "content": b"x" * (3 * PIECE + 7)},
}


class Served:
    """An app on a socket, and a client with either transport to it."""

    def __init__(self, app: App, timeout: float = 5.0) -> None:
        self.app, self.timeout = app, timeout

    def __enter__(self) -> Served:
        direct = Direct(lifespan(self.app))
        self._serving = serving(cast(Any, direct))
        self.url = self._serving.__enter__()
        self.recorders = {"socket": Recorder(timeout=self.timeout), "direct": DirectRecorder(direct, self.timeout)}
        return self

    def __exit__(self, *problem: Any) -> None:
        for recorder in self.recorders.values():
            recorder.close()
        self._serving.__exit__(*problem)

    def ask(self, way: str, method: str, path: str, **fields: Any) -> Exchange:
        recorder = self.recorders[way]
        recorder.begin()
        with client(recorder) as http:
            try:
                http.request(method, self.url + path, **fields)
            except NoAnswer as failure:
                return failure.exchange
        return recorder.exchanges[-1]


def lifespan(app: App) -> App:
    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    return around


@pytest.fixture(scope="module", params=APPS, ids=lambda app: app.__name__)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with Served(request.param) as served:
        yield served


def seen(exchange: Exchange) -> tuple[Any, ...]:
    """What a client can tell of an answer, without what the server says of itself."""
    own = ("date", "connection", "transfer-encoding")
    headers = {name.lower(): value for name, value in exchange.headers.items() if name.lower() not in own}
    return exchange.status, headers, exchange.body, exchange.error is None


@pytest.mark.parametrize("name", REQUESTS)
def test_an_answer_is_what_it_is_over_a_socket(served: Served, name: str) -> None:
    asked = REQUESTS[name]
    assert seen(served.ask("direct", **asked)) == seen(served.ask("socket", **asked))


class Waits:
    """An app that begins an answer, if it is to, and then waits until its client is gone."""

    def __init__(self, *begin: dict[str, Any]) -> None:
        self.begin, self.gone = begin, threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        for message in self.begin:
            await send(message)
        assert (await receive()) == {"type": "http.disconnect"}
        self.gone.set()


@pytest.mark.parametrize("way", ["direct", "socket"])
def test_a_client_that_hangs_up_is_gone(way: str) -> None:
    app = Waits(START, piece(b"first", more=True))
    with Served(app) as served:
        recorder = served.recorders[way]
        recorder.begin()
        with client(recorder) as http, http.stream("GET", served.url) as response:
            pieces = response.iter_raw()
            assert next(pieces) == b"first"
            assert not app.gone.is_set()
        assert app.gone.wait(5)


@pytest.mark.parametrize("way", ["direct", "socket"])
@pytest.mark.parametrize("begin", [(), (START, piece(b"first", more=True))], ids=["at once", "half way"])
def test_an_answer_that_does_not_come_is_given_up(way: str, begin: tuple[dict[str, Any], ...]) -> None:
    app = Waits(*begin)
    with Served(app, timeout=0.2) as served:
        exchange = served.ask(way, "GET", "/")
        assert "no answer within" in str(exchange.error)
        assert app.gone.wait(5)


def test_after_a_socket_of_its_own_a_check_goes_over_sockets() -> None:
    with Served(echoes) as served:
        clients = []
        for dialled in (False, True, False):
            recorder = served.recorders["direct"]
            recorder.begin()
            with client(recorder) as http:
                if dialled:
                    RawConnection(recorder, served.url, "")
                clients.append(http.get(served.url).headers.get("date") is not None)
    assert clients == [False, True, False], "the server says the date"
