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
    """What re-scoring found. `worst` are the tokens that differ most, in words. `left_out` says of trajectories why
    theirs can't be compared; where that is so of all, there is no `summary`. `compared` is what the others say that
    their log-probabilities are of."""

    scorer: str
    summary: Summary | None
    violations: list[Violation]
    worst: list[str]
    tokens: list[Scored]
    compared: str
    left_out: list[str]


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
    left_out: list[str] = []
    model = None
    try:
        for number, trajectory in enumerate(trajectories):
            places = rescore.comparable(trajectory)
            if not places:
                continue
            if trajectory.logprobs_at is not None and set(trajectory.logprobs_at) != {temperature}:
                left_out.append(_of_another_kind(number, trajectory.logprobs_at, temperature))
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
    if not tokens and not left_out:
        raise Unscorable("nothing to score: neither the trajectories nor the ledger have log-probabilities")
    compared = _compared([trajectories[number] for number in sorted({token.number for token in tokens})])
    if not tokens:
        return Scores(spec, None, [], [], [], compared, left_out)
    worst = [
        f"{rescore.told(trajectories[token.number], token, decode)}: exported {token.exported:.5f}, "
        f"scored {token.scored:.5f}, {token.difference:.1e} apart (trajectory {token.number}, "
        f"response_ids[{token.place}])"
        for token in rescore.worst(tokens)
    ]
    violations = rescore.judge(trajectories, tokens, tolerance, decode)
    return Scores(spec, rescore.summary(tokens, tolerance), violations, worst, tokens, compared, left_out)


def _of_another_kind(number: int, at: Sequence[float], temperature: float) -> str:
    told = ", ".join(f"{one:g}" for one in at)
    return (
        f"trajectory {number} can't be compared: its log-probabilities are those at temperature {told}, the scorer's "
        f"those at {temperature:g}" + ("" if len(set(at)) > 1 else f"; --temperature {at[0]:g} compares them")
    )


def _compared(trajectories: Sequence[Read]) -> str:
    """What these say of their log-probabilities, in words."""
    told = {trajectory.logprobs_at for trajectory in trajectories}
    if told <= {None}:
        return "log-probabilities of which the file does not say what they are of"
    (at,) = next(each for each in told if each is not None)
    known = "the model's own log-probabilities" if at == 1 else f"log-probabilities at temperature {at:g}"
    return f"{known}, and some of which the file does not say what they are of" if None in told else known


def as_text(figures: Mapping[str, Any]) -> str:
    """The figures, the histogram, the worst, of what `figures_of` gives."""
    left_out = [f"    {line}" for line in figures.get("left_out", ())]
    if "tokens" not in figures:
        return "\n".join([f"not scored by {figures['scorer']}:", *left_out])
    head = (
        f"scored by {figures['scorer']}: {counted(figures['tokens'], 'sampled token')}, {figures['over']} over the "
        f"tolerance of {figures['tolerance']:g} nats; largest difference {figures['largest']:.1e}, mean "
        f"{figures['mean']:.1e}, median {figures['median']:.1e}"
        + (f"; compared are {figures['compared']}" if "compared" in figures else "")
    )
    bars = list(figures["histogram"])
    while len(bars) > 1 and bars[-1]["tokens"] == 0:
        bars.pop()
    most = max(bar["tokens"] for bar in bars)
    lines = []
    for edge, count in ((bar["up_to"], bar["tokens"]) for bar in bars):
        name = f"above {EDGES[-1]:g}" if edge is None else f"up to {edge:g}"
        lines.append(f"    {name:12}{count:8}  {'#' * -(-_BAR * count // most)}".rstrip())
    return "\n".join([head, *lines, "    worst:", *(f"    {line}" for line in figures["worst"]), *left_out])


def figures_of(scores: Scores) -> dict[str, Any]:
    """`scorer`, the figures of the summary, `histogram` (`up_to` null for the last), `worst`, `compared` and
    `left_out`, for JSON; without a summary the first and the last."""
    if scores.summary is None:
        return {"scorer": scores.scorer, "left_out": scores.left_out}
    figures = asdict(scores.summary)
    edges = [*EDGES, None]
    figures["histogram"] = [
        {"up_to": edge, "tokens": count} for edge, count in zip(edges, figures.pop("bars"), strict=True)
    ]
    told = {"worst": scores.worst, "compared": scores.compared, "left_out": scores.left_out}
    return {"scorer": scores.scorer, **figures, **told}


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
