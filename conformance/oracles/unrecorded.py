"""What can be said about trajectories when nobody kept a record of what the upstream did.

Knows trajectories only, and so suspects where `token_truth` proves: a finding here is what a trainer should look at
before it learns from it. Four questions:

    mask_runs     something is trainable, and the response begins with it
    trailing      nothing stands behind the last of what is trainable: no harm, but rarely meant
    zero_filled   no whole generation has logprobs of 0.0
    duplicates    no generation is trainable twice: the same ids, behind the same context

Sources: contract UA-TRJ-02, UA-TRJ-05, UA-LP-03.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from conformance.oracles import Violation
from conformance.oracles.evidence import Exported, Track
from conformance.oracles.token_truth import NOTHING_BEHIND
from conformance.oracles.tokens import part, sequence
from conformance.oracles.wording import counted

TRAILING_HINT = (
    "trainers stop in the middle of a turn at their length limit, behind a tool's result or the next prompt; else a "
    "turn was dropped and left its ids, or the mask ends too early"
)


def mask_runs(trajectories: Sequence[Exported]) -> list[Violation]:
    """Whether each mask has a 1 and begins with one."""
    return [violation for track in _tracks(trajectories) for violation in _edges(track)]


def trailing(trajectories: Sequence[Exported]) -> list[Violation]:
    """What stands behind the last generation: a trainer learns nothing from it, and nothing wrong either."""
    return [
        Violation(track.place(last, track.end, "response_mask"), NOTHING_BEHIND, "0 throughout", TRAILING_HINT)
        for track in _tracks(trajectories)
        if track.runs and (last := track.runs[-1][1]) < track.end
    ]


def zero_filled(trajectories: Sequence[Exported]) -> list[Violation]:
    """Whether each generation of two ids or more has a logprob that is not exactly 0.0. One that has none was most
    likely filled in: a model is hardly ever certain of all that it says."""
    violations = []
    for track, item in zip(_tracks(trajectories), sequence(trajectories), strict=True):
        values = sequence(getattr(item, "response_logprobs", None))
        for start, end in track.runs:
            within = values[start - track.prompt : end - track.prompt]
            if len(within) > 1 and not any(within):
                where = track.place(start, end, "response_logprobs")
                hint = "zeros were filled in where the engine reported no logprobs"
                violations.append(Violation(where, "the logprobs of a generation", f"{len(within)} times 0.0", hint))
    return violations


def duplicates(trajectories: Sequence[Exported]) -> list[Violation]:
    """Whether no stretch of mask 1 stands twice behind the same ids, over all trajectories. Answers that were sampled
    twice and came out equal look the same: only a record tells them apart."""
    first: dict[bytes, str] = {}
    violations = []
    for track in _tracks(trajectories):
        for start, end, digest in _digests(track):
            where = track.place(start, end, "response_mask")
            if digest in first:
                hint = (
                    "a generation that branches share is trainable once; the others carry it with mask 0 or as prompt"
                )
                actual = f"{counted(end - start, 'id')} that are trainable at {first[digest]} as well"
                violations.append(Violation(where, "a generation that is trainable once", actual, hint))
            else:
                first[digest] = where
    return violations


def _tracks(trajectories: Sequence[Exported]) -> Iterator[Track]:
    return (Track(number, trajectory) for number, trajectory in enumerate(sequence(trajectories)))


def _edges(track: Track) -> Iterator[Violation]:
    if not track.runs:
        hint = "nothing to train on: was the mask lost on the way?"
        yield Violation(f"trajectory {track.number}, response_mask", "a 1 somewhere", "none", hint)
        return
    first = track.runs[0][0]
    if first > track.prompt:
        where = track.place(track.prompt, first, "response_mask")
        hint = "what stands before the first generation is the prompt; or the mask begins too late"
        yield Violation(where, "a response that begins with what was sampled", "0 throughout", hint)


def _digests(track: Track) -> Iterator[tuple[int, int, bytes]]:
    """Each stretch of mask 1 and a digest of all ids up to its end, and of where it begins."""
    seen, at = hashlib.blake2b(digest_size=16), 0
    for start, end in track.runs:
        seen.update(part(track.full, at, end))
        at = end
        here = seen.copy()
        here.update(start.to_bytes(8, "little"))
        yield start, end, here.digest()
