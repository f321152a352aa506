"""An agent that does anything with its histories, and the shortest conversation in which a gateway gets that wrong.

A conversation is data, a list of moves, so that it can be searched, shortened and played again. Each is played in a
session of its own and judged by what holds for every conversation and every gateway: all turns are answered, and each
sampled token is exported once where the model saw its context, or reported as given up.

Knows messages and the script of the upstream; never tokens, nor what any gateway makes of a move.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import NoAnswer
from conformance.gateway import Capability
from conformance.oracles import Violation
from conformance.vocabulary.conversation import Conversation, Said, new
from conformance.vocabulary.expect import expect, together
from conformance.vocabulary.session import Message, Sessions, assistant, function, results, system, user
from conformance.vocabulary.target import Target

SEARCH = function("search", "Search the web.", query={"type": "string"})
MOVES = 7
"""Of a conversation. One that was found to fail is shortened below that."""
PLAIN = "goes on"


@dataclass(frozen=True, slots=True)
class Move:
    """What the agent does: `kind` with the conversation number `which`, in the manner `how`. Every number means
    something: they are counted round."""

    kind: str
    which: int = 0
    how: int = 0


Conversed = tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """How many conversations are tried, and how many more to find a shorter one than the first that fails."""

    conversations: int = 4
    shortenings: int = 60
    seed: int = 2693

    @classmethod
    def chosen(cls) -> Search:
        """A few conversations, the same each time. `HYPOTHESIS_PROFILE=nightly`: many, by a seed that
        `GATEWAY_SEED` may give."""
        if os.environ.get("HYPOTHESIS_PROFILE") != "nightly":
            return cls()
        return cls(500, 1000, int(os.environ.get("GATEWAY_SEED") or secrets.randbelow(2**32)))

    def run(self, target: Target) -> None:
        """Play conversations. Raises the `ConformanceFailure` of the shortest one that was found to fail; what was sent
        and received is then what `target` holds."""
        source = Random(self.seed)  # noqa: S311 - not for secrets
        kinds = [kind for kind in KINDS if "tools" not in kind or Capability.TOOLS in target.declaration.capabilities]
        for _ in range(self.conversations):
            conversation = invented(source, kinds)
            failure = outcome(conversation, target)
            if failure is not None:
                raise self._shortest(conversation, failure, target)

    def _shortest(self, conversation: Conversed, failure: ConformanceFailure, target: Target) -> ConformanceFailure:
        left, shortest, candidates = self.shortenings, failure, simpler(conversation)
        # A gateway that hangs is not waited for again and again.
        while left > 0 and not isinstance(shortest, NoAnswer) and (candidate := next(candidates, None)) is not None:
            left -= 1
            failure_of_less = outcome(candidate, target)
            if failure_of_less is not None:
                conversation, shortest, candidates = candidate, failure_of_less, simpler(candidate)
        # Played last, so that its exchanges are the ones that are shown.
        return outcome(conversation, target) or shortest


def invented(source: Random, kinds: Sequence[str]) -> Conversed:
    return tuple(Move(source.choice(kinds), source.randrange(12), source.randrange(12)) for _ in range(MOVES))


def simpler(conversation: Conversed) -> Iterator[Conversed]:
    """Conversations that are a step simpler: without a move, or with a plainer one."""
    for place in range(len(conversation)) if len(conversation) > 1 else ():
        yield (*conversation[:place], *conversation[place + 1 :])
    for place, move in enumerate(conversation):
        for plainer in (Move(PLAIN), replace(move, which=0, how=0), replace(move, which=0), replace(move, how=0)):
            if plainer != move:
                yield (*conversation[:place], plainer, *conversation[place + 1 :])


def outcome(conversation: Conversed, target: Target) -> ConformanceFailure | None:
    """How a conversation fails, if it does."""
    try:
        play(conversation, target)
    except ConformanceFailure as failure:
        return failure
    return None


def play(conversation: Conversed, target: Target) -> None:
    """Play one conversation in a new session and judge what is exported. Raises a `ConformanceFailure` that tells the
    conversation before what is wrong."""
    target.recorder.begin()
    target.upstream.begin()
    sessions = Sessions(target.driver, target.http, target.recorder, target.upstream.nonce)
    agent = Agent(target, sessions)
    try:
        for move in conversation:
            agent.does(move)
        agent.is_recorded()
    except NoAnswer:
        raise
    except ConformanceFailure as failure:
        whole = Violation("the conversation", "to hold what holds for every conversation", "\n".join(agent.story))
        raise ConformanceFailure([whole, *failure.violations]) from failure
    finally:
        sessions.discard()


@dataclass
class Agent:
    """Holds several conversations of one session. `story` tells what was said, a line for each turn."""

    target: Target
    sessions: Sessions
    story: list[str] = field(default_factory=list)
    talks: list[Conversation] = field(default_factory=list)
    turns: int = 0

    def __post_init__(self) -> None:
        self.upstream = self.target.upstream
        self.session = self.sessions.open()

    def does(self, move: Move) -> None:
        if not self.talks:
            begins(self, Conversation(self.session, self.upstream), move.how)
        # The latest conversation is number 0, so that a short story is about one conversation.
        talk = self.talks[-1 - move.which % len(self.talks)]
        KINDS[move.kind](self, talk, move.how)

    def is_recorded(self) -> None:
        """Judge what the session exports."""
        exported = expect(self.session.trajectories())
        superseded = self.session.superseded()
        together(exported.are_aligned, lambda: exported.account_for(self.upstream, superseded))

    def turn(self, what: str, talk: Conversation, content: Said, how: int = 0, **step: Any) -> Message:
        """One turn that is answered; the conversation is the latest one then."""
        self.tells(what, talk, content)
        reply = talk.turn(content, **(step or self.answer(how)))
        self.story[-1] += f" > {describe(reply.text or reply.tool_calls)}"
        if talk in self.talks:
            self.talks.remove(talk)
        self.talks.append(talk)
        return reply.message

    def tells(self, what: str, talk: Conversation, content: Said) -> None:
        self.turns += 1
        shown = (
            ", ".join(f"{message['role']} {describe(message.get('content'), 40)}" for message in new(content))
            or "nothing"
        )
        self.story.append(f"{self.turns}. {what} after {len(talk.messages)} messages: {shown}")

    def answer(self, how: int) -> dict[str, Any]:
        """What the model says: one of a kind, the same as ever, spelled as no tokenizer would, or broken off."""
        text, tokenizer = f"Answer {self.turns}", self.upstream.tokenizer
        if how % 4 == 1 and self.may_repeat:
            return {"answer": "Fine"}
        if how % 4 == 2:
            return {
                "ids": [token_id for character in text for token_id in tokenizer.encode(character)]
                + [tokenizer.end_of_turn]
            }
        return {"answer": text, "finish": "length" if how % 4 == 3 else "stop"}

    @property
    def may_repeat(self) -> bool:
        """May the model give an answer twice? Where that counts as a retry, the second one is not exported."""
        return self.target.declaration.options.get("idempotent_retry") != "true"

    def question(self) -> str:
        return f"Question {self.turns + 1}"


def begins(agent: Agent, talk: Conversation, how: int) -> None:
    other = Conversation(agent.session, agent.upstream)
    if how % 3 == 0:
        agent.turn("begins", other, "Hi", how)
    else:
        agent.turn("begins", other, [system(f"You are agent {how % 3}."), user("Hi")], how)


def goes_on(agent: Agent, talk: Conversation, how: int) -> None:
    agent.turn("goes on", talk.back(0), agent.question(), how)


def asks_for_more(agent: Agent, talk: Conversation, how: int) -> None:
    agent.turn("asks for more", talk.back(0), [], how)


def rewrites(agent: Agent, talk: Conversation, how: int) -> None:
    edited = [assistant("Edited")] if how % 2 else []
    agent.turn("rewrites the last answer", talk.back(), [*edited, user("That was wrong.")], how // 2)


def repeats(agent: Agent, talk: Conversation, how: int) -> None:
    agent.turn("repeats its request", talk.back(), [], how)


def goes_back(agent: Agent, talk: Conversation, how: int) -> None:
    agent.turn("goes back", talk.back(3), agent.question(), how)


def compacts(agent: Agent, talk: Conversation, how: int) -> None:
    kept = talk.messages[-2:] if how % 2 else []
    agent.turn("compacts", talk.as_if(user("A summary"), *kept), agent.question(), how // 2)


def uses_tools(agent: Agent, talk: Conversation, how: int) -> None:
    talk = Conversation(agent.session, agent.upstream, tools=[SEARCH]).as_if(*talk.messages)
    query = "weather" if agent.may_repeat else f"weather {agent.turns}"
    call = {"name": "search", "arguments": {"query": query}}
    called = agent.turn("uses tools", talk, "Look it up", tool_calls=[call] * (1 + how % 2))
    agent.turn("gives results", talk, results(called, "It is sunny.", "It rains.")[: 1 + how % 2], how // 2)


def changes_tools(agent: Agent, talk: Conversation, how: int) -> None:
    fields: dict[str, Any] = {} if talk.fields else {"tools": [SEARCH]}
    other = Conversation(agent.session, agent.upstream, **fields).as_if(*talk.messages)
    agent.turn("goes on under other tools", other, agent.question(), how)


def fails(agent: Agent, talk: Conversation, how: int) -> None:
    content: Said = agent.question()
    if how % 2:
        content, talk = [], talk.back()
    agent.tells("goes on, and the upstream fails,", talk, content)
    reply = talk.fails(content, **({"reset": True} if how % 4 > 1 else {}))
    agent.story[-1] += f" > {reply.status}"
    expect(reply).status(*range(400, 600))


def asks_twice(agent: Agent, talk: Conversation, how: int) -> None:
    at_once = agent.target.declaration.options.get("concurrency") == "overlap"
    asked = [agent.question(), agent.question() if how % 2 else "Another question"]
    for content in asked:
        agent.tells("goes on, at the same time,", talk, content)
        agent.upstream.says(f"Answer {agent.turns}", barrier=2 if at_once else None)
    pending = [(content, talk.back(0), talk.start(content)) for content in asked]
    for content, other, request in pending:
        reply = expect(request.reply()).status(200).reply
        other.messages += [user(content), reply.message]
        agent.talks.append(other)
        agent.story.append(f"   {describe(content)} > {describe(reply.text)}")


KINDS: dict[str, Callable[[Agent, Conversation, int], None]] = {
    PLAIN: goes_on,
    "begins": begins,
    "repeats": repeats,
    "rewrites": rewrites,
    "goes back": goes_back,
    "asks for more": asks_for_more,
    "fails": fails,
    "compacts": compacts,
    "uses tools": uses_tools,
    "changes tools": changes_tools,
    "asks twice": asks_twice,
}
"""What an agent does: name -> how it does it."""
