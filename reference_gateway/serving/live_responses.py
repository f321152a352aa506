"""A response whose text leaves while the model is still sampling it.

Knows the events of the Responses wire and what of a response was sent. Never touches session state: the response is
made beside it, as ever.

Invariants: nothing is sent before there is text to show or a generation is committed, so that what fails early is
refused with a status; a failure after the first byte is `response.failed`, the last frame; put together, the frames
are the plain response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.types import Send

from reference_gateway.codec.live import TextChanged
from reference_gateway.serving.http import RawHeaders
from reference_gateway.serving.live import Outbox, Text
from reference_gateway.session.conversations import Item, item_id
from reference_gateway.types import Tool
from reference_gateway.wire.responses_body import Event, ending, frame, of_item, opening

LiveTexts = Callable[[Sequence[Tool] | None, Sequence[str]], Text | None]
"""A request's tools and stop strings -> what makes text of ids as they come; None where it can be told only from the
whole."""


class _Message:
    """The `types.Progress` of one generation: the text of the message that it will be."""

    def __init__(self, stream: LiveResponse, text: Text, index: int) -> None:
        self._stream, self._text = stream, text
        self.index = index
        self.id = item_id("message")
        self.shown = ""

    def started(self, prompt_tokens: int) -> None: ...

    def sampled(self, ids: Sequence[int]) -> None:
        piece = self._text.feed(ids)
        if piece:
            self._stream.say(self, piece)
            self.shown += piece


class LiveResponse:
    """The stream of one response. `texts` makes text of ids as they come."""

    def __init__(self, texts: LiveTexts) -> None:
        self._texts = texts
        self._body: dict[str, Any] = {}
        self._outbox = Outbox()
        self._sent = 0
        self._items = 0
        self._message: _Message | None = None

    # what the response says of itself while it is made

    def begin(self, body: dict[str, Any]) -> None:
        """`body` is the response without output."""
        self._body = body

    def generating(self, tools: Sequence[Tool] | None, stops: Sequence[str]) -> _Message | None:
        """Hears of the next generation; None where its text cannot be shown before it is whole."""
        text = self._texts(tools, stops)
        self._message = None if text is None else _Message(self, text, self._items)
        return self._message

    @property
    def message_id(self) -> str | None:
        """The id that the message of the generation has, if it has one."""
        return self._message.id if self._message is not None else None

    def say(self, message: _Message, piece: str) -> None:
        """Show a piece of the text."""
        if not message.shown:
            part = {"type": "output_text", "text": "", "annotations": []}
            item = {
                "id": message.id,
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [part],
            }
            begun, added, *_ = of_item(item, message.index, self._body["id"])
            self._put(begun, added)
        place = {"item_id": message.id, "output_index": message.index, "content_index": 0}
        self._put({"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []})

    def made(self, items: Sequence[Item]) -> None:
        """Items that are whole, behind those before."""
        for item in items:
            events = list(of_item(item, self._items, self._body["id"]))
            if self._message is not None and item["id"] == self._message.id and self._message.shown:
                events = _rest(events, item, self._message.shown)
            self._put(*events)
            self._items += 1
        if self._message is not None and self._message.shown and all(item["id"] != self._message.id for item in items):
            raise TextChanged("the response does not have the text that was shown")

    def _put(self, *events: Event) -> None:
        for event in events if self._sent else (*opening(self._body), *events):
            self._outbox.put(frame(event, self._sent))
            self._sent += 1

    # the way to the client

    async def follow(
        self,
        making: Awaitable[dict[str, Any]],
        send: Send,
        headers: RawHeaders,
        failure: Callable[[Exception], dict[str, str]],
    ) -> None:
        """Make the response and send what it says. What fails before the first byte is raised; `failure` gives the
        error of what fails later."""
        running = asyncio.ensure_future(self._ended(making))
        opened = False
        try:
            async for frames in self._outbox:
                if not opened:
                    opened = True
                    await send({"type": "http.response.start", "status": 200, "headers": [*headers]})
                await send({"type": "http.response.body", "body": frames, "more_body": True})
            body = await running
            if not opened:
                raise TextChanged("the response has no items")
        except Exception as error:
            if not opened:
                raise
            body = {**self._body, "status": "failed", "error": failure(error), "incomplete_details": None}
        finally:
            running.cancel()
        await send({"type": "http.response.body", "body": frame(ending(body), self._sent), "more_body": False})

    async def _ended(self, making: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await making
        finally:
            self._outbox.close()


def _rest(events: list[Event], item: Item, shown: str) -> list[Event]:
    """What of a message was not sent yet."""
    (part,) = item["content"]
    if not part["text"].startswith(shown):
        raise TextChanged("the answer does not begin with what was shown of it")
    rest = part["text"][len(shown) :]
    return [
        {**event, "delta": rest} if event["type"] == "response.output_text.delta" else event
        for event in events[2:]
        if rest or event["type"] != "response.output_text.delta"
    ]
