"""Invocations: `{"message", "session_id"?, "stream"?}` in, `{"response", "session_id"}` or a stream of text out.

Knows that wire: its envelope, its four refusals, its frames (contract AF-ENV, AF-SSE). Pure. A frame is a chunk of
text: a `data: ` line for each of its lines, and a blank line. Invariants: no CR stands in a frame, whatever the text
is; with `newline` exact a parser of event streams gets the text back with LF for CR and CRLF; a stream ends with one
`data: [DONE]` or with one error, never with both; no chunk is a frame that says the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.json_body import refuse_hostile, without_mark

name = "invocations"

SSE_NEWLINE = ("exact", "splitlines")
"""What ends a line of a chunk: LF, CR and CRLF, the last one included; or whatever `str.splitlines` takes for an end of
line, the last one lost."""
STREAM_FLAG = ("strict_bool", "truthy")
"""Whether a `stream` that is no boolean is refused, or streams when it is true in Python's eyes."""
FRAMES = ("text", "json")
"""A frame is its chunk's text, or one JSON string. As text, a chunk that is `[DONE]` and no more would be the end, and
where text leaves as it is sampled, any may be cut there: such a chunk leaves in two frames."""

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Invocation:
    """A request that was accepted. `session_id` is echoed; `body` is the whole envelope, for the run hook."""

    message: str
    session_id: str | None
    stream: bool
    body: Mapping[str, Any]

    @property
    def session_key(self) -> str | None:
        """The key of its conversation (contract AF-REQ-02); an empty id names none (AF-ENV-09)."""
        return f"{name}:{self.session_id}" if self.session_id else None


def parse(content: bytes, stream_flag: str = STREAM_FLAG[0]) -> Invocation:
    """Validate the bytes of a request, in the order of AF-ENV-07. Raises `RequestRefused`."""
    try:
        body = orjson.loads(without_mark(content))
    except orjson.JSONDecodeError:
        raise RequestRefused("invalid json") from None
    if not isinstance(body, dict):
        raise RequestRefused("request body must be an object", status=422)
    refuse_hostile(content, body)
    message, session_id, stream = body.get("message"), body.get("session_id"), body.get("stream")
    if not isinstance(message, str) or not message:
        raise RequestRefused("missing or empty 'message'", status=422)
    if not isinstance(session_id, str | None):
        raise RequestRefused("'session_id' must be a string", status=422)
    if stream_flag == "strict_bool" and not isinstance(stream, bool | None):
        raise RequestRefused("'stream' must be a boolean", status=422)
    return Invocation(message, session_id, bool(stream), body)


def plain(text: str, session_id: str | None) -> bytes:
    """The whole answer."""
    return orjson.dumps({"response": text, "session_id": session_id})


def error(status: int, message: str) -> bytes:
    """The flat envelope of every refusal and failure."""
    return orjson.dumps({"error": message})


@dataclass(frozen=True, slots=True)
class Framing:
    """How chunks become frames."""

    newline: str = SSE_NEWLINE[0]
    frames: str = FRAMES[0]

    def chunk(self, text: str) -> bytes:
        """The frame of a chunk, or its frames; nothing for a chunk without text."""
        if not text:
            return b""
        if self.frames == "json":
            return b"data: " + orjson.dumps(text) + b"\n\n"
        frame = self._data(text)
        return frame if frame != DONE else self._data(text[:1]) + self._data(text[1:])

    def failure(self, message: str) -> bytes:
        """The frame that ends a stream that failed."""
        return b"event: error\n" + self._data(message)

    def _data(self, text: str) -> bytes:
        if self.newline == "exact":
            lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        else:
            lines = text.splitlines() or [""]
        # A lone surrogate is no text that could be sent.
        return b"".join(b"data: " + line.encode("utf-8", "replace") + b"\n" for line in lines) + b"\n"
