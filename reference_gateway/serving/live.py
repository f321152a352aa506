"""Streaming that streams: the text of a turn leaves while the model is still sampling it.

Knows a wire's live frames and ASGI's send. Never touches session state: the turn runs beside it and is committed by the
session as ever.

Invariants: nothing is sent before there is text to show, so that a turn that fails early is refused with a status; the
terminal frames are made from the committed answer; a failure after the first byte is that wire's in-band error and the
last frame, and nothing was committed; put together, the frames are the plain answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from starlette.types import Send

from reference_gateway.codec.live import TextChanged
from reference_gateway.serving.http import RawHeaders
from reference_gateway.types import Answer
from reference_gateway.wire.base import LiveFrames


class Text(Protocol):
    """Makes text of ids as they come: `codec.live.LiveText`."""

    def feed(self, ids: Sequence[int]) -> str: ...


class Outbox:
    """Frames on their way to a client. To iterate is to wait for them; those that wait already go out together."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._closed = False
        self._news = asyncio.Event()

    def put(self, *frames: bytes) -> None:
        self._frames += frames
        self._news.set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._frames or not self._closed:
            await self._news.wait()
            self._news.clear()
            if self._frames:
                frames = b"".join(self._frames)
                self._frames.clear()
                yield frames


class Relay:
    """The `types.Progress` of a turn whose client reads along."""

    def __init__(self, frames: LiveFrames, text: Text) -> None:
        self._frames, self._text = frames, text
        self._prompt_tokens = 0
        self._shown: list[str] = []
        self._outbox = Outbox()
        self._open = False

    @property
    def begun(self) -> bool:
        """Whether a byte was sent: an error has no status any more."""
        return bool(self._shown)

    def started(self, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens

    def sampled(self, ids: Sequence[int]) -> None:
        text = self._text.feed(ids)
        if text:
            opening = b"" if self._shown else self._frames.opening(self._prompt_tokens)
            self._shown.append(text)
            self._outbox.put(opening + self._frames.text(text))

    async def follow(
        self, turn: Awaitable[Answer], send: Send, headers: RawHeaders, problem: Callable[[Exception], tuple[int, str]]
    ) -> Answer | None:
        """Run the turn and send what it says. None when it failed after the first byte, which the client was told by
        then; a failure before that is raised. `problem` gives a failure's status and message."""
        running = asyncio.ensure_future(self._ended(turn))
        try:
            async for frames in self._outbox:
                await self._send(send, headers, frames)
            answer = await running
            closing = self._end(answer)
        except Exception as error:
            if not self.begun:
                raise
            await self._send(send, headers, self._frames.failed(*problem(error)), last=True)
            return None
        finally:
            running.cancel()
        await self._send(send, headers, closing, last=True)
        return answer

    async def _ended(self, turn: Awaitable[Answer]) -> Answer:
        try:
            return await turn
        finally:
            self._outbox.close()

    def _end(self, answer: Answer) -> bytes:
        content, shown = answer.message["content"], "".join(self._shown)
        if not content.startswith(shown):
            raise TextChanged("the answer does not begin with what was shown of it")
        opening = b"" if shown else self._frames.opening(answer.prompt_tokens)
        return opening + self._frames.closing(answer, content[len(shown) :])

    async def _send(self, send: Send, headers: RawHeaders, body: bytes, *, last: bool = False) -> None:
        if not self._open:
            self._open = True
            await send({"type": "http.response.start", "status": 200, "headers": [*headers]})
        await send({"type": "http.response.body", "body": body, "more_body": not last})
