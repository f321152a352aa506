"""Situations in which a turn can stand, as data: in which respects they differ, and what can't go together.

Real faults are conditional: a field is lost from the second turn on, the third part of a message is dropped, a call is
made twice behind a tool's result. So the rows of `journeys.csv` have each pair of values that can go together at least
once, and each value over each wire in each stream mode, in the order in which they are walked.
`python -m tests.kit.make_journeys` writes that file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

JOURNEYS = Path(__file__).with_name("journeys.csv")


@dataclass(frozen=True, slots=True)
class Situation:
    """One turn. Each field is a value of the dimension of its name."""

    wire: str
    stream: str
    tools: str
    place: str
    content: str
    field: str
    ending: str
    system: str = "none"

    def __str__(self) -> str:
        plain = {
            "stream": "plain",
            "tools": "none",
            "content": "text",
            "field": "none",
            "ending": "stop",
            "system": "none",
        }
        said = [f"{name}: {value}" for name, value in self.values() if value != plain.get(name)]
        return ", ".join(said).removeprefix("wire: ")

    def values(self) -> Iterator[tuple[str, str]]:
        """Dimension and value, in order."""
        return ((dimension.name, getattr(self, dimension.name)) for dimension in fields(self))


DIMENSIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "wire": {
            "chat": "Chat completions; the client sends the whole history.",
            "messages": "Anthropic messages; the client sends the whole history.",
            "responses": "Responses whose input is the whole history.",
            "response chain": "Responses that name the response before them; the gateway keeps the history.",
            "conversation": "Responses of a conversation, which the gateway keeps.",
            "invocations": "Invocations of one `session_id`, whose history the gateway keeps.",
        },
        "stream": {"plain": "One JSON body.", "streamed": "Server-sent events."},
        "tools": {
            "none": "The request has no tools.",
            "declared": "It has tools, and the model calls none.",
            "one call": "The model makes one call.",
            "two calls": "Two calls of one tool.",
            "five calls": "Five calls at once, each with its own result.",
            "no arguments": "A call of a tool without parameters.",
            "odd values": "Definitions beyond ASCII; an integer of 19 digits, `true` as a string, other scripts.",
            "text and call": "Text in front of two calls.",
            "control text": "A tool's description and its result spell the token that ends a turn.",
        },
        "place": {
            "first": "It begins a conversation.",
            "later": "It stands behind an answer.",
            "behind a result": "It stands behind the result of a tool.",
            "behind three results": "It stands behind three results or more.",
            "second branch": "The client has gone back, and asks something else.",
            "behind a new answer": "The answer before it was given up for another.",
            "behind a failure": "The request before it failed, and was asked again.",
            "behind a cut": "The answer before it was cut for length.",
            "behind a stop": "The answer before it was ended by a stop string.",
            "behind another wire": "The answer before it came over another wire.",
            "resumed": "The client has held another conversation of the session in between.",
        },
        "content": {
            "text": "One string, asked and answered.",
            "one part": "A list of one text part is asked.",
            "three parts": "A list of three text parts is asked.",
            "empty": "The model says nothing; a tool's result is empty.",
            "other scripts": "Characters of several bytes and several tokens.",
            "[DONE]": "Exactly `[DONE]`, with which event streams end.",
            "blank ends": "White space at both ends.",
            "long": "8,000 characters.",
            "data lines": "Lines that look like server-sent events.",
            "markup": "Text that looks like markup and templates.",
            "split ids": "The model samples other ids than a tokenizer gives for its text.",
        },
        "field": {
            "none": "No optional field.",
            "temperature": "A temperature.",
            "top_p": "A `top_p`.",
            "top_k": "A `top_k`, where the wire has one.",
            "stop": "A stop string, which the model comes to.",
            "unused stop": "A stop string, which the model does not come to.",
            "limit": "A limit of tokens.",
            "seed": "A seed, where the wire has one.",
            "tool_choice none": "`tool_choice` that forbids calls.",
            "tool_choice auto": "`tool_choice` that is the default.",
            "include_usage": "`stream_options` that ask for the usage.",
            "labels": "`user` and `metadata`.",
            "unknown": "A field that nobody knows.",
            "null": "null for optional fields.",
            "several": "A temperature, a `top_p`, and a stop string that the model does not come to, where it has one.",
            "penalties": "Both penalties, where the wire has them.",
            "logprobs": "The log-probabilities of what was sampled, where the wire tells them.",
        },
        "ending": {
            "stop": "The model comes to its end.",
            "length": "The answer is cut, by the request's limit or by the engine.",
            "stop string": "A stop string ends it.",
            "tool call": "It ends with calls.",
            "500": "The engine fails with status 500; asked again, it answers.",
            "503": "The engine is overloaded; asked again, it answers.",
            "429": "The engine takes no more requests; asked again, it answers.",
        },
        "system": {
            "none": "The request has no system message.",
            "text": "It has one, or instructions: the same each time.",
            "parts": "It has one as a list of two parts.",
            "another": "It has one that no other request has.",
        },
    }
)
"""Dimension -> value -> what it means."""

CALLED = frozenset(DIMENSIONS["tools"]) - {"none", "declared"}
"""Tools of which the model calls one."""
TOLD = frozenset({"behind a result", "behind three results"})
"""Places where a tool's results are what is new."""
FAILED = frozenset({"500", "503", "429"})
"""Endings that the engine's failure comes before."""
_KEPT = frozenset({"response chain", "conversation", "invocations"})
_STOPS = frozenset({"stop", "unused stop"})
_ON_RESPONSES = frozenset({"responses", "response chain", "conversation"})


