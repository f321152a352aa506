"""When two messages are the same message (contract UA-HASH)."""

from __future__ import annotations

import copy
import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from reference_gateway.session import InvalidField
from reference_gateway.session.identity import (
    IdentityRules,
    extend,
    identify,
    identify_echo,
    identify_tools,
    prefix_keys,
)
from reference_gateway.types import Message

IGNORE = IdentityRules()
COMPARE = IdentityRules(tool_ids=True, reasoning=True, names=True, whitespace=True)


def said(content: Any = "A", **fields: Any) -> Message:
    return {"role": "assistant", "content": content, **fields}


def user(content: Any = "u", **fields: Any) -> Message:
    return {"role": "user", "content": content, **fields}


def calls(arguments: Any, name: str = "f", call_id: str = "c1") -> Message:
    return said(
        "", tool_calls=[{"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}]
    )


def part(url: Any, **fields: Any) -> Message:
    return {"role": "user", "content": [{"type": "image_url", "image_url": url, **fields}]}


@pytest.mark.parametrize("rules", [IGNORE, COMPARE], ids=["ignored", "compared"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(said(), said([{"type": "text", "text": "A"}]), id="single-part"),
        pytest.param(said(), said(tool_calls=[]), id="no-calls"),
        pytest.param(said(), said(tool_calls=None, name=None, reasoning_content=None), id="nulls"),
        pytest.param(said(None), said(""), id="null-content"),
        pytest.param(said(None), {"role": "assistant"}, id="absent-content"),
        pytest.param(said([]), said(""), id="empty-parts"),
        pytest.param(said(), said(refusal=None, audio={"id": 1}), id="unknown-fields"),
        pytest.param(calls({"a": 1, "b": [2]}), calls('{"b": [2],\n"a": 1}'), id="arguments-as-json"),
        pytest.param(calls("{}"), calls({}), id="empty-arguments"),
        pytest.param(part("data:x"), part({"url": "data:x"}), id="image-spelling"),
        pytest.param(part({"url": "u"}), part({"url": "u"}, cache_control={"type": "ephemeral"}), id="cache-control"),
        pytest.param(calls({"n": 2**70}), calls(json.dumps({"n": 2**70})), id="big-integer"),
    ],
)
def test_equal(one: Message, other: Message, rules: IdentityRules) -> None:
    before = copy.deepcopy((one, other))
    assert identify(one, rules) == identify(other, rules)
    assert (one, other) == before


@pytest.mark.parametrize("rules", [IGNORE, COMPARE], ids=["ignored", "compared"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(said("A1"), said("A2"), id="same-length"),
        pytest.param(said(), {"role": "user", "content": "A"}, id="role"),
        pytest.param(user(name="x"), user(name="y"), id="name-of-a-user"),
        pytest.param(said("ab"), said([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), id="two-parts"),
        pytest.param(calls({"a": 1}), calls({"a": 2}), id="arguments"),
        pytest.param(calls({"a": 1}), calls({"a": "1"}), id="argument-type"),
        pytest.param(calls("{x"), calls("{y"), id="unparsable-raw"),
        pytest.param(calls("{x"), calls(json.dumps("{x")), id="unparsable-is-no-string"),
        pytest.param(calls({}), calls({}, name="g"), id="function"),
        pytest.param(part("data:x"), part("data:y"), id="image"),
        pytest.param({"role": "user", "content": "u"}, {"role": "user", "content": "u "}, id="white-space-of-a-user"),
    ],
)
def test_different(one: Message, other: Message, rules: IdentityRules) -> None:
    assert identify(one, rules) != identify(other, rules)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(calls({}), calls({}, call_id="c2"), id="call-id"),
        pytest.param({"role": "tool", "tool_call_id": "c1"}, {"role": "tool", "tool_call_id": "c2"}, id="result-id"),
        pytest.param(said(), said(reasoning_content="hm"), id="reasoning"),
        pytest.param(said(), said(name="x"), id="name"),
        pytest.param(said(), said("\n A "), id="white-space"),
    ],
)
def test_compared_where_declared(one: Message, other: Message) -> None:
    assert identify(one, IGNORE) == identify(other, IGNORE)
    assert identify(one, COMPARE) != identify(other, COMPARE)


@pytest.mark.parametrize(
    ("arguments", "respelled"), [("{x", True), ("[1]", True), ("", False), ("{}", False), ({"a": 1}, False)]
)
def test_an_echo_shows_an_empty_object_for_what_is_none(arguments: Any, respelled: bool) -> None:
    message = calls(arguments)
    assert (identify_echo(message, IGNORE) != identify(message, IGNORE)) is respelled
    assert (identify_echo(message, IGNORE) == identify(calls({}), IGNORE)) is (respelled or arguments in ("", "{}"))


def test_no_tools_and_an_empty_list_are_equal() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"b": 1, "a": 2}}}
    swapped = {"function": {"parameters": {"a": 2, "b": 1}, "name": "f"}, "type": "function"}
    assert identify_tools(None) == identify_tools([])
    assert identify_tools([tool]) == identify_tools([swapped]) != identify_tools(None)


@pytest.mark.parametrize("odd", ["\ud800", {"deep": 2**80}, float("inf")])
def test_what_json_can_say_has_an_identity(odd: Any) -> None:
    assert len(identify(said(odd), IGNORE)) == 32


def test_nesting_without_end_is_refused() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidField, match="nested"):
        identify(said({"x": nested}), IGNORE)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=6), st.data())
def test_keys_roll(identities: list[bytes], data: st.DataObject) -> None:
    keys = prefix_keys(identify_tools(None), identities)
    at = data.draw(st.integers(0, len(identities)))
    assert extend(keys[at], identities[at:]) == keys[-1]
    assert len(set(keys)) == len(keys) == len(identities) + 1
