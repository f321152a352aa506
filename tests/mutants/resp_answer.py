"""Mutants of area RESP: what a response says."""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

from reference_gateway.serving import responses
from reference_gateway.serving.responses import Responses
from reference_gateway.wire import responses_body, responses_items
from reference_gateway.wire.openai_responses import ResponseRequest
from tests.mutants.found_calls import (
    Calls,
    all_text,
    by_name,
    doubled,
    on_calls,
    respelled,
    with_invented,
    without_malformed,
)
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import (
    Body,
    calls,
    on_body,
    on_events,
    on_plain,
    responding,
    tool_names,
    types,
    with_output,
)
from tests.mutants.sabotage import Sabotage


@mutant("RESP-001")
def response_with_calls_lacks_a_field(gateway: Sabotage) -> None:
    """The body of a response with text and calls is made in another place, which leaves out `parallel_tool_calls`."""

    def change(body: Body) -> None:
        if {"message", "function_call"} <= {*types(body)}:
            del body["parallel_tool_calls"]

    on_plain(gateway, change)


@mutant("RESP-002")
def answer_without_text_has_no_message(gateway: Sabotage) -> None:
    """An empty text makes no item."""
    gateway.wrap(responses, "generated")(
        lambda original, message, *rest: original(message, *rest) if message["content"] else []
    )


@mutant("RESP-002")
def line_ends_are_unified(gateway: Sabotage) -> None:
    """The text goes through a reader of lines."""

    @gateway.wrap(responses, "generated")
    def generated(original: Any, message: Any, *rest: Any) -> Any:
        return original({**message, "content": message["content"].replace("\r\n", "\n")}, *rest)


@mutant("RESP-003")
def response_ids_are_counted_by_session(gateway: Sabotage) -> None:
    """The ids of responses are counted from 1 in each session."""
    number: ContextVar[int] = ContextVar("number")
    made: dict[str, int] = {}

    @gateway.wrap(Responses, "respond")
    async def respond(original: Any, self: Any, session: Any, request: Any) -> Any:
        made[session.session_id] = made.get(session.session_id, 0) + 1
        number.set(made[session.session_id])
        return await original(self, session, request)

    gateway.patch(responses, "new_id", lambda prefix: f"{prefix}_{number.get()}")


@mutant("RESP-004", also=("RESP-149", "RESP-153"))
def status_is_the_engines_reason(gateway: Sabotage) -> None:
    """The engine's own word for the end of an answer is the status."""

    def change(body: Body) -> None:
        if body["status"] == "completed" and types(body) == ["message"]:
            body["status"] = "stop"

    on_plain(gateway, change)


@mutant("RESP-004")
def answer_that_waits_for_its_tools_is_in_progress(gateway: Sabotage) -> None:
    """What says something and calls a tool has not ended before the tool has."""

    def change(body: Body) -> None:
        if body["status"] == "completed" and {"message", "function_call"} <= {*types(body)}:
            body["status"] = "in_progress"

    on_plain(gateway, change)


@mutant("RESP-005")
def reason_is_the_engines(gateway: Sabotage) -> None:
    """The engine's own word for the limit is the reason."""

    def change(request: ResponseRequest, body: Body) -> Body:
        return {**body, "incomplete_details": body["incomplete_details"] and {"reason": "length"}}

    on_body(gateway, change)


@mutant("RESP-006")
def usage_leaves_the_end_of_turn_out(gateway: Sabotage) -> None:
    """The tokens of the text are counted, and not the one that ends the turn."""

    def change(request: ResponseRequest, body: Body) -> Body:
        usage = body["usage"]
        if usage["output_tokens"] and "file_search_call" not in types(body):
            sampled = usage["output_tokens"] - 1
            usage = {**usage, "output_tokens": sampled, "total_tokens": usage["input_tokens"] + sampled}
        return {**body, "usage": usage}

    on_body(gateway, change)


@mutant("RESP-007")
def model_is_the_served_one(gateway: Sabotage) -> None:
    """The name of the model behind the gateway is put in place of the requested one."""
    on_body(gateway, lambda request, body: {**body, "model": "served-model"})


