"""Mutants of area TURN: what a client makes of streamed responses. (Two more stand with the streams they break.)"""

from __future__ import annotations

from typing import Any

from reference_gateway.session.conversations import path
from reference_gateway.session.turns import Turns
from reference_gateway.wire.openai_responses import ResponseRequest
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import Body, Event, of_type, on_body, on_events, on_history, types, with_output
from tests.mutants.sabotage import Sabotage

NAMES = ("knowledge_search", "web_search", "query_from_memory", "memory_retrieval")


@mutant("TURN-001")
def line_feeds_of_a_delta_are_lost(gateway: Sabotage) -> None:
    """The deltas of an answer with tools are lines, without what ended them."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        if not body["tools"] or types(body) != ["message"]:
            return events
        return of_type(
            events, "response.output_text.delta", lambda one: {**one, "delta": one["delta"].replace("\n", "")}
        )

    on_events(gateway, change)


@mutant("TURN-002")
def call_is_streamed_before_the_text(gateway: Sabotage) -> None:
    """A call that was parsed is streamed at once, and the text beside it when all is known."""

    def change(request: ResponseRequest, body: Body) -> Body:
        if request.conversation is None or types(body) != ["message", "function_call"]:
            return body
        return with_output(body, body["output"][::-1])

    on_body(gateway, change)


@mutant("TURN-003")
def follow_up_has_the_first_id(gateway: Sabotage) -> None:
    """The text that follows the only call of a turn is streamed under the id of the response with the call."""
    called: dict[str, str] = {}

    def change(request: ResponseRequest, body: Body) -> Body:
        if request.conversation is None or len(request.tools.echo) != 1 or not request.stream:
            return body
        answers = [item["type"] for item in request.items] == ["function_call_output"]
        before = called.get(request.conversation)
        called[request.conversation] = "" if answers else body["id"]
        return {**body, "id": before} if answers and before and types(body) == ["message"] else body

    on_body(gateway, change)


@mutant("TURN-004")
def second_call_is_lost(gateway: Sabotage) -> None:
    """Of two calls without a text the second one is not streamed."""

    def change(request: ResponseRequest, body: Body) -> Body:
        if not request.stream or types(body) != ["function_call", "function_call"]:
            return body
        return with_output(body, body["output"][:1])

    on_body(gateway, change)


@mutant("TURN-005")
def history_has_three_responses(gateway: Sabotage) -> None:
    """No more than the last three responses are remembered."""
    on_history(gateway, lambda request, tip: path(tip)[-3:])


@mutant("TURN-006")
def tools_are_told_apart_by_their_names(gateway: Sabotage) -> None:
    """A call whose name is on a list of server tools is shown as one that the gateway ran."""

    def typed(item: Body) -> Body:
        if item.get("name") not in NAMES:
            return item
        return {"type": "file_search_call", "id": item["id"], "status": "completed", "queries": ["x"], "results": None}

    on_body(gateway, lambda request, body: with_output(body, [typed(item) for item in body["output"]]))


def _served(gateway: Sabotage, with_server_tools: bool) -> None:
    """Leave the deltas out of the events that the gateway gives out for some turns."""

    @gateway.wrap(Turns, "to_json")
    def to_json(original: Any, self: Any) -> Any:
        found = original(self)
        for turn in found:
            started = [event.get("metadata") or {} for event in turn["events"]]
            if any(each.get("server_side") for each in started) is with_server_tools:
                turn["events"] = [event for event in turn["events"] if event["event_type"] != "step_progress"]
        return found


@mutant("TURN-009")
def events_of_a_turn_have_no_deltas(gateway: Sabotage) -> None:
    """The events that are given out for a turn with client tools are the beginnings and ends of its steps."""
    _served(gateway, with_server_tools=False)


@mutant("TURN-025")
def events_of_server_tools_have_no_deltas(gateway: Sabotage) -> None:
    """The events that are given out for a turn with tools of the gateway are the beginnings and ends of its steps."""
    _served(gateway, with_server_tools=True)
