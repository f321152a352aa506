"""Delivery by background tasks: one task for each destination, with the runner's retries (contract AF-DLV-08, -09).

Invariants: a task that was scheduled is as good as delivered, whatever becomes of it; within one task the echo comes
before the reply, its failure does not keep the reply back, and a retry does not repeat an echo that was sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from reference_gateway.channel.delivery import Linked, Pushes, context_of, resolve
from reference_gateway.channel.hooks import Hooks
from reference_gateway.channel.request import ChannelRequest, Identity
from reference_gateway.channel.tasks import TaskRunner

log = logging.getLogger(__name__)

PUSH = "hosting.push"
"""The task that delivers one answer to one destination."""


class TaskDelivery:
    """Schedules pushes on `runner`, whose handler it registers."""

    option = "task_runner"

    def __init__(self, runner: TaskRunner, channels: Mapping[str, Pushes], linked: Linked) -> None:
        self._runner = runner
        self._channels = channels
        self._linked = linked
        runner.register(PUSH, self._push)

    async def deliver(self, request: ChannelRequest, result: str, hooks: Hooks) -> bool:
        """See `host.Delivers`. Response hooks are called now: a task outlives the process, a hook does not."""
        plan = resolve(request.response_target, request.identity, self._linked(request), self._channels)
        scheduled = 0
        for recipient in plan.destinations:
            try:
                self._runner.schedule(PUSH, await self._payload(request, recipient, result, hooks))
                scheduled += 1
            except Exception:
                log.exception("an answer was not scheduled", extra={"recipient": recipient.token})
        return plan.include_originating or (bool(plan.destinations) and not scheduled)

    async def _payload(self, request: ChannelRequest, recipient: Identity, result: str, hooks: Hooks) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "channel": recipient.channel,
            "native_id": recipient.native_id,
            "attributes": [list(pair) for pair in recipient.attributes],
            "text": await hooks.behind(result, context_of(request, recipient)),
        }
        if request.response_target.echo_input:
            payload["echo"] = await hooks.behind(request.input, context_of(request, recipient, echo=True))
        return payload

    async def _push(self, payload: dict[str, Any]) -> None:
        attributes = tuple((str(name), str(value)) for name, value in payload["attributes"])
        recipient = Identity(payload["channel"], payload["native_id"], attributes)
        channel = self._channels[recipient.channel]
        # What is taken out of the payload here is not there any more when the task is tried again.
        if "echo" in payload:
            try:
                await channel.push(recipient, payload["echo"], role="user")
                del payload["echo"]
            except Exception:
                log.warning("an echo was not delivered", extra={"recipient": recipient.token}, exc_info=True)
        await channel.push(recipient, payload["text"], role="assistant")
