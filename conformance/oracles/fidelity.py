"""Template fidelity: is what a gateway puts between the generations what the chat template puts there?

Knows ids and their text; the template only as ids that someone rendered. What the model sampled is never judged here:
a generation whose ids are not canonical for their text is legal, so it is compared by text.

Sources: contract UA-ENC-01, UA-ENC-04, UA-RB-04, UA-RB-07; design.md, "Tokens between turns".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from conformance.oracles import Violation
from conformance.oracles.difference import Difference, kind_of_difference
from conformance.oracles.evidence import Exported, Track
from conformance.oracles.tokens import (
    Decode,
    count,
    first_difference,
    listed,
    pack,
    part,
    places,
    sequence,
    stands_at,
    text_of,
    window,
)
from conformance.oracles.wording import counted

HINTS = {
    Difference.LACKS_REPEAT: "the template repeats these ids, the export has them once",
    Difference.LACKS_SEAM: "the end-of-turn token or the turn separator behind the generation is missing",
    Difference.LACKS: "the export leaves out ids that the template puts there",
    Difference.HAS_REPEAT: "the export has these ids twice: is the generation prompt doubled?",
    Difference.HAS_SEAM: "the end-of-turn token or the turn separator behind the generation is doubled",
    Difference.HAS: "the export has ids that the template does not put there",
    Difference.RETOKENISED: "same text, other ids: was the text cut in another place before it was encoded?",
    Difference.INSIDE: "the text of the generation changed when it was rendered again",
    Difference.OTHER: "",
}


def fidelity(
    trajectories: Sequence[Exported], decode: Decode, renders: Sequence[Sequence[int] | None]
) -> list[Violation]:
    """Whether the context of each trajectory's last generation is the full chat template's.

    `renders` has for each trajectory the ids that the template gives for the messages of its last turn, generation
    prompt included; None leaves a trajectory out. `decode` gives the text of ids, special tokens included.
    """
    violations: list[Violation] = []
    items, wanted = sequence(trajectories), sequence(renders)
    if len(items) != len(wanted):
        violations.append(
            Violation("trajectories", f"{counted(len(wanted), 'trajectory')}, one a render", str(len(items)))
        )
    for number, (item, render) in enumerate(zip(items, wanted, strict=False)):
        if render is not None:
            violations += _against(Track(number, item), pack(render), decode)
    return violations


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The end of a turn as a template writes it.

    `tokens` are the ids that a generation can end with, `written` says whether the template itself ends an answer with
    one. `lead` is its text between an answer and that token, `separator` the ids behind the token. `headers` are texts
    that it writes between the token and the content of the next message, for those roles of which that is known.
    """

    tokens: Collection[int] = ()
    separator: Sequence[int] = ()
    lead: str = ""
    headers: Collection[str] = ()
    written: bool = True


def seams(
    trajectories: Sequence[Exported],
    decode: Decode,
    encode: Callable[[str], Sequence[int]] | None = None,
    generation_prompt: Sequence[int] = (),
    turn_end: TurnEnd | None = None,
) -> list[Violation]:
    """What can be said about the ids between generations when nobody knows the messages.

    With `turn_end`: each generation is ended exactly once, by itself or by what follows, and then comes the separator;
    behind one that ended itself stands nothing of what the template has in front of its own end token. Behind the last
    generation only what is there twice is wrong, as the rest may be cut off. With `generation_prompt`: each generation
    has it once before it. With `encode`: what the gateway added has the canonical ids of its text.
    """
    prompt = pack(generation_prompt)
    violations: list[Violation] = []
    for number, item in enumerate(sequence(trajectories)):
        track = Track(number, item)
        for low, high, sampled in _spans(track):
            if sampled:
                continue
            ids, where = part(track.full, low, high), track.place(low, high)
            if low and turn_end is not None and turn_end.tokens:
                last = part(track.full, low - 1, low)
                violations += _Ends(turn_end, decode).judge(where, last, ids, whole=high < track.end)
            if high < track.end and prompt:
                violations += _generation_prompt(where, ids, prompt, decode)
            if encode is not None:
                violations += _canonical(where, ids, decode, encode)
    return violations


def _spans(track: Track) -> Iterator[tuple[int, int, bool]]:
    """The trajectory as stretches (start, end, whether it was sampled)."""
    at = 0
    for start, end in track.runs:
        if start > at:
            yield at, start, False
        yield start, end, True
        at = end
    if at < track.end:
        yield at, track.end, False


def _against(track: Track, render: bytes, decode: Decode) -> Iterator[Violation]:
    last = track.runs[-1][0] if track.runs else track.end
    ids, origins, generations = b"", [(0, 0)], []
    spans = [span for span in _spans(track) if span[1] <= last]
    for number, (low, high, sampled) in enumerate(spans):
        start, piece = count(ids), part(track.full, low, high)
        origins.append((start, low))
        if sampled:
            following = part(track.full, *spans[number + 1][:2])  # the gap before the next generation
            piece = _as_rendered(piece, render, start, following, decode)
            generations.append((start, start + count(piece)))
        ids += piece
    at = first_difference(ids, render)
    # A last turn that continues an assistant message in place has no ids of the template before it.
    if at == count(ids) and track.runs and _begins(part(track.full, *track.runs[-1]), render[len(ids) :], decode):
        return
    if at < max(count(ids), count(render)):
        start, low = max(origin for origin in origins if origin[0] <= at)
        expected = f"what the template renders, {window(render, at, decode)}"
        kind = kind_of_difference(ids, render, at, generations, decode)
        yield Violation(track.place(low + at - start), expected, window(ids, at, decode), HINTS[kind])


