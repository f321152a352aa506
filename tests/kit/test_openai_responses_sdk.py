"""The unmodified OpenAI SDK holds conversations over the Responses wire, and so does the kit's own agent: what the
client was told, what the upstream received and sampled and what is exported are three records of one exchange."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response

from conformance.client.agent_loop import Agent
from conformance.gateway import Trajectory
from conformance.oracles import token_truth, turns
from conformance.upstream.client import Upstream

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": SCHEMA,
    "strict": False,
}
SEARCH: Any = {"type": "file_search", "vector_store_ids": ["files"]}


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    shared_upstream.begin()
    yield shared_upstream
    shared_upstream.end()


class Rollout:
    """A session, and the SDK on its base URL."""

    def __init__(self, url: str, upstream: Upstream) -> None:
        self.handle = httpx.post(f"{url}/sessions", json={}).json()
        self.url, self.upstream = url, upstream
        self.client = openai.OpenAI(
            base_url=self.handle["base_url"],
            api_key="unused",
            max_retries=0,
            _strict_response_validation=True,
        )

    def ask(self, stream: bool, **request: Any) -> Response:
        request = {"model": "any", "tools": [TOOL], **request}
        if not stream:
            return self.client.responses.create(**request)
        with self.client.responses.stream(**request) as events:
            return events.get_final_response()

    def export(self) -> Trajectory:
        """The one trajectory, which is what the upstream's ledger says."""
        session = f"{self.url}/sessions/{self.handle['session_id']}"
        exported = httpx.post(f"{session}/finalize").json()["trajectories"]
        fields = ("prompt_ids", "response_ids", "response_mask", "response_logprobs")
        trajectories = [Trajectory(**{name: each[name] for name in fields}) for each in exported]
        assert token_truth.judge(trajectories, self.upstream.calls) == []
        (trajectory,) = trajectories
        return trajectory


@pytest.fixture
def rollout(reference_url: str, upstream: Upstream) -> Iterator[Rollout]:
    rollout = Rollout(reference_url, upstream)
    with rollout.client:
        yield rollout


def answer_of(response: Response, text: str) -> list[Any]:
    (call,) = [item for item in response.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Zürich"}
    return [{"type": "function_call_output", "call_id": call.call_id, "output": text}]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("chaining", ["conversation", "previous_response_id", "resent"])
def test_three_turns_with_a_tool_call(rollout: Rollout, upstream: Upstream, chaining: str, stream: bool) -> None:
    upstream.says("Hello! What would you like to know?")
    upstream.says("I will look.", tool_calls=[{"name": "weather", "arguments": {"city": "Zürich"}}])
    upstream.says("It is sunny in Zürich ☀.")
    conversation = rollout.client.conversations.create(metadata={"name": "demo"})
    instructions = f"{upstream.nonce} You help."
    history: list[Any] = []
    responses: list[Response] = []

    def turn(given: list[Any]) -> Response:
        fields: dict[str, Any] = {"input": given}
        if chaining == "conversation":
            fields["conversation"] = conversation.id
        elif chaining == "resent":
            history.extend(given)
            fields = {"input": history, "store": False}
        elif responses:
            fields["previous_response_id"] = responses[-1].id
        response = rollout.ask(stream, instructions=instructions, **fields)
        history.extend(response.output)
        responses.append(response)
        return response

    first = turn([{"role": "user", "content": "Hi"}])
    second = turn([{"role": "user", "content": "How is the weather in Zürich?"}])
    third = turn(answer_of(second, "sunny"))

    said = "Hello! What would you like to know?", "It is sunny in Zürich ☀."
    assert (first.output_text, third.output_text) == said
    if chaining == "conversation":
        listed = list(rollout.client.conversations.items.list(conversation.id, order="asc"))
        kinds = ["message"] * 4 + ["function_call", "function_call_output", "message"]
        assert [item.type for item in listed] == kinds
        assert third.conversation is not None
        assert third.conversation.id == conversation.id
    trajectory = rollout.export()
    chat = [
        {"role": "system", "content": instructions},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": said[0]},
        {"role": "user", "content": "How is the weather in Zürich?"},
        {
            "role": "assistant",
            "content": "I will look.",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich"}}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
        {"role": "assistant", "content": said[1]},
    ]
    function = {name: TOOL[name] for name in ("name", "description", "parameters")}
    render = upstream.tokenizer.render(
        chat, tools=[{"type": "function", "function": function}], add_generation_prompt=False
    )
    assert upstream.tokenizer.decode(trajectory.prompt_ids + trajectory.response_ids) == render.rstrip("\n")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_tool_of_the_gateway_within_a_response(rollout: Rollout, upstream: Upstream, stream: bool) -> None:
    upstream.says(tool_calls=[{"name": "file_search", "arguments": {"query": "lighthouse"}}])
    upstream.says("It is 41 metres high.")

    response = rollout.ask(stream, input=f"{upstream.nonce} How high?", tools=[SEARCH])

    assert [item.type for item in response.output] == ["file_search_call", "message"]
    assert response.output_text == "It is 41 metres high."
    assert "41 metres" in upstream.calls[1].text
    rollout.export()


def test_a_response_can_be_retrieved(rollout: Rollout, upstream: Upstream) -> None:
    upstream.says("Hello")
    made = rollout.client.responses.create(model="any", input=f"{upstream.nonce} Hi")
    assert rollout.client.responses.retrieve(made.id) == made
    with pytest.raises(openai.NotFoundError):
        rollout.client.responses.retrieve("resp_0")


def test_errors_are_the_sdks(rollout: Rollout, upstream: Upstream) -> None:
    with pytest.raises(openai.BadRequestError, match="exclude each other"):
        rollout.client.responses.create(model="any", input="Hi", previous_response_id="a", conversation="b")
    upstream.fails(message="boom")
    with pytest.raises(openai.InternalServerError, match="HTTP 500 from the engine"):
        rollout.client.responses.create(model="any", input=f"{upstream.nonce} Hi", stream=True)


def weather(city: str) -> str:
    """The weather of a city.

    :param city: its name
    """
    if city == "Nowhere":
        raise LookupError("no such city")
    return f"sunny in {city}"


def test_the_agent_loop_runs_a_turn_with_tools_of_both_sides(rollout: Rollout, upstream: Upstream) -> None:
    upstream.says(tool_calls=[{"name": "weather", "arguments": {"city": "Zürich"}}])
    upstream.says(tool_calls=[{"name": "weather", "arguments": {"city": "Nowhere"}}])
    upstream.says("Sunny, and nowhere.")
    with Agent(rollout.handle["base_url"], "any", tools=[weather]) as agent:
        session_id = agent.create_session("demo")
        chunks = list(agent.turn(f"{upstream.nonce} How is it?", session_id=session_id))
    events = [chunk.event for chunk in chunks]
    assert turns.grammar(events) == []
    assert turns.as_json(events[-1])["final_text"] == "Sunny, and nowhere."  # type: ignore[index,call-overload]
    session = f"{rollout.url}/sessions/{rollout.handle['session_id']}"
    (served,) = httpx.get(f"{session}/turns").json()["turns"]
    assert (served["status"], served["session_id"]) == ("completed", session_id)
    assert served["events"][-1]["num_steps"] == 5
    assert "sunny in Zürich" in upstream.calls[1].text
    assert "no such city" in upstream.calls[2].text
    rollout.export()
