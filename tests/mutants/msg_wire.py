"""The places at which mutants of area MSG get hold of a turn: its body, its parsed form, its answer, its events, its
errors. Each takes the sabotage and a change, and leaves the chat wire alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway.types import Answer as TurnAnswer
from reference_gateway.types import Turn
from reference_gateway.wire import anthropic_messages, anthropic_request
from tests.mutants.sabotage import Answer, Sabotage

Body = dict[str, Any]
Block = dict[str, Any]
Event = dict[str, Any]


def is_message(answer: Answer) -> bool:
    return answer.path.endswith("/v1/messages") and answer.status == 200


def asked_to_stream(answer: Answer) -> bool:
    return (
        answer.path.endswith("/v1/messages") and isinstance(answer.asked, dict) and answer.asked.get("stream") is True
    )


def on_body(gateway: Sabotage, change: Callable[[Body], Body]) -> None:
    """Replace the request's body before it is parsed; the change may raise `RequestRefused`."""

    @gateway.wrap(anthropic_messages, "parse")
    def parse(original: Any, body: Body, headers: Any, policy: Any) -> Any:
        return original(change(dict(body)), headers, policy)


def on_messages(gateway: Sabotage, change: Callable[[list[Any]], list[Any]]) -> None:
    """Replace the request's messages, where they are a list."""
    on_body(
        gateway,
        lambda body: {**body, "messages": change(body["messages"])} if isinstance(body.get("messages"), list) else body,
    )


def on_turn(gateway: Sabotage, change: Callable[[Body, Turn], Turn]) -> None:
    """Replace the parsed turn, with the body at hand."""

    @gateway.wrap(anthropic_messages, "parse")
    def parse(original: Any, body: Body, headers: Any, policy: Any) -> Any:
        request = original(body, headers, policy)
        return replace(request, turn=change(body, request.turn))


def on_lowered(gateway: Sabotage, name: str, change: Callable[..., Any]) -> None:
    """Stand in for a function that lowers a request: `change(original, *arguments)`."""
    gateway.wrap(anthropic_request, name)(change)


def on_answer(gateway: Sabotage, change: Callable[[TurnAnswer], TurnAnswer]) -> None:
    """Replace the answer of a turn on its way to the wire; what the session holds stays as it is."""
    for name in ("plain", "stream"):

        @gateway.wrap(anthropic_messages, name)
        def write(original: Any, answer: TurnAnswer, request: Any) -> Any:
            return original(change(answer), request)


def on_blocks(gateway: Sabotage, change: Callable[[list[Block]], list[Block]]) -> None:
    """Replace the content blocks of each answer, streamed or not."""

    @gateway.wrap(anthropic_messages, "_blocks")
    def blocks(original: Any, answer: TurnAnswer) -> Any:
        return change(original(answer))


def on_plain(gateway: Sabotage, change: Callable[[Body], None]) -> None:
    """Change each plain message in place."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if is_message(answer) and not answer.is_stream:
            document = answer.json
            change(document)
            answer.json = document


def on_stream(gateway: Sabotage, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of each streamed message."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if is_message(answer) and answer.is_stream:
            answer.body = change(answer.body)


def on_events(gateway: Sabotage, change: Callable[[list[Event]], list[Event] | None]) -> None:
    """Change the events of each streamed message, in place or by returning others."""

    def changed(body: bytes) -> bytes:
        events = [json.loads(frame.partition("data: ")[2]) for frame in body.decode().split("\n\n") if frame]
        before = framed(events)
        after = framed(change(events) or events)
        return body if after == before else after

    on_stream(gateway, changed)


def on_errors(gateway: Sabotage, change: Callable[[int, Body], Body]) -> None:
    """Replace the error envelope: `change(status, envelope)`."""

    @gateway.wrap(anthropic_messages, "error")
    def error(original: Any, status: int, message: str) -> bytes:
        return json.dumps(change(status, json.loads(original(status, message)))).encode()


def over_messages(gateway: Sabotage) -> ContextVar[bool]:
    """True while a request of this wire is served."""
    speaking: ContextVar[bool] = ContextVar("speaking", default=False)

    def note(body: Body) -> Body:
        speaking.set(True)
        return body

    on_body(gateway, note)
    return speaking


def framed(events: list[Event]) -> bytes:
    """The bytes of a stream."""
    return "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events).encode()
