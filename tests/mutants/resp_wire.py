"""Where mutants of areas RESP and TURN take hold: the request, the history, the turn, the body and the events."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from reference_gateway.serving import responses
from reference_gateway.serving.responses import Responses
from reference_gateway.session import Session
from reference_gateway.wire import responses_body
from reference_gateway.wire.openai_responses import ResponseRequest
from tests.mutants.sabotage import Answer, Sabotage

Body = dict[str, Any]
Event = dict[str, Any]

ASKED: ContextVar[ResponseRequest] = ContextVar("asked")
"""The request that is being answered, where `remember_request` was called."""


def remember_request(gateway: Sabotage) -> None:
    """Let the parts behind the wire see the request."""

    @gateway.wrap(Responses, "respond")
    async def respond(original: Any, self: Responses, session: Session, request: ResponseRequest) -> Any:
        token = ASKED.set(request)
        try:
            return await original(self, session, request)
        finally:
            ASKED.reset(token)


def on_parse(gateway: Sabotage, change: Callable[[Body], Body]) -> None:
    """Change the JSON of each request for a response before it is read."""

    @gateway.wrap(responses, "parse")
    def parse(original: Any, body: Body, *rest: Any) -> Any:
        return original(change(body), *rest)


def responding(gateway: Sabotage) -> ContextVar[bool]:
    """Whether the request that is being served is one for a response."""
    serving: ContextVar[bool] = ContextVar("responding", default=False)

    def note(body: Body) -> Body:
        serving.set(True)
        return body

    on_parse(gateway, note)
    return serving


def on_request(gateway: Sabotage, change: Callable[[Body, ResponseRequest], ResponseRequest]) -> None:
    """Change each request that was read."""

    @gateway.wrap(responses, "parse")
    def parse(original: Any, body: Body, *rest: Any) -> Any:
        return change(body, original(body, *rest))


def on_history(gateway: Sabotage, change: Callable[[ResponseRequest, Any], Any]) -> None:
    """`change(request, entry)` gives the entries that the history consists of, or None for what it is."""
    remember_request(gateway)

    @gateway.wrap(responses, "messages")
    def messages(original: Any, tip: Any) -> Any:
        asked = ASKED.get(None)  # nobody asks for a response where tokens are counted
        entries = None if asked is None else change(asked, tip)
        return original(tip) if entries is None else [message for entry in entries for message in entry.messages]


def on_turn(gateway: Sabotage, change: Callable[[ResponseRequest, Any], Any]) -> None:
    """Change the turns that a response is made of."""

    @gateway.wrap(Responses, "_turn")
    def turn(original: Any, self: Any, session: Any, request: ResponseRequest, *rest: Any) -> Any:
        made = original(self, session, request, *rest)
        return made if made is None else change(request, made)


def on_body(gateway: Sabotage, change: Callable[[ResponseRequest, Body], Body]) -> None:
    """Change each response, whether it will be streamed or not."""

    @gateway.wrap(responses, "body_of")
    def body_of(original: Any, request: ResponseRequest, *rest: Any, **named: Any) -> Body:
        return change(request, original(request, *rest, **named))


def on_events(gateway: Sabotage, change: Callable[[Body, list[Event]], list[Event]]) -> None:
    """Change the events of each stream, before they are numbered."""

    @gateway.wrap(responses_body, "events")
    def events(original: Any, body: Body) -> list[Event]:
        return change(body, list(original(body)))


def on_plain(gateway: Sabotage, change: Callable[[Body], None]) -> None:
    """Change the bodies of plain responses on their way out, those that are read again among them."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        if "/v1/responses" in answer.path and answer.status == 200 and not answer.is_stream:
            document = answer.json
            if document.get("object") == "response" and "output" in document:
                change(document)
                answer.json = document


def types(body: Body) -> list[str]:
    """The types of the output."""
    return [item["type"] for item in body["output"]]


def calls(body: Body) -> list[Body]:
    """The function calls of the output."""
    return [item for item in body["output"] if item["type"] == "function_call"]


def with_output(body: Body, output: list[Body]) -> Body:
    return {**body, "output": output}


def tool_names(request: ResponseRequest) -> list[Any]:
    """The functions of the request, and the types of what else it asks for."""
    return [entry.get("name", entry["type"]) for entry in request.tools.echo]


def of_type(events: list[Event], kind: str, change: Callable[[Event], Event | None]) -> list[Event]:
    """The events, those of this type changed, or left out where `change` gives None."""
    changed = [change(event) if event["type"] == kind else event for event in events]
    return [event for event in changed if event is not None]
