"""What an engine refuses of a chat request, so that a gateway that passes chat through answers as it would in life.

Knows the fields that vLLM's chat route checks before it renders; raises `BadRequest` by the name of the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conformance.upstream.dialect import BadRequest

PARTS = frozenset(
    [
        *("text", "input_text", "output_text", "refusal", "thinking"),
        *("image_url", "input_image", "video_url", "audio_url", "input_audio"),
    ]
)
"""The types of content parts that the route takes."""


def checked_messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The request's messages, each with a role, a content that is text, parts or null, and well-formed tool calls."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise BadRequest("messages must be a non-empty list of objects")
    for place, message in enumerate(messages):
        _check_message(message, f"messages[{place}]")
    return messages


def checked_tools(body: Mapping[str, Any]) -> list[Any] | None:
    """The tools that the template sees: those of the request, or None where it may call none."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools is not None and not isinstance(tools, list):
        raise BadRequest(f"tools must be a list, not {tools!r}")
    if choice is not None and not isinstance(choice, dict) and choice not in ("none", "auto", "required"):
        raise BadRequest(f"tool_choice must be none, auto, required or an object, not {choice!r}")
    functions = [tool.get("function") if isinstance(tool, dict) else None for tool in tools or ()]
    names = [function.get("name") if isinstance(function, dict) else None for function in functions]
    if choice == "required" and not names:
        raise BadRequest("tool_choice must be none or auto where there are no tools, not required")
    if isinstance(choice, dict):
        named = choice.get("function")
        if not isinstance(named, dict) or named.get("name") not in names:
            raise BadRequest(f"tool_choice must name a function of tools, not {named!r}")
    return None if choice == "none" else tools


def check_format(body: Mapping[str, Any]) -> None:
    """Of `response_format`, the type and the schema."""
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if form is not None and kind not in ("text", "json_object", "json_schema", "structural_tag"):
        raise BadRequest(f"response_format.type must be text, json_object, json_schema or structural_tag, not {kind!r}")
    holder = form.get("json_schema") if isinstance(form, dict) else None
    if kind == "json_schema" and not (isinstance(holder, dict) and isinstance(holder.get("schema"), dict)):
        raise BadRequest(f"response_format.json_schema must have an object schema, not {holder!r}")


def media(messages: Iterable[Mapping[str, Any]], kind: str) -> list[Any] | None:
    """What the parts of one kind (`image_url` or `video_url`) refer to, in their order; None where there are none. A
    reference that is nothing but a URL is that URL."""
    references = []
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping) and part.get("type") == kind:
                reference = part.get(kind)
                bare = isinstance(reference, Mapping) and set(reference) == {"url"}
                references.append(reference["url"] if bare and isinstance(reference, Mapping) else reference)
    return references or None


def _check_message(message: Mapping[str, Any], where: str) -> None:
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    if not isinstance(role, str) or not role:
        raise BadRequest(f"{where}.role must be a non-empty string, not {role!r}")
    if content is not None and not isinstance(content, str | list):
        raise BadRequest(f"{where}.content must be a string, a list of parts or null, not {content!r}")
    for number, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type", "text") if isinstance(part, dict) else "text" if isinstance(part, str) else None
        if kind not in PARTS:
            raise BadRequest(f"{where}.content[{number}] must be a part of a known type, not {part!r}")
    if calls is not None and not isinstance(calls, list):
        raise BadRequest(f"{where}.tool_calls must be a list, not {calls!r}")
    for number, call in enumerate(calls or ()):
        if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
            raise BadRequest(f"{where}.tool_calls[{number}] must be an object with an object function, not {call!r}")
