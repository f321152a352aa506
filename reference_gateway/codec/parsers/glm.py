"""Calls as GLM-4.5 writes them; strings as they are, other values as JSON, and the tool's schema says which:

<tool_call>NAME
<arg_key>KEY</arg_key>
<arg_value>VALUE</arg_value>
</tool_call>
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reference_gateway.codec.tools import Call, NoCall, NoMoreCalls, new_call, read_spans
from reference_gateway.types import Tool

_OPENING = re.compile(r"<tool_call>")
_NAME = re.compile(r"\s*([^\s<>{}]+)")
_ARGUMENT = re.compile(r"\s*<arg_key>([^<>\n]+)</arg_key>\s*<arg_value>")
_VALUE_END = re.compile(r"</arg_value>(?=\s*(?:<arg_key>|</tool_call>|\Z))")
_CLOSING = re.compile(r"\s*(?:</tool_call>|\Z)")


def parse_glm(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""

    def read(start: int) -> tuple[list[Call], int]:
        name = _NAME.match(text, start)
        if name is None:
            raise NoCall("a call has a name")
        arguments: dict[str, str] = {}
        place = name.end()
        while found := _ARGUMENT.match(text, place):
            end = _VALUE_END.search(text, found.end())
            if end is None:
                raise NoMoreCalls("a value is closed")
            arguments[found[1].strip()] = text[found.end() : end.start()]
            place = end.end()
        closing = _CLOSING.match(text, place)
        if closing is None:
            raise NoCall("a call is closed")
        return [new_call(name[1], arguments, tools)], closing.end()

    return read_spans(text, _OPENING, read)
