"""An agent that does anything in one session, in the words of the journeys.

It holds several conversations, and goes on with any of them over any wire: it echoes what came back, rewrites it, goes
back behind it, hangs up on it. What a move asks for and the gateway does not declare, or what does not go together, it
does in the plain way. Each request is noted with what must hold for it, which `verdict.py` judges when all is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply
from conformance.gateway import Capability, NotObservable
from conformance.oracles import Violation
from conformance.upstream.ledger import ABORTED
from conformance.vocabulary.exported import rendered
from conformance.vocabulary.journey import (
    COUNTS,
    FREE_TO_REFUSE,
    ODD,
    UNMET,
    Attempt,
    Turn,
    Walker,
    fields_of,
    has_failed,
)
from conformance.vocabulary.media import DARK, GREY, LIGHT
from conformance.vocabulary.random_agent.plan import Move, Opened
from conformance.vocabulary.session import Sessions, Superseded, Trajectories, function, system, typed
from conformance.vocabulary.situations import CALLED, DIMENSIONS, Situation, agree
from conformance.vocabulary.talk import ITEMS, TEXT, WIRES, Answered, Entry, Question, Results, Talk, Wire, as_chat
from conformance.vocabulary.target import Target

CLIENT_KEEPS = ("chat", "messages", "responses", "response chain")
"""Wires on which a client can go back, as it sends the history or names where it stands."""
TRAITS = ("tool_choice none", "stop", "limit", "include_usage")
"""Fields by which a turn is judged, the one before the other where it has two."""
SLACK = 4
"""Tokens by which the length of a context may be another than the template's render of its messages."""
CLOSED = (404, 409, 410)
"""What a request to a session that has ended is answered with."""


@dataclass(eq=False)
class Request:
    """A request and what must hold for it. `turn` says what is asked and answered; `marker` stands in no other request
    that is in flight beside it. `follows` is the request whose answer its history ends with, as it came, under the same
    tools. `outcome` is `answered`, `failed`, `hung up`, `refused` or `full`: no room was left."""

    number: int
    does: str
    turn: Turn
    marker: str
    session: int
    follows: Request | None = None
    images: tuple[str, ...] = ()
    outcome: str = "answered"
    fault: str = ""
    reply: Reply | None = None

    @property
    def started(self) -> float:
        return self.reply.exchange.started if self.reply else float("inf")

    @property
    def ended(self) -> float:
        ended = self.reply.exchange.finished if self.reply else None
        return float("inf") if ended is None else ended

    def __str__(self) -> str:
        return f"{self.number}. {self.does}"


@dataclass(eq=False)
class Dialogue:
    """One conversation: its history, the tools that it has, and how it was before each of its questions. `last` is the
    request whose answer its history ends with, as it came."""

    talk: Talk
    name: str
    tools: list[dict[str, Any]] = field(default_factory=list)
    last: Request | None = None
    before: list[tuple[Talk, Request | None]] = field(default_factory=list)
    asked: Entry | None = None

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(url for entry in self.talk.entries if isinstance(entry, Question) for url in entry.images)


