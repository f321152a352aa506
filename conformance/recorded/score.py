"""`check-trajectory --score`: every sampled token scored again by the model, and the differences told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        trajectories = [_with_recorded(trajectory, calls) for trajectory in trajectories]
    tokens: list[Scored] = []
    model = None
    try:
        for number, trajectory in enumerate(trajectories):
            places = rescore.comparable(trajectory)
            if not places:
                continue
            model = model or scorer(spec, temperature)
            ids, start = [*trajectory.prompt_ids, *trajectory.response_ids], len(trajectory.prompt_ids)
            values = model.score(ids, [start + place for place in places])
            assert trajectory.response_logprobs is not None
            tokens += [
                Scored(number, place, float(trajectory.response_logprobs[place]), value)
                for place, value in zip(places, values, strict=True)
            ]
    finally:
        if model is not None:
            model.close()
    if not tokens:
        raise Unscorable("nothing to score: neither the trajectories nor the ledger have log-probabilities")
    worst = [
        f"{rescore.told(trajectories[token.number], token, decode)}: exported {token.exported:.5f}, "
        f"scored {token.scored:.5f}, {token.difference:.1e} apart (trajectory {token.number}, "
        f"response_ids[{token.place}])"
        for token in rescore.worst(tokens)
    ]
    violations = rescore.judge(trajectories, tokens, tolerance, decode)
    return Scores(spec, rescore.summary(tokens, tolerance), violations, worst, tokens)


def as_text(figures: Mapping[str, Any]) -> str:
    """The figures, the histogram, the worst, of what `figures_of` gives."""
    head = (
        f"scored by {figures['scorer']}: {counted(figures['tokens'], 'sampled token')}, {figures['over']} over the "
        f"tolerance of {figures['tolerance']:g} nats; largest difference {figures['largest']:.1e}, mean "
        f"{figures['mean']:.1e}, median {figures['median']:.1e}"
    )
    bars = list(figures["histogram"])
    while len(bars) > 1 and bars[-1]["tokens"] == 0:
        bars.pop()
    most = max(bar["tokens"] for bar in bars)
    lines = []
    for edge, count in ((bar["up_to"], bar["tokens"]) for bar in bars):
        name = f"above {EDGES[-1]:g}" if edge is None else f"up to {edge:g}"
        lines.append(f"    {name:12}{count:8}  {'#' * -(-_BAR * count // most)}".rstrip())
    return "\n".join([head, *lines, "    worst:", *(f"    {line}" for line in figures["worst"])])


def figures_of(scores: Scores) -> dict[str, Any]:
    """`scorer`, the figures of the summary, `histogram` (`up_to` null for the last) and `worst`, for JSON."""
    figures = asdict(scores.summary)
    edges = [*EDGES, None]
    figures["histogram"] = [
        {"up_to": edge, "tokens": count} for edge, count in zip(edges, figures.pop("bars"), strict=True)
    ]
    return {"scorer": scores.scorer, **figures, "worst": scores.worst}


def as_json(scores: Scores) -> dict[str, Any]:
    """The figures, and of each token its trajectory, place, exported and scored log-probability."""
    rows = [[token.number, token.place, token.exported, token.scored] for token in scores.tokens]
    return {**figures_of(scores), "each": rows}


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
        recorded = known.get(pack(claim.context) + pack(claim.ids))
        if recorded is not None and len(recorded) == len(claim.ids):
            logprobs[claim.start : claim.start + len(recorded)] = recorded
    return replace(trajectory, response_logprobs=logprobs)
