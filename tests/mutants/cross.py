"""Mutants of area CROSS: what goes wrong only where several wires, sessions or users meet."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from reference_gateway import isolation
from reference_gateway.channel import target
from reference_gateway.session import Session
from reference_gateway.session.conversations import Conversations
from reference_gateway.session.errors import UnknownConversation, UnknownResponse
from reference_gateway.session.histories import Histories
from reference_gateway.types import Message, Turn
from reference_gateway.wire import anthropic_messages
from tests.mutants.commit import _around_turns, _plans, _record_without_generation
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, App, Sabotage, Scope
from tests.mutants.wire import MESSAGES, RESPONSES, Receive, Send


def served_path(gateway: Sabotage) -> ContextVar[str]:
    """The path of the request that is being served."""
    served: ContextVar[str] = ContextVar("served", default="")

    @gateway.middleware
    def noting(app: App) -> App:
        async def note(scope: Scope, receive: Receive, send: Send) -> None:
            served.set(scope.get("path", ""))
            await app(scope, receive, send)

        return note

    return served


def begins_anew(gateway: Sabotage, path: str, behind: str, *, with_tools: bool) -> None:
    """A turn of this route, with tools or without, begins a history of its own where the last turn of its session was
    one of the route `behind`."""
    served = served_path(gateway)
    last: dict[Session, str] = {}

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, *rest: Any) -> None:
        last[self] = served.get()
        original(self, *rest)

    @gateway.wrap(Session, "_identified")
    def identified(original: Any, self: Session, turn: Turn) -> Any:
        identities, keys = original(self, turn)
        apart = served.get().endswith(path) and last.get(self, "").endswith(behind) and bool(turn.tools) is with_tools
        return identities, [key[::-1] for key in keys] if apart else keys


@mutant("CROSS-001")
def middle_of_a_long_history_is_left_out(gateway: Sabotage) -> None:
    """Of a conversation of invocations, the model is told how it began and the last five messages."""

    @gateway.wrap(target, "_turn")
    def turn(original: Any, messages: tuple[Message, ...], request: Any) -> Turn:
        told: Turn = original((messages[0], *messages[1:][-5:]), request)
        return told


@mutant("CROSS-001")
def first_message_ends_its_line(gateway: Sabotage) -> None:
    """What begins a conversation over messages gets a line end, as what is read from a terminal has."""

    @gateway.wrap(anthropic_messages, "parse")
    def parse(original: Any, body: dict[str, Any], *rest: Any) -> Any:
        messages = None if body.get("tools") else body.get("messages")
        if isinstance(messages, list) and len(messages) == 1 and isinstance(messages[0].get("content"), str):
            body = {**body, "messages": [{**messages[0], "content": f"{messages[0]['content']}\n"}]}
        return original(body, *rest)


@mutant("CROSS-002")
def response_does_not_know_the_message_before_it(gateway: Sabotage) -> None:
    """Responses are made by a worker of their own, which hears of a message only when the next turn is recorded."""
    begins_anew(gateway, RESPONSES, MESSAGES, with_tools=False)


@mutant("CROSS-002", also=("CROSS-003",))
def messages_have_histories_of_their_own(gateway: Sabotage) -> None:
    """The messages wire keeps its conversations apart from the other wires'."""

    @gateway.middleware
    def parting(app: App) -> App:
        async def part(scope: Scope, receive: Receive, send: Send) -> None:
            if scope.get("path", "").endswith(MESSAGES):
                key = (isolation.USER_HEADER.encode(), b"messages")
                scope = {**scope, "headers": [*scope["headers"], key]}
            await app(scope, receive, send)

        return part


@mutant("CROSS-003")
def response_does_not_know_the_tools_of_a_message(gateway: Sabotage) -> None:
    """Tools are part of what the last turn is known by, in the form in which its wire has them: those of a message are
    never those of a response."""
    begins_anew(gateway, RESPONSES, MESSAGES, with_tools=True)


@mutant("CROSS-004")
def reward_is_on_what_came_before_it(gateway: Sabotage) -> None:
    """The reward is put on the trajectories that are there when it arrives, the first one here."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/finalize") and answer.status == 200:
            document = answer.json
            for later in document["trajectories"][1:]:
                later["reward_info"] = {}
            answer.json = document


@mutant("CROSS-005")
def users_have_one_history_in_all_sessions(gateway: Sabotage) -> None:
    """The history of a user is looked for in all sessions that are open."""
    open_now: WeakSet[Histories] = WeakSet()

    @gateway.wrap(Histories, "__init__")
    def init(original: Any, self: Histories, *rest: Any) -> None:
        original(self, *rest)
        open_now.add(self)

    @gateway.wrap(Histories, "of")
    def of(original: Any, self: Histories, key: str) -> Any:
        place = (isolation.partition(), key)
        found = [each._live[place] for each in open_now if place in each._live] if isolation.partition() else []
        return found[0] if found else original(self, key)


def found_anywhere(gateway: Sabotage, unknown: type[Exception], *lookups: str) -> None:
    """What one user's store lacks is looked for in all others."""
    stores: list[Conversations] = []

    @gateway.wrap(Conversations, "__init__")
    def init(original: Any, self: Conversations) -> None:
        original(self)
        stores.append(self)

    def wrap(name: str) -> None:
        @gateway.wrap(Conversations, name)
        def look_up(original: Any, self: Conversations, one: str) -> Any:
            for store in (self, *(stores if isolation.partition() else ())):
                try:
                    return original(store, one)
                except unknown:
                    pass
            return original(self, one)

    for name in lookups:
        wrap(name)


@mutant("CROSS-006")
def responses_are_known_to_everybody(gateway: Sabotage) -> None:
    """A user's request looks up a response by its id alone, for whomever it was made."""
    found_anywhere(gateway, UnknownResponse, "entry", "body")


@mutant("CROSS-007")
def conversations_are_known_to_everybody(gateway: Sabotage) -> None:
    """A user's request looks up a conversation by its id alone, for whomever it was opened."""
    found_anywhere(gateway, UnknownConversation, "conversation")


def records_half_when_cancelled(gateway: Sabotage, path: str) -> None:
    """A turn of this route whose client hangs up is recorded without what was sampled for it."""
    served, plans = served_path(gateway), _plans(gateway)

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except asyncio.CancelledError:
            if served.get().endswith(path):
                _record_without_generation(session, plans[session])
            raise

    _around_turns(gateway, attempt)


@mutant("CROSS-008")
def hang_up_on_a_message_records_half_of_it(gateway: Sabotage) -> None:
    """A message whose client hangs up is recorded without what was sampled for it."""
    records_half_when_cancelled(gateway, MESSAGES)


@mutant("CROSS-009")
def hang_up_on_a_response_records_half_of_it(gateway: Sabotage) -> None:
    """A response whose client hangs up is recorded without what was sampled for it."""
    records_half_when_cancelled(gateway, RESPONSES)
