"""Calls between DeepSeek's control tokens, in the two ways in which its V3 models write them:

CALLS_BEGIN CALL_BEGIN function SEP NAME \\n ```json \\n {...} \\n ``` CALL_END ... CALLS_END
CALLS_BEGIN CALL_BEGIN NAME SEP {...} CALL_END ... CALLS_END
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reference_gateway.codec.signatures import Signatures
from reference_gateway.codec.tools import Call, NoCall, new_call, read_spans
from reference_gateway.tools.arguments import Source, scan_json, skip_space
from reference_gateway.types import Tool


def control(words: str) -> str:
    """How DeepSeek spells a control token: fullwidth bars around words that U+2581 joins."""
    return "<\uff5c" + words.replace(" ", "\u2581") + "\uff5c>"


_CALLS_BEGIN, _CALLS_END = control("tool calls begin"), control("tool calls end")
_BEGIN, _END, _SEP = control("tool call begin"), control("tool call end"), control("tool sep")
_OPENING = re.compile(rf"{_CALLS_BEGIN}\s*{_BEGIN}|{_BEGIN}")
# A name begins with no blank: else where blanks end and a name begins would be tried at each of them.
_HEAD = re.compile(rf"\s*(?:function{_SEP}([^\n<>]+)\n```json|([^\s<>][^\n<>]*){_SEP})")
_TAIL = re.compile(rf"\s*(?:```\s*)?(?:{_END}(?:\s*{_CALLS_END})?|\Z)")


def parse_deepseek(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""
    signatures = Signatures(tools)

    def read(text: Source, start: int) -> tuple[list[Call], int]:
        head = _HEAD.match(text, start)
        if head is None:
            raise NoCall("a call has a name")
        arguments, end = scan_json(text, skip_space(text, head.end()), once=True)
        tail = _TAIL.match(text, end)
        if tail is None:
            raise NoCall("a call is closed")
        return [new_call((head[1] or head[2]).strip(), arguments, signatures)], tail.end()

    return read_spans(text, _OPENING, read)
