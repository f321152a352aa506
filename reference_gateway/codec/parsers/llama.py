"""`{"name": ..., "parameters": {...}}`, several with `;` between, as Llama 3 writes it: the whole answer, or all that
follows `<|python_tag|>`.

Nothing marks a bare call, so an answer counts as calls only when all of it is, and one of them is a tool's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reference_gateway.codec.signatures import Signatures
from reference_gateway.codec.tools import Call, NoCall, json_call, of_tools, read_spans
from reference_gateway.tools.arguments import Source, scan_json, skip_space
from reference_gateway.types import Tool

_TAG = "<|python_tag|>"
_OPENING = re.compile(re.escape(_TAG))


def parse_llama(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""
    signatures = Signatures(tools)

    def read(text: Source, start: int) -> tuple[list[Call], int]:
        calls: list[Call] = []
        place = skip_space(text, start)
        while not calls or text.startswith("{", place):
            written, end = scan_json(text, place, once=True)
            calls.append(json_call(written, signatures))
            place = skip_space(text, end)
            if text.startswith((";", ","), place):
                place = skip_space(text, place + 1)
        if place != len(text) and not text.startswith(_TAG, place):
            raise NoCall("nothing but calls follows the tag")
        return calls, place

    if text.lstrip().startswith("{"):
        try:
            calls, end = read(Source(text), 0)
        except ValueError:
            pass
        else:
            if end == len(text) and of_tools(calls, signatures):
                return "", calls
    return read_spans(text, _OPENING, read)
