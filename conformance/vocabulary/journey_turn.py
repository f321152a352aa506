"""A turn of a journey: what it asks in its situation, and what the model says to it.

Values that can be looked for (a temperature, a stop string, a name) are made from the number of the turn, so that no
other turn has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.client.http import Reply
from conformance.vocabulary.calls import TEMPTING
from conformance.vocabulary.situations import FAILED, Situation
from conformance.vocabulary.talk import MESSAGES, Content, Entry, Wire

ODD = {**TEMPTING, "place": "東京 🗼", "share": 0.5, "list": [1, "2", True, {"größe": "groß"}]}
"""Arguments that are easily changed on their way."""
UNMET = {"floors": {"type": "integer"}}
"""Parameters that the model gives a text that is no value of their type, `true`: it stays that text."""
COUNTS = {"two calls": 2, "text and call": 2, "three calls": 3, "five calls": 5}
END = "END"
ROOM = 16384
"""Tokens that each answer of a journey has room for."""
CUT = 64
"""Tokens of an answer that a request's limit cuts, at most."""
LONG = 8000
KINDS = {
    "empty": "",
    "other scripts": "{text}: größte 建物 in 東京, 🏙️🧬 и ещё",
    "[DONE]": "[DONE]",
    "blank ends": "\n  {text}\n\nof it ",
    "long": "{text} " + " and so on" * 800,
    "data lines": "data: {text}\n\nevent: end\ndata: [DONE]\n\nid: 1",
    "markup": '<b>{text}</b> & <a href="x">&lt;</a> {{ messages }} [INST] \\n "quoted"',
}
"""Kinds of content that are not plain, as texts."""
DEFAULTS = {"temperature": 0.125, "top_p": 0.375, "max_tokens": ROOM - 1}
"""Sampling values of a session, of which no request has one."""
SYSTEM = "You are a guide who is brief."
FREE_TO_REFUSE = frozenset(
    {"top_k", "seed", "labels", "unknown", "logprobs", "penalties", "presence_penalty", "frequency_penalty"}
)
"""Fields of which another requirement says what becomes of them: a turn that is refused for one is asked without it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one request asks, and what the model makes of it. `sampling` are the values that the engine must receive,
    `limit` the bound of the answer, if the request has one; `marks` are values that no other request has. `told` are
    texts that the model must be given, in order; `tools` what it must be told of tools, in any. `says` is the script.
    """

    label: str
    over: Wire
    situation: Situation
    new: Entry
    tools: Sequence[Mapping[str, Any]]
    fields: Mapping[str, Any]
    sampling: Mapping[str, Any]
    limit: int | None
    marks: tuple[Any, ...]
    told: tuple[str, ...]
    says: Mapping[str, Any]
    text: str
    calls: tuple[Mapping[str, Any], ...]

    @property
    def ending(self) -> str:
        """How the answer ends."""
        if self.calls:
            return "tool call"
        return "stop" if self.situation.ending in FAILED else self.situation.ending


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request that was sent for a turn. `fault` is the status with which the engine was told to fail; None where it
    answers. `refused`: the gateway does not take the field, and the turn is asked without."""

    turn: Turn
    reply: Reply
    fault: int | None = None
    refused: bool = False


def fields_of(situation: Situation, over: Wire, number: int) -> tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]:
    """The fields of a request, the sampling values that the engine must receive for it, and the values of it that no
    other request has."""
    name = situation.field
    values: dict[str, Any] = {"temperature": 0.25 + number / 64, "top_p": 0.5 + number / 128, "top_k": 2000 + number}
    penalties = {"presence_penalty": number / 1000 + 0.0001, "frequency_penalty": number / 1000 + 0.0002}
    values |= penalties  # of which no multiple of 1 / 128 is one
    if name in values:
        return {name: values[name]}, {name: values[name]}, (values[name],)
    if name in ("stop", "unused stop"):
        unused = [f"UNUSED {number}", f"NOR THIS {number}"]
        stops = [*unused, END] if name == "stop" else unused
        return {str(over.stop): stops}, {"stop": stops}, tuple(unused)
    if name == "labels":
        user, run = f"user-{number}", f"run-{number}"
        labels = (
            {"metadata": {"user_id": user}} if over.family == MESSAGES else {"user": user, "metadata": {"run": run}}
        )
        return labels, {}, (user, run)
    if name == "null":
        nulls = [*(("top_p", "temperature", over.stop) if over.stop else ("top_p", "temperature")), "metadata"]
        return dict.fromkeys(nulls), {}, ()
    if name == "several":
        both = {"temperature": values["temperature"], "top_p": values["top_p"]}
        if not over.stop:
            return {**both}, {**both}, tuple(both.values())
        unused = [f"UNUSED {number}"]
        return {**both, over.stop: unused}, {**both, "stop": unused}, tuple(both.values())
    if name == "penalties":
        return {**penalties}, {**penalties}, tuple(penalties.values())
    plain: dict[str, dict[str, Any]] = {
        "seed": {"seed": 7000 + number},
        "tool_choice none": {"tool_choice": {"type": "none"} if over.family == MESSAGES else "none"},
        "tool_choice auto": {"tool_choice": {"type": "auto"} if over.family == MESSAGES else "auto"},
        "include_usage": {"stream_options": {"include_usage": True}},
        "logprobs": {"logprobs": True},
        "unknown": {"x_unheard_of": f"nobody-{number}"},
    }
    fields = plain.get(name, {})
    return fields, {}, tuple(fields.values()) if name in ("seed", "unknown") else ()


def system_of(situation: Situation, number: int) -> tuple[Content | None, tuple[str, ...]]:
    """What stands in front of a request, and what of it no other request has."""
    if situation.system == "another":
        own = f"This is day {number} of the tour."
        return f"{SYSTEM} {own}", (own,)
    constant: dict[str, Content] = {"text": SYSTEM, "parts": (SYSTEM, "You know the town.")}
    return constant.get(situation.system), ()


def asked(kind: str, text: str) -> Content:
    """What a client says, of this kind of content. `text` is in it, but where it must be something else."""
    if kind == "one part":
        return (text,)
    if kind == "three parts":
        return (f"{text}: one.", f"{text}: two.", f"{text}: three.")
    return text if kind == "empty" else answered(kind, text)


def answered(kind: str, text: str) -> str:
    """What a model says, of this kind of content."""
    return KINDS.get(kind, "{text}").replace("{text}", text)[:LONG]
