"""Invocations on the wire: the envelope, its errors, and the frames of a stream of text.

Knows this wire alone; never which text the target should have said. A frame is one chunk of text, a `data: ` line for
each of its lines, and a blank line; the end is `data: [DONE]`, or a frame `event: error` and no `[DONE]` after it.

Two declared modes. `newline`: `exact` keeps every line end of a chunk (as LF); `splitlines` is what Python's
`str.splitlines` makes of it, which loses the last line end and breaks lines at eight more characters. `encoded`: each
chunk is one JSON string, so that a model may say `[DONE]`.

Sources: contract AF-ENV-02..10, -13, AF-SSE-02..13, -15, appendix B.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from conformance.oracles import Violation
from conformance.oracles import envelope as error_envelope
from conformance.oracles.schema import Finding, in_reading_order, mismatches
from conformance.oracles.sse import BOM, DONE, Event, parse
from conformance.oracles.wording import brief, counted, parse_json, quoted

Newline: TypeAlias = Literal["exact", "splitlines"]

INVALID_JSON = (400, "invalid json")
NOT_AN_OBJECT = (422, "request body must be an object")
NO_MESSAGE = (422, "missing or empty 'message'")
SESSION_ID_TYPE = (422, "'session_id' must be a string")
"""Status and `error` text of the four refusals, in the order in which they are checked."""

ANY: Any = object()
"""No particular session id is expected."""


def envelope(body: object, session_id: str | None = ANY) -> list[Violation]:
    """Judge `{"response": text, "session_id": echo-or-null}`: these two keys and no other. `session_id` is what the
    request gave, None for nothing."""
    findings = mismatches(body, "invocations#envelope")
    if session_id is not ANY and isinstance(body, dict) and isinstance(body.get("session_id", 0), str | None):
        echoed = body["session_id"]
        if echoed != session_id:
            findings.append(Finding(("session_id",), f"{brief(session_id)}, as in the request", brief(echoed)))
    return in_reading_order(body, findings)


def error(body: object, refusal: tuple[int, str] | None = None, status: int | None = None) -> list[Violation]:
    """Judge `{"error": text}`, flat and without anything of the gateway's inside. `refusal` is the one that is due,
    such as `INVALID_JSON`; `status` the HTTP status that the body came with."""
    findings = mismatches(body, "invocations#error")
    text = body.get("error") if isinstance(body, dict) else None
    if isinstance(text, str) and text:
        if refusal and text != refusal[1]:
            findings.append(Finding(("error",), brief(refusal[1]), brief(text)))
        findings += [Finding(("error",), leak.expected, leak.actual, leak.hint) for leak in error_envelope.leaks(text)]
    violations = in_reading_order(body, findings)
    if refusal and status is not None and status != refusal[0]:
        violations.append(Violation("status", str(refusal[0]), str(status)))
    elif status is not None and status < 400:
        violations.append(Violation("status", "4xx or 5xx for an error", str(status)))
    return violations


def frames(body: bytes, encoded: bool = False) -> list[Violation]:
    """Judge the frames of a stream, all of its bytes."""
    violations = []
    if body.startswith(BOM):
        violations.append(Violation("line 1", "a stream without a byte order mark", "EF BB BF"))
        body = body[len(BOM) :]
    ended = ""
    for frame in _frames(body):
        if ended:
            hint = f"a model that says {DONE} ends the stream for its client" if DONE in ended else ""
            violations.append(Violation(frame.where, f"nothing after the {ended}", quoted(frame.text()), hint))
        violations += _judged(frame, encoded)
        if not ended and frame.is_error():
            ended = f"error of {frame.where}"
        elif not ended and frame.data() == [DONE]:
            ended = f"{DONE} of {frame.where}"
    if not ended:
        hint = "a client cannot tell that the answer is complete"
        expected = f"data: {DONE}, or an error, as the last frame"
        violations.append(Violation("end of stream", expected, "the end of the stream", hint))
    return violations


def chunks(body: bytes, encoded: bool = False) -> list[str]:
    """The chunks that an event-stream parser gets out of a stream: what stands before its end."""
    got = []
    for event in parse(body):
        if event.event != "message" or event.data == DONE:
            break
        document, _ = parse_json(event.data) if encoded else (None, "")
        got.append(document if isinstance(document, str) else event.data)
    return got


def failure(body: bytes) -> str | None:
    """The message of the error that ended a stream; None where there is none."""
    errors: list[Event] = [event for event in parse(body) if event.event == "error"]
    return errors[0].data if errors else None


def encode(texts: Sequence[str], failed: str | None = None, newline: Newline = "exact", encoded: bool = False) -> bytes:
    """The bytes that a right stream of these chunks has. `failed` is the message of the error that ends it."""
    lines = []
    for text in texts:
        if text:
            lines += [*(f"data: {line}" for line in _lines(json.dumps(text) if encoded else text, newline)), ""]
    if failed is None:
        lines += [f"data: {DONE}", ""]
    else:
        lines += ["event: error", *(f"data: {line}" for line in _lines(failed, newline) or [""]), ""]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def round_trip(sent: Sequence[str], body: bytes, newline: Newline = "exact", encoded: bool = False) -> list[Violation]:
    """Judge whether a stream gives each of the chunks that were `sent` back: as it is after CR and CRLF became LF, or,
    in the mode `encoded`, exactly."""
    wanted = [chunk if encoded else "\n".join(_lines(chunk, newline)) for chunk in sent if chunk]
    got = chunks(body, encoded)
    violations = []
    for number, (expected, actual) in enumerate(zip(wanted, got, strict=False), 1):
        if expected != actual:
            violations.append(Violation(f"chunk {number}", brief(expected), brief(actual), _loss(expected, actual)))
    if len(wanted) != len(got):
        violations.append(Violation("stream", counted(len(wanted), "chunk"), str(len(got)), _cut(wanted, got)))
    return violations


def _lines(text: str, newline: Newline) -> list[str]:
    if newline == "splitlines":
        return text.splitlines()
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _loss(expected: str, actual: str) -> str:
    if expected.rstrip("\n") == actual.rstrip("\n"):
        return "the line end at the end of the chunk was lost"
    if expected.splitlines() == actual.split("\n"):
        return "a character that ends no line on the wire was taken for a line end"
    return ""


def _cut(wanted: list[str], got: list[str]) -> str:
    if wanted[len(got) : len(got) + 1] == [DONE]:
        return f"the text {DONE} was taken for the end of the stream"
    return ""


@dataclass(frozen=True, slots=True)
class _Frame:
    """The lines of one frame with their numbers, comments left out."""

    where: str
    lines: tuple[tuple[int, str, bytes], ...]
    complete: bool

    def data(self) -> list[str]:
        return [line.removeprefix("data:").removeprefix(" ") for _, line, _ in self.lines if line.startswith("data:")]

    def is_error(self) -> bool:
        return any(line in ("event: error", "event:error") for _, line, _ in self.lines)

    def text(self) -> str:
        return "\n".join(line for _, line, _ in self.lines)


def _frames(body: bytes) -> Iterator[_Frame]:
    held: list[tuple[int, str, bytes]] = []
    count = 0
    lines = body.split(b"\n")
    for number, raw in enumerate(lines, 1):
        last = number == len(lines)
        # A CR belongs to no line, so a client's blank line may have one; that it is there is said of the line.
        if raw.rstrip(b"\r"):
            if not raw.startswith(b":"):
                held.append((number, raw.decode("utf-8", "replace").rstrip("\r"), raw))
            if not last:
                continue
        if held:
            count += 1
            yield _Frame(f"frame {count} (line {held[0][0]})", tuple(held), not last)
            held = []


def _judged(frame: _Frame, encoded: bool) -> Iterator[Violation]:
    name = frame.where.partition(" (")[0]
    for position, (number, line, raw) in enumerate(frame.lines):
        where = f"{name} (line {number})"
        if b"\r" in raw:
            column, hint = raw.index(b"\r") + 1, "a CR ends the line for a client; CR and CRLF of a chunk become LF"
            yield Violation(where, "no CR", f"CR at column {column}", hint)
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as wrong:
            hint = "the text was cut between the bytes of one character"
            yield Violation(where, "UTF-8", f"byte 0x{raw[wrong.start]:02x} at column {wrong.start + 1}", hint)
        if line.startswith("event:"):
            if position or line != "event: error":
                yield Violation(where, "`event: error`, as the first line of its frame", quoted(line))
        elif not line.startswith("data:"):
            hint = "each line of a chunk has a `data: ` of its own"
            yield Violation(where, "a line that starts with `data: `", quoted(line), hint)
        elif not line.startswith("data: "):
            yield Violation(where, "`data: ` with one space", quoted(line))
    data = frame.data()
    if frame.is_error():
        if not data:
            yield Violation(frame.where, "a `data: ` line with the message", "none", "a client drops such an event")
    elif data == [""] and not encoded:
        yield Violation(frame.where, "no frame for a chunk without text", "an empty frame")
    elif encoded and data != [DONE]:
        document, wrong_json = parse_json("\n".join(data))
        if not isinstance(document, str):
            actual = f"{quoted(chr(10).join(data))}{f' ({wrong_json})' if wrong_json else ''}"
            yield Violation(frame.where, "a chunk as one JSON string", actual)
    if not frame.complete:
        hint = "a client discards an event that no blank line ends"
        yield Violation(frame.where, "a blank line that ends the frame", "the end of the stream", hint)
