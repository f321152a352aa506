"""OpenAI Responses on the wire: one item of a response's output or of a conversation, judged by its type.

Knows items and their content parts; never the order of items, nor events.

Sources: wire_facts (OpenAI Responses), contract LS-REQ-07, LS-RAW-03.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.oracles.arguments import arguments
from conformance.oracles.schema import Finding, mismatches, parts
from conformance.oracles.wording import Path, brief, described

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ARGUMENTS: Mapping[str, str] = {"function_call": "arguments", "mcp_call": "arguments"}
"""Item type -> the field that holds JSON text."""

CLIENT_CALLS = ("function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call")
"""Types of items that ask the client for something, and have the `call_id` under which it answers."""

INPUT_PARTS = ("input_text", "input_image", "input_file", "input_audio", "text")
OUTPUT_PARTS = ("output_text", "refusal")


def item(path: Path, value: object, whole: bool = True) -> Iterator[Finding]:
    """Judge the item at `path`. `whole` is False for one that has only begun: its arguments are not JSON yet."""
    if not isinstance(value, dict):
        yield Finding(path, "an item, an object", described(value))
        return
    kind = value.get("type")
    known = parts("responses.items")
    if not isinstance(kind, str) or kind not in known:
        actual = described(kind) if "type" in value else "nothing: the field is missing"
        yield Finding((*path, "type"), f"one of {', '.join(known)}", actual)
        return
    yield from mismatches(value, f"responses.items#{kind}", path)
    if kind == "message":
        allowed = OUTPUT_PARTS if value.get("role") == "assistant" else (*INPUT_PARTS, *OUTPUT_PARTS)
        yield from _parts((*path, "content"), value.get("content"), allowed)
    elif kind == "reasoning":
        yield from _parts((*path, "summary"), value.get("summary"), ("summary_text",))
        yield from _parts((*path, "content"), value.get("content"), ("reasoning_text",))
    field = ARGUMENTS.get(kind, "")
    text = value.get(field)
    if whole and isinstance(text, str) and value.get("status") != "incomplete":
        yield from arguments((*path, field), text)


def part(path: Path, value: object, allowed: tuple[str, ...]) -> Iterator[Finding]:
    """Judge the content part at `path`, whose type is one of `allowed`."""
    if not isinstance(value, dict):
        yield Finding(path, "a content part, an object", described(value))
        return
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in allowed:
        actual = described(kind) if "type" in value else "nothing: the field is missing"
        yield Finding((*path, "type"), f"one of {', '.join(allowed)}", actual)
    if isinstance(kind, str) and kind in parts("responses.parts"):
        yield from mismatches(value, f"responses.parts#{kind}", path)


def own_ids(path: Path, items: list[Any]) -> Iterator[Finding]:
    """Each item has an id, and each call a `call_id`, that no other one has."""
    for key, kinds in (("id", None), ("call_id", CLIENT_CALLS)):
        seen: set[str] = set()
        for number, entry in enumerate(items):
            value = (
                entry.get(key) if isinstance(entry, dict) and (kinds is None or entry.get("type") in kinds) else None
            )
            if isinstance(value, str) and value:
                if value in seen:
                    yield Finding((*path, number, key), "an id of its own", f"{brief(value)}, as an earlier item")
                seen.add(value)


def _parts(path: Path, content: object, allowed: tuple[str, ...]) -> Iterator[Finding]:
    for number, content_part in enumerate(content if isinstance(content, list) else []):
        yield from part((*path, number), content_part, allowed)
