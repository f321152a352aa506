"""Mutants of area COMMIT: turns that fail, are refused or are given up, and leave something behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.serving.data_plane import DataPlane
from reference_gateway.session import Session, SessionClosed, Trajectory
from reference_gateway.session.tree import FRESH
from reference_gateway.types import BackendFailed, BackendRefused, Generation, Turn
from reference_gateway.wire import openai_chat
from reference_gateway.wire.base import RequestRefused
from tests.mutants.chat_wire import on_this_wire
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

Attempt = Callable[[Any, Session, Turn], Awaitable[Any]]
NEWLINE = 198
QUESTION_AND_ANSWER = 2


def _around_turns(gateway: Sabotage, attempt: Attempt) -> None:
    """`attempt(run, session, turn)` stands in for the turn; `await run()` is the turn itself."""

    @gateway.wrap(Session, "_run")
    def run(original: Any, self: Session, turn: Turn) -> Any:
        return attempt(lambda: original(self, turn), self, turn)


def streaming(gateway: Sabotage) -> ContextVar[bool | None]:
    """Whether the chat completion that is being served is streamed; None where it is another request."""
    streamed: ContextVar[bool | None] = ContextVar("streamed", default=None)

    @gateway.wrap(openai_chat, "parse")
    def parse(original: Any, *args: Any) -> Any:
        request = original(*args)
        streamed.set(request.stream)
        return request

    return streamed


def _plans(gateway: Sabotage) -> dict[Session, Any]:
    """What each session was about to do last."""
    plans: dict[Session, Any] = {}

    @gateway.wrap(Session, "_plan")
    def plan(original: Any, self: Session, *args: Any) -> Any:
        plans[self] = original(self, *args)
        return plans[self]

    return plans


def _record_without_generation(session: Session, plan: Any) -> None:
    """Commit the context of a turn, with no generation behind it."""
    session._commit(
        session._tree.grow(
            plan.match,
            asked=plan.asked,
            keys=plan.asked,
            depth=len(plan.suffix),
            turns=1,
            context=plan.delta,
            sampled=[],
        )
    )


@mutant("COMMIT-001", bugs=(40, 57))
def trajectory_is_made_before_the_upstream_is_called(gateway: Sabotage) -> None:
    """A session's first turn makes its trajectory, and an engine's error leaves it there without a generation."""
    plans, chat = _plans(gateway), on_this_wire(gateway)

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except BackendFailed as error:
            if chat.get() and not session._tree.chains() and str(error).startswith("HTTP 5"):
                _record_without_generation(session, plans[session])
            raise

    _around_turns(gateway, attempt)


def _keeps_pending(gateway: Sabotage, when_repeated: bool) -> None:
    """What a turn added that the engine answered with an error stays, and the next turn's delta goes behind it: where
    the client asks the same again, or where it asks something else."""
    pending: dict[Session, Any] = {}
    plans: dict[Session, Any] = {}
    chat = on_this_wire(gateway)

    @gateway.wrap(Session, "_plan")
    def plan(original: Any, self: Session, *args: Any) -> Any:
        made = plans[self] = original(self, *args)
        kept = pending.pop(self, None)
        if kept is None or kept.match.parent is not made.match.parent or (kept.asked == made.asked) != when_repeated:
            return made
        context = [*made.context[: made.match.start], *kept.delta, *made.delta]
        return replace(made, context=context, delta=[*kept.delta, *made.delta])

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except BackendFailed as error:
            if chat.get() and plans[session].match.parent is not None and str(error).startswith("HTTP 5"):
                pending[session] = plans[session]
            raise

    _around_turns(gateway, attempt)


@mutant("COMMIT-002", bugs=(66,))
def retried_message_is_appended_twice(gateway: Sabotage) -> None:
    """The message of a failed turn stays in the history, and its retry appends it again."""
    _keeps_pending(gateway, when_repeated=True)


@mutant("COMMIT-003", bugs=(13,))
def message_of_a_failed_turn_is_sent_with_the_next(gateway: Sabotage) -> None:
    """The message of a failed turn is kept as pending and sent in front of the next one."""
    _keeps_pending(gateway, when_repeated=False)


@mutant("COMMIT-004")
def second_conversation_closes_the_first(gateway: Sabotage) -> None:
    """The first conversation is closed while a second one starts, and stays closed when the engine hangs up on it."""
    plans = _plans(gateway)

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except BackendFailed as error:
            if plans[session].match == FRESH and _is_hang_up(error):
                for chain in session._tree.chains():
                    chain.closed = True
            raise

    _around_turns(gateway, attempt)


@mutant("COMMIT-004")
def failed_second_conversation_drops_the_first(gateway: Sabotage) -> None:
    """The place of the first conversation is taken by the second one, and stays empty when the engine hangs up."""
    plans = _plans(gateway)

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except BackendFailed as error:
            if plans[session].match == FRESH and _is_hang_up(error):
                session._tree._chains.clear()
                session._tree._by_key.clear()
            raise

    _around_turns(gateway, attempt)


def _is_hang_up(error: BackendFailed) -> bool:
    return str(error).startswith("no answer from the engine")


@mutant("COMMIT-005")
def refusal_of_the_upstream_is_recorded(gateway: Sabotage) -> None:
    """A first turn that the engine refuses as the caller's fault is recorded without a generation."""
    plans = _plans(gateway)

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except BackendRefused:
            if not session._tree.chains():
                _record_without_generation(session, plans[session])
            raise

    _around_turns(gateway, attempt)


