"""A response on the wire: its body, and the event stream that says the same.

Pure. The stream is made of the finished body, unless its text is streamed as it is sampled (`live_responses`). Order:
created, in_progress, the events of each item, then the one event that ends it (contract LS-RAW-01); `sequence_number`
counts from 0; every frame is named by its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reference_gateway.session.conversations import Item
from reference_gateway.wire import sse

Event = dict[str, Any]

EMPTIED: Mapping[str, tuple[str, ...]] = {
    "message": ("content",),
    "reasoning": ("content",),
    "function_call": ("arguments",),
    "mcp_call": ("arguments",),
    "file_search_call": (),
}
"""What an item does not have yet when it is added."""


def frames(body: dict[str, Any]) -> Iterator[bytes]:
    """The frames of the stream that amounts to `body`."""
    return (frame(event, number) for number, event in enumerate(events(body)))


def frame(event: Event, number: int) -> bytes:
    """One event as it is sent."""
    kind = event["type"]
    return sse.event(kind, {"type": kind, "sequence_number": number, **event})


def events(body: dict[str, Any]) -> Iterator[Event]:
    """The events, without their numbers."""
    yield from opening(body)
    for index, item in enumerate(body["output"]):
        yield from of_item(item, index, body["id"])
    yield ending(body)


def opening(body: dict[str, Any]) -> Iterator[Event]:
    """What stands before the first item."""
    unknown = dict.fromkeys(("usage", "error", "incomplete_details", "completed_at"))
    begun = {**body, **unknown, "status": "in_progress", "output": []}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}


def of_item(item: Item, index: int, response_id: str) -> Iterator[Event]:
    """All that is said of an item. The API has no `response_id` here, and llama-stack-client 0.7 knows the two events
    of an item by it."""
    about = {"response_id": response_id, "output_index": index}
    place = {"item_id": item["id"], "output_index": index}
    yield {"type": "response.output_item.added", **about, "item": _added(item)}
    yield from _WITHIN[item["type"]](item, place)
    yield {"type": "response.output_item.done", **about, "item": item}


def ending(body: dict[str, Any]) -> Event:
    """The one event that ends the stream."""
    return {"type": f"response.{body['status']}", "response": body}


def _added(item: Item) -> Item:
    empty = {name: type(item[name])() for name in EMPTIED[item["type"]]}
    added = {**item, **empty}
    if "status" in item:
        added["status"] = "in_progress"
    return {name: value for name, value in added.items() if name not in ("output", "error", "results")}


def _message(item: Item, place: dict[str, Any]) -> Iterator[Event]:
    for number, part in enumerate(item["content"]):
        where = {**place, "content_index": number}
        yield {"type": "response.content_part.added", **where, "part": {**part, "text": ""}}
        if part["text"]:
            yield {"type": "response.output_text.delta", **where, "delta": part["text"], "logprobs": []}
        yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **where, "part": part}


def _reasoning(item: Item, place: dict[str, Any]) -> Iterator[Event]:
    for number, part in enumerate(item["content"]):
        where = {**place, "content_index": number}
        yield {"type": "response.reasoning_text.delta", **where, "delta": part["text"]}
        yield {"type": "response.reasoning_text.done", **where, "text": part["text"]}


def _function_call(item: Item, place: dict[str, Any]) -> Iterator[Event]:
    return _arguments("response.function_call_arguments", item, place)


def _mcp_call(item: Item, place: dict[str, Any]) -> Iterator[Event]:
    yield {"type": "response.mcp_call.in_progress", **place}
    yield from _arguments("response.mcp_call_arguments", item, place)
    yield {"type": f"response.mcp_call.{item['status']}", **place}


def _file_search_call(item: Item, place: dict[str, Any]) -> Iterator[Event]:
    for step in ("in_progress", "searching", "completed"):
        yield {"type": f"response.file_search_call.{step}", **place}


def _arguments(name: str, item: Item, place: dict[str, Any]) -> Iterator[Event]:
    if item["arguments"]:
        yield {"type": f"{name}.delta", **place, "delta": item["arguments"]}
    yield {"type": f"{name}.done", **place, "arguments": item["arguments"]}


_WITHIN: Mapping[str, Any] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "mcp_call": _mcp_call,
    "file_search_call": _file_search_call,
}
