"""The scripted model itself: which step answers which call, and when.

Knows steps, nonces, token ids and the order of calls; nothing of HTTP or of a dialect's JSON. Runs on one event loop.

Invariants: a step is taken by at most one choice of one call, in the order in which the steps were said among those
whose `when` holds; a call is in the ledger before it waits for anything; nothing waits on a clock.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.oracles.constraints import free_to_say
from conformance.tokenizer import Tokenizer
from conformance.upstream import ledger, script
from conformance.upstream.ending import Stops, ended
from conformance.upstream.errors import Model
from conformance.upstream.inbox import Answering, Inbox, Post
from conformance.upstream.ledger import Call
from conformance.upstream.script import Step
from conformance.upstream.tool_format import FORMATS

NONCE = re.compile(r"#k[0-9]{10}#")
"""What every conversation of a test carries in its first message. Decimal digits only: with a tokenizer that splits
digits, every nonce has the same number of tokens."""

MAX_MODEL_LEN = 1_000_000
"""Tokens that the model takes unless it is told otherwise: more than any check sends."""
NO_STOPS = Stops()
UNCLAIMED = Step("OK.", obeys_limits=True)
"""What the model says to a call without a nonce."""

_STRAYS_KEPT = 1000
_WINDOW = 4096


@dataclass(frozen=True, slots=True)
class Ask:
    """What a dialect understood of a request. `body` is the request less its prompt, messages and media. `max_tokens`
    is None where the request has no limit, and `default_max_tokens` is what the engine then takes."""

    dialect: str
    context: list[int]
    body: dict[str, Any]
    model: str
    messages: list[Any] | None = None
    tools: list[Any] | None = None
    images: list[Any] | None = None
    videos: list[Any] | None = None
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    logprobs: bool = False
    token_ids: bool = False
    max_tokens: int | None = None
    default_max_tokens: int | None = None
    stops: Stops = NO_STOPS
    skip_special: bool = True

    @property
    def limit(self) -> int | None:
        """How many tokens the engine samples at most: as many as asked for, or its own default."""
        return self.default_max_tokens if self.max_tokens is None else self.max_tokens


@dataclass(frozen=True, slots=True)
class Sample:
    """One choice: what was sampled, and what of it the answer shows. `speaking` of the `ids` have text. `matched` is
    what of the request's stops ended it. `logprobs` is None where the answer has none, and may be shorter than `ids`
    when a step says so. `prompt_ids` is None where the engine does not say what its prompt was. `calls` are those that
    the step makes, behind the text `content`; none where the generation ended within it. `odd_id` is told in the place
    of the last of `ids`."""

    ids: list[int]
    text: str
    speaking: int
    finish_reason: str
    matched: str | int | None
    logprobs: list[float] | None
    token_ids: bool
    prompt_ids: list[int] | None
    weight_version: Any = None
    ids_per_event: int = 1
    calls: tuple[Mapping[str, Any], ...] = ()
    content: str = ""
    said: dict[str, Any] | None = None
    odd_id: Any = None

    @property
    def told_ids(self) -> list[Any]:
        """The ids as the answer has them."""
        return self.ids if self.odd_id is None or not self.ids else [*self.ids[:-1], self.odd_id]


@dataclass(slots=True)
class _Waiting:
    step: Step
    index: int
    released: bool = False


@dataclass(slots=True)
class _Conversation:
    """All that the upstream knows of one nonce."""

    steps: list[_Waiting] = field(default_factory=list)
    scripted: int = 0
    taken: dict[int, _Waiting] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    inbox: Inbox = field(default_factory=Inbox)
    fetched: list[str] = field(default_factory=list)
    open: bool = True
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def in_flight(self) -> int:
        return sum(call.outcome == ledger.PENDING for call in self.calls)

    def announce(self) -> None:
        """Something changed: whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()` or until the conversation is dropped."""
        while self.open and not holds():
            await self._changed.wait()

    def close(self) -> None:
        self.open = False
        for waiting in self.taken.values():
            waiting.released = True
        self.announce()


class Dropped(Exception):
    """The script was dropped while a call waited for it."""


class Unscripted(Exception):
    """No step answers this call. The text says why."""


class Engine:
    """The scripted model. One per upstream. `closed` is called with each call when its record is closed."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        closed: Callable[[Call], None] | None = None,
        max_model_len: int = MAX_MODEL_LEN,
    ) -> None:
        self.tokenizer = tokenizer
        self.model = Model(max_model_len, tokenizer.last_id + 1)
        self._closed = closed
        self.strays: deque[Call] = deque(maxlen=_STRAYS_KEPT)
        self.unclaimed = 0
        """How many calls had no nonce and so belong to no test, as of a gateway that tries whether its engine lives."""
        self._conversations: dict[str, _Conversation] = {}

    # The control plane

    def say(self, nonce: str, steps: Sequence[Step]) -> list[int]:
        """Append steps to the script of `nonce`. Returns their indices, which `release` takes."""
        conversation = self._conversation(nonce)
        indices = []
        for step in steps:
            conversation.steps.append(_Waiting(step, conversation.scripted))
            indices.append(conversation.scripted)
            conversation.scripted += 1
        return indices

    def release(self, nonce: str, index: int | None) -> None:
        """Let a held step answer, now or when it is reached. None releases every step said so far."""
        conversation = self._conversation(nonce)
        for waiting in [*conversation.steps, *conversation.taken.values()]:
            if index is None or waiting.index == index:
                waiting.released = True
        conversation.announce()

    def drop(self, nonce: str) -> list[Step]:
        """Forget a nonce: its open calls end as `aborted`, its ledger is gone. Returns the steps that nobody took."""
        conversation = self._conversation(nonce)
        del self._conversations[nonce]
        conversation.close()
        return [waiting.step for waiting in conversation.steps]

    def drop_all(self) -> None:
        """Let every open call end: the upstream closes."""
        for nonce in list(self._conversations):
            self.drop(nonce)

    def calls(self, nonce: str) -> list[Call]:
        """The calls of `nonce` in order of arrival."""
        conversation = self._conversations.get(nonce)
        return conversation.calls if conversation else [call for call in self.strays if call.nonce == nonce]

    async def wait_for(self, nonce: str, holds: Callable[[list[Call]], bool], timeout: float) -> bool:
        """Wait until `holds(calls of nonce)`. False when that did not happen within `timeout` seconds."""
        conversation = self._conversation(nonce)
        try:
            async with asyncio.timeout(timeout):
                await conversation.until(lambda: holds(conversation.calls))
        except TimeoutError:
            return False
        return holds(conversation.calls)

    def answer_posts(self, nonce: str, answering: Answering) -> None:
        """Say how coming posts of `nonce` are answered."""
        self._conversation(nonce).inbox.answers.append(answering)

    def release_posts(self, nonce: str) -> None:
        """Let every held post of `nonce` be answered."""
        conversation = self._conversation(nonce)
        conversation.inbox.release()
        conversation.announce()

    async def posts(self, nonce: str, when: str | None, least: int, timeout: float) -> list[Post]:
        """The posts of `nonce` in which `when` occurs, once there are `least` or `timeout` seconds have passed."""
        conversation = self._conversation(nonce)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await conversation.until(lambda: len(conversation.inbox.with_text(when)) >= least)
        return conversation.inbox.with_text(when)

    def fetched(self, nonce: str) -> list[str]:
        """The names of the pictures that were asked for, in order and as often as they were."""
        return self._conversation(nonce).fetched

    def _conversation(self, nonce: str) -> _Conversation:
        conversation = self._conversations.get(nonce)
        if conversation is None:
            conversation = self._conversations[nonce] = _Conversation(calls=self.calls(nonce))
            self.strays = deque((c for c in self.strays if c.nonce != nonce), maxlen=_STRAYS_KEPT)
        return conversation

    # The data plane

    def fetch(self, nonce: str, name: str) -> bool:
        """Record that somebody asks for a picture. False for one that belongs to no test that is open."""
        conversation = self._conversations.get(nonce)
        if conversation is not None:
            conversation.fetched.append(name)
        return conversation is not None

    async def post(self, text: str, body: dict[str, Any]) -> int | None:
        """Record what the gateway sent by itself, `text` being its `body`. Returns the status that answers it, once it
        may be answered; None when it belongs to no test that is open."""
        known = (self._conversations.get(nonce) for nonce in NONCE.findall(text))
        conversation = next((conversation for conversation in known if conversation is not None), None)
        if conversation is None:
            return None
        post, answering = conversation.inbox.arrive(body)
        conversation.announce()
        await conversation.until(lambda: answering.released)
        post.status, post.answered = answering.status, time.monotonic()
        conversation.announce()
        return post.status

    def arrive(self, ask: Ask, headers: Mapping[str, str]) -> Call:
        """Record a call."""
        nonce = self._nonce(ask.context)
        conversation = self._conversations.get(nonce) if nonce else None
        call = Call(
            index=len(self.calls(nonce)) if nonce else self.unclaimed,
            nonce=nonce,
            dialect=ask.dialect,
            arrived=time.monotonic(),
            context=ask.context,
            body=ask.body,
            headers=ledger.redacted(headers),
            messages=ask.messages,
            images=ask.images,
            videos=ask.videos,
        )
        self.unclaimed += nonce is None
        if conversation is None:
            self.strays.append(call)
        else:
            conversation.calls.append(call)
            conversation.announce()
        return call

    async def sample(self, ask: Ask, call: Call) -> tuple[Step, list[Sample]]:
        """The step that answers `call` and its samples, one per choice, once the step lets it. Raises `Unscripted` or
        `Dropped`. The first choice's step decides about holds and faults."""
        if call.nonce is None:
            return UNCLAIMED, [self._sampled(ask, UNCLAIMED) for _ in range(ask.n)]
        conversation = self._conversations.get(call.nonce)
        if conversation is None:
            raise Unscripted(f"unscripted call: nothing was scripted for nonce {call.nonce}")
        waits = self._take(conversation, ask, call)
        first = waits[0]
        samples = [self._sampled(ask, _within(waiting.step, call)) for waiting in waits]
        if first.step.hold and not (ask.stream and first.step.pause):
            await conversation.until(lambda: first.released)
        if (barrier := first.step.barrier) is not None:
            await conversation.until(lambda: first.released or conversation.in_flight() >= barrier)
            # Whoever is already behind the same barrier passes too, although this call is about to end.
            for other in conversation.taken.values():
                other.released = other.released or other.step.barrier == barrier
            conversation.announce()
        if not conversation.open:
            raise Dropped
        return first.step, samples

    async def resumed(self, call: Call, step: Step) -> None:
        """Wait until the step of a call that pauses in its stream is released. Raises `Dropped`."""
        conversation = self._conversations.get(call.nonce) if call.nonce else None
        waiting = (
            next((waiting for waiting in conversation.taken.values() if waiting.step is step), None)
            if conversation
            else None
        )
        if conversation is None or waiting is None:
            raise Dropped
        await conversation.until(lambda: waiting.released)
        if not conversation.open:
            raise Dropped

    def record(self, call: Call, samples: Sequence[Sample]) -> None:
        """Note what `call` is about to be answered with."""
        call.generations = [sample.ids for sample in samples]
        call.logprobs = samples[0].logprobs
        call.finish_reason, call.stop_reason = samples[0].finish_reason, samples[0].matched
        call.weight_version = samples[0].weight_version
        call.said = samples[0].said

    def close(self, call: Call, outcome: str, status: int | None, message: str | None = None) -> None:
        """Close the record of a call. What was closed stays as it is."""
        if call.outcome != ledger.PENDING:
            return
        call.answered = time.monotonic()
        call.outcome, call.status, call.message = outcome, status, message
        if self._closed is not None:
            self._closed(call)
        conversation = self._conversations.get(call.nonce) if call.nonce else None
        if conversation is not None:
            conversation.announce()

    def _nonce(self, context: list[int]) -> str | None:
        # It stands in the first message, so the start of a long context is nearly always enough.
        stray = None
        for ids in (context[:_WINDOW], context) if len(context) > _WINDOW else (context,):
            for match in NONCE.finditer(self.tokenizer.decode(ids)):
                if match.group() in self._conversations:
                    return match.group()
                stray = stray or match.group()
        return stray

    def _take(self, conversation: _Conversation, ask: Ask, call: Call) -> list[_Waiting]:
        text: str | None = None
        waits: list[_Waiting] = []
        for waiting in conversation.steps:
            if len(waits) == ask.n:
                break
            if waiting.step.when is not None:
                text = self.tokenizer.decode(ask.context) if text is None else text
                if waiting.step.when not in text:
                    continue
            waits.append(waiting)
        if len(waits) < ask.n:
            left = len(conversation.steps)
            why = f", and the `when` of the {left} left does not occur in its context" if left else ""
            choices = f" for {ask.n} choices" if ask.n > 1 else ""
            raise Unscripted(
                f"unscripted call: no step left for nonce {call.nonce}{choices}; "
                f"{len(conversation.taken)} of {conversation.scripted} steps were consumed before{why}"
            )
        for waiting in waits:
            conversation.steps.remove(waiting)
            conversation.taken[waiting.index] = waiting
        return waits

    def _sampled(self, ask: Ask, step: Step) -> Sample:
        if step.ids is not None:
            ids = list(step.ids)
        else:
            ids = self.tokenizer.encode(written(step))
            if step.finish not in script.UNENDED:
                ids.append(self.tokenizer.end_of_call if step.tool_calls else self.tokenizer.end_of_turn)
        limit = self._limit(ask) if step.obeys_limits else None
        ending = ended(ids, step.finish, ask.stops, limit, self.tokenizer, ask.skip_special)
        return Sample(
            ids=ending.ids,
            text=ending.text,
            speaking=ending.speaking,
            finish_reason=ending.finish_reason,
            matched=ending.matched,
            logprobs=_logprobs(step, len(ending.ids), ask.logprobs),
            token_ids=step.token_ids == script.VOLUNTEER or (ask.token_ids and step.token_ids != script.MISSING),
            prompt_ids=_prompt_ids(step, ask),
            weight_version=step.weight_version,
            ids_per_event=step.ids_per_event,
            calls=step.tool_calls if len(ending.ids) == len(ids) else (),
            content=step.text or "",
            said=_said(step) if len(ending.ids) == len(ids) else None,
            odd_id=step.odd_id,
        )

    def _limit(self, ask: Ask) -> int:
        room = max(self.model.max_model_len - len(ask.context), 0)
        return room if ask.limit is None else min(ask.limit, room)


def _within(step: Step, call: Call) -> Step:
    """The step as the constraints of the call let the model take it."""
    for answer in step.rather:
        sooner = replace(step, text=answer.get("text"), tool_calls=tuple(answer.get("tool_calls", ())), rather=())
        if free_to_say(call.fields, written(sooner), sooner.tool_calls):
            return sooner
    return step


def written(step: Step) -> str:
    """The text of a step as the model would write it, tool calls included."""
    return FORMATS[step.tool_format].write(step.text or "", step.tool_calls)


def _said(step: Step) -> dict[str, Any] | None:
    if step.ids is not None:
        return None
    return {"text": step.text or "", "tool_calls": [dict(call) for call in step.tool_calls]}


def _prompt_ids(step: Step, ask: Ask) -> list[int] | None:
    if step.prompt_ids is None:
        return ask.context
    return list(step.prompt_ids) if isinstance(step.prompt_ids, tuple) else None


def _logprobs(step: Step, count: int, asked: bool) -> list[float] | None:
    if step.logprobs == script.MISSING or (step.logprobs == script.WHEN_ASKED and not asked):
        return None
    if isinstance(step.logprobs, tuple):
        return [float(value) for value in step.logprobs]
    values = [-(position + 1) / 16 for position in range(count)]
    return values[:-1] if step.logprobs == script.SHORT else values
