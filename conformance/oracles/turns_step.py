"""Turn and step events: what is judged within one step. (The order of steps is in `turns_grammar`.)

Knows the deltas and the result of a step; never what comes before or after it.

Sources: contract LS-EVT-05..08, LS-TRN-05..07, -12, -14, -16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.oracles.schema import Finding
from conformance.oracles.turns_events import END_OF_TURN, INFERENCE, SERVER_TOOL_CALL, TOOL_CALLS, TOOL_EXECUTION
from conformance.oracles.wording import Path, brief

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVER_TOOL = "tool_execution of the server"
CLIENT_TOOL = "tool_execution of the client"
LOST = "a call that was issued is neither in function_calls nor answered"


@dataclass(slots=True)
class Step:
    """What the events have said of one step so far."""

    step_id: str
    step_type: object
    server: bool
    text: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    """call_id -> the arguments that were streamed, in the order in which the calls were issued."""
    before: Mapping[str, str] = field(default_factory=dict)
    """The same of the turn's earlier steps."""
    stop_reason: object = None
    calls: list[str] = field(default_factory=list)

    def described(self) -> str:
        if self.step_type == TOOL_EXECUTION:
            return SERVER_TOOL if self.server else CLIENT_TOOL
        return INFERENCE

    def wording(self) -> str:
        return f"an inference that ended with {self.stop_reason}" if self.step_type == INFERENCE else self.described()

    def next_steps(self) -> tuple[str, ...]:
        """What may be the next step; nothing where the step was too broken to tell."""
        if self.step_type == TOOL_EXECUTION:
            return (INFERENCE, SERVER_TOOL) if self.server else (INFERENCE,)
        match self.stop_reason:
            case "end_of_turn":
                return ("the end of the turn",)
            case "tool_calls":
                return (CLIENT_TOOL,)
            case "server_tool_call":
                return (SERVER_TOOL,)
        return ()

    def may_be_last(self) -> bool:
        """Whether the turn may end here. A response may end with a tool of the server (LS-TRN-13)."""
        if self.step_type == TOOL_EXECUTION:
            return self.server
        return self.stop_reason not in (TOOL_CALLS, SERVER_TOOL_CALL)

    def progress(self, kind: str, delta: dict[str, Any], issued: list[str]) -> Iterator[Finding]:
        """Judge a delta. `issued` are the client calls of the response; one that an inference issues is added."""
        call_id = delta.get("call_id")
        if kind == "text" and isinstance(delta.get("text"), str):
            self.text += delta["text"]
            if self.step_type == TOOL_EXECUTION:
                yield Finding(("delta", "delta_type"), "a delta of a call, in tool_execution", '"text"')
        elif kind == "tool_call_issued" and isinstance(call_id, str):
            if call_id in self.arguments or call_id in issued:
                yield Finding(
                    ("delta", "call_id"), "one tool_call_issued for a call", f"another one for {brief(call_id)}"
                )
            elif self.step_type == INFERENCE:
                issued.append(call_id)
            text = delta.get("arguments")
            self.arguments[call_id] = text if isinstance(text, str) else ""
        elif kind == "tool_call_delta" and isinstance(call_id, str):
            if call_id not in self.arguments:
                yield Finding(("delta", "call_id"), "a call that this step issued", brief(call_id))
            elif isinstance(delta.get("arguments_delta"), str):
                self.arguments[call_id] += delta["arguments_delta"]

    def inferred(self, result: dict[str, Any], issued: list[str]) -> Iterator[Finding]:
        """Judge the result of an inference."""
        self.stop_reason = result.get("stop_reason")
        self.calls = _ids(result.get("function_calls"))
        text = result.get("text_content")
        if isinstance(text, str) and text != self.text:
            yield Finding(("result", "text_content"), f"{brief(self.text)}, its text deltas joined", brief(text))
        path: Path = ("result", "function_calls")
        if self.stop_reason == TOOL_CALLS:
            if self.calls != issued:
                hint = "each call that the response issued belongs to its last inference step, in that order"
                yield Finding(path, f"the calls {brief(issued)}, as issued", brief(self.calls), hint)
        elif self.stop_reason == SERVER_TOOL_CALL and self.calls:
            hint = "the calls of the client belong to the last inference step of the response"
            yield Finding(path, "none, as the stop_reason is server_tool_call", brief(self.calls), hint)
        elif self.stop_reason == END_OF_TURN and (self.calls or issued):
            expected = '"tool_calls", as the response issued calls of the client'
            hint = LOST if issued != self.calls else ""
            yield Finding(("result", "stop_reason"), expected, '"end_of_turn"', hint)
            issued.clear()
        yield from self._arguments(path, result.get("function_calls"))

    def executed(self, result: dict[str, Any], issued: list[str]) -> Iterator[Finding]:
        """Judge the result of a tool execution."""
        calls = _ids(result.get("tool_calls"))
        answers = _ids(result.get("tool_responses"))
        if self.server:
            wanted = list(self.arguments)
            if wanted and calls != wanted:
                expected = f"the call {brief(wanted)} that the step issued"
                yield Finding(("result", "tool_calls"), expected, brief(calls))
            if answers:
                expected = "none: the server keeps what its tool says"
                yield Finding(("result", "tool_responses"), expected, brief(answers))
        else:
            if calls != issued:
                yield Finding(("result", "tool_calls"), f"the calls {brief(issued)} of the response", brief(calls))
            if answers != calls and isinstance(result.get("tool_responses"), list):
                expected = f"one for each call, in this order: {brief(calls)}"
                yield Finding(("result", "tool_responses"), expected, brief(answers))
        yield from self._arguments(("result", "tool_calls"), result.get("tool_calls"))

    def _arguments(self, path: Path, calls: object) -> Iterator[Finding]:
        for number, call in enumerate(calls if isinstance(calls, list) else []):
            call_id = call.get("call_id") if isinstance(call, dict) else None
            streamed = {**self.before, **self.arguments}.get(call_id, "") if isinstance(call_id, str) else ""
            if streamed and isinstance(call.get("arguments"), str) and call["arguments"] != streamed:
                expected = f"{brief(streamed)}, as streamed"
                yield Finding((*path, number, "arguments"), expected, brief(call["arguments"]))


def _ids(calls: object) -> list[str]:
    listed = calls if isinstance(calls, list) else []
    return [str(call.get("call_id")) for call in listed if isinstance(call, dict)]
