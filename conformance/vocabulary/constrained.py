"""What checks of formats and forced calls are about: a schema, answers inside and outside of it, and two tools.

A check of a constraint scripts what the model may say, and `rather` what it would sooner say, which the engine must
have been told to keep it from. So it asks for no field of an engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.client.http import Reply
from conformance.upstream.client import Upstream
from conformance.vocabulary.asked import SCHEMA, expect_named
from conformance.vocabulary.expect import REFUSED
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import function

Said = dict[str, Any]

NOT_HELD = "The model would sooner say this, and no constraint in the engine's request kept it from it."
STILL_HELD = "The engine was told to keep its model from what it would sooner say."

PLACE = '{"city": "Oslo"}'
OTHER_PLACE = '{"town": "Oslo"}'
OTHER_SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
HELLO: Said = {"text": "Hello"}
OUTSIDE: list[Said] = [HELLO, {"text": '{"city": 7}'}, {"text": "{}"}]
"""What the schema does not allow."""
VERBATIM = (PLACE, '{"city":"Oslo"}', '{\n  "city": "S\\u00e3o Tomé"\n}')
"""What a reader of JSON would write again otherwise."""

ALLOWED: Mapping[str, tuple[dict[str, Any], str]] = {
    "definitions": (
        {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/name"}},
            "required": ["city"],
            "$defs": {"name": {"type": "string"}},
        },
        '{"city": "Bergen"}',
    ),
    "alternatives": (
        {
            "type": "object",
            "properties": {"city": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
            "required": ["city"],
        },
        '{"city": null}',
    ),
    "other members": (SCHEMA, '{"city": "Bergen", "country": "Norway"}'),
    "order": (
        {
            "type": "object",
            "properties": {"why": {"type": "string"}, "city": {"type": "string"}},
            "required": ["why", "city"],
        },
        '{"why": "It rains.", "city": "Bergen"}',
    ),
}
"""A schema, and an answer that it allows and that something near to it does not: without what it defines, closed, or
with its members in another order."""
IN_PLACE = '{"city": "Oslo", "why": "It is dry."}'
"""What is said where such a schema is not the engine's."""

SEARCH, LOOK = (function(name, q={"type": "string"}) for name in ("search", "look"))
TOOLS = [SEARCH, LOOK]
SEARCHES, LOOKS = ({"name": name, "arguments": {"q": "weather"}} for name in ("search", "look"))
WRONG_CALL = {"name": "search", "arguments": {}}
WRONG_SCHEMAS = ("object", 7, ["city"])


def json_schema(schema: Any = SCHEMA) -> dict[str, Any]:
    """`response_format` of a chat request."""
    return {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}


def flat_schema(schema: Any = SCHEMA, **fields: Any) -> dict[str, Any]:
    """The same as the other wires write it."""
    return {"type": "json_schema", **fields, "schema": schema}


def calling(*calls: Said) -> Said:
    """An answer that makes these calls."""
    return {"tool_calls": list(calls)}


def apart(upstream: Upstream, text: str) -> list[int]:
    """The ids of an answer in which each character is a token of its own, as no tokenizer writes it."""
    tokenizer = upstream.tokenizer
    return [*(token for letter in text for token in tokenizer.encode(letter)), tokenizer.end_of_turn]


def require_granted(reply: Reply, *names: str) -> None:
    """`NotApplicable` where the request was refused with one of these fields named."""
    __tracebackhide__ = True
    if reply.status in REFUSED:
        expect_named(reply, *names)
        raise NotApplicable(f"the gateway refuses `{names[0]}`")
