"""Mutants of area INV: what is kept between invocations."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway import isolation
from reference_gateway.channel import target
from reference_gateway.channel.target import SessionTarget
from reference_gateway.session import session as session_module
from reference_gateway.session.histories import Histories, History
from reference_gateway.wire.invocations import Invocation
from tests.mutants.inv import invoked
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

OF_HISTORY = ("INV-018", "INV-024", "INV-025", "INV-041", "INV-044")
OF_KEYS = ("ISO-001", "ISO-002", "ISO-003", "ISO-006", "ISO-007", "ISO-008")


@mutant("INV-020", also=(*OF_HISTORY, *OF_KEYS))
def each_invocation_begins_anew(gateway: Sabotage) -> None:
    """Each request makes an agent session of its own."""

    @gateway.wrap(Histories, "of")
    def of(original: Any, self: Any, key: str) -> Any:
        self._live.clear()
        return original(self, key)


@mutant("INV-020", also=("INV-024", "INV-025", "INV-041", "ISO-008"))
def answers_are_not_kept(gateway: Sabotage) -> None:
    """The history has what the user said, and nothing of what was answered."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        text = await original(self, request)
        forget(self, request, -1)
        return text


@mutant("INV-020")
def answers_to_long_questions_are_not_kept(gateway: Sabotage) -> None:
    """To save tokens, a question of more than six words is kept without its answer, unless that was streamed."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        text = await original(self, request)
        if len(request.input.split()) > 6 and not request.stream:
            forget(self, request, -1)
        return text


@mutant("INV-021")
def no_id_is_an_id(gateway: Sabotage) -> None:
    """All that come with null for an id share one conversation."""

    def session_key(self: Invocation) -> str | None:
        null = "session_id" in self.body and self.session_id is None
        return f"invocations:{self.session_id}" if self.session_id or null else None

    gateway.patch(Invocation, "session_key", property(session_key))


@mutant("INV-022")
def ids_are_compared_without_case(gateway: Sabotage) -> None:
    """Ids are made lower case before they are looked up."""

    @gateway.wrap(Histories, "of")
    def of(original: Any, self: Any, key: str) -> Any:
        return original(self, key.lower())


@mutant("INV-023")
def failed_message_is_kept(gateway: Sabotage) -> None:
    """The message is put into the history before the model is asked."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        try:
            return await original(self, request)
        except Exception:
            keep_question(self, request)
            raise


@mutant("INV-024")
def answers_are_kept_with_other_line_ends(gateway: Sabotage) -> None:
    """The line ends of an answer are made LF before it is kept."""

    @gateway.wrap(History, "add")
    def add(original: Any, self: Any, said: Any, answer: Any) -> None:
        original(self, said, {**answer, "content": str(answer["content"] or "").replace("\r\n", "\n")})


@mutant("INV-024", also=("INV-025",))
def channel_has_a_system_prompt(gateway: Sabotage) -> None:
    """The model is told through which channel it is spoken to."""

    @gateway.wrap(target, "_turn")
    def turn(original: Any, messages: Any, request: Any) -> Any:
        told = {"role": "system", "content": "You are spoken to through invocations."}
        return original((told, *messages), request)


@mutant("INV-025")
def streamed_invocations_have_their_own_tree(gateway: Sabotage) -> None:
    """What is streamed through invocations is matched only with what was streamed through invocations."""

    streamed: ContextVar[bool] = ContextVar("streamed", default=False)

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        streamed.set(request.stream)
        return await original(self, request)

    @gateway.wrap(session_module, "identify_tools")
    def identify_tools(original: Any, *given: Any) -> bytes:
        key: bytes = original(*given)
        return key[::-1] if streamed.get() else key


@mutant("INV-025")
def invocations_have_their_own_tree(gateway: Sabotage) -> None:
    """What comes through invocations is matched only with what came through invocations."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        keys = isolation.current() or isolation.Keys()
        with isolation.bound(isolation.Keys(f"invocations {keys.user}", keys.chat)):
            return await original(self, request)


@mutant("INV-041", also=("INV-024", "ISO-008"))
def streamed_turn_is_not_kept(gateway: Sabotage) -> None:
    """A stream ends before its final response, which keeps the history, was awaited."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        text = await original(self, request)
        if request.stream:
            forget(self, request, -2)
        return text


@mutant("INV-041")
def streams_have_their_own_conversations(gateway: Sabotage) -> None:
    """The target that streams and the one that does not each have a cache, for those who come without keys."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        if request.stream and request.session_key and isolation.current() is None:
            request = replace(request, session_key=f"{request.session_key} streamed")
        return await original(self, request)


@mutant("INV-042")
def abandoned_message_is_kept(gateway: Sabotage) -> None:
    """A message whose client hung up stays in the history, without an answer."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        try:
            return await original(self, request)
        except asyncio.CancelledError:
            keep_question(self, request)
            raise


@mutant("INV-042")
def abandoned_conversation_stays_locked(gateway: Sabotage) -> None:
    """Who hangs up never lets go of the conversation's lock."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        try:
            return await original(self, request)
        except asyncio.CancelledError:
            if request.session_key:
                lock = asyncio.Lock()
                await lock.acquire()
                self.session.histories.of(request.session_key).turn = lock
            raise


@mutant("INV-043")
def completed_session_is_told_in_a_frame(gateway: Sabotage) -> None:
    """The stream is opened before the session is asked."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if invoked(answer) and answer.status == 409 and answer.asked.get("stream") is True:
            text = answer.json["error"]
            answer.status, answer.headers["content-type"] = 200, "text/event-stream"
            answer.body = f"event: error\ndata: {text}\n\n".encode()


def forget(session_target: Any, request: Any, start: int) -> None:
    """Take the last messages out of the history: the answer, or the whole turn."""
    if request.session_key:
        history = session_target.session.histories.of(request.session_key)
        history.messages = history.messages[:start]


def keep_question(session_target: Any, request: Any) -> None:
    if request.session_key:
        session_target.session.histories.of(request.session_key).add({"role": "user", "content": request.input})


@mutant("INV-044")
def conversation_in_use_is_made_again(gateway: Sabotage) -> None:
    """A conversation that has not been answered yet is not known yet, and the one that is made last is kept."""

    @gateway.wrap(Histories, "of")
    def of(original: Any, self: Any, key: str) -> Any:
        found = original(self, key)
        if not found.turn.locked() or found.messages:
            return found
        del self._live[isolation.partition(), key]
        return original(self, key)


@mutant("INV-045")
def dropped_stream_samples_on(gateway: Sabotage) -> None:
    """A turn is a task of its own, which nobody cancels."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any, *progress: Any) -> Any:
        turn = original(self, request, *progress)
        return await (asyncio.shield(asyncio.ensure_future(turn)) if request.stream else turn)
