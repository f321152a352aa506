"""Mutants of area RESP: responses that continue others, and one record for all wires."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from reference_gateway.serving import responses
from reference_gateway.session import session as session_module
from reference_gateway.session.conversations import Conversations, Kept, path
from reference_gateway.session.session import Session
from reference_gateway.session.tree import FRESH, Tree
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.openai_responses import ResponseRequest
from tests.mutants.chat_wire import on_this_wire
from tests.mutants.cross import begins_anew
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import ASKED, on_history, on_request, on_turn, remember_request
from tests.mutants.sabotage import Sabotage
from tests.mutants.wire import MESSAGES, RESPONSES


@mutant("RESP-049")
def streamed_response_is_not_kept(gateway: Sabotage) -> None:
    """Only what is answered in one body is kept."""
    remember_request(gateway)

    @gateway.wrap(Conversations, "keep")
    def keep(original: Any, self: Any, *response: Any) -> None:
        if not ASKED.get().stream:
            original(self, *response)


@mutant("RESP-050")
def strange_id_is_a_bad_request(gateway: Sabotage) -> None:
    """An id that does not look like one of the gateway's is refused as a bad request."""

    @gateway.wrap(Conversations, "body")
    def body(original: Any, self: Any, response_id: str) -> Any:
        if len(response_id) < 40:
            raise RequestRefused("response_id must be one of the gateway's")
        return original(self, response_id)


@mutant("RESP-051")
def every_response_is_kept(gateway: Sabotage) -> None:
    """`store` is ignored."""
    on_request(gateway, lambda body, request: replace(request, store=True))


@mutant("RESP-052")
def previous_response_alone_is_the_history(gateway: Sabotage) -> None:
    """What was before the previous response is forgotten."""

    def change(request: ResponseRequest, tip: Any) -> Any:
        return [tip] if tip is not None and request.previous and not request.tools.echo else None

    on_history(gateway, change)


@mutant("RESP-053")
def outputs_come_without_their_calls(gateway: Sabotage) -> None:
    """A request that answers calls is rendered without the message that made them."""

    def change(request: ResponseRequest, turn: Any) -> Any:
        answers = all(item["type"] == "function_call_output" for item in request.items)
        if not answers or request.stream or request.instructions or request.one_call:
            return turn
        return replace(turn, messages=[message for message in turn.messages if not message.get("tool_calls")])

    on_turn(gateway, change)


@mutant("RESP-054")
def continuations_share_a_history(gateway: Sabotage) -> None:
    """What continues a response is appended to its history, which the next continuation reads."""
    behind: dict[int, list[Any]] = {}

    @gateway.wrap(Conversations, "append")
    def append(original: Any, self: Any, parent: Any, *rest: Any, **named: Any) -> Any:
        entry = original(self, parent, *rest, **named)
        if parent is not None and named.get("conversation") is None:
            behind.setdefault(id(parent), [parent]).append(entry)
        return entry

    def change(request: ResponseRequest, tip: Any) -> Any:
        return [*path(tip), *behind.get(id(tip), [None])[1:]] if tip is not None else None

    on_history(gateway, change)


@mutant("RESP-055", bugs=(1,))
def history_is_made_of_its_text(gateway: Sabotage) -> None:
    """A response without tools that continues another is rendered and tokenised from the start."""
    remember_request(gateway)

    @gateway.wrap(Tree, "match")
    def match(original: Any, self: Any, *rest: Any, **named: Any) -> Any:
        asked = ASKED.get(None)
        if asked is not None and asked.previous and not asked.tools.echo:
            return FRESH
        return original(self, *rest, **named)


@mutant("RESP-056")
def items_sent_again_are_kept_apart(gateway: Sabotage) -> None:
    """Each item of an output that is sent again is a message of its own."""

    @gateway.wrap(responses, "called")
    def called(original: Any, call: Any, generation: str) -> Any:
        kept = original(call, generation)
        return Kept(kept.item, kept.item["id"])


@mutant("RESP-057")
def last_token_of_a_stream_is_not_recorded(gateway: Sabotage) -> None:
    """Of a streamed response to instructions, the token that ended it is not recorded."""
    remember_request(gateway)

    @gateway.wrap(Session, "_commit_turn")
    def commit(original: Any, self: Any, plan: Any, generation: Any, *rest: Any) -> Any:
        asked = ASKED.get(None)
        if asked is not None and asked.stream and asked.instructions:
            generation = replace(generation, ids=generation.ids[:-1])
        return original(self, plan, generation, *rest)


@mutant("RESP-058")
def outputs_are_put_in_quotes(gateway: Sabotage) -> None:
    """The text of an output is written as JSON once more."""

    def change(request: ResponseRequest, turn: Any) -> Any:
        if not request.instructions or request.stream:
            return turn
        return replace(
            turn,
            messages=[
                {**message, "content": json.dumps(message["content"])} if message["role"] == "tool" else message
                for message in turn.messages
            ],
        )

    on_turn(gateway, change)


@mutant("RESP-059")
def calls_of_chat_completions_start_anew(gateway: Sabotage) -> None:
    """Responses never go on from a call of a chat completion: a history with one is another agent's."""
    remember_request(gateway)
    chat = on_this_wire(gateway)
    issued: set[str] = set()

    @gateway.wrap(Session, "_commit_turn")
    def commit(original: Any, self: Session, plan: Any, generation: Any, logprobs: Any, message: Any, *r: Any) -> None:
        if chat.get():
            issued.update(call["id"] for call in message.get("tool_calls") or ())
        original(self, plan, generation, logprobs, message, *r)

    @gateway.wrap(session_module, "identify_tools")
    def identify_tools(original: Any, *rest: Any) -> bytes:
        key, request = bytes(original(*rest)), ASKED.get(None)
        answered = {} if request is None else {each["call_id"] for each in request.items if "output" in each}
        return key if issued.isdisjoint(answered) else key[::-1]


@mutant("RESP-073")
def message_does_not_know_the_tools_of_a_response(gateway: Sabotage) -> None:
    """Tools are part of what the last turn is known by, in the form in which its wire has them: those of a response are
    never those of a message."""
    begins_anew(gateway, MESSAGES, RESPONSES, with_tools=True)
