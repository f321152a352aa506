"""What the chat template excuses, and what it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.client.transcript import Exchange
from conformance.fixtures import fixture_path
from conformance.run.template import excuse_of_the_template
from conformance.tokenizer import Tokenizer

HI, HELLO, MORE = (
    {"role": role, "content": content}
    for role, content in zip(("user", "assistant", "user"), ("Hi", "Hello", "More."), strict=True)
)
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1a2b3c4d", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "call_1a2b3c4d", "content": "Sunny"}


def excuse(
    family: str, *chats: tuple[int, list[Any]], tools: Any = None, path: str = "/chat/completions"
) -> str | None:
    exchanges = [
        Exchange(
            "POST", f"http://x/v1{path}", {}, json.dumps({"messages": messages, "tools": tools}).encode(), 0.0, status
        )
        for status, messages in chats
    ]
    return excuse_of_the_template(exchanges, Tokenizer.load(fixture_path(family)))


@pytest.mark.parametrize("family", ["chatml", "llama3", "glm", "qwen2.5"])
@pytest.mark.parametrize("status", [200, 400, 422, 500])
def test_what_the_template_takes_excuses_nothing(family, status):
    assert (
        excuse(family, (status, [HI]), (status, [HI, HELLO, MORE]), (status, [HI, CALLED, RESULT]), tools=TOOLS) is None
    )


def test_a_refusal_of_what_the_template_refuses_is_excused():
    assert "take turns" in str(excuse("llama2", (400, [HI, MORE])))
    assert "take turns" in str(excuse("llama2", (200, [HI]), (422, [HI, CALLED, RESULT])))
    assert "system, a user or the assistant" in str(excuse("deepseek-coder", (400, [HI, CALLED, RESULT])))


@pytest.mark.parametrize("status", [200, 401, 500])
def test_another_answer_to_what_the_template_refuses_is_not_excused(status):
    assert excuse("llama2", (status, [HI, MORE])) is None


def test_a_refusal_on_another_wire_is_not_excused():
    assert excuse("llama2", (400, [HI, MORE]), path="/messages") is None


def test_a_template_that_writes_tools_anew_excuses_what_goes_on():
    chats = (200, [HI]), (200, [HI, HELLO, MORE])
    assert "otherwise" in str(excuse("mistral", *chats, tools=TOOLS))
    assert excuse("mistral", *chats) is None
    assert "otherwise" in str(
        excuse("mistral", (200, [HI, CALLED, RESULT]), (200, [HI, CALLED, RESULT, HELLO, MORE]), tools=TOOLS)
    )
    assert excuse("mistral", chats[0], (400, chats[1][1]), tools=TOOLS) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"messages": 7}',
        b'{"messages": [7]}',
        b"[" * 100_000,
        b'{"messages": [{"role": "user", "tool_calls": [7]}]}',
    ],
)
def test_what_is_no_chat_excuses_nothing(content):
    exchange = Exchange("POST", "http://x/v1/chat/completions", {}, content, 0.0, 400)
    assert excuse_of_the_template([exchange], Tokenizer.load(fixture_path("llama2"))) is None
