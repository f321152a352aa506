"""Makes responses: the history of a request, its generations, the tools that the gateway runs between them, the record.

Knows a session, its conversations and the server tools; never a socket or a token. A response is one generation, and
one more for as long as the last one called only tools of the gateway. Each generation is a turn of the session like any
other, so the tokens are those of an agent that ran these tools itself.

Invariants: what fails before the first generation is committed is the request's error and leaves nothing; what fails
after it is a response with status `failed`, and adds nothing to the conversation; the responses of one conversation are
made one after another (contract LS-REQ-09).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from reference_gateway.serving.errors import problem_of
from reference_gateway.serving.live_responses import LiveResponse
from reference_gateway.session import Phase, Session, SessionClosed
from reference_gateway.session.conversations import Conversation, Entry, Item, Kept, item_id, messages, new_id, without
from reference_gateway.session.errors import UnknownItem
from reference_gateway.session.repeats import repeated
from reference_gateway.tools.file_search import FileSearch
from reference_gateway.tools.server_tools import ServerTool
from reference_gateway.types import Answer, Message, Turn
from reference_gateway.wire.base import Policy, RequestRefused
from reference_gateway.wire.compaction_item import Seal
from reference_gateway.wire.input_files import with_files
from reference_gateway.wire.openai_responses import (
    ResponseRequest,
    body_of,
    cut_short,
    failure_of,
    parse,
    read_conversation,
    read_items,
    shown,
)
from reference_gateway.wire.responses_items import called, generated, in_issue_order, lower

MAX_GENERATIONS = 16
"""Of one response. A model that calls the gateway's tools for ever is stopped here."""


@dataclass(slots=True)
class _Made:
    """What a response has come to. `messages` are those behind the input."""

    id: str
    live: LiveResponse | None = None
    answers: list[Answer] = field(default_factory=list)
    items: list[Kept] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    failure: dict[str, str] | None = None
    """The error by which there are no more generations."""
    exhausted: bool = False
    """Whether `max_output_tokens` left nothing for the next generation."""


