"""Mutants of area RESP: the events of a streamed response."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.serving.responses import Responses
from reference_gateway.session.conversations import new_id
from reference_gateway.types import Answer as Generated
from reference_gateway.wire import sse
from reference_gateway.wire.openai_responses import ResponseRequest, body_of
from reference_gateway.wire.responses_items import generated
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import Body, Event, calls, of_type, on_events, on_request, types
from tests.mutants.sabotage import Answer, Sabotage

ARGUMENTS = "response.function_call_arguments"


@mutant("RESP-026")
def stream_of_events_is_labelled_json(gateway: Sabotage) -> None:
    """The stream has the content type of the plain body."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if answer.path.endswith("/responses") and answer.is_stream:
            answer.headers["content-type"] = "application/json"


@mutant("RESP-027")
def end_of_the_arguments_names_no_item(gateway: Sabotage) -> None:
    """The event that ends the arguments of a call behind other items does not say whose they are."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        return of_type(
            events,
            f"{ARGUMENTS}.done",
            lambda one: {k: v for k, v in one.items() if k != "item_id" or one["output_index"] == 0},
        )

    on_events(gateway, change)


def _is_of_another_call(name: str, event: Event) -> bool:
    """Whether it is an event of this type, and of a call behind a message and a first call."""
    return event["type"] == name and event["output_index"] > 1


@mutant("RESP-028")
def argument_deltas_have_no_name(gateway: Sabotage) -> None:
    """The deltas of the arguments of a second call are sent as unnamed frames."""
    gateway.wrap(sse, "event")(
        lambda original, name, document: (
            sse.data(document) if _is_of_another_call(f"{ARGUMENTS}.delta", document) else original(name, document)
        )
    )


@mutant("RESP-029")
def sequence_numbers_of_a_call_repeat(gateway: Sabotage) -> None:
    """The events that end a second call carry the number of the one before."""

    @gateway.wrap(sse, "event")
    def event(original: Any, name: str, document: Body) -> bytes:
        if _is_of_another_call(f"{ARGUMENTS}.done", document):
            document = {**document, "sequence_number": document["sequence_number"] - 1}
        return bytes(original(name, document))


@mutant("RESP-030")
def created_has_the_output(gateway: Sabotage) -> None:
    """The first events of a stream with several items carry the response as it is when they are sent: with all its
    output."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        begun = {**events[0]["response"], "output": body["output"]}
        return [{**events[0], "response": begun}, *events[1:]] if len(body["output"]) > 1 else events

    on_events(gateway, change)


@mutant("RESP-031")
def stream_with_calls_ends_twice(gateway: Sabotage) -> None:
    """Two layers end the stream of a response with several calls."""
    on_events(gateway, lambda body, events: [*events, dict(events[-1])] if len(calls(body)) > 1 else events)


@mutant("RESP-032")
def end_of_the_text_has_no_text(gateway: Sabotage) -> None:
    """The event that ends the text in front of several calls has what came behind the last delta: nothing."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        if len(calls(body)) < 2:
            return events
        return of_type(events, "response.output_text.done", lambda one: {**one, "text": ""})

    on_events(gateway, change)


@mutant("RESP-033")
def arguments_come_with_their_end(gateway: Sabotage) -> None:
    """The arguments of a second call are not streamed, and come with the item's end."""
    on_events(
        gateway,
        lambda body, events: [one for one in events if not _is_of_another_call(f"{ARGUMENTS}.delta", one)],
    )


@mutant("RESP-034")
def last_event_has_the_message_only(gateway: Sabotage) -> None:
    """The response of the last event has no calls when it has a message."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        if "message" not in types(body) or len(calls(body)) != 2:
            return events
        said = [item for item in body["output"] if item["type"] == "message"]
        return [*events[:-1], {**events[-1], "response": {**body, "output": said}}]

    on_events(gateway, change)


@mutant("RESP-035")
def response_id_is_made_for_each_event(gateway: Sabotage) -> None:
    """The id of a response that is of no conversation is made where the event is, if it has a message and calls."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        if "message" not in types(body) or len(calls(body)) != 2 or body["conversation"]:
            return events
        return [{**events[0], "response": {**events[0]["response"], "id": new_id("resp")}}, *events[1:]]

    on_events(gateway, change)


def _ends_completed(gateway: Sabotage, with_tools: bool) -> None:
    def change(body: Body, events: list[Event]) -> list[Event]:
        if bool(body["tools"]) is with_tools:
            return of_type(events, "response.incomplete", lambda one: {**one, "type": "response.completed"})
        return events

    on_events(gateway, change)


@mutant("RESP-036")
def every_stream_ends_completed(gateway: Sabotage) -> None:
    """Every stream ends with the event that tells of a completed response."""
    _ends_completed(gateway, with_tools=False)


@mutant("TURN-007")
def every_turn_ends_completed(gateway: Sabotage) -> None:
    """Every stream with tools ends with the event that tells of a completed response."""
    _ends_completed(gateway, with_tools=True)


def _answered_instead(gateway: Sabotage, wanted: Any, text: str) -> None:
    """Where `wanted(request, error)` holds, a failure is answered with a completed response that says `text`."""

    @gateway.wrap(Responses, "respond")
    async def respond(original: Any, self: Any, session: Any, request: ResponseRequest) -> Any:
        try:
            return await original(self, session, request)
        except Exception as error:
            if not wanted(request, str(error)):
                raise
            answer = Generated({"role": "assistant", "content": text}, "stop", 1, 1)
            items = [each.item for each in generated(answer.message, "", "completed")]
            return body_of(request, new_id("resp"), 1, items, [answer])


@mutant("RESP-037", bugs=(24,))
def failure_is_an_empty_response(gateway: Sabotage) -> None:
    """The engine's error status is caught, and an empty response is made."""
    _answered_instead(gateway, lambda request, error: "500" in error and not request.tools.echo, "")


@mutant("RESP-038")
def what_arrived_is_the_response(gateway: Sabotage) -> None:
    """A connection that breaks off ends the answer, and what has arrived is taken for all of it."""
    _answered_instead(
        gateway, lambda request, error: request.stream and "ClientPayloadError" in error, "Hello, this is"
    )


@mutant("TURN-008")
def failed_follow_up_repeats_the_text(gateway: Sabotage) -> None:
    """When the follow-up of a client tool fails, the turn is completed with the text of the response before."""

    def follows(request: ResponseRequest, error: str) -> bool:
        return all(item["type"] == "function_call_output" for item in request.items)

    _answered_instead(gateway, follows, "I will look.")


@mutant("RESP-039")
def stream_is_tested_for_truth(gateway: Sabotage) -> None:
    """Whatever is true in the language of the gateway streams."""
    on_request(gateway, lambda body, request: replace(request, stream=bool(body.get("stream"))))


@mutant("RESP-110")
def call_is_added_under_another_id(gateway: Sabotage) -> None:
    """The id of a second call of other arguments is made when it is added, and made again when it is done."""

    def change(body: Body, events: list[Event]) -> list[Event]:
        if len({call["arguments"] for call in calls(body)}) < 2:
            return events
        return [
            {**one, "item": {**one["item"], "call_id": f"{one['item']['call_id']}0"}}
            if _is_of_another_call("response.output_item.added", one)
            else one
            for one in events
        ]

    on_events(gateway, change)


@mutant("RESP-111")
def end_of_the_arguments_of_a_second_call_is_not_told(gateway: Sabotage) -> None:
    """A second call is done without a word of its arguments' end."""
    on_events(gateway, lambda _, events: [one for one in events if not _is_of_another_call(f"{ARGUMENTS}.done", one)])
