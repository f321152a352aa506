"""One conversation, held over any wire, as the clients of that wire hold it: they echo what came back.

Knows how each wire writes a history and where it says how an answer ended; never a token, nor what was to be said. An
answer that came over one wire is written anew where the conversation goes on over another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.client import anthropic, responses
from conformance.client.http import Reply, at
from conformance.client.invocations import as_declared
from conformance.client.raw import RawConnection
from conformance.gateway import Capability
from conformance.vocabulary.calls import value_of
from conformance.vocabulary.media import block, image, input_image
from conformance.vocabulary.session import Dialling, Message, Session, assistant, system, tool, tool_call, user
from conformance.vocabulary.target import Target

Content = str | tuple[str, ...]
"""A text, or the texts of its parts."""


@dataclass(frozen=True, slots=True)
class Called:
    """A call as a client reads it: `arguments` is their JSON value."""

    call_id: str
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Question:
    """What the user says, and the images shown with it, by their URLs."""

    content: Content
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """What the client's tools found: the id of each call, and its result."""

    contents: tuple[tuple[str, Content], ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What the model answered: its text and its calls, with the reply as its wire showed it; None for an answer that
    the client brings along."""

    text: str
    calls: tuple[Called, ...] = ()
    reply: Reply | None = None
    family: str = ""

    def as_shown(self, family: str) -> Reply | None:
        """The reply, where it came over a wire that writes its history so."""
        return self.reply if self.family == family else None


Entry = Question | Results | Answered


@dataclass
class Talk:
    """A conversation of a session. What a gateway keeps of it is named by `last_response`, `conversation` or `key`.
    `system` stands in front of the next request: a client sends it each time."""

    session: Session
    target: Target
    key: str = "talk"
    entries: list[Entry] = field(default_factory=list)
    last_response: str | None = None
    conversation: str | None = None
    system: Content | None = None

    def as_it_is(self) -> Talk:
        """The conversation as it is now, to come back to."""
        return replace(self, entries=list(self.entries))

    @property
    def pending(self) -> tuple[Called, ...]:
        """The calls that wait for their results."""
        last = self.entries[-1] if self.entries else None
        return last.calls if isinstance(last, Answered) else ()

    def ask(self, over: Wire, new: Entry, tools: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]) -> Reply:
        """Send what is new, with the history where the wire has the client send it. Whatever comes back is returned,
        and nothing is added."""
        return over.send(self, new, tools, dict(fields))

    def dial(
        self, over: Wire, new: Entry, tools: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]
    ) -> RawConnection:
        """Send what `ask` sends, on a connection that may be hung up."""
        session = Dialling(self.session)
        over.send(replace(self, session=session), new, tools, dict(fields))
        return session.connection

    def add(self, new: Entry, reply: Reply, over: Wire) -> Answered:
        """The history goes on with what was asked and what was answered."""
        answered = Answered(reply.text, tuple(over.calls(reply)), reply, over.family)
        self.entries += [new, answered]
        self.last_response = reply.id if over.family == ITEMS else None
        return answered

    def texts(self, new: Entry) -> list[str]:
        """What the model must be told, in order: each text of the history and of what is new, without white space
        around it, and the name of each call."""
        told: list[str] = [] if self.system is None else list(texts_of(self.system))
        for entry in (*self.entries, new):
            if isinstance(entry, Answered):
                told += [entry.text, *(call.name for call in entry.calls)]
            else:
                for content in [entry.content] if isinstance(entry, Question) else (two for _, two in entry.contents):
                    told += texts_of(content)
        return [text.strip() for text in told if text.strip()]


CHAT, MESSAGES, ITEMS, TEXT = "chat", "messages", "items", "text"
"""How a wire writes a history."""


@dataclass(frozen=True, slots=True, eq=False)
class Wire:
    """`family` says how it writes a history, `send` sends a turn. `calls` are those of a reply. `endings` are its words
    for the endings `stop`, `length`, `stop string` and `tool call`, none where it does not say. `usage` are the fields
    that count the context, and the one that counts what was sampled. `limit` bounds an answer, `stop` has stop strings.
    """

    name: str
    capability: Capability | None
    family: str
    send: Callable[[Talk, Entry, Sequence[Mapping[str, Any]], dict[str, Any]], Reply]
    calls: Callable[[Reply], Iterable[Called]]
    endings: Mapping[str, str] = field(default_factory=dict)
    usage: tuple[tuple[str, ...], str] | None = None
    limit: str | None = None
    stop: str | None = None


# Chat completions


def as_chat(entries: Iterable[Entry]) -> list[Message]:
    messages: list[Message] = []
    for entry in entries:
        if isinstance(entry, Question):
            messages.append(user(_shown(entry, "text", image)))
        elif isinstance(entry, Results):
            messages += [tool(parts_of(content, "text"), call_id) for call_id, content in entry.contents]
        elif reply := entry.as_shown(CHAT):
            messages.append(reply.message)
        else:
            calls = [tool_call(call.name, json.dumps(call.arguments), call.call_id) for call in entry.calls]
            messages.append(assistant(entry.text or None, **({"tool_calls": calls} if calls else {})))
    return messages


def _chat_calls(reply: Reply) -> list[Called]:
    return [
        Called(at(call, "id", kind=str), at(call, "function", "name"), value_of(at(call, "function", "arguments")))
        for call in reply.tool_calls
    ]


def _send_chat(talk: Talk, new: Entry, tools: Sequence[Mapping[str, Any]], fields: dict[str, Any]) -> Reply:
    fields |= {"tools": list(tools)} if tools else {}
    before = [] if talk.system is None else [system(parts_of(talk.system, "text"))]
    return talk.session.chat(*before, *as_chat([*talk.entries, new]), **fields)


# Anthropic messages


def as_messages(entries: Iterable[Entry]) -> list[Message]:
    messages: list[Message] = []
    for entry in entries:
        if isinstance(entry, Question):
            messages.append(user(_shown(entry, "text", block)))
        elif isinstance(entry, Results):
            results = [anthropic.tool_result(parts_of(content, "text"), call_id) for call_id, content in entry.contents]
            messages += [user(results)] if results else []
        elif reply := entry.as_shown(MESSAGES):
            messages.append(reply.message)
        else:
            text = [anthropic.text(entry.text)] if entry.text else []
            uses = [anthropic.tool_use(call.name, call.arguments, call.call_id) for call in entry.calls]
            messages.append(assistant([*text, *uses]))
    return messages


def _uses(reply: Reply) -> list[Called]:
    return [Called(at(block, "id", kind=str), at(block, "name"), at(block, "input")) for block in reply.tool_calls]


def _send_message(talk: Talk, new: Entry, tools: Sequence[Mapping[str, Any]], fields: dict[str, Any]) -> Reply:
    fields |= {"tools": [anthropic.as_tool(one) for one in tools]} if tools else {}
    fields |= {} if talk.system is None else {"system": parts_of(talk.system, "text")}
    return talk.session.message(*as_messages([*talk.entries, new]), **fields)


# Responses


def as_items(entries: Iterable[Entry]) -> list[responses.Item]:
    items: list[responses.Item] = []
    for entry in entries:
        if isinstance(entry, Question):
            items.append(responses.item("user", _shown(entry, "input_text", input_image)))
        elif isinstance(entry, Results):
            items += [responses.output(parts_of(content, "input_text"), call_id) for call_id, content in entry.contents]
        elif reply := entry.as_shown(ITEMS):
            items += at(reply.completion, "output", kind=list)
        else:
            items += [responses.item("assistant", entry.text)] if entry.text else []
            items += [responses.call(call.name, json.dumps(call.arguments), call.call_id) for call in entry.calls]
    return items


def _item_calls(reply: Reply) -> list[Called]:
    return [
        Called(at(item, "call_id", kind=str), at(item, "name"), value_of(at(item, "arguments")))
        for item in reply.tool_calls
    ]


def _of_response(talk: Talk, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {"tools": [responses.flat(one) for one in tools]} if tools else {}
    return fields | ({} if talk.system is None else {"instructions": "\n".join(texts_of(talk.system))})


def _send_items(talk: Talk, new: Entry, tools: Sequence[Mapping[str, Any]], fields: dict[str, Any]) -> Reply:
    fields |= _of_response(talk, tools)
    return talk.session.respond(as_items([*talk.entries, new]), **fields)


def _send_chained(talk: Talk, new: Entry, tools: Sequence[Mapping[str, Any]], fields: dict[str, Any]) -> Reply:
    fields |= _of_response(talk, tools)
    if talk.last_response is None:
        return talk.session.respond(as_items([*talk.entries, new]), **fields)
    return talk.session.respond(as_items([new]), previous_response_id=talk.last_response, **fields)


def _send_to_conversation(talk: Talk, new: Entry, tools: Sequence[Mapping[str, Any]], fields: dict[str, Any]) -> Reply:
    fields |= _of_response(talk, tools)
    if talk.conversation is None:
        talk.conversation = talk.session.converse(*as_items(talk.entries))
    elif not talk.entries:
        talk.session.begin_again(talk.conversation)
    return talk.session.respond(as_items([new]), conversation=talk.conversation, **fields)


# Invocations


def _send_invocation(talk: Talk, new: Entry, tools: Sequence[Mapping[str, Any]], fields: dict[str, Any]) -> Reply:
    assert isinstance(new, Question)
    reply = talk.session.invoke(new.content, talk.key, first=not talk.entries, **fields)
    return as_declared(reply, talk.target)


def texts_of(content: Content) -> tuple[str, ...]:
    """Its text, or those of its parts."""
    return (content,) if isinstance(content, str) else content


def _shown(question: Question, kind: str, as_part: Callable[[str], dict[str, Any]]) -> Any:
    if not question.images:
        return parts_of(question.content, kind)
    return [*parts_of(texts_of(question.content), kind), *map(as_part, question.images)]


def parts_of(content: Content, kind: str) -> Any:
    """As a wire writes it whose parts of text are of this kind."""
    return content if isinstance(content, str) else [{"type": kind, "text": text} for text in content]


_CHAT_ENDINGS = {"stop": "stop", "length": "length", "stop string": "stop", "tool call": "tool_calls"}
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "stop string": "stop_sequence", "tool call": "tool_use"}
_STATUSES = {"stop": "completed", "length": "incomplete", "tool call": "completed"}
_COUNTED = (("prompt_tokens",), "completion_tokens")
_COUNTED_AS_INPUT = (("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"), "output_tokens")
_RESPONSES = (_STATUSES, (("input_tokens",), "output_tokens"), "max_output_tokens")

WIRES: Mapping[str, Wire] = {
    wire.name: wire
    for wire in (
        Wire("chat", None, CHAT, _send_chat, _chat_calls, _CHAT_ENDINGS, _COUNTED, "max_tokens", "stop"),
        Wire(
            "messages",
            Capability.ANTHROPIC_MESSAGES,
            MESSAGES,
            _send_message,
            _uses,
            _STOP_REASONS,
            _COUNTED_AS_INPUT,
            "max_tokens",
            "stop_sequences",
        ),
        Wire("responses", Capability.OPENAI_RESPONSES, ITEMS, _send_items, _item_calls, *_RESPONSES),
        Wire("response chain", Capability.OPENAI_RESPONSES, ITEMS, _send_chained, _item_calls, *_RESPONSES),
        Wire("conversation", Capability.CONVERSATIONS, ITEMS, _send_to_conversation, _item_calls, *_RESPONSES),
        Wire("invocations", Capability.INVOCATIONS, TEXT, _send_invocation, lambda reply: ()),
    )
}
"""By name."""
