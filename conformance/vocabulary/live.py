"""Words for checks over a real engine: what is asked of a model that nobody scripts, and what of its answers can be
held against the record.

What the model says is its own business, so that nothing here expects a certain text. A model that does not do what a
check is about (call a tool, sample uncommon ids) is no defect of the gateway: the check then does not apply.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply
from conformance.gateway import Capability
from conformance.oracles import Violation
from conformance.recorded import score as rescoring
from conformance.recorded.file import Read, Recorded, logprobs_at
from conformance.recorded.recorder import UNREAD
from conformance.recorded.score import Scores
from conformance.recorded.scoring import Unscorable
from conformance.recorded.trajectory import Scoring
from conformance.tokenizer import Tokenizer
from conformance.upstream.ledger import ANSWERED, Call
from conformance.vocabulary.asking import answer_of
from conformance.vocabulary.engine import RecordedEngine
from conformance.vocabulary.expect import REFUSED
from conformance.vocabulary.outcome import NotApplicable, NotTested
from conformance.vocabulary.session import Message, Session, Sessions, Trajectories, function, results, system, user
from conformance.vocabulary.target import Target

R = TypeVar("R", bound=Reply)

WEATHER = function("get_weather", "The weather of a city", city={"type": "string"})
BRIEF = system("Be brief.")
CITIES = ("Oslo", "Cairo", "Lima", "Riga", "Rome", "Tokyo", "Bern", "Quito")
REPORTS = ("sunny, 21 degrees", "rainy, 7 degrees", "foggy, -4 degrees", "windy, 13 degrees")
LIMIT = 160
"""Tokens that an answer may have where its length is nothing that a check is about."""
ROUNDS = 3
"""Answers with calls that a model may give in one turn before it has to say something."""
TRIES = 8
"""How often a model is asked for what it need not do."""


class Talk:
    """A conversation with a model that says what it likes, at temperature 1. `fields` go into each of its requests."""

    def __init__(self, session: Session, target: Target, **fields: Any) -> None:
        self.session = session
        self._has_tools = Capability.TOOLS in target.declaration.capabilities
        self.fields = {"temperature": 1.0, "max_tokens": LIMIT, **fields}
        self.messages: list[Message] = [BRIEF]
        self.replies: list[Reply] = []

    def ask(self, *new: Message, **fields: Any) -> Reply:
        """One request with these messages behind the history. Anything but an answer is a failure."""
        reply = self.session.chat(*self.messages, *new, **{**self.fields, **fields})
        require_answer(reply)
        self.messages += [*new, reply.message]
        self.replies.append(reply)
        return reply

    def turn(self, text: str, **fields: Any) -> Reply:
        """The user says `text`, and each call of the model is answered with a weather, until it says something."""
        reply = self.ask(user(text), **fields)
        for _ in range(ROUNDS):
            if not reply.tool_calls:
                break
            reports = [REPORTS[place % len(REPORTS)] for place in range(len(reply.tool_calls))]
            reply = self.ask(*results(reply.message, *reports), **fields)
        return reply

    def about_weather(self, *cities: str) -> Talk:
        """A turn about each of the cities, with the tool that tells of it where the gateway has tools."""
        tools = {"tools": [WEATHER]} if self._has_tools else {}
        for city in cities or CITIES[:2]:
            self.turn(f"How is the weather in {city}?", **tools)
        return self


def require_answer(reply: R) -> R:
    """Status 200, or a failure that shows the answer."""
    if reply.status != 200:
        raise ConformanceFailure([Violation("the answer", "status 200", f"{reply.status} {describe(reply.body)}")])
    return reply


def scored_session(sessions: Sessions, target: Target, **settings: Any) -> tuple[Session, dict[str, Any]]:
    """A session whose turns ask for log-probabilities, and the fields with which its requests must ask for them where
    a session has no defaults."""
    if Capability.SESSION_SAMPLING in target.declaration.capabilities:
        return sessions.open(sampling_params={"logprobs": True}, **settings), {}
    return sessions.open(**settings), {"logprobs": True}


def recorded(upstream: RecordedEngine, seconds: float = 30.0) -> list[Call]:
    """The calls of this check, all of them closed. `NotTested` where the engine did not tell what it sampled."""
    try:
        calls = upstream.wait_until_settled(seconds)
    except TimeoutError as error:
        raise ConformanceFailure([Violation("the engine", "all of its calls ended", str(error))]) from error
    if not calls:
        raise ConformanceFailure(
            [
                Violation(
                    upstream.watcher if upstream.engine is None else "the recorder",
                    "the gateway's call of its engine",
                    "none that has the first message of this check in it",
                    "is that the ledger that the gateway keeps, and --gateway-tokenizer its tokenizer?"
                    if upstream.engine is None
                    else f"is {upstream.url} the engine's address that the gateway was given, and --gateway-tokenizer "
                    "its tokenizer?",
                )
            ]
        )
    for call in calls:
        if call.outcome == UNREAD:
            raise NotTested(f"the engine does not tell what it sampled: {call.message}")
    return calls


def answered(upstream: RecordedEngine) -> list[Call]:
    """The calls of this check that the engine answered."""
    return [call for call in recorded(upstream) if call.outcome == ANSWERED]


def last_answered(upstream: RecordedEngine) -> Call:
    """The last call that the engine answered; a failure where there is none."""
    calls = answered(upstream)
    if not calls:
        raise ConformanceFailure([Violation("the recorder", "a call that the engine answered", "none")])
    return calls[-1]


def expect_sampled(reply: Reply, upstream: RecordedEngine, call: Call, *, stopped: bool = False) -> None:
    """What the answer says, or thinks where it came no further, stands in what the engine sampled, but for the blanks
    around it; and it is something, where that was. `stopped`: a stop string may have left nothing of it."""
    __tracebackhide__ = True
    sampled, said = upstream.tokenizer.decode(call.generation), answer_of(reply)
    spoken = upstream.tokenizer.decode(call.generation, skip_special=True).strip()
    if said not in sampled or (spoken and not said and not stopped):
        expected = f"what was sampled: {describe(sampled)}"
        raise ConformanceFailure([Violation("the text of the answer", expected, describe(said))])


def ends_by_itself(call: Call, tokenizer: Tokenizer) -> bool:
    """Whether the model ended the generation, and the id with which it did is told."""
    return bool(call.generation) and call.generation[-1] in tokenizer.end_tokens


def holds(ids: Sequence[int], part: Sequence[int]) -> bool:
    """Whether these ids stand in the others, one behind the other."""
    return behind(ids, part) is not None


def behind(ids: Sequence[int], part: Sequence[int]) -> Sequence[int] | None:
    """What stands behind the last place at which `part` does; None where it does nowhere."""
    for start in range(len(ids) - len(part), -1, -1):
        if list(ids[start : start + len(part)]) == list(part):
            return ids[start + len(part) :]
    return None


def is_canonical(ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether these are the ids that their own text is encoded to."""
    return tokenizer.encode(tokenizer.decode(ids)) == list(ids)


