"""Mutants of area RESP: conversations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reference_gateway import isolation
from reference_gateway.serving import responses_plane
from reference_gateway.serving.responses import Responses
from reference_gateway.serving.responses_plane import ResponsesPlane
from reference_gateway.session.conversations import Conversation, Conversations, new_id, path
from reference_gateway.session.errors import UnknownConversation
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.openai_responses import ResponseRequest
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import Body, on_body, on_history
from tests.mutants.sabotage import Sabotage


@mutant("RESP-060")
def metadata_of_a_conversation_is_dropped(gateway: Sabotage) -> None:
    """A conversation is created with empty metadata."""
    gateway.wrap(Conversations, "create")(lambda original, self, created_at, metadata: original(self, created_at, {}))


@mutant("RESP-060")
def metadata_of_a_conversation_have_keys_in_lower_case(gateway: Sabotage) -> None:
    """The keys of metadata are made lower case, as those of headers are."""

    @gateway.wrap(Conversations, "create")
    def create(original: Any, self: Any, created_at: Any, metadata: Any) -> Any:
        return original(self, created_at, {name.lower(): value for name, value in metadata.items()})


@mutant("RESP-061")
def conversation_is_made_by_its_first_response(gateway: Sabotage) -> None:
    """Until something was said in it, a conversation cannot be read."""

    @gateway.wrap(ResponsesPlane, "read")
    def read(original: Any, self: Any, session: Any, where: str, query: bytes) -> Any:
        _, kind, one, *_ = where.split("/")
        if kind == "conversations" and session.conversations.conversation(one).tip is None:
            raise UnknownConversation(one)
        return original(self, session, where, query)


@mutant("RESP-062")
def conversation_is_not_echoed(gateway: Sabotage) -> None:
    """The response does not say which conversation it is of."""
    on_body(gateway, lambda request, body: {**body, "conversation": None})


@mutant("RESP-063")
def conversation_remembers_one_response(gateway: Sabotage) -> None:
    """A conversation without tools goes on from its last response only."""

    def change(request: ResponseRequest, tip: Any) -> Any:
        return [tip] if tip is not None and request.conversation and not request.tools.echo else None

    on_history(gateway, change)


@mutant("RESP-064")
def first_items_are_listed_only(gateway: Sabotage) -> None:
    """The items that a conversation is created with, answers among them, are kept, and never shown to the model."""

    @gateway.wrap(Conversations, "append")
    def append(original: Any, self: Any, parent: Any, items: Any, output: Any, messages: Any, **named: Any) -> Any:
        listed = not output and parent is None and any(item.get("role") == "assistant" for item in items)
        return original(self, parent, items, output, () if listed else messages, **named)


def _listing(gateway: Sabotage, change: Any) -> None:
    """Change the items that a conversation is listed with."""

    @gateway.wrap(responses_plane, "items")
    def items(original: Any, tip: Any) -> Iterator[Body]:
        return iter(change(list(original(tip))))


@mutant("RESP-065")
def second_output_is_not_listed(gateway: Sabotage) -> None:
    """Of the outputs that came together, the first is an item of the conversation."""

    def change(found: list[Body]) -> list[Body]:
        pairs = zip(found, [{}, *found], strict=False)
        return [each for each, before in pairs if {each["type"], before.get("type")} != {"function_call_output"}]

    _listing(gateway, change)


@mutant("RESP-066")
def output_has_the_id_of_its_call(gateway: Sabotage) -> None:
    """An output is kept under the id of the call that it answers."""

    def change(found: list[Body]) -> list[Body]:
        calls = {item["call_id"]: item["id"] for item in found if item["type"] == "function_call"}
        return [
            {**item, "id": calls.get(item["call_id"], item["id"])} if item["type"] == "function_call_output" else item
            for item in found
        ]

    _listing(gateway, change)


@mutant("RESP-067")
def unknown_conversation_is_an_empty_one(gateway: Sabotage) -> None:
    """A conversation whose id is none of the gateway's own is another server's, and is read as an empty one."""

    @gateway.wrap(ResponsesPlane, "read")
    def read(original: Any, self: Any, session: Any, where: str, query: bytes) -> Any:
        _, kind, one, *_ = where.split("/")
        if kind == "conversations" and len(one) != len(new_id("conv")):
            session.conversations._conversations.setdefault(one, Conversation(one, 1, {}))
        return original(self, session, where, query)


@mutant("RESP-068")
def conversations_of_a_session_share_their_history(gateway: Sabotage) -> None:
    """The history is kept by session, and all its conversations without tools go on from it."""
    said: dict[int, list[Any]] = {}

    @gateway.wrap(Conversations, "append")
    def append(original: Any, self: Any, *rest: Any, **named: Any) -> Any:
        entry = original(self, *rest, **named)
        said.setdefault(id(self), []).append(entry)
        return entry

    def change(request: ResponseRequest, tip: Any) -> Any:
        if tip is None or not request.conversation:
            return None
        return next((entries for entries in said.values() if path(tip)[0] in entries), None)

    on_history(gateway, change)


@mutant("RESP-069")
def responses_of_a_conversation_overlap(gateway: Sabotage) -> None:
    """Nothing keeps two responses of one conversation apart; the later one to end wins."""

    class Unguarded:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: Any) -> None: ...

    @gateway.wrap(Conversations, "create")
    def create(original: Any, self: Any, *rest: Any) -> Any:
        conversation = original(self, *rest)
        conversation.turn = Unguarded()
        return conversation


@mutant("RESP-070")
def input_is_kept_before_it_is_answered(gateway: Sabotage) -> None:
    """The input stands in the conversation before the model is asked, and stays there when it fails."""

    @gateway.wrap(Responses, "respond")
    async def respond(original: Any, self: Any, session: Any, request: ResponseRequest) -> Any:
        try:
            return await original(self, session, request)
        except Exception as error:
            if request.conversation is not None and not isinstance(error, RequestRefused):
                kept = session.conversations
                conversation = kept.conversation(request.conversation)
                kept.append(conversation.tip, kept.identified(request.items), (), (), conversation=conversation)
            raise


@mutant("RESP-071")
def conversations_are_known_everywhere(gateway: Sabotage) -> None:
    """The conversations of nobody in particular are kept in one table for all sessions."""
    table: dict[str, Any] = {}

    @gateway.wrap(Conversations, "__init__")
    def init(original: Any, self: Any) -> None:
        original(self)
        if not isolation.partition():
            self._conversations = table


@mutant("RESP-072")
def limit_is_ignored(gateway: Sabotage) -> None:
    """The list of items comes whole, whatever its limit."""
    gateway.wrap(responses_plane, "page_of")(
        lambda original, listed, query: original(listed, query.replace(b"limit=", b"size="))
    )
