"""Answers on the OpenAI wire: the body, the stream, and that both say the same."""

from __future__ import annotations

import json
import re
import time

import pytest

from reference_gateway.types import Answer, Turn
from reference_gateway.wire import openai_chat, sse
from reference_gateway.wire.base import WireRequest

CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"a": "é", "n": 1}}},
    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{not json"}},
]
ANSWERS = {
    "text": Answer({"role": "assistant", "content": "Hello\r\n\u2028you"}, "stop", 18, 2),
    "calls": Answer({"role": "assistant", "content": "", "tool_calls": CALLS}, "tool_calls", 18, 9),
    "text and calls": Answer({"role": "assistant", "content": "So:", "tool_calls": CALLS}, "tool_calls", 18, 9),
    "empty": Answer({"role": "assistant", "content": ""}, "stop", 18, 0),
    "length": Answer({"role": "assistant", "content": ""}, "length", 99, 0),
    "reasoned": Answer({"role": "assistant", "content": "4", "reasoning_content": "2 and 2"}, "stop", 1, 1),
}


def request(**fields) -> WireRequest:
    return WireRequest(Turn([]), model="m", **fields)


def body_of(answer: Answer) -> dict:
    return json.loads(openai_chat.plain(answer, request()))


def frames_of(answer: Answer, **fields) -> list[bytes]:
    whole = b"".join(openai_chat.stream(answer, request(stream=True, **fields)))
    return [frame + b"\n\n" for frame in whole.split(b"\n\n")[:-1]]


def chunks_of(answer: Answer, **fields) -> list[dict]:
    *frames, done = frames_of(answer, **fields)
    assert done == b"data: [DONE]\n\n"
    for frame in frames:
        assert re.fullmatch(rb"data: [^\r\n]+\n\n", frame)
    return [json.loads(frame[6:]) for frame in frames]


def assembled(chunks: list[dict]) -> dict:
    message: dict = {"content": ""}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for field, value in choice["delta"].items():
                if field == "tool_calls":
                    calls = [{name: each[name] for name in each if name != "index"} for each in value]
                    assert [each["index"] for each in value] == list(range(len(value)))
                    message["tool_calls"] = calls
                else:
                    message[field] = message.get(field, "") + value
    return message


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_stream_says_what_the_body_says(answer):
    chunks = chunks_of(answer, include_usage=True)
    body = body_of(answer)
    # A stream says that nothing was refused by leaving it out.
    assert {"refusal": None, **assembled(chunks)} == body["choices"][0]["message"]
    assert chunks[-2]["choices"][0]["finish_reason"] == body["choices"][0]["finish_reason"]
    assert chunks[-1]["usage"] == body["usage"]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_chunks_share_one_envelope_and_stand_in_order(answer):
    chunks = chunks_of(answer)
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert chunks[0]["object"] == "chat.completion.chunk"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant"}
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all("usage" not in chunk for chunk in chunks)


def test_body_of_a_text():
    before = int(time.time())
    body = body_of(ANSWERS["text"])
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{32}", body.pop("id"))
    assert before <= body.pop("created") <= time.time()
    assert body == {
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello\r\n\u2028you", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 18, "completion_tokens": 2, "total_tokens": 20},
    }


def test_arguments_are_json_text_on_the_wire():
    first, second = body_of(ANSWERS["calls"])["choices"][0]["message"]["tool_calls"]
    assert json.loads(first["function"]["arguments"]) == {"a": "é", "n": 1}
    assert second["function"]["arguments"] == "{not json"


def test_ids_are_unique():
    assert len({body_of(ANSWERS["text"])["id"] for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "invalid_request_error"),
        (404, "invalid_request_error"),
        (405, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "invalid_request_error"),
        (500, "internal_server_error"),
        (503, "internal_server_error"),
    ],
)
def test_error_envelope(status, kind):
    error = {"message": "why", "type": kind, "code": None, "param": None}
    assert json.loads(openai_chat.error(status, "why")) == {"error": error}


def test_named_events_have_both_lines():
    assert sse.event("ping", {"a": 1}) == b'event: ping\ndata: {"a":1}\n\n'
