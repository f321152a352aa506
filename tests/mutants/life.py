"""Mutants of area LIFE: sessions that are created, found, ended and told apart in the wrong way."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import reference_gateway.serving.control_plane as control_plane
import reference_gateway.serving.errors as errors
import reference_gateway.session.cache as cache
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.serving.data_plane import DataPlane
from reference_gateway.session import Session, SessionClosed, Sessions, Trajectory, UnknownSession
from reference_gateway.session.errors import SessionExists
from reference_gateway.session.session import Phase
from reference_gateway.session.tree import Tree
from tests.mutants.chat_wire import on_this_wire
from tests.mutants.http_hostile import on_chat_route
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, App, Sabotage


def _empty(session: Session) -> Tree:
    return Tree(session._tree.policy)


@mutant("LIFE-001")
def base_url_ends_in_a_slash(gateway: Sabotage) -> None:
    """A base URL with the caller's own id keeps its slash at the end; the server takes two slashes for one."""

    @gateway.rewrite
    def keep_slash(answer: Answer) -> None:
        if answer.path == "/sessions" and answer.status == 201 and (answer.asked or {}).get("session_id"):
            answer.json = {**answer.json, "base_url": answer.json["base_url"] + "/"}

    @gateway.middleware
    def tolerant(app: App) -> App:
        async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                scope = {**scope, "path": re.sub("/+", "/", scope["path"])}
            await app(scope, receive, send)

        return serve


@mutant("LIFE-002", bugs=(41,))
def id_of_an_unused_session_is_given_out_again(gateway: Sabotage) -> None:
    """The id of a session that was aborted before it was used is the next session's."""
    unused: list[str] = []

    @gateway.wrap(Sessions, "abort")
    def abort(original: Any, self: Sessions, session_id: str) -> None:
        session = self._find(session_id)
        if session is not None and session.phase is Phase.ACTIVE and session.created_at == session.updated_at:
            unused.append(session_id)
        original(self, session_id)

    @gateway.wrap(Sessions, "create")
    def create(original: Any, self: Sessions, session_id: str | None = None, **settings: Any) -> Session:
        if session_id is None and unused:
            session_id = unused.pop()
            self._aborted.pop(session_id, None)
        return original(self, session_id, **settings)


@mutant("LIFE-003")
def creating_a_session_is_idempotent(gateway: Sabotage) -> None:
    """Creating a session with an id in use gives out the session that has it."""

    @gateway.wrap(Sessions, "create")
    def create(original: Any, self: Sessions, session_id: str | None = None, **settings: Any) -> Session:
        try:
            return original(self, session_id, **settings)
        except SessionExists:
            return self.get(str(session_id))


@mutant("LIFE-004")
def refused_creation_empties_the_session(gateway: Sabotage) -> None:
    """A new session is stored in the place of the old one before the clash is noticed."""

    @gateway.wrap(Sessions, "create")
    def create(original: Any, self: Sessions, session_id: str | None = None, **settings: Any) -> Session:
        try:
            return original(self, session_id, **settings)
        except SessionExists:
            session = self.get(str(session_id))
            session._tree = _empty(session)
            raise


@mutant("LIFE-005")
def session_id_is_put_into_the_url_as_it_is(gateway: Sabotage) -> None:
    """Any text is taken as an id and stands in the base URL without percent-encoding."""
    gateway.patch(cache, "SESSION_ID", re.compile(".+"))
    gateway.patch(control_plane, "quote", lambda text, safe: text)


@mutant("LIFE-006")
def first_request_creates_the_session(gateway: Sabotage) -> None:
    """A session that is not known is created by its first chat request."""
    ended = set()
    chat = on_chat_route(gateway)

    @gateway.wrap(Sessions, "finalize")
    def finalize(original: Any, self: Sessions, session_id: str) -> list[Trajectory]:
        trajectories = original(self, session_id)
        ended.add(session_id)
        return trajectories

    @gateway.wrap(Sessions, "get")
    def get(original: Any, self: Sessions, session_id: str) -> Session:
        try:
            return original(self, session_id)
        except UnknownSession:
            if session_id in ended or not chat.get():
                raise
            return self.create(session_id)


@mutant("LIFE-007", bugs=(40,))
def unused_session_exports_an_empty_trajectory(gateway: Sabotage) -> None:
    """Finalize makes one trajectory of what the session holds, also when that is nothing."""

    @gateway.wrap(Session, "finalize")
    def finalize(original: Any, self: Session) -> list[Trajectory]:
        return original(self) or [Trajectory([], [], [], None, {}, 0)]


@mutant("LIFE-007", bugs=(40,))
def unused_session_cannot_be_finalized(gateway: Sabotage) -> None:
    """Finalize of a session without trajectories is an error."""

    @gateway.wrap(Session, "finalize")
    def finalize(original: Any, self: Session) -> list[Trajectory]:
        if not self._tree.chains():
            raise SessionClosed(self.session_id, "EMPTY")
        return original(self)


@mutant("LIFE-008")
def finalized_session_stays_routed(gateway: Sabotage) -> None:
    """The data plane has a table of its own, which finalize does not touch."""
    routed: dict[str, Session] = {}

    class Table:
        def __init__(self, sessions: Sessions) -> None:
            self.sessions = sessions

        def get(self, session_id: str) -> Session:
            try:
                session = routed[session_id] = self.sessions.get(session_id)
            except UnknownSession:
                if session_id not in routed:
                    raise
                session = routed[session_id]
                session.phase = Phase.ACTIVE
            return session

    @gateway.wrap(DataPlane, "__init__")
    def init(original: Any, self: DataPlane, sessions: Sessions, *rest: Any) -> None:
        original(self, Table(sessions), *rest)


