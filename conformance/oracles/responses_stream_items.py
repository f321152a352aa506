"""OpenAI Responses on the wire: the events of the items of one response.

Knows what belongs to one `output_index`; never the response around it. For each item:

    output_item.added -> the events of its parts or of its arguments -> output_item.done

and for each part of a message: content_part.added -> deltas -> the text's done -> content_part.done. What a `done` says
is what its deltas say joined, and an item has the id, the type, the name and the call_id that it was added with. Items
may be open at the same time; they are added in the order of their index.

Sources: wire_facts (OpenAI Responses), contract LS-RAW-01..04.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.oracles.responses_items import item, part
from conformance.oracles.schema import Finding
from conformance.oracles.wording import Path, brief, counted, described

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARTS: Mapping[str, tuple[str, str]] = {
    "response.content_part": ("content", "content_index"),
    "response.reasoning_summary_part": ("summary", "summary_index"),
}
"""Events of a part -> the item's list that it belongs to, and the index into it."""

TEXTS: Mapping[str, tuple[str, str, str, str]] = {
    "response.output_text": ("content", "content_index", "output_text", "text"),
    "response.refusal": ("content", "content_index", "refusal", "refusal"),
    "response.reasoning_text": ("content", "content_index", "reasoning_text", "text"),
    "response.reasoning_summary_text": ("summary", "summary_index", "summary_text", "text"),
}
"""Events of a text -> the list, the index into it, the type of the part, and the field of the text."""

PIECES: Mapping[str, tuple[str, str]] = {
    "response.function_call_arguments": ("function_call", "arguments"),
    "response.mcp_call_arguments": ("mcp_call", "arguments"),
    "response.custom_tool_call_input": ("custom_tool_call", "input"),
    "response.code_interpreter_call_code": ("code_interpreter_call", "code"),
}
"""Events of a text that is the item's own -> the type of the item, and its field."""

DEPTH = 32

_TEXT_OF = {kind: stem for stem, (name, _, kind, _) in TEXTS.items() if name == "content" and kind != "reasoning_text"}
"""Type of a part -> the stem of the events of its text. Reasoning is streamed without a done of its text, too."""

_NO_DONE = "clients that wait for the whole text or arguments wait for this event"

TWICE = "clients put the deltas behind what is there already, so it counts twice"


@dataclass(slots=True)
class _Text:
    """The deltas joined, and what a `done` said instead: the second one to say so is not blamed again."""

    joined: str = ""
    claimed: str | None = None

    def says(self, path: Path, text: object) -> Iterator[Finding]:
        """Judge what an event at `path` says the text is."""
        if isinstance(text, str) and text not in (self.joined, self.claimed):
            yield Finding(path, f"{brief(self.joined)}, the deltas joined", brief(text), _twice(self.joined, text))
            self.claimed = text


@dataclass(slots=True)
class _Part:
    kind: str
    text: _Text = field(default_factory=_Text)
    text_done: bool = False
    done: bool = False


@dataclass(slots=True)
class _Item:
    """What the stream has said of one item so far."""

    item_id: object
    kind: str
    added: dict[str, Any] = field(default_factory=dict)
    parts: dict[tuple[str, int], _Part] = field(default_factory=dict)
    pieces: _Text = field(default_factory=_Text)
    pieces_done: bool = False
    final: dict[str, Any] | None = None


