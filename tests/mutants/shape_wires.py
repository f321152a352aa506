"""Mutants of area SHAPE on the other wires: a field comes, goes or changes its type, and nothing else notices."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from reference_gateway.wire import anthropic_messages
from tests.mutants import msg_wire, resp_wire
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

Body = dict[str, Any]


def changed_plain(gateway: Sabotage, path: str, change: Callable[[Body], None], *, status: int = 200) -> None:
    """Change the plain answers with this status at this route in place."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.path.endswith(path) and answer.status == status and not answer.is_stream:
            document = answer.json
            change(document)
            answer.json = document


def of_type(documents: list[Body], kind: str) -> list[Body]:
    return [each for each in documents if each.get("type") == kind]


@mutant("SHAPE-008")
def message_gains_a_field(gateway: Sabotage) -> None:
    """Plain text messages carry the container that they were made in."""

    def change(body: Body) -> None:
        if not of_type(body["content"], "tool_use"):
            body["container"] = None

    changed_plain(gateway, "/v1/messages", change)


@mutant("SHAPE-009")
def tool_use_gains_a_field(gateway: Sabotage) -> None:
    """Tool uses of a plain message say who called them."""

    def change(body: Body) -> None:
        for block in of_type(body["content"], "tool_use"):
            block["caller"] = {"type": "direct"}

    changed_plain(gateway, "/v1/messages", change)


@mutant("SHAPE-010")
def text_stream_of_a_message_gains_a_ping(gateway: Sabotage) -> None:
    """A stream of text has a ping behind its first event."""

    def change(events: list[Body]) -> list[Body]:
        if any(event.get("content_block", {}).get("type") == "tool_use" for event in events):
            return events
        return [events[0], {"type": "ping"}, *events[1:]]

    msg_wire.on_events(gateway, change)


@mutant("SHAPE-011")
def tool_use_stream_gains_a_ping(gateway: Sabotage) -> None:
    """A stream with a tool use has a ping behind its first event."""

    def change(events: list[Body]) -> list[Body]:
        if any(event.get("content_block", {}).get("type") == "tool_use" for event in events):
            return [events[0], {"type": "ping"}, *events[1:]]
        return events

    msg_wire.on_events(gateway, change)


@mutant("SHAPE-012")
def streamed_arguments_gain_a_field(gateway: Sabotage) -> None:
    """The arguments of a streamed tool use carry the number of the call."""

    def change(events: list[Body]) -> list[Body]:
        for event in events:
            if event.get("delta", {}).get("type") == "input_json_delta":
                arguments = json.loads(event["delta"]["partial_json"])
                event["delta"]["partial_json"] = json.dumps({**arguments, "_call": 1})
        return events

    msg_wire.on_events(gateway, change)


@mutant("SHAPE-013")
def refusal_of_a_message_gains_a_field(gateway: Sabotage) -> None:
    """Errors carry a request id beside the envelope's fields."""
    changed_plain(gateway, "/v1/messages", lambda body: body.update(request_id="req_1"), status=400)


@mutant("SHAPE-014")
def count_of_tokens_gains_a_field(gateway: Sabotage) -> None:
    """The count says what context management would leave of it."""

    @gateway.wrap(anthropic_messages, "counted")
    def counted(original: Any, tokens: int) -> bytes:
        return json.dumps({"input_tokens": tokens, "context_management": {"original_input_tokens": tokens}}).encode()


@mutant("SHAPE-015")
def response_gains_a_field(gateway: Sabotage) -> None:
    """Plain text responses carry the prompt that they were made of."""

    def change(body: Body) -> None:
        if not resp_wire.calls(body):
            body["prompt"] = None

    changed_plain(gateway, "/v1/responses", change)


@mutant("SHAPE-016")
def function_call_gains_a_field(gateway: Sabotage) -> None:
    """Plain responses with a function call carry the prompt that they were made of."""

    def change(body: Body) -> None:
        if resp_wire.calls(body):
            body["prompt"] = None

    changed_plain(gateway, "/v1/responses", change)


@mutant("SHAPE-017")
def text_stream_of_a_response_gains_a_field(gateway: Sabotage) -> None:
    """The first event of a stream of text carries a pad."""

    def change(body: Body, events: list[Body]) -> list[Body]:
        return events if resp_wire.calls(body) else [{**events[0], "obfuscation": "x"}, *events[1:]]

    resp_wire.on_events(gateway, change)


@mutant("SHAPE-018")
def function_call_stream_gains_a_field(gateway: Sabotage) -> None:
    """The pieces of a streamed function call carry a pad."""

    def pad(event: Body) -> Body:
        return {**event, "obfuscation": "x"}

    def change(body: Body, events: list[Body]) -> list[Body]:
        return resp_wire.of_type(events, "response.function_call_arguments.delta", pad)

    resp_wire.on_events(gateway, change)


@mutant("SHAPE-019")
def stream_of_text_and_a_call_gains_a_field(gateway: Sabotage) -> None:
    """A streamed response with text beside a function call carries the prompt that they were made of."""

    def change(body: Body, events: list[Body]) -> list[Body]:
        for event in events:
            if resp_wire.calls(body) and len(body["output"]) > 1 and "response" in event:
                event["response"]["prompt"] = None
        return events

    resp_wire.on_events(gateway, change)


@mutant("SHAPE-020")
def refusal_of_a_response_has_another_status(gateway: Sabotage) -> None:
    """An `input` that the schema refuses is refused with 422."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.path.endswith("/v1/responses") and answer.status == 400:
            about_the_input = answer.json["error"]["message"].startswith("input ")
            answer.status = 422 if about_the_input else 400


@mutant("SHAPE-020")
def refusal_of_a_response_gains_a_field(gateway: Sabotage) -> None:
    """Errors carry a request id beside the envelope's fields."""
    changed_plain(gateway, "/v1/responses", lambda body: body["error"].update(request_id="req_1"), status=400)


@mutant("SHAPE-021")
def conversation_gains_a_field(gateway: Sabotage) -> None:
    """A conversation says when it was used last."""
    changed_plain(gateway, "/v1/conversations", lambda body: body.update(updated_at=1))


@mutant("SHAPE-022")
def items_gain_a_field(gateway: Sabotage) -> None:
    """The list of items has a cursor of its own."""
    changed_plain(gateway, "/items", lambda body: body.update(next_page=None))


@mutant("SHAPE-023")
def invocation_loses_its_session_id(gateway: Sabotage) -> None:
    """The answer of an invocation has its `session_id` in an object."""
    changed_plain(gateway, "/invocations", lambda body: body.update(session_id={"id": body["session_id"]}))


@mutant("SHAPE-024")
def refusal_of_an_invocation_gains_a_field(gateway: Sabotage) -> None:
    """Refusals of invocations say which field is wrong, beside their text."""
    changed_plain(gateway, "/invocations", lambda body: body.update(field="message"), status=422)
