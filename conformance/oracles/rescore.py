"""Re-scoring: does the model, asked again, give each sampled token the probability that was exported for it?

Knows exported log-probabilities and those of another implementation for the same ids behind the same ids; never who
scored them. A difference says that the context is not the one that the model had, that ids or log-probabilities are of
another place, or that the model is another. What is never a difference: a dropped token that nothing stands behind.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from conformance.oracles import Violation
from conformance.oracles.evidence import Exported
from conformance.oracles.tokens import Decode
from conformance.oracles.wording import counted, quoted

EDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Where the bars of the histogram end, in nats."""

_SHOWN = 24
"""Ids of the context that are shown before a token."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One sampled token. `place` counts from the first of `response_ids` of the trajectory of that `number`; the
    log-probabilities are natural."""

    number: int
    place: int
    exported: float
    scored: float

    @property
    def difference(self) -> float:
        """In nats."""
        return abs(self.exported - self.scored)


@dataclass(frozen=True, slots=True)
class Summary:
    """The differences of all sampled tokens, in nats. `bars` are how many are at most each of `EDGES` and above the one
    before, and last, how many are above all."""

    tokens: int
    over: int
    tolerance: float
    largest: float
    mean: float
    median: float
    bars: tuple[int, ...]


def comparable(trajectory: Exported) -> list[int]:
    """The places in the response that were sampled, have a finite log-probability and ids before them."""
    logprobs = trajectory.response_logprobs
    if logprobs is None:
        return []
    first = 0 if len(trajectory.prompt_ids) else 1
    several = enumerate(zip(trajectory.response_mask, logprobs, strict=False))
    return [place for place, (bit, value) in several if bit == 1 and place >= first and _finite(value)]


def summary(tokens: Sequence[Scored], tolerance: float) -> Summary:
    """Raises ValueError when there is nothing to sum up."""
    differences = [token.difference for token in tokens]
    if not differences:
        raise ValueError("no sampled token has a log-probability to compare")
    bars = [0] * (len(EDGES) + 1)
    for difference in differences:
        bars[bisect.bisect_left(EDGES, difference)] += 1
    over = sum(difference > tolerance for difference in differences)
    largest, mean, median = max(differences), statistics.fmean(differences), statistics.median(differences)
    return Summary(len(tokens), over, tolerance, largest, mean, median, tuple(bars))


def worst(tokens: Sequence[Scored], count: int = 3) -> list[Scored]:
    """Those that differ most."""
    return sorted(tokens, key=lambda token: -token.difference)[:count]


def judge(
    trajectories: Sequence[Exported], tokens: Sequence[Scored], tolerance: float, decode: Decode | None = None
) -> list[Violation]:
    """One violation for each generation of which a token differs by more than `tolerance`, about the token that differs
    most. `decode` makes it speak."""
    generations = list(_generations(tokens))
    everywhere = len(generations) > 1 and all(_mostly(generation, tolerance) for generation in generations)
    return [
        _violation(trajectories[generation[0].number], generation, tolerance, everywhere, decode)
        for generation in generations
        if any(token.difference > tolerance for token in generation)
    ]


def told(trajectory: Exported, token: Scored, decode: Decode | None = None) -> str:
    """The token and what stands before it, in words."""
    ids = [*trajectory.prompt_ids, *trajectory.response_ids]
    place = len(trajectory.prompt_ids) + token.place
    if decode is None:
        return f"id {ids[place]}"
    return f"{quoted(decode([ids[place]]))} behind {quoted(decode(ids[max(0, place - _SHOWN) : place]), 60)}"


def _violation(
    trajectory: Exported, generation: list[Scored], tolerance: float, everywhere: bool, decode: Decode | None
) -> Violation:
    (token,) = worst(generation, 1)
    over = sum(other.difference > tolerance for other in generation)
    others = f", and {over - 1} more of this generation's {len(generation)}" if over > 1 else ""
    where = f"trajectory {token.number}, response_logprobs[{token.place}]"
    expected = f"{token.scored:.4f}, as the model scores {told(trajectory, token, decode)}"
    actual = f"{token.exported:.4f}: {token.difference:.2g} nats apart{others}"
    return Violation(where, expected, actual, _cause(generation, tolerance, everywhere))


def _cause(generation: list[Scored], tolerance: float, everywhere: bool) -> str:
    exported, scored = [token.exported for token in generation], [token.scored for token in generation]
    if not any(exported):
        return "zeros were filled in where the engine reported logprobs"
    if not _mostly(generation, tolerance):
        first = next(place for place, token in enumerate(generation) if token.difference > tolerance)
        agreeing = counted(first, "token")
        return f"the first {agreeing} of this generation agree: were the ids behind them made again from text?"
    for direction, exported_part, scored_part in (
        ("late", exported[1:], scored[:-1]),
        ("early", exported[:-1], scored[1:]),
    ):
        if len(exported_part) > 1 and all(
            abs(a - b) <= tolerance for a, b in zip(exported_part, scored_part, strict=True)
        ):
            return f"the logprobs are shifted by one against the ids: each stands one {direction}"
    if everywhere:
        return (
            "so are most tokens of every generation: another model or other weights, log-probabilities at another "
            "temperature (--temperature), or a tolerance that is too strict for the engine's number format"
        )
    return (
        "the ids of this generation, or what stands before it, are not those that the model had: was either made again "
        "from text, or an end-of-turn token or a separator dropped? A ledger shows where"
    )


def _generations(tokens: Sequence[Scored]) -> Iterator[list[Scored]]:
    """Tokens that stand one behind the other."""
    for _, several in groupby(tokens, lambda token: token.number):
        generation: list[Scored] = []
        for token in several:
            if generation and token.place != generation[-1].place + 1:
                yield generation
                generation = []
            generation.append(token)
        yield generation


def _mostly(generation: list[Scored], tolerance: float) -> bool:
    return 2 * sum(token.difference > tolerance for token in generation) > len(generation)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
