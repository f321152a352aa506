"""Server-sent events: a parser as the WHATWG HTML standard describes it (section 9.2), and a judge of the raw frames.

Knows bytes, lines and fields; never what an event means. The parser is incremental and split-invariant: however the
bytes are cut into reads, the same events come out. Lines end with LF, CR or CRLF and with nothing else: U+2028, U+2029,
U+0085, VT, FF, FS, GS and RS are ordinary characters of a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from conformance.oracles import Violation
from conformance.oracles.wording import parse_json, quoted

DONE = "[DONE]"
"""The data of the frame that ends an OpenAI stream. It is not JSON."""

BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_RETRY_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event. `event` is `message` unless the stream named it, `id` the last id that the stream set, and
    `line` the number (from 1) of the line on which the event starts."""

    event: str
    data: str
    id: str = ""
    line: int = 0


class SSEParser:
    """Bytes in, events out. `retry` is the last reconnection time in milliseconds that the stream set, or None."""

    def __init__(self) -> None:
        self.retry: int | None = None
        self._buffer = b""
        self._line = 0
        self._after_cr = False
        self._last_id = ""
        self._start = 0
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes, return the events that they complete."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        lines = _LINE_END.split(self._buffer + chunk)
        self._buffer = lines.pop()
        # A CR ends its line at once. Whether a LF that belongs to it follows is known only with the next byte.
        self._after_cr = self._after_cr or (bool(lines) and not self._buffer and chunk.endswith(b"\r"))
        return [event for line in lines if (event := self._take(line)) is not None]

    def close(self) -> Event | None:
        """End the stream. Returns the event that was cut off before its blank line, which a client never gets to see,
        or None when the stream ended where it may."""
        if self._buffer:
            self._take(self._buffer)
            self._buffer = b""
        if not self._start:
            return None
        return Event(self._event or "message", "\n".join(self._data), self._last_id, self._start)

    def _take(self, raw: bytes) -> Event | None:
        self._line += 1
        if self._line == 1:
            raw = raw.removeprefix(BOM)
        if not raw:
            return self._dispatch()
        if raw.startswith(b":"):
            return None
        self._start = self._start or self._line
        field, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._last_id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) <= _RETRY_DIGITS:
                self.retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        event = None
        if self._data:
            event = Event(self._event or "message", "\n".join(self._data), self._last_id, self._start)
        self._start, self._event, self._data = 0, "", []
        return event


def parse(body: bytes) -> list[Event]:
    """All events of a complete stream."""
    return SSEParser().feed(body)


def framing(body: bytes, named: bool = False) -> list[Violation]:
    """Judge the raw frames of a stream of JSON: each is one line `data: <json>` (or `data: [DONE]`) and a blank line,
    line ends are LF, and the last frame is complete. Comment lines between frames are legal. `named` is for the wires
    whose frames have a line `event: NAME` before the data.

    Source: wire_facts, contract UA-SSE-02, UA-SSE-08 and UA-ANS-06.
    """
    violations = []
    if not body:
        violations.append(Violation("stream", "at least one frame", "an empty body"))
    if body.startswith(BOM):
        violations.append(Violation("line 1", "a stream without a byte order mark", "EF BB BF"))
        body = body[len(BOM) :]
    if b"\r\n" in body:
        line, times = body.count(b"\n", 0, body.index(b"\r\n")) + 1, body.count(b"\r\n")
        violations.append(
            Violation(
                f"line {line}",
                "lines that end with LF",
                f"CRLF, {times} times" if times > 1 else "CRLF",
                "legal for an event stream, but clients that split frames at a blank LF line never find one",
            )
        )
        body = body.replace(b"\r\n", b"\n")
    lines = body.split(b"\n")
    tail = lines.pop()
    frame, fields, start, name = 0, 0, 0, 0
    for number, raw in enumerate([*lines, tail] if tail else lines, 1):
        if not raw:
            if fields and fields == name:
                hint = "an event without data is not dispatched"
                violations.append(Violation(f"frame {frame} (line {start})", "a `data:` line", "a name alone", hint))
            fields = 0
            continue
        if raw.startswith(b":"):
            continue
        if not fields:
            frame, start = frame + 1, number
            name = int(named and raw.startswith(b"event:"))
        fields += 1
        where = f"frame {frame} (line {number})"
        violations += _stray(where, raw)
        if fields > name:
            violations += _frame_line(where, raw, fields - name)
    if tail or fields:
        actual = "the end of the stream in the middle of a line" if tail else "the end of the stream after one line end"
        violations.append(
            Violation(
                f"frame {frame} (line {start})" if fields else f"line {len(lines) + 1}",
                "a blank line that ends the frame",
                actual,
                "a client discards an event that no blank line ends",
            )
        )
    return violations


def _stray(where: str, raw: bytes) -> list[Violation]:
    violations = []
    if b"\r" in raw:
        column = raw.index(b"\r") + 1
        violations.append(Violation(where, "no CR", f"CR at column {column}", "a lone CR ends the line for a client"))
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        violations.append(
            Violation(
                where,
                "UTF-8",
                f"byte 0x{raw[error.start]:02x} at column {error.start + 1}",
                "the text was cut between the bytes of one character",
            )
        )
    return violations


def _frame_line(where: str, raw: bytes, fields: int) -> list[Violation]:
    field, _, value = raw.decode("utf-8", "replace").partition(":")
    if field != "data":
        return [Violation(where, "a line that starts with `data: `", quoted(raw.decode("utf-8", "replace")))]
    if fields > 1:
        hint = "JSON on the wire has no raw newlines; or the blank line before this frame is missing"
        return [Violation(where, "a blank line after the `data:` line", "another `data:` line", hint)]
    violations = []
    if not value.startswith(" "):
        violations.append(Violation(where, "`data: ` with one space", quoted(raw[:12].decode("utf-8", "replace"))))
    value = value.removeprefix(" ")
    if value != DONE:
        _, wrong = parse_json(value)
        if wrong:
            violations.append(Violation(where, f"JSON or {DONE}", f"{quoted(value)} ({wrong})"))
    return violations
