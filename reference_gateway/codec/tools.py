"""Tool calls in a model's text: what the parsers of all formats share. The formats are in `parsers/`, a file each.

Knows OpenAI tool calls and JSON Schema types. Never knows tokens, templates or a format.

Invariants of every parser: it gives every call or none of a span, what it can't parse stays text, it never raises for
any text, never evaluates anything, and never searches the same text again for each thing that looks like a call: models
that repeat themselves are common while they learn.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reference_gateway.tools.arguments import parse_arguments, parse_json
from reference_gateway.types import Tool

Call = dict[str, Any]
Parser = Callable[[str, Sequence[Tool]], tuple[str, list[Call]]]
"""`(text, tools) -> (what is left as content, calls)`."""


class NoCall(ValueError):
    """What stands here is no call."""


class NoMoreCalls(NoCall):
    """Nor is anything behind it: what would end a call does not come any more."""


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


def read_spans(
    text: str, opening: re.Pattern[str], read: Callable[[int], tuple[list[Call], int]]
) -> tuple[str, list[Call]]:
    """The calls of every span that begins with `opening`, and the text without those spans. `read` is given the place
    behind an opening and returns the calls and where their span ends; it raises ValueError where there are none."""
    rest: list[str] = []
    calls: list[Call] = []
    end = 0
    found = opening.search(text)
    while found:
        try:
            read_calls, stop = read(found.end())
        except NoMoreCalls:
            break
        except ValueError:
            stop = found.end()
        else:
            rest.append(text[end : found.start()])
            calls += read_calls
            end = stop
        found = opening.search(text, stop)
    rest.append(text[end:])
    return "".join(rest), calls


def json_call(written: Any, tools: Sequence[Tool], *, arguments_in: Sequence[str] = ("arguments",)) -> Call:
    """The call that a decoded JSON object `{"name": ..., "arguments": {...}}` spells. Raises `NoCall`."""
    if not isinstance(written, dict):
        raise NoCall("a call is an object")
    arguments: Any = next((written[key] for key in arguments_in if key in written), {})
    if isinstance(arguments, str):
        arguments = parse_arguments(arguments)
    return new_call(written.get("name"), arguments, tools)


def new_call(name: Any, arguments: Any, tools: Sequence[Tool]) -> Call:
    """A call with an id of its own, `call_` and 8 hex digits (contract UA-TC-02), and arguments as the tool's schema
    types them. Raises `NoCall` when the name is empty or the arguments are no object."""
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise NoCall("a call has a name and an object of arguments")
    return {
        "id": f"call_{secrets.token_hex(4)}",
        "type": "function",
        "function": {"name": name, "arguments": typed(arguments, name, tools)},
    }


def typed(arguments: dict[str, Any], name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    """`arguments` with strings turned into what the tool's JSON Schema asks for, where that loses nothing (contract
    UA-TC-05)."""
    properties = _properties(name, tools)
    return {key: _typed_value(value, properties.get(key)) for key, value in arguments.items()}


def _properties(name: str, tools: Sequence[Tool]) -> Mapping[str, Any]:
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, dict) and function.get("name") == name:
            parameters = function.get("parameters")
            properties = parameters.get("properties") if isinstance(parameters, dict) else None
            return properties if isinstance(properties, dict) else {}
    return {}


def _typed_value(value: Any, schema: Any) -> Any:
    wanted = _types(schema)
    if not isinstance(value, str) or not wanted or "string" in wanted:
        return value
    word = value.strip().lower()
    if "boolean" in wanted and word in ("true", "false"):
        return word == "true"
    if "null" in wanted and word in ("null", "none"):
        return None
    try:
        found = parse_json(value)
    except ValueError:
        return value
    kinds = tuple(kind for each in wanted for kind in _PYTHON.get(each, ()))
    return found if isinstance(found, kinds) and not isinstance(found, bool) else value


def _types(schema: Any) -> frozenset[str]:
    """The JSON types that a schema allows for a value, as far as it says so."""
    if not isinstance(schema, dict):
        return frozenset()
    said = schema.get("type")
    types = frozenset(each for each in (said if isinstance(said, list) else [said]) if isinstance(each, str))
    choices = schema.get("anyOf") or schema.get("oneOf")
    return types.union(*map(_types, choices)) if isinstance(choices, list) else types


_PYTHON: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}
