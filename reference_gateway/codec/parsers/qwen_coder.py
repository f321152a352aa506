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

from reference_gateway.codec.signatures import Signatures
from reference_gateway.codec.tools import Call, NoCall, new_call, read_spans
from reference_gateway.tools.arguments import Source
from reference_gateway.types import Tool

_OPENING = re.compile(r"<tool_call>\s*<function=|<function=")  # some models leave the outer tags out
_NAME = re.compile(r"([^<>\n]+)>")
_PARAMETER = re.compile(r"\s*<parameter=([^<>\n]+)>\n?")
# A value may speak of `</parameter>`: the one that ends it is followed by what can follow a parameter. What else is
# listed shows that none ended it: these models leave the tag out.
_END = "</parameter>"
_VALUE_END = re.compile(
    r"</parameter>(?=\s*(?:<parameter=|</function>|\Z))|<(?:function|parameter)=[^<>\n]+>|</function>\s*</tool_call>"
)
_CLOSING = re.compile(r"\s*</function>(?:\s*</tool_call>)?|\s*\Z")


def parse_qwen_coder(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""
    signatures = Signatures(tools)

    def read(text: Source, start: int) -> tuple[list[Call], int]:
        name = _NAME.match(text, start)
        if name is None:
            raise NoCall("a function has a name")
        arguments: dict[str, str] = {}
        place = name.end()
        while parameter := _PARAMETER.match(text, place):
            key, end = parameter[1].strip(), _VALUE_END.search(text, parameter.end())
            if end is None or end[0] != _END or key in arguments:
                raise NoCall("a parameter is closed, and given once")
            arguments[key] = text[parameter.end() : end.start()].removesuffix("\n")
            place = end.end()
        closing = _CLOSING.match(text, place)
        if closing is None:
            raise NoCall("a function is closed")
        return [new_call(name[1].strip(), arguments, signatures, untyped=True)], closing.end()

    return read_spans(text, _OPENING, read, own_line=True)
