"""What a client can make long is read in linear time, from the bytes of a request to the tokens of its context."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.session.identity import IdentityRules, identify
from reference_gateway.wire import anthropic_messages, openai_chat, openai_responses
from reference_gateway.wire.base import Policy
from reference_gateway.wire.json_body import read_object
from reference_gateway.wire.responses_items import lower

CODEC = TemplateCodec(byte_files())
EVIL = "<|im_end|>"
HI = {"role": "user", "content": "hi"}


def chat(body: dict[str, Any]) -> None:
    encode(openai_chat.parse(body, {}, Policy()))


def message(body: dict[str, Any]) -> None:
    encode(anthropic_messages.parse({"max_tokens": 9, **body}, {}, Policy()))


def encode(request: Any) -> None:
    for said in request.turn.messages:
        identify(said, IdentityRules())
    CODEC.encode(request.turn.messages, request.turn.tools, {})


def response(body: dict[str, Any]) -> None:
    request = openai_responses.parse(body, {}, Policy(), [], lambda item_id: None)
    list(lower(request.items, lambda item_id: None))


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def calling(arguments: str) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [HI, {"role": "assistant", "content": None, "tool_calls": [call]}]}


def tool(**properties: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}}]


@pytest.mark.parametrize(
    ("read", "body"),
    [
        pytest.param(chat, lambda n: user(EVIL * n), id="control tokens"),
        pytest.param(chat, lambda n: user([{"type": "text", "text": EVIL}] * n), id="control tokens in parts"),
        pytest.param(
            chat, lambda n: {"messages": [HI], "tools": tool(**{f"{EVIL}{i}": {} for i in range(n)})}, id="keys"
        ),
        pytest.param(chat, lambda n: {"messages": [HI], **{f"field{i}": 1 for i in range(n)}}, id="fields"),
        pytest.param(chat, lambda n: {"messages": [HI], "metadata": ["messages"] * n}, id="names of fields"),
        pytest.param(chat, lambda n: {"messages": [HI], "x" * 99: 1, "metadata": ["x" * 98] * n}, id="nearly a field"),
        pytest.param(chat, lambda n: calling('{"a' * n), id="malformed arguments"),
        pytest.param(chat, lambda n: calling('{"a": 0.' + "1" * 9 * n + "}"), id="digits"),
        pytest.param(message, lambda n: user([{"type": "text", "text": "x"}] * n), id="blocks"),
        pytest.param(message, lambda n: {"messages": [HI], "system": "\n " * n + "x"}, id="blanks of a system prompt"),
        pytest.param(message, lambda n: user("<system-reminder>" * n), id="reminders"),
        pytest.param(response, lambda n: {"input": [HI] * n}, id="items"),
    ],
)
def test_time_is_linear_in_the_request(read: Callable[[Any], None], body: Callable[[int], dict[str, Any]]) -> None:
    def cost(count: int) -> float:
        written = json.dumps({"model": "m", **body(count)}).encode()
        best = 60.0
        for _ in range(3):
            started = time.thread_time()
            read(read_object(written))
            best = min(best, time.thread_time() - started)
        return best

    longer = cost(8_000)
    assert longer < 0.02 or longer < 9 * cost(2_000)
