"""Answers on the Anthropic wire: the body, the events, and that both say the same."""

from __future__ import annotations

import json
import re

import pytest

from reference_gateway.types import Answer, Turn
from reference_gateway.wire import anthropic_messages, models
from reference_gateway.wire.base import WireRequest

CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"a": "é", "n": 1}}},
    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": {"n": 2**70}}},
    {"id": "call_3", "type": "function", "function": {"name": "h", "arguments": '{"a": 1}'}},
]
ODD_CALL = {"id": "", "type": "function", "function": {"name": "g", "arguments": "{not json"}}
ANSWERS = {
    "text": Answer({"role": "assistant", "content": "Hello\r\n\u2028you"}, "stop", 18, 2),
    "calls": Answer({"role": "assistant", "content": "", "tool_calls": CALLS}, "tool_calls", 18, 9),
    "text and calls": Answer({"role": "assistant", "content": "So:", "tool_calls": CALLS}, "tool_calls", 18, 9),
    "empty": Answer({"role": "assistant", "content": ""}, "stop", 18, 0),
    "length": Answer({"role": "assistant", "content": ""}, "length", 99, 0),
}
PIECES = {"text_delta": "text", "input_json_delta": "partial_json"}


def request(**fields) -> WireRequest:
    return WireRequest(Turn([]), model="m", **fields)


def body_of(answer: Answer) -> dict:
    return json.loads(anthropic_messages.plain(answer, request()))


def events_of(answer: Answer) -> list[dict]:
    events = []
    for frame in b"".join(anthropic_messages.stream(answer, request(stream=True))).split(b"\n\n")[:-1]:
        named = re.fullmatch(rb"event: (\w+)\ndata: ([^\r\n]+)", frame)
        assert named is not None
        events.append(json.loads(named[2]))
        assert events[-1]["type"] == named[1].decode()
    return events


def assembled(events: list[dict]) -> dict:
    message: dict = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = event["message"]
                assert (message["content"], message["stop_reason"], message["usage"]["output_tokens"]) == ([], None, 0)
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
                pieces = ""
            case "content_block_delta":
                pieces += event["delta"][PIECES[event["delta"]["type"]]]
            case "content_block_stop":
                block = message["content"][event["index"]]
                if block["type"] == "text":
                    block["text"] += pieces
                else:
                    assert block["input"] == {}
                    block["input"] = json.loads(pieces)
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    assert [event["type"] for event in events][-2:] == ["message_delta", "message_stop"]
    return message


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_stream_says_what_the_body_says(answer):
    body, stream = body_of(answer), assembled(events_of(answer))
    assert body.pop("id") != stream.pop("id")
    assert stream == body


def test_body_of_a_text():
    body = body_of(ANSWERS["text"])
    assert re.fullmatch("msg_[0-9a-f]{24}", body.pop("id"))
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hello\r\n\u2028you"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 18,
            "output_tokens": 2,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


def test_calls_are_blocks_with_objects():
    body = body_of(ANSWERS["text and calls"])
    assert body["stop_reason"] == "tool_use"
    assert body["content"] == [
        {"type": "text", "text": "So:"},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": "é", "n": 1}},
        {"type": "tool_use", "id": "call_2", "name": "g", "input": {"n": 2**70}},
        {"type": "tool_use", "id": "call_3", "name": "h", "input": {"a": 1}},
    ]


def test_arguments_that_are_no_object_are_shown_as_none(caplog):
    (block,) = body_of(Answer({"role": "assistant", "content": "", "tool_calls": [ODD_CALL]}, "tool_calls", 1, 1))[
        "content"
    ]
    assert block["input"] == {}
    assert re.fullmatch("toolu_[0-9a-f]{16}", block["id"])
    assert "no JSON object" in caplog.text


def test_nothing_is_one_empty_text():
    assert body_of(ANSWERS["empty"])["content"] == [{"type": "text", "text": ""}]
    assert body_of(ANSWERS["length"])["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (409, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
    ],
)
def test_error_has_the_type_of_its_status(status, kind):
    assert json.loads(anthropic_messages.error(status, "no")) == {
        "type": "error",
        "error": {"type": kind, "message": "no"},
    }


def test_models_are_read_by_clients_of_both_apis():
    body = json.loads(models.listed("m"))
    (model,) = body["data"]
    assert (body["object"], model["object"]) == ("list", "model")
    assert (model["type"], model["display_name"], body["first_id"], body["has_more"]) == ("model", "m", "m", False)
