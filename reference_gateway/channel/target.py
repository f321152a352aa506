"""What answers an invocation: a target, and the one that this gateway has, a session of its own.

Knows how a message becomes a turn: the history that the session keeps under the request's key, and the message behind
it. So the tokens are those of a client that sends the same conversation itself (contract X-01). Invariants: a turn that
fails adds nothing to the history; the turns of one conversation are taken one after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol

from reference_gateway.channel.request import ChannelRequest, SessionRequired
from reference_gateway.channel.stream import TextStream
from reference_gateway.codec.live import LiveText, TextChanged
from reference_gateway.session import InvalidField, Phase, Session, SessionClosed
from reference_gateway.session.histories import History
from reference_gateway.types import Answer, Message, Progress, Turn

FORWARDED = frozenset({"temperature", "top_p", "top_k", "max_tokens", "stop"})


class Target(Protocol):
    """What an invocation reaches."""

    async def run(self, request: ChannelRequest) -> str:
        """The whole answer."""

    def stream(self, request: ChannelRequest) -> TextStream:
        """The answer in chunks."""


@dataclass(frozen=True, slots=True)
class ResponseIds:
    """The names of the response that is being made and of the one before it."""

    response_id: str
    previous_response_id: str | None = None


_response_ids: ContextVar[ResponseIds | None] = ContextVar("response_ids", default=None)


def response_ids() -> ResponseIds | None:
    """The names that the request in progress was given, if any."""
    return _response_ids.get()


@contextmanager
def bound_ids(request: ChannelRequest) -> Iterator[None]:
    """What happens in the block happens for the response that the request names."""
    if request.response_id is None:
        yield
        return
    token = _response_ids.set(ResponseIds(request.response_id, request.previous_response_id))
    try:
        yield
    finally:
        _response_ids.reset(token)


class SessionTarget:
    """A session of the gateway. `answered` hears of each committed turn; `live` makes text of ids as they come, under
    these stop strings, where streams are incremental."""

    def __init__(
        self,
        session: Session,
        answered: Callable[[Answer], None] = lambda answer: None,
        live: Callable[[Sequence[str]], LiveText | None] = lambda stops: None,
    ) -> None:
        self.session = session
        self._answered = answered
        self._live = live

    async def run(self, request: ChannelRequest, progress: Progress | None = None) -> str:
        """See `Target`; `progress` hears of the turn while it runs. Raises `SessionRequired` and whatever a turn
        raises."""
        history = self._history(request)
        async with AsyncExitStack() as stack:
            if history is not None:
                await stack.enter_async_context(history.turn)
            message: Message = {"role": "user", "content": request.input}
            before = history.messages if history is not None else ()
            turn = _turn((*before, message), request)
            answer = await self.session.run(turn if progress is None else replace(turn, progress=progress))
            if history is not None:
                history.add(message, answer.message)
        self._answered(answer)
        return _text(answer)

    def stream(self, request: ChannelRequest) -> TextStream:
        """See `Target`. The turn is committed before the first chunk, or, where streams are incremental, before the
        stream ends."""
        text = self._live(self.session.stop_strings(request.options))
        return WholeAnswer(self, request) if text is None else LiveAnswer(self, request, text)

    def reset(self, session_key: str) -> str:
        """Begin a new conversation under this key, for the isolation keys of the request in progress. Returns its new
        id, `<key>#<8 hex>` (contract AF-SES-04)."""
        return self.session.histories.reset(session_key)

    def require_open(self) -> None:
        """Raises `SessionClosed` when the session takes no turns."""
        if self.session.phase is not Phase.ACTIVE:
            raise SessionClosed(self.session.session_id, self.session.phase.value)

    def _history(self, request: ChannelRequest) -> History | None:
        if request.session_mode == "required" and not request.session_key:
            raise SessionRequired
        if request.session_mode == "disabled" or not request.session_key:
            return None
        return self.session.histories.of(request.session_key)


class WholeAnswer:
    """The answer of a session as a stream of one chunk."""

    def __init__(self, target: SessionTarget, request: ChannelRequest) -> None:
        self._target = target
        self._request = request
        self._text: str | None = None

    async def __aiter__(self) -> AsyncIterator[str]:
        yield await self.get_final_response()

    async def get_final_response(self) -> str:
        """See `TextStream`."""
        if self._text is None:
            self._text = await self._target.run(self._request)
        return self._text

    async def aclose(self) -> None:
        """See `TextStream`. A turn in flight is cancelled with the task that waits for it."""


class LiveAnswer:
    """The answer of a session as a stream of what it samples, while it does. The turn runs in a task of its own, under
    the keys of its request; giving the stream up gives up the turn."""

    def __init__(self, target: SessionTarget, request: ChannelRequest, text: LiveText) -> None:
        self._target = target
        self._request = request
        self._text = text
        self._chunks: asyncio.Queue[str | None] = asyncio.Queue()
        self._turn: asyncio.Task[str] | None = None

    def started(self, prompt_tokens: int) -> None:
        """See `types.Progress`."""

    def sampled(self, ids: Sequence[int]) -> None:
        """See `types.Progress`."""
        if text := self._text.feed(ids):
            self._chunks.put_nowait(text)

    async def __aiter__(self) -> AsyncIterator[str]:
        turn = self._begun()
        shown = ""
        while (chunk := await self._chunks.get()) is not None:
            shown += chunk
            yield chunk
        whole = await turn
        if not whole.startswith(shown):
            raise TextChanged("the answer does not begin with what was shown of it")
        yield whole[len(shown) :]

    async def get_final_response(self) -> str:
        """See `TextStream`."""
        return await self._begun()

    async def aclose(self) -> None:
        """See `TextStream`."""
        if self._turn is not None:
            self._turn.cancel()

    def _begun(self) -> asyncio.Task[str]:
        if self._turn is None:
            self._turn = asyncio.create_task(self._ended())
        return self._turn

    async def _ended(self) -> str:
        try:
            return await self._target.run(self._request, self)
        finally:
            self._chunks.put_nowait(None)


def _turn(messages: tuple[Message, ...], request: ChannelRequest) -> Turn:
    for name in request.options:
        if name not in FORWARDED:
            known = ", ".join(sorted(FORWARDED))
            raise InvalidField(f"options.{name}", f"is not a sampling parameter: expected one of {known}")
    sampling = {name: value for name, value in request.options.items() if name != "max_tokens"}
    return Turn(messages, sampling=sampling, max_tokens=request.options.get("max_tokens"))


def _text(answer: Answer) -> str:
    return str(answer.message["content"] or "")