class Roamer(Walker):
    """Roams in one session. `counter` counts the turns of all sessions, `story` tells them."""

    def __init__(
        self, target: Target, sessions: Sessions, opened: Opened, name: str, counter: Iterator[int], story: list[str]
    ) -> None:
        self.opened, self.name, self.counter, self.story_told = opened, name, counter, story
        self.defaults: dict[str, Any] = {"temperature": 0.875, "top_p": 0.9375} if opened.sampling else {}
        session = sessions.open(**self._settings())
        if opened.options and session.attempt() is not None:  # not all values go together
            self.opened = opened = replace(opened, options=())
            session = sessions.open(**self._settings())
        self.options = {**target.declaration.options, **dict(opened.options)}
        super().__init__(target, session, [])
        self.requests: list[Request] = []
        self.looked: list[tuple[int, Trajectories, Superseded]] = []
        """What was exported while the session lived, behind how many requests."""
        self.begun = 0
        self.dialogues: list[Dialogue] = []
        self.also: tuple[str, ...] = ()
        self.ended = ""
        self.reward: dict[str, Any] | None = None
        self.left: tuple[Trajectories, Superseded] | None = None

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if self.defaults:
            settings["sampling_params"] = dict(self.defaults)
        if self.opened.room:
            settings |= {"prompt_length": self.opened.room - 60, "response_length": 60}
        if self.opened.options:
            settings["options"] = dict(self.opened.options)
        return settings

    @property
    def room(self) -> int:
        """Tokens that a context and its answer have together; 0 where the session sets no such bound."""
        return self.opened.room if self.options.get("budget") == "total" else 0

    def does(self, move: Move) -> None:
        """Make a move."""
        if not self.dialogues and move.kind not in ("begins", "shows"):
            self._begins(move, "begins", move.how)
        dialogue = self.dialogues[-1 - move.talk % len(self.dialogues)] if self.dialogues else self._fresh_dialogue()
        KINDS[move.kind](self, dialogue, move)

    # Requests

    def fit(self, dialogue: Dialogue, move: Move) -> tuple[Situation, tuple[str, ...]]:
        """The move as a situation that can be in this conversation, and the fields that its request has beside that of
        the situation."""
        pending = bool(dialogue.talk.pending)
        values = {"wire": self._wire(dialogue, move.wire)}
        tools = self._tools(dialogue, move.tools)
        for name, value, plain in (
            ("stream", move.stream if self._has(Capability.STREAMING) else "plain", "plain"),
            ("place", "behind a result" if pending else "later", "later"),
            ("tools", tools, "declared" if dialogue.tools else "none"),
            ("content", "text" if self.room else move.content, "text"),
        ):
            known = "two calls" if value == "three calls" else value
            values[name] = value if agree({**_known(values), name: known}) else plain
        calls = values["tools"] in CALLED or values["tools"] in COUNTS
        values["ending"] = "tool call" if calls else "stop"
        names = [name for name in move.fields if name != "logprobs" or self._has(Capability.LOGPROBS)]
        only_chat = ("presence_penalty", "frequency_penalty", "logprobs")
        names = [name for name in names if name not in only_chat or values["wire"] == "chat"]
        endings = {"stop string": "stop", "length": "none"}
        if not calls and not self.room and move.ending in endings:
            if agree({**_known(values), "ending": move.ending, "field": endings[move.ending]}):
                values["ending"] = move.ending
                names = [*(["stop"] if move.ending == "stop string" else []), *names]
        names = sorted(dict.fromkeys(names), key=lambda name: TRAITS.index(name) if name in TRAITS else len(TRAITS))
        fitting: list[str] = []
        for name in names:
            declared = name if name in DIMENSIONS["field"] else "temperature"
            ending = "stop string" if name == "stop" and values["ending"] == "stop" and not fitting else values["ending"]
            if any({name, other} in APART for other in fitting) or (self.room and name in ("stop", "limit")):
                continue
            if agree({**_known(values), "ending": ending, "field": declared}):
                values["ending"] = ending
                fitting.append(name)
        first, *also = fitting or ["none"]
        return Situation(**{**values, "field": first}), tuple(also)

    def _has(self, capability: Capability) -> bool:
        return capability in self.target.declaration.capabilities

    def _wire(self, dialogue: Dialogue, wire: str) -> str:
        """The wire that is asked for, or the one over which this conversation can go on."""
        talk = dialogue.talk
        if talk.key == "kept":
            return "invocations"
        over = WIRES[wire]
        unknown = over.capability is not None and not self._has(over.capability)
        begun = bool(talk.entries) or bool(dialogue.before)
        told = bool(dialogue.tools) or bool(talk.system) or bool(dialogue.images)
        if unknown or (over.family == TEXT and (begun or told)):
            return "chat"
        if over.family != "chat" and any(entry == Results(()) for entry in talk.entries):
            return "chat"
        return wire

    def _tools(self, dialogue: Dialogue, tools: str) -> str:
        """The tools of a turn, as those of its conversation allow it."""
        if not dialogue.tools:
            return "none"
        calls = {"order": ("odd values",), "page": ("control text",)}
        name = dialogue.tools[0]["function"]["name"]
        possible = calls.get(name, ("one call", "two calls", "three calls", "five calls", "no arguments", "text and call"))
        if tools in ("none", "declared"):
            return "declared"
        return tools if tools in possible else possible[0]

    def prepare(
        self, dialogue: Dialogue, move: Move, does: str, new: Entry | None = None, question: int | None = None
    ) -> Request:
        """The next request of this conversation; `new` is what it adds, if that is not to be made up."""
        situation, self.also = self.fit(dialogue, move)
        self.number = next(self.counter)
        self.talk, self.tools = dialogue.talk, dialogue.tools
        if situation.wire != "conversation":
            self.talk.conversation = None
        if situation.wire not in ("response chain", "responses"):
            self.talk.last_response = None
        if situation.wire == "invocations" and not self.talk.entries:
            self.talk.key = "kept"
            self.talk = dialogue.talk = replace(self.talk, key=f"kept {self.number}")
        turn = self._turn(situation, question or self.number)
        if new is not None:
            turn = replace(turn, new=new, told=tuple(self.talk.texts(new)))
        images = (*dialogue.images, *(turn.new.images if isinstance(turn.new, Question) else ()))
        told = [text for text in turn.told if text]
        follows = dialogue.last if dialogue.last and offered(dialogue.last.turn) == offered(turn) else None
        does = f"{self._where(dialogue)}{named(situation, self.also)}: {does} {shown(turn.new)}"
        return Request(self.number, does, turn, told[-1] if told else "", self.index, follows, images)

    @property
    def index(self) -> int:
        return id(self)

    def _where(self, dialogue: Dialogue) -> str:
        where = [self.name, dialogue.name]
        return "".join(f"{name}, " for name in where if name)

    def _turn(self, situation: Situation, question: int) -> Turn:
        turn = super()._turn(situation, question)
        fields, sampling, marks, limit = dict(turn.fields), {**self.defaults, **turn.sampling}, turn.marks, turn.limit
        for name in self.also:
            more, values, own = fields_of(replace(situation, field=name), turn.over, self.number)
            fields, sampling, marks = {**fields, **more}, {**sampling, **values}, (*marks, *own)
            if name == "limit" and limit is None:
                limit = fields[str(turn.over.limit)] = 16384 + self.number
        says = {**turn.says, "obeys_limits": True} if self.room else turn.says
        label = f"turn {self.number}"
        return replace(turn, label=label, fields=fields, sampling=sampling, marks=marks, limit=limit, says=says)

    def asks(self, dialogue: Dialogue, request: Request) -> None:
        """Send a request and take its answer."""
        if self.room:
            left = self.room - self.length(dialogue, request)
            if abs(left) <= SLACK:
                return self._drop(dialogue)
            request.outcome = "full" if left < 0 else "answered"
        turn = request.turn
        if request.outcome == "answered":
            self.upstream.says(**turn.says)
        reply = self._send(dialogue, request)
        if reply.status in (400, 422) and (free := self._free_to_refuse(turn)):
            request.outcome = "refused"
            fields = {name: value for name, value in turn.fields.items() if name not in free}
            turn = replace(turn, fields=fields, sampling={n: v for n, v in turn.sampling.items() if n not in free})
            request = replace(request, does=f"{request.does}, without {', '.join(free)}", turn=turn, outcome="answered")
            reply = self._send(dialogue, request)
        if reply.status != 200:
            raise ConformanceFailure([Violation(f"{request.number}. status", "200", f"{reply.status} {describe(reply.body)}")])
        if request.outcome == "full":
            return self._drop(dialogue)
        self.takes(dialogue, request)
        return None

    def takes(self, dialogue: Dialogue, request: Request) -> None:
        """The conversation goes on with what was answered."""
        assert request.reply is not None
        if isinstance(request.turn.new, Question):
            dialogue.before.append((dialogue.talk.as_it_is(), dialogue.last))
        dialogue.asked = request.turn.new
        try:
            dialogue.talk.add(request.turn.new, request.reply, request.turn.over)
            self.story_told[-1] += f" {said(request.reply, request.turn.over)}"
        except ConformanceFailure as failure:
            wrong = [replace(v, where=f"{request.number}. {v.where}") for v in failure.violations]
            raise ConformanceFailure(wrong) from failure
        dialogue.last = request
        self.dialogues = [*(other for other in self.dialogues if other is not dialogue), dialogue]

    def _send(self, dialogue: Dialogue, request: Request) -> Reply:
        self.notes(request)
        turn = request.turn
        request.reply = dialogue.talk.ask(turn.over, turn.new, turn.tools, turn.fields)
        self.attempts.append(Attempt(turn, request.reply))
        self.story_told[-1] += f" > {request.reply.status}"
        return request.reply

    def notes(self, request: Request) -> None:
        self.requests.append(request)
        self.story_told.append(str(request))

    def _free_to_refuse(self, turn: Turn) -> list[str]:
        names = [name for name in (turn.situation.field, *self.also) if name in FREE_TO_REFUSE]
        return [
            field_name
            for name in names
            for field_name in fields_of(replace(turn.situation, field=name), turn.over, self.number)[0]
        ]

    def length(self, dialogue: Dialogue, request: Request) -> int:
        """Tokens of the context of this request, by the template."""
        told = [system(dialogue.talk.system)] if dialogue.talk.system else []
        messages = self.session.messages(*told, *as_chat([*dialogue.talk.entries, request.turn.new]))
        messages = [{**message, "content": message.get("content") or ""} for message in messages]
        return len(rendered(self.upstream.tokenizer, messages, tools=request.turn.tools or None))

    # Conversations

    def _fresh_dialogue(self) -> Dialogue:
        self.begun += 1
        return Dialogue(Talk(self.session, self.target), f"conversation {self.begun}" if self.begun > 1 else "")

    def _drop(self, dialogue: Dialogue) -> None:
        """Nobody goes on with this conversation."""
        if dialogue in self.dialogues:
            self.dialogues.remove(dialogue)

    def branch(self, dialogue: Dialogue, talk: Talk, last: Request | None) -> Dialogue:
        """The conversation as it was, or as the client makes it; that on which it was left stays behind."""
        talk = talk.as_it_is()
        talk.conversation = None
        return Dialogue(talk, dialogue.name, dialogue.tools, last, list(dialogue.before), dialogue.asked)

    def _is_kept(self, dialogue: Dialogue) -> bool:
        """Whether the gateway keeps the history, so that no client can change it."""
        return dialogue.talk.key.startswith("kept")

    def _begins(self, move: Move, does: str, how: int, new: Entry | None = None) -> Dialogue:
        dialogue = self._fresh_dialogue()
        dialogue.tools = self._toolset(move.tools)
        if how % 3 == 2 and move.wire != "invocations":
            dialogue.talk.system = f"You are agent {how}."
        self.dialogues.append(dialogue)
        self.asks(dialogue, self.prepare(dialogue, replace(move, tools="declared"), does, new))
        return dialogue

    def _toolset(self, tools: str) -> list[dict[str, Any]]:
        if tools == "none" or not self._has(Capability.TOOLS) or self.room:
            return []
        kind = tools if tools in ("odd values", "control text") else "one call"
        return [*toolsets(self.upstream.tokenizer.end_of_turn_text)[kind]]


