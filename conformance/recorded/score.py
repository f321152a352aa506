"""`check-trajectory --score`: every sampled token scored again by the model, and the differences told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from conformance.oracles import Violation, rescore
from conformance.oracles.rescore import EDGES, Scored, Summary
from conformance.oracles.tokens import Decode, pack
from conformance.oracles.wording import counted
from conformance.recorded.claims import claims
from conformance.recorded.file import Read, Recorded
from conformance.recorded.scoring import TOLERANCE, Unscorable, scorer

_BAR = 40


@dataclass(frozen=True, slots=True)
class Scores:
    """What re-scoring found. `worst` are the tokens that differ most, in words."""

    scorer: str
    summary: Summary
    violations: list[Violation]
    worst: list[str]
    tokens: list[Scored]


def score(
    trajectories: Sequence[Read],
    calls: Sequence[Recorded] | None,
    spec: str,
    tolerance: float = TOLERANCE,
    temperature: float = 1.0,
    decode: Decode | None = None,
) -> Scores:
    """Score each sampled token that has a log-probability: in the trajectory, else in the ledger. Raises
    `Unscorable`."""
    if calls is not None:
        trajectories = [_with_recorded(each, calls) for each in trajectories]
    tokens: list[Scored] = []
    model = None
    try:
        for number, each in enumerate(trajectories):
            places = rescore.comparable(each)
            if not places:
                continue
            model = model or scorer(spec, temperature)
            ids, start = [*each.prompt_ids, *each.response_ids], len(each.prompt_ids)
            values = model.score(ids, [start + place for place in places])
            assert each.response_logprobs is not None
            tokens += [
                Scored(number, place, float(each.response_logprobs[place]), value)
                for place, value in zip(places, values, strict=True)
            ]
    finally:
        if model is not None:
            model.close()
    if not tokens:
        raise Unscorable("nothing to score: neither the trajectories nor the ledger have log-probabilities")
    worst = [
        f"{rescore.told(trajectories[one.number], one, decode)}: exported {one.exported:.5f}, scored {one.scored:.5f}, "
        f"{one.difference:.1e} apart (trajectory {one.number}, response_ids[{one.place}])"
        for one in rescore.worst(tokens)
    ]
    violations = rescore.judge(trajectories, tokens, tolerance, decode)
    return Scores(spec, rescore.summary(tokens, tolerance), violations, worst, tokens)


def as_text(found: Scores) -> str:
    """The figures, the histogram, the worst."""
    sums = found.summary
    head = (
        f"scored by {found.scorer}: {counted(sums.tokens, 'sampled token')}, {sums.over} over the tolerance of "
        f"{sums.tolerance:g} nats; largest difference {sums.largest:.1e}, mean {sums.mean:.1e}, "
        f"median {sums.median:.1e}"
    )
    names = [*(f"up to {edge:g}" for edge in EDGES), f"above {EDGES[-1]:g}"]
    bars = []
    for name, count in zip(names, sums.bars, strict=True):
        bar = "#" * -(-_BAR * count // max(sums.bars))
        bars.append(f"    {name:12}{count:8}  {bar}".rstrip())
    while len(bars) > 1 and found.summary.bars[len(bars) - 1] == 0:
        bars.pop()
    return "\n".join([head, *bars, "    worst:", *(f"    {each}" for each in found.worst)])


def as_json(found: Scores) -> dict[str, Any]:
    """`scorer`, the figures of the summary, `histogram` (`up_to` null for the last), `worst`, and of each token its
    trajectory, place, exported and scored log-probability."""
    figures = asdict(found.summary)
    edges = [*EDGES, None]
    figures["histogram"] = [
        {"up_to": edge, "tokens": count} for edge, count in zip(edges, figures.pop("bars"), strict=True)
    ]
    each = [[one.number, one.place, one.exported, one.scored] for one in found.tokens]
    return {"scorer": found.scorer, **figures, "worst": found.worst, "each": each}


def _with_recorded(trajectory: Read, calls: Sequence[Recorded]) -> Read:
    """The trajectory with the log-probabilities of the ledger, where it has none itself."""
    if trajectory.response_logprobs is not None:
        return trajectory
    known = {
        pack(call.context) + pack(call.generation): call.logprobs
        for call in calls
        if call.outcome == "answered" and call.generation and call.logprobs
    }
    logprobs: list[Any] = [None] * len(trajectory.response_ids)
    for claim in claims(trajectory):
        found = known.get(pack(claim.context) + pack(claim.ids))
        if found is not None and len(found) == len(claim.ids):
            logprobs[claim.start : claim.start + len(found)] = found
    return replace(trajectory, response_logprobs=logprobs)
