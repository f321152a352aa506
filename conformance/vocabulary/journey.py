"""Walks a journey, and judges by what holds wherever a turn stands (`journey_turn`, `journey_verdict`).

Each turn of it is scripted, sent as a client of its wire sends it, and answered; its answer is echoed. What a turn's
place needs before it is brought about: a call whose result it gives, an answer that was cut, another conversation. At
the end each answer is held against what was sampled for it, each call of the engine against its request, and what is
exported against both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import NoAnswer, Reply
from conformance.gateway import Capability
from conformance.oracles import Violation
from conformance.upstream.ledger import Call
from conformance.vocabulary.expect import expect
from conformance.vocabulary.journey_turn import (
    COUNTS,
    CUT,
    DEFAULTS,
    END,
    FREE_TO_REFUSE,
    ODD,
    ROOM,
    UNMET,
    Attempt,
    Turn,
    answered,
    asked,
    fields_of,
    system_of,
)
from conformance.vocabulary.journey_verdict import calls_of, has_failed, under, wrong_answer, wrong_call
from conformance.vocabulary.session import Session, Sessions, function, typed
from conformance.vocabulary.situations import CALLED, FAILED, TOLD, Journey, Situation
from conformance.vocabulary.talk import MESSAGES, WIRES, Answered, Called, Entry, Question, Results, Talk, Wire
from conformance.vocabulary.target import Target


def walk(journey: Journey, target: Target, sessions: Sessions) -> None:
    """Walk a journey in a new session, and judge it. Raises a `ConformanceFailure` that tells what was walked before
    all that is wrong."""
    defaults = defaults_of(journey, target)
    session = sessions.open(**({"sampling_params": defaults} if defaults else {}))
    walker = Walker(target, session, tools_of(journey, target), defaults)
    stopped: list[Violation] = []
    try:
        for situation in journey.situations:
            walker.goes(within(situation, target))
    except NoAnswer:
        raise
    except ConformanceFailure as failure:
        stopped = failure.violations
    walker.hold(stopped)


def within(situation: Situation, target: Target) -> Situation:
    """The situation as far as the gateway has the capabilities for it."""
    capabilities = target.declaration.capabilities
    if Capability.STREAMING not in capabilities:
        situation = replace(situation, stream="plain")
    if Capability.TOOLS not in capabilities and situation.tools != "none":
        choice = situation.field.startswith("tool_choice")
        situation = replace(
            situation,
            tools="none",
            place="later" if situation.place in TOLD else situation.place,
            field="none" if choice else situation.field,
            ending="stop" if situation.ending == "tool call" else situation.ending,
        )
    return situation


def defaults_of(journey: Journey, target: Target) -> dict[str, Any]:
    """The sampling values of the journey's session, where the gateway takes them: every second journey has some."""
    takes_some = Capability.SESSION_SAMPLING in target.declaration.capabilities
    return dict(DEFAULTS) if takes_some and journey.name[-1] in "02468" else {}


def tools_of(journey: Journey, target: Target) -> list[dict[str, Any]]:
    """The tools that are declared all along the journey: those whose calls it has."""
    if Capability.TOOLS not in target.declaration.capabilities:
        return []
    end = target.upstream.tokenizer.end_of_turn_text
    kinds = {situation.tools for situation in journey.situations}
    if "odd values" in kinds:
        return [function("order", "Bestellt für Gebäude 建物 🏠.", **typed(ODD), **UNMET)]
    if "control text" in kinds:
        return [function("page", f"Reads a page up to {end} or to its end.", url={"type": "string"})]
    if kinds == {"none"}:
        return []
    return [
        function("search", "Search the web.", query={"type": "string"}),
        function("now", "Tell what time it is."),
    ]


