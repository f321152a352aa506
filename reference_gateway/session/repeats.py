"""What a client sends again of a history that the server keeps.

A client that continues a response or a conversation sends what is new. Some send what is old beside it, under its ids,
under the ids of its calls, or as messages without any: then it would stand in the context twice, once as it was sampled
and once rendered. Knows items and canonical messages; pure. Whoever asks refuses (OpenAI: "Duplicate item found with
id"): to leave out what is known would leave the users' messages of the same history, which have no ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_gateway.session.conversations import Entry, Item, Known, items, messages
from reference_gateway.types import Message


def repeated(tip: Entry | None, added: Sequence[Item], told: Sequence[Message], known: Known) -> str | None:
    """Says which of the `added` items stand in the history up to `tip`, or twice among themselves; None where none
    does. `told` are the messages that the items are."""
    kept = {item["id"]: item for item in items(tip)}
    calls = {(item["type"], item["call_id"]) for item in kept.values() if "call_id" in item}
    seen: set[str] = set()
    for place, item in enumerate(added):
        item_id, call = item.get("id"), (item["type"], item.get("call_id"))
        issued = (known_item := known(item_id)) is not None and known_item.generation is not None
        if (issued and (item_id in kept or item_id in seen)) or (item_id in kept and kept[item_id] == item):
            return f"Duplicate item found with id {item_id}: item {place} is there already"
        if call in calls:
            return f"Duplicate item found with call_id {call[1]}: item {place}, a {call[0]}, is there already"
        if issued:
            seen.add(str(item_id))
    if _overlap(messages(tip), told):
        return "Duplicate items found: the first ones repeat the end of what is there already"
    return None


def _overlap(history: Sequence[Message], told: Sequence[Message]) -> bool:
    """Whether `told` begins with the whole history, or with an end of it in which its last answer is the first. Users
    may say a thing twice, so what repeats nothing of the assistant is new."""
    answers = [place for place, message in enumerate(history) if message["role"] == "assistant"]
    first = next((place for place, message in enumerate(told) if message["role"] == "assistant"), None)
    if not answers or first is None:
        return False
    starts = {0, answers[-1] - first}
    return any(_shown(history[start:]) == _shown(told[: len(history) - start]) for start in starts if start >= 0)


def _shown(told: Sequence[Message]) -> list[Message]:
    """The messages without the thoughts, which clients leave out of an echo."""
    return [{name: value for name, value in message.items() if name != "reasoning_content"} for message in told]
