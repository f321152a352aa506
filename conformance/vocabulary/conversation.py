"""What an agent does with a session: it echoes each answer, and asks again what was not answered.

Knows messages and the script of the upstream; never tokens. A turn that was not answered leaves no message behind, so
two sessions that go through the same answered turns are *twins*, whatever failed between the turns of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply
from conformance.client.raw import RawConnection
from conformance.oracles import Violation
from conformance.upstream.client import Upstream
from conformance.vocabulary.session import Message, Pending, Session, Trajectories, user

Said = str | Message | Sequence[Message]
"""What a turn adds to the history: the user's text, a message, or several (none to ask for more)."""


class Conversation:
    """One conversation in a session. `fields` go into each of its requests."""

    def __init__(self, session: Session, upstream: Upstream, **fields: Any) -> None:
        self.session, self.upstream, self.fields = session, upstream, fields
        self.messages: list[Message] = []

    def back(self, count: int = 1) -> Conversation:
        """The same conversation as it was `count` messages ago, to go on otherwise than it did."""
        return self.as_if(*self.messages[: len(self.messages) - count])

    def as_if(self, *messages: Message) -> Conversation:
        """A conversation of the same session and agent whose history is this."""
        other = Conversation(self.session, self.upstream, **self.fields)
        other.messages = list(messages)
        return other

    def turn(self, content: Said, answer: str | None = None, **step: Any) -> Reply:
        """The user says `content`, the model `answer`, or what else the upstream is told to say. Anything but an answer
        is a failure."""
        self.upstream.says(answer, **step)
        reply = self.ask(content)
        if reply.status != 200:
            where = f"the turn {describe(content)}"
            raise ConformanceFailure([Violation(where, "status 200", f"{reply.status} {describe(reply.body)}")])
        self.messages += [*new(content), reply.message]
        return reply

    def fails(self, content: Said, **fault: Any) -> Reply:
        """The user says `content` and the upstream fails, by default with status 500."""
        self.upstream.fails(**fault)
        return self.ask(content)

    def ask(self, content: Said) -> Reply:
        """The user says `content`, whatever comes of it."""
        return self.session.chat(*self.messages, *new(content), **self.fields)

    def start(self, content: Said, **fields: Any) -> Pending:
        """The same as `ask`, in the background."""
        return self.session.start(*self.messages, *new(content), **{**self.fields, **fields})

    def dial(self, content: Said, **fields: Any) -> RawConnection:
        """The same as `ask`, on a connection that the check may hang up."""
        return self.session.dial(*self.messages, *new(content), **{**self.fields, **fields})

    def reach_upstream(self, calls: int) -> None:
        """Wait until this many calls have reached the upstream."""
        try:
            self.upstream.wait_for_calls(calls, self.session.time_left)
        except TimeoutError as error:
            raise ConformanceFailure([Violation("the upstream", f"{calls} calls", str(error))]) from error

    def trajectories(self) -> Trajectories:
        return self.session.trajectories()


def new(content: Said) -> list[Message]:
    """The messages that a turn adds."""
    if isinstance(content, str):
        return [user(content)]
    return [content] if isinstance(content, dict) else list(content)