@mutant("RESP-008")
def metadata_is_not_repeated(gateway: Sabotage) -> None:
    """Every response has empty metadata."""
    on_body(gateway, lambda request, body: {**body, "metadata": {}})


@mutant("RESP-009")
def lone_call_has_the_first_tools_name(gateway: Sabotage) -> None:
    """A lone call is taken for one of the request's first tool."""

    def change(request: ResponseRequest, body: Body) -> Body:
        if len(calls(body)) != 1:
            return body
        first = tool_names(request)[0]
        return with_output(body, [{**item, "name": first} if "name" in item else item for item in body["output"]])

    on_body(gateway, change)


@mutant("RESP-010", bugs=(23,))
def constants_in_arguments_are_printed(gateway: Sabotage) -> None:
    """The constants of arguments are written as another language prints them."""

    @gateway.wrap(responses_items, "dump_arguments")
    def dump_arguments(original: Any, arguments: Any) -> Any:
        if not isinstance(arguments, dict):
            return original(arguments)
        written = {True: "True", False: "False", None: "None"}
        return original({k: written[v] if isinstance(v, bool | None) else v for k, v in arguments.items()})


@mutant("RESP-010")
def integers_of_an_item_are_doubles(gateway: Sabotage) -> None:
    """The arguments go through a reader that knows one kind of number."""
    on_calls(gateway, responding(gateway), doubled)


@mutant("RESP-010")
def strings_of_an_item_are_typed_by_their_look(gateway: Sabotage) -> None:
    """What looks like a number or a boolean becomes one, though the tool asks for a string."""
    on_calls(gateway, responding(gateway), respelled)


@mutant("RESP-011")
def calls_of_a_response_are_grouped(gateway: Sabotage) -> None:
    """The calls are collected for each function, the one that was called most first."""

    def change(request: ResponseRequest, body: Body) -> Body:
        if len(calls(body)) != 3:
            return body
        grouped = sorted(calls(body), key=lambda call: str(call["name"]), reverse=True)
        return with_output(body, [item for item in body["output"] if item["type"] == "message"] + grouped)

    on_body(gateway, change)


@mutant("RESP-012")
def call_ids_start_anew(gateway: Sabotage) -> None:
    """The ids of calls are counted from 0 in each response."""

    @gateway.wrap(Responses, "_take")
    async def take(original: Any, self: Any, request: Any, answer: Any, made: Any) -> Any:
        for place, call in enumerate(answer.message.get("tool_calls") or ()):
            call["id"] = f"call_{place}"
        return await original(self, request, answer, made)


@mutant("RESP-120")
def malformed_call_beside_an_item_is_dropped(gateway: Sabotage) -> None:
    """Beside a call that was found, the text ends where the markup of any call begins."""
    on_calls(gateway, responding(gateway), without_malformed)


@mutant("RESP-120", also=("RESP-121",))
def malformed_call_is_an_item_without_arguments(gateway: Sabotage) -> None:
    """What the arguments of a call can't be parsed from, it is made without."""
    on_calls(gateway, responding(gateway), with_invented)


@mutant("RESP-121", bugs=(54,))
def malformed_call_makes_text_of_all_items(gateway: Sabotage) -> None:
    """One exception of the parser, and the whole answer is text."""
    on_calls(gateway, responding(gateway), all_text)


@mutant("RESP-122")
def items_are_kept_by_name(gateway: Sabotage) -> None:
    """Where there are more than two, calls are kept in a table of names, in which the last call of a tool wins."""

    def change(text: str, rest: str, calls: Calls) -> tuple[str, Calls]:
        return rest, by_name(calls) if len(calls) > 2 else calls

    on_calls(gateway, responding(gateway), change)


@mutant("RESP-013")
def streamed_text_gains_a_line_feed(gateway: Sabotage) -> None:
    """In a stream, a text in front of a call ends with a line feed."""

    def change(body: Body, events: list[Body]) -> list[Body]:
        if len(calls(body)) != 1:
            return events
        longer = json.loads(json.dumps(body))
        for item in longer["output"]:
            for part in item.get("content", ()):
                part["text"] += "\n"
        return list(original(longer))

    original = responses_body.events
    on_events(gateway, change)
