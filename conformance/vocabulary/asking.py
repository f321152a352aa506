"""One plain question over each wire: what the pre-flight and the controls ask a gateway, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from conformance.client.anthropic import MessageReply
from conformance.client.http import Reply
from conformance.client.invocations import InvocationReply
from conformance.client.responses import ResponseReply
from conformance.gateway import Capability
from conformance.vocabulary.session import Session

LIMIT = 64
"""Tokens that are enough to hear a model that nobody scripts."""


@dataclass(frozen=True, slots=True)
class Wire:
    """`request` is what it is called in a sentence. `capability` is what claims it: None for what every gateway has.
    `limit` is the field that bounds the tokens of an answer; None where the wire has none."""

    request: str
    capability: Capability | None
    limit: str | None
    _send: Callable[..., Reply]

    def ask(self, session: Session, question: str, *, limited: bool = False) -> Reply:
        """Send the question and return whatever came back; `limited` to an answer of `LIMIT` tokens."""
        return self._send(session, question, **({self.limit: LIMIT} if limited and self.limit else {}))


CHAT = Wire("a chat request", None, "max_tokens", Session.chat)
MESSAGES = Wire("a message request", Capability.ANTHROPIC_MESSAGES, "max_tokens", Session.message)
RESPONSES = Wire("a request for a response", Capability.OPENAI_RESPONSES, "max_output_tokens", Session.respond)
INVOCATIONS = Wire("an invocation", Capability.INVOCATIONS, None, Session.invoke)


def claimed(capabilities: Collection[Capability]) -> list[Wire]:
    """The wires of a gateway with these capabilities, chat first."""
    wires = (CHAT, MESSAGES, RESPONSES, INVOCATIONS)
    return [wire for wire in wires if wire.capability is None or wire.capability in capabilities]


def answer_of(reply: Reply) -> str:
    """What the model said, or thought where it came no further, without white space around it. Raises
    `ConformanceFailure` for what is no answer of the wire."""
    text = reply.text.strip()
    if text or isinstance(reply, InvocationReply):
        return text
    return next((thought.strip() for thought in _thoughts(reply) if thought.strip()), "")


def _thoughts(reply: Reply) -> Iterator[str]:
    """What a gateway that splits thoughts off the text has split off."""
    if isinstance(reply, ResponseReply):
        parts = [part for name in ("content", "summary") for item in reply.output for part in item.get(name) or []]
    else:
        parts = reply.content if isinstance(reply, MessageReply) else [reply.message]
    for part in (part for part in parts if isinstance(part, dict)):
        for name in ("reasoning_content", "reasoning", "thinking", "text"):
            if isinstance(part.get(name), str):
                yield part[name]
