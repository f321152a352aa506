"""A session's responses as turns, steps and events (contract LS-EVT, LS-TRN).

Knows responses as they were answered; never tokens or HTTP. A turn is what an agent does for one request of its user:
a response, and for as long as a response asks for the client's tools the response that follows the tools' outputs. The
events are made when they are asked for, of what was answered, so they cannot say anything else.

Invariants: `turn_started` comes first; steps never nest and are numbered from 0 without gaps; a turn that is over ends
with one `turn_completed` or `turn_failed`; one that waits for the client's tools has neither.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
Body = Mapping[str, Any]

TOOL_TYPES: Mapping[str, str] = {"file_search_call": "file_search", "mcp_call": "mcp_call"}
"""Type of the item of a tool that the gateway ran -> its `tool_type`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A response, and the outputs of client tools that its request brought, by call id."""

    body: Body
    outputs: Mapping[str, str]


@dataclass(slots=True)
class Turn:
    """`session_id` is the conversation's, where there is one."""

    id: str
    session_id: str
    responses: list[Answered] = field(default_factory=list)

    @property
    def waiting(self) -> list[str]:
        """The ids of the calls that the client has not answered."""
        body = self.responses[-1].body
        return [call["call_id"] for call in _calls(body)] if body["status"] == "completed" else []