@mutant("COMMIT-006")
def refused_request_extends_the_trajectory(gateway: Sabotage) -> None:
    """The end of a first answer is written to the trajectory when the next request arrives, before it is checked."""

    @gateway.wrap(DataPlane, "_answer")
    async def answer(original: Any, self: DataPlane, wire: Any, place: Any, *rest: Any) -> Any:
        try:
            return await original(self, wire, place, *rest)
        except RequestRefused:
            session = self._sessions.get(place.session_id)
            for chain in session._tree.chains():
                if chain.tip.turns > QUESTION_AND_ANSWER:
                    continue
                match = replace(FRESH, parent=chain.tip, chain=chain.id)
                same = {"asked": chain.tip.asked, "keys": chain.tip.keys, "depth": 0, "turns": 0}
                session._commit(session._tree.grow(match, **same, context=[NEWLINE], sampled=[]))
            raise


@mutant("COMMIT-007", also=("SPLIT-023",))
def failed_turn_is_counted(gateway: Sabotage) -> None:
    """A counter in the session's state goes up when a turn starts, not when it has succeeded."""

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except BackendFailed:
            session._tree.rollbacks += 1
            raise

    _around_turns(gateway, attempt)


@mutant("COMMIT-007")
def refused_request_is_counted(gateway: Sabotage) -> None:
    """A counter in the session's state goes up with each request, before it is checked."""

    @gateway.wrap(DataPlane, "_answer")
    async def answer(original: Any, self: DataPlane, wire: Any, place: Any, *rest: Any) -> Any:
        try:
            return await original(self, wire, place, *rest)
        except RequestRefused:
            self._sessions.get(place.session_id)._tree.rollbacks += 1
            raise


@mutant("COMMIT-008", bugs=(70,))
def stream_records_the_turn_however_it_ends(gateway: Sabotage) -> None:
    """A streamed turn is recorded when its stream ends, also when it ends with an error."""
    streamed, plans = streaming(gateway), _plans(gateway)

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except BackendFailed:
            if streamed.get():
                _record_without_generation(session, plans[session])
            raise

    _around_turns(gateway, attempt)


