"""Anthropic Messages as a client sees them: what is asked in blocks, and what is answered in blocks.

Knows that wire's bodies, never a token. `MessageReply` has the accessors of `Reply` wherever both wires have the thing
(`message` is what a client echoes), so that one conversation can be held over either.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply, at
from conformance.oracles import Violation, anthropic

VERSION = "2023-06-01"
"""The value of `anthropic-version` that every client sends."""

Block = dict[str, Any]


class MessageReply(Reply):
    """What the gateway answered to a message request, streamed or not."""

    @cached_property
    def completion(self) -> dict[str, Any]:
        """The whole message: the JSON body, or what the stream's events amount to."""
        if self.status != 200:
            raise ConformanceFailure([Violation("status", "200", f"{self.status} {describe(self.body)}")])
        message = anthropic.assemble(self.events) if self.is_stream else self.json()
        if not isinstance(message, dict):
            raise ConformanceFailure([Violation("body", "a JSON object", describe(message))])
        return message

    @property
    def content(self) -> list[Block]:
        """The content blocks, all of them objects."""
        blocks = at(self.completion, "content", kind=list)
        return [at(blocks, place, kind=dict) for place in range(len(blocks))]

    @property
    def message(self) -> dict[str, Any]:
        """The assistant message as it was received: echo it to continue the conversation."""
        return {"role": "assistant", "content": self.content}

    @property
    def text(self) -> str:
        """The text of all text blocks."""
        return "".join(at(block, "text", kind=str) for block in self.content if block.get("type") == "text")

    @property
    def tool_calls(self) -> list[Block]:
        """The `tool_use` blocks."""
        return [block for block in self.content if block.get("type") == "tool_use"]

    @property
    def finish_reason(self) -> str:
        """`stop_reason`."""
        return at(self.completion, "stop_reason", kind=str)  # type: ignore[no-any-return]


def text(content: Any, **fields: Any) -> Block:
    return {"type": "text", "text": content, **fields}


def tool_use(name: str, arguments: Any, call_id: str = "toolu_0") -> Block:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def tool_result(content: Any, call_id: str = "toolu_0", **fields: Any) -> Block:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **fields}


def results_of(message: Mapping[str, Any], *contents: Any) -> list[Block]:
    """A result for each content, in answer to the calls of this assistant message in their order."""
    blocks = message["content"]
    ids = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]
    return [tool_result(content, call_id) for content, call_id in zip(contents, ids, strict=False)]


def as_tool(function: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """The tool definition of this wire for a function of the chat wire."""
    defined = function["function"]
    return {
        "name": defined["name"],
        "description": defined["description"],
        "input_schema": defined["parameters"],
        **fields,
    }
