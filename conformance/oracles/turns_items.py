"""The items of one streamed response, in order and one at a time.

Knows the raw events of the Responses wire, in every spelling that servers use; never turns or steps. A server may
stream several items at once. A reader of steps cannot take them so: each item's deeds come out together, those of the
item that was added first first, and what comes early for a later item waits.

No deed is lost: text and arguments that only a `done` event or only the terminal event has are handed on as well.

Sources: contract LS-TOL-01..03, -08, LS-RAW-02, LS-TRN-11, -12, -16.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from conformance.oracles.turns_events import ToolCall
from conformance.oracles.wording import parse_json

SERVER_ITEMS: Mapping[str, str] = {
    "web_search": "web_search",
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "mcp_call": "mcp_call",
    "mcp_list_tools": "mcp_list_tools",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
}
"""Types of items of tools that the server runs -> `tool_type`."""

SERVER_NAMES: Mapping[str, str] = {
    "file_search": "file_search",
    "knowledge_search": "file_search",
    "web_search": "web_search",
    "query_from_memory": "function",
    "memory_retrieval": "function",
}
"""Names of functions that the server runs, unless the client registered a tool of that name -> `tool_type`."""

OTHER_CLIENT_ITEMS = (
    "custom_tool_call",
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "mcp_approval_request",
)
"""Items that ask the client for something that is not a function call."""

ARGUMENT_DELTAS = (
    "response.function_call_arguments.delta",
    "response.output_item.delta",
    "response.mcp_call_arguments.delta",
)


@dataclass(frozen=True, slots=True)
class Said:
    text: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A call begins; `server` tells who runs it."""

    call: ToolCall
    tool_type: str
    server: bool


@dataclass(frozen=True, slots=True)
class Argued:
    call_id: str
    piece: str


@dataclass(frozen=True, slots=True)
class Called:
    """A call is complete."""

    call: ToolCall
    server: bool


Deed: TypeAlias = Said | Issued | Argued | Called


@dataclass(slots=True, eq=False)
class _Item:
    item_id: str
    call: ToolCall | None = None
    tool_type: str = ""
    server: bool = False
    shown: str = ""
    """Arguments that were handed on."""
    texts: dict[int, str] = field(default_factory=dict)
    """Content index -> text that was handed on."""
    announced: bool = True
    """Whether the server added the item before it streamed it."""
    done: bool = False
    waiting: list[Deed] = field(default_factory=list)


