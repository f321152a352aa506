"""Turn and step events: the judge of a list of them, whoever made it.

Knows the events as JSON; never the raw stream that they came from. The grammar of a turn:

    turn_started -> steps -> turn_completed | turn_failed

    step: step_started -> step_progress* -> step_completed, never nested, `<turn_id>_step_<n>` with n from 0
    inference -> tool_execution, as its stop_reason says: server side after `server_tool_call`, client side with exactly
    its function_calls after `tool_calls`, none after `end_of_turn`

Each call that an inference issues is in the function_calls of the inference that ends its response: none gets lost.

Sources: contract LS-EVT-01..13, LS-TRN-01..16.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from conformance.oracles import Violation
from conformance.oracles.schema import Finding, in_reading_order, mismatches, parts
from conformance.oracles.turns_events import (
    INFERENCE,
    TOOL_EXECUTION,
    as_json,
)
from conformance.oracles.turns_step import LOST, SERVER_TOOL, Step
from conformance.oracles.wording import brief, described

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TURN_ID = re.compile(r"turn_[0-9a-f]{12}")
_EVENTS = tuple(name for name in parts("turns") if "." not in name)


def grammar(events: Sequence[object], places: Sequence[str] = (), several: bool = False) -> list[Violation]:
    """Judge the events of a turn, all of them: JSON objects or the events of `turns_events`. `several` allows turns one
    after another. `places` says where each event stands; the default is `event 1`, `event 2` ..."""
    violations: list[Violation] = []
    turn = _Turn()
    for number, event in enumerate(events):
        where = places[number] if number < len(places) else f"event {number + 1}"
        data = as_json(event)
        if several and turn.ended and isinstance(data, dict) and data.get("event_type") == "turn_started":
            turn = _Turn()
        for violation in in_reading_order(data, turn.take(where, data), ""):
            place = f"{where}, {violation.where}" if violation.where else where
            violations.append(Violation(place, violation.expected, violation.actual, violation.hint))
    if not turn.ended:
        hint = "a turn that breaks off ends with turn_failed"
        violations.append(Violation("end of turn", "turn_completed or turn_failed as the last event", "none", hint))
    return violations


class _Turn:
    """One pass over the events of a turn. Paths are those in the event."""

    def __init__(self) -> None:
        self.ended = ""
        self.started = False
        self.ids: dict[str, object] = {}
        self.steps = 0
        self.step: Step | None = None
        self.after: Step | None = None
        """The last completed step."""
        self.issued: list[str] = []
        """The client calls of the response that have not been run."""
        self.streamed: dict[str, str] = {}
        """call_id -> the arguments that the steps before have streamed."""
        self.text = ""
        """What the response has said, over all of its inference steps."""
        self.response_ids: list[str] = []

    def take(self, where: str, data: object) -> Iterator[Finding]:
        if self.ended:
            yield Finding((), f"nothing after the {self.ended}", brief(data))
            return
        if not isinstance(data, dict):
            yield Finding((), "an event, an object", described(data))
            return
        kind = data.get("event_type")
        if not isinstance(kind, str) or kind not in _EVENTS:
            actual = described(kind) if "event_type" in data else "nothing: the field is missing"
            yield Finding(("event_type",), f"one of {', '.join(_EVENTS)}", actual)
            return
        yield from mismatches(data, f"turns#{kind}")
        yield from self._identity(data)
        if not self.started and kind != "turn_started":
            yield Finding((), "turn_started as the first event", kind)
        elif self.started and kind == "turn_started":
            yield Finding((), "one turn_started", "another one")
        self.started = True
        match kind:
            case "step_started":
                yield from self._step_started(data)
            case "step_progress":
                yield from self._step_progress(data)
            case "step_completed":
                yield from self._step_completed(data)
            case "turn_completed":
                yield from self._completed(data)
        if kind in ("turn_completed", "turn_failed"):
            self.ended = f"{kind} of {where}"

    def _identity(self, data: dict[str, Any]) -> Iterator[Finding]:
        for key in ("turn_id", "session_id"):
            value = data.get(key)
            if not isinstance(value, str) or not value:
                continue
            if key == "turn_id" and key not in self.ids and not _TURN_ID.fullmatch(value):
                yield Finding((key,), "turn_ and 12 hexadecimal digits", brief(value))
            known = self.ids.setdefault(key, value)
            if value != known:
                yield Finding((key,), f"{brief(known)}, as in the first event", brief(value))

    def _step_started(self, data: dict[str, Any]) -> Iterator[Finding]:
        if self.step:
            yield Finding(
                (), f"step_completed of {self.step.step_id} first", "another step_started", "steps never nest"
            )
        turn_id = self.ids.get("turn_id")
        wanted = f"{turn_id}_step_{self.steps}"
        if isinstance(turn_id, str) and isinstance(data.get("step_id"), str) and data["step_id"] != wanted:
            yield Finding(("step_id",), f"{brief(wanted)}, the next step", brief(data["step_id"]))
        self.steps += 1
        metadata = data.get("metadata")
        server = metadata.get("server_side") if isinstance(metadata, dict) else None
        # Where the step does not tell, it is what the last one asked for.
        expected_server = self.after is not None and SERVER_TOOL in self.after.next_steps()
        server_side = server if isinstance(server, bool) else expected_server
        step = Step(str(data.get("step_id")), data.get("step_type"), server_side, before=self.streamed)
        if step.step_type == TOOL_EXECUTION:
            if not isinstance(server, bool):
                expected = "whether the tool is run by the server, true or false"
                actual = described(server) if isinstance(metadata, dict) and "server_side" in metadata else "nothing"
                yield Finding(("metadata", "server_side"), expected, actual)
            named = metadata if server is True and isinstance(metadata, dict) else {"tool_type": "", "tool_name": ""}
            for key in ("tool_type", "tool_name"):
                if not isinstance(named.get(key), str):
                    yield Finding(("metadata", key), "a string for a tool of the server", described(named.get(key)))
        if not self.step and step.step_type in (INFERENCE, TOOL_EXECUTION):
            yield from self._may_follow(step)
        self.step = step

    def _may_follow(self, step: Step) -> Iterator[Finding]:
        actual = step.described()
        if self.after is None:
            if step.step_type != INFERENCE:
                yield Finding(("step_type",), "inference, as the first step", actual)
            return
        allowed = self.after.next_steps()
        if allowed and actual not in allowed:
            yield Finding(("step_type",), f"{' or '.join(allowed)} after {self.after.wording()}", actual)

    def _step_progress(self, data: dict[str, Any]) -> Iterator[Finding]:
        if not self._in_step(data):
            yield from self._outside(data)
        delta = data.get("delta")
        if not isinstance(delta, dict):
            return
        kind = delta.get("delta_type")
        if not isinstance(kind, str) or f"delta.{kind}" not in parts("turns"):
            actual = described(kind) if "delta_type" in delta else "nothing: the field is missing"
            yield Finding(("delta", "delta_type"), "one of text, tool_call_issued, tool_call_delta", actual)
            return
        yield from mismatches(delta, f"turns#delta.{kind}", ("delta",))
        if self.step:
            yield from self.step.progress(kind, delta, self.issued)

    def _step_completed(self, data: dict[str, Any]) -> Iterator[Finding]:
        step, result = self.step, data.get("result")
        if step is None or not self._in_step(data):
            yield from self._outside(data)
        self.step = None
        if step is None:
            return
        self.after = step
        self.streamed = {**self.streamed, **step.arguments}
        if not isinstance(result, dict) or step.step_type not in (INFERENCE, TOOL_EXECUTION):
            return
        yield from mismatches(result, f"turns#result.{step.step_type}", ("result",))
        if isinstance(result.get("step_id"), str) and result["step_id"] != step.step_id:
            yield Finding(("result", "step_id"), f"{brief(step.step_id)}, the step's", brief(result["step_id"]))
        if step.step_type == INFERENCE:
            yield from step.inferred(result, self.issued)
            self.text += step.text
            response_id = result.get("response_id")
            if isinstance(response_id, str) and self.response_ids[-1:] != [response_id]:
                self.response_ids.append(response_id)
        else:
            yield from step.executed(result, self.issued)
            if not step.server:
                self.issued, self.text = [], ""

    def _completed(self, data: dict[str, Any]) -> Iterator[Finding]:
        if self.step:
            yield Finding((), f"step_completed of {self.step.step_id} first", "turn_completed", "a step is still open")
        elif self.after is None:
            yield Finding((), "at least one inference step", "none")
        elif self.after.step_type == TOOL_EXECUTION and self.after.server and self.issued:
            lost = ", ".join(brief(call_id) for call_id in self.issued)
            yield Finding((), f"an inference with the calls that were issued, {lost}", "turn_completed", LOST)
        elif not self.after.may_be_last():
            expected = f"{' or '.join(self.after.next_steps())} after {self.after.wording()}"
            yield Finding((), expected, "turn_completed")
        steps, text, ids = data.get("num_steps"), data.get("final_text"), data.get("response_ids")
        if isinstance(steps, int) and steps != self.steps:
            yield Finding(("num_steps",), f"{self.steps}, the steps that were started", brief(steps))
        if isinstance(text, str) and self.after and text != self.text:
            yield Finding(("final_text",), f"{brief(self.text)}, the text of the last response", brief(text))
        if isinstance(ids, list) and self.after and ids != self.response_ids:
            expected = f"{brief(self.response_ids)}, those of the inference steps"
            yield Finding(("response_ids",), expected, brief(ids))

    def _in_step(self, data: dict[str, Any]) -> bool:
        return self.step is not None and (data.get("step_id"), data.get("step_type")) == (
            self.step.step_id,
            self.step.step_type,
        )

    def _outside(self, data: dict[str, Any]) -> Iterator[Finding]:
        if self.step is None:
            yield Finding((), "an event of an open step", f"{data.get('event_type')} while no step is open")
        elif data.get("step_id") != self.step.step_id:
            if isinstance(data.get("step_id"), str):
                yield Finding(("step_id",), f"{brief(self.step.step_id)}, the open step", brief(data["step_id"]))
        elif isinstance(data.get("step_type"), str):
            expected = f"{brief(self.step.step_type)}, the type of the open step"
            yield Finding(("step_type",), expected, brief(data["step_type"]))
