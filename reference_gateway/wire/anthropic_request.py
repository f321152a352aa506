"""Anthropic request bodies -> canonical messages and tools (`types.Message`, `types.Tool`).

Knows the forms in which clients write a message of that wire, and refuses the rest by name of field (contract UA-ANR).
What only guides the provider (`cache_control`, `citations`) is left out, so that it is never part of a message's
identity; so are the tools that the provider runs itself, which nobody would run here.

Invariant: what stands before an assistant message is lowered without regard to what stands behind it. A client sends
its whole history with each request, and what it sent before an answer was committed with that answer: if something that
comes later could change it, the conversation would split there. So a reminder (a `system` message in the middle) is
folded into what stands between the same two assistant messages, and nowhere else (UA-ANR-07).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from reference_gateway.types import Message, Tool
from reference_gateway.wire.base import RequestRefused, flag_of
from reference_gateway.wire.constraints import FORCED, FREE, HIDDEN, Choice, Schema, named, schema_of

log = logging.getLogger(__name__)

Part = dict[str, Any]

_THOUGHTS = ("thinking", "redacted_thinking")
"""Blocks that only the model that made them can read again."""
_SERVED = re.compile(r"(?:web_search|web_fetch|code_execution|tool_search_tool\w*)_\d{8}|mcp_toolset")
"""Types of the tools that the provider runs itself. It defines others that the client runs: those are functions."""
_BILLING = re.compile(r"x-anthropic-billing-header:", re.IGNORECASE)
"""A line that Claude Code puts into its system prompt, another with each request (UA-ANR-02)."""


def read_messages(system: Any, messages: Any, media: bool = False) -> list[Message]:
    """The canonical form of a request's `system` and `messages`, which may have images where `media` says so. Raises
    `RequestRefused`."""
    if not isinstance(messages, list) or not messages:
        raise RequestRefused("messages must be non-empty")
    head = _system(system, "system")
    lowered: list[Message] = [{"role": "system", "content": head}] if head else []
    between: list[Message] = []
    dropped = 0
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, dict):
            raise RequestRefused(f"{where} must be an object")
        role, content = message.get("role"), message.get("content")
        if role == "user":
            between += _user(content, where, media)
        elif role == "system":
            between.append({"role": "system", "content": _system(content, f"{where}.content")})
        elif role == "assistant":
            answer, thinking = _assistant(content, where)
            lowered += [*_fold(between), answer]
            between, dropped = [], dropped + thinking
        else:
            raise RequestRefused(f"Unsupported message role: {where}.role must be user, assistant or system")
    lowered += _fold(between)
    if len(lowered) == bool(head):
        raise RequestRefused("messages must be non-empty: there are only empty system messages")
    if dropped:
        log.warning("thinking blocks dropped", extra={"count": dropped})
    return lowered


def read_tools(tools: Any, choice: Any) -> list[Tool] | None:
    """The tools that the template sees: none where there are none, none that the provider would run, and none under a
    `tool_choice` of `none`. Raises `RequestRefused`."""
    if tools is not None and not isinstance(tools, list):
        raise RequestRefused("tools must be a list")
    read = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(tools or ()) if not _is_served(tool)]
    return None if read_choice(choice).hidden else read or None


def read_choice(choice: Any) -> Choice:
    """Raises `RequestRefused`."""
    kind = choice.get("type") if isinstance(choice, dict) else choice
    if choice is None or kind == "auto":
        return FREE
    if kind == "none":
        return HIDDEN
    if isinstance(choice, dict) and kind == "any":
        return FORCED
    if isinstance(choice, dict) and kind == "tool":
        return named(choice.get("name"), "tool_choice.name")
    raise RequestRefused("tool_choice must be an object with the type auto, any, tool or none")


def read_schema(body: Mapping[str, Any]) -> tuple[Schema | None, str]:
    """What the answer's JSON has to fit, and the field that says so: that of today, or that of the API's beta. Raises
    `RequestRefused`."""
    config = body.get("output_config")
    if not isinstance(config, dict | None):
        raise RequestRefused("output_config must be an object")
    form = (config or {}).get("format")
    where = "output_format" if form is None else "output_config.format"
    return schema_of(body.get("output_format") if form is None else form, where, any_object=False), where


def read_one_call(choice: Any) -> bool:
    """Whether a `tool_choice` asks for one call at most. Raises `RequestRefused`."""
    return isinstance(choice, dict) and flag_of(choice, "disable_parallel_tool_use", False, "tool_choice.")


def read_stop(sequences: Any) -> list[str] | None:
    """`stop_sequences`; an empty list is the same as none. Raises `RequestRefused`."""
    if sequences is None:
        return None
    if not isinstance(sequences, list) or not all(isinstance(sequence, str) for sequence in sequences):
        raise RequestRefused("stop_sequences must be a list of strings")
    return sequences or None


def _fold(between: Sequence[Message]) -> list[Message]:
    """Turn the reminders among the messages between two answers into users' text: behind the text of the nearest user
    message before, else in front of the next one, else as a message of their own at the end. Never before a tool's
    result, which has to follow its call (UA-ANR-04 to -06)."""
    folded: list[Message] = []
    waiting: list[str] = []
    before: Message | None = None
    for message in between:
        if message["role"] == "system":
            if not message["content"]:
                continue
            reminder = f"<system-reminder>\n{message['content']}\n</system-reminder>"
            if before is None:
                waiting.append(reminder)
            else:
                before["content"] = _joined(before["content"], reminder)
            continue
        folded.append(message)
        if message["role"] == "user":
            before = message
            message["content"] = _joined(*waiting, message["content"])
            waiting = []
    if waiting:
        folded.append(_says(waiting))
    return folded


def _system(system: Any, where: str) -> str:
    if system is None:
        return ""
    texts = [system] if isinstance(system, str) else _texts(system, where)
    return "\n".join(filter(None, map(_without_billing, texts)))


def _without_billing(text: str) -> str:
    if _BILLING.search(text) is None:
        return text
    return "\n".join(line for line in text.split("\n") if _BILLING.match(line.lstrip()) is None)


def _user(content: Any, where: str, media: bool) -> list[Message]:
    """What the user says, and what tools returned, in the order in which they stand."""
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    if not isinstance(content, list) or not content:
        raise RequestRefused(f"{where}.content must be a string or a non-empty list of content blocks")
    lowered: list[Message] = []
    parts: list[str | Part] = []
    for place, block in enumerate(content):
        at = f"{where}.content[{place}]"
        if _kind(block, at) != "tool_result":
            parts.append(_part(block, at, media, "tool_result"))
            continue
        if parts:
            lowered.append(_says(parts))
            parts = []
        lowered += _tool_result(block, at, media)
    if parts:
        lowered.append(_says(parts))
    return lowered


def _tool_result(block: Mapping[str, Any], where: str, media: bool) -> list[Message]:
    """The tool's message. Images have no place in it: they are the user's, right behind it (UA-ANR-12)."""
    call_id = _name(block.get("tool_use_id"), f"{where}.tool_use_id")
    content = block.get("content")
    if content is None or content == []:
        content = ""
    if not isinstance(content, str | list):
        raise RequestRefused(f"{where}.content must be a string or a list of content blocks")
    blocks = [content] if isinstance(content, str) else content
    lowered: list[Message] = []
    for place, entry in enumerate(blocks):
        part = entry if isinstance(content, str) else _part(entry, f"{where}.content[{place}]", media)
        role = "tool" if isinstance(part, str) else "user"
        if lowered and lowered[-1]["role"] == role:
            lowered[-1]["content"] = _joined(lowered[-1]["content"], part)
        elif role == "tool":
            lowered.append({"role": "tool", "content": part, "tool_call_id": call_id})
        else:
            if not lowered:
                lowered.append({"role": "tool", "content": "", "tool_call_id": call_id})
            lowered.append(_says([part]))
    if block.get("is_error") is True:  # a tool message has no other place for it, and the model has to know
        lowered[0]["content"] = f"Error: {lowered[0]['content']}"
    return lowered


def _assistant(content: Any, where: str) -> tuple[Message, int]:
    """The message, and how many thinking blocks it had (UA-ANR-15, -16)."""
    if isinstance(content, str):
        return {"role": "assistant", "content": content}, 0
    if not isinstance(content, list):
        raise RequestRefused(f"{where}.content must be a string or a list of content blocks")
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    thinking = 0
    for place, block in enumerate(content):
        at = f"{where}.content[{place}]"
        kind = _kind(block, at)
        if kind == "text":
            texts.append(_text(block, at))
        elif kind == "tool_use":
            calls.append(_tool_use(block, at))
        elif kind in _THOUGHTS:
            thinking += 1
        else:
            raise _unsupported(kind, at, "text, tool_use or thinking")
    message: Message = {"role": "assistant", "content": "\n".join(filter(None, texts))}
    if calls:
        message["tool_calls"] = calls
    return message, thinking


def _tool_use(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    arguments = block.get("input")
    if arguments is not None and not isinstance(arguments, dict):
        raise RequestRefused(f"{where}.input must be an object")
    name = _name(block.get("name"), f"{where}.name")
    return {
        "id": _name(block.get("id"), f"{where}.id"),
        "type": "function",
        "function": {"name": name, "arguments": arguments or {}},
    }


def _is_served(tool: Any) -> bool:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return isinstance(kind, str) and _SERVED.fullmatch(kind) is not None


def _tool(tool: Any, where: str) -> Tool:
    if not isinstance(tool, dict):
        raise RequestRefused(f"{where} must be an object with a name")
    description, schema = tool.get("description"), tool.get("input_schema")
    if description is not None and not isinstance(description, str):
        raise RequestRefused(f"{where}.description must be a string")
    if schema is not None and not isinstance(schema, dict):
        raise RequestRefused(f"{where}.input_schema must be an object")
    # In the order in which OpenAI's documentation has them: a template prints them as they stand.
    function: dict[str, Any] = {"name": _name(tool.get("name"), f"{where}.name")}
    if description is not None:
        function["description"] = description
    function["parameters"] = schema or {}
    return {"type": "function", "function": function}


def _texts(blocks: Any, where: str) -> list[str]:
    """The texts of a list of nothing but text blocks."""
    if not isinstance(blocks, list):
        raise RequestRefused(f"{where} must be a string or a list of text blocks")
    texts = []
    for place, block in enumerate(blocks):
        kind = _kind(block, f"{where}[{place}]")
        if kind != "text":
            raise _unsupported(kind, f"{where}[{place}]", "text")
        texts.append(_text(block, f"{where}[{place}]"))
    return texts


def _part(block: Any, where: str, media: bool, *expected: str) -> str | Part:
    """A text, also that of a document, or an image where there may be media. `expected` are other types that a refusal
    names."""
    kind = _kind(block, where)
    if kind == "text":
        return _text(block, where)
    if kind == "document":
        return _document(block, where)
    if kind == "search_result":
        head = [_name(block.get(name), f"{where}.{name}") for name in ("title", "source")]
        return "\n".join([*head, *_texts(block.get("content"), f"{where}.content")])
    if kind != "image" or not media:
        takes = ("text", "document", "search_result", *(["image"] if media else []), *expected)
        raise _unsupported(kind, where, " or ".join(takes))
    source = block.get("source")
    form = source.get("type") if isinstance(source, dict) else None
    if form == "base64":
        at = f"{where}.source"
        media_type, data = _name(source.get("media_type"), f"{at}.media_type"), _name(source.get("data"), f"{at}.data")
        url = f"data:{media_type};base64,{data}"
    elif form == "url":
        url = _name(source.get("url"), f"{where}.source.url")
        if not url.startswith(("http://", "https://")):
            raise RequestRefused(f"{where}.source.url must be an http or https URL")
    else:
        raise RequestRefused(f"{where}.source must be an object with the type base64 or url")
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Mapping[str, Any], where: str) -> str:
    """What there is to read of a document: its title, what it is about, and its text."""
    head = [block.get(name) for name in ("title", "context")]
    for name, value in zip(("title", "context"), head, strict=True):
        if not isinstance(value, str | None):
            raise RequestRefused(f"{where}.{name} must be a string or null")
    source = block.get("source")
    if not isinstance(source, dict):
        raise RequestRefused(f"{where}.source must be an object with a type")
    if source.get("type") == "text":
        texts = [_name(source.get("data"), f"{where}.source.data")]
    elif source.get("type") == "content":
        content = source.get("content")
        texts = [content] if isinstance(content, str) else _texts(content, f"{where}.source.content")
    else:
        raise RequestRefused(f"{where}.source.type is not supported: this gateway takes documents of text or content")
    return "\n".join([*filter(None, head), *texts])


def _says(parts: Sequence[str | Part]) -> Message:
    return {"role": "user", "content": _joined(*parts)}


def _joined(*contents: str | Part | list[Part]) -> str | list[Part]:
    """Texts with a line end between them; with an image among them, a list of parts (UA-ANR-08)."""
    if all(isinstance(content, str) for content in contents):
        return "\n".join(map(str, contents))
    parts: list[Part] = []
    for content in contents:
        if isinstance(content, list):
            parts += content
        else:
            parts.append({"type": "text", "text": content} if isinstance(content, str) else content)
    return parts


def _kind(block: Any, where: str) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise RequestRefused(f"{where} must be an object with a type")
    return kind


def _text(block: Mapping[str, Any], where: str) -> str:
    text = block.get("text")
    if not isinstance(text, str):
        raise RequestRefused(f"{where}.text must be a string")
    return text


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise RequestRefused(f"{where} must be a non-empty string")
    return value


def _unsupported(kind: str, where: str, expected: str) -> RequestRefused:
    return RequestRefused(f"{where}.type {kind[:80]!r} is not supported: expected {expected}")
