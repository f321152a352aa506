"""Calls as Qwen3-Coder writes them, each value on lines of its own and typed by the tool's schema alone:

<tool_call>
<function=NAME>
<parameter=KEY>
VALUE
</parameter>
</function>
</tool_call>
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reference_gateway.codec.tools import Call, NoCall, NoMoreCalls, new_call, read_spans
from reference_gateway.types import Tool

_OPENING = re.compile(r"(?:<tool_call>\s*)?<function=")  # some models leave the outer tags out
_NAME = re.compile(r"([^<>\n]+)>")
_PARAMETER = re.compile(r"\s*<parameter=([^<>\n]+)>\n?")
# A value may speak of `</parameter>`: the one that ends it is followed by what can follow a parameter.
_VALUE_END = re.compile(r"\n?</parameter>(?=\s*(?:<parameter=|</function>|\Z))")
_CLOSING = re.compile(r"\s*</function>(?:\s*</tool_call>)?|\s*\Z")


def parse_qwen_coder(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""

    def read(start: int) -> tuple[list[Call], int]:
        name = _NAME.match(text, start)
        if name is None:
            raise NoCall("a function has a name")
        arguments: dict[str, str] = {}
        place = name.end()
        while found := _PARAMETER.match(text, place):
            end = _VALUE_END.search(text, found.end())
            if end is None:
                raise NoMoreCalls("a parameter is closed")
            arguments[found[1].strip()] = text[found.end() : end.start()]
            place = end.end()
        closing = _CLOSING.match(text, place)
        if closing is None:
            raise NoCall("a function is closed")
        return [new_call(name[1].strip(), arguments, tools)], closing.end()

    return read_spans(text, _OPENING, read)
