"""What a check reads of a message is the same whether it was streamed or not; what is missing is named by its path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.client.anthropic import MessageReply, as_tool, results_of
from conformance.client.failure import ConformanceFailure
from conformance.client.transcript import Exchange
from conformance.vocabulary.session import function

CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, "é"]}}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "So:"}, CALL],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 7, "output_tokens": 3},
}
EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            **MESSAGE,
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 7, "output_tokens": 0},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "So:"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {**CALL, "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a": [1,'}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"é"]}'}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 3},
    },
    {"type": "message_stop"},
]


def reply(body: str, kind: str = "application/json", status: int = 200) -> MessageReply:
    exchange = Exchange("POST", "http://gateway/v1/messages", {}, b"", 0.0)
    exchange.status, exchange.headers = status, {"content-type": kind}
    exchange.chunks.append((0.0, body.encode()))
    return MessageReply(exchange)


def streamed(events: list[dict[str, Any]]) -> MessageReply:
    frames = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
    return reply(frames, "text/event-stream")


@pytest.mark.parametrize("answer", [reply(json.dumps(MESSAGE)), streamed(EVENTS)], ids=["plain", "stream"])
def test_accessors(answer: MessageReply) -> None:
    assert answer.completion == MESSAGE
    assert answer.message == {"role": "assistant", "content": MESSAGE["content"]}
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("So:", [CALL], "tool_use")
    assert (answer.id, answer.model, answer.usage["output_tokens"]) == ("msg_1", "m", 3)
    assert results_of(answer.message, "x") == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        (reply("{}"), "content"),
        (reply('{"content": ["x"]}'), "[0]"),
        (reply('{"content": [{"type": "text"}]}'), "text"),
        (reply("[]"), "body"),
        (reply("busy", "text/plain"), "body"),
        (reply("{}", status=500), "status"),
        (streamed(EVENTS[:1]), "stop_reason"),
    ],
)
def test_what_is_missing_is_named(answer: MessageReply, where: str) -> None:
    with pytest.raises(ConformanceFailure) as failure:
        _ = answer.text, answer.finish_reason
    assert where in failure.value.violations[0].where


def test_a_function_is_a_tool_of_this_wire() -> None:
    tool = as_tool(function("f", "F.", q={"type": "string"}), cache_control={"type": "ephemeral"})
    assert list(tool) == ["name", "description", "input_schema", "cache_control"]
    assert tool["input_schema"]["required"] == ["q"]
