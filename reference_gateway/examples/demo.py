"""The demo that a gateway is judged with: hooks, delivery and background tasks that do what a request asks of them.

The field `demo` of an invocation says what; docs/invocations.md lists it all. Without that field, and in text without
the four marks, nothing is changed. What goes elsewhere is posted to the inbox of the kit's upstream. Not for real use:
whoever may invoke may make it fail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import aiohttp

from reference_gateway.channel import request as targets
from reference_gateway.channel.delivery import Report, ReportedDelivery
from reference_gateway.channel.hooks import Hooks, ResponseContext
from reference_gateway.channel.request import ChannelRequest, Identity, InvocationFailed, ResponseTarget
from reference_gateway.channel.target import SessionTarget
from reference_gateway.channel.task_delivery import TaskDelivery
from reference_gateway.channel.tasks import Retrying, Task, TaskRunner, TaskState
from reference_gateway.config import Config
from reference_gateway.deployment import Deployment
from reference_gateway.serving.lifespan import Part
from reference_gateway.wire import invocations

T = TypeVar("T")

TASK = "demo.post"
"""The background task that posts one text."""

DROPPED, REPLACED, REPLACED_LATER, FAILING = "¤§¢¶"
"""The marks in a model's text that the update hook knows."""

CHANNELS = ("web", "phone", "mail")
"""Those that can push; `paper` is known and cannot."""


def deployment(config: Config) -> Deployment:
    """The demo with deliveries that are reported."""
    demo = Demo(config)
    channels = dict.fromkeys(CHANNELS, demo)
    return demo.deployment(ReportedDelivery(channels, linked, demo.reported))


def with_task_delivery(config: Config) -> Deployment:
    """The demo with deliveries that are background tasks."""
    demo = Demo(config)
    return demo.deployment(TaskDelivery(demo.runner, dict.fromkeys(CHANNELS, demo), linked))


class Demo:
    """Hooks, channel and tasks in one. Raises ValueError for a gateway without an engine's URL."""

    def __init__(self, config: Config) -> None:
        if config.backend_url is None:
            raise ValueError("backend_url must be the kit's upstream: the demo posts to its inbox")
        self.inbox = f"{config.backend_url.rstrip('/')}/inbox"
        self.runner = TaskRunner(retrying=Retrying(first_delay=0.001), ended=self.ended)
        self.runner.register(TASK, self.post)
        self._http: aiohttp.ClientSession | None = None
        self._seen: set[str] = set()

    def deployment(self, delivery: ReportedDelivery | TaskDelivery) -> Deployment:
        return Deployment(
            hooks=Hooks(self.run, update, response),
            delivery=delivery,
            parts=(Part(shutdown=self.close), Part(self.runner.start, self.runner.shutdown)),
            declares=("hooks", "delivery", "background-tasks"),
        )

    def run(
        self, request: ChannelRequest, *, target: SessionTarget, protocol_request: Mapping[str, Any] | None
    ) -> ChannelRequest | Awaitable[ChannelRequest]:
        """The run hook."""
        asked = (protocol_request or {}).get("demo")
        if not isinstance(asked, dict):
            return request
        asked = dict(asked)
        if asked.pop("later", False):
            return later(lambda: self._changed(request, target, asked))
        return self._changed(request, target, asked)

    def _changed(self, request: ChannelRequest, target: SessionTarget, asked: dict[str, Any]) -> ChannelRequest:
        if "fail" in asked:
            raise InvocationFailed(asked["fail"])
        if (once := asked.pop("once", None)) is not None:
            if once in self._seen:
                raise InvocationFailed("the run hook was called before for this request")
            self._seen.add(once)
        for job in asked.pop("tasks", ()):
            self.runner.schedule(TASK, job)
        if "session_id" in asked:
            asked["session_key"] = f"{invocations.name}:{asked.pop('session_id')}"
        if asked.pop("reset", False) and request.session_key is not None:
            target.reset(request.session_key)
        if "origin" in asked:
            asked["identity"] = identity(asked.pop("origin"))
        if "target" in asked:
            asked["response_target"] = response_target(asked.pop("target"), asked.pop("echo", False))
        kept: dict[str, Any] = {name: asked.pop(name) for name in ("linked", "describe") if name in asked}
        return replace(request, **asked, attributes={**request.attributes, **kept})

    async def push(self, recipient: Identity, text: str, *, role: str) -> None:
        """Each channel's way to send."""
        attributes = dict(recipient.attributes)
        await self.post({"to": recipient.token, "role": role, "text": text, "attributes": attributes})

    async def reported(self, request: ChannelRequest, report: Report) -> None:
        """A delivery was tried."""
        await self.post({"report": asdict(report), "about": request.input})

    async def ended(self, task: Task, state: TaskState) -> None:
        """A background task has ended. The test that it belongs to may have ended before."""
        payload = task.payload
        token = payload["to"] if task.name == TASK else f"{payload['channel']}:{payload['native_id']}"
        with suppress(ConnectionError):
            await self.post({"task": token, "state": str(state)})

    async def post(self, document: dict[str, Any]) -> None:
        """Post to the inbox, or raise ConnectionError."""
        if self._http is None:
            self._http = aiohttp.ClientSession()
        async with self._http.post(self.inbox, json=document) as answer:
            if answer.status >= 300:
                raise ConnectionError(f"the inbox answered {answer.status}")

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()


def update(chunk: str) -> str | Awaitable[str | None] | None:
    """The update hook."""
    if FAILING in chunk:
        raise InvocationFailed("the update hook fails at this mark")
    if REPLACED_LATER in chunk:
        return later(lambda: marked(chunk))
    return marked(chunk)


def marked(chunk: str) -> str | None:
    """The chunk with its marks replaced; None when nothing is left of it."""
    return chunk.replace(DROPPED, "").replace(REPLACED, "s").replace(REPLACED_LATER, "c") or None


def response(result: str, context: ResponseContext) -> str | Awaitable[str]:
    """The response hook."""
    describe = context.request.attributes.get("describe")
    if not describe:
        return result
    if describe == "later":
        return later(lambda: described(result, context))
    return described(result, context)


def described(result: str, context: ResponseContext) -> str:
    """What the response hook was called with."""
    destination = context.destination_identity
    called = Called(
        result,
        context.channel_name,
        None if destination is None else destination.token,
        context.originating,
        context.is_echo,
    )
    return json.dumps(asdict(called), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Called:
    """The arguments of a response hook, as they are shown."""

    text: str
    channel: str
    destination: str | None
    originating: bool
    is_echo: bool


def linked(request: ChannelRequest) -> Sequence[Identity]:
    """Who belongs to the user: what the request says."""
    known = request.attributes.get("linked", {})
    return [identity(token, attributes) for token, attributes in known.items()]


def identity(token: str, attributes: Mapping[str, str] | None = None) -> Identity:
    channel, _, native_id = token.partition(":")
    return Identity(channel, native_id, tuple((attributes or {}).items()))


def response_target(asked: Any, echo: bool) -> ResponseTarget:
    """`"none"`, `"active"` ..., `{"channels": [...]}` or `{"identities": [...]}`."""
    if isinstance(asked, str):
        return ResponseTarget(asked, echo_input=echo)  # type: ignore[arg-type]
    if "identities" in asked:
        return targets.identities(map(identity, asked["identities"]), echo_input=echo)
    return targets.channels(asked["channels"], echo_input=echo)


async def later(make: Callable[[], T]) -> T:
    """The same from a coroutine, which waits before it answers."""
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    return make()
