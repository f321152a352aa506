"""The demo model: what it says, by rule."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reference_gateway.backends.scripted import ScriptedBackend
from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Generation, Media, Message

CODEC = TemplateCodec(byte_files(), tool_parser="hermes")
END = CODEC.vocabulary.token_id("<|im_end|>")
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
HI: list[Message] = [{"role": "user", "content": "hi"}]


def generate(messages: list[Message], tools: Any = None, **sampling: Any) -> Generation:
    backend = ScriptedBackend(lambda ids: CODEC.vocabulary.decode(ids, keep_control=True), CODEC.vocabulary.encode, END)
    context = CODEC.encode(messages, tools, {})
    return asyncio.run(backend.generate(context, sampling, session_id="s", media=Media()))


def test_it_repeats_the_user_and_ends_its_turn():
    found = generate(HI)
    assert CODEC.decode(found.ids, None)["content"] == "You said: hi"
    assert (found.ids[-1], found.stop_reason, found.logprobs) == (END, "stop", None)


def test_it_calls_a_tool_that_it_was_asked_to_call():
    found = generate([{"role": "user", "content": 'Please call weather {"city": "Rome"}'}], TOOLS)
    (call,) = CODEC.decode(found.ids, TOOLS)["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": {"city": "Rome"}}


@pytest.mark.parametrize("tools", [None, TOOLS])
def test_it_calls_no_tool_that_it_does_not_have(tools):
    found = generate([{"role": "user", "content": "call home {}"}], tools)
    assert CODEC.decode(found.ids, tools)["content"].startswith("You said: ")


def test_it_reports_what_the_tool_said():
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": {}}}
    tail = [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "sunny"}]
    assert CODEC.decode(generate([*HI, *tail], TOOLS).ids, None)["content"] == "The tool says: sunny"


def test_it_stops_at_max_tokens():
    found = generate(HI, max_tokens=3)
    assert (len(found.ids), found.stop_reason) == (3, "length")


def test_its_logprobs_are_those_of_certainty():
    found = generate(HI, logprobs=True)
    assert found.logprobs == [0.0] * len(found.ids)
