"""What every exchange is judged by, whatever the check is about in which it happens.

A check looks at one thing; what it exchanges with the gateway on the way has to be right, too. Each rule here holds in
every situation: it takes a turn as it was seen on both sides, or what a session exported, and says what is wrong. Pure:
exchanges, the ledger and the export in, violations out. What cannot be told for certain is not judged.

    turn        a request for an answer with the calls that were made for it
    answers     what the client got: form, text, calls, ending, usage
    requests    what the engine received for it: context, sampling values, how many calls
    messages    the conversation of a request, as a chat template takes it
    exports     what the sessions left
    rules       the requirement that a rule stands for, by wire
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.ambient import answers, exports, requests
from conformance.ambient.exports import Left
from conformance.ambient.rules import REQUIREMENTS, Finding, Judged
from conformance.ambient.turn import Settings, Turn, turns_of
from conformance.client.transcript import Exchange
from conformance.tokenizer import Tokenizer
from conformance.upstream.ledger import Call

__all__ = ["REQUIREMENTS", "Finding", "Judged", "Left", "Settings", "Turn", "judge", "turns_of"]


def judge(
    exchanges: Sequence[Exchange],
    calls: Sequence[Call],
    sessions: Sequence[Settings],
    left: Sequence[Left] | None,
    tokenizer: Tokenizer,
) -> Iterator[Judged]:
    """Each rule that applies to each turn, and to what the sessions left: None where that is not known of all."""
    turns = turns_of(exchanges, calls, sessions)
    for place, turn in enumerate(turns):
        yield from answers.judge(turn, tokenizer)
        yield from requests.judge(turn, turns[:place], tokenizer)
    yield from answers.judge_ids(turns)
    if left and calls:
        yield from exports.judge(turns, calls, left, tokenizer)
