"""What the sessions of a check left, held against all that was sampled in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.ambient.rules import EXPORT, Judged
from conformance.ambient.turn import CHAT, Turn
from conformance.client.failure import ConformanceFailure
from conformance.gateway import Trajectory
from conformance.oracles import Violation, token_truth
from conformance.oracles.evidence import Evidence
from conformance.oracles.logprobs import false_logprobs
from conformance.oracles.tokens import listed, pack
from conformance.tokenizer import Tokenizer
from conformance.upstream.ledger import ANSWERED, Call


@dataclass(frozen=True, slots=True)
class Left:
    """What a session exported when it was closed, and how many generations it reports as given up; None: unknown."""

    trajectories: Sequence[Trajectory]
    given_up: int | None


def judge(turns: Sequence[Turn], calls: Sequence[Call], left: Sequence[Left], tokenizer: Tokenizer) -> Iterator[Judged]:
    """The whole of token truth, over all sessions at once: what one has of another is in no context of its own."""
    owned = {id(call): turn for turn in turns for call in turn.calls}
    if any(id(call) not in owned or len(call.generations) > 1 or call.messages is not None for call in calls):
        return
    trajectories = [trajectory for session in left for trajectory in session.trajectories]
    counts = [session.given_up for session in left]
    given_up = None if None in counts else sum(count or 0 for count in counts)
    decode = tokenizer.decode
    yield Judged("masks", EXPORT, None, [v for v in token_truth.alignment(trajectories) if "mask" in v.where])
    yield Judged("verbatim", EXPORT, None, token_truth.verbatim(trajectories, calls, decode))
    yield Judged("contexts", EXPORT, None, token_truth.context_truth(trajectories, calls, decode))
    evidence = Evidence(trajectories, calls)
    yield Judged("logprobs", EXPORT, None, list(false_logprobs(trajectories, evidence)))
    if _is_one_conversation(turns):
        yield Judged("one trajectory", EXPORT, None, _in_pieces(evidence))
    whole = all(turn.is_answered for turn in turns if any(call.generation for call in turn.calls))
    if given_up is None:
        wrong = token_truth.conservation(trajectories, calls, None, decode)
    elif whole:
        wrong = _conserved(trajectories, calls, given_up, tokenizer)
    else:
        wrong = [*token_truth.conservation(trajectories, calls, None, decode)]
        wrong += _missing(evidence, calls, owned, given_up, tokenizer)
    yield Judged("conservation", EXPORT, None, wrong)


def _is_one_conversation(turns: Sequence[Turn]) -> bool:
    """Chat turns one behind the other, each of which sends what the one before sent and got, as it got it, and asks for
    the same. Where a client changes anything of that, options decide."""
    asked = {json.dumps([(turn.request or {}).get(name) for name in ("tools", "logprobs")]) for turn in turns}
    if len(asked) != 1 or any(turn.wire != CHAT or not turn.is_answered or turn.setting("options") for turn in turns):
        return False
    try:
        histories = [(turn.request or {}).get("messages") or [] for turn in turns]
        told = [[*history, turn.reply.message] for history, turn in zip(histories, turns, strict=True)]
        return all(later[: len(earlier)] == earlier for earlier, later in zip(told, histories[1:], strict=False))
    except (ConformanceFailure, TypeError, KeyError):  # no messages, or no answer
        return False


def _in_pieces(evidence: Evidence) -> list[Violation]:
    """Calls of which each goes on from another are one trajectory. Where several end nowhere, options decide."""
    calls = [call for call in evidence.calls if call.generation]
    ends = [
        call
        for call in calls
        if not any(other is not call and other.context.startswith(call.context + call.generation) for other in calls)
    ]
    trained = [track for track in evidence.tracks if track.runs]
    alike = len({(call.context, call.generation) for call in calls}) < len(calls)
    if len(ends) != 1 or alike or len(trained) <= 1:
        return []
    return [Violation("trajectories", "1: each call goes on from the one before", str(len(trained)))]


def _conserved(
    trajectories: Sequence[Trajectory], calls: Sequence[Call], given_up: int, tokenizer: Tokenizer
) -> list[Violation]:
    """Where a call was made again and answered alike, it may stand for both."""
    known = {(tuple(call.context), tuple(call.generation)) for call in calls if call.generation}
    alike = sum(bool(call.generation) for call in calls) - len(known)
    wrong = [
        token_truth.conservation(trajectories, calls, given_up + more, tokenizer.decode) for more in range(alike + 1)
    ]
    return min(wrong, key=len)


def _missing(
    evidence: Evidence, calls: Sequence[Call], owned: dict[int, Turn], given_up: int, tokenizer: Tokenizer
) -> list[Violation]:
    """Generations of turns that were answered, and are trainable nowhere. What a client hung up on may be there."""
    trained = {call.number for _, segments in evidence.segments for segment in segments for call in segment.calls}
    missing = [
        Violation(f"call {number} ({listed(pack(call.generation), tokenizer.decode)})", "mask 1 once", "none")
        for number, call in enumerate(calls)
        if call.generation and call.outcome == ANSWERED and number not in trained and owned[id(call)].is_answered
    ]
    return missing if len(missing) > given_up else []
