"""What a random agent does, as data, so that it can be searched, shortened and played again.

A plan is sessions as they are opened, and moves in them. Every value means something to every gateway: numbers are
counted round, and what does not go together, or is not declared, gives way to what is plain (`roamer.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from random import Random
from types import MappingProxyType
from typing import Any

from conformance.gateway import GATEWAY_WIDE, OPTIONS, Capability, Declaration

PLAIN = "goes on"
MOVES = 8
"""Of a plan. One that was found to fail is shortened below that."""
OFTEN = 0.4
"""How often a value of a move is another than the plain one."""
ALWAYS = frozenset({"wire", "stream", "fault"})
"""Values that are always drawn."""
CHOSEN = (
    *("multi_chain", "first_rewrite", "last_rewrite", "repeated_prompt", "idempotent_retry", "concurrency"),
    *("tool_id_identity", "reasoning_identity", "name_identity", "whitespace_identity"),
)
"""Options that a session is opened with, where it can choose."""


@dataclass(frozen=True, slots=True)
class Opened:
    """How a session is opened: with sampling values of its own, with room for this many tokens (0: no limit), and with
    these options."""

    sampling: bool = False
    room: int = 0
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """What the agent does: `kind` in session number `session`, with its conversation number `talk`, in the manner
    `how`. The others are values of the dimension of their name; `fault` is how the engine fails, where it does."""

    kind: str = PLAIN
    session: int = 0
    talk: int = 0
    how: int = 0
    wire: str = "chat"
    stream: str = "plain"
    tools: str = "none"
    content: str = "text"
    fields: tuple[str, ...] = ()
    ending: str = "stop"
    fault: str = "500"


@dataclass(frozen=True, slots=True)
class Plan:
    """Sessions and moves."""

    sessions: tuple[Opened, ...] = (Opened(),)
    moves: tuple[Move, ...] = ()


HISTORIES = (
    *("begins", "goes back", "rewrites", "asks again", "compacts", "asks for more", "changes tools"),
    "brings along",
)
WIRES = ("chat", "messages", "responses", "response chain", "conversation", "invocations")
CALLING = ("declared", "one call", "two calls", "three calls", "five calls", "no arguments", "text and call")
CONTENTS = (
    *("one part", "three parts", "empty", "other scripts", "[DONE]", "blank ends", "long", "data lines", "markup"),
    "split ids",
)
FIELDS = (
    *("temperature", "top_p", "top_k", "stop", "unused stop", "limit", "seed", "tool_choice none", "tool_choice auto"),
    *("include_usage", "labels", "unknown", "null", "presence_penalty", "frequency_penalty", "logprobs"),
)
FAULTS = (
    *("500", "503", "502", "429", "400", "413", "422", "reset", "truncated", "abort", "no ids", "no generation"),
    "another prompt",
)
"""How the engine fails: with a status, a connection that ends too soon, or an answer that is none."""


@dataclass(frozen=True, slots=True)
class Theme:
    """What plans are about: the kinds of their moves, each as often as it stands here, and the values of those."""

    name: str
    kinds: tuple[str, ...]
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sessions: int = 1
    opened: bool = False
    """Whether sessions are opened with settings."""

    def __str__(self) -> str:
        return self.name


BOTH = ("plain", "streamed")
EVERYTHING = Theme(
    "everything",
    (
        *(PLAIN,) * 8,
        *HISTORIES,
        *("calls", "calls", "interrupts", "fails", "fails", "hangs up", "sends again", "at once", "ends", "looks"),
        *("rewards", "shows", "renames ids", "counts tokens"),
    ),
    {
        "wire": WIRES,
        "stream": BOTH,
        "tools": (*CALLING, "odd values", "control text"),
        "content": CONTENTS,
        "fields": FIELDS,
        "ending": ("length", "stop string"),
        "fault": FAULTS,
    },
    3,
    opened=True,
)
CHATS = Theme(
    "chats", (*(PLAIN,) * 3, *HISTORIES[:7], "calls", "fails", "at once"), {"stream": BOTH, "fault": ("reset",)}
)
"""What an agent does with its history, over chat alone."""
THEMES: Sequence[Theme] = (
    Theme(
        "wires",
        (*(PLAIN,) * 6, *HISTORIES, "looks", "counts tokens"),
        {"wire": WIRES, "stream": BOTH, "content": CONTENTS, "ending": ("length",)},
    ),
    Theme(
        "tools",
        (PLAIN, PLAIN, *("calls",) * 6, "interrupts", "changes tools", "goes back", "fails", "begins", "renames ids"),
        {
            "wire": WIRES[:5],
            "stream": BOTH,
            "tools": (*CALLING, "odd values", "control text"),
            "content": CONTENTS,
            "fields": (
                *("temperature", "top_k", "stop", "unused stop", "tool_choice auto", "tool_choice none", "limit"),
                *("include_usage", "logprobs"),
            ),
            "fault": FAULTS,
        },
    ),
    Theme(
        "failures",
        (*(PLAIN,) * 3, *("fails",) * 4, *("hangs up",) * 3, "sends again", "asks again", "calls", "begins"),
        {"wire": WIRES, "stream": BOTH, "tools": CALLING, "fault": FAULTS, "fields": ("temperature", "stop")},
    ),
    Theme(
        "sampling",
        (*(PLAIN,) * 6, "calls", "begins", "rewrites", "fails"),
        {
            "wire": WIRES,
            "stream": BOTH,
            "tools": CALLING,
            "fields": FIELDS,
            "ending": ("length", "stop string"),
            "content": ("three parts", "other scripts", "split ids", "empty"),
        },
        opened=True,
    ),
    Theme(
        "sessions",
        (*(PLAIN,) * 5, "at once", "at once", "ends", "rewards", "looks", "shows", "calls", "begins", "rewrites"),
        {
            "wire": WIRES,
            "stream": BOTH,
            "tools": CALLING,
            "content": CONTENTS,
            "fields": ("temperature", "seed", "limit", "labels"),
        },
        3,
        opened=True,
    ),
    EVERYTHING,
)
"""Together they have all that an agent does; each plan of the last one can have any of it."""

NEEDS: Mapping[str, Capability] = MappingProxyType(
    {"calls": Capability.TOOLS, "changes tools": Capability.TOOLS, "interrupts": Capability.TOOLS}
    | {"renames ids": Capability.TOOLS, "counts tokens": Capability.ANTHROPIC_MESSAGES}
    | {"shows": Capability.MEDIA, "rewards": Capability.REWARD_INFO, "ends": Capability.SESSIONS}
)
"""Moves that not every gateway has to know."""


def invented(source: Random, theme: Theme, declaration: Declaration) -> Plan:
    """A plan of this theme, of what the gateway declares."""
    capabilities = declaration.capabilities
    kinds = [kind for kind in theme.kinds if NEEDS.get(kind) in (None, *capabilities)]
    several = 1 + source.randrange(theme.sessions) if Capability.SESSIONS in capabilities else 1
    opened = tuple(_opened(source, theme, declaration) for _ in range(several))
    return Plan(opened, tuple(_move(source, theme, kinds, several) for _ in range(MOVES)))


def _opened(source: Random, theme: Theme, declaration: Declaration) -> Opened:
    sampling, lengths, options = (source.random() < OFTEN for _ in range(3))
    room, chosen = source.randrange(120, 420), source.sample(CHOSEN, 3)
    values = [source.choice(tuple(OPTIONS[name].values)) for name in chosen]
    if not theme.opened:
        return Opened()
    has, known = declaration.capabilities, declaration.options.get("budget") in ("total", "none")
    return Opened(
        sampling and Capability.SESSION_SAMPLING in has,
        room if lengths and Capability.SESSION_LENGTHS in has and known else 0,
        tuple(
            (name, value)
            for name, value in zip(chosen, values, strict=True)
            if options
            and Capability.SESSION_OPTIONS in has
            and name in declaration.options
            and name not in GATEWAY_WIDE
        ),
    )


def _move(source: Random, theme: Theme, kinds: Collection[str], sessions: int) -> Move:
    values: dict[str, Any] = {}
    for name, choices in theme.values.items():
        often, value = source.random() < OFTEN, source.choice(tuple(choices))
        if name == "fields":
            more = source.choice(tuple(choices))
            values[name] = tuple(dict.fromkeys((value, more))) if often else ()
        elif often or name in ALWAYS:
            values[name] = value
    return Move(
        source.choice(tuple(kinds)), source.randrange(sessions), source.randrange(12), source.randrange(12), **values
    )


def simpler(plan: Plan) -> Iterator[Plan]:
    """Plans that are a step simpler: without moves, or with plainer ones; in plainer sessions, or in fewer."""
    moves = plan.moves
    half = len(moves) // 2
    if half > 1:
        yield replace(plan, moves=moves[half:])
        yield replace(plan, moves=moves[:half])
    for place in range(len(moves)) if len(moves) > 1 else ():
        yield replace(plan, moves=(*moves[:place], *moves[place + 1 :]))
    if len(plan.sessions) > 1:
        yield replace(plan, sessions=plan.sessions[:1])
    for place, opened in enumerate(plan.sessions):
        for plainer in (
            Opened(),
            replace(opened, options=()),
            replace(opened, room=0),
            replace(opened, sampling=False),
        ):
            if plainer != opened:
                yield replace(plan, sessions=(*plan.sessions[:place], plainer, *plan.sessions[place + 1 :]))
    for place, move in enumerate(moves):
        for easier in _plainer(move):
            yield replace(plan, moves=(*moves[:place], easier, *moves[place + 1 :]))


def _plainer(move: Move) -> Iterator[Move]:
    plain = Move()
    if move != plain:
        yield plain
    if move != (bare := Move(move.kind)) and bare != plain:
        yield bare
    for each in fields(Move):
        if getattr(move, each.name) != getattr(plain, each.name):
            yield replace(move, **{each.name: getattr(plain, each.name)})
    if len(move.fields) > 1:
        yield replace(move, fields=move.fields[:1])
        yield replace(move, fields=move.fields[1:])
