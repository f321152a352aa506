"""The conversation of a request as the messages that a chat template takes, where there is no doubt what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from conformance.ambient.turn import CHAT, INVOCATIONS, MESSAGES, RESPONSES

Message = dict[str, Any]

SETTINGS = frozenset(
    {"model", "messages", "tools", "stream", "stream_options", "temperature", "top_p", "top_k", "stop", "seed", "n"}
    | {"max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty", "user", "metadata", "store"}
    | {"system", "stop_sequences", "input", "instructions", "max_output_tokens", "message", "session_id", "logprobs"}
)
"""Fields with which a conversation is what its messages say. With another the context is not judged."""


def messages_of(wire: str, request: Mapping[str, Any]) -> list[Message] | None:
    """The messages of this request, an assistant's never last; None where a gateway may read them in another way."""
    if any(value is not None for name, value in request.items() if name not in SETTINGS and name != "tool_choice"):
        return None
    if request.get("tool_choice") not in (None, "auto", {"type": "auto"}):
        return None
    messages = _READERS[wire](request)
    if not messages or messages[-1]["role"] == "assistant":
        return None
    return messages


def tools_of(wire: str, request: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The functions that are offered, as the chat wire has them; None where there are others."""
    tools = request.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        return None
    if wire == CHAT:
        return tools if all(tool.get("type") == "function" for tool in tools) else None
    functions = []
    for tool in tools:
        if tool.get("type", "custom") not in ("custom" if wire == MESSAGES else "function",):
            return None
        schema = tool.get("input_schema" if wire == MESSAGES else "parameters")
        function = {"name": tool.get("name"), "description": tool.get("description"), "parameters": schema}
        functions.append({"type": "function", "function": {k: v for k, v in function.items() if v is not None}})
    return functions


def _text(content: Any, kinds: Sequence[str] = ("text",)) -> str | None:
    """A text, or the one text part that stands for it."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        part = content[0]
        if part.get("type") in kinds and isinstance(part.get("text"), str):
            return str(part["text"])
    return None


def _chat(request: Mapping[str, Any]) -> list[Message] | None:
    messages: list[Message] = []
    entries = request.get("messages")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("role") not in ("system", "user", "assistant", "tool"):
            return None
        known = {"role", "content", "tool_calls", "tool_call_id"}
        if any(value not in (None, [], "") for name, value in entry.items() if name not in known):
            return None
        calls = entry.get("tool_calls") or None
        content = _text(entry.get("content"))
        if content is None and not (entry.get("content") is None and calls):
            return None
        if calls is not None and (entry["role"] != "assistant" or not _plain(calls)):
            return None
        message = {"role": entry["role"], "content": content or ""}
        messages.append({**message, "tool_calls": calls} if calls else message)
    return messages


def _plain(calls: Any) -> bool:
    """Whether these are calls of functions with arguments that are an object as JSON."""
    try:
        return all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    except (ValueError, TypeError, KeyError):
        return False


def _anthropic(request: Mapping[str, Any]) -> list[Message] | None:
    messages: list[Message] = []
    system = request.get("system")
    if system:
        text = _text(system)
        if text is None or "x-anthropic" in text:
            return None
        messages.append({"role": "system", "content": text})
    entries = request.get("messages")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("role") not in ("user", "assistant"):
            return None
        content = entry.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
            return None
        read = _asked(blocks) if entry["role"] == "user" else _answered(blocks)
        if read is None:
            return None
        messages += read
    return messages


def _asked(blocks: Sequence[Mapping[str, Any]]) -> list[Message] | None:
    messages: list[Message] = []
    texts = [block for block in blocks if block.get("type") == "text"]
    results = [block for block in blocks if block.get("type") == "tool_result"]
    if len(texts) + len(results) != len(blocks) or len(texts) > 1 or (texts and blocks[-1] is not texts[0]):
        return None
    for block in results:
        text = _text(block.get("content"))
        if text is None or block.get("is_error"):
            return None
        messages.append({"role": "tool", "content": text})
    return [*messages, *({"role": "user", "content": str(block.get("text"))} for block in texts)]


def _answered(blocks: Sequence[Mapping[str, Any]]) -> list[Message] | None:
    texts = [str(block.get("text")) for block in blocks if block.get("type") == "text"]
    uses = [block for block in blocks if block.get("type") == "tool_use"]
    if len(texts) + len(uses) != len(blocks) or len(texts) > 1:
        return None
    calls = [{"type": "function", "function": {"name": use.get("name"), "arguments": use.get("input")}} for use in uses]
    message: Message = {"role": "assistant", "content": "".join(texts)}
    return [{**message, "tool_calls": calls} if calls else message]


def _responses(request: Mapping[str, Any]) -> list[Message] | None:
    messages: list[Message] = []
    if request.get("instructions"):
        if not isinstance(request["instructions"], str):
            return None
        messages.append({"role": "system", "content": request["instructions"]})
    entries = request.get("input")
    if isinstance(entries, str):
        return [*messages, {"role": "user", "content": entries}]
    for entry in entries if isinstance(entries, list) else []:
        read = _item(entry)
        if read is None or (read["role"] == "system" and messages):
            return None
        if "tool_calls" in read and messages and messages[-1]["role"] == "assistant":
            messages[-1].setdefault("tool_calls", []).extend(read["tool_calls"])
        else:
            messages.append(read)
    return messages


def _item(entry: Any) -> Message | None:
    if not isinstance(entry, dict):
        return None
    kind = entry.get("type", "message")
    if kind == "message" and entry.get("role") in ("user", "assistant", "system"):
        text = _text(entry.get("content"), ("input_text", "output_text"))
        return None if text is None else {"role": entry["role"], "content": text}
    if kind == "function_call":
        function = {"name": entry.get("name"), "arguments": entry.get("arguments")}
        call = {"type": "function", "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [call]} if _plain([call]) else None
    if kind == "function_call_output" and isinstance(entry.get("output"), str):
        return {"role": "tool", "content": entry["output"]}
    return None


def _invocation(request: Mapping[str, Any]) -> list[Message] | None:
    message = request.get("message")
    if request.get("session_id") or not isinstance(message, str):
        return None
    return [{"role": "user", "content": message}]


_READERS = {CHAT: _chat, MESSAGES: _anthropic, RESPONSES: _responses, INVOCATIONS: _invocation}