@mutant("LIFE-009")
def unknown_session_is_finalized_as_an_empty_one(gateway: Sabotage) -> None:
    """Finalizing a session that is gone gives an empty list."""

    @gateway.wrap(Sessions, "finalize")
    def finalize(original: Any, self: Sessions, session_id: str) -> list[Trajectory]:
        try:
            return original(self, session_id)
        except UnknownSession:
            return []


@mutant("LIFE-010")
def reading_closes_the_trajectory(gateway: Sabotage) -> None:
    """Reading materialises the active trajectory of a chat, and what follows begins a new one."""
    chat, chats = on_this_wire(gateway), set()

    @gateway.wrap(Session, "run")
    def run(original: Any, self: Session, turn: Any) -> Any:
        if chat.get():
            chats.add(self)
        return original(self, turn)

    @gateway.wrap(Session, "trajectories")
    def trajectories(original: Any, self: Session) -> list[Trajectory]:
        for chain in self._tree.chains():
            chain.closed = chain.closed or self in chats
        return original(self)


@mutant("LIFE-011")
def completed_session_takes_turns(gateway: Sabotage) -> None:
    """Only aborted and finalized sessions are closed to chat."""
    chat = on_this_wire(gateway)

    @gateway.wrap(Session, "_require_active")
    def require_active(original: Any, self: Session) -> None:
        if self.phase is not Phase.COMPLETED or not chat.get():
            original(self)


@mutant("LIFE-012")
def closed_session_lets_clients_retry(gateway: Sabotage) -> None:
    """The 409 of a closed session says nothing about retries."""
    gateway.patch(errors, "NO_RETRY", {})


@mutant("LIFE-013")
def completed_session_cannot_be_finalized(gateway: Sabotage) -> None:
    """Finalize accepts only active sessions."""

    @gateway.wrap(Session, "finalize")
    def finalize(original: Any, self: Session) -> list[Trajectory]:
        self._require_active()
        return original(self)


@mutant("LIFE-014", bugs=(29,))
def aborted_session_takes_turns(gateway: Sabotage) -> None:
    """Abort has nothing to do for a session that holds nothing, and the session goes on."""

    @gateway.wrap(Sessions, "abort")
    def abort(original: Any, self: Sessions, session_id: str) -> None:
        session = self._find(session_id)
        if session is not None and (session._tree.chains() or session.in_flight):
            original(self, session_id)


@mutant("LIFE-015", bugs=(29,))
def aborted_session_exports_what_it_held(gateway: Sabotage) -> None:
    """Abort only marks a session whose trajectories are all open, and finalize does not look at the mark."""

    @gateway.wrap(Session, "abort")
    def abort(original: Any, self: Session) -> None:
        if any(chain.closed for chain in self._tree.chains()):
            original(self)
        else:
            self._end(Phase.ABORTED)

    @gateway.wrap(Session, "finalize")
    def finalize(original: Any, self: Session) -> list[Trajectory]:
        return self.trajectories() if self.phase is Phase.ABORTED else original(self)


@mutant("LIFE-016", bugs=(29,))
def second_abort_is_an_error(gateway: Sabotage) -> None:
    """Aborting a session that is aborted is a conflict."""

    @gateway.wrap(Sessions, "abort")
    def abort(original: Any, self: Sessions, session_id: str) -> None:
        session = self.get(session_id)
        session._require_active()
        original(self, session_id)


@mutant("LIFE-017")
def state_leaves_out_what_is_zero(gateway: Sabotage) -> None:
    """Counts that are zero are left out of the state of a session without turns."""

    @gateway.wrap(Session, "state")
    def state(original: Any, self: Session) -> dict[str, Any]:
        found = original(self)
        if not self._tree.chains():
            del found["num_trajectories"]
        return found


@mutant("LIFE-018")
def updated_at_is_set_once(gateway: Sabotage) -> None:
    """The time of the last change is that of the creation."""
    gateway.patch(Session, "_touch", lambda self: None)


@mutant("LIFE-019", bugs=(41,))
def conversations_are_found_across_sessions(gateway: Sabotage) -> None:
    """A conversation that begins with the message of one that has just begun in another session is taken for it."""
    trees: dict[str, Tree] = {}

    @gateway.wrap(Session, "_run")
    def run(original: Any, self: Session, turn: Any) -> Any:
        if not self._tree.chains() and len(turn.messages) == 1 and self._budget.prompt_length is None:
            known = trees.setdefault(str(turn.messages[0]["content"]), self._tree)
            if all(chain.tip.parent is None for chain in known.chains()):
                self._tree = known
        return original(self, turn)


@mutant("LIFE-032")
def each_call_has_an_id_of_its_own(gateway: Sabotage) -> None:
    """The engine is told the session's id on its first call, and a fresh one on each that follows."""
    calls: Counter[str] = Counter()

    @gateway.wrap(VllmBackend, "_post")
    def post(original: Any, self: VllmBackend, body: bytes, session_id: str) -> Any:
        calls[session_id] += 1
        return original(self, body, session_id if calls[session_id] == 1 else f"request-{calls.total()}")


@mutant("LIFE-034")
def readiness_waits_for_a_turn(gateway: Sabotage) -> None:
    """The gateway is ready once an engine has answered it, and says so from then on."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path == "/readiness":
            answer.status, answer.json = 503, {"status": "starting"}
