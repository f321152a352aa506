"""Logprob truth: are the exported logprobs those that the upstream reported?

Knows which recorded generation stands where, and numbers; never how they were made. Values are equal as 32-bit floats
are, which engines report.

Sources: contract UA-LP-01, UA-LP-03.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from conformance.oracles import Violation
from conformance.oracles.evidence import Call, Evidence, Exported, Recorded
from conformance.oracles.tokens import sequence
from conformance.oracles.wording import brief, counted


def logprob_truth(trajectories: Sequence[Exported], calls: Sequence[Recorded]) -> list[Violation]:
    """Whether the logprobs of mask-1 ids are those that the upstream reported for that generation. A trajectory without
    logprobs is not judged."""
    return list(false_logprobs(trajectories, Evidence(trajectories, calls)))


def false_logprobs(trajectories: Sequence[Exported], evidence: Evidence) -> Iterator[Violation]:
    items = sequence(trajectories)
    for track, segments in evidence.segments:
        exported = getattr(items[track.number], "response_logprobs", None)
        if exported is None:
            continue
        values = sequence(exported)
        for segment in segments:
            low, high = segment.start - track.prompt, segment.end - track.prompt
            actual = list(values[low:high])
            calls = [call for call in segment.calls if track.has_context(call, segment.start)] or segment.calls
            if calls and not any(call.choice or _same_values(actual, call.logprobs) for call in calls):
                yield _difference(f"trajectory {track.number}, response_logprobs", low, actual, values, calls[0])


def _same_values(actual: list[Any], recorded: Sequence[Any] | None) -> bool:
    if recorded is None:
        return False
    wanted = list(recorded)
    return actual == wanted or (len(actual) == len(wanted) and all(map(_close, actual, wanted)))


def _close(left: Any, right: Any) -> bool:
    try:
        return math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-9)
    except Exception:
        return False


def _difference(where: str, low: int, actual: list[Any], values: Sequence[Any], call: Call) -> Violation:
    if call.logprobs is None:
        place = f"{where}[{low}:{low + len(actual)}]"
        expected = f"no logprobs, as {call} returned none"
        return Violation(place, expected, brief(actual, 60), "logprobs were made up for a turn that has none")
    wanted = list(call.logprobs)
    at = next(
        (i for i, (a, b) in enumerate(zip(actual, wanted, strict=False)) if not _close(a, b)),
        min(len(actual), len(wanted)),
    )
    hint = ""
    if actual and not any(actual):
        hint = "zeros were filled in where the upstream reported logprobs"
    elif len(wanted) > 1 and (actual[1:] == wanted[:-1] or actual[:-1] == wanted[1:]):
        hint = "the logprobs are shifted by one"
    elif len(wanted) != len(actual):
        hint = f"the upstream reported {counted(len(wanted), 'logprob')} for {counted(len(actual), 'id')}"
    expected = f"{brief(wanted[at]) if at < len(wanted) else 'nothing'}, as {call} returned"
    return Violation(f"{where}[{low + at}]", expected, brief(actual[at]) if at < len(actual) else "nothing", hint)