class Items:
    """The items of one response. `unsupported` is the type of the first that asks the client for what it cannot do."""

    def __init__(self, client_tools: Collection[str]) -> None:
        self.unsupported = ""
        self._client_tools = client_tools
        self._ids: dict[str, _Item] = {}
        self._indices: dict[int, _Item] = {}
        self._queue: list[_Item] = []
        self._nameless: _Item | None = None
        """Text that came for no item; it belongs to the next message that turns up."""

    def take(self, raw: Mapping[str, Any]) -> list[Deed]:
        """The deeds that the next raw event brings to light."""
        kind = raw.get("type")
        value = raw.get("item")
        if kind == "response.output_item.added" and isinstance(value, Mapping):
            return list(self._added(value, raw.get("output_index"), whole=False))
        if kind == "response.output_item.done" and isinstance(value, Mapping):
            return list(self._done(value, raw.get("output_index")))
        if kind in ("response.output_text.delta", "response.output_text.done"):
            return list(self._text(raw))
        if kind in ARGUMENT_DELTAS or kind == "response.function_call_arguments.done":
            return list(self._arguments(raw))
        return []

    def finish(self, output: object) -> list[Deed]:
        """The deeds that were still waiting, and those that only the `output` of the terminal event has."""
        deeds: list[Deed] = []
        for index, value in enumerate(output if isinstance(output, list) else []):
            if isinstance(value, Mapping):
                deeds += self._done(value, index)
        for item in self._queue:
            deeds += item.waiting
            if item.call and not item.done:
                item.done = True
                deeds.append(Called(_with_arguments(item.call, item.shown), item.server))
        self._queue = []
        return deeds

    def _added(self, value: Mapping[str, Any], index: object, whole: bool) -> Iterator[Deed]:
        if self._known(value, index) is not None:
            return
        made = self._made(value, whole)
        if made is None:
            return
        if made.call is None and self._nameless is not None:
            made, self._nameless = self._nameless, None
            made.item_id = _id_of(value)
        for key in (made.item_id, _text_of(value, "call_id")):
            if key:
                self._ids[key] = made
        if isinstance(index, int):
            self._indices[index] = made
        if made.call:
            yield from self._hand_on(made, Issued(made.call, made.tool_type, made.server))
        elif made not in self._queue:
            self._queue.append(made)

    def _made(self, value: Mapping[str, Any], whole: bool) -> _Item | None:
        kind, item_id = value.get("type"), _id_of(value)
        if kind == "message":
            return _Item(item_id)
        if kind in OTHER_CLIENT_ITEMS:
            self.unsupported = self.unsupported or str(kind)
            return None
        name, call_id = _text_of(value, "name"), _text_of(value, "call_id") or item_id
        if kind == "function_call":
            if not whole and not (name and _text_of(value, "call_id")):
                return None  # who runs it, and under which id, is known only when it is done
            server = name not in self._client_tools and (name in SERVER_NAMES or name.startswith("mcp_"))
            tool_type = SERVER_NAMES.get(name, "function") if server else "function"
        elif isinstance(kind, str) and kind in SERVER_ITEMS:
            server, tool_type, name = True, SERVER_ITEMS[kind], kind
        else:
            return None
        known = _text_of(value, "arguments") if not whole else _arguments_of(value)
        call = ToolCall(call_id or f"call_{len(self._ids)}", name or "unnamed", known)
        return _Item(item_id, call, tool_type, server, known)

    def _done(self, value: Mapping[str, Any], index: object) -> Iterator[Deed]:
        if self._known(value, index) is None:
            yield from self._added(value, index, whole=True)
        item = self._known(value, index)
        if item is None or item.done:
            return
        if item.call:
            arguments = _arguments_of(value) or item.shown
            yield from self._show(item, arguments)
            item.done = True
            yield from self._hand_on(item, Called(_with_arguments(item.call, arguments), item.server))
        else:
            content = value.get("content")
            for number, part in enumerate(content if isinstance(content, list) else []):
                if isinstance(part, Mapping) and part.get("type") == "output_text":
                    yield from self._say(item, number, _text_of(part, "text"), whole=True)
            item.done = True
        yield from self._advance()

    def _text(self, raw: Mapping[str, Any]) -> Iterator[Deed]:
        whole = raw.get("type") == "response.output_text.done"
        item = self._known(raw, raw.get("output_index"), "item_id")
        if item is None and _text_of(raw, "item_id"):
            item = self._ids[raw["item_id"]] = _Item(raw["item_id"], announced=False)
        elif item is None or item.call:
            item = self._nameless = self._nameless or _Item("", announced=False)
        index = raw.get("content_index")
        yield from self._say(
            item, index if isinstance(index, int) else 0, _text_of(raw, "text" if whole else "delta"), whole
        )

    def _say(self, item: _Item, index: int, text: str, whole: bool) -> Iterator[Deed]:
        known = item.texts.get(index, "")
        piece = text.removeprefix(known) if whole and text.startswith(known) else "" if whole else text
        if piece:
            item.texts[index] = known + piece
            yield from self._hand_on(item, Said(piece))

    def _arguments(self, raw: Mapping[str, Any]) -> Iterator[Deed]:
        item = self._known(raw, raw.get("output_index"), "item_id")
        if item is None or item.call is None or item.done:
            return
        if raw.get("type") == "response.function_call_arguments.done":
            yield from self._show(item, _text_of(raw, "arguments"))
            return
        delta = raw.get("delta")
        piece = _text_of(delta, "arguments") if isinstance(delta, Mapping) else _text_of(raw, "delta")
        if not isinstance(parse_json(item.call.arguments)[0], dict):  # else the item had them all when it was added
            yield from self._show(item, item.shown + piece)

    def _show(self, item: _Item, arguments: str) -> Iterator[Deed]:
        """Hand on what `arguments` have beyond what was shown. Where they contradict it, the completed call tells."""
        if item.call and arguments.startswith(item.shown) and arguments != item.shown:
            piece, item.shown = arguments[len(item.shown) :], arguments
            yield from self._hand_on(item, Argued(item.call.call_id, piece))

    def _known(self, value: Mapping[str, Any], index: object, key: str = "id") -> _Item | None:
        """The item that `value` speaks of: by its id, by its call, or, where one of the two has no id, by its index."""
        for text in (_text_of(value, key), _text_of(value, "call_id")):
            if text in self._ids:
                return self._ids[text]
        item = self._indices.get(index) if isinstance(index, int) else None
        return item if item is None or not (item.item_id and _text_of(value, key)) else None

    def _hand_on(self, item: _Item, deed: Deed) -> Iterator[Deed]:
        if item not in self._queue:
            self._queue.append(item)
        item.waiting.append(deed)
        yield from self._advance()

    def _advance(self) -> Iterator[Deed]:
        while self._queue:
            first = self._queue[0]
            waiting, first.waiting = first.waiting, []
            yield from waiting
            # A text that was never added has no end of its own: the next item ends it.
            if not first.done and (first.announced or len(self._queue) == 1):
                return
            self._queue.remove(first)


def _id_of(value: Mapping[str, Any]) -> str:
    return _text_of(value, "id")


def _text_of(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    return text if isinstance(text, str) else ""


def _arguments_of(value: Mapping[str, Any]) -> str:
    """The arguments of a whole item as JSON text; typed items of server tools spell them as fields of their own."""
    if isinstance(value.get("arguments"), str):
        return _text_of(value, "arguments")
    if isinstance(value.get("action"), Mapping):
        return json.dumps(value["action"], ensure_ascii=False)
    fields: Iterable[str] = ("queries", "code")
    known = {key: value[key] for key in fields if value.get(key)}
    return json.dumps(known, ensure_ascii=False) if known else ""


def _with_arguments(call: ToolCall, arguments: str) -> ToolCall:
    return ToolCall(call.call_id, call.tool_name, arguments)
