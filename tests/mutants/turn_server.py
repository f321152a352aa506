"""Mutants of area TURN: tools that the gateway runs within a response."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway.serving import responses, responses_plane
from reference_gateway.serving.responses import Responses
from reference_gateway.session.conversations import new_id
from reference_gateway.session.session import Session
from reference_gateway.tools.file_search import FileSearch
from reference_gateway.wire import openai_responses
from reference_gateway.wire.openai_responses import ResponseRequest
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import (
    ASKED,
    Body,
    Event,
    calls,
    of_type,
    on_body,
    on_events,
    on_plain,
    remember_request,
    tool_names,
    types,
    with_output,
)
from tests.mutants.sabotage import Sabotage

SEARCHED = "file_search_call"
ALONE = ["file_search"]


@mutant("TURN-010")
def queries_are_kept_back(gateway: Sabotage) -> None:
    """The item of a search does not say what was looked for."""

    def change(request: ResponseRequest, body: Body) -> Body:
        if tool_names(request) != ALONE:
            return body
        return with_output(body, [{**item, "queries": []} if "queries" in item else item for item in body["output"]])

    on_body(gateway, change)


@mutant("TURN-011")
def search_has_no_status(gateway: Sabotage) -> None:
    """The item of a search has no status in a plain response."""

    def change(body: Body) -> None:
        for item in body["output"]:
            if item["type"] == SEARCHED:
                del item["status"]

    on_plain(gateway, change)


@mutant("TURN-012")
def message_behind_a_search_is_not_begun(gateway: Sabotage) -> None:
    """The text behind a search is streamed without the event that adds its part."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        return of_type(events, "response.content_part.added", lambda one: None) if SEARCHED in types(body) else events

    on_events(gateway, change)


@mutant("TURN-013")
def result_is_kept_from_the_model(gateway: Sabotage) -> None:
    """The client sees what was found, the model an empty result."""
    remember_request(gateway)

    @gateway.wrap(FileSearch, "execute")
    async def execute(original: Any, self: Any, *rest: Any) -> Any:
        execution = await original(self, *rest)
        return replace(execution, content="") if tool_names(ASKED.get()) == ALONE else execution


@mutant("TURN-014")
def each_generation_is_a_response(gateway: Sabotage) -> None:
    """What is generated behind a search is streamed as another response."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        if SEARCHED not in types(body) or calls(body) or len(body["tools"]) < 2:
            return events
        return [*events[:-1], {**events[-1], "response": {**body, "id": new_id("resp")}}]

    on_events(gateway, change)


@mutant("TURN-015")
def search_before_a_call_is_not_shown(gateway: Sabotage) -> None:
    """When a call of the client follows a search, only the call is shown."""

    def change(request: ResponseRequest, body: Body) -> Body:
        return with_output(body, calls(body)) if types(body) == [SEARCHED, "function_call"] else body

    on_body(gateway, change)


@mutant("TURN-016")
def one_item_stands_for_two_searches(gateway: Sabotage) -> None:
    """The item of a search is filled in twice."""

    def change(request: ResponseRequest, body: Body) -> Body:
        searches = [item for item in body["output"] if item["type"] == SEARCHED]
        if len(searches) != 2:
            return body
        queries = searches[1]["queries"]
        return with_output(
            body, [{**item, "queries": queries} if "queries" in item else item for item in body["output"]]
        )

    on_body(gateway, change)


@mutant("TURN-017")
def gateway_goes_on_without_the_client(gateway: Sabotage) -> None:
    """After a tool of its own the gateway asks the model again, though a call of the client is open."""

    @gateway.wrap(Responses, "_take")
    async def take(original: Any, self: Any, request: Any, answer: Any, made: Any) -> bool:
        goes_on = await original(self, request, answer, made)
        called = [call["function"]["name"] in request.tools.served for call in answer.message.get("tool_calls") or ()]
        return bool(goes_on) or called == [False, True]


@mutant("TURN-018")
def searches_come_last(gateway: Sabotage) -> None:
    """The calls of the client are collected first, what the gateway ran behind them."""

    def change(request: ResponseRequest, body: Body) -> Body:
        if types(body) != ["function_call", SEARCHED, "function_call"]:
            return body
        return with_output(body, sorted(body["output"], key=lambda item: str(item["type"]), reverse=True))

    on_body(gateway, change)


@mutant("TURN-019")
def result_stands_in_front_of_the_outputs(gateway: Sabotage) -> None:
    """What the gateway's tool found is put behind the calls at once, the client's outputs when they come."""
    gateway.patch(responses, "in_issue_order", lambda messages, executed: messages)


@mutant("TURN-020")
def gateways_tool_wins(gateway: Sabotage) -> None:
    """A call is looked up among the gateway's tools first."""

    @gateway.wrap(openai_responses, "_tools")
    def tools(original: Any, body: Mapping[str, Any], served: Any, choice: Any) -> Any:
        made = original(body, served, choice)
        asked = [(tool, entry) for tool in served for entry in body.get("tools") or () if tool.offered(entry)]
        return replace(made, served={tool.name: (tool, entry) for tool, entry in asked})


@mutant("TURN-021")
def search_is_always_offered(gateway: Sabotage) -> None:
    """A request that leaves the choice of its tools to the model is offered the gateway's as well."""

    @gateway.wrap(openai_responses, "_tools")
    def tools(original: Any, body: Mapping[str, Any], served: Any, choice: Any) -> Any:
        made = original(body, served, choice)
        if body.get("tool_choice") != "auto" or not made.definitions or made.served:
            return made
        return replace(made, definitions=(*made.definitions, *(tool.definition() for tool in served)))


@mutant("TURN-022")
def failure_behind_a_search_is_an_end(gateway: Sabotage) -> None:
    """When the model fails behind a search, the response is complete with what there is."""

    def change(request: ResponseRequest, body: Body) -> Body:
        return {**body, "status": "completed", "error": None} if body["status"] == "failed" else body

    on_body(gateway, change)


@mutant("TURN-023")
def later_generations_lose_their_end(gateway: Sabotage) -> None:
    """Of the generations of one response but the first, the token that ended them is not recorded."""
    made: ContextVar[Any] = ContextVar("made")

    @gateway.wrap(Responses, "_make")
    async def make(original: Any, self: Any, session: Any, request: Any, history: Any, response: Any) -> None:
        made.set(response)
        await original(self, session, request, history, response)

    @gateway.wrap(Session, "_commit_turn")
    def commit(original: Any, self: Any, plan: Any, generation: Any, *rest: Any) -> Any:
        response = made.get(None)
        if response is not None and response.answers:
            generation = replace(generation, ids=generation.ids[:-1])
        return original(self, plan, generation, *rest)


@mutant("TURN-024")
def searches_are_not_listed(gateway: Sabotage) -> None:
    """What the gateway ran is no item of the conversation."""
    gateway.wrap(responses_plane, "items")(
        lambda original, tip: (item for item in original(tip) if item["type"] != SEARCHED)
    )


@mutant("TURN-026")
def usage_is_of_the_last_generation(gateway: Sabotage) -> None:
    """The usage of a response is that of its last generation."""
    gateway.wrap(openai_responses, "usage_of")(lambda original, answers: original(answers[-1:]))
