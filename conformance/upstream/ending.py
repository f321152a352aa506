"""Where a generation ends before its script does, as in an engine: at a stop string, at a stop token, at the limit.

Knows ids, their text and what a request asks for; nothing of steps, of HTTP or of a dialect's JSON.

Invariant: ids are never changed but cut behind one of them, whatever is cut out of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

CUT, KEPT, WHOLE = "cut", "kept", "whole"
"""What an engine shows of a stop string: nothing; the string and nothing behind it; all that its tokens say."""


class Vocabulary(Protocol):
    """What of a tokenizer is needed here."""

    @property
    def end_of_turn(self) -> int: ...

    @property
    def end_of_call(self) -> int: ...

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str: ...

    def pieces(self, ids: Sequence[int], skip_special: bool = True) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Stops:
    """At what a request wants its generation to end, and what of a string is `shown`."""

    strings: tuple[str, ...] = ()
    ids: frozenset[int] = frozenset()
    shown: str = CUT


@dataclass(frozen=True, slots=True)
class Ending:
    """A generation that has come to its end. `speaking` of its `ids` have text, and `text` is what of that is shown.
    `matched` is the string or the id of the request that ended it."""

    ids: list[int]
    text: str
    speaking: int
    finish_reason: str
    matched: str | int | None = None


def ended(
    ids: list[int], finish_reason: str, stops: Stops, limit: int | None, vocabulary: Vocabulary, skip_special: bool
) -> Ending:
    """The generation of which a script says `ids` and `finish_reason`, cut at the first of what ends it earlier."""
    if limit is not None and len(ids) > limit:
        ids, finish_reason = ids[:limit], "length"
    turn_ended = ids[-1:] in ([vocabulary.end_of_turn], [vocabulary.end_of_call]) and finish_reason != "length"
    speaking = len(ids) - turn_ended
    if stops.strings or stops.ids:
        stopped = _stopped(ids[:speaking], stops, vocabulary, skip_special)
        if stopped is not None:
            return stopped
    return Ending(ids, vocabulary.decode(ids[:speaking], skip_special), speaking, finish_reason)


def _stopped(ids: Sequence[int], stops: Stops, vocabulary: Vocabulary, skip_special: bool) -> Ending | None:
    text, longest = "", max((len(string) for string in stops.strings), default=0)
    for place, (token, piece) in enumerate(zip(ids, vocabulary.pieces(ids, skip_special), strict=True)):
        if token in stops.ids:
            return Ending(list(ids[: place + 1]), text, place, "stop", token)
        seen = max(len(text) - longest + 1, 0)  # before it no string can begin that was not whole before
        text += piece
        for string in stops.strings:
            start = text.find(string, seen)
            if start >= 0:
                end = {CUT: start, KEPT: start + len(string), WHOLE: len(text)}[stops.shown]
                return Ending(list(ids[: place + 1]), text[:end], place + 1, "stop", string)
    return None
