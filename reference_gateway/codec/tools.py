"""Tool calls in a model's text: what the parsers of all formats share. The formats are in `parsers/`, a file each.

Knows OpenAI tool calls. Never knows tokens, templates or a format.

Invariants of every parser:

- What it gives is what was written: text and calls account for everything but the markup of the calls. A span of text
  is calls, or it stays text; there is no half of a call, and no call that lacks what its format demands.
- A value ends where its format says so, and never lies behind the opening of another call: a call that is not closed
  stays text, and the one behind it is read.
- It never raises for any text, never evaluates anything, and never searches the same text again for each thing that
  looks like a call: time is linear in the text. Models that repeat themselves are common while they learn.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from reference_gateway.codec.signatures import Signatures
from reference_gateway.tools.arguments import Source, parse_arguments
from reference_gateway.types import Tool

Call = dict[str, Any]
Parser = Callable[[str, Sequence[Tool]], tuple[str, list[Call]]]
"""`(text, tools) -> (what is left as content, calls)`."""
Read = Callable[[Source, int], tuple[list[Call], int]]
"""`(text, place behind an opening) -> (calls, place behind them)`. Raises ValueError where no call stands."""

ARGUMENTS = ("arguments", "parameters")
"""The keys under which models write the arguments of a call, whatever key their template shows them."""


class NoCall(ValueError):
    """What stands here is no call."""


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


def read_spans(text: str, opening: re.Pattern[str], read: Read, *, own_line: bool = False) -> tuple[str, list[Call]]:
    """The calls of every span that begins with `opening`, and the text without those spans. What a template puts there
    is no text: white space between two calls, and the line end before one where it writes each on its `own_line`."""
    match = opening.search(text)
    if match is None:
        return text, []
    source = Source(text)
    rest: list[str] = []
    calls: list[Call] = []
    end = 0
    while match:
        try:
            read_calls, stop = read(source, match.end())
        except ValueError:
            stop = match.end()
        else:
            before = text[end : match.start()].removesuffix("\n" if own_line else "")
            if not calls or not before.isspace():
                rest.append(before)
            calls += read_calls
            end = stop
        match = opening.search(source, stop)
    rest.append(text[end:])
    return "".join(rest), calls


def json_call(written: Any, signatures: Signatures) -> Call:
    """The call that a decoded JSON object `{"name": ..., "arguments": {...}}` spells. Raises `NoCall`."""
    if not isinstance(written, dict):
        raise NoCall("a call is an object")
    spelled = [_arguments(written[key]) for key in ARGUMENTS if key in written]
    if not spelled:
        raise NoCall("a call has arguments")
    non_empty = [arguments for arguments in spelled if arguments != {}] or spelled
    if any(arguments != non_empty[0] for arguments in non_empty):
        raise NoCall("a call has its arguments once")
    return new_call(written.get("name"), non_empty[0], signatures)


def _arguments(written: Any) -> Any:
    """Models write an object, its JSON as a string, and for nothing also null."""
    return parse_arguments(written) if written is None or isinstance(written, str) else written


def new_call(name: Any, arguments: Any, signatures: Signatures, *, untyped: bool = False) -> Call:
    """A call with an id of its own, `call_` and 8 hex digits (contract UA-TC-02), and arguments as the tool's schema
    types them. Raises `NoCall` when the name is empty or the arguments are no object."""
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise NoCall("a call has a name and an object of arguments")
    return {
        "id": f"call_{secrets.token_hex(4)}",
        "type": "function",
        "function": {"name": name, "arguments": signatures.typed(name, arguments, untyped=untyped)},
    }


def of_tools(calls: Sequence[Call], signatures: Signatures) -> bool:
    """Whether one of the calls is to a tool of the request. Where nothing but its form makes a text a call, an answer
    in JSON or a list in Python may have that form, too."""
    names = signatures.names()
    return any(call["function"]["name"] in names for call in calls)
