"""OpenAI chat messages -> canonical messages (`types.Message`).

Knows the forms in which clients write a message, and refuses the rest by name of field (contract UA-VAL). Fields that
mean nothing to a template (`refusal`, `annotations`, `audio` ...) are left out, so an echo that carries them is the
same message. A list of text parts is their concatenation; one with an image or a video stays a list of parts.
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
    if not isinstance(role, str) or not role:
        raise RequestRefused(f"{where}.role must be a non-empty string")
    content = message.get("content")
    read: Message = {"role": role, "content": content if isinstance(content, str) else _content(content, where, media)}
    if len(message) == 2 and "content" in message:  # nearly every message
        return read
    name = message.get("name")
    if name is not None:
        if not isinstance(name, str):
            raise RequestRefused(f"message.name must be a string ({where})")
        read["name"] = name
    reasoning = message.get("reasoning_content")
    if reasoning is not None:
        if not isinstance(reasoning, str):
            raise RequestRefused(f"{where}.reasoning_content must be a string or null")
        read["reasoning_content"] = reasoning
    calls = message.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list):
            raise RequestRefused(f"tool_calls must be a list ({where})")
        if calls:
            read["tool_calls"] = [_call(call, f"{where}.tool_calls[{place}]") for place, call in enumerate(calls)]
    call_id = message.get("tool_call_id")
    if call_id is not None:
        read["tool_call_id"] = str(call_id)
    return read


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
        raise RequestRefused(f"{where}.type is not supported: this gateway takes {takes}")
    text = part.get(field)
    if not isinstance(text, str):
        raise RequestRefused(f"{where}.{field} must be a string")
    return {"type": "text", "text": text}


def _reference(found: Any, where: str) -> dict[str, Any]:
    reference = {"url": found} if isinstance(found, str) else found
    if not isinstance(reference, dict):
        raise RequestRefused(f"{where} must be an object with a url")
    media_url(reference.get("url"), f"{where}.url")
    return {name: value for name, value in reference.items() if value is not None}


def _call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise RequestRefused(f"{where} must be an object with an object function")
    name = function.get("name")
    if not isinstance(name, str):
        raise RequestRefused(f"{where}.function.name must be a string")
    return {
        "id": str(call.get("id") or ""),
        "type": "function",
        "function": {"name": name, "arguments": _arguments(function, where)},
    }


def _arguments(function: Mapping[str, Any], where: str) -> dict[str, Any] | str:
    arguments = function.get("arguments")
    if isinstance(arguments, str | None):
        return parse_arguments(arguments)
    if not isinstance(arguments, dict):
        raise RequestRefused(f"{where}.function.arguments must be a string or an object")
    return arguments
