"""A server with a model of its own: it answers whatever it is asked, and nobody scripts what it says.

Told of an upstream, it is a gateway like any other, only that its first answers may be its own, or slow.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

SAYING = "the red apples on our old table were sweet and in that rainy summer nobody came to eat them with us"
WORDS = SAYING.split()


def thought(question: str) -> str:
    """A sentence that has to do with the question, as far as a hash has."""
    numbers = hashlib.sha256(question.encode()).digest()
    return " ".join(WORDS[number % len(WORDS)] for number in numbers[: 6 + numbers[0] % 6]).capitalize() + "."


@contextmanager
def talking(
    upstream_url: str | None = None,
    *,
    first_after: float = 0.0,
    own: int = 0,
    only_invocations: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serve it, with `tls` over https; yields its URL. The first answer takes `first_after` seconds. With an upstream,
    all but the first `own` answers are what that says. `only_invocations`: there is no other route."""
    count = itertools.count()

    def answer(question: str) -> str:
        number = next(count)
        if number == 0:
            time.sleep(first_after)
        return thought(question) if upstream_url is None or number < own else _said(upstream_url, question)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/v1/chat/completions" and not only_invocations:
                text = answer(body["messages"][-1]["content"])
                if body.get("stream"):
                    self.give(200, _stream(text), "text/event-stream")
                else:
                    self.give(200, _json(_completion(text)))
            elif self.path == "/v1/invocations" and only_invocations:
                self.give(200, _json({"response": answer(body["message"]), "session_id": body.get("session_id")}))
            else:
                self.give(404, _json({"error": {"message": "no such route", "type": "invalid_request_error"}}))

        def give(self, status: int, body: bytes, content_type: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that hung up is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _stream(text: str) -> bytes:
    whole = _completion(text)
    del whole["usage"]
    whole["object"] = "chat.completion.chunk"
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": text}, None), ({}, "stop")]
    choices = [{"index": 0, "delta": delta, "finish_reason": finish} for delta, finish in deltas]
    return b"".join(b"data: %b\n\n" % _json({**whole, "choices": [choice]}) for choice in choices) + (
        b"data: [DONE]\n\n"
    )


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    fixed = {"object": "chat.completion", "created": int(time.time()), "model": "kit"}
    return {"id": f"chatcmpl-{time.monotonic_ns()}", **fixed, "choices": [choice], "usage": usage}


def _said(upstream_url: str, question: str) -> str:
    body = json.dumps({"model": "kit", "messages": [{"role": "user", "content": question}]})
    connection = http.client.HTTPConnection(urlsplit(upstream_url).netloc)
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    document = json.loads(connection.getresponse().read())
    connection.close()
    return str(document["choices"][0]["message"]["content"]) if "choices" in document else ""
