"""Calls as GLM-4.5 writes them; strings as they are, other values as JSON, and the tool's schema says which:

<tool_call>NAME
<arg_key>KEY</arg_key>
<arg_value>VALUE</arg_value>
</tool_call>
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reference_gateway.codec.signatures import Signatures
from reference_gateway.codec.tools import Call, NoCall, new_call, read_spans
from reference_gateway.tools.arguments import Source
from reference_gateway.types import Tool

_OPENING = re.compile(r"<tool_call>")
_NAME = re.compile(r"\s*([^\s<>{}]+)")
_ARGUMENT = re.compile(r"\s*<arg_key>([^<>\n]+)</arg_key>\s*<arg_value>")
# A value may speak of `</arg_value>`: the one that ends it is followed by what can follow an argument. What else is
# listed shows that none ended it.
_END = "</arg_value>"
_VALUE_END = re.compile(r"</arg_value>(?=\s*(?:<arg_key>|</tool_call>|\Z))|<(?:tool_call|arg_key|arg_value)>")
_CLOSING = re.compile(r"\s*(?:</tool_call>|\Z)")


def parse_glm(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""
    signatures = Signatures(tools)

    def read(text: Source, start: int) -> tuple[list[Call], int]:
        name = _NAME.match(text, start)
        if name is None:
            raise NoCall("a call has a name")
        arguments: dict[str, str] = {}
        place = name.end()
        while argument := _ARGUMENT.match(text, place):
            key, end = argument[1].strip(), _VALUE_END.search(text, argument.end())
            if end is None or end[0] != _END or key in arguments:
                raise NoCall("a value is closed, and given once")
            arguments[key] = text[argument.end() : end.start()]
            place = end.end()
        closing = _CLOSING.match(text, place)
        if closing is None:
            raise NoCall("a call is closed")
        return [new_call(name[1], arguments, signatures, untyped=True)], closing.end()

    return read_spans(text, _OPENING, read, own_line=True)
