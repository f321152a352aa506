"""Server-sent events as bytes. JSON never holds a raw line end, so one `data:` line is enough for any document."""

from __future__ import annotations

from typing import Any

import orjson

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
DONE = b"data: [DONE]\n\n"


def data(document: Any) -> bytes:
    """One unnamed event."""
    return b"data: " + orjson.dumps(document) + b"\n\n"


def event(name: str, document: Any) -> bytes:
    """One named event."""
    return b"event: " + name.encode() + b"\n" + data(document)
