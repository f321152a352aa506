"""The registry of sessions: ids, ends, and who may leave memory (contract UA-LC, HA-CAP, HA-TTL)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from session_doubles import Backend, CharCodec, text, turn

from reference_gateway.session import (
    InvalidField,
    Session,
    SessionClosed,
    SessionExists,
    Sessions,
    UnknownSession,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Shelf:
    """A store that keeps the sessions themselves: enough to see who left and who came back."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.records: list[Any] = []

    def journal(self, session: Session) -> Callable[[Any], None]:
        self.sessions[session.session_id] = session
        return self.records.append

    def load(self, session_id: str) -> Session | None:
        return self.sessions.get(session_id)


def registry(*steps: Any, **settings: Any) -> Sessions:
    return Sessions(CharCodec(), Backend(*steps), **settings)


def names(sessions: Sessions) -> list[str]:
    return [session.session_id for session in sessions]


def test_lc_02_an_id_is_given_once_and_the_first_session_is_untouched() -> None:
    sessions = registry("A1")
    first = sessions.create("s", sampling_params={"top_p": 0.5})
    asyncio.run(first.run(turn("U hi")))
    before = first.state()
    with pytest.raises(SessionExists, match="session s already exists"):
        sessions.create("s")
    assert sessions.get("s") is first
    assert first.state() == before


def test_ids_are_made_when_none_is_given() -> None:
    sessions = registry()
    made = {sessions.create().session_id for _ in range(3)}
    assert len(made) == 3


@pytest.mark.parametrize("bad", ["", "a/b", "..", ".hidden", "a b", "a%2Fb", "é", "x" * 129, 7, "a\n"])
def test_an_id_is_a_path_segment(bad: Any) -> None:
    with pytest.raises(InvalidField, match="session_id must be"):
        registry().create(bad)


def test_a_session_that_could_not_be_made_is_not_there() -> None:
    sessions = registry()
    for settings in ({"prompt_length": 0}, {"options": {"budget": "all"}}, {"options": [1]}):
        with pytest.raises(InvalidField):
            sessions.create("s", **settings)
    with pytest.raises(UnknownSession):
        sessions.get("s")


def test_the_gateways_options_are_under_those_of_a_session() -> None:
    sessions = registry(options={"budget": "none", "last_rewrite": "split"})
    options = sessions.create(options={"budget": "response"}).options
    assert (options["budget"], options["last_rewrite"]) == ("response", "split")


def test_lc_04_a_finalized_session_is_unknown_and_its_id_is_free() -> None:
    sessions = registry("A1")
    asyncio.run(sessions.create("s").run(turn("U hi")))
    assert [text(t.response_ids) for t in sessions.finalize("s")] == ["A1"]
    for call in (sessions.get, sessions.finalize):
        with pytest.raises(UnknownSession, match="unknown session: s"):
            call("s")
    sessions.abort("s")
    assert sessions.create("s").trajectories() == []


def test_lc_05_06_07_an_aborted_session_stays_readable() -> None:
    sessions = registry("A1")
    session = sessions.create("s")
    asyncio.run(session.run(turn("U hi")))
    sessions.abort("s")
    sessions.abort("s")
    sessions.abort("never-made")
    assert sessions.get("s").state()["phase"] == "ABORTED"
    assert len(sessions) == 0
    with pytest.raises(SessionClosed, match="session s is aborted"):
        asyncio.run(sessions.get("s").run(turn("U hi")))
    with pytest.raises(SessionClosed, match="aborted"):
        sessions.finalize("s")
    with pytest.raises(SessionExists):
        sessions.create("s")


def test_only_so_many_aborted_sessions_are_remembered() -> None:
    sessions = registry(remembered=2)
    for name in "abc":
        sessions.create(name)
        sessions.abort(name)
    with pytest.raises(UnknownSession):
        sessions.get("a")
    assert [sessions.get(name).session_id for name in "bc"] == ["b", "c"]


def test_lc_13_sessions_share_nothing() -> None:
    sessions = registry("A1", "B1")
    one, other = sessions.create("one", sampling_params={"top_p": 0.1}), sessions.create("other")
    asyncio.run(one.run(turn("U hi")))
    one.set_reward({"reward": 1})
    assert (other.trajectories(), other.reward_info) == ([], {})
    asyncio.run(other.run(turn("U hi")))
    backend = sessions.backend
    assert isinstance(backend, Backend)
    assert [(call.session_id, call.sampling) for call in backend.calls] == [("one", {"top_p": 0.1}), ("other", {})]


def test_without_a_store_nothing_leaves_memory() -> None:
    clock = Clock()
    sessions = registry(cap=1, idle_ttl=0, clock=clock)
    for name in "abc":
        sessions.create(name)
    clock.now += 10_000
    assert (sessions.enforce_cap(), sessions.sweep(), names(sessions)) == (0, 0, ["a", "b", "c"])


def test_cap_the_least_recently_used_leave_and_come_back() -> None:
    sessions = registry(cap=3, store=Shelf())
    made = {name: sessions.create(name) for name in "abc"}
    sessions.get("a")
    sessions.create("d")
    assert names(sessions) == ["c", "a", "d"]
    assert sessions.get("b") is made["b"]
    assert names(sessions) == ["c", "a", "d", "b"]


def test_cap_a_session_mid_turn_stays_and_no_newer_one_goes_for_it(caplog: pytest.LogCaptureFixture) -> None:
    sessions = registry(cap=2, store=Shelf())
    for name in "ab":
        sessions.create(name)
    sessions.get("a").in_flight = sessions.get("b").in_flight = 1
    with caplog.at_level(logging.WARNING):
        sessions.create("c")
    assert names(sessions) == ["a", "b", "c"]
    assert "mid-turn" in caplog.text
    sessions.get("a").in_flight = 0
    assert names(sessions) == ["b", "c", "a"]
    sessions.create("d")
    assert names(sessions) == ["b", "a", "d"]


def test_ttl_is_strict_and_spares_what_is_in_flight() -> None:
    clock = Clock()
    sessions = registry(idle_ttl=60, clock=clock, store=Shelf())
    for name in "abc":
        sessions.create(name)
    clock.now += 60
    assert sessions.sweep() == 0
    sessions.get("b")
    sessions.get("c").in_flight = 1
    clock.now += 61
    assert (sessions.sweep(), names(sessions)) == (2, ["c"])


def test_lc_14_clear_ends_every_session() -> None:
    async def scenario() -> None:
        sessions = registry("A1")
        backend = sessions.backend
        assert isinstance(backend, Backend)
        backend.held = True
        running = asyncio.ensure_future(sessions.create("s").run(turn("U hi")))
        await backend.in_flight(1)
        sessions.clear()
        backend.release(0)
        with pytest.raises(SessionClosed):
            await running
        with pytest.raises(UnknownSession):
            sessions.get("s")

    asyncio.run(scenario())
