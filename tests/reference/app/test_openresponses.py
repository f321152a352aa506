"""What the acceptance tests of the OpenResponses specification ask of a server, as far as the gateway has the feature:
each response, and each event of its stream, is held against the published types (`openresponses-types`, of `dev`)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from reference_gateway.types import Generation
from tests.reference.app.gateway_doubles import byte_codec
from tests.reference.app.test_app_responses import WEATHER, Agent, agent, calls

types = pytest.importorskip("openresponses_types.types")

HELLO = [{"type": "message", "role": "user", "content": "Say hello in three words."}]
FILE = "The lighthouse stands in Zürich."
DATA = f"data:text/plain;base64,{base64.b64encode(FILE.encode()).decode()}"
KINDS_OF_OUR_OWN = ("response.file_search_call.", "response.mcp_call")
"""Events of tools that the gateway runs, which the specification leaves to the server."""


@cache
def forms() -> Mapping[str, Any]:
    """Type of an event -> its published form."""
    named = {}
    for name, form in vars(types).items():
        if name.endswith("StreamingEvent"):
            kind = form.model_fields["type"]
            [value] = list(kind.annotation)
            named[str(value)] = form
    return named


def asked(one: Agent, given: Any, stream: bool, **fields: Any) -> dict[str, Any]:
    """The response, held against the types, and its events, too, where it is streamed."""
    types.CreateResponseBody.model_validate({"model": "m", "input": given, "stream": stream, **fields})
    answer = one.ask(given, stream=stream, **fields)
    assert answer.status_code == 200, answer.text
    body = streamed(answer.text) if stream else answer.json()
    types.ResponseResource.model_validate(body)
    return dict(body)


def streamed(text: str) -> dict[str, Any]:
    """The response that a stream ends with."""
    events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    for event in events:
        if not event["type"].startswith(KINDS_OF_OUR_OWN):
            forms()[event["type"]].model_validate(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    body = dict(events[-1]["response"])
    assert "".join(deltas) == "".join(said(body))
    return body


def said(body: Mapping[str, Any]) -> Iterator[str]:
    return (part["text"] for item in body["output"] if item["type"] == "message" for part in item["content"])


@pytest.fixture(params=["plain", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "stream")


@pytest.fixture(params=["synthesised", "incremental"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"stream": request.param}


def test_text(stream, config):
    with agent("Hello to you.", config=config) as one:
        body = asked(one, HELLO, stream)
    assert (body["status"], list(said(body))) == ("completed", ["Hello to you."])


def test_a_text_as_the_whole_input(stream, config):
    with agent("Hello to you.", config=config) as one:
        assert asked(one, "Say hello.", stream)["status"] == "completed"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_prompt(stream, role):
    with agent("Arr!") as one:
        body = asked(one, [{"type": "message", "role": role, "content": "You are a pirate."}, *HELLO], stream)
        assert one.context().index("pirate") < one.context().index("three words")
    assert body["status"] == "completed"


def test_instructions(stream):
    with agent("Arr!") as one:
        assert asked(one, HELLO, stream, instructions="You are a pirate.")["instructions"] == "You are a pirate."
        assert "pirate" in one.context()


def test_tools(stream, config):
    with agent(calls(("weather", {"city": "Zürich"})), "It is sunny.", config=config) as one:
        first = asked(one, HELLO, stream, tools=[WEATHER])
        [call] = [item for item in first["output"] if item["type"] == "function_call"]
        assert json.loads(call["arguments"]) == {"city": "Zürich"}
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        second = asked(one, [*HELLO, call, output], stream, tools=[WEATHER])
        assert list(said(second)) == ["It is sunny."]
        assert len(one.trajectories()) == 1


def test_three_calls_at_once(stream):
    named = [("weather", {"city": city}) for city in "abc"]
    with agent(calls(*named)) as one:
        body = asked(one, HELLO, stream, tools=[WEATHER])
    assert [item["type"] for item in body["output"]] == ["function_call"] * 3
    assert len({item["call_id"] for item in body["output"]}) == 3


def test_many_turns_in_one_input(stream):
    turns = [
        {"type": "message", "role": "user", "content": "I am Ada."},
        {"type": "message", "role": "assistant", "content": "Hello, Ada."},
        {"type": "message", "role": "user", "content": "Who am I?"},
    ]
    with agent("Ada.") as one:
        assert list(said(asked(one, turns, stream))) == ["Ada."]
        assert one.context().count("<|im_start|>") == 4


def test_a_response_that_goes_on_by_id(stream, config):
    with agent("Hello, Ada.", "Ada.", "Still Ada.", config=config) as one:
        body = asked(one, "I am Ada.", stream)
        for _ in range(2):
            before, body = body, asked(one, "Who am I?", stream, previous_response_id=body["id"])
            assert body["previous_response_id"] == before["id"]
        assert list(said(body)) == ["Still Ada."]
        assert len(one.trajectories()) == 1


def test_a_file(stream):
    part = {"type": "input_file", "filename": "lighthouse.txt", "file_data": DATA}
    asks = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is it?"}, part]}
    with agent("A lighthouse.", "So it is.") as one:
        body = asked(one, [asks], stream)
        assert FILE in one.context()
        asked(one, "Is it?", stream, previous_response_id=body["id"])
        assert one.context().count(FILE) == 1


def test_a_length_that_cuts(stream):
    cut = Generation(byte_codec().vocabulary.encode("Hello to you all"), stop_reason="length")
    with agent(cut) as one:
        body = asked(one, HELLO, stream, max_output_tokens=16)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_a_refusal_is_an_error_object():
    with agent() as one:
        answer = one.ask([{"type": "nothing"}])
    assert answer.status_code == 400
    types.ErrorPayload.model_validate(answer.json()["error"])


def test_an_image_is_refused_by_name_where_none_is_taken():
    image = {"type": "input_image", "image_url": "data:image/png;base64,aGk="}
    with agent() as one:
        answer = one.ask([{"type": "message", "role": "user", "content": [image]}])
    assert answer.status_code == 400
    assert "input[0].content[0].type" in answer.json()["error"]["message"]
