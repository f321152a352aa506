"""The search for a conversation that a gateway gets wrong, and for the shortest that shows it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from random import Random

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import NoAnswer
from conformance.gateway import Capability
from conformance.oracles import Violation
from conformance.vocabulary.random_agent import verdict
from conformance.vocabulary.random_agent.dialogue import Request
from conformance.vocabulary.random_agent.moves import make
from conformance.vocabulary.random_agent.plan import PLAIN, Move, Opened, Plan, Theme, invented, simpler
from conformance.vocabulary.random_agent.roamer import Roamer
from conformance.vocabulary.session import Pending, Sessions
from conformance.vocabulary.target import Target

SEED = 2693
CLOSED = (404, 409, 410)
"""What a request to a session that has ended is answered with."""
Judge = Callable[["Party"], list[Violation]]


@dataclass(frozen=True, slots=True)
class Search:
    """How many plans of a theme are tried, and how many more to find a shorter one than the first that fails."""

    plans: int = 4
    shortenings: int = 120
    seed: int = SEED

    @classmethod
    def chosen(cls, plans: int = 4) -> Search:
        """A few plans, the same each time. `HYPOTHESIS_PROFILE=nightly`: many, `GATEWAY_PLANS` of each theme if it is
        given, by a seed that `GATEWAY_SEED` may give."""
        if os.environ.get("HYPOTHESIS_PROFILE") != "nightly":
            return cls(plans)
        many = int(os.environ.get("GATEWAY_PLANS") or 400)
        return cls(many, 1000, int(os.environ.get("GATEWAY_SEED") or secrets.randbelow(2**32)))

    @property
    def announced(self) -> str | None:
        """How this search is repeated, where that is not what each run does."""
        return None if self.seed == SEED else f"random agent: HYPOTHESIS_PROFILE=nightly GATEWAY_SEED={self.seed}"

    def run(self, theme: Theme, target: Target, judge: Judge | None = None) -> None:
        """Play plans. Raises the `ConformanceFailure` of the shortest one that was found to fail; what was sent and
        received is then what `target` holds."""
        source = Random(f"{theme}{self.seed}")  # noqa: S311 - not for secrets
        for _ in range(self.plans):
            plan = invented(source, theme, target.declaration)
            failure = outcome(plan, target, judge)
            if failure is not None:
                shortest = self._shortest(plan, failure, target, judge)
                if self.announced:  # workers print nothing
                    told = replace(shortest.violations[0], hint=f"{self.announced} repeats it")
                    shortest = ConformanceFailure([told, *shortest.violations[1:]])
                raise shortest
        # All of it was judged; who stands by knows nothing of these sessions.
        target.recorder.begin()
        target.upstream.begin()

    def _shortest(
        self, plan: Plan, failure: ConformanceFailure, target: Target, judge: Judge | None
    ) -> ConformanceFailure:
        left, shortest, candidates = self.shortenings, failure, simpler(plan)
        # A gateway that hangs is not waited for again and again.
        while left > 0 and not isinstance(shortest, NoAnswer) and (candidate := next(candidates, None)) is not None:
            left -= 1
            failure_of_less = outcome(candidate, target, judge)
            if failure_of_less is not None:
                plan, shortest, candidates = candidate, failure_of_less, simpler(candidate)
        # Played last, so that its exchanges are the ones that are shown.
        return outcome(plan, target, judge) or shortest


def outcome(plan: Plan, target: Target, judge: Judge | None = None) -> ConformanceFailure | None:
    """How a plan fails, if it does."""
    try:
        play(plan, target, judge)
    except ConformanceFailure as failure:
        return failure
    return None


def play(plan: Plan, target: Target, judge: Judge | None = None) -> None:
    """Play one plan in new sessions, and judge it. Raises a `ConformanceFailure` that tells the story before what is
    wrong."""
    target.recorder.begin()
    target.upstream.begin()
    sessions = Sessions(target.driver, target.http, target.recorder, target.upstream.nonce)
    party = Party(target, sessions, plan.sessions)
    violations: list[Violation] = []
    try:
        try:
            for move in plan.moves:
                party.does(move)
        except NoAnswer as failure:
            raise _told(party, failure) from failure
        except ConformanceFailure as failure:
            violations = failure.violations
        try:
            party.leaves()
        except NoAnswer:
            raise
        except ConformanceFailure as failure:
            violations = [*violations, *failure.violations]
        violations += (judge or everything)(party)
    finally:
        sessions.discard()
    if violations:
        whole = Violation("the story", "to hold what holds for every story", "\n".join(party.story))
        raise ConformanceFailure([whole, *violations])


def _told(party: Party, failure: NoAnswer) -> NoAnswer:
    failure.violations.insert(0, Violation("the story", "an answer to each request", "\n".join(party.story)))
    failure.args = ("\n".join(map(str, failure.violations)),)
    return failure


def everything(party: Party) -> list[Violation]:
    """All that must hold of what the agents did."""
    calls = party.target.upstream.calls
    made = verdict.calls_of(party.requests, calls)
    party.target.recorder.answered()  # what is judged takes the kit's own time
    own = [*verdict.of_requests(party.roamers, made), *verdict.of_exports(party.roamers, made)]
    return own or list(verdict.beside(party.target, party.roamers, calls))


def exports(party: Party) -> list[Violation]:
    """What must hold of what the sessions export."""
    made = verdict.calls_of(party.requests, party.target.upstream.calls)
    return list(verdict.of_exports(party.roamers, made))


class Party:
    """The agents of one plan, each in a session of its own."""

    def __init__(self, target: Target, sessions: Sessions, opened: tuple[Opened, ...]) -> None:
        self.target, self.sessions = target, sessions
        self.counter, self.story = count(1), list[str]()
        self.number = 0
        self.several = len(opened) > 1
        self.here = [self._enters(each) for each in opened]
        self.gone: list[Roamer] = []

    @property
    def roamers(self) -> list[Roamer]:
        return [*self.gone, *self.here]

    @property
    def requests(self) -> list[Request]:
        return sorted((one for roamer in self.roamers for one in roamer.requests), key=lambda one: one.number)

    def does(self, move: Move) -> None:
        """Make a move."""
        place = move.session % len(self.here)
        if move.kind == "at once":
            self._at_once(move)
        elif move.kind == "ends" and Capability.SESSIONS in self.target.declaration.capabilities:
            self._ends(place, move)
        else:
            make(self.here[place], replace(move, kind=PLAIN) if move.kind == "ends" else move)

    def leaves(self) -> None:
        """Take what each session exports."""
        for roamer in self.here:
            if roamer.session.is_open and roamer.ended != "aborted":
                take(roamer)

    def _enters(self, opened: Opened) -> Roamer:
        self.number += 1
        name = f"session {self.number}" if self.several or self.number > 1 else ""
        return Roamer(self.target, self.sessions, opened, name, self.counter, self.story)

    def _at_once(self, move: Move) -> None:
        """Turns of several conversations, of one session or of several, that are in flight together."""
        upstream, plain = self.target.upstream, Move(wire=move.wire, stream=move.stream, fields=move.fields)
        order = [*self.here[move.session :], *self.here[: move.session]]
        asking = []
        for roamer in order:
            if not roamer.dialogues:
                make(roamer, Move("begins", wire=move.wire, stream=move.stream))
            if len(order) == 1 and len(roamer.dialogues) == 1:
                make(roamer, Move("begins", stream=move.stream))
            asking += [(roamer, dialogue) for dialogue in roamer.dialogues[-2:] if not roamer.room]
        together = asking[: 2 + move.how % 2]
        if len(together) < 2:
            return
        overlap = all(roamer.options.get("concurrency") == "overlap" for roamer, _ in together)
        apart = len({id(roamer) for roamer, _ in together}) == len(together)
        prepared = []
        for roamer, dialogue in together:
            request = roamer.prepare(dialogue, plain, "at once with the others:")
            request.follows = None
            upstream.says(**request.turn.says, when=request.marker, barrier=len(together) if overlap or apart else None)
            roamer.notes(request)
            prepared.append((roamer, dialogue, request, len(self.story) - 1))
        pending = [
            Pending(partial(dialogue.talk.ask, one.turn.over, one.turn.new, one.turn.tools, one.turn.fields), 10)
            for _, dialogue, one, _ in prepared
        ]
        for waiting, (_, _, request, place) in zip(pending, prepared, strict=True):
            request.reply = waiting.reply()
            self.story[place] += f" > {request.reply.status}"
        for roamer, dialogue, request, _ in prepared:
            assert request.reply is not None
            if request.reply.status != 200:
                actual = f"{request.reply.status} {describe(request.reply.body)}"
                raise ConformanceFailure([Violation(f"{request.number}. status", "200", actual)])
            roamer.takes(dialogue, request)

    def _ends(self, place: int, move: Move) -> None:
        """A session comes to its end; it takes no more turns, and another one begins in its place."""
        roamer = self.here[place]
        has = self.target.declaration.capabilities
        ways = ["finalized", *(["completed"] if Capability.COMPLETE in has else [])]
        ways += ["aborted"] if Capability.ABORT in has else []
        how = ways[move.how % len(ways)]
        if not roamer.dialogues:
            make(roamer, Move(wire=move.wire))
        dialogue = roamer.dialogues[-1] if roamer.dialogues else roamer.fresh()
        if how == "finalized":
            take(roamer)
        elif how == "completed":
            roamer.reward = {"score": move.how / 2} if Capability.REWARD_INFO in has else roamer.reward
            roamer.session.complete(roamer.reward)
        else:
            roamer.session.abort()
        roamer.ended = how
        # A conversation would have to be opened first.
        plain = Move(wire="responses" if move.wire == "conversation" else move.wire, stream=move.stream)
        request = roamer.prepare(dialogue, plain, f"asks in a session that was {how}:")
        request.outcome = "refused"
        reply = roamer.send(dialogue, request)
        if reply.status not in CLOSED:
            raise ConformanceFailure([Violation(f"{request.number}. status", "404, 409 or 410", str(reply.status))])
        if how == "completed":
            take(roamer)
        self.gone.append(roamer)
        self.here[place] = self._enters(roamer.opened)


def take(roamer: Roamer) -> None:
    """Take what a session exports, and what it reports as given up."""
    superseded = roamer.session.superseded()
    roamer.left = (roamer.session.finalize(), superseded)
