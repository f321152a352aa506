"""Fields of the published APIs whose value changes what an answer is, and how an answer shows that it was heard.

Knows the documentation of each wire; never a gateway. A gateway may honour such a field or refuse it by name. What it
may not do is to answer as if the field were not there. A field stands here only where an answer, or the call that the
engine received, tells the one from the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.client.anthropic import as_tool
from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply, at
from conformance.client.responses import flat
from conformance.oracles import Violation
from conformance.oracles.constraints import free_to_say
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import Call
from conformance.vocabulary.expect import REFUSED, expect
from conformance.vocabulary.session import function

SEARCH = function("search", q={"type": "string"})
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

Heard = Callable[[Reply, Call], bool]


@dataclass(frozen=True, slots=True)
class Asked:
    """A field with a value that changes the answer. `beside` are fields that it needs, `says` is what the upstream
    says to it. `heard` is whether an answer and the upstream's call show that it was honoured: that is, `shows`."""

    names: tuple[str, ...]
    fields: Mapping[str, Any]
    heard: Heard
    shows: str
    says: tuple[Mapping[str, Any], ...] = ({"text": "Hello"},)
    tools: bool = field(default=False)

    def __str__(self) -> str:
        return self.names[0]


def expect_heard_or_refused(asked: Asked, reply: Reply, upstream: Upstream) -> None:
    """The answer shows that the field was honoured, or it is a refusal that names it."""
    __tracebackhide__ = True
    if reply.status in REFUSED:
        expect_named(reply, *asked.names)
        return
    expect(reply).status(200)
    call = upstream.calls[-1]
    if not asked.heard(reply, call):
        what = f"the answer to a request with {json.dumps(asked.fields)[:160]}"
        expected = f"{asked.shows}, or a refusal that names {' or '.join(asked.names)}"
        raise ConformanceFailure([Violation(what, expected, describe(reply.body))])


def expect_named(reply: Reply, *names: str) -> None:
    """A refusal that names one of these fields."""
    __tracebackhide__ = True
    text = reply.body.decode("utf-8", "replace")
    if not any(re.search(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])", text) for name in names):
        raise ConformanceFailure(
            [Violation("message of the refusal", f"one that names {' or '.join(names)}", describe(text))]
        )


def expect_told_or_refused(reply: Reply, upstream: Upstream, texts: tuple[str, ...], *names: str) -> None:
    """All of these texts are in the context that the model was given, or the request is refused and one of the names
    stands in the refusal."""
    __tracebackhide__ = True
    if reply.status in REFUSED:
        expect_named(reply, *names)
        return
    expect(reply).status(200)
    context = upstream.calls[-1].text
    expect([text for text in texts if text not in context]).equals([], "texts that the context lacks")


def _passed_on(value: Any) -> Heard:
    """The upstream received the value, under whichever name."""
    return lambda reply, call: holds(call.body, value)


def _kept_from(*texts: str) -> Heard:
    """The engine leaves its model free to say none of these."""
    return lambda reply, call: not any(free_to_say(call.fields, text) for text in texts)


def _two_choices(reply: Reply, call: Call) -> bool:
    return len(at(reply.completion, "choices", kind=list)) == 2


def _alternatives(reply: Reply, call: Call) -> bool:
    told = at(reply.completion, "choices", 0, "logprobs")
    entries = (told.get("content") if isinstance(told, dict) else None) or []
    return bool(entries) and all(entry.get("top_logprobs") for entry in entries)


def _speaks(reply: Reply, call: Call) -> bool:
    return reply.message.get("audio") is not None


def _told_of_search(reply: Reply, call: Call) -> bool:
    return "search" in call.text or call.body.get("functions") is not None


def _echoes(name: str, value: Any) -> Heard:
    return lambda reply, call: reply.completion.get(name) == value


def holds(value: Any, part: Any) -> bool:
    """Does `part` stand in `value`, at any depth, as it is or in JSON text?"""
    if value == part:
        return True
    if isinstance(value, str) and value.startswith("{"):
        try:
            return holds(json.loads(value), part)
        except ValueError:
            return False
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(holds(child, part) for child in children)


def _sampling(name: str, value: Any) -> Asked:
    return Asked((name,), {name: value}, _passed_on(value), f"{value!r} in the upstream's request")


