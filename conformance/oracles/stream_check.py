"""A recorded stream of any of the wires, judged as a whole: every violation with its line and column.

Knows which oracles judge which wire, and where in the bytes a path of an oracle points; never what is right.

    check(body, "anthropic")[0].line
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from conformance.oracles import Violation, anthropic, chat, invocations, responses, turns
from conformance.oracles.sse import DONE, Event, framing, parse
from conformance.oracles.stream_position import frame_at, position_in
from conformance.oracles.wording import parse_json, quoted


@dataclass(frozen=True, slots=True)
class Located:
    """A violation and where it stands in the recording: both from 1, the column in characters."""

    line: int
    column: int
    violation: Violation


def check(body: bytes, wire: str) -> list[Located]:
    """Judge a recording of `wire`, one of `WIRES`; what is wrong, in the order of the recording.

    Raises KeyError for a wire that is none.
    """
    lines = _LINE_END.split(body.decode("utf-8", "replace"))
    located = [_located(lines, violation) for violation in WIRES[wire](body)]
    return sorted(located, key=lambda place: (place.line, place.column))


def _openai(body: bytes) -> list[Violation]:
    events = parse(body)
    answered = chat.assemble(events).get("choices", ())  # a recording has no request that would tell how many
    return _framing(body) + chat.stream(events, choices=len(answered) or 1)


def _anthropic(body: bytes) -> list[Violation]:
    return _framing(body, named=True) + anthropic.stream(parse(body))


def _responses(body: bytes) -> list[Violation]:
    return _framing(body, named=True) + responses.stream(parse(body))


def _turns(body: bytes) -> list[Violation]:
    """Turn events come as frames or as lines of JSON."""
    violations: list[Violation] = []
    if body.lstrip()[:1] == b"{":
        lines = body.decode("utf-8", "replace").split("\n")
        listed = [Event("message", line, line=number) for number, line in enumerate(lines, 1) if line.strip()]
        places = [f"line {event.line}" for event in listed]
    else:
        violations = _framing(body, named=True)
        listed = [event for event in parse(body) if event.data != DONE]
        places = [f"frame {number} (line {event.line})" for number, event in enumerate(listed, 1)]
    events, kept = [], []
    for event, place in zip(listed, places, strict=True):
        document, wrong = parse_json(event.data)
        if wrong:
            violations.append(Violation(place, "an event as a JSON object", f"{quoted(event.data)} ({wrong})"))
        else:
            events.append(document)
            kept.append(place)
    return violations + turns.grammar(events, kept, several=True)


def _framing(body: bytes, named: bool = False) -> list[Violation]:
    # The grammar of each wire says as well what is no JSON.
    return [violation for violation in framing(body, named) if violation.expected != f"JSON or {DONE}"]


WIRES: Mapping[str, Callable[[bytes], list[Violation]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "responses": _responses,
    "invocations": invocations.frames,
    "turns": _turns,
}
"""The wires that can be checked, and their judges."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_WHERE = re.compile(r"(?:frame \d+ \(line (\d+)\)|line (\d+))(?:, (.+))?", re.DOTALL)
_COLUMN = re.compile(r"(?:CR|byte 0x[0-9a-f]{2}) at column (\d+)")


def _located(lines: list[str], violation: Violation) -> Located:
    match = _WHERE.fullmatch(violation.where)
    if not match:
        last = _last(lines)  # what the stream lacks is missing behind all that it has
        return Located(last, len(lines[last - 1]) + 1, violation)
    line = int(match[1] or match[2])
    if column := _COLUMN.fullmatch(violation.actual):
        return Located(line, int(column[1]), violation)
    if not match[3] and "JSON" not in violation.expected:
        return Located(line, 1, violation)  # it is about the frame, not about its data
    return Located(*position_in(frame_at(lines, line), line, match[3] or ""), violation)


def _last(lines: list[str]) -> int:
    """The last line that has anything on it."""
    filled: Iterator[int] = (number for number in range(len(lines), 0, -1) if lines[number - 1])
    return next(filled, 1)
