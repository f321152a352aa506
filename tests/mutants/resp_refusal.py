"""Mutants of area RESP: requests that should be refused, and what is left of those that fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.serving.responses import Responses
from reference_gateway.session import Phase
from reference_gateway.session.conversations import Conversations, new_id
from reference_gateway.wire import responses_items, sse
from reference_gateway.wire.openai_responses import ResponseRequest
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import Body, on_parse
from tests.mutants.sabotage import Answer, Sabotage


def _is_first(body: Body) -> bool:
    """Whether the request continues nothing."""
    return body.get("previous_response_id") is None and body.get("conversation") is None


@mutant("RESP-040")
def any_role_is_a_role(gateway: Sabotage) -> None:
    """The role of a message goes to the template as it is."""
    gateway.patch(responses_items, "ROLES", (*responses_items.ROLES, "wizard"))


@mutant("RESP-040")
def wrong_item_is_an_internal_error(gateway: Sabotage) -> None:
    """An item of the input is read without a look at what it is."""

    @gateway.wrap(responses_items, "_item")
    def item(original: Any, given: Any, *about: Any) -> Any:
        given.get("type")
        return original(given, *about)


@mutant("RESP-041")
def missing_input_is_empty(gateway: Sabotage) -> None:
    """A request with neither instructions nor input is one with an empty text."""
    on_parse(gateway, lambda body: body if "instructions" in body else {"input": "", **body})


@mutant("RESP-042")
def conversation_wins_over_the_previous_response(gateway: Sabotage) -> None:
    """Of `conversation` and `previous_response_id` the first is taken."""

    def change(body: Body) -> Body:
        return {**body, "previous_response_id": None} if body.get("conversation") else body

    on_parse(gateway, change)


@mutant("RESP-043")
def unknown_previous_response_is_nothing(gateway: Sabotage) -> None:
    """A response whose id is none of the gateway's own is another server's, and is an empty history."""

    @gateway.wrap(Conversations, "entry")
    def entry(original: Any, self: Any, response_id: str) -> Any:
        return original(self, response_id) if len(response_id) == len(new_id("resp")) else None


@mutant("RESP-044")
def refusal_is_streamed(gateway: Sabotage) -> None:
    """The stream is opened before the input is read, and the refusal of its content is an event in it."""

    @gateway.rewrite
    def rewritten(answer: Answer) -> None:
        asked = answer.asked
        streamed = isinstance(asked, dict) and asked.get("stream") is True
        if answer.path.endswith("/responses") and answer.status == 400 and streamed and b"].content[" in answer.body:
            message = answer.json["error"]["message"]
            answer.body = sse.event("error", {"type": "error", "sequence_number": 0, "message": message})
            answer.status = 200
            answer.headers["content-type"] = "text/event-stream"


@mutant("RESP-045")
def format_of_the_text_is_ignored(gateway: Sabotage) -> None:
    """`text` of a first turn is dropped, and the answer is whatever the model says."""
    on_parse(gateway, lambda body: {**body, "text": None} if _is_first(body) else body)


@mutant("RESP-046")
def forced_tool_is_not_forced(gateway: Sabotage) -> None:
    """A `tool_choice` of a first turn that the gateway does not know is taken for `auto`."""

    def change(body: Body) -> Body:
        known = body.get("tool_choice") == "none" or not _is_first(body)
        return body if known else {**body, "tool_choice": "auto"}

    on_parse(gateway, change)


@mutant("RESP-047")
def complete_session_responds(gateway: Sabotage) -> None:
    """The wire does not look at the session's phase, and opens it again."""

    @gateway.wrap(Responses, "respond")
    async def respond(original: Any, self: Any, session: Any, request: Any) -> Any:
        if session.phase is Phase.COMPLETED:
            session.phase = Phase.ACTIVE
        return await original(self, session, request)


@mutant("RESP-048")
def failed_input_comes_again(gateway: Sabotage) -> None:
    """The input of a response that failed stays in the session, in front of the next."""
    left: dict[str, list[Any]] = {}

    @gateway.wrap(Responses, "respond")
    async def respond(original: Any, self: Any, session: Any, request: ResponseRequest) -> Any:
        waiting = left.pop(session.session_id, [])
        request = replace(request, items=[*waiting, *request.items])
        try:
            return await original(self, session, request)
        except Exception:
            left[session.session_id] = request.items
            raise