class Items:
    """One pass over the events of the items. Paths are those in the event's JSON."""

    def __init__(self) -> None:
        self.items: dict[int, _Item] = {}

    def take(self, kind: str, data: dict[str, Any]) -> Iterator[Finding]:
        """Judge the next event of type `kind`, which is none that carries the response."""
        if kind == "response.output_item.added":
            yield from self._added(data)
            return
        index = data.get("output_index")
        if isinstance(index, bool) or not isinstance(index, int):
            return
        known = self.items.get(index)
        if known is None:
            expected = "the index of an item that was added"
            yield Finding(("output_index",), expected, brief(index), "response.output_item.added comes first")
            if kind == "response.output_item.done" and isinstance(data.get("item"), dict):
                self.items[index] = _Item(data["item"].get("id"), str(data["item"].get("type")), final=data["item"])
            return
        if known.final is not None:
            yield Finding((), f"nothing of item {index} after its response.output_item.done", kind)
            return
        if "item_id" in data and isinstance(known.item_id, str) and data["item_id"] != known.item_id:
            yield Finding(("item_id",), f"{brief(known.item_id)}, the id of item {index}", described(data["item_id"]))
        stem, _, step = kind.rpartition(".")
        if kind == "response.output_item.done":
            yield from _item_done(known, data)
        elif stem in PARTS:
            yield from _part_event(known, *PARTS[stem], step, data)
        elif stem in TEXTS:
            yield from _text_event(known, stem, step, data)
        elif stem in PIECES:
            yield from _piece_event(known, stem, step, data)
        elif kind != "response.output_text.annotation.added" and stem != f"response.{known.kind}":
            yield Finding(("type",), f"an event of a {known.kind} item", kind)

    def at_end(self, kind: str, response: object) -> Iterator[Finding]:
        """Judge the output of the terminal event `kind` against what was streamed. A failed response may lack items."""
        if kind == "response.failed":
            return
        for index, known in sorted(self.items.items()):
            if known.final is None:
                yield Finding((), f"response.output_item.done for item {index} before {kind}", "none")
        output = response.get("output") if isinstance(response, dict) else None
        if not isinstance(output, list):
            return
        path: Path = ("response", "output")
        streamed = [known.final for _, known in sorted(self.items.items())]
        if len(output) != len(streamed):
            hint = "" if output else "clients read the output from the terminal event"
            yield Finding(path, f"{counted(len(streamed), 'item')}, as streamed", str(len(output)), hint)
        for number, (wanted, actual) in enumerate(zip(streamed, output, strict=False)):
            if wanted is None:
                continue
            if isinstance(actual, dict) and wanted.get("id") != actual.get("id"):
                expected = f"{brief(wanted.get('id'))}, as streamed"
                yield Finding((*path, number, "id"), expected, described(actual.get("id")))
            else:
                yield from _differences((*path, number), wanted, actual)

    def _added(self, data: dict[str, Any]) -> Iterator[Finding]:
        index, value = data.get("output_index"), data.get("item")
        if isinstance(index, bool) or not isinstance(index, int):
            index = len(self.items)
        elif index != len(self.items):
            yield Finding(("output_index",), f"{len(self.items)}, the next item", brief(index))
        if not isinstance(value, dict):
            return
        yield from item(("item",), value, whole=False)
        kind, item_id = value.get("type"), value.get("id")
        for name in ("content", "summary", "arguments", "input", "code"):
            if isinstance(value.get(name), str | list) and value[name]:
                empty = '""' if isinstance(value[name], str) else "[]"
                yield Finding(("item", name), f"{empty} in output_item.added", brief(value[name]), TWICE)
        ids = [known.item_id for known in self.items.values()]
        if isinstance(item_id, str) and item_id in ids:
            yield Finding(("item", "id"), "an id of its own", f"{brief(item_id)}, as an earlier item")
        self.items[index] = _Item(item_id, kind if isinstance(kind, str) else "", value)


def _part_event(known: _Item, name: str, position: str, step: str, data: dict[str, Any]) -> Iterator[Finding]:
    index, value = data.get(position), data.get("part")
    if isinstance(index, bool) or not isinstance(index, int) or not isinstance(value, dict):
        return
    kind = value.get("type")
    allowed = ("summary_text",) if name == "summary" else ("output_text", "refusal", "reasoning_text")
    yield from part(("part",), value, allowed)
    text_of = "refusal" if kind == "refusal" else "text"
    text = value.get(text_of)
    held = known.parts.get((name, index))
    if step == "added":
        count = sum(1 for where, _ in known.parts if where == name)
        if held is not None or index != count:
            yield Finding((position,), f"{count}, the next part", brief(index))
        if isinstance(text, str) and text:
            yield Finding(("part", text_of), '"" in the event that adds the part', brief(text), TWICE)
        known.parts[name, index] = _Part(kind if isinstance(kind, str) else "")
    elif held is None:
        yield Finding((position,), "the index of a part that was added", brief(index))
    else:
        if held.done:
            yield Finding((), "one done event for a part", "another one")
        elif not held.text_done and held.kind in _TEXT_OF:
            yield Finding((), f"{_TEXT_OF[held.kind]}.done before the part is done", "none", _NO_DONE)
        held.done = True
        yield from held.text.says(("part", text_of), text)


