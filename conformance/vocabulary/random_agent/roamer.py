"""An agent in one session, in the words of the journeys.

It holds several conversations, and goes on with any of them over any wire. What a move asks for and the gateway does
not declare, or what does not go together, is done in the plain way. Each request is noted with what must hold for it,
which `verdict.py` judges when all is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply
from conformance.gateway import Capability
from conformance.oracles import Violation
from conformance.vocabulary.expect import REFUSED
from conformance.vocabulary.exported import rendered
from conformance.vocabulary.journey import Walker
from conformance.vocabulary.journey_turn import COUNTS, FREE_TO_REFUSE, Attempt, Turn, fields_of
from conformance.vocabulary.random_agent.dialogue import Dialogue, Request, named, offered, said, shown, toolsets
from conformance.vocabulary.random_agent.plan import Move, Opened
from conformance.vocabulary.session import Sessions, Superseded, Trajectories, system
from conformance.vocabulary.situations import CALLED, DIMENSIONS, Situation, agree
from conformance.vocabulary.talk import TEXT, WIRES, Entry, Question, Results, Talk, as_chat
from conformance.vocabulary.target import Target

TRAITS = ("tool_choice none", "stop", "limit", "include_usage")
"""Fields by which a turn is judged, the one before the other where it has two."""
APART = [
    {"stop", "unused stop"},
    {"tool_choice none", "tool_choice auto"},
    {"null", "temperature"},
    {"null", "top_p"},
] + [{"null", name} for name in ("stop", "unused stop", "labels")]
"""Fields of which a request has one."""
DEFAULT_LIMIT = 12345
"""Tokens of an answer in a session that has a default for that."""
SLACK = 4
"""Tokens by which the length of a context may be another than the template's render of its messages."""


