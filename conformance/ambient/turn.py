"""A turn as it was seen on both sides: the request of the agent, what it was answered, and the calls made for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol
from urllib.parse import urlsplit

from conformance.client.anthropic import MessageReply
from conformance.client.http import Reply
from conformance.client.invocations import InvocationReply
from conformance.client.responses import ResponseReply
from conformance.client.transcript import Exchange
from conformance.upstream.ledger import ANSWERED, Call

CHAT, MESSAGES, RESPONSES, INVOCATIONS = "chat", "messages", "responses", "invocations"
_ROUTES: tuple[tuple[str, str, type[Reply]], ...] = (
    ("/chat/completions", CHAT, Reply),
    ("/messages", MESSAGES, MessageReply),
    ("/responses", RESPONSES, ResponseReply),
    ("/invocations", INVOCATIONS, InvocationReply),
    ("/invocations/invoke", INVOCATIONS, InvocationReply),
)


class Settings(Protocol):
    """What is known of a session: where it is reached, by which key, and what it was created with."""

    @property
    def urls(self) -> Sequence[str]: ...
    @property
    def key(self) -> str: ...
    @property
    def settings(self) -> dict[str, Any]: ...


@dataclass
class Turn:
    """A POST to one of the wires. `request` is its JSON object; None where it is none. `calls` are those that arrived
    while it was in flight, and surely its own where it was `alone`."""

    wire: str
    reply: Reply
    request: dict[str, Any] | None
    session: Settings | None
    calls: list[Call] = field(default_factory=list)
    alone: bool = True

    @property
    def exchange(self) -> Exchange:
        return self.reply.exchange

    @property
    def is_whole(self) -> bool:
        """An answer that came to its end."""
        return self.exchange.error is None and self.exchange.finished is not None and self.exchange.status is not None

    @cached_property
    def is_answered(self) -> bool:
        """Served to its end, without an error inside a stream."""
        return self.is_whole and self.reply.status == 200 and not _fails_inside(self.reply)

    @property
    def call(self) -> Call | None:
        """The call that this turn was answered from, where there is one and no doubt about it."""
        if not self.alone or not self.is_answered or len(self.calls) != 1:
            return None
        call = self.calls[0]
        return call if call.outcome == ANSWERED and len(call.generations) == 1 else None

    def setting(self, name: str) -> Any:
        """What the session was created with under this name."""
        return self.session.settings.get(name) if self.session else None


def turns_of(exchanges: Sequence[Exchange], calls: Sequence[Call], sessions: Sequence[Settings]) -> list[Turn]:
    """The turns among these exchanges, in order, each with its calls."""
    turns = [turn for exchange in exchanges if (turn := _turn(exchange, sessions)) is not None]
    for turn in turns:
        turn.calls = [call for call in calls if _during(call, turn.exchange)]
    _tell_apart(turns)
    return turns


def _tell_apart(turns: Sequence[Turn]) -> None:
    """Which turns were in flight beside another."""
    ordered = sorted(turns, key=lambda turn: turn.exchange.started)
    for earlier, later in pairwise(ordered):
        if _end(earlier.exchange) >= later.exchange.started:
            earlier.alone = later.alone = False
    latest = float("-inf")
    for turn in ordered:
        if latest >= turn.exchange.started:
            turn.alone = False
        latest = max(latest, _end(turn.exchange))


def _turn(exchange: Exchange, sessions: Sequence[Settings]) -> Turn | None:
    if exchange.method != "POST":
        return None
    path = urlsplit(exchange.url).path.rstrip("/")
    for route, wire, kind in _ROUTES:
        if path.endswith(route):
            return Turn(wire, kind(exchange), _object(exchange), _session(exchange, sessions))
    return None


def _object(exchange: Exchange) -> dict[str, Any] | None:
    if {name.lower() for name in exchange.request_headers} & {"content-encoding"}:
        return None
    try:
        document = json.loads(exchange.request_body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _session(exchange: Exchange, sessions: Sequence[Settings]) -> Settings | None:
    headers = {name.lower(): value for name, value in exchange.request_headers.items()}
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    reached = [session for session in sessions if any(_below(exchange.url, url) for url in session.urls)]
    if len(reached) > 1:
        reached = [session for session in reached if session.key == key]
    return reached[0] if len(reached) == 1 else None


def _below(url: str, base: str) -> bool:
    return url == base or url.startswith(base.rstrip("/") + "/")


def _end(exchange: Exchange) -> float:
    return exchange.finished if exchange.finished is not None else float("inf")


def _during(call: Call, exchange: Exchange) -> bool:
    return exchange.started <= call.arrived <= _end(exchange)


def _fails_inside(reply: Reply) -> bool:
    if not reply.is_stream:
        return False
    named = any(event.event in ("error", "response.failed") for event in reply.events)
    return named or any('"error"' in event.data and event.data.startswith('{"error"') for event in reply.events)
