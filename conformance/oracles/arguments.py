"""The arguments of a tool call that travel as text: the JSON of one object, on every wire that sends them so.

Knows JSON; never the tool, nor whether the arguments fit its schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.oracles.schema import Finding
from conformance.oracles.wording import Path, parse_json, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator


def arguments(path: Path, text: str) -> Iterator[Finding]:
    """Judge the arguments at `path`."""
    document, wrong = parse_json(text)
    if wrong:
        yield Finding(path, "the text of a JSON object", f"{quoted(text)} ({wrong})", _cause(text))
    elif not isinstance(document, dict):
        hint = "the arguments were encoded as JSON twice" if isinstance(document, str) else ""
        yield Finding(path, "the text of a JSON object", quoted(text), hint)


def _cause(text: str) -> str:
    half = len(text) // 2
    if not text:
        return 'a call without arguments has "{}"'
    if text.startswith("{'") or "True" in text or "None" in text:
        return "this looks like a Python dict that was turned into text without JSON"
    if text[:half] == text[half:]:
        return "the arguments were sent twice"
    return ""