class Roamer(Walker):
    """Roams in one session. `counter` counts the turns of all sessions, `story` tells them."""

    def __init__(
        self, target: Target, sessions: Sessions, opened: Opened, name: str, counter: Iterator[int], story: list[str]
    ) -> None:
        self.opened, self.name, self.counter, self.story_told = opened, name, counter, story
        self.defaults = {"temperature": 0.875, "top_p": 0.9375} if opened.sampling else {}
        self.limit = DEFAULT_LIMIT if opened.sampling else None
        session = sessions.open(**self._settings())
        if opened.options and session.attempt() is not None:  # not all values go together
            self.opened = opened = replace(opened, options=())
            session = sessions.open(**self._settings())
        self.options = {**target.declaration.options, **dict(opened.options)}
        super().__init__(target, session, [], self.defaults)
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
            settings["sampling_params"] = {**self.defaults, "max_tokens": self.limit}
        if self.opened.room:
            settings |= {"prompt_length": self.opened.room - 60, "response_length": 60}
        if self.opened.options:
            settings["options"] = dict(self.opened.options)
        return settings

    @property
    def room(self) -> int:
        """Tokens that a context and its answer have together; 0 where the session sets no such bound."""
        return self.opened.room if self.options.get("budget") == "total" else 0

    # Requests

    def fit(self, dialogue: Dialogue, move: Move) -> tuple[Situation, tuple[str, ...]]:
        """The move as a situation that can be in this conversation, and the fields that its request has beside that of
        the situation."""
        pending = bool(dialogue.talk.pending)
        values = {"wire": self._wire(dialogue, move.wire)}
        tools = self._tools(dialogue, move.tools)
        for name, value, plain in (
            ("stream", move.stream if self.has(Capability.STREAMING) else "plain", "plain"),
            ("place", "behind a result" if pending else "later", "later"),
            ("tools", tools, "declared" if dialogue.tools else "none"),
            ("content", "text" if self.room else move.content, "text"),
        ):
            known = "two calls" if value == "three calls" else value
            values[name] = value if agree({**_known(values), name: known}) else plain
        calls = values["tools"] in CALLED or values["tools"] in COUNTS
        values["ending"] = "tool call" if calls else "stop"
        names = [name for name in move.fields if name != "logprobs" or self.has(Capability.LOGPROBS)]
        only_chat = ("presence_penalty", "frequency_penalty", "logprobs")
        names = [name for name in names if name not in only_chat or values["wire"] == "chat"]
        endings = {"stop string": "stop", "length": "none"}
        cut = not calls and not self.room and move.ending in endings
        if cut and agree({**_known(values), "ending": move.ending, "field": endings[move.ending]}):
            values["ending"] = move.ending
            names = [*(["stop"] if move.ending == "stop string" else []), *names]
        names = sorted(dict.fromkeys(names), key=lambda name: TRAITS.index(name) if name in TRAITS else len(TRAITS))
        fitting: list[str] = []
        for name in names:
            declared = name if name in DIMENSIONS["field"] else "temperature"
            ending = (
                "stop string" if name == "stop" and values["ending"] == "stop" and not fitting else values["ending"]
            )
            if any({name, other} in APART for other in fitting) or (self.room and name in ("stop", "limit")):
                continue
            if agree({**_known(values), "ending": ending, "field": declared}):
                values["ending"] = ending
                fitting.append(name)
        first, *also = fitting or ["none"]
        return Situation(**{**values, "field": first}), tuple(also)

    def has(self, capability: Capability) -> bool:
        """Whether the gateway declares it."""
        return capability in self.target.declaration.capabilities

    def _wire(self, dialogue: Dialogue, wire: str) -> str:
        """The wire that is asked for, or the one over which this conversation can go on."""
        talk = dialogue.talk
        if self.is_kept(dialogue):
            return "invocations"
        over = WIRES[wire]
        unknown = over.capability is not None and not self.has(over.capability)
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
        possible = calls.get(
            name, ("one call", "two calls", "three calls", "five calls", "no arguments", "text and call")
        )
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
            self.talk = dialogue.talk = replace(self.talk, key=f"kept {self.number}")
        turn = self._turn(situation, question or self.number)
        if new is not None:
            turn = replace(turn, new=new, told=tuple(self.talk.texts(new)))
        images = (*dialogue.images, *(turn.new.images if isinstance(turn.new, Question) else ()))
        told = [text for text in turn.told if text]
        follows = dialogue.last if dialogue.last and offered(dialogue.last.turn) == offered(turn) else None
        does = f"{self.where(dialogue)}{named(situation, self.also)}: {does} {shown(turn.new)}"
        return Request(self.number, does, turn, told[-1] if told else "", follows, images)

    def where(self, dialogue: Dialogue) -> str:
        """Session and conversation, where there are several."""
        where = [self.name, dialogue.name]
        return "".join(f"{name}, " for name in where if name)

    def _instructs(self, situation: Situation) -> tuple[str, ...]:
        """What a conversation is told before it stays the same."""
        return ()

    def _turn(self, situation: Situation, question: int) -> Turn:
        turn = super()._turn(situation, question)
        fields, sampling, marks, limit = dict(turn.fields), {**turn.sampling}, turn.marks, turn.limit
        for name in self.also:
            more, values, own = fields_of(replace(situation, field=name), turn.over, self.number)
            fields, sampling, marks = {**fields, **more}, {**sampling, **values}, (*marks, *own)
            if name == "limit" and limit is None:
                limit = fields[str(turn.over.limit)] = 16384 + self.number
        limit = self.limit if limit is None else limit
        says = {"ids_per_event": 1, **turn.says}
        if says["ids_per_event"] == 1:
            says["ids_per_event"] += self.number % 3
        if self.room:
            says["obeys_limits"] = True
        if self.has(Capability.WEIGHT_VERSIONS):
            says["weight_version"] = self.number
        label = f"turn {self.number}"
        return replace(turn, label=label, fields=fields, sampling=sampling, marks=marks, limit=limit, says=says)

    def asks(self, dialogue: Dialogue, request: Request) -> None:
        """Send a request and take its answer."""
        if self.room:
            left = self.room - self.length(dialogue, request)
            if abs(left) <= SLACK:
                self.drop(dialogue)
                return
            request.outcome = "full" if left < 0 else "answered"
        turn = request.turn
        if request.outcome == "answered":
            # What is not taken is in nobody's way: no later request has this text.
            when = self.talk.texts(turn.new)[-2] if request.may_be_refused else None
            self.upstream.says(**turn.says, when=when)
        reply = self.send(dialogue, request)
        if reply.status in REFUSED and request.may_be_refused:
            request.outcome = "refused"
            return
        if reply.status in (400, 422) and (free := self._free_to_refuse(turn)):
            request.outcome = "refused"
            fields = {name: value for name, value in turn.fields.items() if name not in free}
            turn = replace(turn, fields=fields, sampling={n: v for n, v in turn.sampling.items() if n not in free})
            request = replace(request, does=f"{request.does}, without {', '.join(free)}", turn=turn, outcome="answered")
            reply = self.send(dialogue, request)
        if reply.status != 200:
            raise ConformanceFailure(
                [Violation(f"{request.number}. status", "200", f"{reply.status} {describe(reply.body)}")]
            )
        if request.outcome == "full":
            self.drop(dialogue)
            return
        self.takes(dialogue, request)

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

    def send(self, dialogue: Dialogue, request: Request) -> Reply:
        """Send a request, whatever comes of it."""
        self.notes(request)
        turn = request.turn
        request.reply = dialogue.talk.ask(turn.over, turn.new, turn.tools, turn.fields)
        self.attempts.append(Attempt(turn, request.reply))
        self.story_told[-1] += f" > {request.reply.status}"
        return request.reply

    def notes(self, request: Request) -> None:
        """Note a request and tell it."""
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
        return len(self.rendered(dialogue, request))

    def rendered(self, dialogue: Dialogue, request: Request) -> list[int]:
        """The context of this request, by the template, where each text is one."""
        told = [system(dialogue.talk.system)] if isinstance(dialogue.talk.system, str) else []
        messages = self.session.messages(*told, *as_chat([*dialogue.talk.entries, request.turn.new]))
        messages = [{**message, "content": message.get("content") or ""} for message in messages]
        return rendered(self.upstream.tokenizer, messages, tools=request.turn.tools or None)

    # Conversations

    def fresh(self) -> Dialogue:
        """A conversation that has not begun."""
        self.begun += 1
        return Dialogue(Talk(self.session, self.target), f"conversation {self.begun}" if self.begun > 1 else "")

    def drop(self, dialogue: Dialogue) -> None:
        """Nobody goes on with this conversation."""
        if dialogue in self.dialogues:
            self.dialogues.remove(dialogue)

    def branch(self, dialogue: Dialogue, talk: Talk, last: Request | None) -> Dialogue:
        """The conversation as it was, or as the client makes it; that on which it was left stays behind."""
        talk = talk.as_it_is()
        talk.conversation = None
        return Dialogue(talk, dialogue.name, dialogue.tools, last, list(dialogue.before), dialogue.asked)

    def is_kept(self, dialogue: Dialogue) -> bool:
        """Whether the gateway keeps the history, so that no client can change it."""
        return dialogue.talk.key.startswith("kept")

    def begin(self, move: Move, does: str, how: int, new: Entry | None = None) -> Dialogue:
        """A new conversation, with the tools that the move names, and its first turn."""
        dialogue = self.fresh()
        dialogue.tools = self.toolset(move.tools)
        if how % 3 == 2 and move.wire != "invocations":
            agent = f"You are agent {how}."
            dialogue.talk.system = agent
            if move.content == "three parts" and not self.room:  # where a length counts, it is one text
                dialogue.talk.system = (agent, "Be brief.", "Be kind.")
        self.dialogues.append(dialogue)
        self.asks(dialogue, self.prepare(dialogue, replace(move, tools="declared"), does, new))
        return dialogue

    def toolset(self, tools: str) -> list[dict[str, Any]]:
        """The tools of a new conversation."""
        if tools == "none" or not self.has(Capability.TOOLS) or self.room:
            return []
        kind = tools if tools in ("odd values", "control text") else "one call"
        return [*toolsets(self.upstream.tokenizer.end_of_turn_text)[kind]]


def _known(values: Mapping[str, str]) -> dict[str, str]:
    return {name: "two calls" if value == "three calls" else value for name, value in values.items()}