class Responses:
    """`tools` are those that the gateway runs, for the requests that ask for them. `seal` is that of its compactions;
    `answered` hears of each generation; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        policy: Policy,
        tools: Sequence[ServerTool] = (),
        *,
        seal: Seal | None = None,
        answered: Callable[[Answer], None] = lambda answer: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy
        self.seal = seal or Seal()
        self.answered = answered
        self._tools = tuple(tools)
        self._clock = clock

    def parse(self, session: Session, body: Mapping[str, Any], headers: Mapping[str, str]) -> ResponseRequest:
        """Raises `RequestRefused`."""
        known, defaults = session.conversations.known, session.sampling_params
        body = self._resolved(session, body, "input")
        return parse(body, headers, self.policy, self._served(session), known, defaults)

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self._clock())

    def _resolved(self, session: Session, body: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        """The body with the session's files in it, and no compaction in the items of `field` but the session's."""
        self.seal.require(session.session_id, body, field)
        return with_files(body, field, session.files)

    def _served(self, session: Session) -> list[ServerTool]:
        """The tools, the search over files being that of the session's files."""
        return [tool.of(session.files) if isinstance(tool, FileSearch) else tool for tool in self._tools]

    def create_conversation(self, session: Session, body: Mapping[str, Any]) -> Conversation:
        """A conversation with the items that the request gives it. Raises `RequestRefused` and `SessionClosed`."""
        _require_active(session)
        kept = session.conversations
        body = self._resolved(session, body, "items")
        items, metadata = read_conversation(body, kept.known, self.policy.media)
        conversation = kept.create(self.now(), metadata)
        if items:
            kept.append(None, kept.identified(items), (), lower(items, kept.known), conversation=conversation)
        return conversation

    async def add(self, session: Session, conversation: Conversation, body: Mapping[str, Any]) -> tuple[Item, ...]:
        """Put the items that the request gives behind those of the conversation. Returns them with their ids. Raises
        `RequestRefused` and `SessionClosed`."""
        kept = session.conversations
        items = read_items(self._resolved(session, body, "items"), kept.known, self.policy.media)
        async with conversation.turn:
            _require_active(session)
            told = lower(items, kept.known)
            _refuse_repeated(session, conversation.tip, items, told, "items")
            named = kept.identified(items)
            kept.append(conversation.tip, named, (), told, conversation=conversation)
        return named

    async def remove(self, session: Session, conversation: Conversation, item_id: str) -> None:
        """Take an item out of the conversation. Raises `UnknownItem` and `SessionClosed`."""
        known = session.conversations.known
        async with conversation.turn:
            _require_active(session)
            conversation.tip, had = without(conversation.tip, item_id, lambda items: lower(items, known))
        if not had:
            raise UnknownItem(item_id)

    def count(self, session: Session, request: ResponseRequest) -> int:
        """The tokens that the model would be given for this request now; nothing changes. Raises what `respond` raises
        before it generates."""
        _, turn = self.first_turn(session, request)
        return session.count(turn)

    def first_turn(self, session: Session, request: ResponseRequest, *behind: Message) -> tuple[Entry | None, Turn]:
        """What the request continues, and the turn that it begins with, `behind` being the last of its messages. Raises
        `RequestRefused` and `UnknownResponse`."""
        parent, added = self._history(session, request)
        turn = self._turn(session, request, [*messages(parent), *added, *behind], _Made(""))
        assert turn is not None  # a limit is at least 1
        return parent, turn

    def _history(self, session: Session, request: ResponseRequest) -> tuple[Entry | None, list[Message]]:
        """What the request continues, and the messages that it adds. Raises `RequestRefused`, `UnknownConversation`
        and `UnknownResponse`."""
        kept = session.conversations
        if request.conversation is not None:
            parent = kept.conversation(request.conversation).tip
        else:
            parent = None if request.previous is None else kept.entry(request.previous)
        added = lower(request.items, kept.known)
        _refuse_repeated(session, parent, request.items, added)
        return parent, added

    async def respond(
        self, session: Session, request: ResponseRequest, live: LiveResponse | None = None
    ) -> dict[str, Any]:
        """The response, as it goes over the wire; `live` hears of it while it is made. Raises whatever the first turn
        raises, `UnknownConversation` and `UnknownResponse`."""
        kept = session.conversations
        conversation = None if request.conversation is None else kept.conversation(request.conversation)
        async with nullcontext() if conversation is None else conversation.turn:
            repeat = _repeat(session, request)
            if repeat is not None and request.retry.repeats and (again := kept.repeatable.get(repeat)) is not None:
                return _once_more(again, live)
            parent, added = self._history(session, request)
            created_at = self.now()
            made = _Made(new_id("resp"), live)
            if live is not None:
                live.begin(body_of(request, made.id, created_at, (), (), exhausted=True))
            await self._make(session, request, [*messages(parent), *added], made)
            body = body_of(
                request,
                made.id,
                created_at,
                [kept_item.item for kept_item in made.items],
                made.answers,
                failure=made.failure,
                exhausted=made.exhausted,
                completed_at=self.now(),
            )
            named = kept.identified(request.items)
            if request.store:
                kept.keep(made.id, body, named)
            if made.failure is None:
                kept.append(
                    parent,
                    named,
                    made.items,
                    [*added, *made.messages],
                    response_id=made.id if request.store else None,
                    conversation=conversation,
                )
            if repeat is not None:
                kept.repeatable[repeat] = body
            session.turns.record(body, _outputs(added))
            return body

    async def _make(self, session: Session, request: ResponseRequest, history: list[Message], made: _Made) -> None:
        """Generate until the client is needed again."""
        goes_on = True
        while goes_on:
            if len(made.answers) == MAX_GENERATIONS:
                endless = f"the model called tools of the gateway {MAX_GENERATIONS} times without an end"
                made.failure = failure_of(500, endless)
                return
            turn = self._turn(session, request, [*history, *made.messages], made)
            if turn is None:
                made.exhausted = True
                return
            try:
                answer = await session.run(turn)
            except SessionClosed:
                raise
            except Exception as error:
                if not made.answers:
                    raise
                problem = problem_of(error)
                made.failure = failure_of(problem.status, problem.message)
                return
            self.answered(answer)
            made.answers.append(answer)
            goes_on = await self._take(request, answer, made)

    def _turn(self, session: Session, request: ResponseRequest, history: list[Message], made: _Made) -> Turn | None:
        limit = request.sampling.max_tokens
        if limit is not None:
            limit -= sum(answer.completion_tokens for answer in made.answers)
            if limit <= 0:
                return None
        stops = session.stop_strings(request.sampling.parameters)
        instructed = [] if request.instructions is None else [{"role": "system", "content": request.instructions}]
        return Turn(
            messages=[*instructed, *in_issue_order(history, session.conversations.executed | _executed(made))],
            tools=list(request.tools.definitions) or None,
            sampling=request.sampling.parameters,
            max_tokens=limit,
            template_kwargs=request.template_kwargs,
            one_call=request.one_call,
            constraint=request.constraint_behind_tools if made.answers else request.constraint,
            progress=None if made.live is None else made.live.generating(request.tools.definitions, stops),
            idempotency_key=request.retry.idempotency_key,
            retry_count=request.retry.count,
        )

    async def _take(self, request: ResponseRequest, answer: Answer, made: _Made) -> bool:
        """Put an answer's items behind the others and run the tools that are the gateway's. True when there is
        something new for the model, and nothing for the client. An answer that was cut short is the last one."""
        generation = f"{made.id}/{len(made.answers)}"
        cut = cut_short(answer) is not None
        status = "incomplete" if cut else "completed"
        message_id = None if made.live is None else made.live.message_id
        before = len(made.items)
        made.items += generated(answer.message, generation, status, message_id)
        made.messages.append(answer.message)
        calls = answer.message.get("tool_calls") or ()
        results: list[Message] = []
        for call in calls:
            tool, entry = request.tools.served.get(call["function"]["name"], (None, {}))
            if tool is None:
                made.items.append(called(call, generation))
                continue
            execution = await tool.execute(call["function"]["arguments"], entry)
            result = {"role": "tool", "content": execution.content, "tool_call_id": call["id"]}
            item = {"id": item_id(tool.item_type), **execution.item}
            made.items.append(Kept(item, generation, call, result))
            results.append(result)
        made.messages += results
        if made.live is not None:
            made.live.made([shown(kept_item.item, request) for kept_item in made.items[before:]])
        return bool(results) and len(results) == len(calls) and not cut


