"""The table of fields: what the gates make of it, and the page that is written from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference_gateway.wire.base import Policy, RequestRefused
from reference_gateway.wire.fields import CHAT, MESSAGES, RESPONSES, WIRES, Fate, Gate, page

ROOT = Path(__file__).parents[3]
SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}
REFUSE, ENGINE = Policy(), Policy(formats=True, forced_calls=True)


def test_the_page_is_that_of_the_table():
    hint = "python -m reference_gateway.wire.fields > docs/fields.md"
    assert (ROOT / "docs" / "fields.md").read_text("utf-8") == page(), hint


@pytest.mark.parametrize("wire", WIRES)
def test_every_refused_field_is_refused_by_name_and_null_is_not(wire):
    fields = WIRES[wire]
    for path, field in fields.items():
        if field.fate is not Fate.REFUSED or field.allows is not None:
            continue
        name, _, inner = path.partition(".")
        Gate(fields).check({name: {inner: None} if inner else None}, REFUSE)
        for default in field.defaults:
            Gate(fields).check({name: {inner: default} if inner else default}, REFUSE)
        with pytest.raises(RequestRefused, match=path):
            Gate(fields).check({name: {inner: "odd"} if inner else "odd"}, REFUSE)


@pytest.mark.parametrize(
    ("fields", "body", "says"),
    [
        (CHAT, {"n": True}, "n=true is not supported: this gateway gives one choice; expected 1"),
        (CHAT, {"n": 1.0}, "n=1.0 is not supported"),
        (CHAT, {"response_format": SCHEMA}, 'response_format is not supported: .*; expected {"type": "text"}'),
        (CHAT, {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "context_management is not"),
        (MESSAGES, {"output_config": {"effort": "low", "format": SCHEMA}}, r"output_config\.format is not supported"),
        (MESSAGES, {"output_format": SCHEMA}, "output_format is not supported"),
        (MESSAGES, {"mcp_servers": [{"url": "x"}]}, "mcp_servers is not supported"),
        (MESSAGES, {"stop": ["END"]}, "stop is not supported: this wire's name for it is stop_sequences"),
        (RESPONSES, {"text": {"format": SCHEMA}}, r"text\.format is not supported"),
        (RESPONSES, {"include": ["message.output_text.logprobs"]}, "include is not supported"),
        (RESPONSES, {"truncation": "auto"}, 'truncation="auto" is not supported: .*; expected "disabled"'),
        (RESPONSES, {"structured_outputs": {"json": {}}}, "structured_outputs is not supported"),
    ],
)
def test_a_refusal_says_what_is_expected(fields, body, says):
    with pytest.raises(RequestRefused, match=says):
        Gate(fields).check(body, REFUSE)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (CHAT, {"response_format": {"type": "text"}, "context_management": {"edits": []}, "no_such_field": [1]}),
        (CHAT, {"stream_options": {"include_usage": True}, "prediction": {"type": "content", "content": "x"}}),
        (MESSAGES, {"output_config": {"effort": "high"}, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (MESSAGES, {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}),
        (RESPONSES, {"text": {"verbosity": "low"}, "include": ["reasoning.encrypted_content"], "store": False}),
        (RESPONSES, {"text": "odd", "background": False, "max_tool_calls": 3}),
    ],
)
def test_what_changes_nothing_passes(fields, body):
    Gate(fields).check(body, REFUSE)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (CHAT, {"response_format": SCHEMA, "tool_choice": "required"}),
        (MESSAGES, {"output_config": {"format": SCHEMA}, "tool_choice": {"type": "any"}}),
        (MESSAGES, {"output_format": SCHEMA}),
        (RESPONSES, {"text": {"format": SCHEMA}, "tool_choice": {"type": "function", "name": "f"}}),
    ],
)
def test_what_the_engine_can_do_is_refused_unless_it_is_asked_to(fields, body):
    with pytest.raises(RequestRefused, match="is not supported"):
        Gate(fields).check(body, REFUSE)
    Gate(fields).check(body, ENGINE)


def test_a_gateway_that_cannot_force_calls_still_takes_formats():
    policy = Policy(formats=True)
    Gate(CHAT).check({"response_format": SCHEMA}, policy)
    with pytest.raises(RequestRefused, match="tool_choice"):
        Gate(CHAT).check({"tool_choice": "required"}, policy)


def test_the_engines_own_fields_stay_refused():
    with pytest.raises(RequestRefused, match="structured_outputs is not supported"):
        Gate(CHAT).check({"structured_outputs": {"json": {}}}, ENGINE)
