"""A gateway that leaves formats and forced calls to its engine: what the engine is told, and what a session keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.fixtures import fixture_path
from reference_gateway.app import build_codec, create_app
from reference_gateway.config import Config
from reference_gateway.types import BackendRefused
from tests.reference.app.gateway_doubles import Told, byte_codec, gateway
from tests.reference.app.test_app_responses import agent

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
TOOLS = [{"type": "function", "function": {"name": "find"}}]
CALL = '<tool_call>\n{"name": "find", "arguments": {}}\n</tool_call>'
PLACE = '{"city": "Oslo"}'


class Held(Told):
    """One that keeps the grammars that it is given; None where it is given none."""

    takes_grammars = True

    def __init__(self, *steps: Any) -> None:
        super().__init__(*steps)
        self.grammars: list[Any] = []

    async def generate(self, *arguments: Any, grammar: Any = None, **named: Any) -> Any:
        self.grammars.append(grammar)
        return await super().generate(*arguments, **named)

    def told(self) -> list[Any]:
        return [None if each is None else json.loads(each.text) for each in self.grammars]


def held(backend: Any, **config: Any) -> Any:
    return gateway(backend, structured_outputs="engine", **config)


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_is_held_to_its_own_format_and_the_next_is_not(stream):
    backend = Held(PLACE, "Hi", PLACE)
    with held(backend) as client:
        session = client.open()
        for texts, fields in (
            (("A",), {"response_format": FORMAT}),
            (("A", PLACE, "B"), {}),
            (("A", PLACE, "B", "Hi", "C"), {"response_format": FORMAT}),
        ):
            assert client.chat(session, *texts, stream=stream, **fields).status_code == 200
        exported = client.http.post(f"{session}/finalize").json()["trajectories"]
    assert backend.told() == [SCHEMA, None, SCHEMA]
    assert len(exported) == 1


def test_a_forced_call_comes_back_as_one():
    backend = Held(CALL)
    with held(backend) as client:
        answer = client.chat(client.open(), "A", tools=TOOLS, tool_choice="required").json()
    [call] = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "find"
    assert "find" in backend.grammars[0].text


def test_a_format_that_the_engine_refuses_is_the_callers_fault():
    with held(Held(BackendRefused("the schema has a feature that is not supported"))) as client:
        answer = client.chat(client.open(), "A", response_format=FORMAT)
    assert answer.status_code == 400
    assert "the schema has a feature" in answer.json()["error"]["message"]


def test_a_forced_call_of_the_gateways_own_tool_does_not_bind_what_comes_behind_it(tmp_path):
    (tmp_path / "a.txt").write_text("Oslo is a city.")
    search = '<tool_call>\n{"name": "file_search", "arguments": {"query": "Oslo"}}\n</tool_call>'
    backend = Held(search, "It is a city.")
    body = {"input": "Oslo?", "tools": [{"type": "file_search"}], "tool_choice": {"type": "file_search"}}
    with held(backend, file_search=tmp_path) as client:
        answer = client.http.post(f"{client.open()}/v1/responses", json=body)
    assert answer.json()["status"] == "completed", answer.text
    assert [grammar is None for grammar in backend.grammars] == [False, True]


OWN = {"type": "mcp", "server_label": "gateway"}


@pytest.mark.parametrize(
    ("choice", "forced"),
    [
        pytest.param({**OWN, "name": "moon"}, "moon", id="by its name"),
        pytest.param(OWN, "sun", id="any of its label"),
        pytest.param(
            {"type": "allowed_tools", "mode": "required", "tools": [{**OWN, "name": "moon"}]}, "moon", id="allowed"
        ),
    ],
)
def test_the_gateways_own_function_that_is_forced_is_the_one_that_is_named(choice, forced):
    def sun() -> str:
        return "up"

    def moon() -> str:
        return "down"

    told = Held(f'<tool_call>\n{{"name": "{forced}", "arguments": {{}}}}\n</tool_call>', "Done.")
    with agent(told=told, config={"structured_outputs": "engine"}, tools=[sun, moon]) as one:
        answer = one.ask(tools=[OWN], tool_choice=choice)
    assert answer.status_code == 200, answer.text
    assert [name in told.grammars[0].text for name in ("sun", "moon")] == [forced == "sun", forced == "moon"]


@pytest.mark.parametrize(
    ("tools", "choice", "named"),
    [
        pytest.param(
            [{"type": "file_search", "vector_store_ids": ["vs_0"]}], {"type": "file_search"}, "vs_0", id="store"
        ),
        pytest.param(
            [{"type": "file_search", "vector_store_ids": "vs_0"}], {"type": "file_search"}, "tools[0].", id="setting"
        ),
        pytest.param([], {"type": "file_search"}, "tool_choice", id="no such tool"),
        pytest.param([OWN], {**OWN, "name": "nothing"}, "tool_choice", id="no such function"),
    ],
)
def test_a_forced_tool_of_the_gateway_that_is_not_there_is_named(tools, choice, named):
    with agent(told=Held(), config={"structured_outputs": "engine"}) as one:
        answer = one.ask(tools=tools, tool_choice=choice)
    assert answer.status_code in (400, 404)
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("config", "declared"),
    [
        ({}, set()),
        ({"structured_outputs": "engine"}, {"response-format", "tool-choice-required"}),
    ],
)
def test_what_is_declared(config, declared):
    with gateway(Held(), **config) as client:
        names = set(client.http.get(f"{client.url}/capabilities").json()["capabilities"])
    assert names & {"response-format", "tool-choice-required"} == declared


def test_a_backend_that_holds_to_nothing_is_refused_at_the_start():
    with pytest.raises(ValueError, match="structured_outputs needs a backend that holds answers to a format"):
        create_app(Config(structured_outputs="engine"), codec=byte_codec())


def test_the_field_is_named_where_its_value_is_wrong():
    with pytest.raises(ValueError, match="structured_outputs must be one of refuse, engine"):
        Config(structured_outputs="yes")


class HeldToFormats(Held):
    name = "formats"
    grammar_kinds = ("json",)


def test_a_backend_that_takes_schemas_only_is_not_asked_for_calls():
    backend = HeldToFormats(PLACE)
    with held(backend) as client:
        session = client.open()
        told = client.http.get(f"{client.url}/capabilities").json()["capabilities"]
        forced = client.chat(session, "A", tools=TOOLS, tool_choice="required")
        beside = client.chat(session, "A", tools=TOOLS, response_format=FORMAT)
        alone = client.chat(session, "A", response_format=FORMAT)
    assert {"response-format", "tool-choice-required"} & set(told) == {"response-format"}
    assert (forced.status_code, beside.status_code, alone.status_code) == (400, 400, 200)
    assert "tool_choice" in forced.text
    assert "response_format is not supported beside tools" in beside.text
    assert backend.told() == [SCHEMA]


def test_thoughts_in_front_of_a_format_need_more_than_schemas():
    codec = build_codec(Config(tokenizer=fixture_path("qwen3"), reasoning_parser="think"))
    with pytest.raises(ValueError, match="structured_outputs needs reasoning_parser none with this backend: formats"):
        create_app(Config(structured_outputs="engine"), codec=codec, backend=HeldToFormats())
