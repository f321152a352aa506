"""OpenAI chat messages -> canonical messages (`types.Message`).

Knows the roles and the forms in which clients write a message, and refuses the rest by name of field (contract UA-VAL):
what says something is never left out. Only what says nothing to the model is (`annotations`, a `refusal` of null ...),
so an echo that carries it is the same message. A list of text parts is their concatenation; one with an image or a
video stays a list of parts. A `function_call` and what a `function` returned, as clients wrote them before there were
tools, are a call and its result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference_gateway.tools.arguments import parse_arguments
from reference_gateway.types import Message
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.media import media_url

_TEXT = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Type of a content part -> its field with the text."""
_MEDIA = ("image_url", "video_url")
ROLES = ("developer", "system", "user", "assistant", "tool", "function")


def read_messages(messages: Any, media: bool = False) -> list[Message]:
    """The canonical form of `messages`, which may have images and videos where `media` says so. Raises
    `RequestRefused`."""
    if not isinstance(messages, list) or not messages:
        raise RequestRefused("messages must be non-empty")
    return [_message(message, f"messages[{place}]", media) for place, message in enumerate(messages)]


def _message(message: Any, where: str, media: bool) -> Message:
    if not isinstance(message, dict):
        raise RequestRefused(f"{where} must be an object")
    role = message.get("role")
    if role not in ROLES:
        raise RequestRefused(f"{where}.role must be a non-empty string: one of {', '.join(ROLES)}")
    content = message.get("content")
    read: Message = {"role": role, "content": content if isinstance(content, str) else _content(content, where, media)}
    if len(message) == 2 and "content" in message and role != "function":  # nearly every message
        return read
    name = message.get("name")
    if name is not None or role == "function":
        if not isinstance(name, str):
            raise RequestRefused(f"message.name must be a string ({where})")
        read["name"] = name
    reasoning = _text(message, "reasoning_content", where) or _text(message, "reasoning", where)
    if reasoning:
        read["reasoning_content"] = reasoning
    calls = message.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list):
            raise RequestRefused(f"tool_calls must be a list ({where})")
        if calls:
            read["tool_calls"] = [_call(call, f"{where}.tool_calls[{place}]") for place, call in enumerate(calls)]
    if role == "function":
        return {**read, "role": "tool", "tool_call_id": _LEGACY_ID}
    if role == "assistant":
        _read_answer(message, read, where)
    call_id = message.get("tool_call_id")
    if call_id is not None:
        read["tool_call_id"] = str(call_id)
    return read


_LEGACY_ID = "call00000"
"""Of a call that was made before calls had ids. There was one in a message; some templates want nine characters."""


def _read_answer(message: Mapping[str, Any], read: Message, where: str) -> None:
    """What only an assistant's message has."""
    if message.get("audio") is not None:
        raise RequestRefused(f"{where}.audio is not supported: this gateway does not know what was said in it")
    refusal = _text(message, "refusal", where)
    if refusal:
        if not isinstance(read["content"], str):
            raise RequestRefused(f"{where}.refusal must be null beside images")
        read["content"] += refusal
    function = message.get("function_call")
    if function is not None:
        if "tool_calls" in read:
            raise RequestRefused(f"{where}.function_call must be null beside tool_calls")
        read["tool_calls"] = [
            {"id": _LEGACY_ID, "type": "function", "function": _function(function, f"{where}.function_call")}
        ]


def _text(message: Mapping[str, Any], field: str, where: str) -> str | None:
    text = message.get(field)
    if not isinstance(text, str | None):
        raise RequestRefused(f"{where}.{field} must be a string or null")
    return text


def _content(content: Any, where: str, media: bool) -> str | list[dict[str, Any]]:
    if content is None:
        return ""
    if not isinstance(content, (dict, list)):
        raise RequestRefused(f"Unsupported content type: {where}.content must be a string, a list of parts or null")
    if isinstance(content, dict):
        parts = [_part(content, f"{where}.content", media)]
    else:
        parts = [_part(part, f"{where}.content[{place}]", media) for place, part in enumerate(content)]
    if any(part["type"] != "text" for part in parts):
        return parts
    return "".join(part["text"] for part in parts)


def _part(part: Any, where: str, media: bool) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise RequestRefused(f"{where} must be an object with a type")
    kind = part.get("type", "text")
    if media and kind in _MEDIA:
        return {"type": kind, kind: _reference(part.get(kind), f"{where}.{kind}")}
    field = _TEXT.get(kind) if isinstance(kind, str) else None
    if field is None:
        takes = f"text, {' and '.join(_MEDIA)} parts" if media else "text parts"
        raise RequestRefused(f"{where}.type {str(kind)[:80]!r} is not supported: this gateway takes {takes}")
    text = part.get(field)
    if not isinstance(text, str):
        raise RequestRefused(f"{where}.{field} must be a string")
    return {"type": "text", "text": text}


def _reference(value: Any, where: str) -> dict[str, Any]:
    reference = {"url": value} if isinstance(value, str) else value
    if not isinstance(reference, dict):
        raise RequestRefused(f"{where} must be an object with a url")
    media_url(reference.get("url"), f"{where}.url")
    return {name: value for name, value in reference.items() if value is not None}


def _call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise RequestRefused(f"{where} must be an object with an object function")
    return {"id": str(call.get("id") or ""), "type": "function", "function": _function(function, f"{where}.function")}


def _function(function: Any, where: str) -> dict[str, Any]:
    if not isinstance(function, dict):
        raise RequestRefused(f"{where} must be an object")
    name = function.get("name")
    if not isinstance(name, str):
        raise RequestRefused(f"{where}.name must be a string")
    return {"name": name, "arguments": _arguments(function, where)}


def _arguments(function: Mapping[str, Any], where: str) -> dict[str, Any] | str:
    arguments = function.get("arguments")
    if isinstance(arguments, str | None):
        return parse_arguments(arguments)
    if not isinstance(arguments, dict):
        raise RequestRefused(f"{where}.arguments must be a string or an object")
    return arguments
