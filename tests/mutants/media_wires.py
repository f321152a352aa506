"""Gateways that read images on one wire otherwise than on another, or not at all."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import reference_gateway.wire.anthropic_messages as anthropic_messages
import reference_gateway.wire.anthropic_request as anthropic_request
import reference_gateway.wire.responses_items as responses_items
from reference_gateway.serving.responses import Responses
from reference_gateway.types import Media, Message
from reference_gateway.wire.base import RequestRefused
from tests.mutants.media import seeing, sending
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


@mutant("MEDIA-030")
def image_blocks_are_dropped(gateway: Sabotage) -> None:
    """The text of a message is what its text blocks say; images are left out without a word."""

    @gateway.wrap(anthropic_request, "_user")
    def user(original: Any, content: Any, *about: Any) -> list[Message]:
        if isinstance(content, list):
            content = [block for block in content if not isinstance(block, dict) or block.get("type") != "image"]
        read: list[Message] = original(content, *about)
        return read


@mutant("MEDIA-031")
def streams_are_read_for_their_text(gateway: Sabotage) -> None:
    """A request for a stream takes another way, on which images are left out."""

    @seeing(gateway).wrap(anthropic_messages, "parse")
    def parse(original: Any, body: dict[str, Any], *about: Any) -> Any:
        if body.get("stream"):
            for message in body["messages"]:
                if isinstance(message.get("content"), list):
                    message["content"] = [block for block in message["content"] if block.get("type") != "image"]
        return original(body, *about)


@mutant("MEDIA-032")
def images_need_their_data(gateway: Sabotage) -> None:
    """Only base64 sources are read."""

    @seeing(gateway).wrap(anthropic_request, "_part")
    def part(original: Any, block: Any, where: str, media: bool, *expected: str) -> Any:
        source = block.get("source") if isinstance(block, dict) else None
        if isinstance(source, dict) and source.get("type") == "url":
            raise RequestRefused(f"{where}.source must be base64")
        return original(block, where, media, *expected)


@mutant("MEDIA-033")
def odd_sources_are_empty_references(gateway: Sabotage) -> None:
    """A source that is not understood becomes a reference to nothing."""

    @seeing(gateway).wrap(anthropic_request, "_part")
    def part(original: Any, block: Any, where: str, media: bool, *expected: str) -> Any:
        try:
            return original(block, where, media, *expected)
        except RequestRefused:
            if not media or not isinstance(block, dict) or block.get("type") != "image":
                raise
            return {"type": "image_url", "image_url": {"url": ""}}


@mutant("MEDIA-034")
def result_without_text_is_no_result(gateway: Sabotage) -> None:
    """A tool's result of which no text is left has no message of its own."""

    @seeing(gateway).wrap(anthropic_request, "_tool_result")
    def tool_result(original: Any, *given: Any) -> list[Message]:
        lowered: list[Message] = original(*given)
        return lowered[1:] if lowered[1:] and not lowered[0]["content"] else lowered


@mutant("MEDIA-035")
def texts_beside_images_end_their_lines(gateway: Sabotage) -> None:
    """Text blocks of a message with images are lines."""

    @seeing(gateway).wrap(anthropic_request, "_says")
    def says(original: Any, parts: Any) -> Message:
        said: Message = original(parts)
        if isinstance(said["content"], list):
            said["content"] = [_line(part) for part in said["content"]]
        return said


def reading(gateway: Sabotage, kind: str, field: str) -> None:
    """Items of this kind lose the images in this field."""
    read = responses_items._READERS[kind]

    def text_only(item: Any, *about: Any) -> Any:
        parts = item.get(field)
        if isinstance(parts, list):
            kept = [part for part in parts if not isinstance(part, dict) or part.get("type") != "input_image"]
            item = {**item, field: kept}
        return read(item, *about)

    gateway.patch(responses_items, "_READERS", {**responses_items._READERS, kind: text_only})


@mutant("MEDIA-036")
def input_images_are_dropped(gateway: Sabotage) -> None:
    """The text of an item is what its text parts say; images are left out without a word."""
    reading(gateway, "message", "content")


@mutant("MEDIA-037")
def outputs_are_text(gateway: Sabotage) -> None:
    """Images are for messages; the output of a function is read for its text."""
    reading(seeing(gateway), "function_call_output", "output")


@mutant("MEDIA-038")
def kept_responses_are_text(gateway: Sabotage) -> None:
    """What goes with a response that continues another is its own images."""
    responding: ContextVar[bool] = ContextVar("responding", default=False)

    @gateway.wrap(Responses, "respond")
    async def respond(original: Any, *given: Any) -> Any:
        token = responding.set(True)
        try:
            return await original(*given)
        finally:
            responding.reset(token)

    def change(session: Any, plan: Any, added: Media, sent: Media) -> Media:
        return added if responding.get() else sent

    sending(gateway, change)


@mutant("MEDIA-039")
def any_input_image_is_handed_on(gateway: Sabotage) -> None:
    """What stands in the URL is the engine's to judge."""
    seeing(gateway).patch(responses_items, "media_url", lambda url, where: str(url))


@mutant("MEDIA-040")
def texts_beside_input_images_end_their_lines(gateway: Sabotage) -> None:
    """Text parts of an item with images are lines."""

    @seeing(gateway).wrap(responses_items, "_content")
    def content(original: Any, parts: Any) -> Any:
        read = original(parts)
        return [_line(part) for part in read] if isinstance(read, list) else read


def _line(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "text": part["text"] + "\n"} if part["type"] == "text" else part
