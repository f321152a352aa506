"""Mutants of area HTTP: bodies and connections that the gateway cannot take."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

from starlette.types import Receive, Send

from reference_gateway.backends import vllm
from reference_gateway.serving import data_plane
from reference_gateway.serving.data_plane import DataPlane
from reference_gateway.serving.server import Server
from reference_gateway.wire import openai_chat
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, App, Sabotage, Scope


def crash(gateway: Sabotage, on: Callable[[bytes], bool]) -> None:
    """Answer chat requests whose body was read, and is such a body, like an exception that nobody expected."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.status in (200, 400) and on(answer.request):
            answer.status = 500
            answer.json = {
                "error": {"message": "Internal server error", "type": "server_error", "param": None, "code": None}
            }


@mutant("HTTP-007", bugs=(15,))
def parse_error_is_not_caught(gateway: Sabotage) -> None:
    """The parser's error is nobody's, and becomes a 500."""
    crash(gateway, lambda body: body in (b"", b"model=kit&messages=Hi"))


@mutant("HTTP-007")
def body_is_decoded_as_latin_1(gateway: Sabotage) -> None:
    """What is not UTF-8 is taken for Latin-1, where every byte is a character."""

    @gateway.wrap(data_plane, "read_object")
    def read_object(original: Any, body: bytes) -> Any:
        try:
            body.decode()
        except UnicodeDecodeError:
            body = body.decode("latin-1").encode()
        return original(body)


@mutant("HTTP-007")
def rest_of_the_body_is_ignored(gateway: Sabotage) -> None:
    """The parser stops at the end of the first document, whatever comes behind it."""

    @gateway.wrap(data_plane, "read_object")
    def read_object(original: Any, body: bytes) -> Any:
        try:
            json.loads(body)
        except json.JSONDecodeError as error:
            if error.msg == "Extra data":
                body = error.doc[: error.pos].encode()
        except (ValueError, RecursionError):
            pass
        return original(body)


@mutant("HTTP-008")
def list_body_crashes(gateway: Sabotage) -> None:
    """Fields are read from whatever the JSON was, and a list has none."""
    crash(gateway, lambda body: body.startswith(b"["))


@mutant("HTTP-008")
def null_body_is_the_default_request(gateway: Sabotage) -> None:
    """A body of null counts as a request without fields, and is answered with an empty completion."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.request == b"null":
            answer.status, answer.json = 200, {"choices": []}


@mutant("HTTP-009")
def recursion_error_is_not_caught(gateway: Sabotage) -> None:
    """The parser gives up on deep nesting with an error that nobody catches."""
    crash(gateway, lambda body: body.count(b"[") > 50_000 or body.count(b"{") > 50_000)


@mutant("HTTP-009")
def deep_nesting_takes_the_worker_down(gateway: Sabotage) -> None:
    """Deep nesting is refused, and the worker that did it is gone for the next request."""
    down: list[bool] = []

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and down:
            answer.status, down[:] = 502, []
        elif answer.is_chat and answer.request.count(b"[") > 50_000:
            down.append(True)


@mutant("HTTP-010", also=("HTTP-043",))
def body_limit_of_the_library_is_a_500(gateway: Sabotage) -> None:
    """The body limit raises where nobody expects it."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.status == 413 and b"the body is larger" in answer.body:
            answer.status = 500


