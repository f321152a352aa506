"""OpenAI Responses on the wire: the grammar of a stream.

Knows events and their JSON; never bytes (that is `sse.framing`). The grammar:

    response.created -> response.queued? -> response.in_progress
    -> the events of the items (`responses_stream_items`)
    -> response.completed | response.incomplete | response.failed

or, anywhere, one `error`, and nothing after the end but an optional `[DONE]`. Every frame is named by its `type`;
`sequence_number` rises; one response id for all; the output of the terminal event is what was streamed.

Sources: wire_facts (OpenAI Responses), contract LS-RAW-01..05, X-04.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conformance.oracles import Violation
from conformance.oracles.halves import halves
from conformance.oracles.responses_body import findings_of
from conformance.oracles.responses_stream_items import Items
from conformance.oracles.schema import Finding, in_reading_order, mismatches, parts
from conformance.oracles.sse import DONE, Event
from conformance.oracles.wording import Path, brief, described, parse_json, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STATUS: Mapping[str, tuple[str, ...]] = {
    "response.created": ("in_progress", "queued"),
    "response.queued": ("queued",),
    "response.in_progress": ("in_progress",),
    "response.completed": ("completed",),
    "response.incomplete": ("incomplete",),
    "response.failed": ("failed", "cancelled"),
}
"""The events that carry the response -> the status that it has then."""

TERMINALS = ("response.completed", "response.incomplete", "response.failed")

MAY_FOLLOW: Mapping[str, tuple[str, ...]] = {
    "at the start": ("response.created",),
    "response.created": ("response.in_progress", "response.queued", "response.failed"),
    "response.queued": ("response.in_progress", "response.failed"),
    "response.in_progress": TERMINALS,
}
"""The last event that carried the response -> which of them may be the next. Those of the items come after
`response.in_progress`; `error` may come in each."""

SPELLINGS: Mapping[str, str] = {
    "response.output_item.delta": "response.function_call_arguments.delta",
    "response.function_call.arguments.delta": "response.function_call_arguments.delta",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.done": "response.completed",
    "response.error": "error",
}
"""Names that servers have used -> the standard one."""


def stream(
    events: Sequence[Event], conversation: str | None = None, done_marker: bool | None = None
) -> list[Violation]:
    """Judge the events of a Responses stream, all of them. `conversation` is the id that the request gave; it must be
    echoed. `done_marker`: True demands `data: [DONE]` as the last frame, False forbids it, None allows either (servers
    differ)."""
    return list(_Grammar(conversation, done_marker).judge(events))


class _Grammar:
    """One pass over the events; every method yields what is wrong at the place where it is."""

    def __init__(self, conversation: str | None, done_marker: bool | None) -> None:
        self.conversation = conversation
        self.done_marker = done_marker
        self.state = "at the start"
        self.ended = ""
        self.marked = False
        self.sequence: int | None = None
        self.response_id: tuple[str, str] | None = None
        self.items = Items()
        self.reported: set[tuple[Path, str, str]] = set()

    def judge(self, events: Sequence[Event]) -> Iterator[Violation]:
        for number, event in enumerate(events, 1):
            where = f"frame {number} (line {event.line})" if event.line else f"frame {number}"
            if self.marked or (self.ended and event.data != DONE):
                end = DONE if self.marked else self.ended
                yield Violation(where, f"nothing after the {end}", quoted(event.data))
            if event.data == DONE:
                yield from self._done(where)
                continue
            data, wrong = parse_json(event.data)
            if wrong or not isinstance(data, dict):
                actual = f"{quoted(event.data)} ({wrong})" if wrong else quoted(event.data)
                yield Violation(where, "an event as a JSON object", actual)
                continue
            findings = [*self._event(where, event.event, data), *halves(event.data, data)]
            for violation in in_reading_order(data, findings, ""):
                place = f"{where}, {violation.where}" if violation.where else where
                yield Violation(place, violation.expected, violation.actual, violation.hint)
        if not self.ended:
            hint = "a client cannot tell that the answer is complete"
            yield Violation("end of stream", " or ".join(TERMINALS), "the end of the stream", hint)
        if self.done_marker and not self.marked:
            yield Violation("end of stream", f"data: {DONE} as the last frame", "the end of the stream")

    def _done(self, where: str) -> Iterator[Violation]:
        if not self.marked and self.done_marker is False:
            yield Violation(where, f"no {DONE}", DONE, "this wire ends with its terminal event")
        if not self.ended:
            yield Violation(where, f"{' or '.join(TERMINALS)} before {DONE}", "none")
            self.ended = f"{DONE} of {where}"
        self.marked = True

    def _event(self, where: str, name: str, data: dict[str, Any]) -> Iterator[Finding]:
        kind = data.get("type")
        known = parts("responses.events")
        if not isinstance(kind, str) or kind not in known:
            hint = f"the standard name is {SPELLINGS[kind]}" if isinstance(kind, str) and kind in SPELLINGS else ""
            actual = described(kind) if "type" in data else "nothing: the field is missing"
            yield Finding(("type",), "the type of an event of the Responses stream", actual, hint)
            return
        if name != kind:
            actual = "no `event:` line" if name == "message" else quoted(f"event: {name}")
            yield Finding((), f"`event: {kind}`, as the type says", actual, "clients choose events by their name")
        yield from mismatches(data, f"responses.events#{kind}")
        yield from self._sequence(data)
        if self.ended:
            return
        if kind == "error":
            yield from _error(data)
            self.ended = f"error of {where}"
        elif kind in STATUS:
            yield from self._carrier(where, kind, data.get("response"))
        else:
            if self.state != "response.in_progress":
                yield Finding((), f"{' or '.join(MAY_FOLLOW[self.state])}, {_after(self.state)}", kind)
                self.state = "response.in_progress"
            yield from self.items.take(kind, data)

    def _sequence(self, data: dict[str, Any]) -> Iterator[Finding]:
        number = data.get("sequence_number")
        if isinstance(number, bool) or not isinstance(number, int):
            return
        if self.sequence is not None and number <= self.sequence:
            yield Finding(("sequence_number",), f"more than {self.sequence}, that of the event before", brief(number))
        self.sequence = number

    def _carrier(self, where: str, kind: str, response: object) -> Iterator[Finding]:
        if kind not in MAY_FOLLOW[self.state]:
            yield Finding((), f"{' or '.join(MAY_FOLLOW[self.state])}, {_after(self.state)}", kind)
        self.state = kind
        for finding in findings_of(response, self.conversation):
            # The same response comes three times or more: what is wrong with it is said once.
            if (finding.path, finding.expected, finding.actual) not in self.reported:
                self.reported.add((finding.path, finding.expected, finding.actual))
                yield replace(finding, path=("response", *finding.path))
        if isinstance(response, dict):
            status = response.get("status")
            if isinstance(status, str) and status not in STATUS[kind]:
                expected = f"{' or '.join(brief(allowed) for allowed in STATUS[kind])} in {kind}"
                yield Finding(("response", "status"), expected, brief(status))
            response_id = response.get("id")
            if isinstance(response_id, str):
                self.response_id = self.response_id or (response_id, where)
                if response_id != self.response_id[0]:
                    expected = f"{brief(self.response_id[0])}, as in {self.response_id[1]}"
                    yield Finding(("response", "id"), expected, brief(response_id), "made anew for each event")
        if kind in TERMINALS:
            self.ended = f"{kind} of {where}"
            yield from self.items.at_end(kind, response)


def _error(data: dict[str, Any]) -> Iterator[Finding]:
    """The message stands in the event or, as some servers and the stock client have it, in `error`."""
    nested = data.get("error")
    path: Path = ("error", "message") if isinstance(nested, dict) else ("message",)
    holder = nested if isinstance(nested, dict) else data
    message = holder.get("message")
    if not isinstance(message, str) or not message:
        actual = described(message) if "message" in holder else "nothing: the field is missing"
        yield Finding(path, "a non-empty string", actual)


def _after(state: str) -> str:
    return state if state not in STATUS else f"after {state}"
