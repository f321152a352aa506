"""Calls and results of a history as a chat template can write them.

Knows what templates read of a call, by rendering at start-up. Never knows a wire or a parser's format.

| a template | gets |
|---|---|
| that walks through the arguments of a call | for arguments that are no JSON object, `{"arguments": the text}` |
| that takes ids of 9 letters and digits only | the ids that are so, and of others the beginning of their digest |
| that can't do without a result's `tool_call_id` or `name` | those of the call where the result has none |
| that writes no text beside calls | the text as a message of its own in front, or nothing: the message is refused |
| that writes no calls | nothing: the message is refused |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reference_gateway.codec.chat_template import MessageRefused, TemplateRefused
from reference_gateway.types import Message, Tool

Render = Callable[[Sequence[Message], "Sequence[Tool] | None"], str]

_TEXT, _CONTENT = "4815162342", "2718281828"
_SHORT = re.compile(r"[A-Za-z0-9]{9}")
_USER: Message = {"role": "user", "content": "Hi."}
_RESULT: Message = {"role": "tool", "tool_call_id": "call00000", "name": "find", "content": "Here."}


@dataclass(frozen=True, slots=True)
class Calls:
    """`written`: the template writes calls. `objects_only`: it loses arguments that are text. `short_ids`: it refuses
    ids as most engines make them. `needed`: fields without which it refuses a result. `beside`: it writes text beside
    calls; `apart`: it writes text in a message of its own in front of them."""

    written: bool
    objects_only: bool
    short_ids: bool
    needed: tuple[str, ...]
    beside: bool
    apart: bool

    def require(self, messages: Sequence[Message]) -> None:
        """Raises `MessageRefused` for a message of which the template would leave something out."""
        for number, message in enumerate(messages):
            lost = self._lost(message)
            if lost is not None:
                raise MessageRefused(f"messages[{number}].{lost}")

    def writes(self, messages: Sequence[Message]) -> bool:
        """Whether the template leaves nothing of these out."""
        return all(self._lost(message) is None for message in messages)

    def _lost(self, message: Message) -> str | None:
        """The field that the template would leave out, and why."""
        if not message.get("tool_calls"):
            return None
        if not self.written:
            return "tool_calls can't be used: this model's chat template writes no calls"
        if message["content"] and not self.beside and not self.apart:
            return "content must be empty: this model's chat template writes no text beside tool calls"
        return None

    def spread(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages, with the text beside calls in a message of its own where the template needs that."""
        if self.beside or not any(message.get("tool_calls") and message["content"] for message in messages):
            return messages
        return [part for message in messages for part in _apart(message)]

    def fit(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages, with calls and results in a form that the template can write."""
        if not (self.objects_only or self.short_ids or self.needed) or not any(
            "tool_calls" in message or message["role"] == "tool" for message in messages
        ):
            return messages
        fitted: list[Message] = []
        names: dict[str, str] = {}
        for message in messages:
            if message.get("tool_calls"):
                names |= {call["id"]: call["function"]["name"] for call in message["tool_calls"]}
                message = {**message, "tool_calls": [self._call(call) for call in message["tool_calls"]]}
            elif message["role"] == "tool":
                message = self._result(message, names)
            fitted.append(message)
        return fitted

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        arguments = call["function"]["arguments"]
        if self.objects_only and not isinstance(arguments, dict):
            call = {**call, "function": {**call["function"], "arguments": {"arguments": arguments}}}
        return {**call, "id": _short(call["id"])} if self.short_ids else call

    def _result(self, message: Message, names: dict[str, str]) -> Message:
        call_id = message.get("tool_call_id", "")
        known = {"tool_call_id": call_id, "name": names.get(call_id, "")}
        message = {**{field: known[field] for field in self.needed}, **message}
        return {**message, "tool_call_id": _short(call_id)} if self.short_ids else message


def find_calls(render: Render, tools: Sequence[Tool]) -> Calls:
    """Try a call in each of its forms."""

    def text(
        call_id: str = "call00000", arguments: Any = None, without: str = "", content: str = "", apart: bool = False
    ) -> str | None:
        function = {"name": _TEXT[::-1], "arguments": {"at": _TEXT} if arguments is None else arguments}
        call = {"id": call_id, "type": "function", "function": function}
        answered = {**_RESULT, "tool_call_id": call_id}
        answered.pop(without, None)
        message: Message = {"role": "assistant", "content": content, "tool_calls": [call]}
        try:
            return render([_USER, *(_apart(message) if apart else [message]), answered], tools)
        except TemplateRefused:
            return None

    whole = text()
    if whole is None:  # it refuses results, or all that has to do with calls, and says so by itself
        return _ANY
    return Calls(
        written=_TEXT in whole and _TEXT[::-1] in whole,
        objects_only=_TEXT not in (text(arguments=f'{{"at": {_TEXT}') or ""),
        short_ids=text("call_1a2b3c4d") is None,
        needed=tuple(field for field in ("tool_call_id", "name") if text(without=field) is None),
        beside=_CONTENT in (text(content=_CONTENT) or ""),
        apart=_CONTENT in (text(content=_CONTENT, apart=True) or ""),
    )


_ANY = Calls(written=True, objects_only=False, short_ids=False, needed=(), beside=True, apart=True)


def _apart(message: Message) -> list[Message]:
    """What an assistant says and what it calls, as two messages."""
    if not message.get("tool_calls") or not message["content"]:
        return [message]
    saying = {name: value for name, value in message.items() if name != "tool_calls"}
    calling = {name: value for name, value in message.items() if name != "reasoning_content"}
    return [saying, {**calling, "content": ""}]


def _short(call_id: str) -> str:
    return call_id if _SHORT.fullmatch(call_id) else hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:9]