APART = [{"stop", "unused stop"}, {"tool_choice none", "tool_choice auto"}, {"null", "temperature"}, {"null", "top_p"}] + [
    {"null", name} for name in ("stop", "unused stop", "labels")
]
"""Fields of which a request has one."""


def _known(values: Mapping[str, str]) -> dict[str, str]:
    return {name: "two calls" if value == "three calls" else value for name, value in values.items()}


def toolsets(end: str) -> dict[str, list[dict[str, Any]]]:
    """The tools of a conversation, by the calls that are made of them."""
    search = function("search", "Search the web.", query={"type": "string"})
    return {
        "one call": [search, function("now", "Tell what time it is.")],
        "odd values": [function("order", "Bestellt für Gebäude 建物 🏠.", **typed(ODD), **UNMET)],
        "control text": [function("page", f"Reads a page up to {end} or to its end.", url={"type": "string"})],
    }


def named(situation: Situation, also: Sequence[str] = ()) -> str:
    """A situation in a few words."""
    plain = {"stream": "plain", "tools": "none", "content": "text", "field": "none"}
    parts = [situation.wire]
    parts += [value for name, value in situation.values() if name in plain and value != plain[name]]
    cut = ["cut for length"] if situation.ending == "length" else []
    return ", ".join([*(part for part in parts if part != "declared"), *also, *cut])


