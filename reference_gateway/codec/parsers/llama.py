"""`{"name": ..., "parameters": {...}}`, several with `;` between, as Llama 3 writes it: the whole answer, or all that
follows `<|python_tag|>`.

Nothing marks a bare call, so an answer counts as calls only when all of it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_gateway.codec.tools import Call, NoCall, json_call
from reference_gateway.tools.arguments import scan_json, skip_space
from reference_gateway.types import Tool

_TAG = "<|python_tag|>"
_KEYS = ("parameters", "arguments")


def parse_llama(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""
    head, tag, tail = text.partition(_TAG)
    if not tag:
        head, tail = "", text
    try:
        return head, _calls(tail, tools)
    except ValueError:
        return text, []


def _calls(text: str, tools: Sequence[Tool]) -> list[Call]:
    calls: list[Call] = []
    place = skip_space(text, 0)
    while place < len(text) or not calls:
        written, end = scan_json(text, place)
        if not isinstance(written, dict) or not any(key in written for key in _KEYS):
            raise NoCall("a call has parameters")
        calls.append(json_call(written, tools, arguments_in=_KEYS))
        place = skip_space(text, end)
        if text.startswith((";", ","), place):
            place = skip_space(text, place + 1)
    return calls
