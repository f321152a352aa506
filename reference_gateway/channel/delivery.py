"""Answers that go to others than the client that asked (contract AF-DLV).

`resolve` says who gets an answer, as a pure function; a delivery sends it and tells what became of it. Knows identities
and texts; never how a channel pushes. Invariants: nobody gets an answer twice; an answer whose target cannot be
reached at all goes back to the client that asked; a push that fails is told and changes nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reference_gateway.channel.hooks import Hooks, ResponseContext, settled
from reference_gateway.channel.request import ChannelRequest, Identity, ResponseTarget

log = logging.getLogger(__name__)

ORIGINATING_NAME = "originating"


class Pushes(Protocol):
    """A channel that can send by itself."""

    async def push(self, recipient: Identity, text: str, *, role: str) -> None:
        """Send a text, said by the `user` or the `assistant`."""


Linked = Callable[[ChannelRequest], Sequence[Identity]]
"""A request -> the identities that belong to whom it is from, the most recently active one first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who gets an answer. `skipped` are the names and tokens that could not be reached."""

    include_originating: bool
    destinations: tuple[Identity, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What became of an answer, by token. `failed` has why, as `Class: text`."""

    include_originating: bool
    pushed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    echoed: tuple[str, ...] = ()


def resolve(target: ResponseTarget, origin: Identity | None, linked: Sequence[Identity], able: Collection[str]) -> Plan:
    """Who gets an answer to a request from `origin`. `able` are the channels that can push."""
    if target.kind in ("originating", "none"):
        return Plan(target.kind == "originating")
    wanted = _wanted(target, origin, linked)
    included = False
    recipients: dict[str, Identity] = {}
    skipped: list[str] = []
    for name, identity in wanted:
        if name == ORIGINATING_NAME or (identity is not None and identity.is_same(origin)):
            included = True
        elif identity is None or identity.channel not in able:
            skipped.append(name)
        else:
            recipients.setdefault(identity.token, identity)
    return Plan(included or not recipients, tuple(recipients.values()), tuple(skipped))


def _wanted(
    target: ResponseTarget, origin: Identity | None, linked: Sequence[Identity]
) -> list[tuple[str, Identity | None]]:
    """The names of a target, each with whom it stands for, if anybody."""
    match target.kind:
        case "active":
            return [(identity.token, identity) for identity in linked[:1]]
        case "all_linked":
            return [(identity.token, identity) for identity in linked if not identity.is_same(origin)]
        case "identities":
            return [(identity.token, identity) for identity in target.recipients]
    return [(name, _named(name, linked)) for name in target.names]


def _named(name: str, linked: Sequence[Identity]) -> Identity | None:
    channel, separator, native_id = name.partition(":")
    known = [identity for identity in linked if (identity.token == name if separator else identity.channel == name)]
    if known:
        return known[0]
    return Identity(channel, native_id) if separator and native_id else None


class ReportedDelivery:
    """Pushes at once, and reports. `observe` is given each request with its report; it may be a coroutine function."""

    option = "report"

    def __init__(
        self,
        channels: Mapping[str, Pushes],
        linked: Linked,
        observe: Callable[[ChannelRequest, Report], Awaitable[None] | None] = lambda request, report: None,
    ) -> None:
        self._channels = channels
        self._linked = linked
        self._observe = observe

    async def deliver(self, request: ChannelRequest, result: str, hooks: Hooks) -> bool:
        """See `host.Delivers`."""
        report = await self.report(request, result, hooks)
        await settled(self._observe(request, report))
        return report.include_originating

    async def report(self, request: ChannelRequest, result: str, hooks: Hooks) -> Report:
        """Push to each destination; what a channel raises is in the report."""
        plan = resolve(request.response_target, request.identity, self._linked(request), self._channels)
        pushed, echoed, failed = [], [], []
        for recipient in plan.destinations:
            channel = self._channels[recipient.channel]
            if request.response_target.echo_input:
                try:
                    text = await hooks.behind(request.input, context_of(request, recipient, echo=True))
                    await channel.push(recipient, text, role="user")
                    echoed.append(recipient.token)
                except Exception:
                    log.warning("an echo was not delivered", extra={"recipient": recipient.token}, exc_info=True)
            try:
                text = await hooks.behind(result, context_of(request, recipient))
                await channel.push(recipient, text, role="assistant")
                pushed.append(recipient.token)
            except Exception as error:
                log.warning("an answer was not delivered", extra={"recipient": recipient.token}, exc_info=True)
                failed.append((recipient.token, f"{type(error).__name__}: {error}"))
        return Report(plan.include_originating, tuple(pushed), plan.skipped, tuple(failed), tuple(echoed))


def context_of(request: ChannelRequest, recipient: Identity, *, echo: bool = False) -> ResponseContext:
    """For whom the response hook is called when an answer is pushed."""
    return ResponseContext(request, recipient.channel, recipient, originating=False, is_echo=echo)
