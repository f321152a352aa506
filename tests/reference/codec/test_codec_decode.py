"""Sampled ids -> assistant message: text, tool calls, and never an exception."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.parsers import PARSERS
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.codec.tools import parse_calls

CODEC = TemplateCodec(byte_files(), tool_parser="hermes")
END = CODEC.vocabulary.token_id("<|im_end|>")
SCHEMA = {"n": {"type": "integer"}, "x": {"type": "number"}, "ok": {"type": "boolean"}, "s": {"type": "string"}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": SCHEMA}}}]


def ids(text: str, *, end: bool = True) -> list[int]:
    return [*CODEC.vocabulary.encode(text), *([END] if end else [])]


def call(text: str) -> str:
    return f"<tool_call>\n{text}\n</tool_call>"


def calls_of(text: str) -> list[tuple[str, object]]:
    message = CODEC.decode(ids(text), TOOLS)
    return [(each["function"]["name"], each["function"]["arguments"]) for each in message.get("tool_calls", [])]


@pytest.mark.parametrize("text", ["", "Hello", " two\n\nlines \n", "été 数 🙂"])
def test_text_is_itself_without_its_end_token(text):
    assert CODEC.decode(ids(text), None) == {"role": "assistant", "content": text}
    assert CODEC.decode(ids(text, end=False), None) == {"role": "assistant", "content": text}


def test_other_control_tokens_are_not_shown():
    assert CODEC.decode(ids("a<|im_start|>b"), None)["content"] == "ab"


def test_control_tokens_are_not_shown_beside_a_call():
    message = CODEC.decode(ids("<|im_start|>So " + call('{"name": "f", "arguments": {}}'), end=False), TOOLS)
    assert message["content"] == "So "


def test_a_call_becomes_a_tool_call():
    message = CODEC.decode(ids(call('{"name": "f", "arguments": {"n": 5}}')), TOOLS)
    assert message["content"] == ""
    (found,) = message["tool_calls"]
    assert re.fullmatch(r"call_[0-9a-f]{8}", found["id"])
    assert found == {"id": found["id"], "type": "function", "function": {"name": "f", "arguments": {"n": 5}}}


def test_text_around_calls_is_kept():
    text = "First. " + call('{"name": "f", "arguments": {}}') + " Then."
    assert CODEC.decode(ids(text), TOOLS)["content"] == "First.  Then."


def test_several_calls_have_ids_of_their_own():
    message = CODEC.decode(ids(call('{"name": "f", "arguments": {}}') * 3), TOOLS)
    assert len({each["id"] for each in message["tool_calls"]}) == 3


def test_a_call_without_its_closing_tag_is_a_call():
    assert calls_of('<tool_call>{"name": "f", "arguments": {"n": 1}}') == [("f", {"n": 1})]


@pytest.mark.parametrize("tools", [None, []])
def test_without_tools_a_call_is_text(tools):
    text = call('{"name": "f", "arguments": {}}')
    assert CODEC.decode(ids(text), tools) == {"role": "assistant", "content": text}


def test_without_a_parser_a_call_is_text():
    text = call('{"name": "f", "arguments": {}}')
    assert TemplateCodec(byte_files()).decode(ids(text), TOOLS) == {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "f", "arguments": {"n": ',
        '{"name": "f", "arguments": [1]}',
        '{"name": "f", "arguments": "nope"}',
        '{"name": "", "arguments": {}}',
        '{"name": 5, "arguments": {}}',
        '{"arguments": {}}',
        '{"name": "f", "arguments": {"n": NaN}}',
        '{"name": "f", "arguments": {"s": "\\ud800"}}',
        "[]",
        "",
        "__import__('os')",
        '{"name": "f", "arguments": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}",
    ],
)
def test_what_is_no_call_stays_text(body):
    text = call(body)
    assert CODEC.decode(ids(text), TOOLS) == {"role": "assistant", "content": text}


def test_a_malformed_call_does_not_hide_a_good_one():
    message = CODEC.decode(ids(call("nope") + call('{"name": "f", "arguments": {}}')), TOOLS)
    assert message["content"] == call("nope")
    assert len(message["tool_calls"]) == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{"n": "5"}', {"n": 5}),
        ('{"n": 5}', {"n": 5}),
        ('{"n": "five"}', {"n": "five"}),
        ('{"x": "0.5"}', {"x": 0.5}),
        ('{"x": "inf"}', {"x": "inf"}),
        ('{"ok": "true"}', {"ok": True}),
        ('{"s": "5"}', {"s": "5"}),
        ('{"other": "5"}', {"other": "5"}),
    ],
)
def test_arguments_have_the_types_of_the_schema(written, expected):
    assert calls_of(call(f'{{"name": "f", "arguments": {written}}}')) == [("f", expected)]


def test_arguments_written_as_text_of_an_object_are_that_object():
    assert calls_of(call('{"name": "f", "arguments": "{\\"n\\": 1}"}')) == [("f", {"n": 1})]


def test_a_parser_that_raises_leaves_text():
    def broken(text, tools):
        raise RuntimeError("broken")

    assert parse_calls(broken, "text", TOOLS) == ("text", [])


def test_a_parser_of_one_s_own_is_used_and_made_safe():
    def shouting(text, tools):
        if text == "crash":
            raise RuntimeError("no idea")
        return "", [{"id": "1", "type": "function", "function": {"name": text, "arguments": {}}}]

    codec = TemplateCodec(byte_files(), tool_parser=shouting)
    assert codec.decode(ids("f"), TOOLS)["tool_calls"][0]["function"]["name"] == "f"
    assert codec.decode(ids("crash"), TOOLS) == {"role": "assistant", "content": "crash"}


@pytest.mark.parametrize("field", ["tool_parser", "reasoning_parser"])
def test_an_unknown_parser_is_refused_by_its_field(field):
    with pytest.raises(ValueError, match=f"{field} 'nope' is unknown: expected one of "):
        TemplateCodec(byte_files(), **{field: "nope"})


@settings(max_examples=200)
@given(st.lists(st.integers(-5, 2**33) | st.integers(0, 300), max_size=40))
def test_any_ids_decode(sampled):
    assert isinstance(CODEC.decode(sampled, TOOLS)["content"], str)


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(["<tool_call>", "</tool_call>", '{"name": "f",', '"arguments": {}}', "{", "}", '"', "\\", "x"])
    ).map("".join)
)
@pytest.mark.parametrize("parser", PARSERS)
def test_no_text_is_lost_on_the_way_to_a_call(parser, text):
    rest, calls = parse_calls(PARSERS[parser], text, TOOLS)
    assert rest == text or calls
