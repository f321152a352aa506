"""vLLM's `/v1/chat/completions`, as a gateway that passes chat through sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.upstream.client import Upstream

from .caller import Caller, events, joined

TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
CALLS = [{"name": "search", "arguments": {"q": "wéather"}}, {"name": "search", "arguments": {}}]
HI = {"messages": [{"role": "user", "content": "a"}]}
NAMED = {"type": "function", "function": {"name": "paint"}}


def assembled(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that the chunks of one choice make, by the rules of the public API."""
    message: dict[str, Any] = {"content": "", "tool_calls": []}
    for chunk in chunks:
        for choice in chunk["choices"]:
            message["content"] += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", []):
                if "id" in call:
                    assert call["index"] == len(message["tool_calls"])
                    message["tool_calls"].append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
                message["tool_calls"][call["index"]]["arguments"] += call["function"]["arguments"]
    return message


def test_the_template_of_the_upstream_renders_the_context(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hello")

    answer = caller.chat(scripted.nonce, return_token_ids=True).json()

    assert answer["object"] == "chat.completion"
    assert answer["prompt_token_ids"] == caller.context(scripted.nonce)
    choice = answer["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hello", "refusal": None}
    assert choice["token_ids"] == [*scripted.tokenizer.encode("Hello"), scripted.tokenizer.end_of_turn]
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == len(answer["prompt_token_ids"]) + len(choice["token_ids"])
    call = scripted.calls[0]
    assert call.messages == [{"role": "user", "content": scripted.nonce}]
    assert call.context == answer["prompt_token_ids"]
    assert call.text == f"<|im_start|>user\n{scripted.nonce}<|im_end|>\n<|im_start|>assistant\n"


def test_token_ids_and_logprobs_come_only_when_asked_for(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hi")
    scripted.says("Hi")

    plain = caller.chat(scripted.nonce, logprobs=False).json()
    asked = caller.chat(scripted.nonce, logprobs=True, top_logprobs=0).json()["choices"][0]

    assert plain["prompt_token_ids"] is None
    assert plain["choices"][0]["token_ids"] is None
    assert plain["choices"][0]["logprobs"] is None
    entries = asked["logprobs"]["content"]
    assert [entry["logprob"] for entry in entries] == [-(i + 1) / 16 for i in range(len(entries))]
    assert b"".join(bytes(entry["bytes"]) for entry in entries) == b"Hi<|im_end|>"


def test_tool_calls_are_parsed_when_the_request_has_tools(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Looking.", tool_calls=CALLS)
    scripted.says(tool_calls=CALLS[:1])

    choice = caller.chat(scripted.nonce, tools=TOOLS).json()["choices"][0]
    bare = caller.chat(scripted.nonce, tools=TOOLS).json()["choices"][0]

    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Looking."
    calls = choice["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["search", "search"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"q": "wéather"}, {}]
    assert len({call["id"] for call in calls} | {bare["message"]["tool_calls"][0]["id"]}) == 3
    assert bare["message"]["content"] is None
    assert scripted.calls[0].finish_reason == "stop"


@pytest.mark.parametrize("fields", [{}, {"tools": TOOLS, "tool_choice": "none"}, {"tools": []}])
def test_without_tools_a_call_stays_text(fields: dict[str, Any], scripted: Upstream, caller: Caller) -> None:
    scripted.says(tool_calls=CALLS[:1])

    choice = caller.chat(scripted.nonce, **fields).json()["choices"][0]

    assert choice["message"]["content"].startswith("<tool_call>")
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"
    assert "<tools>" not in scripted.calls[0].text


@pytest.mark.parametrize(
    "text", ["<tool_call>{not json}</tool_call>", "<tool_call>\n[1]", '<tool_call>{"a":1}</tool_call>']
)
def test_a_malformed_call_stays_text(text: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says(text)

    choice = caller.chat(scripted.nonce, tools=TOOLS).json()["choices"][0]

    assert choice["message"]["content"] == text
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize(
    ("step", "fields"),
    [
        ({"text": "Hello wörld 😀"}, {}),
        ({"text": ""}, {}),
        ({"ids": []}, {}),
        ({"text": "cut", "finish": "length"}, {}),
        ({"text": "Looking.", "tool_calls": CALLS}, {"tools": TOOLS}),
        ({"tool_calls": CALLS[:1]}, {"tools": TOOLS}),
    ],
    ids=["text", "empty", "nothing", "length", "tools", "tool-only"],
)
def test_a_stream_is_the_plain_answer_in_pieces(
    step: dict[str, Any], fields: dict[str, Any], usage: bool, scripted: Upstream, caller: Caller
) -> None:
    scripted.says(**step)
    scripted.says(**step)
    fields = {**fields, "return_token_ids": True, "logprobs": True}
    options = {"stream_options": {"include_usage": True}} if usage else {}

    plain = caller.chat(scripted.nonce, **fields).json()
    chunks = events(caller.chat(scripted.nonce, stream=True, **options, **fields))

    if usage:
        last = chunks.pop()
        assert (last["choices"], last["usage"]) == ([], plain["usage"])
    assert all("usage" not in chunk for chunk in chunks)
    assert len({(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    whole, message = plain["choices"][0], assembled(chunks)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[0]["prompt_token_ids"] == plain["prompt_token_ids"]
    assert message["content"] == (whole["message"]["content"] or "")
    assert [(call["name"], call["arguments"]) for call in message["tool_calls"]] == [
        (call["function"]["name"], call["function"]["arguments"]) for call in whole["message"].get("tool_calls", [])
    ]
    choices = [chunk["choices"][0] for chunk in chunks]
    assert joined(choice.get("token_ids", []) for choice in choices) == whole["token_ids"]
    logprobs = joined(choice["logprobs"]["content"] for choice in choices if choice["logprobs"])
    assert logprobs == whole["logprobs"]["content"]
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + [whole["finish_reason"]]


def test_a_stream_keeps_its_choices_apart(scripted: Upstream, caller: Caller) -> None:
    scripted.says("A")
    scripted.says("B")

    chunks = events(caller.chat(scripted.nonce, stream=True, n=2))

    texts = {0: "", 1: ""}
    for chunk in chunks:
        choice = chunk["choices"][0]
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: "A", 1: "B"}


def test_a_conversation_with_a_tool_result_reaches_the_same_script(scripted: Upstream, caller: Caller) -> None:
    scripted.says(tool_calls=CALLS[:1], when="Search")
    scripted.says("Sunny.", when="<tool_response>\nsunny\n</tool_response>")
    first = {"role": "user", "content": f"{scripted.nonce} Search"}

    asked = caller.post("/v1/chat/completions", {"messages": [first], "tools": TOOLS}).json()
    turn = asked["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": turn["tool_calls"][0]["id"], "content": "sunny"}
    done = caller.post("/v1/chat/completions", {"messages": [first, turn, result], "tools": TOOLS}).json()

    assert done["choices"][0]["message"]["content"] == "Sunny."
    one, two = scripted.calls
    assert two.context[: len(one.context) + len(one.generation)] == one.context + one.generation


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "messages must be a non-empty list of objects"),
        ({"messages": []}, "messages must be"),
        ({"messages": ["hi"]}, "messages must be"),
        ({"messages": [{}]}, "messages[0].role must be a non-empty string"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content must be"),
        (
            {"messages": [{"role": "user", "content": ["a", {"type": "smell"}]}]},
            "messages[0].content[1] must be a part",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls must be a list"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0] must be an object"),
        ({"messages": [{"role": "user", "content": "a"}], "tool_choice": "some"}, "tool_choice must be"),
        (HI | {"tool_choice": "required"}, "tool_choice must be none or auto where there are no tools"),
        (HI | {"tool_choice": "required", "tools": []}, "tool_choice must be none or auto where there are no tools"),
        (HI | {"tool_choice": NAMED}, "tool_choice must name a function of tools"),
        (HI | {"tool_choice": {"type": "function"}, "tools": TOOLS}, "tool_choice must name a function of tools"),
        (HI | {"tool_choice": NAMED, "tools": TOOLS}, "tool_choice must name a function of tools"),
        (HI | {"tool_choice": NAMED, "tools": [7]}, "tool_choice must name a function of tools"),
        (HI | {"response_format": "text"}, "response_format.type must be text"),
        (HI | {"response_format": {"type": "xml"}}, "response_format.type must be text"),
        (HI | {"response_format": {"type": "json_schema"}}, "response_format.json_schema must have an object"),
        (
            HI | {"response_format": {"type": "json_schema", "json_schema": {"schema": "a"}}},
            "must have an object schema",
        ),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}, "max_tokens must be a whole number, 1"),
        ({"messages": [{"role": "user", "content": "a"}], "tools": {}}, "tools must be a list"),
        ({"messages": [{"role": "user", "content": "a"}], "n": "2"}, "n must be a whole number"),
        ({"messages": [{"role": "user", "content": "a"}], "logprobs": 1}, "logprobs must be true or false, not 1"),
        ({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": 1}, "chat_template_kwargs must be"),
    ],
)
def test_a_bad_request_is_refused_by_the_name_of_its_field(body: Any, message: str, caller: Caller) -> None:
    refused = caller.post("/v1/chat/completions", body)

    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]
