"""The kit's HTTP client: what was sent and received, byte by byte and timed, and a deadline for each answer.

It never judges. Bodies arrive as they were sent (`accept-encoding: identity`); a connection that breaks or an answer
that does not come in time is recorded on the exchange and raised as `NoAnswer`.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any, NoReturn

import httpx

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.transcript import Exchange
from conformance.oracles import Violation, chat, sse, wording


class _Absent(Enum):
    """One value that a copy leaves alone, and whose name is the same in every worker."""

    ABSENT = "absent"


ABSENT: Any = _Absent.ABSENT
"""Given as a field or header of a request: leave it out."""


class Recorder(httpx.BaseTransport):
    """A transport that records each exchange and bounds it by the check's deadline. `trust` says whose certificates are
    taken over https; None: those that are usual."""

    def __init__(
        self, inner: httpx.BaseTransport | None = None, timeout: float = 5.0, trust: ssl.SSLContext | None = None
    ) -> None:
        self.trust = trust
        # An SSL context costs 25 ms to make: only https needs one, and httpx makes it on demand from `verify`.
        self._plain = inner or httpx.HTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False)
        self._secure: httpx.BaseTransport | None = inner
        self.exchanges: list[Exchange] = []
        self.timeout = timeout
        self.deadline = float("inf")
        self.sockets: list[socket.socket] = []
        """What a check dialled by itself. The next one finds it closed."""
        self._refused = False

    def begin(self) -> None:
        """A new check starts: an empty record and a fresh deadline."""
        self._hang_up()
        self.exchanges = []
        self.deadline = time.monotonic() + self.timeout

    def answered(self) -> None:
        """An answer came whole. The next one has as long again: the deadline is for a gateway that does not answer, not
        for a check of many requests on a busy machine."""
        self.deadline = max(self.deadline, time.monotonic() + self.timeout)

    @property
    def left(self) -> float:
        """Seconds until the deadline, as a socket's timeout: never 0."""
        return min(max(self.deadline - time.monotonic(), 0.001), self.timeout)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        exchange = Exchange(
            request.method, str(request.url), dict(request.headers.items()), request.read(), time.monotonic()
        )
        self.exchanges.append(exchange)
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), self.left)
        try:
            response = self._answer(request)
        except httpx.TransportError as error:
            self._broken(exchange, error)
        self._refused = response.status_code >= 400
        exchange.status = response.status_code
        exchange.headers = dict(response.headers.items())
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Recorded(self, exchange, response),
            extensions={**response.extensions, "exchange": exchange},
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        transport = self._transport(request.url.scheme)
        try:
            return transport.handle_request(request)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            # A server that refused the request before may close a connection that it never said it would close.
            # What this request is about has nothing to do with that: it gets a connection of its own.
            if not self._refused:
                raise
            self._refused = False
            return transport.handle_request(request)

    def close(self) -> None:
        self._hang_up()
        self._plain.close()
        if self._secure is not None:
            self._secure.close()

    def _hang_up(self) -> None:
        while self.sockets:
            self.sockets.pop().close()

    def _transport(self, scheme: str) -> httpx.BaseTransport:
        if scheme != "https":
            return self._plain
        if self._secure is None:
            self._secure = httpx.HTTPTransport(verify=self.trust or True, trust_env=False)
        return self._secure

    def _broken(self, exchange: Exchange, error: httpx.TransportError) -> NoReturn:
        exchange.finished = time.monotonic()
        exchange.error = (
            f"no answer within {exchange.finished - exchange.started:.1f} s"
            if isinstance(error, httpx.TimeoutException)
            else f"connection failed: {str(error) or type(error).__name__}"
        )
        raise NoAnswer(exchange) from error


class _Recorded(httpx.SyncByteStream):
    def __init__(self, recorder: Recorder, exchange: Exchange, response: httpx.Response) -> None:
        self._recorder, self._exchange, self._response = recorder, exchange, response

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._response.stream:  # type: ignore[union-attr]
                self._exchange.chunks.append((time.monotonic(), chunk))
                yield chunk
                if time.monotonic() > self._recorder.deadline:
                    raise httpx.ReadTimeout("the answer went on past the check's deadline")
        except httpx.TransportError as error:
            self._recorder._broken(self._exchange, error)
        self._exchange.finished = time.monotonic()
        self._recorder.answered()

    def close(self) -> None:
        if self._exchange.finished is None:
            self._exchange.finished = time.monotonic()
        self._response.close()
        # Servers close the connection behind an unhandled error without a word of it, often just too late for the next
        # request not to be sent on it. That request is not what such a server does wrong.
        stream = self._response.extensions.get("network_stream")
        if self._response.status_code >= 500 and stream is not None:
            stream.close()


class NoAnswer(ConformanceFailure):
    """The gateway did not answer a request: it closed the connection, refused it, or took too long."""

    def __init__(self, exchange: Exchange) -> None:
        what = f"{exchange.method} {httpx.URL(exchange.url).path}"
        super().__init__([Violation(what, "a complete HTTP answer", str(exchange.error))])
        self.exchange = exchange


