"""The unmodified Anthropic SDK holds a conversation with a tool call over a session, and the export is right token for
token: the client's answers, the upstream's ledger and the trajectory are three records of one exchange."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest

from conformance.gateway import Trajectory
from conformance.oracles import token_truth
from conformance.upstream.client import Upstream

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"name": "weather", "description": "The weather of a city.", "input_schema": SCHEMA}
AS_FUNCTION = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather of a city.", "parameters": SCHEMA},
}


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    shared_upstream.begin()
    yield shared_upstream
    shared_upstream.end()


@pytest.fixture
def handle(reference_url: str) -> dict[str, str]:
    return httpx.post(f"{reference_url}/sessions", json={}).json()


@pytest.fixture
def client(handle: dict[str, str]) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=handle["anthropic_base_url"], api_key="unused", max_retries=0) as client:
        yield client


def ask(client: anthropic.Anthropic, stream: bool, **request: Any) -> anthropic.types.Message:
    request = {"model": "any", "max_tokens": 512, "tools": [TOOL], **request}
    if not stream:
        return client.messages.create(**request)
    with client.messages.stream(**request) as events:
        return events.get_final_message()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_three_turns_with_a_tool_call(
    reference_url: str, handle: dict[str, str], client: anthropic.Anthropic, upstream: Upstream, stream: bool
) -> None:
    upstream.says("Hello! What would you like to know?")
    upstream.says("I will look.", tool_calls=[{"name": "weather", "arguments": {"city": "Zürich"}}])
    upstream.says("It is sunny in Zürich ☀.")

    system = f"{upstream.nonce} You help."
    messages: list[Any] = [{"role": "user", "content": "Hi"}]
    first = ask(client, stream, system=system, messages=messages)
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "The weather in Zürich?"}]
    second = ask(client, stream, system=system, messages=messages)
    said, call = second.content
    assert (said.type, call.type, second.stop_reason) == ("text", "tool_use", "tool_use")
    assert call.type == "tool_use"
    assert call.input == {"city": "Zürich"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
    messages += [{"role": "assistant", "content": second.content}, {"role": "user", "content": [result]}]
    third = ask(client, stream, system=system, messages=messages)

    assert [block.text for block in first.content if block.type == "text"] == ["Hello! What would you like to know?"]
    assert [block.text for block in third.content if block.type == "text"] == ["It is sunny in Zürich ☀."]
    assert third.stop_reason == "end_turn"
    exported = httpx.post(f"{reference_url}/sessions/{handle['session_id']}/finalize").json()["trajectories"]
    assert len(exported) == 1
    fields = ("prompt_ids", "response_ids", "response_mask", "response_logprobs")
    trajectory = Trajectory(**{name: exported[0][name] for name in fields})
    calls = upstream.calls
    assert [each.outcome for each in calls] == ["answered"] * 3
    assert [each.usage.input_tokens for each in (first, second, third)] == [len(each.context) for each in calls]
    assert [each.usage.output_tokens for each in (first, second, third)] == [len(each.generation) for each in calls]
    assert token_truth.judge([trajectory], calls) == []
    whole = upstream.tokenizer.decode(trajectory.prompt_ids + trajectory.response_ids)
    assert whole == as_rendered(upstream, system)


def as_rendered(upstream: Upstream, system: str) -> str:
    """The same conversation, by the template."""
    function = {"name": "weather", "arguments": {"city": "Zürich"}}
    conversation = [
        {"role": "system", "content": system},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello! What would you like to know?"},
        {"role": "user", "content": "The weather in Zürich?"},
        {"role": "assistant", "content": "I will look.", "tool_calls": [{"type": "function", "function": function}]},
        {"role": "tool", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny in Zürich ☀."},
    ]
    render = upstream.tokenizer.render(conversation, tools=[AS_FUNCTION], add_generation_prompt=False)
    return render.rstrip("\n")


def test_tokens_are_counted_as_a_turn_would_send_them(client: anthropic.Anthropic, upstream: Upstream) -> None:
    messages: list[Any] = [{"role": "user", "content": f"{upstream.nonce} Hi"}]
    counted = client.messages.count_tokens(model="any", messages=messages, tools=[TOOL])
    assert upstream.calls == []
    upstream.says("Hello")
    answer = ask(client, False, messages=messages)
    assert counted.input_tokens == answer.usage.input_tokens


def test_models_are_listed(client: anthropic.Anthropic) -> None:
    (model,) = client.models.list()
    assert model.id == model.display_name == "default"


def test_refusal_is_the_error_of_its_status(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens must be a positive integer"):
        ask(client, False, messages=[{"role": "user", "content": "Hi"}], max_tokens=0)


def test_unknown_session_is_not_found(client: anthropic.Anthropic) -> None:
    elsewhere = client.with_options(base_url=f"{str(client.base_url).rstrip('/')}0")
    with pytest.raises(anthropic.NotFoundError) as refused:
        ask(elsewhere, True, messages=[{"role": "user", "content": "Hi"}])
    assert refused.value.body["error"]["type"] == "not_found_error"
