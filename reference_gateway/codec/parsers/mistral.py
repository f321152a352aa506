"""Calls behind `[TOOL_CALLS]`, in the two ways in which Mistral's models write them:

    [TOOL_CALLS][{"name": ..., "arguments": {...}, "id": ...}, ...]
    [TOOL_CALLS]NAME[CALL_ID]ID[ARGS]{...}      once for each call; `[CALL_ID]ID` and `[ARGS]` may be missing

These templates write ids, and refuse those that are not nine letters and digits: a call keeps the id that the model
gave to it, and gets one of that form where it gave none.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

from reference_gateway.codec.signatures import Signatures
from reference_gateway.codec.tools import Call, NoCall, json_call, new_call, read_spans
from reference_gateway.tools.arguments import Source, scan_json, skip_space
from reference_gateway.types import Tool

_OPENING = re.compile(r"\[TOOL_CALLS\]")
_NAMED = re.compile(r"\s*([^\s\[\]{}]+)(?:\[CALL_ID\]([^\[\]{}]*))?(?:\[ARGS\])?\s*")
_ID = re.compile(r"[A-Za-z0-9]{9}")


def parse_mistral(text: str, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """See `tools.Parser`."""
    signatures = Signatures(tools)
    used: set[str] = set()

    def identified(call: Call, written: Any) -> Call:
        call_id = written if isinstance(written, str) and _ID.fullmatch(written) and written not in used else None
        call["id"] = call_id or secrets.token_hex(5)[:9]
        used.add(call["id"])
        return call

    def read(text: Source, start: int) -> tuple[list[Call], int]:
        start = skip_space(text, start)
        if text.startswith("[", start):
            written, end = scan_json(text, start, once=True)
            if not written:
                raise NoCall("a list of calls is not empty")
            calls = [(json_call(entry, signatures), entry.get("id")) for entry in written]
            return [identified(*call) for call in calls], end
        named = _NAMED.match(text, start)
        if named is None or not text.startswith("{", named.end()):
            raise NoCall("a name stands before its arguments")
        arguments, end = scan_json(text, named.end(), once=True)
        return [identified(new_call(named[1], arguments, signatures), named[2])], end

    return read_spans(text, _OPENING, read)