@dataclass
class Walker:
    """Walks in one session. `tools` are declared in each of its requests that has any; turns are counted from
    `number`."""

    target: Target
    session: Session
    tools: list[dict[str, Any]]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The sampling values that the session was opened with."""
    attempts: list[Attempt] = field(default_factory=list)
    number: int = 0
    came: str = ""
    """How the turn before ended, or over which wire it came."""
    before: Talk | None = None
    """The conversation as it was before its last question."""

    def __post_init__(self) -> None:
        self.upstream = self.target.upstream
        self.talk = self._fresh()
        self.aside = self._fresh()

    def goes(self, situation: Situation) -> None:
        """Bring the turn's place about, and take the turn."""
        self._bring(situation)
        self._take(situation)

    # Places

    def _bring(self, situation: Situation) -> None:
        place, pending = situation.place, len(self.talk.pending)
        if place == "first":
            self.talk, self.before = self._fresh(), None
        elif place == "behind a result":
            if pending not in (1, 2):
                self._passes(situation, tools="one call")
        elif place == "behind three results":
            if pending < COUNTS["three calls"]:
                self._passes(situation, tools="three calls")
        elif place == "later":
            if pending or self.came != "stop":
                self._passes(situation)
        elif place == "behind a cut":
            if self.came != "length":
                self._passes(situation, ending="length")
        elif place == "behind a failure":
            if pending or self.came not in FAILED:
                self._passes(situation, ending="500")
        elif place == "behind a stop":
            if self.came != "stop string":
                wire = situation.wire if WIRES[situation.wire].stop else "chat"
                self._passes(situation, wire=wire, field="stop", ending="stop string")
        elif place == "behind another wire":
            if situation.wire == "conversation":
                self.talk, self.before = self._fresh(), None
            self._passes(situation, wire=self._other_wire(situation.wire))
        elif place == "behind a new answer":
            self._settles(situation)
            given_up, question = self.talk.as_it_is(), self.number + 1
            self._passes(situation)
            self.talk = given_up
            self._passes(situation, question=question)
        elif place == "second branch":
            self._settles(situation)
            while (before := self.before) is None:
                self._passes(situation)
            self.talk = before.as_it_is()
        else:
            self._settles(situation)
            if not self.talk.entries:
                self._passes(situation)
            talk, earlier, self.talk = self.talk, self.before, self.aside
            self._passes(situation)
            self.aside, self.talk, self.before = self.talk, talk, earlier

    def _passes(self, situation: Situation, question: int | None = None, **values: str) -> None:
        """A plain turn on the way to a situation, but for these values. Results that are waited for are given first."""
        self._settles(situation)
        plain = {"tools": "declared" if self.tools else "none", "place": "later", "content": "text", "field": "none"}
        self._take(replace(situation, **{**plain, "ending": "stop", **values}), question)

    def _settles(self, situation: Situation) -> None:
        """Give the results that are waited for."""
        if self.talk.pending:
            plain = {"tools": "declared", "place": "behind a result", "content": "text", "field": "none"}
            self._take(replace(situation, ending="stop", **plain))

    def _other_wire(self, wire: str) -> str:
        silent = any(isinstance(one, Answered) and not one.text and not one.calls for one in self.talk.entries)
        # The messages API takes no answer without content among what came before.
        names = ("chat", "responses") if silent else ("chat", "messages", "responses")
        declared = self.target.declaration.capabilities
        others = [name for name in names if name != wire and WIRES[name].capability in {None, *declared}]
        return others[0] if others else wire

    def _fresh(self) -> Talk:
        return Talk(self.session, self.target, f"talk{self.number}")

    # Turns

    def _take(self, situation: Situation, question: int | None = None) -> None:
        self.number += 1
        turn = self._turn(situation, question or self.number)
        if situation.ending in FAILED:
            self.upstream.fails(int(situation.ending))
            failed = self._ask(turn, fault=int(situation.ending))
            if failed.status in (400, 422) and situation.field in FREE_TO_REFUSE:
                self.attempts[-1] = replace(self.attempts[-1], refused=True)
                situation = replace(situation, field="none")
                turn = self._turn(situation, question or self.number)
                failed = self._ask(turn, fault=int(situation.ending))
            if not has_failed(failed):
                raise ConformanceFailure(
                    [Violation(turn.label, "a failure", f"{failed.status} {describe(failed.body)}")]
                )
        self.upstream.says(**turn.says)
        reply = self._ask(turn)
        if reply.status in (400, 422) and situation.field in FREE_TO_REFUSE:
            self.attempts[-1] = replace(self.attempts[-1], refused=True)
            turn = self._turn(replace(situation, field="none"), question or self.number)
            reply = self._ask(turn)
        if reply.status != 200:
            raise ConformanceFailure([Violation(turn.label, "status 200", f"{reply.status} {describe(reply.body)}")])
        if isinstance(turn.new, Question):
            self.before = self.talk.as_it_is() if self.talk.entries else None
        try:
            self.talk.add(turn.new, reply, turn.over)
        except ConformanceFailure as failure:
            raise ConformanceFailure(under(turn.label, failure.violations)) from failure
        self.came = situation.ending

    def _ask(self, turn: Turn, fault: int | None = None) -> Reply:
        reply = self.talk.ask(turn.over, turn.new, turn.tools, turn.fields)
        self.attempts.append(Attempt(turn, reply, fault))
        return reply

    def _turn(self, situation: Situation, question: int) -> Turn:
        number, over = self.number, WIRES[situation.wire]
        tools = self.tools if situation.tools != "none" else []
        new = self._new(situation, question)
        calls = self._calls(situation)
        limit, says, text = self._says(situation, calls, over)
        fields, sampling, marks = fields_of(situation, over, number)
        own = self._instructs(situation)
        if limit is not None:
            fields[str(over.limit)] = limit
        if over.family == MESSAGES and limit is None:
            limit = fields["max_tokens"] = ROOM + number
        values = {**self.defaults, **sampling}
        default_limit = values.pop("max_tokens", None)
        if situation.stream == "streamed":
            fields |= {"stream": True}
        label = f"turn {number} ({situation})"
        told = tuple(self.talk.texts(new))
        bound = default_limit if limit is None else limit
        return Turn(label, over, situation, new, tools, fields, values, bound, (*marks, *own), told, says, text, calls)

    def _instructs(self, situation: Situation) -> tuple[str, ...]:
        """Put in front of the next request what stands there in this situation. Returns what no other request has."""
        self.talk.system, own = system_of(situation, self.number)
        return own

    def _new(self, situation: Situation, question: int) -> Entry:
        if situation.place not in TOLD:
            return Question(asked(situation.content, f"Question {question}"))
        results = []
        for place, call in enumerate(self.talk.pending):
            found = "" if situation.content == "empty" else asked(situation.content, f"Result {question}.{place}")
            if call.name == "page" and isinstance(found, str):
                found += f" {self.upstream.tokenizer.end_of_turn_text} "
            results.append((call.call_id, found))
        return Results(tuple(results))

    def _calls(self, situation: Situation) -> tuple[dict[str, Any], ...]:
        if situation.tools not in CALLED and situation.tools not in COUNTS:
            return ()
        if situation.tools == "no arguments":
            return ({"name": "now", "arguments": {}},)
        name = self.tools[0]["function"]["name"]
        arguments: list[dict[str, Any]] = []
        for place in range(COUNTS.get(situation.tools, 1)):
            if name == "order":
                arguments.append({**ODD, **dict.fromkeys(UNMET, "true"), "zip": f"0{self.number}{place}"})
            else:
                arguments.append({"query" if name == "search" else "url": f"weather {self.number}.{place}"})
        return tuple({"name": name, "arguments": each} for each in arguments)

    def _says(
        self, situation: Situation, calls: tuple[dict[str, Any], ...], over: Wire
    ) -> tuple[int | None, dict[str, Any], str]:
        """The limit of the request, if it has one; the script; and the text that is shown."""
        tokenizer = self.upstream.tokenizer
        text = answered(situation.content, f"Answer {self.number}")
        beside = situation.tools == "text and call" and self.upstream.tool_format.beside_text
        if calls and not beside:
            text = ""
        spoken = f"{text} {END} of it." if situation.ending == "stop string" else text
        says: dict[str, Any] = {"text": spoken}
        if situation.content == "split ids" and not calls:
            split = [token_id for character in spoken for token_id in tokenizer.encode(character)]
            says = {"ids": split}
        if calls:
            says["tool_calls"] = calls
        says["ids_per_event"] = 16 if situation.content == "long" else 1
        limited = situation.field == "limit"
        if any(attempt.turn.limit is not None for attempt in self.attempts):
            says["obeys_limits"] = True
        if situation.ending != "length":
            if "ids" in says:
                says["ids"] = [*says["ids"], tokenizer.end_of_turn]
            return ROOM + self.number if limited else None, says, text
        if not limited:
            return None, {**says, "finish": "length"}, text
        ids = says.get("ids") or tokenizer.encode(spoken)
        limit = min(CUT, len(ids) - 1)
        while limit > 1 and "\ufffd" in tokenizer.decode(ids[:limit]):
            limit -= 1
        return limit, {**says, "obeys_limits": True}, tokenizer.decode(ids[:limit])

    # Judgement

    def story(self) -> str:
        """What was walked, a line for each request."""
        return "\n".join(
            f"{attempt.turn.over.name}: {attempt.turn.label} > {attempt.reply.status}"
            + (f", as the engine failed with {attempt.fault}" if attempt.fault else "")
            for attempt in self.attempts
        )

    def hold(self, stopped: Sequence[Violation] = (), calls: Sequence[Call] | None = None) -> None:
        """Judge what was walked; `stopped` is what ended it early. `calls` are the engine's that belong to it: all of
        the check, unless they are given. Raises a `ConformanceFailure` that tells what was walked first."""
        __tracebackhide__ = True
        violations = [*stopped, *self._wrong(self.upstream.calls if calls is None else calls)]
        if violations:
            walked = Violation("the journey", "what holds wherever a turn stands", self.story())
            raise ConformanceFailure([walked, *violations])

    def _wrong(self, calls: Sequence[Call]) -> list[Violation]:
        violations: list[Violation] = []
        for place, (attempt, made) in enumerate(calls_of(self.attempts, calls)):
            expected = 0 if attempt.refused else 1
            if len(made) != expected:
                where = f"{attempt.turn.label}: calls of the engine"
                violations.append(Violation(where, str(expected), str(len(made))))
            elif made:
                earlier = [other.turn for other in self.attempts[:place] if other.turn is not attempt.turn]
                violations += under(attempt.turn.label, wrong_call(attempt.turn, made[0], earlier))
                if attempt.fault is None and attempt.reply.status == 200:
                    violations += under(attempt.turn.label, wrong_answer(attempt, made[0]))
        self.target.recorder.answered()  # what was judged until now took the kit's own time
        try:
            superseded = self.session.superseded()
            expect(self.session.trajectories()).account_for(calls, superseded)
        except ConformanceFailure as failure:
            violations += failure.violations
        return violations


# What a client brings along


def brings_along(talk: Talk, messages: int) -> None:
    """The conversation has this many messages, of which the gateway has not heard."""
    for number in range(0, messages, 2):
        talk.entries += [Question(f"Old question {number}"), Answered(f"Old answer {number + 1}")]


def brings_calls_along(talk: Talk, name: str, count: int, id_length: int) -> None:
    """The conversation ends with calls of this tool, under ids of this many characters that differ in the last
    one; they wait for their results."""
    calls = [Called(f"{number}".rjust(id_length, "c"), name, {"query": f"old {number}"}) for number in range(count)]
    talk.entries += [Question("Old question"), Answered("", tuple(calls))]
