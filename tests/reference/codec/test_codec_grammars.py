"""Grammars of answers: what they allow, the parser of the format reads as what was asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from codec_templates import deepseek, qwen3

from reference_gateway.codec.grammars import WRITTEN, grammar_of
from reference_gateway.codec.parsers import PARSERS
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Constraint

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def tool(name: str, parameters: Any = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **({"parameters": parameters} if parameters else {})}}


TOOLS = [tool("find", {"type": "object", "properties": {"q": {"type": "string"}}}), tool("wait"), tool("go")]


def structure(constraint: Constraint, name: str, *, thinks: bool = False, opened: bool = False) -> Any:
    grammar = grammar_of(constraint, TOOLS, WRITTEN[name], thinks=thinks, opened=opened)
    assert grammar.kind == "structural_tag"
    return json.loads(grammar.text)["format"]


ARGUMENTS = {"json": "{}", "qwen_xml": "", "glm_xml": ""}


def shortest(part: Any) -> str:
    """The shortest text of a structure that has every tag of each list once."""
    match part["type"]:
        case "tag":
            return part["begin"] + shortest(part["content"]) + part["end"]
        case "tags_with_separator":
            tags = part["tags"][:1] if part["stop_after_first"] else part["tags"]
            return part["separator"].join(map(shortest, tags))
        case "json_schema":
            return ARGUMENTS[part.get("style", "json")]
        case "sequence":
            return "".join(map(shortest, part["elements"]))
        case "or":
            return shortest(part["elements"][0])
    return ""


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize(
    ("constraint", "names"),
    [
        (Constraint(calls=("find", "wait", "go")), ["find", "wait", "go"]),
        (Constraint(calls=("go", "find")), ["find", "go"]),
        (Constraint(calls=("wait",), one_call=True), ["wait"]),
        (Constraint(calls=("find", "wait"), one_call=True), ["find"]),
    ],
)
def test_the_parser_finds_the_calls_that_a_grammar_makes(name, constraint, names):
    rest, calls = PARSERS[name](shortest(structure(constraint, name)), TOOLS)
    assert [call["function"]["name"] for call in calls] == names
    assert not rest.strip()


@pytest.mark.parametrize("name", WRITTEN)
def test_arguments_are_held_to_the_functions_schema_and_are_an_object(name):
    part = structure(Constraint(calls=("find", "wait")), name)
    tags = part["content"]["tags"] if part["type"] == "tag" else part["tags"]
    assert [tag["content"]["json_schema"] for tag in tags] == [TOOLS[0]["function"]["parameters"], {"type": "object"}]


def test_every_parser_but_the_pythonic_has_a_grammar():
    assert PARSERS.keys() - WRITTEN.keys() == {"pythonic"}


def test_a_format_is_its_schema():
    grammar = grammar_of(Constraint(SCHEMA), (), None, thinks=False, opened=False)
    assert (grammar.kind, json.loads(grammar.text)) == ("json", SCHEMA)


def test_a_format_beside_tools_is_the_answer_or_calls():
    part = structure(Constraint(SCHEMA, ("find",)), "hermes")
    assert [each["type"] for each in part["elements"]] == ["json_schema", "tags_with_separator"]


def test_an_integer_of_any_size_can_stand_in_a_schema():
    schema = {"type": "integer", "maximum": 2**70}
    assert json.loads(grammar_of(Constraint(schema), (), None, thinks=False, opened=False).text) == schema


def test_thoughts_stand_in_front_and_may_be_left_out():
    whole, bare = structure(Constraint(SCHEMA), "hermes", thinks=True)["elements"]
    assert whole["elements"][0] == {
        "type": "tag",
        "begin": "<think>",
        "content": {"type": "any_text"},
        "end": "</think>",
    }
    assert whole["elements"][-1] == bare == {"type": "json_schema", "json_schema": SCHEMA}


def test_thoughts_that_the_context_opened_have_to_end():
    part = structure(Constraint(SCHEMA), "hermes", thinks=True, opened=True)
    assert part["type"] == "sequence"
    assert part["elements"][0]["begin"] == ""


@pytest.mark.parametrize("opened", [False, True])
def test_the_codec_sees_whether_its_context_opened_thoughts(opened):
    codec = TemplateCodec(deepseek(), tool_parser="hermes", reasoning_parser="think")
    context = codec.encode([{"role": "user", "content": "Hi"}], None, {"thinking": opened})
    grammar = codec.grammar(Constraint(SCHEMA), None, context)
    assert (json.loads(grammar.text)["format"]["type"] == "sequence") is opened


def test_a_parser_of_ones_own_has_no_grammar():
    codec = TemplateCodec(qwen3(), tool_parser=lambda text, tools: (text, []))
    assert not codec.forces_calls
