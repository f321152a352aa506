"""Items of the Responses wire <-> canonical messages.

Knows the items that clients send and those that a generation is shown as. A generation is one assistant message to the
session and to a chat client, and several items here: reasoning, a message, calls. `lower` puts them together again, so
that a conversation is the same conversation on every wire (contract X-01, X-07).

- A message of the assistant and the calls behind it are one message, unless they are known to be of two generations.
- Reasoning belongs to the assistant message that follows it.
- What a tool of the server said stands behind the message that called it, in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from reference_gateway.session.conversations import Item, Kept, Known, item_id
from reference_gateway.tools.arguments import dump_arguments, parse_arguments
from reference_gateway.types import Message
from reference_gateway.wire import compaction_item, input_files
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.media import media_url

ROLES = ("user", "assistant", "system", "developer")
SERVER_CALLS = ("file_search_call", "mcp_call")
_TEXT = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
"""Type of a content part -> its field with the text."""
_IMAGE = "input_image"


def read_input(response_input: Any, known: Known, media: bool = False, field: str = "input") -> list[Item]:
    """The items of a request's `input`, or other `field`, in full form, which may have images where `media` says so.
    Raises `RequestRefused` naming the field."""
    if isinstance(response_input, str):
        return [_spoken("user", [{"type": "input_text", "text": response_input}])]
    if not isinstance(response_input, list):
        raise RequestRefused(f"{field} must be a string or a list of items")
    return [_item(item, f"{field}[{place}]", known, media) for place, item in enumerate(response_input)]


def _item(item: Any, where: str, known: Known, media: bool) -> Item:
    if not isinstance(item, dict):
        raise RequestRefused(f"{where} must be an object")
    kind = item.get("type")
    if kind is None:  # which may be left out of what is told by its fields
        kind = "message" if "role" in item else "item_reference" if item.keys() - {"type"} == {"id"} else None
    if kind == "item_reference":
        kept = known(item.get("id"))
        if kept is None:
            raise RequestRefused(f"{where}.id must be the id of an item of this session")
        return dict(kept.item)
    if not isinstance(kind, str) or kind not in _READERS:
        raise RequestRefused(f"{where}.type is not supported: expected one of {', '.join(_READERS)}")
    own_id = item.get("id")
    if own_id is not None and not isinstance(own_id, str):
        raise RequestRefused(f"{where}.id must be a string")
    return {**({"id": own_id} if own_id else {}), **_READERS[kind](item, where, media)}


def _message(item: Item, where: str, media: bool) -> Item:
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise RequestRefused(f"{where}.role must be one of {', '.join(ROLES)}")
    kind = "output_text" if role == "assistant" else "input_text"
    if isinstance(content, str):
        content = [{"type": kind, "text": content}]
    elif not isinstance(content, list):
        raise RequestRefused(f"{where}.content must be a string or a list of parts")
    media = media and role != "assistant"
    return _spoken(role, [_part(part, f"{where}.content[{place}]", media) for place, part in enumerate(content)])


def _part(part: Any, where: str, media: bool) -> Item:
    if not isinstance(part, dict):
        raise RequestRefused(f"{where} must be an object with a type")
    kind = part.get("type")
    if media and kind == _IMAGE:
        return _image(part, where)
    if kind == input_files.TYPE:
        return input_files.read_file(part, where)
    name = _TEXT.get(kind) if isinstance(kind, str) else None
    if name is None:
        takes = f"text, {input_files.TYPE} and {_IMAGE} parts" if media else f"text and {input_files.TYPE} parts"
        raise RequestRefused(f"{where}.type is not supported: this gateway takes {takes}")
    if not isinstance(part.get(name), str):
        raise RequestRefused(f"{where}.{name} must be a string")
    annotations: Item = {"annotations": []} if kind == "output_text" else {}
    return {"type": kind, name: part[name], **annotations}


def _image(part: Item, where: str) -> Item:
    detail = part.get("detail")
    if not isinstance(detail, str | None):
        raise RequestRefused(f"{where}.detail must be a string")
    return {
        "type": _IMAGE,
        "image_url": media_url(part.get("image_url"), f"{where}.image_url"),
        "detail": detail or "auto",
    }


def _call(item: Item, where: str, _: bool) -> Item:
    for name in ("call_id", "name"):
        if not isinstance(item.get(name), str) or not item[name]:
            raise RequestRefused(f"{where}.{name} must be a non-empty string")
    arguments = item.get("arguments")
    if not isinstance(arguments, str | None):
        raise RequestRefused(f"{where}.arguments must be a string of JSON")
    fields = {"call_id": item["call_id"], "name": item["name"], "arguments": arguments or "{}"}
    return {"type": "function_call", "status": "completed", **fields}


def _output(item: Item, where: str, media: bool) -> Item:
    call_id, output = item.get("call_id"), item.get("output")
    if not isinstance(call_id, str) or not call_id:
        raise RequestRefused(f"{where}.call_id must be a non-empty string")
    if isinstance(output, list):
        output = [_part(part, f"{where}.output[{place}]", media) for place, part in enumerate(output)]
    elif not isinstance(output, str):
        raise RequestRefused(f"{where}.output must be a string or a list of parts")
    return {"type": "function_call_output", "status": "completed", "call_id": call_id, "output": output}


def _reasoning(item: Item, where: str, _: bool) -> Item:
    read: Item = {"type": "reasoning"}
    for name in ("summary", "content"):
        parts = item.get(name)
        if not isinstance(parts, list | None):
            raise RequestRefused(f"{where}.{name} must be a list of parts")
        for place, part in enumerate(parts or ()):
            if not isinstance(part, dict) or not isinstance(part.get("text"), str):
                raise RequestRefused(f"{where}.{name}[{place}] must be an object with a text")
        read[name] = parts or []
    return read


def _server_call(item: Item, where: str, _: bool) -> Item:
    if item["type"] == "mcp_call":
        for name in ("name", "arguments"):
            if not isinstance(item.get(name), str) or not item[name]:
                raise RequestRefused(f"{where}.{name} must be a non-empty string")
    elif not isinstance(item.get("queries"), list):
        raise RequestRefused(f"{where}.queries must be a list")
    return {name: value for name, value in item.items() if name != "id"}


def _compaction(item: Item, where: str, _: bool) -> Item:
    content = item.get("encrypted_content")
    if not isinstance(content, str):
        raise RequestRefused(f"{where}.encrypted_content must be a string")
    return {"type": "compaction", "encrypted_content": content}


_READERS: Mapping[str, Callable[[Item, str, bool], Item]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
    "reasoning": _reasoning,
    "file_search_call": _server_call,
    "mcp_call": _server_call,
    "compaction": _compaction,
}


def lower(items: Sequence[Item], known: Known) -> list[Message]:
    """The canonical messages that these items are."""
    lowering = _Lowering(known)
    for item in items:
        lowering.take(item)
    return lowering.end()


class _Lowering:
    def __init__(self, known: Known) -> None:
        self._known = known
        self._messages: list[Message] = []
        self._open: Message | None = None
        """The assistant message that what follows may still be a part of."""
        self._generation: str | None = None
        self._reasoning = ""
        self._results: list[Message] = []
        """What tools of the server said to the calls of the open message."""

    def take(self, item: Item) -> None:
        kind = item["type"]
        if kind == "reasoning":
            parts = item["content"] or item["summary"]
            self._reasoning += "".join(part["text"] for part in parts)
        elif kind == "message" and item["role"] == "assistant":
            message = self._assistant(item)
            if message["content"]:
                message = self._begin(item)
            message["content"] = _text(item["content"])
        elif kind == "function_call":
            arguments = parse_arguments(item["arguments"])
            self._called(item, _chat_call(item["call_id"], item["name"], arguments), None)
        elif kind in SERVER_CALLS:
            self._executed(item)
        else:
            self._close()
            if kind == "function_call_output":
                output = item["output"]
                content = output if isinstance(output, str) else _content(output)
                self._messages.append({"role": "tool", "content": content, "tool_call_id": item["call_id"]})
            elif kind == "compaction":
                self._messages.append(compaction_item.told(item["encrypted_content"]))
            else:
                self._messages.append({"role": item["role"], "content": _content(item["content"])})

    def end(self) -> list[Message]:
        self._close()
        return self._messages

    def _executed(self, item: Item) -> None:
        kept = self._known(item.get("id"))
        if kept is not None and kept.call is not None:
            self._called(item, dict(kept.call), kept.result)
            return
        call_id = str(item.get("id") or item_id(item["type"]))
        if item["type"] == "mcp_call":
            call = _chat_call(call_id, item["name"], parse_arguments(item["arguments"]))
            output = item.get("output") or item.get("error") or ""
        else:
            call = _chat_call(call_id, "file_search", {"query": " ".join(map(str, item["queries"]))})
            output = "\n".join(
                str(result.get("text", "")) for result in item.get("results") or () if isinstance(result, dict)
            )
        self._called(item, call, {"role": "tool", "content": str(output), "tool_call_id": call_id})

    def _called(self, item: Item, call: dict[str, Any], result: Message | None) -> None:
        self._assistant(item).setdefault("tool_calls", []).append(call)
        if result is not None:
            self._results.append(result)

    def _assistant(self, item: Item) -> Message:
        """The message that the item is a part of: the open one, unless the two are known to be of two generations."""
        kept = self._known(item.get("id"))
        generation = kept.generation if kept is not None else None
        if self._open is None or (generation and self._generation and generation != self._generation):
            return self._begin(item)
        self._generation = self._generation or generation
        return self._open

    def _begin(self, item: Item) -> Message:
        self._close()
        kept = self._known(item.get("id"))
        self._generation = kept.generation if kept is not None else None
        self._open = {"role": "assistant", "content": ""}
        if self._reasoning:
            self._open["reasoning_content"], self._reasoning = self._reasoning, ""
        self._messages.append(self._open)
        return self._open

    def _close(self) -> None:
        self._open, self._generation = None, None
        self._messages += self._results
        self._results = []


def in_issue_order(messages: list[Message], executed: Set[str]) -> list[Message]:
    """The messages, and where both the server and the client answered calls of one message, the answers in the order of
    the calls. Answers of the client alone stay as it sent them."""
    if not executed:
        return messages
    ordered: list[Message] = []
    place = 0
    while place < len(messages):
        message = messages[place]
        ordered.append(message)
        place += 1
        issued = {call["id"]: rank for rank, call in enumerate(message.get("tool_calls") or ())}
        end = place
        while end < len(messages) and messages[end].get("tool_call_id") in issued:
            end += 1
        answers = messages[place:end]
        if not executed.isdisjoint(issued):
            answers.sort(key=lambda answer: issued[answer["tool_call_id"]])
        ordered += answers
        place = end
    return ordered


def generated(message: Message, generation: str, status: str, message_id: str | None = None) -> list[Kept]:
    """The items of a generated message but for its calls. One without calls is a message, whatever it says."""
    items: list[Item] = []
    reasoning = message.get("reasoning_content")
    if reasoning:
        content = [{"type": "reasoning_text", "text": reasoning}]
        items.append({"id": item_id("reasoning"), "type": "reasoning", "summary": [], "content": content})
    if message["content"] or not message.get("tool_calls"):
        part = {"type": "output_text", "text": message["content"], "annotations": []}
        items.append({"id": message_id or item_id("message"), **_spoken("assistant", [part], status)})
    return [Kept(item, generation) for item in items]


def called(call: Mapping[str, Any], generation: str) -> Kept:
    """The item of a call that the client is asked for."""
    function = call["function"]
    item = {
        "id": item_id("function_call"),
        "type": "function_call",
        "status": "completed",
        "call_id": call["id"],
        "name": function["name"],
        "arguments": dump_arguments(function["arguments"]),
    }
    return Kept(item, generation)


def _spoken(role: str, content: list[Item], status: str = "completed") -> Item:
    return {"type": "message", "status": status, "role": role, "content": content}


def _chat_call(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _content(parts: Sequence[Item]) -> str | list[dict[str, Any]]:
    """Texts as one string; with an image among them, a list of parts as a chat message has it."""
    if all(part["type"] != _IMAGE for part in parts):
        return _text(parts)
    return [_chat_image(part) if part["type"] == _IMAGE else {"type": "text", "text": _text([part])} for part in parts]


def _chat_image(part: Item) -> dict[str, Any]:
    # What is not said there is written out here.
    detail = {} if part["detail"] == "auto" else {"detail": part["detail"]}
    return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}


def _text(parts: Sequence[Item]) -> str:
    """Texts one behind the other, and files set apart from them."""
    text = ""
    for part in parts:
        if part["type"] == input_files.TYPE:
            text += f"\n\n{input_files.text_of(part)}\n\n" if text else f"{input_files.text_of(part)}\n\n"
        else:
            text += part[_TEXT[part["type"]]]
    return text