def _as_rendered(piece: bytes, render: bytes, start: int, following: bytes, decode: Decode) -> bytes:
    """The ids that the template has for the text of a generation, or the generation's own when it has another text."""
    if stands_at(render, piece, start):
        return piece
    text = text_of(piece, decode)
    rest = part(render, start, count(render))
    for end in places(rest, following):
        candidate = part(rest, 0, end)
        if text is not None and text_of(candidate, decode) == text:
            return candidate
    for end in range(max(0, count(piece) - _REACH), count(piece) + _REACH):
        candidate = part(rest, 0, end)
        if text is not None and text_of(candidate, decode) == text:
            return candidate
    return piece


_REACH = 32
"""By how many ids a generation may differ in length from the canonical ids of its text, where no seam shows its end."""


def _begins(ids: bytes, beginning: bytes, decode: Decode) -> bool:
    """Whether `ids` begins with `beginning`, by ids or by text."""
    if ids.startswith(beginning):
        return True
    text, head = text_of(ids, decode), text_of(beginning, decode)
    return bool(text and head and text.startswith(head))


class _Ends:
    def __init__(self, turn_end: TurnEnd, decode: Decode) -> None:
        self.ends = {pack([token_id]) for token_id in turn_end.tokens}
        self.separator = pack(turn_end.separator)
        self.lead, self.headers, self.written = turn_end.lead, turn_end.headers, turn_end.written
        self.decode = decode

    def judge(self, where: str, last: bytes, ids: bytes, whole: bool) -> Iterator[Violation]:
        """Judge what stands behind a generation that ended with `last`; where it is not `whole`, it may be cut off."""
        behind = self._behind_end(ids)
        if last not in self.ends:
            if behind is not None and self.written:
                yield from self._separator(where, behind, whole)
            elif whole and self.written:
                hint = "end-of-turn token missing: the generation did not end itself, so the gateway has to"
                yield Violation(where, "an end-of-turn token behind the generation", window(ids, 0, self.decode), hint)
            return
        if behind is not None and (self.written or ids.startswith(last)):
            hint = "the generation ended itself already"
            expected = "one end-of-turn token behind the generation"
            yield Violation(where, expected, f"another, {window(ids, 0, self.decode)}", hint)
            ids = behind
        elif self._leads(ids):
            hint = "the template has this text between an answer and its end token, and that was sampled"
            expected = "nothing of the template's end of the turn behind a generation that ended itself"
            yield Violation(where, expected, window(ids, 0, self.decode), hint)
            return
        yield from self._separator(where, ids, whole)

    def _behind_end(self, ids: bytes) -> bytes | None:
        """What is behind the end of the turn that `ids` begins with; None when it begins with none."""
        if part(ids, 0, 1) in self.ends:
            return part(ids, 1, count(ids))
        for size in range(1, min(count(ids), _LEAD)) if self.lead else ():
            if part(ids, size, size + 1) in self.ends:
                return (
                    part(ids, size + 1, count(ids)) if text_of(part(ids, 0, size), self.decode) == self.lead else None
                )
        return None

    def _leads(self, ids: bytes) -> bool:
        """Whether `ids` begins with the text in front of the template's end token, and not with that of a message."""
        text = text_of(ids, self.decode) if self.lead else None
        if not text or any(text.startswith(header) for header in self.headers):
            return False
        return any(text.startswith(self.lead + header) for header in self.headers)

    def _separator(self, where: str, ids: bytes, whole: bool) -> Iterator[Violation]:
        if self.written and whole and not ids.startswith(self.separator):
            expected = f"the turn separator, {listed(self.separator, self.decode)}"
            yield Violation(where, expected, window(ids, 0, self.decode), "the turn separator is missing")


_LEAD = 32
"""Ids in front of a template's end token, at most."""


def _generation_prompt(where: str, ids: bytes, prompt: bytes, decode: Decode) -> Iterator[Violation]:
    expected = f"the generation prompt once before the generation, {listed(prompt, decode)}"
    if not ids.endswith(prompt):
        shown = listed(part(ids, max(0, count(ids) - count(prompt)), count(ids)), decode)
        yield Violation(where, expected, f"{shown} at the end")
    elif ids.endswith(prompt + prompt):
        yield Violation(
            where, expected, "it stands there twice", "the generation prompt of a dropped turn is still there"
        )


def _canonical(where: str, ids: bytes, decode: Decode, encode: Callable[[str], Sequence[int]]) -> Iterator[Violation]:
    text = text_of(ids, decode)
    if text is None:
        yield Violation(where, "ids that the tokenizer knows", listed(ids))
        return
    try:
        again = pack(encode(text))
    except Exception:
        yield Violation(where, "text that the tokenizer takes", listed(ids, decode))
        return
    if again != ids:
        at = first_difference(ids, again)
        expected = f"the canonical ids of its text, {window(again, at, decode)}"
        yield Violation(where, expected, window(ids, at, decode), HINTS[Difference.RETOKENISED])