class Turns:
    """The turns of one session, in the order in which they began."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._turns: list[Turn] = []
        self._waiting: dict[str, Turn] = {}

    def record(self, body: Body, outputs: Mapping[str, str]) -> None:
        """A response was answered. It goes on with the turn all of whose open calls `outputs` has."""
        turn = next((self._waiting[call_id] for call_id in outputs if call_id in self._waiting), None)
        if turn is None or not set(turn.waiting) <= outputs.keys():
            conversation = body["conversation"]
            session_id = self._session_id if conversation is None else conversation["id"]
            turn = Turn(f"turn_{secrets.token_hex(6)}", session_id)
            self._turns.append(turn)
        for call_id in turn.waiting if turn.responses else ():
            del self._waiting[call_id]
        turn.responses.append(Answered(body, outputs))
        self._waiting |= dict.fromkeys(turn.waiting, turn)

    def to_json(self) -> list[dict[str, Any]]:
        """Each turn with its events. `status` is `waiting`, `completed` or `failed`."""
        turns = []
        for turn in self._turns:
            made = list(events(turn))
            ends = {"turn_completed": "completed", "turn_failed": "failed"}
            status = ends.get(made[-1]["event_type"], "waiting")
            turns.append({"turn_id": turn.id, "session_id": turn.session_id, "status": status, "events": made})
        return turns


def events(turn: Turn) -> Iterator[Event]:
    """The events of a turn, as far as it has come."""
    steps = _Steps(turn.id)
    about = {"turn_id": turn.id, "session_id": turn.session_id}
    yield {"event_type": "turn_started", **about}
    for place, answered in enumerate(turn.responses):
        body = answered.body
        yield from _inferred(steps, body)
        if body["status"] != "completed":
            yield {"event_type": "turn_failed", **about, "error_message": _why(body)}
            return
        calls = _calls(body)
        if not calls:
            break
        yield steps.start("tool_execution", {"server_side": False})
        if place + 1 == len(turn.responses):
            return
        outputs = turn.responses[place + 1].outputs
        tool_responses = [
            {"call_id": c["call_id"], "tool_name": c["tool_name"], "content": outputs[c["call_id"]], "metadata": {}}
            for c in calls
        ]
        yield steps.complete({"tool_calls": calls, "tool_responses": tool_responses})
    yield {
        "event_type": "turn_completed",
        **about,
        "final_text": _texts(turn.responses[-1].body["output"]),
        "response_ids": [answered.body["id"] for answered in turn.responses],
        "num_steps": steps.count,
    }


class _Steps:
    def __init__(self, turn_id: str) -> None:
        self._turn_id = turn_id
        self.count = 0
        self.open: str | None = None

    def start(self, step_type: str, metadata: dict[str, Any] | None = None) -> Event:
        self.count += 1
        self.open = step_type
        return {"event_type": "step_started", **self._about(), "metadata": metadata}

    def progress(self, delta: dict[str, Any]) -> Event:
        return {"event_type": "step_progress", **self._about(), "delta": delta}

    def complete(self, result: dict[str, Any]) -> Event:
        about = self._about()
        self.open = None
        return {"event_type": "step_completed", **about, "result": {"step_id": about["step_id"], **result}}

    def infer(self) -> Iterator[Event]:
        if self.open is None:
            yield self.start("inference")

    def _about(self) -> dict[str, Any]:
        step_id = f"{self._turn_id}_step_{self.count - 1}"
        return {"step_id": step_id, "step_type": self.open, "turn_id": self._turn_id}


def _inferred(steps: _Steps, body: Body) -> Iterator[Event]:
    """The steps of one response: an inference, and for each tool that the gateway ran a step between two of them."""
    text = ""
    executed: list[dict[str, str]] = []

    def ended(reason: str, calls: Sequence[Any], ran: Sequence[Any]) -> Event:
        return steps.complete(
            {
                "response_id": body["id"],
                "text_content": text,
                "function_calls": list(calls),
                "server_tool_executions": list(ran),
                "stop_reason": reason,
            }
        )

    yield from steps.infer()
    for item in body["output"]:
        call = _call(item)
        if item["type"] == "message":
            yield from steps.infer()
            piece = _texts([item])
            if piece:
                text += piece
                yield steps.progress({"delta_type": "text", "text": piece})
        elif item["type"] in TOOL_TYPES:
            if steps.open is not None:
                yield ended("server_tool_call", (), ())
                text = ""
            tool_type = TOOL_TYPES[item["type"]]
            metadata = {"server_side": True, "tool_type": tool_type, "tool_name": call["tool_name"]}
            yield steps.start("tool_execution", metadata)
            yield from _issued(steps, call, tool_type)
            yield steps.complete({"tool_calls": [call], "tool_responses": []})
            executed.append(call)
        elif item["type"] == "function_call":
            yield from steps.infer()
            yield from _issued(steps, call, "function")
    if body["status"] == "completed":
        yield from steps.infer()
        calls = _calls(body)
        yield ended("tool_calls" if calls else "end_of_turn", calls, executed)


def _issued(steps: _Steps, call: Mapping[str, str], tool_type: str) -> Iterator[Event]:
    named = {"call_id": call["call_id"], "tool_type": tool_type, "tool_name": call["tool_name"], "arguments": ""}
    yield steps.progress({"delta_type": "tool_call_issued", **named})
    if call["arguments"]:
        delta = {"call_id": call["call_id"], "arguments_delta": call["arguments"]}
        yield steps.progress({"delta_type": "tool_call_delta", **delta})


def _calls(body: Body) -> list[dict[str, str]]:
    """The calls that the client is asked for, in the order in which they were issued."""
    return [_call(item) for item in body["output"] if item["type"] == "function_call"]


def _call(item: Mapping[str, Any]) -> dict[str, str]:
    if item["type"] == "function_call":
        return {"call_id": item["call_id"], "tool_name": item["name"], "arguments": item["arguments"]}
    queries = {"queries": item["queries"]} if item.get("queries") else None
    arguments = json.dumps(queries, ensure_ascii=False) if queries else item.get("arguments", "")
    return {"call_id": item["id"], "tool_name": item["type"], "arguments": arguments}


def _texts(items: Sequence[Mapping[str, Any]]) -> str:
    return "".join(part["text"] for item in items if item["type"] == "message" for part in item["content"])


def _why(body: Body) -> str:
    if body["status"] == "failed":
        return str(body["error"]["message"])
    return f"The response is incomplete: {body['incomplete_details']['reason']}"