def client(recorder: Recorder, api_key: str | None = None) -> httpx.Client:
    """The one client of a worker. Redirects are not followed: an agent's POST would not survive them."""
    headers = {"accept-encoding": "identity", "user-agent": "gateway-conformance"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    return _Client(recorder, headers)


class _Client(httpx.Client):
    """Hands each request to the recorder as it is. What httpx does around that for each request, cookies, redirects and
    the like, is a third of its time and nothing that a check wants: one would see the cookies of another."""

    def __init__(self, recorder: Recorder, headers: dict[str, str]) -> None:
        super().__init__(transport=recorder, headers=headers, trust_env=False)
        self._recorder = recorder

    def build_request(self, method: str, url: httpx.URL | str, **fields: Any) -> httpx.Request:
        return super().build_request(method, _parsed(url) if isinstance(url, str) else url, **fields)

    def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: Any = httpx.USE_CLIENT_DEFAULT,
        follow_redirects: Any = httpx.USE_CLIENT_DEFAULT,
    ) -> httpx.Response:
        usual = auth is follow_redirects is httpx.USE_CLIENT_DEFAULT and not request.url.userinfo
        if not usual:
            return super().send(request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        response = self._recorder.handle_request(request)
        response.request = request
        if not stream:
            with closing(response):
                response.read()
        return response


_parsed = lru_cache(1024)(httpx.URL)


class Reply:
    """What the gateway answered to a chat request, streamed or not, with the same accessors for both.

    An accessor that finds something else than it needs raises `ConformanceFailure` with the path and what stood there.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    @property
    def status(self) -> int:
        return self.exchange.status or 0

    @cached_property
    def headers(self) -> httpx.Headers:
        return httpx.Headers(dict(self.exchange.headers))

    @property
    def body(self) -> bytes:
        return self.exchange.body

    @property
    def is_stream(self) -> bool:
        """By its label; or, mislabelled, by how it begins, as a client that asked for a stream reads it."""
        kind: str = self.headers.get("content-type", "")
        labelled = kind.partition(";")[0].strip().lower() == "text/event-stream"
        return labelled or self.body.startswith((b"data:", b"event:"))

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ConformanceFailure([Violation("body", "JSON", describe(self.body))]) from error

    @property
    def error(self) -> dict[str, Any] | None:
        """The object `error` of an error envelope; None where the body is something else."""
        document, _ = wording.parse_json(self.body.decode("utf-8", "replace"))
        error = document.get("error") if isinstance(document, dict) else None
        return error if isinstance(error, dict) else None

    @cached_property
    def events(self) -> list[sse.Event]:
        """The server-sent events of the body."""
        return sse.parse(self.body)

    @cached_property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON objects of a stream's frames, at least one. `[DONE]`, and what is no JSON object, is left out."""
        if self.status != 200:
            raise ConformanceFailure([Violation("status", "200", f"{self.status} {describe(self.body)}")])
        parsed = [wording.parse_json(event.data)[0] for event in self.events]
        chunks = [chunk for chunk in parsed if isinstance(chunk, dict)]
        if not chunks:
            raise ConformanceFailure([Violation("stream", "at least one chunk", describe(self.body))])
        return chunks

    @cached_property
    def completion(self) -> dict[str, Any]:
        """The completion: the JSON body, or what the stream's chunks amount to."""
        if self.status != 200:
            raise ConformanceFailure([Violation("status", "200", f"{self.status} {describe(self.body)}")])
        completion = chat.assemble(self.events) if self.is_stream else self.json()
        if not isinstance(completion, dict):
            raise ConformanceFailure([Violation("body", "a JSON object", describe(completion))])
        return completion

    @property
    def message(self) -> dict[str, Any]:
        """The assistant message as it was received: echo it to continue the conversation."""
        return self._at("choices", 0, "message", kind=dict)  # type: ignore[no-any-return]

    def require_message(self) -> dict[str, Any]:
        """The assistant message, whatever it says. A `ConformanceFailure` where there is none."""
        return self.message

    @property
    def text(self) -> str:
        """The content of the message; None counts as empty."""
        return self._at("choices", 0, "message", "content", kind=(str, type(None))) or ""

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        return self.message.get("tool_calls") or []

    @property
    def finish_reason(self) -> str:
        return self._at("choices", 0, "finish_reason", kind=str)  # type: ignore[no-any-return]

    @property
    def usage(self) -> dict[str, Any]:
        return self._at("usage", kind=dict)  # type: ignore[no-any-return]

    @property
    def id(self) -> str:
        return self._at("id", kind=str)  # type: ignore[no-any-return]

    @property
    def model(self) -> str:
        return self._at("model", kind=str)  # type: ignore[no-any-return]

    def _at(self, *path: str | int, kind: type | tuple[type, ...]) -> Any:
        return at(self.completion, *path, kind=kind)


def at(document: Any, *path: str | int, kind: type | tuple[type, ...] = object) -> Any:
    """The value at a path of a JSON document, or a failure that names the path and what stood there."""
    where = ""
    for key in path:
        where += f"[{key}]" if isinstance(key, int) else f".{key}" if where else key
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            raise ConformanceFailure([Violation(where, "a value", f"none in {describe(document)}")]) from None
    if not isinstance(document, kind):
        names = " or ".join(_json_name(k) for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise ConformanceFailure([Violation(where or "body", names, describe(document))])
    return document


def _json_name(kind: type) -> str:
    return {dict: "an object", list: "an array", str: "a string", int: "an integer", type(None): "null"}.get(
        kind, kind.__name__
    )
