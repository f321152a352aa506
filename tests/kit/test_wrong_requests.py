"""The schemas of requests are schemas, their examples are whole, and what is wrong with them is wrong, in one place."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from conformance.client.http import ABSENT
from conformance.vocabulary.requests import LEVELS, Wrong, request

NAMES = (
    "chat#completion",
    "messages#message",
    "messages#count",
    "responses#response",
    "responses#conversation",
    "invocations#invocation",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_one_and_allows_its_example(name):
    asked = request(name)
    Draft202012Validator.check_schema(asked.validator.schema)
    assert asked.allows(asked.example)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_is_not_allowed_unless_it_is_an_extreme_or_deep(name):
    asked = request(name)
    allowed = [one.value for one in asked.wrong() if asked.allows(one.within(asked.example))]
    assert all(value in (2**63, -(2**63) - 1) or json.dumps(value).count("deep") * 2 == LEVELS for value in allowed)


@pytest.mark.parametrize("name", NAMES)
def test_each_field_of_the_schema_is_spoiled_with_each_type_that_it_does_not_have(name):
    asked = request(name)
    spoiled = {one.path: [] for one in asked.wrong()}
    for one in asked.wrong():
        spoiled[one.path].append(one.value)
    assert {(field,) for field in asked.schema["properties"]} <= set(spoiled)
    for path, values in spoiled.items():
        if len(path) == 1 and path[0] in asked.example:
            kinds = {type(value) for value in values}
            assert len(kinds & {type(None), bool, int, float, str, list, dict}) >= 4, path


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_request_differs_in_one_place(name):
    asked = request(name)
    for one in asked.wrong():
        spoiled = one.within(asked.example)
        assert spoiled != asked.example or one.value in (False, 0)
        assert {field for field in spoiled | asked.example if spoiled.get(field) != asked.example.get(field)} <= {
            one.path[0]
        }


def test_a_wrong_value_is_written_as_its_place():
    assert str(Wrong(("messages", 1, "content"), 7)) == "messages[1].content = 7"
    assert str(Wrong(("messages",), ABSENT)) == "messages left out"
    assert Wrong(("messages", 1, "content"), 7).names == ["messages", "content"]


def test_one_for_each_place_covers_the_example():
    asked = request("messages#message")
    places = [one.path for one in asked.one_for_each_place()]
    assert len(places) == len(set(places))
    assert ("messages", 2, "content", 0, "tool_use_id") in places
    assert ("temperature",) not in places
