"""Token truth: is what a trainer gets exactly what the model saw and sampled?

Judges exported trajectories against the upstream's own record of every context it received and every generation it
returned. Knows ids, masks and logprobs; never messages or HTTP. The record is the truth. Five questions, each a
function of its own, and `judge` for all of them at once:

    alignment       lengths, mask values, logprobs finite and zero where the mask is 0
    verbatim        each run of mask 1 is generations, id by id
    context_truth   before each generation stands what the upstream received for it
    conservation    each generation is trainable exactly once, but for those that were superseded
    logprob_truth   mask-1 logprobs are those that the upstream reported

Sources: contract UA-TRJ-02..05, UA-LP-01, UA-LP-03, UA-ENC-04; design.md, "The session is a prefix tree".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from conformance.oracles import Violation
from conformance.oracles.alignment import alignment
from conformance.oracles.difference import Difference, kind_of_difference
from conformance.oracles.evidence import (
    Call,
    Evidence,
    Exported,
    Generation,
    Recorded,
    Segment,
    Track,
)
from conformance.oracles.fidelity import TurnEnd, fidelity, seams
from conformance.oracles.logprobs import false_logprobs, logprob_truth
from conformance.oracles.tokens import (
    Decode,
    common_tail,
    count,
    first_difference,
    listed,
    part,
    places,
    stands_at,
    text_of,
    window,
)
from conformance.oracles.wording import counted

__all__ = [
    "Decode",
    "Exported",
    "Generation",
    "Recorded",
    "TurnEnd",
    "alignment",
    "conservation",
    "context_truth",
    "fidelity",
    "judge",
    "logprob_truth",
    "seams",
    "verbatim",
]

NOTHING_BEHIND = "nothing behind the last generation"

RETOKENISED = "the ids were made again from text: same text, other ids"

CONTEXT_HINTS = {
    Difference.LACKS_REPEAT: "the upstream received these ids twice: was the generation prompt sent twice?",
    Difference.LACKS_SEAM: "the end-of-turn token or turn separator behind the generation is missing in the export",
    Difference.LACKS: "the upstream received ids that the export leaves out",
    Difference.HAS_REPEAT: "the export has these ids twice: is the generation prompt of a dropped turn still there?",
    Difference.HAS_SEAM: "the export has an end-of-turn token or turn separator that was not sent",
    Difference.HAS: "the export has ids that the upstream did not receive",
    Difference.RETOKENISED: RETOKENISED,
    Difference.INSIDE: "the difference is inside an earlier generation: were its ids made again from text?",
    Difference.OTHER: "",
}


def judge(
    trajectories: Sequence[Exported],
    calls: Sequence[Recorded],
    superseded: int | Collection[int] | None = 0,
    decode: Decode | None = None,
) -> list[Violation]:
    """All questions of this module at once."""
    evidence = Evidence(trajectories, calls)
    return [
        *alignment(trajectories),
        *_verbatim(evidence, decode),
        *_context_truth(evidence, decode),
        *_conservation(evidence, superseded, decode, attributed=True),
        *false_logprobs(trajectories, evidence),
    ]


def verbatim(
    trajectories: Sequence[Exported], calls: Sequence[Recorded], decode: Decode | None = None
) -> list[Violation]:
    """Whether each run of mask 1 is the ids of recorded generations, one behind the other and in the order in which the
    upstream returned them. `decode` makes the explanations speak."""
    return list(_verbatim(Evidence(trajectories, calls), decode))


def context_truth(
    trajectories: Sequence[Exported], calls: Sequence[Recorded], decode: Decode | None = None
) -> list[Violation]:
    """Whether `prompt_ids + response_ids[:start]` of each generation is a context that the upstream received for it,
    and nothing stands behind the last generation."""
    return list(_context_truth(Evidence(trajectories, calls), decode))


def conservation(
    trajectories: Sequence[Exported],
    calls: Sequence[Recorded],
    superseded: int | Collection[int] | None = 0,
    decode: Decode | None = None,
) -> list[Violation]:
    """Whether over all trajectories each generation has mask 1 exactly once: nothing lost, doubled or invented.

    `superseded` are the generations that the gateway reports as given up: how many, or which (positions in `calls`).
    They must not be exported as trainable, and no other may be missing. None: any may be missing.
    """
    return list(_conservation(Evidence(trajectories, calls), superseded, decode))


# verbatim -------------------------------------------------------------------------------------------------------------


def _verbatim(evidence: Evidence, decode: Decode | None) -> Iterator[Violation]:
    for track, segments in evidence.segments:
        last = -1
        for segment in segments:
            if not segment.calls:
                yield _unexplained(evidence, track, segment, decode)
                continue
            following = [call.number for call in segment.calls if call.number > last]
            if not following:
                where = track.place(segment.start, segment.end)
                expected = f"a generation that came after that of call {last}"
                yield Violation(
                    where, expected, f"that of {segment.calls[-1]}", "the generations stand in another order"
                )
                continue
            exact = [call.number for call in segment.calls if track.has_context(call, segment.start)]
            last = min([number for number in exact if number in following] or following)


def _unexplained(evidence: Evidence, track: Track, segment: Segment, decode: Decode | None) -> Violation:
    ids = part(track.full, segment.start, segment.end)
    where = track.place(segment.start, segment.end, "response_mask")
    call = _meant(evidence, track, segment, decode)
    behind = segment.start in evidence.explained[track].values()
    if call is None:
        hint = "never sampled: ids behind a generation, which the gateway put there" if behind else "never sampled"
        return Violation(where, "mask 1 on ids that the upstream returned, and nowhere else", listed(ids, decode), hint)
    at = first_difference(ids, call.generation)
    generation = f"{counted(count(call.generation), 'id')} that {call} returned"
    expected = f"the {generation}, {window(call.generation, at, decode)}"
    return Violation(where, expected, window(ids, at, decode), _mask_cause(track, segment, call, behind, decode))


def _meant(evidence: Evidence, track: Track, segment: Segment, decode: Decode | None) -> Call | None:
    """The call that the ids of `segment` were most likely taken from: by place, else by ids, else by text."""
    here = _meant_here(evidence, track, segment)
    if here is not None:
        return here
    ids = part(track.full, segment.start, segment.end)
    sampled = [call for call in evidence.calls if call.generation]
    best = max(sampled, key=lambda call: _likeness(ids, call.generation), default=None)
    if best is not None and 2 * _likeness(ids, best.generation) >= min(count(ids), count(best.generation)):
        return best
    text = text_of(ids, decode)
    return next((call for call in sampled if text is not None and text == text_of(call.generation, decode)), None)


def _meant_here(evidence: Evidence, track: Track, segment: Segment) -> Call | None:
    """The call whose context ends where `segment` starts, or near that, with no other id before it."""
    taken = evidence.explained[track]
    near = [call for call in evidence.calls if call.generation and abs(count(call.context) - segment.start) <= _NEAR]
    fitting = [call for call in near if count(call.context) not in taken and track.full.startswith(call.context)]
    return min(fitting, key=lambda call: abs(count(call.context) - segment.start), default=None)


_NEAR = 64
"""Ids between a generation and a mask that was meant for it, at most: longer than any generation prompt."""


def _likeness(ids: bytes, generation: bytes) -> int:
    """How many ids the two share at their ends, or all of one when it stands in the other."""
    if places(ids, generation):
        return count(generation)
    if places(generation, ids):
        return count(ids)
    head = first_difference(ids, generation)
    return head + common_tail(ids, generation, min(count(ids), count(generation)) - head)


def _mask_cause(track: Track, segment: Segment, call: Call, behind: bool, decode: Decode | None) -> str:
    """Why the mask-1 ids are not those of the generation, where it is one of the usual reasons. `behind`: another
    generation stands directly before them."""
    start, end, ids, size = segment.start, segment.end, call.generation, count(call.generation)
    actual = part(track.full, start, end)
    for by, direction in ((1, "right"), (-1, "left")):
        if end - start == size and stands_at(track.full, ids, start - by) and start - by >= track.prompt:
            return f"the mask is shifted by one to the {direction}"
    if ids.startswith(actual):
        last = "the last sampled id, usually the end-of-turn token, is"
        if end - start < size - 1:
            last = f"the last {size - (end - start)} sampled ids are"
        return f"{last} there with mask 0" if stands_at(track.full, ids, start) else f"{last} missing"
    if actual == ids[len(ids) - len(actual) :] and end - start == size - 1 and stands_at(track.full, ids, start - 1):
        return "the first sampled id has mask 0"
    inside = places(actual, ids)
    if inside:
        before, after = inside[0], end - start - inside[0] - size
        if before and behind:
            return f"mask 1 on {counted(before, 'id')} between two generations, which the gateway put there"
        if before:
            return (
                f"mask 1 on {counted(before, 'id')} before the generation: is the generation prompt counted as sampled?"
            )
        return f"mask 1 on {counted(after, 'id')} behind the generation, which the gateway put there"
    text = text_of(actual, decode)
    if text is not None and text == text_of(ids, decode):
        return RETOKENISED
    return ""


# context truth --------------------------------------------------------------------------------------------------------


def _context_truth(evidence: Evidence, decode: Decode | None) -> Iterator[Violation]:
    for track, segments in evidence.segments:
        # One wrong id falsifies every later context of the trajectory: it is reported once, with how many it spoils.
        first: dict[int, tuple[Segment, Call | None]] = {}
        spoiled: Counter[int] = Counter()
        for segment in segments:
            candidates = segment.calls or evidence.calls
            if any(track.has_context(call, segment.start) for call in candidates):
                continue
            if not segment.calls and _meant_here(evidence, track, segment):
                continue  # the ids are right, the mask is not: that is for `verbatim` to say
            before = part(track.full, 0, segment.start)
            call = max(candidates, key=partial(_nearness, before), default=None)
            at = first_difference(before, call.context) if call else -1
            first.setdefault(at, (segment, call))
            spoiled[at] += 1
        for at, (segment, call) in first.items():
            yield _false_context(track, segments, segment, call, spoiled[at] - 1, decode)
        yield from _tail(evidence, track, decode)


def _nearness(before: bytes, call: Call) -> tuple[int, int]:
    return first_difference(before, call.context), -abs(len(before) - len(call.context))


def _false_context(
    track: Track, segments: list[Segment], segment: Segment, call: Call | None, later: int, decode: Decode | None
) -> Violation:
    where = f"{track.place(segment.start, segment.end)}, context"
    before = part(track.full, 0, segment.start)
    if call is None:
        return Violation(where, "a context that the upstream received", f"{listed(before, decode)}; it received none")
    at = first_difference(before, call.context)
    size = count(call.context)
    expected = f"the {counted(size, 'id')} that {call} received, at {at}: {window(call.context, at, decode)}"
    actual = f"{counted(segment.start, 'id')}, at {track.place(at)}: {window(before, at, decode)}"
    if later:
        actual += f"; so for {counted(later, 'later generation')} of this trajectory"
    generations = [(other.start, other.end) for other in segments]
    hint = CONTEXT_HINTS[kind_of_difference(before, call.context, at, generations, decode)]
    return Violation(where, expected, actual, hint)


def _tail(evidence: Evidence, track: Track, decode: Decode | None) -> Iterator[Violation]:
    last = track.runs[-1][1] if track.runs else track.prompt
    if last < track.end:  # a generation whose mask is wrong is no tail
        ends = [count(call.context) + count(call.generation) for call in evidence.calls if track.holds(call)]
        last = max([last, *ends])
    if last < track.end and not any(call.context == track.full for call in evidence.calls if not call.generation):
        yield Violation(
            track.place(last, track.end),
            NOTHING_BEHIND,
            listed(part(track.full, last, track.end), decode),
            "a turn that was never generated, or was dropped, left its ids in the trajectory",
        )


# conservation ---------------------------------------------------------------------------------------------------------


def _conservation(
    evidence: Evidence, superseded: int | Collection[int] | None, decode: Decode | None, attributed: bool = False
) -> Iterator[Violation]:
    """`attributed`: what no generation explains is left to `verbatim`, and so is the generation that was meant."""
    claims: dict[Call, list[str]] = {call: [] for call in evidence.calls if call.generation}
    excused: set[Call | None] = set()
    unclear: list[tuple[Segment, str]] = []
    for track, segments in evidence.segments:
        for segment in segments:
            where = track.place(segment.start, segment.end)
            exact = [call for call in segment.calls if track.has_context(call, segment.start)]
            if exact:
                # Siblings may have the same context and ids: the one that is claimed least takes the claim.
                min(map(claims.__getitem__, exact), key=len).append(where)
            elif segment.calls:
                unclear.append((segment, where))
            elif attributed:
                excused.add(_meant(evidence, track, segment, decode))
            else:
                ids = part(track.full, segment.start, segment.end)
                yield Violation(where, "a generation that the upstream returned", listed(ids, decode), "never sampled")
    for segment, where in unclear:
        min(map(claims.__getitem__, segment.calls), key=len).append(where)
    given_up = frozenset() if superseded is None or isinstance(superseded, int) else frozenset(superseded)
    missing = []
    for call, claimed_at in claims.items():
        name = f"{call} ({listed(call.generation, decode)})"
        if claimed_at and call.number in given_up:
            yield Violation(name, "no mask 1, as it was superseded", f"mask 1 at {'; '.join(claimed_at)}")
        elif len(claimed_at) > 1:
            hint = "a shared generation is trainable once; later branches carry it in prompt_ids or with mask 0"
            yield Violation(name, "mask 1 once", f"{len(claimed_at)} times: {'; '.join(claimed_at)}", hint)
        elif not claimed_at and call.number not in given_up and call not in excused:
            missing.append((name, call))
    if superseded is None:
        return
    allowed = superseded if isinstance(superseded, int) else 0
    if len(missing) > allowed:
        owners = {place: call for call, claimed_at in claims.items() for place in claimed_at}
        for name, call in missing:
            reported = f"; {allowed} of the {len(missing)} missing reported as superseded" if allowed else ""
            where = f"{_whereabouts(evidence, call, owners)}{reported}"
            yield Violation(name, "mask 1 once", where, _lost_cause(evidence, call, owners))
    elif len(missing) < allowed - len(excused - {None}):
        expected = f"{counted(allowed, 'generation')} missing, as reported superseded"
        yield Violation("superseded", expected, f"{len(missing)} missing", "the count of dropped generations is wrong")


def _whereabouts(evidence: Evidence, call: Call, owners: Mapping[str, Call]) -> str:
    """Where a generation stands that is nowhere trainable. `owners`: places of mask 1 -> for which call each counts."""
    start, size = count(call.context), count(call.generation)
    held_at = [track.place(start, start + size) for track in evidence.tracks if track.holds(call)]
    counted_for = [f"the mask 1 at {place} counts for {owners[place]}" for place in held_at if place in owners]
    masked = [place for place in held_at if place not in owners]
    phrases = [*counted_for, *([f"mask 0 at {'; '.join(masked)}"] if masked else [])]
    return "; ".join(phrases) or "none: it is in no trajectory"


def _lost_cause(evidence: Evidence, call: Call, owners: Mapping[str, Call]) -> str:
    start = count(call.context)
    holding = [track for track in evidence.tracks if track.holds(call)]
    if any(track.place(start, start + count(call.generation)) in owners for track in holding):
        return "two calls received and returned the same ids, and the export has one of them: were they taken for one?"
    in_prompt = any(start < track.prompt for track in holding)
    return "carried in a prompt, but the branch that owns it is not exported" if in_prompt else ""
