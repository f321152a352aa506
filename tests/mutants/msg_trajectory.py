"""Mutants of area MSG: what is recorded of messages."""

from __future__ import annotations

import hashlib
import json
import re
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway.codec import template
from reference_gateway.session import session as session_module
from reference_gateway.session.session import Session
from reference_gateway.session.tree import NO_MEDIA
from reference_gateway.types import Generation
from reference_gateway.wire import anthropic_request
from tests.mutants.cross import begins_anew
from tests.mutants.msg_wire import Body, on_body, on_lowered, over_messages
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.wire import CHAT, MESSAGES


def _on_assistant(gateway: Sabotage, change: Any) -> None:
    """`change(content, message)` replaces what an assistant message in blocks is lowered to."""

    def assistant(original: Any, content: Any, where: str) -> Any:
        message, thinking = original(content, where)
        return (change(content, message) if isinstance(content, list) else message), thinking

    on_lowered(gateway, "_assistant", assistant)


def _is_reminder(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "system"


def _with_reminders(message: Any, reminders: list[Any]) -> Any:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {**message, "content": [*blocks, *({"type": "text", "text": str(each["content"])} for each in reminders)]}


@mutant("MSG-080")
def system_with_tools_is_added_to(gateway: Sabotage) -> None:
    """A system prompt that comes with tools gets a sentence on how to call them."""

    def explain(body: Body) -> Body:
        if not isinstance(body.get("system"), str) or not body.get("tools"):
            return body
        return {**body, "system": f"{body['system']}\nCall a tool where it helps."}

    on_body(gateway, explain)


@mutant("MSG-080", also=("MSG-032", "MSG-084", "MSG-088", "MSG-162"))
def text_beside_a_call_is_not_echoed(gateway: Sabotage) -> None:
    """An assistant message is its calls or its text."""
    _on_assistant(gateway, lambda content, message: {**message, "content": ""} if "tool_calls" in message else message)


@mutant("MSG-081")
def messages_are_recorded_without_their_end(gateway: Sabotage) -> None:
    """What is recorded of a message with a system prompt alone is its text, which has no end-of-turn token."""
    speaking: ContextVar[bool] = ContextVar("speaking", default=False)

    def note(body: Body) -> Body:
        speaking.set(bool(body.get("system")) and not body.get("tools"))
        return body

    on_body(gateway, note)

    @gateway.wrap(Session, "_commit_turn")
    def commit(original: Any, session: Any, plan: Any, generation: Any, *rest: Any) -> Any:
        recorded = replace(generation, ids=generation.ids[:-1]) if speaking.get() else generation
        return original(session, plan, recorded, *rest)


@mutant("MSG-082")
def separators_of_an_echo_are_line_ends(gateway: Sabotage) -> None:
    """The text of an echo is put together line by line."""
    _on_assistant(gateway, lambda content, message: {**message, "content": "\n".join(message["content"].splitlines())})


@mutant("MSG-083")
def call_without_text_gets_a_placeholder(gateway: Sabotage) -> None:
    """Some engines refuse a message without text, so it is given one."""
    _on_assistant(
        gateway,
        lambda content, message: (
            {**message, "content": message["content"] or "(no content)"} if "tool_calls" in message else message
        ),
    )


@mutant("MSG-084")
def chat_does_not_know_the_message_before_it(gateway: Sabotage) -> None:
    """Chat completions are made by a worker of their own, which hears of a message only when the next turn is
    recorded."""
    begins_anew(gateway, CHAT, MESSAGES, with_tools=False)


@mutant("MSG-084")
def each_wire_keeps_its_own_record(gateway: Sabotage) -> None:
    """The wire is part of what identifies a conversation."""
    speaking = over_messages(gateway)

    @gateway.wrap(session_module, "identify_tools")
    def identify_tools(original: Any, *arguments: Any) -> bytes:
        key: bytes = original(*arguments)
        return hashlib.sha256(b"messages" + key).digest() if speaking.get() else key


@mutant("MSG-085", bugs=(17,))
def billing_line_is_known_in_one_spelling(gateway: Sabotage) -> None:
    """The header's name is compared letter by letter."""
    gateway.patch(anthropic_request, "_BILLING", re.compile(r"x-anthropic-billing-header:"))


@mutant("MSG-086")
def cache_control_of_a_tool_is_kept(gateway: Sabotage) -> None:
    """What stands beside a tool's schema is kept with it."""

    def tool(original: Any, given: Any, where: str) -> Any:
        found = original(given, where)
        kept = {name: value for name, value in given.items() if name == "cache_control" and value is not None}
        return {**found, "function": {**found["function"], **kept}}

    on_lowered(gateway, "_tool", tool)


@mutant("MSG-087")
def thinking_is_text_of_the_echo(gateway: Sabotage) -> None:
    """A thinking block is read as text."""

    def change(content: Any, message: Any) -> Any:
        thoughts = [each["thinking"] for each in content if each["type"] == "thinking"]
        return {**message, "content": "\n".join([*thoughts, message["content"]])}

    _on_assistant(gateway, change)


@mutant("MSG-088")
def reminder_is_folded_into_committed_text(gateway: Sabotage) -> None:
    """A reminder behind a tool's result is folded into the last user message with text, which was before the call."""

    def fold(body: Body) -> Body:
        messages = body.get("messages")
        if not isinstance(messages, list) or len(messages) < 3 or not _is_reminder(messages[-1]):
            return body
        if "tool_result" not in json.dumps(messages[-2]):
            return body
        place = next(place for place, each in reversed([*enumerate(messages)][:-2]) if each.get("role") == "user")
        folded = _with_reminders(messages[place], messages[-1:])
        return {**body, "messages": [*messages[:place], folded, *messages[place + 1 : -1]]}

    on_body(gateway, fold)


@mutant("MSG-088", also=("MSG-037", "MSG-038", "MSG-039", "MSG-089"))
def reminders_join_the_system_prompt(gateway: Sabotage) -> None:
    """System messages belong to the system."""

    def hoist(body: Body) -> Body:
        messages = body.get("messages")
        reminders = [each for each in messages if _is_reminder(each)] if isinstance(messages, list) else []
        if not reminders or not isinstance(messages, list):
            return body
        rest = [each for each in messages if not _is_reminder(each)]
        system = "\n".join([str(body.get("system") or ""), *(str(each["content"]) for each in reminders)])
        return {**body, "system": system, "messages": rest}

    on_body(gateway, hoist)


@mutant("MSG-089")
def reminders_move_with_the_conversation(gateway: Sabotage) -> None:
    """A reminder is what the model should see last."""

    def move(body: Body) -> Body:
        messages = body.get("messages")
        if not isinstance(messages, list):
            return body
        return {**body, "messages": sorted(messages, key=_is_reminder)}

    on_body(gateway, move)


@mutant("MSG-090")
def arguments_are_shown_otherwise_than_recorded(gateway: Sabotage) -> None:
    """The parser gives a call whatever its arguments are; the client is shown `{}` where they are no object."""
    gateway.patch(session_module, "identify_echo", session_module.identify)
    speaking = over_messages(gateway)

    @gateway.wrap(template, "parse_calls")
    def parse_calls(original: Any, parser: Any, text: str, tools: Any) -> Any:
        rest, calls = original(parser, text, tools)
        odd = re.search(r'<tool_call>\s*\{"name": "(\w+)", "arguments": (.*)\}\s*</tool_call>', text, re.DOTALL)
        if not speaking.get() or calls or odd is None or odd[2].startswith("{"):
            return rest, calls
        function = {"name": odd[1], "arguments": odd[2]}
        return "", [{"id": "call_00000000", "type": "function", "function": function}]


@mutant("MSG-091", bugs=(57,))
def failed_message_is_recorded(gateway: Sabotage) -> None:
    """A turn is recorded when it is sent."""
    speaking = over_messages(gateway)

    @gateway.wrap(Session, "_attempt")
    async def attempt(
        original: Any, session: Any, turn: Any, keys: Any, identities: Any, sampling: Any, asked: Any
    ) -> Any:
        try:
            return await original(session, turn, keys, identities, sampling, asked)
        except Exception:
            if speaking.get():
                plan = session._plan(turn, session._match(turn, keys, sampling), keys, identities)
                nothing = {"role": "assistant", "content": ""}
                session._commit_turn(plan, Generation([]), None, nothing, NO_MEDIA)
            raise