def _all_but(dimension: str, *values: str) -> frozenset[str]:
    return frozenset(DIMENSIONS[dimension]).difference(values)


@dataclass(frozen=True, slots=True)
class Apart:
    """No value of `one`, a dimension and values of it, goes together with one of `other`."""

    why: str
    one: tuple[str, frozenset[str]]
    other: tuple[str, frozenset[str]]


APART: tuple[Apart, ...] = (
    Apart(
        "a message of an invocation is text", ("wire", frozenset({"invocations"})), ("tools", _all_but("tools", "none"))
    ),
    Apart(
        "a message of an invocation is text",
        ("wire", frozenset({"invocations"})),
        ("content", frozenset({"one part", "three parts"})),
    ),
    Apart(
        "an invocation has no field for it",
        ("wire", frozenset({"invocations"})),
        ("field", _all_but("field", "none", "unknown")),
    ),
    Apart("responses have no stop strings", ("wire", _ON_RESPONSES), ("field", _STOPS)),
    Apart("responses have no `top_k` and no seed", ("wire", _ON_RESPONSES), ("field", frozenset({"top_k", "seed"}))),
    Apart("messages have no seed", ("wire", frozenset({"messages"})), ("field", frozenset({"seed"}))),
    Apart(
        "only chat has penalties and tells log-probabilities",
        ("wire", _all_but("wire", "chat")),
        ("field", frozenset({"penalties", "logprobs"})),
    ),
    Apart(
        "an invocation has no system message",
        ("wire", frozenset({"invocations"})),
        ("system", _all_but("system", "none")),
    ),
    Apart("instructions are a text", ("wire", _ON_RESPONSES), ("system", frozenset({"parts"}))),
    Apart("only chat asks for the usage", ("wire", _all_but("wire", "chat")), ("field", frozenset({"include_usage"}))),
    Apart("a plain answer has its usage", ("stream", frozenset({"plain"})), ("field", frozenset({"include_usage"}))),
    Apart(
        "a kept history is not gone back in",
        ("wire", frozenset({"conversation", "invocations"})),
        ("place", frozenset({"second branch", "behind a new answer"})),
    ),
    Apart(
        "a kept history begins on its own wire",
        ("wire", frozenset({"response chain", "invocations"})),
        ("place", frozenset({"behind another wire"})),
    ),
    Apart("no request of a kept history has stop strings", ("wire", _KEPT), ("place", frozenset({"behind a stop"}))),
    Apart("results are of tools", ("tools", frozenset({"none"})), ("place", TOLD)),
    Apart(
        "without tools there is no choice", ("tools", frozenset({"none"})), ("field", frozenset({"tool_choice auto"}))
    ),
    Apart(
        "no call where calls are forbidden",
        ("tools", _all_but("tools", "declared")),
        ("field", frozenset({"tool_choice none"})),
    ),
    Apart("calls end an answer", ("tools", CALLED), ("ending", frozenset({"stop", "length", "stop string"}))),
    Apart("there are no calls", ("tools", frozenset({"none", "declared"})), ("ending", frozenset({"tool call"}))),
    Apart("the stop string ends it", ("field", frozenset({"stop"})), ("ending", _all_but("ending", "stop string"))),
    Apart("there is no stop string", ("field", _all_but("field", "stop")), ("ending", frozenset({"stop string"}))),
    Apart("nothing can't be cut", ("content", frozenset({"empty"})), ("ending", frozenset({"length"}))),
    Apart("there is text", ("content", frozenset({"empty"})), ("tools", frozenset({"text and call"}))),
    Apart("calls are written in tokens of their own", ("content", frozenset({"split ids"})), ("tools", CALLED)),
)


