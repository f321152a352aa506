"""The openai package from PyPI, unmodified, against the demo gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from gateway_doubles import Client, byte_codec, gateway

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture
def client() -> Iterator[Client]:
    with gateway() as client:
        yield client


def turn(sdk: openai.OpenAI, messages: list, stream: bool):
    """One turn; gives its message as the SDK has it, and why it ended."""
    if not stream:
        completion = sdk.chat.completions.create(model="demo", messages=messages, tools=TOOLS)
        return completion.choices[0].message, completion.choices[0].finish_reason
    with sdk.chat.completions.stream(model="demo", messages=messages, tools=TOOLS) as events:
        final = events.get_final_completion()
    return final.choices[0].message, final.choices[0].finish_reason


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_three_turns_with_a_tool_call_are_one_trajectory(client, stream):
    session = client.open()
    messages: list = [{"role": "user", "content": "hello"}]
    with openai.OpenAI(base_url=f"{session}/v1", api_key="any", _strict_response_validation=True) as sdk:
        message, reason = turn(sdk, messages, stream)
        assert (message.content, reason) == ("You said: hello", "stop")
        messages += [message.model_dump(), {"role": "user", "content": 'call weather {"city": "Rome"}'}]
        message, reason = turn(sdk, messages, stream)
        (call,) = message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments), reason) == (
            "weather",
            {"city": "Rome"},
            "tool_calls",
        )
        messages += [message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        message, reason = turn(sdk, messages, stream)
        assert (message.content, reason) == ("The tool says: sunny", "stop")
    (trajectory,) = client.http.post(f"{session}/finalize").json()["trajectories"]
    codec = byte_codec()
    messages.append({"role": "assistant", "content": "The tool says: sunny"})
    for each in messages:
        for call in each.get("tool_calls") or ():
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    whole = codec.vocabulary.decode(trajectory["prompt_ids"] + trajectory["response_ids"], keep_control=True)
    rendered = codec.encode([{**each, "content": each["content"] or ""} for each in messages], TOOLS, {})
    prompt = "\n<|im_start|>assistant\n"
    assert whole + prompt == codec.vocabulary.decode(rendered, keep_control=True)
    sampled = [
        token for token, mask in zip(trajectory["response_ids"], trajectory["response_mask"], strict=True) if mask
    ]
    assert codec.vocabulary.decode(sampled, keep_control=True) == (
        "You said: hello<|im_end|>"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call><|im_end|>'
        "The tool says: sunny<|im_end|>"
    )
    assert trajectory["num_turns"] == 6


def test_the_sdk_reads_usage_from_a_stream(client):
    with openai.OpenAI(base_url=f"{client.open()}/v1", api_key="any") as sdk:
        chunks = list(
            sdk.chat.completions.create(
                model="demo",
                messages=[{"role": "user", "content": "hi"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len("You said: hi") + 1


def test_the_sdk_raises_what_was_meant_and_asks_once(client):
    session = client.open()
    client.http.post(f"{session}/abort")
    with openai.OpenAI(base_url=f"{session}/v1", api_key="any") as sdk:
        with pytest.raises(openai.ConflictError, match="is aborted"):
            sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        with pytest.raises(openai.BadRequestError, match="n=2 is not supported"):
            sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], n=2)
    counted = client.http.get(f"{client.url}/metrics").text
    assert 'status="409"} 1\n' in counted
    assert 'status="400"} 1\n' in counted
