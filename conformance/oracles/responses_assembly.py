"""OpenAI Responses on the wire: the response that a stream amounts to.

Knows events; judges nothing. The output comes from the events of the items, piece by piece, and never from the terminal
event, so that the two can be held against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.oracles.wording import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.oracles.sse import Event

PIECES: Mapping[str, str] = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
"""Event -> the field of the item that its deltas make up."""

TEXTS: Mapping[str, tuple[str, str, str, str]] = {
    "response.output_text.delta": ("content", "content_index", "output_text", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "summary_text", "text"),
}
"""Event -> the item's list of parts, the index into it, the part's type, and the field that the deltas make up."""

PARTS: Mapping[str, tuple[str, str]] = {
    "response.content_part.added": ("content", "content_index"),
    "response.reasoning_summary_part.added": ("summary", "summary_index"),
}


def assemble(events: Sequence[Event]) -> dict[str, Any]:
    """The response that a stream amounts to, in the form of a plain body; whatever can be made of a broken stream.

    What the deltas say counts; an item's `done` adds what no delta carries. An `error` event ends it and stands under
    `error`. A stream without events of items has the output of its terminal event.
    """
    body: dict[str, Any] = {}
    items: dict[int, dict[str, Any]] = {}
    for event in events:
        data, _ = parse_json(event.data)
        if not isinstance(data, dict):
            continue
        kind = data.get("type")
        if kind == "error":
            body["error"] = {key: value for key, value in data.items() if key not in ("type", "sequence_number")}
            break
        response = data.get("response")
        if isinstance(response, dict):
            body.update(response)
            if kind in ("response.completed", "response.incomplete", "response.failed"):
                break
        index = data.get("output_index")
        if isinstance(kind, str) and isinstance(index, int):
            _add(items, index, kind, data)
    if items:
        body["output"] = [items[index] for index in sorted(items)]
    return body


def _add(items: dict[int, dict[str, Any]], index: int, kind: str, data: dict[str, Any]) -> None:
    if kind == "response.output_item.added" and isinstance(data.get("item"), dict):
        items[index] = dict(data["item"])
    elif kind == "response.output_item.done" and isinstance(data.get("item"), dict):
        items[index] = _completed(items.get(index, {}), data["item"])
    elif index in items and kind in PIECES:
        _append(items[index], PIECES[kind], data.get("delta"))
    elif index in items and kind in TEXTS:
        field, position, part_type, text = TEXTS[kind]
        part = _part(items[index], field, data.get(position))
        part.setdefault("type", part_type)
        _append(part, text, data.get("delta"))
    elif index in items and kind in PARTS and isinstance(data.get("part"), dict):
        field, position = PARTS[kind]
        _part(items[index], field, data.get(position)).update(data["part"])
    elif index in items and kind == "response.output_text.annotation.added":
        part = _part(items[index], "content", data.get("content_index"))
        known = part.get("annotations")
        part["annotations"] = [*(known if isinstance(known, list) else []), data.get("annotation")]


def _append(target: dict[str, Any], field: str, piece: object) -> None:
    known = target.get(field)
    if isinstance(piece, str):
        target[field] = known + piece if isinstance(known, str) else piece


def _part(item: dict[str, Any], field: str, index: object) -> dict[str, Any]:
    """The part at `index` of the item's list; a new one where there is none."""
    known = item.get(field)
    held: list[dict[str, Any]] = (
        [dict(part) if isinstance(part, dict) else {} for part in known] if isinstance(known, list) else []
    )
    item[field] = held
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(held):
        index = len(held)
        held.append({})
    return held[index]


def _completed(streamed: dict[str, Any], done: dict[str, Any]) -> dict[str, Any]:
    """The item as it was streamed, with what only its `done` says."""
    merged = dict(done)
    for field in ("arguments", "input", "code"):
        if isinstance(streamed.get(field), str) and streamed[field]:
            merged[field] = streamed[field]
    for field in ("content", "summary"):
        parts, final = streamed.get(field), done.get(field)
        if isinstance(parts, list) and parts:
            known = final if isinstance(final, list) else []
            merged[field] = [
                {**(known[number] if number < len(known) and isinstance(known[number], dict) else {}), **part}
                if isinstance(part, dict)
                else part
                for number, part in enumerate(parts)
            ]
    return merged
