"""What mutants of several wires make of the calls that a parser found. Each takes and gives what `parse_calls` does."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from reference_gateway.codec import template
from tests.mutants.sabotage import Sabotage

Calls = list[dict[str, Any]]


def on_calls(
    gateway: Sabotage, serving: ContextVar[bool], change: Callable[[str, str, Calls], tuple[str, Calls]]
) -> None:
    """`change(text, rest, calls)` gives the content and the calls of each answer while `serving` is true."""

    @gateway.wrap(template, "parse_calls")
    def parse_calls(original: Any, parser: Any, text: str, tools: Any) -> Any:
        rest, calls = original(parser, text, tools)
        return change(text, rest, calls) if serving.get() else (rest, calls)


def all_text(text: str, rest: str, calls: Calls) -> tuple[str, Calls]:
    """All is text where some of it is a malformed call."""
    return (text, []) if calls and "<tool_call>" in rest else (rest, calls)


def with_invented(text: str, rest: str, calls: Calls) -> tuple[str, Calls]:
    """A malformed call beside others, if it has a name, is a call of that name."""
    named = re.search(r'"name": "(\w+)"', rest) if calls else None
    if named is None:
        return rest, calls
    invented = {"id": "call_0", "type": "function", "function": {"name": named[1], "arguments": {}}}
    return rest, [*calls, invented]


def without_malformed(text: str, rest: str, calls: Calls) -> tuple[str, Calls]:
    """The text of a malformed call beside others is gone."""
    return rest.partition("<tool_call>")[0] if calls else rest, calls


def by_name(calls: Calls) -> Calls:
    """The calls with the arguments of the last one of their tool."""
    functions = {call["function"]["name"]: call["function"] for call in calls}
    return [{**call, "function": functions[call["function"]["name"]]} for call in calls]


def doubled(text: str, rest: str, calls: Calls) -> tuple[str, Calls]:
    """The integers of arguments are read as doubles."""

    def read(value: Any) -> Any:
        return int(float(value)) if type(value) is int else value

    return rest, [_with(call, read) for call in calls]


def respelled(text: str, rest: str, calls: Calls) -> tuple[str, Calls]:
    """The strings of arguments that spell a number or a boolean are that, whatever the schema says."""

    def read(value: Any) -> Any:
        if value in ("true", "false"):
            return value == "true"
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    return rest, [_with(call, read) for call in calls]


def _with(call: dict[str, Any], read: Callable[[Any], Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = {name: read(value) for name, value in function["arguments"].items()}
    return {**call, "function": {**function, "arguments": arguments}}