def _repeat(session: Session, request: ResponseRequest) -> tuple[str, bytes] | None:
    """By what a retry finds its first attempt, which a conversation has moved on from; None where retries are new."""
    if session.options["idempotent_retry"] != "true":
        return None
    asked = json.dumps([request.items, dict(request.echo)], sort_keys=True).encode()
    return request.retry.idempotency_key or "", hashlib.sha256(asked).digest()


def _require_active(session: Session) -> None:
    if session.phase is not Phase.ACTIVE:
        raise SessionClosed(session.session_id, session.phase.value)


def _refuse_repeated(
    session: Session, tip: Entry | None, items: Sequence[Item], told: Sequence[Message], field: str = "input"
) -> None:
    what = repeated(tip, items, told, session.conversations.known)
    if what is not None:
        raise RequestRefused(f"{what}. Give only what is new as {field}")


def _once_more(body: dict[str, Any], live: LiveResponse | None) -> dict[str, Any]:
    if live is not None:
        live.begin(body)
        live.made(body["output"])
    return body


def _executed(made: _Made) -> set[str]:
    return {str(kept.call["id"]) for kept in made.items if kept.call is not None}


def _outputs(added: Sequence[Message]) -> dict[str, str]:
    """What the client's tools said, by call id."""
    return {message["tool_call_id"]: message["content"] for message in added if message["role"] == "tool"}