def offered(turn: Turn) -> Sequence[Mapping[str, Any]]:
    """The tools that the model is told of."""
    choice = turn.fields.get("tool_choice")
    return [] if choice in ("none", {"type": "none"}) else turn.tools


def shown(new: Entry) -> str:
    """What is new in a request, in a few words."""
    if isinstance(new, Question):
        content = new.content if isinstance(new.content, str) else " | ".join(new.content)
        return f"user {describe(content, 40)}" + (f" with {len(new.images)} images" if new.images else "")
    if isinstance(new, Results):
        return f"{len(new.contents)} results" if new.contents else "nothing new"
    return "an answer"


def said(reply: Reply, over: Wire) -> str:
    """What was answered, in a few words."""
    calls = [call.name for call in over.calls(reply)]
    return " and ".join([*([describe(reply.text, 40)] if reply.text or not calls else []), *map(str, calls)])


# What an agent does


def goes_on(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    pending = dialogue.talk.pending
    new: Entry | None = None
    does = "goes on:"
    request = agent.prepare(dialogue, move, does)
    if len(pending) > 1 and isinstance(request.turn.new, Results) and move.how % 3:
        contents = request.turn.new.contents
        turned = move.how % len(contents)
        new = Results((*contents[turned:], *contents[:turned]) if move.how % 2 else tuple(reversed(contents)))
        told = tuple(dialogue.talk.texts(new))
        does = request.does.replace("goes on:", "gives results in another order:")
        request = replace(request, does=does, turn=replace(request.turn, new=new, told=told))
        request.marker = told[-1]
    agent.asks(dialogue, request)


def begins(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    agent._begins(move, "begins:", move.how)


def goes_back(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent._is_kept(dialogue) or not dialogue.before:
        return goes_on(agent, dialogue, move)
    place = max(len(dialogue.before) - 1 - move.how % 3, 0)
    talk, last = dialogue.before[place]
    other = agent.branch(dialogue, talk, last)
    other.before = dialogue.before[:place]
    if not other.talk.entries:
        move = replace(move, wire="chat") if move.wire == "invocations" else move
    agent.asks(other, agent.prepare(other, move, "goes back, and asks otherwise:"))


def rewrites(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    talk = dialogue.talk.as_it_is()
    if agent._is_kept(dialogue) or not talk.entries:
        return goes_on(agent, dialogue, move)
    talk.entries.pop()
    talk.last_response = None
    if move.how % 2 and (not talk.entries or not isinstance(talk.entries[-1], Results)):
        talk.entries.append(Answered(f"Edited {move.how}"))
    elif talk.entries and isinstance(talk.entries[-1], Results):
        talk.entries.append(Answered("Edited"))
    other = agent.branch(dialogue, talk, None)
    wire = "responses" if move.wire in ("response chain", "invocations") else move.wire
    if not move.how % 2 and wire == "messages":
        wire = "chat"
    agent.asks(other, agent.prepare(other, replace(move, wire=wire), "rewrites the last answer:"))


def asks_again(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent._is_kept(dialogue) or not dialogue.before or not isinstance(dialogue.asked, Question):
        return goes_on(agent, dialogue, move)
    talk, last = dialogue.before[-1]
    other = agent.branch(dialogue, talk, last)
    other.before = dialogue.before[:-1]
    wire = "responses" if move.wire in ("response chain", "invocations") else move.wire
    plain = replace(move, wire=wire, content="text", tools="declared")
    agent.asks(other, agent.prepare(other, plain, "asks the same again:", dialogue.asked))


def compacts(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent._is_kept(dialogue) or not dialogue.talk.entries:
        return goes_on(agent, dialogue, move)
    talk = dialogue.talk.as_it_is()
    kept = talk.entries[-2:] if move.how % 2 and isinstance(talk.entries[-2], Question) and not talk.pending else []
    talk.entries = [Question(f"A summary {next(agent.counter)}"), *(kept or [Answered("I see.")])]
    talk.last_response = None
    other = agent.branch(dialogue, talk, None)
    wire = "responses" if move.wire in ("response chain", "invocations") else move.wire
    agent.asks(other, agent.prepare(other, replace(move, wire=wire), "compacts its history:"))


def asks_for_more(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent._is_kept(dialogue) or not dialogue.talk.entries or dialogue.talk.pending or agent.room:
        return goes_on(agent, dialogue, move)
    other = agent.branch(dialogue, dialogue.talk, None)
    plain = replace(move, wire="chat", tools="declared", fields=(), ending="stop", content="text")
    agent.asks(other, agent.prepare(other, plain, "asks for more:", Results(())))


def changes_tools(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    if agent._is_kept(dialogue) or not dialogue.talk.entries or agent.room:
        return goes_on(agent, dialogue, move)
    other = agent.branch(dialogue, dialogue.talk, None)
    more = function(f"extra_{next(agent.counter)}", "One more tool.", what={"type": "string"})
    other.tools = [*(dialogue.tools or agent._toolset("one call")), more]
    agent.asks(other, agent.prepare(other, move, "goes on under other tools:"))


def calls(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """A turn with calls, and one with their results."""
    move = replace(move, tools="one call") if move.tools in ("none", "declared") else move
    if not dialogue.tools:
        wire = "chat" if move.wire == "invocations" else move.wire
        dialogue = agent._begins(replace(move, wire=wire), "begins with tools:", move.how)
        if dialogue not in agent.dialogues:
            return
    if not dialogue.talk.pending:
        agent.asks(dialogue, agent.prepare(dialogue, move, "asks for calls:"))
    if dialogue in agent.dialogues:
        goes_on(agent, dialogue, replace(move, tools="declared"))


def interrupts(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The results of calls, and a question with them."""
    if not dialogue.talk.pending or agent.room:
        return goes_on(agent, dialogue, move)
    wire = move.wire if move.wire in ("chat", "messages", "responses") else "chat"
    results = agent.prepare(dialogue, replace(move, wire=wire, content="text"), "").turn.new
    other = agent.branch(dialogue, dialogue.talk, None)
    other.talk.entries.append(results)
    other.talk.last_response = None
    agent.asks(other, agent.prepare(other, replace(move, wire=wire), "gives results, and asks:"))


def fails(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The engine fails; then the client asks again, or goes on otherwise."""
    if agent.room:
        return goes_on(agent, dialogue, move)
    fault = move.fault
    if fault == "abort" and agent.options.get("aborted") != "failed":
        fault = "503"
    request = agent.prepare(dialogue, replace(move, fields=(), ending="stop"), f"fails ({fault}):")
    request.outcome, request.fault = "failed", fault
    plain = {"ids_per_event": 1}
    text = f"Lost {request.number}"
    if fault == "another prompt":
        agent.upstream.says(text, prompt_ids=agent.upstream.tokenizer.encode("Another prompt, of another length"))
    elif fault == "abort":
        agent.upstream.says(text, finish="abort", **plain)
    elif fault == "no ids":
        agent.upstream.says(text, token_ids="missing")  # noqa: S106
    elif fault == "truncated":
        agent.upstream.says(f"{text}, of a longer answer that breaks off", truncated=True)
    elif fault == "no generation":
        agent.upstream.fails(200, body=b"<html>busy</html>", content_type="text/html")
    elif fault == "reset":
        agent.upstream.fails(reset=True)
    else:
        agent.upstream.fails(int(fault))
    reply = agent._send(dialogue, request)
    if fault == "another prompt" and not is_failure(reply):
        # Who does not ask what the prompt was is not told.
        request.outcome, request.fault = "unsure", ""
        return agent._drop(dialogue)
    if not is_failure(reply):
        wrong = Violation(f"{request.number}. answer", f"a failure, as the engine's ({fault})", f"{reply.status} {describe(reply.body)}")
        raise ConformanceFailure([wrong])
    if move.how % 3 and isinstance(request.turn.new, Question):
        agent.asks(dialogue, agent.prepare(dialogue, replace(move, fault="500"), "asks it again:", request.turn.new))
    else:
        goes_on(agent, dialogue, move)


def is_failure(reply: Reply) -> bool:
    return reply.status >= 400 or has_failed(reply)


def hangs_up(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The client hangs up: while the engine samples, or once the answer has begun. Then it asks again, or goes on."""
    if agent.room or agent.options.get("idempotent_retry") == "true":
        return goes_on(agent, dialogue, move)
    wire = "responses" if move.wire == "conversation" else move.wire
    when = ("while the engine samples", "when the answer begins", "after an event")[move.how % 3]
    request = agent.prepare(dialogue, replace(move, wire=wire, fields=(), ending="stop"), f"hangs up {when}:")
    request.outcome = "hung up"
    turn, calls = request.turn, agent.upstream.calls
    ended = sum(call.outcome == ABORTED for call in calls)
    held = agent.upstream.holds(**turn.says)
    agent.notes(request)
    connection = dialogue.talk.dial(turn.over, turn.new, turn.tools, turn.fields)
    request.reply = Reply(connection.exchange)
    try:
        agent.upstream.wait_for_calls(len(calls) + 1, agent.session.time_left)
    except TimeoutError as error:
        raise ConformanceFailure([Violation(f"{request.number}. the engine", "a call", str(error))]) from error
    if move.how % 3:
        held.release()
        connection.read_first_byte() if move.how % 3 == 1 or not turn.fields.get("stream") else connection.read_until(b"\n\n")
    connection.hang_up()
    if not move.how % 3 and (turn.over.family != TEXT or turn.fields.get("stream")):
        try:
            agent.upstream.wait_for_calls(ended + 1, agent.session.time_left, outcome=ABORTED)
        except TimeoutError as error:
            wrong = Violation(f"{request.number}. the engine", "its call ends when the client hangs up", str(error))
            raise ConformanceFailure([wrong]) from error
    with suppress(NotObservable):
        agent.session.trajectories()  # the gateway has noticed, once it has answered what it is asked next
    held.release()
    if turn.over.family == TEXT:
        return agent._drop(dialogue)  # which history is kept is not known now
    dialogue.talk.conversation = None
    again = turn.new if move.how % 2 and isinstance(turn.new, Question) else None
    does = "asks it again:" if again else "goes on:"
    agent.asks(dialogue, agent.prepare(dialogue, replace(move, wire=wire), does, again))


def sends_again(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The client sends what was answered once more, as an SDK does by itself."""
    last = dialogue.last
    kept = last is not None and last.turn.over.name not in ("chat", "messages", "responses")
    if last is None or last.reply is None or kept or agent.options.get("idempotent_retry") != "false" or agent.room:
        return goes_on(agent, dialogue, move)
    number = next(agent.counter)
    text = f"Answer {number}"
    ending = "stop" if last.turn.situation.ending == "tool call" else last.turn.situation.ending
    situation = replace(last.turn.situation, ending="stop" if ending == "stop string" else ending)
    turn = replace(last.turn, label=f"turn {number}", situation=situation, calls=(), text=text, says={"text": text})
    if situation.ending == "length":
        return goes_on(agent, dialogue, move)
    follows = last.follows
    request = Request(number, f"{agent._where(dialogue)}{turn.over.name}: sends request {last.number} again", turn, last.marker, last.session, follows, last.images)
    agent.upstream.says(**turn.says)
    agent.notes(request)
    sent = last.reply.exchange
    headers = {**sent.request_headers, "x-stainless-retry-count": "1"}
    reply = agent.session.send_to(sent.url, content=sent.request_body, headers=headers)
    request.reply = type(last.reply)(reply.exchange)
    agent.attempts.append(Attempt(turn, request.reply))
    if reply.status != 200:
        raise ConformanceFailure([Violation(f"{number}. status", "200", f"{reply.status} {describe(reply.body)}")])
    agent.story_told[-1] += f" > {describe(request.reply.text, 40)}"


def looks(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """The trajectories are read while the session lives, which changes nothing; what they are is judged now."""
    with suppress(NotObservable):
        exported, superseded = agent.session.trajectories(), agent.session.superseded()
        agent.looked.append((len(agent.requests), exported, superseded))


def rewards(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    agent.reward = {"score": move.how / 4, "of": {"move": move.how}}
    agent.session.reward(agent.reward)


def shows(agent: Roamer, dialogue: Dialogue, move: Move) -> None:
    """A question with images."""
    if agent.room or agent._is_kept(dialogue):
        return goes_on(agent, dialogue, move) if agent.dialogues else begins(agent, dialogue, move)
    urls = (DARK, GREY, LIGHT, DARK)[move.how % 3 : move.how % 3 + 1 + move.how % 2]
    wire = "chat" if move.wire == "invocations" else move.wire
    move, new = replace(move, wire=wire), Question(f"What do you see? {next(agent.counter)}", urls)
    if dialogue not in agent.dialogues or dialogue.talk.pending:
        agent._begins(replace(move, tools="none"), "begins, and shows images:", 0, new)
    else:
        agent.asks(dialogue, agent.prepare(dialogue, replace(move, tools="declared"), "shows images:", new))


KINDS: Mapping[str, Callable[[Roamer, Dialogue, Move], None]] = {
    "goes on": goes_on,
    "begins": begins,
    "goes back": goes_back,
    "rewrites": rewrites,
    "asks again": asks_again,
    "compacts": compacts,
    "asks for more": asks_for_more,
    "changes tools": changes_tools,
    "calls": calls,
    "interrupts": interrupts,
    "fails": fails,
    "hangs up": hangs_up,
    "sends again": sends_again,
    "looks": looks,
    "rewards": rewards,
    "shows": shows,
}
"""What an agent does in one session: name -> how it does it."""
