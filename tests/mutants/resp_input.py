"""Mutants of area RESP: what a request for a response makes the model see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.serving import responses
from reference_gateway.wire import openai_responses, responses_items
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.constraints import FREE
from reference_gateway.wire.openai_responses import ResponseRequest
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import Body, on_parse, on_turn
from tests.mutants.sabotage import Sabotage


@mutant("RESP-014")
def text_input_is_tidied(gateway: Sabotage) -> None:
    """The blanks of a text are tidied up before it is sent to the model."""

    def change(body: Body) -> Body:
        given = body.get("input")
        return {**body, "input": " ".join(given.split())} if isinstance(given, str) else body

    on_parse(gateway, change)


@mutant("RESP-015")
def parts_are_joined_with_a_line_feed(gateway: Sabotage) -> None:
    """The text parts of a message are put on a line each."""
    gateway.patch(
        responses_items, "_text", lambda parts: "\n".join(part.get("text", part.get("refusal")) for part in parts)
    )


@mutant("RESP-016")
def instructions_are_lost_on_the_short_path(gateway: Sabotage) -> None:
    """A request without tools and history takes a short path, on which the instructions are forgotten."""

    def change(request: ResponseRequest, turn: Any) -> Any:
        told = request.instructions is not None and all(item.get("role") != "developer" for item in request.items)
        if not told or request.tools.echo or request.previous:
            return turn
        return replace(turn, messages=turn.messages[1:])

    on_turn(gateway, change)


@mutant("RESP-017")
def first_instructions_stay(gateway: Sabotage) -> None:
    """The instructions of a response are kept with its history, and win over later ones."""
    given: dict[str, str] = {}

    @gateway.wrap(responses, "body_of")
    def body_of(original: Any, request: ResponseRequest, *rest: Any, **named: Any) -> Any:
        body = original(request, *rest, **named)
        if request.instructions is not None:
            given[body["id"]] = request.instructions
        return body

    def change(request: ResponseRequest, turn: Any) -> Any:
        kept = given.get(request.previous or "")
        if kept is None or request.instructions is None:
            return turn
        return replace(turn, messages=[{"role": "system", "content": kept}, *turn.messages[1:]])

    on_turn(gateway, change)


@mutant("RESP-018", also=("RESP-056", "RESP-059"))
def each_call_is_an_answer(gateway: Sabotage) -> None:
    """Each function call of the input becomes an assistant message of its own."""

    @gateway.wrap(responses_items._Lowering, "_called")
    def called(original: Any, self: Any, item: Any, call: Any, result: Any) -> None:
        self._close()
        original(self, item, call, result)


@mutant("RESP-018")
def outputs_come_in_reverse(gateway: Sabotage) -> None:
    """The outputs of calls are collected on a stack."""

    @gateway.wrap(responses, "lower")
    def lower(original: Any, items: Any, known: Any) -> Any:
        messages = original(items, known)
        answers = [message for message in messages if message["role"] == "tool"]
        return [answers.pop() if message["role"] == "tool" else message for message in messages]


@mutant("RESP-019")
def function_keeps_the_wires_field(gateway: Sabotage) -> None:
    """A function is passed on with `strict`, which the template prints."""

    @gateway.wrap(openai_responses, "_function")
    def function(original: Any, entry: Body, where: str) -> Any:
        made = original(entry, where)
        strict = entry.get("strict")
        return made if strict is None else {**made, "function": {**made["function"], "strict": strict}}


@mutant("RESP-020")
def tool_choice_is_not_read(gateway: Sabotage) -> None:
    """`tool_choice: "none"` is repeated, and has no effect."""

    @gateway.wrap(openai_responses, "_choice")
    def choice(original: Any, *asked: Any) -> Any:
        chosen = original(*asked)
        return FREE if chosen.hidden else chosen


@mutant("RESP-021")
def reasoning_is_no_input(gateway: Sabotage) -> None:
    """Reasoning that can be read is no input: only the items that a client can make are."""

    def reasoning(item: Body, where: str, media: bool) -> Body:
        if item.get("content"):
            raise RequestRefused(f"{where}.type is not supported")
        return responses_items._reasoning(item, where, media)

    gateway.patch(responses_items, "_READERS", {**responses_items._READERS, "reasoning": reasoning})


@mutant("RESP-022")
def fields_of_agents_are_refused(gateway: Sabotage) -> None:
    """A field that the gateway does not know is refused."""

    def change(body: Body) -> Body:
        for name in ("prompt_cache_key", "client_metadata", "safety_identifier"):
            if name in body:
                raise RequestRefused(f"{name} is not a field of this request")
        return body

    on_parse(gateway, change)


@mutant("RESP-023")
def null_is_a_wrong_value(gateway: Sabotage) -> None:
    """null metadata is no object, and refused."""

    def change(body: Body) -> Body:
        if "metadata" in body and body["metadata"] is None:
            raise RequestRefused("metadata must be an object")
        return body

    on_parse(gateway, change)


@mutant("RESP-024")
def max_output_tokens_is_dropped(gateway: Sabotage) -> None:
    """The limit is read under the name that it has on the chat wire."""
    on_turn(gateway, lambda request, turn: replace(turn, max_tokens=None))


@mutant("RESP-025")
def sampling_is_the_sessions(gateway: Sabotage) -> None:
    """Sampling parameters of a request for a response are ignored."""
    on_turn(gateway, lambda request, turn: replace(turn, sampling={}))


@mutant("RESP-090")
def developer_beside_instructions_is_dropped(gateway: Sabotage) -> None:
    """The template takes one message in front of the user's, and the instructions are that."""

    def change(request: ResponseRequest, turn: Any) -> Any:
        if request.instructions is None:
            return turn
        return replace(turn, messages=[one for one in turn.messages if one["role"] != "developer"])

    on_turn(gateway, change)
