"""The shape of a response for snapshots: its JSON type tree, without anything that differs from run to run.

Knows JSON and events; never a wire. A text becomes `"string"`, a number `"integer"` or `"number"`; the fields in
`LITERAL` keep their text, as a change of theirs is a change of shape. An array becomes the list of its distinct element
shapes in a fixed order, so neither the number of elements nor their order matters; object keys are sorted.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from conformance.oracles.sse import DONE, Event
from conformance.oracles.wording import parse_json, printable, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Shape: TypeAlias = "str | list[Shape] | dict[str, Shape]"

LITERAL = frozenset({"object", "type", "role", "finish_reason", "stop_reason", "status"})
"""Fields whose text is a word of the wire."""

MAX_DEPTH = 64
"""Below this depth a shape is cut to `"..."`."""


def shape(document: object, literal: Iterable[str] = LITERAL) -> Shape:
    """The JSON type tree of `document`; itself JSON."""
    return _shape(document, frozenset(literal), MAX_DEPTH)


def stream_shape(events: Sequence[Event], literal: Iterable[str] = LITERAL) -> list[Shape]:
    """The shapes of the events in order; a run of events of the same shape counts once, so a text that comes in one
    piece has the shape of a text that comes in ten."""
    folded: list[Shape] = []
    for event in events:
        data, wrong = parse_json(event.data)
        tree = _shape(data, frozenset(literal), MAX_DEPTH) if not wrong else DONE if event.data == DONE else "string"
        entry: Shape = {"data": tree} if event.event == "message" else {"data": tree, "event": printable(event.event)}
        if not folded or folded[-1] != entry:
            folded.append(entry)
    return folded


def _shape(document: object, literal: frozenset[str], depth: int) -> Shape:
    if not depth:
        return "..."
    if isinstance(document, dict):
        tree: dict[str, Shape] = {}
        for key in sorted(document, key=str):
            value = document[key]
            keep = key in literal and isinstance(value, str)
            tree[printable(str(key))] = f"= {printable(value)}" if keep else _shape(value, literal, depth - 1)
        return tree
    if isinstance(document, list | tuple):
        distinct = {
            json.dumps(item_shape): item_shape for item_shape in (_shape(item, literal, depth - 1) for item in document)
        }
        return [distinct[key] for key in sorted(distinct)]
    return "boolean" if isinstance(document, bool) else type_name(document)
