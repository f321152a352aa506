"""What a random agent holds in its hands: conversations, requests, and words for them in a story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.client.failure import describe
from conformance.client.http import Reply
from conformance.vocabulary.journey_turn import ODD, UNMET, Turn
from conformance.vocabulary.session import function, typed
from conformance.vocabulary.situations import Situation
from conformance.vocabulary.talk import Entry, Question, Results, Talk, Wire


@dataclass(eq=False)
class Request:
    """A request and what must hold for it. `turn` says what is asked and answered; `marker` stands in no other request
    that is in flight beside it. `follows` is the request whose answer its history ends with, as it came, under the same
    tools. `outcome` is `answered`, `failed`, `hung up`, `refused` or `full`: no room was left."""

    number: int
    does: str
    turn: Turn
    marker: str
    follows: Request | None = None
    images: tuple[str, ...] = ()
    outcome: str = "answered"
    fault: str = ""
    may_be_refused: bool = False
    counted: int | None = None
    """Tokens that the gateway counted before it was sent."""
    reply: Reply | None = None

    @property
    def started(self) -> float:
        return self.reply.exchange.started if self.reply else float("inf")

    @property
    def ended(self) -> float:
        ended = self.reply.exchange.finished if self.reply else None
        return float("inf") if ended is None else ended

    def __str__(self) -> str:
        return f"{self.number}. {self.does}"


@dataclass(eq=False)
class Dialogue:
    """One conversation: its history, the tools that it has, and how it was before each of its questions. `last` is the
    request whose answer its history ends with, as it came."""

    talk: Talk
    name: str
    tools: list[dict[str, Any]] = field(default_factory=list)
    last: Request | None = None
    before: list[tuple[Talk, Request | None]] = field(default_factory=list)
    asked: Entry | None = None

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(url for entry in self.talk.entries if isinstance(entry, Question) for url in entry.images)


def toolsets(end: str) -> dict[str, list[dict[str, Any]]]:
    """The tools of a conversation, by the calls that are made of them."""
    search = function("search", "Search the web.", query={"type": "string"})
    return {
        "one call": [search, function("now", "Tell what time it is.")],
        "odd values": [function("order", "Bestellt für Gebäude 建物 🏠.", **typed(ODD), **UNMET)],
        "control text": [function("page", f"Reads a page up to {end} or to its end.", url={"type": "string"})],
    }


def named(situation: Situation, also: Sequence[str] = ()) -> str:
    """A situation in a few words."""
    plain = {"stream": "plain", "tools": "none", "content": "text", "field": "none"}
    parts = [situation.wire]
    parts += [value for name, value in situation.values() if name in plain and value != plain[name]]
    cut = ["cut for length"] if situation.ending == "length" else []
    return ", ".join([*(part for part in parts if part != "declared"), *also, *cut])


def offered(turn: Turn) -> Sequence[Mapping[str, Any]]:
    """The tools that the model is told of."""
    choice = turn.fields.get("tool_choice")
    return [] if choice in ("none", {"type": "none"}) else turn.tools


def shown(new: Entry) -> str:
    """What is new in a request, in a few words."""
    if isinstance(new, Question):
        content = new.content if isinstance(new.content, str) else " | ".join(new.content)
        return f"user {describe(content, 40)}" + (f" with {len(new.images)} images" if new.images else "")
    if isinstance(new, Results):
        return f"{len(new.contents)} results" if new.contents else "nothing new"
    return "an answer"


def said(reply: Reply, over: Wire) -> str:
    """What was answered, in a few words."""
    calls = [call.name for call in over.calls(reply)]
    return " and ".join([*([describe(reply.text, 40)] if reply.text or not calls else []), *map(str, calls)])