def _text_event(known: _Item, stem: str, step: str, data: dict[str, Any]) -> Iterator[Finding]:
    name, position, kind, text_of = TEXTS[stem]
    index = data.get(position)
    if isinstance(index, bool) or not isinstance(index, int):
        return
    held = known.parts.get((name, index))
    if held is None:
        if name == "content" and kind != "reasoning_text":
            hint = "response.content_part.added comes first"
            yield Finding((position,), "the index of a part that was added", brief(index), hint)
        # Reasoning is streamed without events of its parts too.
        held = known.parts[name, index] = _Part(kind, done=kind == "reasoning_text")
    elif held.kind != kind:
        yield Finding(("type",), f"an event of a part of type {held.kind or 'unknown'}", f"{stem}.{step}")
    elif held.done and kind != "reasoning_text":
        yield Finding((), f"nothing of part {index} after its done event", f"{stem}.{step}")
    if step == "delta" and isinstance(data.get("delta"), str):
        held.text.joined += data["delta"]
    elif step == "done":
        held.text_done = True
        yield from held.text.says((text_of,), data.get(text_of))


def _piece_event(known: _Item, stem: str, step: str, data: dict[str, Any]) -> Iterator[Finding]:
    kind, name = PIECES[stem]
    if known.kind != kind:
        yield Finding(("type",), f"an event of a {known.kind or 'known'} item", f"{stem}.{step}")
    if known.pieces_done:
        yield Finding((), f"nothing after {stem}.done", f"{stem}.{step}")
    elif step == "delta" and isinstance(data.get("delta"), str):
        known.pieces.joined += data["delta"]
    elif step == "done":
        known.pieces_done = True
        yield from known.pieces.says((name,), data.get(name))


def _item_done(known: _Item, data: dict[str, Any]) -> Iterator[Finding]:
    value = data.get("item")
    if not isinstance(value, dict):
        return
    yield from item(("item",), value)
    known.final = value
    same = {"id": known.item_id, "type": known.kind, **{name: known.added.get(name) for name in ("name", "call_id")}}
    for name, wanted in same.items():
        if isinstance(value.get(name), str) and isinstance(wanted, str) and value[name] != wanted:
            yield Finding(("item", name), f"{brief(wanted)}, as in output_item.added", brief(value[name]))
    if known.kind == "function_call" and known.pieces.joined and not known.pieces_done:
        stem = "response.function_call_arguments"
        yield Finding((), f"{stem}.done before the item is done", "none", _NO_DONE)
    for kind, name in PIECES.values():
        # Only for functions does every server stream the arguments.
        if value.get("type") == kind and (known.pieces.joined or kind == "function_call"):
            yield from known.pieces.says(("item", name), value.get(name))
    for name in ("content", "summary"):
        yield from _parts_done(known, name, value.get(name))


def _parts_done(known: _Item, name: str, listed: object) -> Iterator[Finding]:
    held = {index: streamed for (where, index), streamed in known.parts.items() if where == name}
    for index, streamed in held.items():
        if not streamed.done:
            yield Finding((), f"a done event for part {index} before output_item.done", "none")
    if not isinstance(listed, list):
        return
    if len(listed) != len(held) and (held or known.kind == "message"):
        expected = f"{counted(len(held), 'part')}, as streamed"
        yield Finding(("item", name), expected, str(len(listed)))
    for index, streamed in held.items():
        text_of = "refusal" if streamed.kind == "refusal" else "text"
        text = listed[index].get(text_of) if index < len(listed) and isinstance(listed[index], dict) else None
        yield from streamed.text.says(("item", name, index, text_of), text)


def _differences(path: Path, wanted: object, actual: object) -> Iterator[Finding]:
    """Where `actual` is not what was streamed, leaf by leaf; what is deeper than any item goes unjudged."""
    if len(path) > DEPTH:
        return
    if isinstance(wanted, dict) and isinstance(actual, dict):
        for key in [*wanted, *(key for key in actual if key not in wanted)]:
            if key not in actual:
                yield Finding((*path, key), f"{brief(wanted[key])}, as streamed", "nothing: the field is missing")
            elif key not in wanted:
                yield Finding((*path, key), "nothing, as streamed", brief(actual[key]))
            else:
                yield from _differences((*path, key), wanted[key], actual[key])
    elif isinstance(wanted, list) and isinstance(actual, list) and len(wanted) == len(actual):
        for number, (wanted_item, actual_item) in enumerate(zip(wanted, actual, strict=True)):
            yield from _differences((*path, number), wanted_item, actual_item)
    elif isinstance(wanted, dict | list) or type(wanted) is not type(actual) or wanted != actual:
        yield Finding(path, f"{brief(wanted)}, as streamed", brief(actual))


def _twice(once: str, text: str) -> str:
    if once and text == once + once:
        return "the arguments were sent twice"
    return "the deltas were sent twice" if text and once == text + text else ""
