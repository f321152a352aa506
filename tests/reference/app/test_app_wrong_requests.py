"""Requests of each wire in which anything may be wrong, mixed at random from the wire's schema: the gateway answers or
refuses in the wire's envelope, never fails, and what it refuses has left nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from gateway_doubles import Client, gateway
from hypothesis import given
from hypothesis import strategies as st

from conformance.vocabulary.requests import request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OF_TYPE: Mapping[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "integer": st.integers(),
    "number": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text(max_size=12) | st.sampled_from(["<|im_end|>", "{", "search"]),
}


def values(root: Mapping[str, Any], schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """What the schema is about: each part of it right, or now and then any JSON."""
    if "$ref" in schema:
        return values(root, root["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    if "anyOf" in schema:
        return st.one_of([values(root, one) for one in schema["anyOf"]])
    if "const" in schema or "enum" in schema:
        return st.sampled_from([schema["const"]] if "const" in schema else schema["enum"])
    types = schema.get("type", [])
    return st.one_of([_of_type(root, schema, one) for one in ([types] if isinstance(types, str) else types)])


def _of_type(root: Mapping[str, Any], schema: Mapping[str, Any], kind: str) -> st.SearchStrategy[Any]:
    if kind == "array":
        return st.lists(_mostly(values(root, schema["items"])), max_size=4)
    if kind != "object":
        return OF_TYPE[kind]
    fields = {name: _mostly(values(root, one)) for name, one in schema.get("properties", {}).items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    whole = st.fixed_dictionaries(required, optional=fields)
    return whole if fields or required else st.dictionaries(st.text(max_size=5), JSON, max_size=2)


def _mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: JSON if number == 0 else right)


def bodies(name: str) -> st.SearchStrategy[dict[str, Any]]:
    asked = request(name)
    return values(asked.validator.schema, asked.schema)


def _openai(body: Any) -> None:
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["message"], str)


def _anthropic(body: Any) -> None:
    assert (set(body), body["type"], set(body["error"])) == ({"type", "error"}, "error", {"type", "message"})


def _flat(body: Any) -> None:
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)


WIRES = {
    "chat#completion": ("/v1/chat/completions", _openai),
    "messages#message": ("/v1/messages", _anthropic),
    "messages#count": ("/v1/messages/count_tokens", _anthropic),
    "responses#response": ("/v1/responses", _openai),
    "responses#conversation": ("/v1/conversations", _openai),
    "invocations#invocation": ("/v1/invocations", _flat),
}


@pytest.fixture(scope="module")
def open_gateway() -> Iterator[Client]:
    with gateway() as client:
        yield client


@pytest.mark.parametrize("name", WIRES)
@given(data=st.data())
def test_no_request_is_a_failure_of_the_server(open_gateway: Client, name: str, data: st.DataObject) -> None:
    path, has_envelope = WIRES[name]
    session = open_gateway.open()
    response = open_gateway.http.post(session + path, json=data.draw(bodies(name)))
    assert response.status_code in (200, 400, 404, 422), response.text
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/json"
        has_envelope(response.json())
        assert _left(open_gateway.http, session) == []


@pytest.mark.parametrize("name", [name for name in WIRES if name not in ("messages#count", "responses#conversation")])
@given(data=st.data())
def test_a_refused_request_changes_no_turn_that_was_answered(
    open_gateway: Client, name: str, data: st.DataObject
) -> None:
    path, _ = WIRES[name]
    session, asked = open_gateway.open(), request(name)
    assert open_gateway.http.post(session + path, json=asked.example).status_code == 200
    before = _left(open_gateway.http, session)
    refused = [
        open_gateway.http.post(session + path, json=one.within(asked.example)).status_code >= 400
        for one in data.draw(st.lists(st.sampled_from(asked.wrong()), max_size=5))
    ]
    if all(refused):
        assert _left(open_gateway.http, session) == before


def _left(http: httpx.Client, session: str) -> Any:
    return http.get(f"{session}/trajectories").json()["trajectories"]
