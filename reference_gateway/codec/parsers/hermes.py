"""`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, any number, as Hermes and Qwen write it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reference_gateway.codec.signatures import Signatures
from reference_gateway.codec.tools import Call, NoCall, json_call, read_spans
from reference_gateway.tools.arguments import Source, scan_json, skip_space
from reference_gateway.types import Tool

_OPENING, _CLOSING = re.compile("<tool_call>"), "</tool_call>"


def parse_hermes(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`. The last closing tag may be missing: some engines cut it off as a stop string."""
    signatures = Signatures(tools)

    def read(text: Source, start: int) -> tuple[list[Call], int]:
        start = skip_space(text, start)
        if not text.startswith("{", start):
            raise NoCall("a call is an object")
        written, end = scan_json(text, start, once=True)
        end = skip_space(text, end)
        if text.startswith(_CLOSING, end):
            end += len(_CLOSING)
        elif end != len(text):
            raise NoCall("a call fills its tags")
        return [json_call(written, signatures)], end

    return read_spans(text, _OPENING, read, own_line=True)