def until(ask: Callable[[int], Any], wanted: Callable[[], object], what: str) -> None:
    """Ask again, with the number of the try, until the model did what is wanted. `NotApplicable` if it never does."""
    for number in range(TRIES):
        ask(number)
        if wanted():
            return
    raise NotApplicable(f"the model {what} in none of {TRIES} answers")


def endless(session: Session, upstream: RecordedEngine, limit: int) -> dict[str, Any]:
    """The fields of a request whose answer is long: `limit` tokens, or half of what the engine takes, where the gateway
    lets its client keep the model from an end, and else as many as the model says. Costs a request."""
    bias = without_end(upstream.tokenizer)
    reply = session.chat(BRIEF, user("Are you ready?"), max_tokens=3, **bias)
    fields = {"max_tokens": min(limit, (upstream.max_model_len or 2 * limit) // 2)}
    return fields if reply.status in REFUSED else {**fields, **bias}


def without_end(tokenizer: Tokenizer) -> dict[str, Any]:
    """The fields of a request whose answer only its limit ends."""
    return {"logit_bias": {str(end): -100 for end in sorted(tokenizer.end_tokens)}}


def rescored(trajectories: Trajectories, calls: Sequence[Call], upstream: RecordedEngine) -> Scores:
    """Each sampled token scored again by the model, in the context that the trajectories say it had."""
    scoring = upstream.scoring or Scoring("")
    read = [
        Read(
            number,
            each.prompt_ids,
            each.response_ids,
            each.response_mask,
            each.response_logprobs,
            logprobs_at=logprobs_at(each.extra.get("extra_fields")),
        )
        for number, each in enumerate(trajectories)
    ]
    known = [
        Recorded(number, call.context, call.generations, call.logprobs, call.outcome)
        for number, call in enumerate(calls)
    ]
    try:
        scores = rescoring.score(
            read, known, scoring.by, scoring.tolerance, scoring.temperature, upstream.tokenizer.decode
        )
    except Unscorable as error:
        raise NotTested(str(error)) from error
    if scores.summary is None:
        raise NotTested("; ".join(scores.left_out))
    return scores


def as_property(scores: Scores) -> str:
    """The figures of a re-score, for the report, which says by what kind of scorer and not where that is."""
    figures = {**rescoring.figures_of(scores), "scorer": scores.scorer.partition(":")[0]}
    return json.dumps(figures, ensure_ascii=False)


def most_at_once(calls: Sequence[Call]) -> int:
    """How many of the calls were at the engine at one time."""
    times = sorted(_edges(calls))
    running = most = 0
    for _, step in times:
        running += step
        most = max(most, running)
    return most


def _edges(calls: Sequence[Call]) -> Iterator[tuple[float, int]]:
    for call in calls:
        if call.answered is not None:
            yield call.arrived, 1
            yield call.answered, -1
