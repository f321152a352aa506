"""The order of an invocation: run hook, target, update or response hook, delivery (contract AF-HOOK-08).

Knows hooks, a target and a delivery; never HTTP and never a session. Invariants: the run hook is called once for each
accepted request, before the target; a target never runs after a hook failed; when the answer goes elsewhere only, the
client gets an acknowledgement and never the answer (contract AF-DLV-10).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from reference_gateway import isolation
from reference_gateway.channel.hooks import Hooks, ResponseContext
from reference_gateway.channel.request import ORIGINATING, ChannelRequest
from reference_gateway.channel.stream import BoundStream
from reference_gateway.channel.target import Target, bound_ids

log = logging.getLogger(__name__)

ACKNOWLEDGED = "accepted"


class Delivers(Protocol):
    """Sends answers to others than the client that asked."""

    option: str
    """How it does so: the value of the option `delivery` that the gateway declares."""

    async def deliver(self, request: ChannelRequest, result: str, hooks: Hooks) -> bool:
        """Send `result` to the request's target. Returns whether the client that asked is to get it, too."""


class FinalizeFailed(Exception):
    """All chunks were sent, and then the answer could not be kept. `reason` is why."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Host:
    """Runs requests on a target. Without `delivery` every answer goes to the client that asked."""

    def __init__(self, hooks: Hooks | None = None, delivery: Delivers | None = None) -> None:
        self.hooks = hooks or Hooks()
        self.delivery = delivery

    async def prepare(
        self, request: ChannelRequest, target: Target, protocol_request: Mapping[str, Any] | None = None
    ) -> ChannelRequest:
        """The request as it is run: what the run hook made of it."""
        return keyed(await self.hooks.before(request, target, protocol_request))

    async def reply(self, request: ChannelRequest, target: Target) -> str:
        """The text that the client that asked gets."""
        with bound_ids(request):
            result = await target.run(request)
        if not await self._delivered(request, result):
            return ACKNOWLEDGED
        return await self.hooks.behind(result, ResponseContext(request, request.channel))

    async def chunks(self, request: ChannelRequest, target: Target) -> AsyncGenerator[str, None]:
        """The chunks that the client that asked gets, none of them empty. Raises what the target and the hooks raise,
        and `FinalizeFailed`. To be closed with `aclose`."""
        async with BoundStream(target.stream(request), bound_ids(request)) as stream:
            originating = request.response_target == ORIGINATING or self.delivery is None
            async for update in stream:
                chunk = await self.hooks.each(update) if update and originating else None
                if chunk:
                    yield chunk
            try:
                result = await stream.get_final_response()
                if not originating and not await self._delivered(request, result):
                    yield ACKNOWLEDGED
                elif not originating and (chunk := await self.hooks.each(result)):
                    yield chunk
            except Exception as error:
                raise FinalizeFailed(error) from error

    async def _delivered(self, request: ChannelRequest, result: str) -> bool:
        if self.delivery is None or request.response_target == ORIGINATING:
            return True
        return await self.delivery.deliver(request, result, self.hooks)


def keyed(request: ChannelRequest) -> ChannelRequest:
    """The request without its session where a key of it could not name what is kept: the request is served all the
    same, and nothing is kept (contract AF-ISO-09)."""
    keys = isolation.current()
    for key in (request.session_key, *((keys.user, keys.chat) if keys is not None else ())):
        if key is None:
            continue
        try:
            isolation.path_key(key)
        except ValueError as error:
            log.warning("no conversation is kept: %s", error)
            return replace(request, session_key=None)
    return request