_PLACE = {"text": '{"city": "Oslo"}'}
_CALL = {"tool_calls": ({"name": "search", "arguments": {"q": "weather"}},)}
_OF_THE_SCHEMA = _kept_from("Hello", '{"city": 7}')
_SCHEMA_HOLDS = "a constraint in the upstream's request that leaves nothing but what the schema allows"
_AN_OBJECT = _kept_from("Hello", "[7]")
_OBJECT_HOLDS = "a constraint in the upstream's request that leaves nothing but an object"
_NO_PLAIN_TEXT = _kept_from("Hello")
_ENGINE_FORCES = "a constraint in the upstream's request that leaves no plain text"

CHAT: tuple[Asked, ...] = (
    Asked(("n",), {"n": 2}, _two_choices, "two choices", ({"text": "One"}, {"text": "Two"})),
    Asked(
        ("response_format",),
        {"response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}},
        _OF_THE_SCHEMA,
        _SCHEMA_HOLDS,
        (_PLACE,),
    ),
    Asked(("response_format",), {"response_format": {"type": "json_object"}}, _AN_OBJECT, _OBJECT_HOLDS, (_PLACE,)),
    Asked(
        ("tool_choice",), {"tools": [SEARCH], "tool_choice": "required"}, _NO_PLAIN_TEXT, _ENGINE_FORCES, (_CALL,), True
    ),
    Asked(
        ("tool_choice",),
        {"tools": [SEARCH], "tool_choice": {"type": "function", "function": {"name": "search"}}},
        _NO_PLAIN_TEXT,
        _ENGINE_FORCES,
        (_CALL,),
        True,
    ),
    Asked(("functions",), {"functions": [SEARCH["function"]]}, _told_of_search, "the function in the context"),
    Asked(
        ("top_logprobs", "logprobs"),
        {"logprobs": True, "top_logprobs": 2},
        _alternatives,
        "alternatives for each token",
    ),
    Asked(
        ("modalities", "audio"),
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        _speaks,
        "audio in the message",
    ),
    _sampling("seed", 7310),
    _sampling("presence_penalty", 0.625),
    _sampling("frequency_penalty", 0.375),
    _sampling("logit_bias", {"5": -1.5}),
)
MESSAGES: tuple[Asked, ...] = (
    Asked(
        ("format", "output_config"),
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        _OF_THE_SCHEMA,
        _SCHEMA_HOLDS,
        (_PLACE,),
    ),
    Asked(
        ("output_format",),
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
        _OF_THE_SCHEMA,
        _SCHEMA_HOLDS,
        (_PLACE,),
    ),
    Asked(
        ("tool_choice",),
        {"tools": [as_tool(SEARCH)], "tool_choice": {"type": "any"}},
        _NO_PLAIN_TEXT,
        _ENGINE_FORCES,
        (_CALL,),
        True,
    ),
    Asked(
        ("tool_choice",),
        {"tools": [as_tool(SEARCH)], "tool_choice": {"type": "tool", "name": "search"}},
        _NO_PLAIN_TEXT,
        _ENGINE_FORCES,
        (_CALL,),
        True,
    ),
)
RESPONSES: tuple[Asked, ...] = (
    Asked(
        ("format", "text"),
        {"text": {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA}}},
        _OF_THE_SCHEMA,
        _SCHEMA_HOLDS,
        (_PLACE,),
    ),
    Asked(("format", "text"), {"text": {"format": {"type": "json_object"}}}, _AN_OBJECT, _OBJECT_HOLDS, (_PLACE,)),
    Asked(
        ("tool_choice",),
        {"tools": [flat(SEARCH)], "tool_choice": "required"},
        _NO_PLAIN_TEXT,
        _ENGINE_FORCES,
        (_CALL,),
        True,
    ),
    Asked(
        ("tool_choice",),
        {"tools": [flat(SEARCH)], "tool_choice": {"type": "function", "name": "search"}},
        _NO_PLAIN_TEXT,
        _ENGINE_FORCES,
        (_CALL,),
        True,
    ),
    Asked(("background",), {"background": True}, _echoes("background", True), "`background` of the response is true"),
    Asked(
        ("truncation",), {"truncation": "auto"}, _echoes("truncation", "auto"), "`truncation` of the response is auto"
    ),
)