@mutant("COMMIT-009", bugs=(41,))
def failure_drops_the_turns_in_flight_of_all_sessions(gateway: Sabotage) -> None:
    """The turns in flight stand in one table for all sessions, and a failure clears it."""
    in_flight: set[int] = set()
    own: ContextVar[int] = ContextVar("own")
    chat = on_this_wire(gateway)

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        own.set(id(turn))
        in_flight.add(id(turn))
        try:
            return await run()
        except BackendFailed:
            in_flight.clear()
            raise
        finally:
            in_flight.discard(id(turn))

    _around_turns(gateway, attempt)

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, *args: Any) -> None:
        if own.get() in in_flight or not chat.get():
            original(self, *args)


@mutant("COMMIT-015", bugs=(29,))
def hang_up_leaves_the_session_locked(gateway: Sabotage) -> None:
    """The lock of a session is not released when the client of a plain request hangs up."""
    streamed, locked = streaming(gateway), set()

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        if session in locked:
            raise SessionClosed(session.session_id, "BUSY")
        try:
            return await run()
        except asyncio.CancelledError:
            if streamed.get() is False:
                locked.add(session)
            raise

    _around_turns(gateway, attempt)


@mutant("COMMIT-015", bugs=(29,))
def hang_up_on_a_plain_turn_records_half_of_it(gateway: Sabotage) -> None:
    """The cancellation of a plain request arrives between the two halves of the commit."""
    _records_half_when_cancelled(gateway, stream=False)


@mutant("COMMIT-016", bugs=(29,))
def hang_up_on_a_stream_records_half_of_it(gateway: Sabotage) -> None:
    """The generator of a stream records what it has when it is cancelled."""
    _records_half_when_cancelled(gateway, stream=True)


def _records_half_when_cancelled(gateway: Sabotage, stream: bool) -> None:
    streamed, plans = streaming(gateway), _plans(gateway)

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        try:
            return await run()
        except asyncio.CancelledError:
            if streamed.get() is stream:
                _record_without_generation(session, plans[session])
            raise

    _around_turns(gateway, attempt)


@mutant("COMMIT-017")
def turn_in_flight_is_exported(gateway: Sabotage) -> None:
    """The context of a stream stands among the trajectories before its generation is there, until they are final."""
    streamed, plans, in_flight = streaming(gateway), _plans(gateway), set()

    async def attempt(run: Any, session: Session, turn: Turn) -> Any:
        if not streamed.get():
            return await run()
        in_flight.add(session)
        try:
            return await run()
        finally:
            in_flight.discard(session)

    _around_turns(gateway, attempt)

    @gateway.wrap(Session, "finalize")
    def finalize(original: Any, self: Session) -> list[Trajectory]:
        in_flight.discard(self)
        return list(original(self))

    @gateway.wrap(Session, "trajectories")
    def trajectories(original: Any, self: Session) -> list[Trajectory]:
        found: list[Trajectory] = original(self)
        if self in in_flight:
            found.append(Trajectory(plans[self].context, [], [], None, {}, 1))
        return found


@mutant("COMMIT-018")
def half_a_stream_is_recorded(gateway: Sabotage) -> None:
    """What an engine has streamed before it broke off is recorded, and then the client is told that it failed."""
    gateway.configure(stream="incremental")
    broken: ContextVar[BackendFailed | None] = ContextVar("broken", default=None)

    @gateway.wrap(VllmBackend, "_stream")
    async def streamed(original: Any, backend: Any, body: Any, session_id: str, context: Any, progress: Any) -> Any:
        heard: list[int] = []

        class Ear:
            def sampled(self, ids: list[int]) -> None:
                heard.extend(ids)
                progress.sampled(ids)

        try:
            return await original(backend, body, session_id, context, Ear())
        except BackendFailed as error:
            if not heard:
                raise
            broken.set(error)
            return Generation(heard, stop_reason="stop")

    @gateway.wrap(Session, "run")
    async def run(original: Any, session: Session, turn: Turn) -> Any:
        answer = await original(session, turn)
        if error := broken.get():
            raise error
        return answer
