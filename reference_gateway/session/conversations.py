"""What the Responses wire leaves to the server: the items of a session's conversations and of its responses.

Knows items and canonical messages, as opaque data, and what comes after what; never a token, a template or a route. It
lies beside the prefix tree: the tree has the tokens, this has what a client need not send again. Invariants:

- An entry never changes. A history is a path of entries, so a fork costs nothing and no fork sees another's entries.
- A conversation is a path that grows at its end, one response at a time (contract LS-REQ-09); a response that failed
  adds nothing to it.
- Each item that is kept has an id of its own (LS-REQ-07).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reference_gateway.session.errors import UnknownConversation, UnknownResponse
from reference_gateway.types import Message

Item = dict[str, Any]

PREFIXES: Mapping[str, str] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
    "file_search_call": "fs",
    "mcp_call": "mcp",
    "compaction": "cmp",
}
"""Type of an item -> how its id begins."""


def new_id(prefix: str) -> str:
    """An id that is never given twice."""
    return f"{prefix}_{secrets.token_hex(24)}"


def item_id(kind: str) -> str:
    """A new id for an item of that type."""
    return new_id(PREFIXES.get(kind, "item"))


@dataclass(frozen=True, slots=True)
class Entry:
    """What one request added: its items, and the canonical messages that they are. `parent` is what came before."""

    parent: Entry | None
    items: tuple[Item, ...]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """An item that the gateway made. `generation` names the generation that it is a part of; `result` is the tool
    message with what a tool of the server said."""

    item: Item
    generation: str | None = None
    call: Mapping[str, Any] | None = None
    result: Message | None = None


Known = Callable[[Any], Kept | None]
"""Id of an item -> the item as the gateway has it, if it has."""


@dataclass(slots=True)
class Conversation:
    """`turn` is held by the response that is being made."""

    id: str
    created_at: int
    metadata: dict[str, Any]
    tip: Entry | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Conversations:
    """The conversations and responses of one session."""

    def __init__(self) -> None:
        self._conversations: dict[str, Conversation] = {}
        self._entries: dict[str, Entry] = {}
        self._bodies: dict[str, dict[str, Any]] = {}
        self._inputs: dict[str, tuple[Item, ...]] = {}
        self._items: dict[str, Kept] = {}
        self.repeatable: dict[tuple[str, bytes], dict[str, Any]] = {}
        """The responses that a retry is answered with, by idempotency key and request (option `idempotent_retry`)."""
        self.executed: set[str] = set()
        """The ids of the calls that a tool of the server answered."""

    def create(self, created_at: int, metadata: Mapping[str, Any]) -> Conversation:
        """A new, empty conversation."""
        conversation = Conversation(new_id("conv"), created_at, dict(metadata))
        self._conversations[conversation.id] = conversation
        return conversation

    def conversation(self, conversation_id: str) -> Conversation:
        """Raises `UnknownConversation`."""
        try:
            return self._conversations[conversation_id]
        except KeyError:
            raise UnknownConversation(conversation_id) from None

    def entry(self, response_id: str) -> Entry:
        """The end of the history that a response ended with. Raises `UnknownResponse`."""
        try:
            return self._entries[response_id]
        except KeyError:
            raise UnknownResponse(response_id) from None

    def body(self, response_id: str) -> dict[str, Any]:
        """A response as it was answered. Raises `UnknownResponse`."""
        try:
            return self._bodies[response_id]
        except KeyError:
            raise UnknownResponse(response_id) from None

    def inputs(self, response_id: str) -> tuple[Item, ...]:
        """The items that a response was asked for with. Raises `UnknownResponse`."""
        self.body(response_id)
        return self._inputs[response_id]

    def forget(self, response_id: str) -> None:
        """A response cannot be read or continued any more; what continued it already keeps its history. Raises
        `UnknownResponse`."""
        self.body(response_id)
        del self._bodies[response_id], self._inputs[response_id]
        self._entries.pop(response_id, None)

    def close(self, conversation_id: str) -> None:
        """A conversation is there no more. Raises `UnknownConversation`."""
        self.conversation(conversation_id)
        del self._conversations[conversation_id]

    def known(self, item_id: Any) -> Kept | None:
        """The item of that id, if the gateway has one."""
        return self._items.get(item_id) if isinstance(item_id, str) else None

    def identified(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The client's items with an id each: its own where nothing else has it."""
        named = []
        taken: set[str] = set()
        for item in items:
            own_id = item.get("id")
            if not isinstance(own_id, str) or not own_id or own_id in self._items or own_id in taken:
                own_id = item_id(item["type"])
            taken.add(own_id)
            named.append({"id": own_id, **{name: value for name, value in item.items() if name != "id"}})
        return tuple(named)

    def keep(self, response_id: str, body: dict[str, Any], inputs: Sequence[Item] = ()) -> None:
        """A response can be read again, and the items that it was asked for with."""
        self._bodies[response_id] = body
        self._inputs[response_id] = tuple(inputs)

    def append(
        self,
        parent: Entry | None,
        items: Sequence[Item],
        output: Sequence[Kept],
        messages: Sequence[Message],
        *,
        response_id: str | None = None,
        conversation: Conversation | None = None,
    ) -> Entry:
        """Put `items` (the input) and `output` behind `parent`, for the response and in the conversation, where there
        are any."""
        entry = Entry(parent, (*items, *(kept.item for kept in output)), tuple(messages))
        for kept in (*map(Kept, items), *output):
            self._items.setdefault(kept.item["id"], kept)
            if kept.call is not None:
                self.executed.add(kept.call["id"])
        if response_id is not None:
            self._entries[response_id] = entry
        if conversation is not None:
            conversation.tip = entry
        return entry


def without(
    tip: Entry | None, item_id: str, lowered: Callable[[Sequence[Item]], Sequence[Message]]
) -> tuple[Entry | None, bool]:
    """A history without the item of that id, and whether it had one. `lowered` gives the messages that items are."""
    entries = path(tip)
    place = next((n for n, entry in enumerate(entries) if any(item["id"] == item_id for item in entry.items)), None)
    if place is None:
        return tip, False
    left = tuple(item for item in entries[place].items if item["id"] != item_id)
    rest = [Entry(None, left, tuple(lowered(left))), *entries[place + 1 :]]
    behind = entries[place].parent
    for entry in rest:
        behind = Entry(behind, entry.items, entry.messages)
    return behind, True


def path(tip: Entry | None) -> list[Entry]:
    """The entries up to `tip`, the oldest first."""
    entries = []
    while tip is not None:
        entries.append(tip)
        tip = tip.parent
    return entries[::-1]


def items(tip: Entry | None) -> Iterator[Item]:
    """The items of a history."""
    return (item for entry in path(tip) for item in entry.items)


def messages(tip: Entry | None) -> list[Message]:
    """The messages of a history."""
    return [message for entry in path(tip) for message in entry.messages]
