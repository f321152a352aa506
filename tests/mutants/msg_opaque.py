"""Mutants of area MSG: what a message request has that only the provider can read or run."""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

from reference_gateway.session.session import Session
from reference_gateway.session.tree import FRESH
from reference_gateway.wire import anthropic_request
from reference_gateway.wire.base import RequestRefused
from tests.mutants.msg_wire import Body, on_body, on_lowered, on_messages
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

REDACTED = "redacted_thinking"


def _blocks(message: Any) -> list[Any]:
    content = message.get("content") if isinstance(message, dict) else None
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _is_made_of_blocks(block: Any) -> bool:
    source = block.get("source")
    return block.get("type") == "document" and isinstance(source, dict) and source.get("type") == "content"


def _has_call(message: Any) -> bool:
    return any(block.get("type") == "tool_use" for block in _blocks(message))


@mutant("MSG-132")
def thoughts_beside_thoughts_are_printed(gateway: Sabotage) -> None:
    """What stands behind a thinking block, and is none, is printed as it is."""

    def printed(messages: list[Any]) -> list[Any]:
        for message in messages:
            blocks = _blocks(message)
            if any(block.get("type") == "thinking" for block in blocks):
                for block in blocks:
                    if block.get("type") == REDACTED:
                        block |= {"type": "text", "text": str(block.pop("data"))}
        return messages

    on_messages(gateway, printed)


@mutant("MSG-132", also=("MSG-134",))
def redacted_thinking_is_unknown(gateway: Sabotage) -> None:
    """The type of a block that is not in the list is refused, but for the one before a call, where nobody looks."""

    def refuse(messages: list[Any]) -> list[Any]:
        for message in messages:
            if any(block.get("type") == REDACTED for block in _blocks(message)) and not _has_call(message):
                raise RequestRefused("content blocks of type 'redacted_thinking' are not supported")
        return messages

    on_messages(gateway, refuse)


@mutant("MSG-133")
def redacted_thinking_before_a_call_is_text(gateway: Sabotage) -> None:
    """The text of an answer with a call is all that is no call."""

    def told(messages: list[Any]) -> list[Any]:
        for message in messages:
            for block in _blocks(message) if _has_call(message) else []:
                if block.get("type") == REDACTED:
                    block |= {"type": "text", "text": json.dumps(block)}
        return messages

    on_messages(gateway, told)


@mutant("MSG-134")
def redacted_echo_is_another_message(gateway: Sabotage) -> None:
    """An echo with a redacted thought in front of its one text is found nowhere in what was recorded."""
    redacted: ContextVar[bool] = ContextVar("redacted", default=False)

    def assistant(original: Any, content: Any, where: str) -> Any:
        message, thinking = original(content, where)
        kinds = [block.get("type") for block in content] if isinstance(content, list) else []
        if kinds == [REDACTED, "text"]:
            redacted.set(True)
        return message, thinking

    on_lowered(gateway, "_assistant", assistant)

    @gateway.wrap(Session, "_match")
    def match(original: Any, *asked: Any) -> Any:
        return FRESH if redacted.get() else original(*asked)


@mutant("MSG-135")
def every_tool_is_a_function(gateway: Sabotage) -> None:
    """A tool is what has a name; its type is not read, unless it is the search's."""

    @gateway.wrap(anthropic_request, "_is_served")
    def is_served(original: Any, tool: Any) -> Any:
        return original(tool) and str(tool["type"]).startswith("web_search")


@mutant("MSG-136")
def documents_are_skipped(gateway: Sabotage) -> None:
    """A document that is made of blocks is left out where there is text beside it."""

    def skipped(messages: list[Any]) -> list[Any]:
        for message in messages:
            blocks = _blocks(message)
            if len(blocks) > 1:
                message["content"] = [block for block in blocks if not _is_made_of_blocks(block)]
        return messages

    on_messages(gateway, skipped)


@mutant("MSG-137")
def null_of_a_tool_is_described(gateway: Sabotage) -> None:
    """A description that is null is a description."""

    def described(body: Body) -> Body:
        tools = body.get("tools")
        if not isinstance(tools, list):
            return body
        named = [
            {**tool, "description": "null"} if isinstance(tool, dict) and tool.get("description", 0) is None else tool
            for tool in tools
        ]
        return {**body, "tools": named}

    on_body(gateway, described)