@mutant("HTTP-010")
def large_body_is_refused_as_bad(gateway: Sabotage) -> None:
    """Only the first bytes of a large body are read, and what was read is no JSON."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.status == 413:
            answer.status = 400


@mutant("HTTP-011")
def lone_surrogate_breaks_the_encoder(gateway: Sabotage) -> None:
    """A lone surrogate gets through the parser and cannot be encoded afterwards."""
    crash(gateway, lambda body: rb"\ud800" in body)


@mutant("HTTP-011")
def nul_breaks_the_database(gateway: Sabotage) -> None:
    """A NUL character cannot be stored where turns are logged."""
    crash(gateway, lambda body: rb"\u0000" in body)


@mutant("HTTP-011")
def repeated_key_breaks_the_parser(gateway: Sabotage) -> None:
    """The parser insists on unique keys, and its error is not caught."""
    crash(gateway, lambda body: body.count(b'"model":') > 1 and b"}{" not in body)


def on_chat_route(gateway: Sabotage) -> ContextVar[bool]:
    """Whether the request that is being served was sent to the chat route, whatever stands in it."""
    serving: ContextVar[bool] = ContextVar("serving", default=False)

    @gateway.wrap(DataPlane, "_answer")
    async def answer(original: Any, self: DataPlane, wire: Any, *rest: Any) -> Any:
        serving.set(wire is openai_chat)
        return await original(self, wire, *rest)

    return serving


@mutant("HTTP-012")
def body_is_parsed_only_if_labelled_json(gateway: Sabotage) -> None:
    """The framework parses only what is labelled as JSON, and the handler goes on with None."""
    chat = on_chat_route(gateway)

    @gateway.wrap(data_plane, "require_json")
    def require_json(original: Any, content_type: str | None) -> None:
        if not chat.get():
            original(content_type)
        elif content_type is None or not content_type.lower().startswith("application/json"):
            raise AttributeError("'NoneType' object has no attribute 'get'")


@mutant("HTTP-013")
def numbers_that_are_not_finite_pass(gateway: Sabotage) -> None:
    """The JSON of the standard library is used throughout, which reads and writes NaN and Infinity."""
    lax = SimpleNamespace(
        loads=json.loads,
        dumps=lambda document: json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(),
        JSONDecodeError=json.JSONDecodeError,
        Fragment=json.loads,
    )
    gateway.patch(vllm, "orjson", lax)
    chat = on_chat_route(gateway)

    @gateway.wrap(data_plane, "read_object")
    def read_object(original: Any, body: bytes) -> Any:
        odd = b"NaN" in body or b"Infinity" in body or b"1e999" in body
        return json.loads(body) if odd and chat.get() else original(body)


@mutant("HTTP-018")
def connection_is_closed_after_a_refusal(gateway: Sabotage) -> None:
    """The handler that writes a refusal breaks after its last byte, and the server closes without a word."""

    @gateway.middleware
    def breaking(app: App) -> App:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            status = 0

            async def watch(message: Any) -> None:
                nonlocal status
                status = message.get("status", status)
                await send(message)

            await app(scope, receive, watch)
            if status == 400 and scope["path"].endswith("/chat/completions"):
                raise ConnectionAbortedError

        return broken


@mutant("HTTP-019")
def chunked_body_is_not_read(gateway: Sabotage) -> None:
    """The body is read by its content length, which counts as 0 when it is absent."""
    chat = on_chat_route(gateway)

    @gateway.wrap(data_plane, "read_body")
    async def read_body(original: Any, receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
        body: bytes = await original(receive, headers, limit)
        return body if "content-length" in headers or not chat.get() else b""


@mutant("HTTP-020")
def part_of_a_body_is_taken_for_the_whole(gateway: Sabotage) -> None:
    """The reading loop ends when the client is gone, and goes on with the bytes that arrived."""
    cut_short: ContextVar[bool] = ContextVar("cut_short", default=False)
    chat = on_chat_route(gateway)

    @gateway.wrap(data_plane, "read_body")
    async def read_body(original: Any, receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
        async def listen() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect" and chat.get():
                cut_short.set(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            return message

        body: bytes = await original(listen, headers, limit)
        return body

    @gateway.wrap(data_plane, "while_connected")
    async def while_connected(original: Any, turn: Any, receive: Receive) -> Any:
        return await (turn if cut_short.get() else original(turn, receive))


@mutant("HTTP-021")
def head_probe_crashes(gateway: Sabotage) -> None:
    """A HEAD request reaches a handler that was written for GET."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.method == "HEAD" and answer.path.endswith("/v1"):
            answer.status = 500


@mutant("HTTP-050")
def idle_connections_use_up_the_server(gateway: Sabotage) -> None:
    """The server counts connections, and answers 503 from the hundredth on."""

    @gateway.wrap(Server, "__init__")
    def init(original: Any, self: Server, *where: Any, **how: Any) -> None:
        original(self, *where, **how)
        self.config.limit_concurrency = 100
