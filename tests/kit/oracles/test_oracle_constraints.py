"""What an engine's constraint leaves its model free to say, in each way in which engines take one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.oracles.constraints import free_to_say

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TEXT = json.dumps(SCHEMA)
PLACE, WRONG, HELLO = '{"city": "Oslo"}', '{"city": 7}', "Hello"
CALL = {"name": "find", "arguments": {}}


def tag(form: Any) -> dict[str, Any]:
    return {"structural_tag": json.dumps({"type": "structural_tag", "format": form})}


JSON = {"type": "json_schema", "json_schema": SCHEMA}
A, B = ({"type": "const_string", "value": each} for each in ("a", "b"))


def called(name: str, end: Any = "</t>") -> dict[str, Any]:
    return {"type": "tag", "begin": f"<t>{name}:", "content": JSON, "end": end}


@pytest.mark.parametrize(
    "fields",
    [
        {"structured_outputs": {"json": SCHEMA}},
        {"structured_outputs": {"json": TEXT}},
        {"guided_json": SCHEMA},
        {"json_schema": TEXT},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}},
        tag(JSON),
        {"structural_tag": {"type": "structural_tag", "format": JSON}},
        {"structured_outputs": tag(JSON)},
        {"response_format": {"type": "structural_tag", "format": JSON}},
    ],
)
def test_a_schema_leaves_what_fits_it(fields):
    assert [free_to_say(fields, text) for text in (PLACE, WRONG, HELLO, f"{PLACE} so")] == [True, False, False, False]


POINT = {"type": "object", "properties": {"y": {"type": "integer"}, "x": {"type": "integer"}}}
LINE = {"type": "object", "properties": {"to": POINT, "of": {"type": "array"}}}


@pytest.mark.parametrize(
    "wrap", [lambda schema: {"guided_json": schema}, lambda schema: tag({**JSON, "json_schema": schema})]
)
@pytest.mark.parametrize(
    ("schema", "text", "free"),
    [
        (POINT, '{"y": 1, "x": 2}', True),
        (POINT, '{"x": 2, "y": 1}', False),
        (POINT, '{"x": 2}', True),
        (POINT, '{"z": 3, "y": 1, "w": 4, "x": 2}', True),
        (LINE, '{"to": {"y": 1, "x": 2}, "of": [1]}', True),
        (LINE, '{"to": {"x": 2, "y": 1}}', False),
        (LINE, '{"of": [], "to": {}}', False),
        ({}, '{"x": 2, "y": 1}', True),
        (True, '{"x": 2, "y": 1}', True),
        (POINT | {"type": "array"}, "[1]", True),
    ],
)
def test_members_come_in_the_order_of_the_schema(wrap, schema, text, free):
    assert free_to_say(wrap(schema), text) is free


@pytest.mark.parametrize(
    "fields",
    [
        {"structured_outputs": {"json_object": True}},
        {"guided_json_object": True},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_any_object_is_one_of_any_kind_and_nothing_else(fields):
    assert [free_to_say(fields, text) for text in (PLACE, WRONG, "[]", HELLO)] == [True, True, False, False]


@pytest.mark.parametrize("fields", [{"structured_outputs": {"regex": "[A-H].*o"}}, {"regex": "[A-H].*o"}])
def test_a_regular_expression_is_of_the_whole_text(fields):
    assert [free_to_say(fields, text) for text in (HELLO, "Hello there", "Oslo")] == [True, False, False]


@pytest.mark.parametrize("fields", [{"structured_outputs": {"choice": ["Hello", "Bye"]}}, {"guided_choice": ["Hello"]}])
def test_a_choice_is_one_of_its_texts(fields):
    assert [free_to_say(fields, text) for text in (HELLO, "Hell")] == [True, False]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"response_format": {"type": "text"}},
        {"response_format": None, "regex": None, "structured_outputs": None},
        {"structured_outputs": {"json_object": False}},
        {"tool_choice": "auto", "tools": []},
        {"tool_choice": {"type": "auto"}},
    ],
)
def test_nothing_is_kept_from_a_model_without_a_constraint(fields):
    assert free_to_say(fields, HELLO) is True


@pytest.mark.parametrize(
    "fields",
    [
        {"ebnf": 'root ::= "a"'},
        {"grammar": 'root ::= "a"'},
        {"guided_grammar": 'root ::= "a"'},
        {"structured_outputs": {"grammar": 'root ::= "a"'}},
        {"regex": "("},
        {"regex": 7},
        {"guided_choice": 7},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": 7},
        {"json_schema": "{"},
        {"json_schema": {"type": "no such type"}},
        {"structural_tag": {}},
        {"tool_choice": "required", "tools": 7},
        tag({"type": "token", "token": 7}),
        tag({}),
        tag({"type": "json_schema", "json_schema": SCHEMA, "style": "minimax_xml"}),
        {"structural_tag": {"structures": [{}], "triggers": ["<t>"]}},
    ],
)
def test_what_is_not_read_is_not_known(fields):
    assert free_to_say(fields, "{} <t>") is None


def test_a_schema_that_lies_elsewhere_is_not_fetched():
    assert free_to_say({"json_schema": {"$ref": "http://127.0.0.1:1/schema.json"}}, "{}") is None


def test_what_one_constraint_excludes_no_other_allows():
    unread = {"ebnf": 'root ::= "a"'}
    assert free_to_say({**unread, "regex": "Hello"}, HELLO) is None
    assert free_to_say({**unread, "regex": "Bye"}, HELLO) is False
    assert free_to_say({"regex": "Bye", **unread}, HELLO) is False
    assert free_to_say({"regex": "Hello", "json_schema": TEXT}, HELLO) is False


FIND = {"type": "function", "function": {"name": "find"}}
LOOK = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
LOOKS, WRONG_LOOK = ({"name": "look", "arguments": each} for each in ({"city": "Oslo"}, {"city": 7}))


@pytest.mark.parametrize(
    ("choice", "calls", "free"),
    [
        ("required", [], False),
        ("required", [CALL, LOOKS], True),
        ("required", [CALL, WRONG_LOOK], False),
        ("required", [{"name": "paint", "arguments": {}}], False),
        (FIND, [], False),
        (FIND, [CALL], True),
        (FIND, [CALL, LOOKS], False),
        (LOOK, [LOOKS], True),
        (LOOK, [WRONG_LOOK], False),
        ({"type": "auto"}, [], True),
        ("none", [], True),
        ("auto", [WRONG_LOOK], True),
    ],
)
def test_a_choice_of_chat_is_of_calls(choice, calls, free):
    assert free_to_say({"tool_choice": choice, "tools": [FIND, LOOK]}, "", calls) is free


@pytest.mark.parametrize(
    ("form", "within", "without"),
    [
        (A, ["a"], ["", "b", "aa"]),
        (JSON, [PLACE, f" \n{PLACE}"], [WRONG, f"{PLACE}!", ""]),
        ({"type": "regex", "pattern": "a+"}, ["a", "aaa"], ["", "ab"]),
        ({"type": "any_text"}, ["", "all"], []),
        ({"type": "sequence", "elements": [A, B]}, ["ab"], ["a", "ba", "abb"]),
        ({"type": "sequence", "elements": [{"type": "regex", "pattern": "a*"}, A, B]}, ["ab", "aaab"], ["b"]),
        ({"type": "or", "elements": [A, B]}, ["a", "b"], ["ab", ""]),
        (called("f"), [f"<t>f:{PLACE}</t>"], [f"<t>g:{PLACE}</t>", f"<t>f:{WRONG}</t>", f"<t>f:{PLACE}", ""]),
        (called("f", ["</t>", "!"]), [f"<t>f:{PLACE}</t>", f"<t>f:{PLACE}!"], [f"<t>f:{PLACE}?"]),
        (
            {"type": "sequence", "elements": [called("f"), {"type": "any_text"}]},
            [f"<t>f:{PLACE}</t> and more"],
            [f"and <t>f:{PLACE}</t>"],
        ),
    ],
)
def test_pieces_of_a_structural_tag(form, within, without):
    assert [free_to_say(tag(form), text) for text in within] == [True] * len(within)
    assert [free_to_say(tag(form), text) for text in without] == [False] * len(without)


BOTH = {"type": "object", "properties": {**SCHEMA["properties"], "at": {"type": "number"}}, "required": ["city"]}


def qwen(**members: str) -> str:
    return "".join(f"\n<parameter={name}>\n{value}\n</parameter>" for name, value in members.items())


def glm(**members: str) -> str:
    return "\n".join(f"<arg_key>{name}</arg_key>\n<arg_value>{value}</arg_value>" for name, value in members.items())


@pytest.mark.parametrize(("style", "written"), [("qwen_xml", qwen), ("glm_xml", glm)])
def test_members_in_tags_are_an_object(style, written):
    form = {"type": "tag", "begin": "<f>", "content": {"type": "json_schema", "json_schema": BOTH, "style": style}}
    fields = tag({**form, "end": "</f>"})
    within = [{"city": "7"}, {"city": "Oslo", "at": "1.5"}, {"at": "7", "city": "a\nb"}, {"city": "", "more": "é"}]
    without = [{}, {"at": "7"}, {"city": "Oslo", "at": "soon"}]
    assert [free_to_say(fields, f"<f>{written(**each)}</f>") for each in within] == [True] * 4
    assert [free_to_say(fields, f"<f>{written(**each)}</f>") for each in without] == [False] * 3
    assert free_to_say(fields, f"<f>{written(city='Oslo')}") is False
    assert free_to_say(fields, f"<f>so {written(city='Oslo')}</f>") is False


F, G = f"<t>f:{PLACE}</t>", f"<t>g:{PLACE}</t>"
TAGS = {"tags": [called("f"), called("g")], "separator": ", "}
TRIGGERED = {"type": "triggered_tags", "triggers": ["<t>"], "tags": [called("f"), called("g")]}


@pytest.mark.parametrize(
    ("form", "within", "without"),
    [
        (
            {"type": "tags_with_separator", **TAGS},
            ["", F, f"{F}, {G}, {F}"],
            [f"{F}{G}", f"{F}, ", f", {F}", f"{F}; {F}", "a"],
        ),
        ({"type": "tags_with_separator", "at_least_one": True, **TAGS}, [F, f"{G}, {F}"], ["", f"{F}, a"]),
        (
            {"type": "tags_with_separator", "at_least_one": True, "stop_after_first": True, **TAGS},
            [F, G],
            ["", f"{F}, {G}"],
        ),
        (TRIGGERED, ["", "all", F, f"so {F} and {G}.", F + G], ["<t>", "so <t>h", f"{F}<t>", f"<t>f:{WRONG}</t>"]),
        ({**TRIGGERED, "at_least_one": True}, [F, f"so {F} and", F + G], ["", "so", "<t>"]),
        ({**TRIGGERED, "stop_after_first": True}, ["", "so", F, f"so {G}"], [F + G, f"{F} so"]),
        ({**TRIGGERED, "at_least_one": True, "stop_after_first": True}, [F, f"so {G}"], ["so", F + G, f"{F} so"]),
        (
            {"type": "triggered_tags", "triggers": ["<u>", "<t>"], "tags": [called("f")]},
            [f"so {F}", f"{F} <"],
            [f"<u>{F}", f"{F}<u>", "<u>"],
        ),
    ],
)
def test_calls_of_a_structural_tag(form, within, without):
    assert [free_to_say(tag(form), text) for text in within] == [True] * len(within)
    assert [free_to_say(tag(form), text) for text in without] == [False] * len(without)


def test_structural_tags_as_they_were_written_first():
    fields = {
        "structural_tag": json.dumps(
            {
                "type": "structural_tag",
                "structures": [{"begin": "<t>f:", "schema": SCHEMA, "end": "</t>"}],
                "triggers": ["<t>"],
            }
        )
    }
    assert [free_to_say(fields, text) for text in (HELLO, F, f"so {F}", G)] == [True, True, True, False]
