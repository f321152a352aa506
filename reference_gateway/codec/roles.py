"""Which roles a chat template has and where, and messages put so that it writes all of them.

Knows roles and places, by rendering at start-up. Never knows a wire. Nothing that a client says is lost: a role that
the template leaves out, or refuses, becomes one that it has, or the request is refused by the role's name.

| message | where the template has it not |
|---|---|
| `developer` | a `system` message in its place |
| `system` behind another, or later | a part of the message that the conversation begins with, behind an empty line |
| `system` at all | the beginning of the first user message |
| any other | refused |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reference_gateway.codec.chat_template import MessageRefused, TemplateRefused
from reference_gateway.types import Message, Tool

Render = Callable[[Sequence[Message], "Sequence[Tool] | None"], str]

FIRST, SECOND, LATER = "first", "second", "later"
"""Where an instruction stands: in front, behind another one in front, behind an answer."""

INSTRUCTIONS = ("system", "developer")
_SYSTEM: Message = {"role": "system", "content": "1618033988"}
_USER: Message = {"role": "user", "content": "2718281828"}
_ANSWER: Message = {"role": "assistant", "content": "3141592653"}
_CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call00000", "type": "function", "function": {"name": "find", "arguments": {}}}],
}
_RESULT: Message = {"role": "tool", "tool_call_id": "call00000", "name": "find", "content": "4669201609"}


@dataclass(frozen=True, slots=True)
class Roles:
    """`instructions` are the (role, place) that the template writes, `tool` says whether it writes tool results.
    `writes` tells whether the template writes each of some messages: it is asked about a role that nobody expected."""

    instructions: frozenset[tuple[str, str]]
    tool: bool
    writes: Callable[[Sequence[Message]], bool]

    def fit(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages of a whole conversation, in roles and places that the template has. Raises `MessageRefused`."""
        if not any(message["role"] not in _ORDINARY for message in messages) and self.tool:
            return messages
        fitted: list[Message] = []
        merged: list[Any] = []
        place = FIRST
        for number, message in enumerate(messages):
            if message["role"] in INSTRUCTIONS:
                known = self._known(message, place)
                if known is None:
                    merged.append(message["content"])
                else:
                    fitted.append(known)
                place = SECOND if place == FIRST else place
                continue
            place = LATER
            self._require(message, number)
            fitted.append(message)
        return self._with(merged, fitted) if merged else fitted

    def fit_later(self, messages: Sequence[Message]) -> Sequence[Message] | None:
        """The same for messages that stand behind an answer. None when one has its place in front of it."""
        if not any(message["role"] not in _ORDINARY for message in messages) and self.tool:
            return messages
        fitted = []
        for message in messages:
            known = self._known(message, LATER) if message["role"] in INSTRUCTIONS else message
            if known is None or not self._has(message):
                return None
            fitted.append(known)
        return fitted

    def summary(self) -> dict[str, str]:
        """What becomes of each role, for a person."""
        places = {role: {place for known, place in self.instructions if known == role} for role in INSTRUCTIONS}
        told = {role: _PLACES.get(frozenset(places[role]), "where it has a place") for role in INSTRUCTIONS}
        if not places["developer"]:
            told["developer"] = "as system"
        return {**told, "tool": "written" if self.tool else "refused"}

    def _known(self, message: Message, place: str) -> Message | None:
        """The instruction as the template has it in this place."""
        if (message["role"], place) in self.instructions:
            return message
        return {**message, "role": "system"} if ("system", place) in self.instructions else None

    def _with(self, merged: Sequence[Any], messages: list[Message]) -> list[Message]:
        """The conversation with these instructions in front."""
        head = messages[0] if messages and messages[0]["role"] in INSTRUCTIONS else None
        if head is not None:
            return [{**head, "content": _joined(head["content"], *merged)}, *messages[1:]]
        if ("system", FIRST) in self.instructions:
            return [{"role": "system", "content": _joined(*merged)}, *messages]
        for number, message in enumerate(messages):
            if message["role"] == "user":
                instructed = {**message, "content": _joined(*merged, message["content"])}
                return [*messages[:number], instructed, *messages[number + 1 :]]
        return [{"role": "user", "content": _joined(*merged)}, *messages]

    def _require(self, message: Message, number: int) -> None:
        if not self._has(message):
            raise MessageRefused(
                f"messages[{number}].role {str(message['role'])[:80]!r} is not one that this model's chat template has"
            )

    def _has(self, message: Message) -> bool:
        role = message["role"]
        if role == "tool":
            return self.tool
        return role in ("user", "assistant", *INSTRUCTIONS) or self.writes([_USER, {**_RESULT, "role": role}, _USER])


def find_roles(render: Render, tools: Sequence[Tool] | None) -> Roles:
    """Try every role in every place, in a request with these tools."""

    def writes(messages: Sequence[Message]) -> bool:
        try:
            text = render(messages, tools)
        except TemplateRefused:
            return False
        return all(message["content"] in text for message in messages)

    head = [_SYSTEM] if writes([_SYSTEM, _USER]) else []
    before = {FIRST: [], SECOND: head, LATER: [*head, _USER, _ANSWER]}
    instructions = frozenset(
        (role, place)
        for role in INSTRUCTIONS
        for place, messages in before.items()
        if writes([*messages, {"role": role, "content": _RESULT["content"]}, _USER])
    )
    return Roles(instructions, writes([_USER, _CALL, _RESULT]), writes)


_PLACES = {
    frozenset([FIRST, SECOND, LATER]): "written",
    frozenset([FIRST]): "merged into the message in front",
    frozenset[str](): "merged into the first user message",
}
_ORDINARY = ("user", "assistant", "tool")


def _joined(*contents: Any) -> Any:
    """Texts with an empty line between them; with a list of parts among them, a list of parts."""
    kept = [content for content in contents if content]
    if all(isinstance(content, str) for content in kept):
        return "\n\n".join(kept)
    parts: list[Any] = []
    for content in kept:
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return parts
