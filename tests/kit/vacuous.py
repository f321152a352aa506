"""Gateways that do nothing: they say what a gateway should have and open sessions, and answer anything else in one way.

Each could be taken for a gateway by a suite that believes what it is told. None listens to an upstream. Told of one, it
calls it for the first chat request, so that the kit does not hold the upstream for unobservable and judges in full; one
that `asks` calls it for every request, and answers in its way all the same.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.mutants.sabotage import Answer, App, Scope

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    content_type: str
    body: bytes

    @property
    def wire(self) -> str:
        for name in ("messages", "responses", "conversations", "invocations"):
            if f"/{name}" in self.path:
                return name
        return "chat"


@dataclass(frozen=True, slots=True)
class Given:
    status: int
    body: bytes = b""
    content_type: str = JSON


Way = Callable[[Asked], Given]


def error(status: int) -> Way:
    """Everything is an error, in the envelope of the wire."""

    def answer(asked: Asked) -> Given:
        kind, message = ("api_error", "Internal error") if status >= 500 else ("invalid_request_error", "Bad request")
        plain = {"message": message, "type": kind}
        envelopes: dict[str, Any] = {
            "messages": {"type": "error", "error": plain},
            "invocations": {"error": message},
        }
        document = envelopes.get(asked.wire, {"error": {**plain, "param": None, "code": None}})
        return Given(status, json.dumps(document).encode())

    return answer


COMPLETION = {
    "id": "chatcmpl-0123456789abcdef0123456789abcdef",
    "object": "chat.completion",
    "created": 1_800_000_000,
    "model": "kit",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}

WAYS: Mapping[str, Way] = {
    "empty 200": lambda asked: Given(200),
    "always 500": error(500),
    "always 400": error(400),
    "echo": lambda asked: Given(200, asked.body, asked.content_type),
    "null": lambda asked: Given(200, b"null"),
    "one good completion": lambda asked: Given(200, json.dumps(COMPLETION).encode()),
}


class Recording:
    """What a real gateway answered, by request. Nonces and the ids of sessions count for nothing. `note` is called with
    each answer of the real one; the recording then is a way to answer."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, bytes], Given] = {}

    def note(self, answer: Answer) -> None:
        kind = answer.headers.get("content-type", JSON)
        self.answers[_request(answer.method, answer.path, answer.request)] = Given(answer.status, answer.body, kind)

    def __call__(self, asked: Asked) -> Given:
        return self.answers.get(_request(asked.method, asked.path, asked.body)) or Given(404, b'{"error": "not found"}')


def _request(method: str, path: str, body: bytes) -> tuple[str, str, bytes]:
    return method, re.sub(r"^/sessions/[^/]+", "", path), re.sub(rb"#k\d+#", b"", body)


def one_session(app: App) -> App:
    """A gateway that creates sessions and has one: whichever is addressed, the oldest that is open is meant."""
    open_ids: list[str] = []

    async def merged(scope: Scope, receive: Any, send: Any) -> None:
        found = re.fullmatch(r"/sessions/([^/]+)(/.*)?", scope.get("path", ""))
        rest = found[2] or "" if found else ""
        if found and open_ids and found[1] in open_ids:
            path = f"/sessions/{open_ids[0]}{rest}"
            scope = {**scope, "path": path, "raw_path": path.encode()}

        async def told(message: Any) -> None:
            if scope.get("path") == "/sessions" and message["type"] == "http.response.body":
                created = json.loads(message["body"]).get("session_id")
                open_ids.extend([created] if created else [])
            await send(message)

        await app(scope, receive, told)
        if rest in ("/finalize", "/abort"):
            open_ids.clear()

    return merged


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that hung up is no news."""


@contextmanager
def vacuous(
    way: Way, declared: Mapping[str, Any], upstream_url: str | None = None, *, asks: bool = False
) -> Iterator[str]:
    """Serve a gateway that declares this and answers in that way; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            length = self.headers.get("content-length", "")
            body = self.rfile.read(int(length)) if length.isdecimal() else b""
            path = self.path.partition("?")[0]
            kind = self.headers.get("content-type", JSON)
            given = introduce(path, body) or way(Asked(self.command, path, kind, body))
            self.send_response(given.status)
            self.send_header("content-type", given.content_type)
            self.send_header("content-length", str(len(given.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(given.body)
            self.close_connection |= "transfer-encoding" in self.headers

        do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = do_PATCH = do_OPTIONS = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    opened: list[str] = []

    def introduce(path: str, body: bytes) -> Given | None:
        if path == "/capabilities":
            return Given(200, json.dumps(declared).encode())
        if path == "/sessions":
            opened.append(_wanted_id(body) or f"s{len(opened)}")
            base = f"{url}/sessions/{opened[-1]}"
            addresses = {"base_url": f"{base}/v1", "anthropic_base_url": base, "reward_info_url": f"{base}/reward_info"}
            return Given(201, json.dumps({"session_id": opened[-1], **addresses}).encode())
        first = path.endswith("/chat/completions") and len(opened) == 1
        if upstream_url is not None and body and (asks or first):
            _call(upstream_url, body.decode("utf-8", "replace"))
        return None

    server = _Server(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _wanted_id(body: bytes) -> str | None:
    try:
        wanted = json.loads(body)["session_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return wanted if isinstance(wanted, str) else None


def _call(upstream_url: str, text: str) -> None:
    body = json.dumps({"model": "kit", "messages": [{"role": "user", "content": text}]})
    connection = http.client.HTTPConnection(urlsplit(upstream_url).netloc)
    connection.request("POST", "/v1/chat/completions", body, {"content-type": JSON})
    connection.getresponse().read()
    connection.close()
