"""Formats of the answer and tool choices of each wire: the constraint that they are, and what each refusal says."""

from __future__ import annotations

import pytest

from reference_gateway.tools.server_tools import FunctionTool
from reference_gateway.types import Constraint
from reference_gateway.wire import anthropic_messages, openai_chat, openai_responses
from reference_gateway.wire.base import Policy, RequestRefused

ENGINE = Policy(formats=True, forced_calls=True)
HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
OBJECT = {"type": "object"}
CHAT_FORMAT = {"response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}}
JSON_OBJECT = {"response_format": {"type": "json_object"}}
PREFILL = [*HI, {"role": "assistant", "content": "{"}]


def seek(q: str) -> str:
    """Seek."""
    return q


def chat(policy=ENGINE, **body):
    functions = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    return openai_chat.parse({"messages": HI, "tools": functions, **body}, {}, policy).turn.constraint


def messages(policy=ENGINE, **body):
    tools = [{"name": name, "input_schema": OBJECT} for name in ("f", "g")]
    given = {"messages": HI, "max_tokens": 9, "tools": tools, **body}
    return anthropic_messages.parse(given, {}, policy).turn.constraint


def respond(policy=ENGINE, **body):
    tools = [{"type": "function", "name": name} for name in ("f", "g")]
    return openai_responses.parse(
        {"input": "hi", "tools": tools, **body}, {}, policy, [FunctionTool(seek)], lambda item: None
    )


def responses(policy=ENGINE, **body):
    return respond(policy, **body).constraint


REQUIRED = {"type": "allowed_tools", "mode": "required"}
PLACE = {"type": "json_schema", "schema": SCHEMA}
ANY = Constraint(calls=("f", "g"))
ONE = Constraint(calls=("f", "g"), one_call=True)
F = Constraint(calls=("f",), one_call=True)


@pytest.mark.parametrize(
    ("read", "body", "expected"),
    [
        (chat, {}, None),
        (chat, {"response_format": None, "tool_choice": "auto"}, None),
        (chat, {"response_format": {"type": "text"}, "tool_choice": "none"}, None),
        (chat, {**CHAT_FORMAT, "tools": []}, Constraint(SCHEMA)),
        (chat, {**CHAT_FORMAT, "tool_choice": "none"}, Constraint(SCHEMA)),
        (chat, CHAT_FORMAT, Constraint(SCHEMA, ("f", "g"))),
        (chat, {**CHAT_FORMAT, "parallel_tool_calls": False}, Constraint(SCHEMA, ("f", "g"), True)),
        (chat, {**JSON_OBJECT, "tools": None}, Constraint(OBJECT)),
        (chat, {"tool_choice": "required"}, ANY),
        (chat, {**CHAT_FORMAT, "tool_choice": "required"}, ANY),
        (chat, {"tool_choice": "required", "parallel_tool_calls": False}, ONE),
        (chat, {"tool_choice": {"type": "function", "function": {"name": "f"}}}, F),
        (
            chat,
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]},
                }
            },
            Constraint(calls=("g",)),
        ),
        (messages, {"tool_choice": {"type": "auto"}}, None),
        (messages, {"tool_choice": {"type": "any"}}, ANY),
        (messages, {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}, ONE),
        (messages, {"tool_choice": {"type": "tool", "name": "f"}}, F),
        (messages, {"output_config": {"format": PLACE}}, Constraint(SCHEMA, ("f", "g"))),
        (messages, {"output_format": PLACE, "tools": []}, Constraint(SCHEMA)),
        (responses, {}, None),
        (responses, {"text": {"format": {**PLACE, "name": "p"}}, "tools": []}, Constraint(SCHEMA)),
        (responses, {"text": {"format": {"type": "json_object"}}, "tools": None}, Constraint(OBJECT)),
        (responses, {"tool_choice": "required"}, ANY),
        (responses, {"tool_choice": {"type": "function", "name": "f"}}, F),
        (
            responses,
            {"tool_choice": {**REQUIRED, "tools": [{"type": "function", "name": "g"}]}},
            Constraint(calls=("g",)),
        ),
    ],
)  # fmt: skip
def test_what_a_request_asks_for(read, body, expected):
    assert read(**body) == expected


@pytest.mark.parametrize(
    ("read", "body", "says"),
    [
        (chat, {"response_format": {"type": "xml"}}, "response_format.type must be one of text, json_object, json"),
        (chat, {"response_format": 7}, "response_format.type must be one of"),
        (chat, {"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema must be an object"),
        (chat, {"tool_choice": "sometimes"}, "tool_choice must be one of auto, none and required"),
        (chat, {"tool_choice": ["auto"]}, "tool_choice must be one of"),
        (chat, {"tool_choice": {"type": ["function"]}}, "tool_choice must be one of"),
        (chat, {"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name must be a non-empty"),
        (chat, {"tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice names 'h'"),
        (chat, {"tool_choice": "required", "tools": []}, "tool_choice forces a call, and tools has no function"),
        (
            chat,
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
            "tool_choice.allowed_tools.mode is not supported",
        ),
        (
            chat,
            {**CHAT_FORMAT, "messages": PREFILL, "continue_final_message": True, "add_generation_prompt": False},
            "response_format is not supported where the last of the messages is to be gone on with",
        ),
        (messages, {"messages": PREFILL, "tool_choice": {"type": "any"}}, "tool_choice is not supported where"),
        (messages, {"output_config": {"format": {"type": "json_object"}}}, "output_config.format.type must be one of"),
        (messages, {"output_format": {"type": "json_schema"}}, "output_format.schema must be an object"),
        (messages, {"tool_choice": "any"}, "tool_choice must be an object"),
        (messages, {"tool_choice": {"type": "tool"}}, "tool_choice.name must be a non-empty string"),
        (responses, {"text": {"format": {"type": "json_schema"}}}, "text.format.schema must be an object"),
        (responses, {"tool_choice": {"type": "web_search"}}, "tool_choice must be one of"),
        (responses, {"tool_choice": REQUIRED}, "tool_choice.tools must be"),
    ],
)  # fmt: skip
def test_refused(read, body, says):
    with pytest.raises(RequestRefused) as refused:
        read(**body)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("read", "body"),
    [(chat, JSON_OBJECT), (responses, {"text": {"format": {"type": "json_object"}}})],
)
def test_calls_that_cannot_be_constrained_exclude_a_format(read, body):
    with pytest.raises(RequestRefused, match="is not supported beside tools"):
        read(Policy(formats=True), **body)
    assert read(Policy(formats=True), **body, tool_choice="none") == Constraint(OBJECT)


def test_a_forced_call_of_the_gateways_own_tool_is_forced_once():
    own = {"type": "mcp", "server_label": "gateway"}
    request = respond(tools=[own], tool_choice={"type": "mcp", "server_label": "gateway"})
    assert request.constraint == Constraint(calls=("seek",), one_call=True)
    assert request.constraint_behind_tools is None


def test_a_response_repeats_what_it_was_asked_for():
    choice = {"type": "function", "name": "f"}
    form = {"type": "json_schema", "name": "place", "schema": SCHEMA}
    echo = respond(tool_choice=choice, text={"format": form, "verbosity": "low"}).echo
    assert echo["tool_choice"] == choice
    assert echo["text"] == {"format": {**form, "description": None, "strict": False}, "verbosity": "low"}


def test_smolagents_tool_calling_agent_passes():
    stop = ["Observation:", "Calling tools:"]
    assert chat(model="m", tool_choice="required", stop=stop, max_tokens=64) == ANY
