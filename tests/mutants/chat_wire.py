"""The three places at which mutants of area CHAT get hold of a turn: its body, its parsed form, its answer.

Each takes the sabotage and a change, and applies the change to every chat request or answer, streamed or not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway.types import Answer, Turn
from reference_gateway.wire import openai_chat
from tests.mutants.sabotage import Sabotage

Body = dict[str, Any]


def on_body(gateway: Sabotage, change: Callable[[Body], Body]) -> None:
    """Replace the request's body before it is parsed; the change may raise `RequestRefused`."""

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, body: Body, headers: Any, policy: Any) -> Any:
        return original(change(dict(body)), headers, policy)


def is_first(body: Body) -> bool:
    """Whether the request begins a conversation: no message of it is an assistant's."""
    messages = body.get("messages")
    return not isinstance(messages, list) or not any(
        isinstance(each, dict) and each.get("role") == "assistant" for each in messages
    )


def on_turn(gateway: Sabotage, change: Callable[[Body, Turn], Turn]) -> None:
    """Replace the parsed turn, with the body at hand."""

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, body: Body, headers: Any, policy: Any) -> Any:
        request = original(body, headers, policy)
        return replace(request, turn=change(body, request.turn))


def on_answer(gateway: Sabotage, change: Callable[[Answer], Answer]) -> None:
    """Replace the answer of a turn on its way to the wire; what the session holds stays as it is."""
    for name in ("plain", "stream"):

        @gateway.wrap(openai_chat, name)
        def write(original: Any, answer: Answer, request: Any) -> Any:
            return original(change(answer), request)


def on_this_wire(gateway: Sabotage) -> ContextVar[bool]:
    """Whether the request that is being served is a chat completion."""
    serving: ContextVar[bool] = ContextVar("serving", default=False)

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, *args: Any) -> Any:
        serving.set(True)
        return original(*args)

    return serving


def saying(answer: Answer, **fields: Any) -> Answer:
    """The answer with these fields in its message."""
    return replace(answer, message={**answer.message, **fields})
