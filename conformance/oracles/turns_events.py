"""Turn and step events: the vocabulary in which a client sees an agent's turn.

A turn is a sequence of steps. An inference step is what the model says in one go; a tool execution step is one tool
that the server ran, or all the tools that the client runs before it asks again. Data only.

Source: contract LS-EVT-01..13.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, TypeAlias

INFERENCE = "inference"
TOOL_EXECUTION = "tool_execution"

END_OF_TURN = "end_of_turn"
TOOL_CALLS = "tool_calls"
SERVER_TOOL_CALL = "server_tool_call"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. `arguments` is JSON text."""

    call_id: str
    tool_name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResponse:
    """What a client tool answered. `content` is the text that the model gets."""

    call_id: str
    tool_name: str
    content: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str
    delta_type: str = field(default="text", init=False)


@dataclass(frozen=True, slots=True)
class ToolCallIssuedDelta:
    """A call begins. `arguments` is what is known of its JSON text by then; `ToolCallDelta`s bring the rest."""

    call_id: str
    tool_type: str
    tool_name: str
    arguments: str
    delta_type: str = field(default="tool_call_issued", init=False)


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    call_id: str
    arguments_delta: str
    delta_type: str = field(default="tool_call_delta", init=False)


Delta: TypeAlias = TextDelta | ToolCallIssuedDelta | ToolCallDelta


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """`function_calls` are the client calls of the response, in the last inference step of it. The same step lists the
    tools that the server ran for the response in `server_tool_executions`."""

    step_id: str
    response_id: str | None
    text_content: str
    function_calls: tuple[ToolCall, ...]
    server_tool_executions: tuple[ToolCall, ...]
    stop_reason: str


@dataclass(frozen=True, slots=True)
class ToolExecutionResult:
    """`tool_responses` are empty for a tool that the server ran."""

    step_id: str
    tool_calls: tuple[ToolCall, ...]
    tool_responses: tuple[ToolResponse, ...]


@dataclass(frozen=True, slots=True)
class TurnStarted:
    turn_id: str
    session_id: str
    event_type: str = field(default="turn_started", init=False)


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """`num_steps` counts the steps of both types; `final_text` is the text of the last response."""

    turn_id: str
    session_id: str
    final_text: str
    response_ids: tuple[str, ...]
    num_steps: int
    event_type: str = field(default="turn_completed", init=False)


@dataclass(frozen=True, slots=True)
class TurnFailed:
    turn_id: str
    session_id: str
    error_message: str
    event_type: str = field(default="turn_failed", init=False)


@dataclass(frozen=True, slots=True)
class StepStarted:
    step_id: str
    step_type: str
    turn_id: str
    metadata: dict[str, Any] | None = None
    event_type: str = field(default="step_started", init=False)


@dataclass(frozen=True, slots=True)
class StepProgress:
    step_id: str
    step_type: str
    turn_id: str
    delta: Delta
    event_type: str = field(default="step_progress", init=False)


@dataclass(frozen=True, slots=True)
class StepCompleted:
    step_id: str
    step_type: str
    turn_id: str
    result: InferenceResult | ToolExecutionResult
    event_type: str = field(default="step_completed", init=False)


TurnEvent: TypeAlias = TurnStarted | TurnCompleted | TurnFailed | StepStarted | StepProgress | StepCompleted


def as_json(event: object) -> object:
    """The event as a JSON document; what is one already, unchanged."""
    if is_dataclass(event) and not isinstance(event, type):
        return _plain(asdict(event))
    return event


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
