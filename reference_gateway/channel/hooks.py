"""What a deployment puts before and behind a target (contract AF-HOOK). Each hook may be a function or a coroutine
function.

| hook | is called | and returns |
|---|---|---|
| `run(request, *, target, protocol_request)` | once for an accepted request, before the target | a request |
| `update(update)` | for each chunk of a stream | a chunk, or None to drop it |
| `response(result, context)` | once for each destination of a reply that is not streamed | a result |
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from reference_gateway.channel.request import ChannelRequest, Identity

T = TypeVar("T")

RUN_HOOK = ("inside_host", "before_stream_decision")
"""Whether the body says how the answer is framed, or the request that the run hook returned."""


@dataclass(frozen=True, slots=True)
class ResponseContext:
    """For whom a response hook is called. `destination_identity` None is the client that asked."""

    request: ChannelRequest
    channel_name: str
    destination_identity: Identity | None = None
    originating: bool = True
    is_echo: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of a channel; what is None changes nothing."""

    run: Callable[..., ChannelRequest | Awaitable[ChannelRequest]] | None = None
    update: Callable[[str], str | Awaitable[str | None] | None] | None = None
    response: Callable[[str, ResponseContext], str | Awaitable[str]] | None = None

    async def before(
        self, request: ChannelRequest, target: object, protocol_request: Mapping[str, Any] | None
    ) -> ChannelRequest:
        """The request that is run. Raises what the hook raises, and TypeError when it returns no request."""
        if self.run is None:
            return request
        changed = await settled(self.run(request, target=target, protocol_request=protocol_request))
        if not isinstance(changed, ChannelRequest):
            raise TypeError(f"the run hook returned {type(changed).__name__}, expected a ChannelRequest")
        return changed

    async def each(self, update: str) -> str | None:
        """The chunk that is sent; None or empty for none."""
        return update if self.update is None else await settled(self.update(update))

    async def behind(self, result: str, context: ResponseContext) -> str:
        """The reply for one destination."""
        return result if self.response is None else await settled(self.response(result, context))


async def settled(result: T | Awaitable[T]) -> T:
    """What a callback returned, once it is there."""
    return await result if inspect.isawaitable(result) else result