@cache
def _apart() -> frozenset[frozenset[tuple[str, str]]]:
    return frozenset(
        frozenset({(apart.one[0], one), (apart.other[0], other)})
        for apart in APART
        for one in apart.one[1]
        for other in apart.other[1]
    )


def agree(values: Mapping[str, str]) -> bool:
    """Whether no two of these values, by dimension, are apart."""
    return not any(frozenset(pair) in _apart() for pair in combinations(values.items(), 2))


def completed(values: Mapping[str, str]) -> Situation | None:
    """A situation with these values; None where there is none."""
    if not agree(values):
        return None
    left = next((name for name in DIMENSIONS if name not in values), None)
    if left is None:
        return Situation(**values)
    for value in DIMENSIONS[left]:
        situation = completed({**values, left: value})
        if situation is not None:
            return situation
    return None


Crossing = frozenset[tuple[str, str]]
"""Values that stand together, by dimension."""
_SHOWN = ("ending", "stop")
"""By this ending what the model says is shown as it is."""


@cache
def crossings() -> frozenset[Crossing]:
    """Each pair of values that some situation has; each value, and each kind of content that is shown as it is, over
    each wire in each stream mode."""
    every = [(name, value) for name, values in DIMENSIONS.items() for value in values]
    pairs = [pair for pair in combinations(every, 2) if pair[0][0] != pair[1][0]]
    modes = [(("wire", wire), ("stream", stream)) for wire in DIMENSIONS["wire"] for stream in DIMENSIONS["stream"]]
    over = [(*mode, one) for mode in modes for one in every if one[0] not in ("wire", "stream")]
    shown = [(*mode, ("content", kind), _SHOWN) for mode in modes for kind in DIMENSIONS["content"]]
    return frozenset(frozenset(values) for values in (*pairs, *over, *shown) if completed(dict(values)) is not None)


def crossings_of(values: Mapping[str, str]) -> frozenset[Crossing]:
    """Those of a situation with these values, or of some values of one."""
    items = tuple(values.items())
    found = set(map(frozenset, combinations(items, 2)))
    if {"wire", "stream"} <= values.keys():
        mode = (("wire", values["wire"]), ("stream", values["stream"]))
        found |= {frozenset({*mode, one}) for one in items}
        if _SHOWN in items and "content" in values:
            found.add(frozenset({*mode, ("content", values["content"]), _SHOWN}))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Journey:
    """Situations that are walked one after the other, all over one wire."""

    name: str
    situations: tuple[Situation, ...]

    def __str__(self) -> str:
        return self.name


@cache
def journeys(wire: str) -> tuple[Journey, ...]:
    """The journeys over a wire."""
    rows: dict[str, list[Situation]] = {}
    with JOURNEYS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row.pop("journey"), []).append(Situation(**row))
    return tuple(Journey(name, tuple(walked)) for name, walked in rows.items() if walked[0].wire == wire)
