"""Mutants of area BUDGET: what becomes of a conversation that has no room left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_gateway.session import Session, SessionClosed
from reference_gateway.session.tree import Chain, Match, Stop, Tree
from reference_gateway.types import BackendRefused
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.token_export import exporting

Stopped = Callable[[Session, Any, list[Chain]], None]


def _after_length_stop(gateway: Sabotage) -> Callable[[Stopped], None]:
    """Decorator: `then(session, plan, closed)` runs after a length stop; `closed` are the chains that it closed."""

    def install(then: Stopped) -> None:
        @gateway.wrap(Session, "_length_stop")
        def length_stop(original: Any, self: Session, plan: Any) -> Any:
            before = {chain.id for chain in _closed(self)}
            answer = original(self, plan)
            then(self, plan, [chain for chain in _closed(self) if chain.id not in before])
            return answer

    return install


def _closed(session: Session) -> list[Chain]:
    return [chain for chain in session._tree.chains() if chain.closed]


def _append_unsent(session: Session, plan: Any, match: Match) -> None:
    """Record what a turn would have sent, with no generation behind it."""
    session._commit(
        session._tree.grow(match, asked=plan.asked, keys=plan.asked, depth=0, turns=0, context=plan.delta, sampled=[])
    )


@mutant("BUDGET-010", bugs=(12, 40))
def prompt_without_room_is_exported(gateway: Sabotage) -> None:
    """The trajectory is there, with its prompt, before the room is looked at."""

    @_after_length_stop(gateway)
    def then(session: Session, plan: Any, closed: list[Chain]) -> None:
        if plan.match.parent is None and plan.match.chain is None:
            _append_unsent(session, plan, plan.match)


@mutant("BUDGET-011")
def closed_trajectory_gets_logprobs(gateway: Sabotage) -> None:
    """A trajectory that ran out of room is written by other code, which fills in a logprob of 0 for each id."""

    @exporting(gateway)
    def fill(session: Session, exported: list[Any]) -> None:
        for each in exported:
            if "materialization_reason" in each.extra_fields:
                each.response_logprobs = [0.0] * len(each.response_ids)


@mutant("BUDGET-011", also=("BUDGET-013", "BUDGET-026"), bugs=(13,))
def message_without_room_is_exported(gateway: Sabotage) -> None:
    """The message that did not fit stands at the end of the trajectory, although the model never saw it."""

    @gateway.wrap(Session, "_length_stop")
    def length_stop(original: Any, self: Session, plan: Any) -> Any:
        if plan.match.chain is not None and plan.match.replaces is None:
            _append_unsent(self, plan, plan.match)
        return original(self, plan)


@mutant(
    "BUDGET-011", also=("BUDGET-013", "BUDGET-014", "BUDGET-015", "BUDGET-026", "BUDGET-027", "SPLIT-029"), bugs=(28,)
)
def trajectory_without_room_is_dropped(gateway: Sabotage) -> None:
    """A sample that ran out of room is dropped as too long."""

    @exporting(gateway)
    def drop(session: Session, exported: list[Any]) -> None:
        exported[:] = [each for each in exported if "materialization_reason" not in each.extra_fields]


@mutant("BUDGET-013")
def closed_trajectories_are_exported_last(gateway: Sabotage) -> None:
    """What ran out of room is kept in a list of its own, which is exported behind the live trajectories."""

    @exporting(gateway)
    def sort(session: Session, exported: list[Any]) -> None:
        exported.sort(key=lambda each: "materialization_reason" in each.extra_fields)


@mutant("BUDGET-013", also=("BUDGET-014", "BUDGET-015", "BUDGET-026"))
def length_stop_ends_the_session(gateway: Sabotage) -> None:
    """A session in which a conversation ran out of room takes no more turns."""
    full: set[Session] = set()

    @_after_length_stop(gateway)
    def then(session: Session, plan: Any, closed: list[Chain]) -> None:
        if closed:
            full.add(session)

    @gateway.wrap(Session, "_run")
    def run(original: Any, self: Session, turn: Any) -> Any:
        if self in full:
            raise SessionClosed(self.session_id, "FULL")
        return original(self, turn)


@mutant("BUDGET-014")
def all_conversations_are_closed_together(gateway: Sabotage) -> None:
    """When one conversation has no room left, all of its session are closed."""

    @_after_length_stop(gateway)
    def then(session: Session, plan: Any, closed: list[Chain]) -> None:
        for chain in session._tree.chains() if closed else ():
            chain.closed = True


@mutant("BUDGET-015")
def closed_conversation_is_continued(gateway: Sabotage) -> None:
    """A conversation that ran out of room is marked as such, and goes on when the client asks for less."""

    @_after_length_stop(gateway)
    def then(session: Session, plan: Any, closed: list[Chain]) -> None:
        for chain in closed:
            chain.closed = False


@mutant("BUDGET-018")
def conversation_in_flight_is_closed(gateway: Sabotage) -> None:
    """A turn that does not fit closes the conversation, also while another turn of it is in flight."""

    @gateway.wrap(Tree, "stop")
    def stop(original: Any, self: Tree, match: Match, reason: str) -> Stop | None:
        if match.chain is None and match.parent is not None and self._chains[match.parent.chain].in_flight:
            match = replace(match, chain=match.parent.chain)
        return original(self, match, reason)


@mutant("BUDGET-019")
def abort_leaves_what_is_closed(gateway: Sabotage) -> None:
    """Abort discards the live trajectories; those that ran out of room stand in another list and stay."""
    kept: dict[Session, list[Any]] = {}

    @gateway.wrap(Session, "abort")
    def abort(original: Any, self: Session) -> None:
        kept[self] = [each for each in self.trajectories() if "materialization_reason" in each.extra_fields]
        original(self)

    @gateway.wrap(Session, "finalize")
    def finalize(original: Any, self: Session) -> Any:
        return kept[self] if kept.get(self) else original(self)


@mutant("BUDGET-025", bugs=(12,))
def message_without_room_is_a_bad_request(gateway: Sabotage) -> None:
    """A message that does not fit behind its conversation is answered with status 400, context_length_exceeded."""

    @gateway.wrap(Session, "_length_stop")
    def length_stop(original: Any, self: Session, plan: Any) -> Any:
        answer = original(self, plan)
        if self._budget.kind == "total" and plan.match.parent is not None and plan.suffix:
            raise BackendRefused("context_length_exceeded")
        return answer


@mutant("BUDGET-026", bugs=(13,))
def message_without_room_stays_pending(gateway: Sabotage) -> None:
    """The message that did not fit stays pending, and is recorded before the next conversation's prompt."""
    pending: dict[Session, list[int]] = {}

    @_after_length_stop(gateway)
    def then(session: Session, plan: Any, closed: list[Chain]) -> None:
        if closed:
            pending[session] = plan.delta

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, plan: Any, *rest: Any) -> None:
        if plan.match.parent is None:
            plan = replace(plan, delta=[*pending.pop(self, []), *plan.delta])
        original(self, plan, *rest)


@mutant("BUDGET-027", bugs=(13,))
def message_without_room_counts_as_a_turn(gateway: Sabotage) -> None:
    """The turns of a conversation are counted when they begin."""

    @exporting(gateway)
    def count(session: Session, exported: list[Any]) -> None:
        for each in exported:
            each.num_turns += "materialization_reason" in each.extra_fields
