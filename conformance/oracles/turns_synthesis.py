"""A turn, made of the raw events of the Responses streams that it takes: sans-IO, one call in, events out.

Knows the state of one turn; never HTTP, threads or the tools themselves. `Turn.wants` says what must happen next, so a
loop around it, sync or async, is a few lines:

    NextEvent   give `feed` the next raw event of the stream, or call `end_of_stream` when there is none
    RunTools    run these calls one after another, and give `answer` what they said
    FollowUp    send this input as the next request of the conversation, and feed the events of its stream
    Finished    the turn is over

Invariants, whatever is fed: TurnStarted comes first and once; steps never nest, and are numbered without gaps; exactly
one TurnCompleted or TurnFailed comes last, and nothing after it; each client call of a response is in the result of
that response's last inference step, and is answered once.

Sources: contract LS-TRN-01..16, LS-ERR-01..06, LS-REQ-02.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from conformance.oracles.turns_events import (
    END_OF_TURN,
    INFERENCE,
    SERVER_TOOL_CALL,
    TOOL_CALLS,
    TOOL_EXECUTION,
    Delta,
    InferenceResult,
    StepCompleted,
    StepProgress,
    StepStarted,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallIssuedDelta,
    ToolExecutionResult,
    ToolResponse,
    TurnCompleted,
    TurnEvent,
    TurnFailed,
    TurnStarted,
)
from conformance.oracles.turns_items import Argued, Called, Deed, Issued, Items, Said


@dataclass(frozen=True, slots=True)
class NextEvent:
    """The stream of a response is under way."""


@dataclass(frozen=True, slots=True)
class RunTools:
    """The client's turn to run tools, in this order."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """The `input` of the next request."""

    input: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn is over. `failed` tells how it ended."""

    failed: bool


Wants: TypeAlias = NextEvent | RunTools | FollowUp | Finished


class Turn:
    """One turn of a session. `client_tools` are the names of the tools that the client runs: they win over every list
    of names that servers run. With `max_rounds` set, a turn that asks for client tools more often fails."""

    def __init__(
        self,
        session_id: str,
        client_tools: Collection[str] = (),
        *,
        turn_id: str | None = None,
        max_rounds: int | None = None,
    ) -> None:
        self.turn_id = turn_id or f"turn_{uuid.uuid4().hex[:12]}"
        self.session_id = session_id
        self.wants: Wants = NextEvent()
        self.response: dict[str, Any] | None = None
        """The last response object that was seen."""
        self._client_tools = client_tools
        self._max_rounds = max_rounds
        self._rounds = 0
        self._started = False
        self._steps = 0
        self._open: str | None = None
        """The type of the open step."""
        self._response_ids: list[str] = []
        self._new_response()

    def feed(self, raw: Mapping[str, Any]) -> list[TurnEvent]:
        """Take the next raw event: the JSON of a frame. What comes behind the end of a response is not read."""
        return list(self._feed(raw)) if isinstance(self.wants, NextEvent | FollowUp) else []

    def end_of_stream(self) -> list[TurnEvent]:
        """The stream of the response is over. It fails the turn if no terminal event was in it."""
        if not isinstance(self.wants, NextEvent | FollowUp):
            return []
        empty = isinstance(self.wants, FollowUp) or not self._started
        return self.fail("The stream was empty" if empty else "The stream ended without a terminal event")

    def answer(self, responses: Sequence[ToolResponse]) -> list[TurnEvent]:
        """What the tools of `RunTools` said, in the order of the calls.

        Raises ValueError when no tools are to be run or the answers are not those to the calls.
        """
        if not isinstance(self.wants, RunTools):
            raise ValueError("no tools are to be run now")
        calls = self.wants.calls
        if [response.call_id for response in responses] != [call.call_id for call in calls]:
            raise ValueError(
                f"one response for each call is expected, in this order: {', '.join(c.call_id for c in calls)}"
            )
        self.wants = FollowUp(
            tuple(
                {"type": "function_call_output", "call_id": response.call_id, "output": response.content}
                for response in responses
            )
        )
        return [self._complete(ToolExecutionResult(self._step_id, calls, tuple(responses)))]

    def fail(self, message: str) -> list[TurnEvent]:
        """Something outside went wrong, such as the transport. A turn that is over stays as it is."""
        if isinstance(self.wants, Finished):
            return []
        started = list(self._begin())
        self.wants = Finished(failed=True)
        return [*started, TurnFailed(self.turn_id, self.session_id, message or "Unknown error")]

    def _new_response(self) -> None:
        self._items = Items(self._client_tools)
        self._response_id: str | None = None
        self._calls: list[ToolCall] = []
        self._executed: list[ToolCall] = []
        self._text = ""
        self._final_text = ""
        self._inferred = False

    def _feed(self, raw: Mapping[str, Any]) -> Iterator[TurnEvent]:
        yield from self._begin()
        if isinstance(self.wants, FollowUp):
            self._new_response()
            self.wants = NextEvent()
        self._remember(raw.get("response"))
        match raw.get("type"):
            case "response.in_progress":
                yield from self._open_inference()
            case "response.completed":
                yield from self._end_of_response(raw.get("response"))
            case "response.incomplete":
                reason = _at(raw, "response", "incomplete_details", "reason") or "no reason given"
                yield from self.fail(f"The response is incomplete: {reason}")
            case "response.failed" | "response.cancelled":
                yield from self.fail(_at(raw, "response", "error", "message"))
            case "error":
                yield from self.fail(_at(raw, "message") or _at(raw, "error", "message"))
            case _:
                yield from self._do(self._items.take(raw))

    def _remember(self, response: object) -> None:
        if not isinstance(response, Mapping):
            return
        self.response = dict(response)
        response_id = response.get("id")
        if isinstance(response_id, str) and response_id:
            self._response_id = response_id
            if self._response_ids[-1:] != [response_id]:
                self._response_ids.append(response_id)

    def _do(self, deeds: Iterable[Deed]) -> Iterator[TurnEvent]:
        for deed in deeds:
            match deed:
                case Said(text):
                    yield from self._open_inference()
                    self._text += text
                    yield self._progress(TextDelta(text))
                case Issued(call, tool_type, server):
                    yield from self._open_tool(call, tool_type) if server else self._open_inference()
                    yield self._progress(ToolCallIssuedDelta(call.call_id, tool_type, call.tool_name, call.arguments))
                case Argued(call_id, piece):
                    yield self._progress(ToolCallDelta(call_id, piece))
                case Called(call, True):
                    self._executed.append(call)
                    yield self._complete(ToolExecutionResult(self._step_id, (call,), ()))
                case Called(call, False):
                    self._calls.append(call)

    def _end_of_response(self, response: object) -> Iterator[TurnEvent]:
        yield from self._do(self._items.finish(_get(response, "output")))
        if self._items.unsupported:
            yield from self.fail(f"The response asks for what this client cannot do: {self._items.unsupported}")
            return
        yield from self._open_inference()
        calls = tuple(self._calls)
        yield self._inferred_step(TOOL_CALLS if calls else END_OF_TURN, calls)
        if not calls:
            self.wants = Finished(failed=False)
            ids = tuple(self._response_ids)
            yield TurnCompleted(self.turn_id, self.session_id, self._final_text, ids, self._steps)
        elif self._max_rounds is not None and self._rounds >= self._max_rounds:
            yield from self.fail(f"The model asked for tools more than {self._max_rounds} times")
        else:
            self._rounds += 1
            self.wants = RunTools(calls)
            yield self._open_step(TOOL_EXECUTION, {"server_side": False})

    def _begin(self) -> Iterator[TurnEvent]:
        if not self._started:
            self._started = True
            yield TurnStarted(self.turn_id, self.session_id)

    def _open_inference(self) -> Iterator[TurnEvent]:
        if self._open is None:
            self._inferred = True
            yield self._open_step(INFERENCE, None)

    def _open_tool(self, call: ToolCall, tool_type: str) -> Iterator[TurnEvent]:
        """A tool that the server runs follows an inference, or another one that this inference asked for."""
        if not self._inferred:
            yield from self._open_inference()
        if self._open == INFERENCE:
            yield self._inferred_step(SERVER_TOOL_CALL, ())
        metadata = {"server_side": True, "tool_type": tool_type, "tool_name": call.tool_name}
        yield self._open_step(TOOL_EXECUTION, metadata)

    def _inferred_step(self, stop_reason: str, calls: tuple[ToolCall, ...]) -> TurnEvent:
        executed = () if stop_reason == SERVER_TOOL_CALL else tuple(self._executed)
        text, self._text = self._text, ""
        self._final_text += text
        return self._complete(InferenceResult(self._step_id, self._response_id, text, calls, executed, stop_reason))

    @property
    def _step_id(self) -> str:
        return f"{self.turn_id}_step_{self._steps - 1}"

    def _open_step(self, step_type: str, metadata: dict[str, Any] | None) -> TurnEvent:
        self._open = step_type
        self._steps += 1
        return StepStarted(self._step_id, step_type, self.turn_id, metadata)

    def _progress(self, delta: Delta) -> TurnEvent:
        return StepProgress(self._step_id, self._open or INFERENCE, self.turn_id, delta)

    def _complete(self, result: InferenceResult | ToolExecutionResult) -> TurnEvent:
        step_type, self._open = self._open or INFERENCE, None
        return StepCompleted(self._step_id, step_type, self.turn_id, result)


def turn_events(
    streams: Iterable[Iterable[Mapping[str, Any]]],
    session_id: str,
    client_tools: Collection[str] = (),
    *,
    run: Callable[[ToolCall], ToolResponse] | None = None,
    turn_id: str | None = None,
) -> list[TurnEvent]:
    """The events of a turn whose raw streams are recorded: one stream, or several that client tools chain. `run` says
    what a tool answered; without it each answer is empty."""
    turn = Turn(session_id, client_tools, turn_id=turn_id)

    def answered(calls: Iterable[ToolCall]) -> list[TurnEvent]:
        return turn.answer([run(call) if run else ToolResponse(call.call_id, call.tool_name, "") for call in calls])

    events: list[TurnEvent] = []
    recorded = iter(streams)
    while not isinstance(turn.wants, Finished):
        for raw in next(recorded, ()):
            if isinstance(turn.wants, RunTools) and raw.get("type") in ("response.created", "response.in_progress"):
                events += answered(turn.wants.calls)  # the recording goes on with the follow-up
            events += turn.feed(raw)
        events += answered(turn.wants.calls) if isinstance(turn.wants, RunTools) else turn.end_of_stream()
    return events


def _get(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None


def _at(value: object, *path: str) -> str:
    for key in path:
        value = _get(value, key)
    return value if isinstance(value, str) else ""
