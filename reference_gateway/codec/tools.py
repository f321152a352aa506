"""Tool calls in a model's text: one parser per format, found by name in `PARSERS`.

Knows formats. Never knows tokens or templates.

Invariants: a parser gives every call or none of a span, what it can't parse stays text, it never raises for any text,
and never evaluates anything.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reference_gateway.arguments import parse_arguments, parse_json
from reference_gateway.types import Tool

Call = dict[str, Any]
Parser = Callable[[str, Sequence[Tool]], tuple[str, list[Call]]]
"""`(text, tools) -> (what is left as content, calls)`."""

_HERMES = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)


def parse_hermes(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, any number, as Hermes and Qwen write it. The last
    closing tag may be missing: some engines cut it off as a stop string."""
    rest: list[str] = []
    calls: list[Call] = []
    end = 0
    for span in _HERMES.finditer(text):
        call = _hermes_call(span[1], tools)
        if call is None:
            continue
        rest.append(text[end : span.start()])
        calls.append(call)
        end = span.end()
    rest.append(text[end:])
    return "".join(rest), calls


PARSERS: Mapping[str, Parser] = {"hermes": parse_hermes, "qwen": parse_hermes}


def parse_calls(parser: Parser, text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """`parser`, made safe: an exception degrades to plain text (contract UA-TC-04), and text that was only calls and
    white space becomes "" (UA-TC-02)."""
    try:
        rest, calls = parser(text, tools)
    except Exception:  # a parser is a plug-in, and a text that it can't read is still an answer
        return text, []
    if not calls:
        return text, []
    return (rest if rest.strip() else ""), calls


def new_call(name: str, arguments: dict[str, Any]) -> Call:
    """A call with an id of its own: `call_` and 8 hex digits (contract UA-TC-02)."""
    return {
        "id": f"call_{secrets.token_hex(4)}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def typed(arguments: dict[str, Any], name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    """`arguments` with strings turned into the scalars that the tool's JSON Schema asks for, where that loses nothing
    (contract UA-TC-05)."""
    properties = _properties(name, tools)
    return {key: _typed_value(value, properties.get(key)) for key, value in arguments.items()}


def _hermes_call(text: str, tools: Sequence[Tool]) -> Call | None:
    written = parse_arguments(text)
    if isinstance(written, str):
        return None
    name, arguments = written.get("name"), written.get("arguments", {})
    if isinstance(arguments, str):
        arguments = parse_arguments(arguments)
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return None
    return new_call(name, typed(arguments, name, tools))


def _properties(name: str, tools: Sequence[Tool]) -> Mapping[str, Any]:
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, dict) and function.get("name") == name:
            parameters = function.get("parameters")
            properties = parameters.get("properties") if isinstance(parameters, dict) else None
            return properties if isinstance(properties, dict) else {}
    return {}


def _typed_value(value: Any, schema: Any) -> Any:
    wanted = schema.get("type") if isinstance(schema, dict) else None
    if not isinstance(value, str) or not isinstance(wanted, str):
        return value
    if wanted in ("object", "array"):
        return _json_of(value, dict if wanted == "object" else list)
    if wanted == "boolean":
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    try:
        if wanted == "integer":
            return int(value)
        if wanted == "number":
            number = float(value)
            return number if math.isfinite(number) else value
    except ValueError:
        pass
    return value


def _json_of(value: str, wanted: type) -> Any:
    try:
        found = parse_json(value)
    except ValueError:
        return value
    return found if isinstance(found, wanted) else value
