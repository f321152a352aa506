"""Mutants of area CONC: a session ends while a turn of it is in flight, and the two do not agree about the turn."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from fastapi import Request, Response

from reference_gateway.serving.control_plane import ControlPlane
from reference_gateway.session import Session
from reference_gateway.session.session import Phase
from reference_gateway.types import Turn
from tests.mutants.commit import streaming
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


def _let_late_turns_pass(gateway: Sabotage, phase: Phase, streamed: ContextVar[bool | None] | None = None) -> None:
    """A turn that was in flight when its session came into this phase goes on as if nothing had happened. `streamed`:
    only where this is set."""
    planned: ContextVar[bool] = ContextVar("planned", default=False)

    @gateway.wrap(Session, "_plan")
    def plan(original: Any, self: Session, *args: Any) -> Any:
        planned.set(streamed is None or bool(streamed.get()))
        return original(self, *args)

    @gateway.wrap(Session, "_require_active")
    def require_active(original: Any, self: Session) -> None:
        if not (planned.get() and self.phase is phase):
            original(self)


@mutant("CONC-012", bugs=(26,))
def late_stream_of_a_finalized_session_is_answered(gateway: Sabotage) -> None:
    """The trajectories are handed out while a stream runs; its client gets an answer, and nobody trains on it."""
    _let_late_turns_pass(gateway, Phase.FINALIZED, streaming(gateway))


@mutant("CONC-013")
def finalize_waits_for_the_turns_in_flight(gateway: Sabotage) -> None:
    """Finalize waits until every turn of the session has ended."""
    turns: dict[str, set[asyncio.Future[Any]]] = {}

    @gateway.wrap(Session, "run")
    async def run(original: Any, self: Session, turn: Turn) -> Any:
        running = asyncio.ensure_future(original(self, turn))
        turns.setdefault(self.session_id, set()).add(running)
        try:
            return await running
        finally:
            turns[self.session_id].discard(running)

    async def finalize(self: ControlPlane, request: Request) -> Response:
        await asyncio.gather(*turns.get(request.path_params["session_id"], ()), return_exceptions=True)
        return await original(self, request)

    original = gateway.patch(ControlPlane, "finalize", finalize)


@mutant("CONC-014", bugs=(29,))
def late_turn_of_an_aborted_session_is_answered(gateway: Sabotage) -> None:
    """Whether a session is open is looked at when a turn begins, so that an aborted one goes on to answer."""
    _let_late_turns_pass(gateway, Phase.ABORTED)


@mutant("CONC-015")
def late_turn_of_a_completed_session_is_answered_and_lost(gateway: Sabotage) -> None:
    """A turn that ends in a completed session is answered, but what is complete is not added to."""
    _let_late_turns_pass(gateway, Phase.COMPLETED)

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, *args: Any) -> None:
        if self.phase is not Phase.COMPLETED:
            original(self, *args)
