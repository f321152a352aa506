"""The unmodified OpenAI SDK holds a conversation with a tool call over a session, and the export is right token for
token: the client's answers, the upstream's ledger and the trajectory are three records of one exchange."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessage

from conformance.gateway import Trajectory
from conformance.oracles import token_truth
from conformance.upstream.client import Upstream

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    shared_upstream.begin()
    yield shared_upstream
    shared_upstream.end()


def ask(client: openai.OpenAI, messages: list, stream: bool) -> ChatCompletionMessage:
    if not stream:
        return client.chat.completions.create(model="any", messages=messages, tools=[TOOL]).choices[0].message
    with client.chat.completions.stream(model="any", messages=messages, tools=[TOOL]) as events:
        return events.get_final_completion().choices[0].message


@pytest.fixture
def handle(reference_url: str) -> dict[str, str]:
    return httpx.post(f"{reference_url}/sessions", json={}).json()


@pytest.fixture
def client(handle: dict[str, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=handle["base_url"], api_key="unused", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_three_turns_with_a_tool_call(
    reference_url: str, handle: dict[str, str], client: openai.OpenAI, upstream: Upstream, stream: bool
) -> None:
    upstream.says("Hello! What would you like to know?")
    upstream.says(tool_calls=[{"name": "weather", "arguments": {"city": "Zürich"}}])
    upstream.says("It is sunny in Zürich ☀.")

    messages: list = [{"role": "system", "content": f"{upstream.nonce} You help."}, {"role": "user", "content": "Hi"}]
    first = ask(client, messages, stream)
    messages += [first, {"role": "user", "content": "How is the weather in Zürich?"}]
    second = ask(client, messages, stream)
    assert second.tool_calls is not None
    (call,) = second.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Zürich"}
    messages += [second, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    third = ask(client, messages, stream)

    assert first.content == "Hello! What would you like to know?"
    assert third.content == "It is sunny in Zürich ☀."
    exported = httpx.post(f"{reference_url}/sessions/{handle['session_id']}/finalize").json()["trajectories"]
    assert len(exported) == 1
    fields = ("prompt_ids", "response_ids", "response_mask", "response_logprobs")
    trajectory = Trajectory(**{name: exported[0][name] for name in fields})
    calls = upstream.calls
    assert [each.outcome for each in calls] == ["answered"] * 3
    assert token_truth.judge([trajectory], calls) == []
    whole = upstream.tokenizer.decode(trajectory.prompt_ids + trajectory.response_ids)
    history = [each if isinstance(each, dict) else each.model_dump(exclude_none=True) for each in [*messages, third]]
    render = upstream.tokenizer.render(history, tools=[TOOL], add_generation_prompt=False)
    assert whole == render.rstrip("\n")
