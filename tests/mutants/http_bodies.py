"""Mutants of bodies that clients compress and label, on each wire."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, App, Sabotage, Scope
from tests.mutants.wire import CHAT, INVOCATIONS, MESSAGES, RESPONSES, Receive, Send

Headers = dict[bytes, bytes]
GZIP = b"\x1f\x8b"


def on_request(gateway: Sabotage, path: str, change: Callable[[Headers, bytes], None]) -> None:
    """Change the headers of each request of a route, with the first bytes of its body at hand."""

    @gateway.middleware
    def changing(app: App) -> App:
        async def changing_headers(scope: Scope, receive: Receive, send: Send) -> None:
            if not scope.get("path", "").endswith(path) or scope["method"] != "POST":
                await app(scope, receive, send)
                return
            first = [await receive()]
            headers = dict(scope["headers"])
            change(headers, first[0].get("body", b""))
            changed = headers != dict(scope["headers"])  # else two of one name stay two

            async def again() -> Any:
                return first.pop() if first else await receive()

            await app({**scope, "headers": list(headers.items())} if changed else scope, again, send)

        return changing_headers


def reads_zstd_as_json(gateway: Sabotage, path: str) -> None:
    """A coding that the framework does not know is not looked at."""

    def change(headers: Headers, body: bytes) -> None:
        if headers.get(b"content-encoding") == b"zstd" and not body.startswith(b"{"):
            del headers[b"content-encoding"]

    on_request(gateway, path, change)


def serves_what_is_not_encoded(gateway: Sabotage, path: str) -> None:
    """A body that begins like JSON is taken for JSON, whatever it says that it is."""

    def change(headers: Headers, body: bytes) -> None:
        if body.startswith(b"{"):
            headers.pop(b"content-encoding", None)

    on_request(gateway, path, change)


@mutant("HTTP-040")
def zstd_chat_request_is_invalid_json(gateway: Sabotage) -> None:
    """A chat request in zstd is given to the JSON parser as it is."""
    reads_zstd_as_json(gateway, CHAT)


@mutant("HTTP-041")
def chat_request_that_is_not_encoded_is_served(gateway: Sabotage) -> None:
    """`content-encoding` of a chat request is ignored where the body is JSON."""
    serves_what_is_not_encoded(gateway, CHAT)


@mutant("HTTP-042")
def body_that_cannot_be_decoded_is_invalid_json(gateway: Sabotage) -> None:
    """Whatever is wrong with a chat request's coding, the refusal is about JSON."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and b"content-encoding" in answer.body:
            answer.headers.pop("accept-encoding", None)
            answer.json = {"error": {**answer.json["error"], "message": "Invalid JSON body"}}


@mutant("HTTP-043")
def body_that_grows_is_out_of_memory(gateway: Sabotage) -> None:
    """A body is decoded whole, and the memory ends before it does."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.status == 413 and answer.request.startswith(GZIP):
            answer.status = 500


@mutant("HTTP-043")
def request_behind_a_bomb_finds_nobody(gateway: Sabotage) -> None:
    """The worker that decoded too much is gone for the next request."""
    gone: list[bool] = []

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and gone:
            answer.status = 502
            gone.clear()
        elif answer.is_chat and answer.status == 413 and answer.request.startswith(GZIP):
            gone.append(True)


@mutant("HTTP-044")
def content_type_has_one_spelling(gateway: Sabotage) -> None:
    """`content-type` is compared with what the author's own client sends."""

    def change(headers: Headers, body: bytes) -> None:
        kind = headers.get(b"content-type", b"")
        if kind != kind.lower() or b'"' in kind:
            headers[b"content-type"] = b"text/plain"

    on_request(gateway, CHAT, change)


@mutant("HTTP-045")
def slash_is_redirected_away(gateway: Sabotage) -> None:
    """The framework takes a slash off by a redirect that clients follow with GET."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith(f"{CHAT}/"):
            answer.status = 301
            answer.headers["location"] = answer.path.rstrip("/")


@mutant("HTTP-046")
def stream_is_compressed_without_its_end(gateway: Sabotage) -> None:
    """A middleware compresses streams of chat for clients that accept it, and never flushes the end."""

    @gateway.middleware
    def compressing(app: App) -> App:
        async def compress(scope: Scope, receive: Receive, send: Send) -> None:
            accepted = dict(scope.get("headers", ())).get(b"accept-encoding", b"")
            streams = False

            async def sent(message: Any) -> None:
                nonlocal streams
                if message["type"] == "http.response.start":
                    kind = dict(message["headers"]).get(b"content-type", b"")
                    streams = kind.startswith(b"text/event-stream") and b"gzip" in accepted
                    streams = streams and scope["path"].endswith("/chat/completions")
                    if streams:
                        message = {**message, "headers": [*message["headers"], (b"content-encoding", b"gzip")]}
                elif streams and message.get("body"):
                    message = {**message, "body": gzip.compress(message["body"])[:-8]}
                await send(message)

            await app(scope, receive, sent)

        return compress


@mutant("HTTP-047")
def zstd_invocation_is_invalid_json(gateway: Sabotage) -> None:
    """An invocation in zstd is given to the JSON parser as it is."""
    reads_zstd_as_json(gateway, INVOCATIONS)


@mutant("HTTP-048")
def invocation_that_is_not_encoded_is_served(gateway: Sabotage) -> None:
    """`content-encoding` of an invocation is ignored where the body is JSON."""
    serves_what_is_not_encoded(gateway, INVOCATIONS)


@mutant("MSG-130")
def zstd_message_request_is_invalid_json(gateway: Sabotage) -> None:
    """A message request in zstd is given to the JSON parser as it is."""
    reads_zstd_as_json(gateway, MESSAGES)


@mutant("MSG-131")
def message_request_that_is_not_encoded_is_served(gateway: Sabotage) -> None:
    """`content-encoding` of a message request is ignored where the body is JSON."""
    serves_what_is_not_encoded(gateway, MESSAGES)


@mutant("RESP-140")
def zstd_request_for_a_response_is_invalid_json(gateway: Sabotage) -> None:
    """A request for a response in zstd is given to the JSON parser as it is."""
    reads_zstd_as_json(gateway, RESPONSES)


@mutant("RESP-141")
def request_for_a_response_that_is_not_encoded_is_served(gateway: Sabotage) -> None:
    """`content-encoding` of a request for a response is ignored where the body is JSON."""
    serves_what_is_not_encoded(gateway, RESPONSES)
