"""What a check comes to where the gateway's chat template has no place for its conversation.

A gateway refuses what its template refuses, and starts a new trajectory where its template writes the history anew: a
model that knows no tools, takes only turns of a user and the assistant, or is told its tools before the last question,
is no fault of the gateway. With the kit's own template nothing of this is ever the case.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import combinations
from typing import Any

from conformance.client.transcript import Exchange
from conformance.tokenizer import TemplateRefusal, Tokenizer, TokenizerError


def excuse_of_the_template(exchanges: Iterable[Exchange], tokenizer: Tokenizer) -> str | None:
    """Why the template can't carry the chats that were exchanged: it refuses one that the gateway refused, or writes
    one otherwise once it goes on. None if it carries them all."""
    answered: list[dict[str, Any]] = []
    for exchange in exchanges:
        if exchange.url.endswith("/chat/completions"):
            try:
                body = json.loads(exchange.request_body)
                chat = {"tools": body.get("tools"), "messages": [_spoken(message) for message in body["messages"]]}
                if exchange.status in (400, 422):
                    tokenizer.render(**chat)
                elif exchange.status == 200:
                    answered.append({**chat, "messages": _numbered(chat["messages"])})
            except TemplateRefusal as refusal:
                return str(refusal)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError, TokenizerError):
                continue
    if any(_is_rewritten(earlier, later, tokenizer) for earlier, later in combinations(answered, 2)):
        return "the chat template writes the history otherwise once the conversation goes on"
    return None


def _spoken(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "content": message.get("content") or ""}


def _numbered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with ids of calls that each template takes and that say nothing but their order."""
    names: dict[str, str] = {}
    numbered = []
    for message in messages:
        calls = [
            {**call, "id": names.setdefault(call["id"], f"call{len(names):05d}")}
            for call in message.get("tool_calls") or []
        ]
        renamed: dict[str, Any] = {"tool_calls": calls} if calls else {}
        if "tool_call_id" in message:
            renamed["tool_call_id"] = names.get(message["tool_call_id"], "call99999")
        numbered.append({**message, **renamed})
    return numbered


def _is_rewritten(earlier: dict[str, Any], later: dict[str, Any], tokenizer: Tokenizer) -> bool:
    """Whether the later chat goes on with the earlier one, and its render does not."""
    history = earlier["messages"]
    if later["tools"] != earlier["tools"] or later["messages"][: len(history)] != history:
        return False
    try:
        return not tokenizer.render(**later).startswith(tokenizer.render(**earlier, add_generation_prompt=False))
    except TokenizerError:
        return False
