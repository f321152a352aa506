"""The random agent finds what is wrong, tells the shortest story that shows it, and does the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.gateway import Capability, Gateway
from conformance.upstream.client import Upstream
from conformance.vocabulary.random_agent import CHATS, THEMES, Search, exports
from conformance.vocabulary.random_agent.moves import KINDS
from conformance.vocabulary.random_agent.plan import EVERYTHING, Move, Opened, Plan, invented, simpler
from conformance.vocabulary.random_agent.search import outcome, play
from conformance.vocabulary.target import Target, connect
from reference_gateway.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.wire import anthropic_messages
from tests.mutants.harness import serving
from tests.mutants.sabotage import Sabotage


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> Sabotage:
    return Sabotage(monkeypatch)


@pytest.fixture
def target(shared_upstream: Upstream, sabotage: Sabotage) -> Iterator[Target]:
    settings: Any = SimpleNamespace(timeout=5.0)
    with serving(shared_upstream, sabotage, backend="sglang", media="references") as url:
        found = connect(Gateway(url), shared_upstream, settings.timeout)
        yield found
        found.close()


@pytest.mark.parametrize("theme", [*THEMES, CHATS], ids=str)
def test_a_right_gateway_passes(target: Target, theme: Any) -> None:
    Search(plans=5, seed=7).run(theme, target)


@pytest.mark.parametrize("theme", THEMES, ids=str)
def test_a_gateway_that_streams_as_it_samples_passes(shared_upstream: Upstream, theme: Any) -> None:
    with serving(shared_upstream, stream="incremental") as url:
        target = connect(Gateway(url), shared_upstream, 5.0)
        Search(plans=4, seed=8).run(theme, target)
        target.close()


@pytest.mark.parametrize("kind", [*KINDS, "at once", "ends"])
def test_each_kind_of_move_is_made(target: Target, kind: str) -> None:
    play(Plan(moves=tuple(Move(kind, how=how, tools="one call") for how in range(3))), target)
    assert target.upstream.calls


def test_a_gateway_that_declares_little_is_asked_for_no_more(target: Target) -> None:
    """No wire but chat, no tools, no streams: what it does not claim is not played."""
    little = {Capability.SESSIONS, Capability.TRAJECTORIES, Capability.TOKEN_UPSTREAM}
    modest = replace(target, declaration=replace(target.declaration, capabilities=frozenset(little)))
    plan = replace(invented(Random(3), EVERYTHING, target.declaration), sessions=(Opened(),))
    play(plan, modest)
    sent = {exchange.url.rpartition("/v1/")[2] for exchange in target.recorder.exchanges if "/v1/" in exchange.url}
    assert sent == {"chat/completions"}
    for exchange in target.recorder.exchanges:
        assert b'"tools"' not in exchange.request_body
        assert b'"stream"' not in exchange.request_body


def test_the_shortest_story_is_told(target: Target, sabotage: Sabotage) -> None:
    @sabotage.wrap(Trajectory, "to_json")
    def last_id_is_masked(original: Any, trajectory: Trajectory) -> Any:
        body = original(trajectory)
        if body["response_mask"].count(1) > 10:
            body["response_mask"][-1] = 0
        return body

    with pytest.raises(ConformanceFailure) as caught:
        Search().run(CHATS, target, exports)
    whole, *found = caught.value.violations
    story = whole.actual.splitlines()
    assert whole.where == "the story"
    assert len(story) <= 3
    assert story[0] == "1. chat: begins user 'Question 1' > 200 'Answer 1'"
    assert found
    sent = [exchange for exchange in target.recorder.exchanges if exchange.url.endswith("/chat/completions")]
    assert len(sent) == len(story), "what is shown is the shortest story"


def test_what_takes_three_things_at_once_is_found(target: Target, sabotage: Sabotage) -> None:
    """A streamed message, behind the result of a tool, with a temperature."""

    @sabotage.wrap(anthropic_messages, "parse")
    def temperature_is_lost(original: Any, *args: Any) -> Any:
        request = original(*args)
        if request.stream and request.turn.messages[-1]["role"] == "tool":
            kept = {name: value for name, value in request.turn.sampling.items() if name != "temperature"}
            return replace(request, turn=replace(request.turn, sampling=kept))
        return request

    tools = next(theme for theme in THEMES if theme.name == "tools")
    with pytest.raises(ConformanceFailure) as caught:
        Search(plans=300, shortenings=200, seed=5).run(tools, target)
    whole, *found = caught.value.violations
    assert whole.actual.splitlines()[-1].startswith(f"{len(whole.actual.splitlines())}. ")
    assert "messages, streamed" in whole.actual.splitlines()[-1]
    assert any("sampling values at the engine" in violation.where for violation in found)


def test_a_gateway_that_fails_is_found_by_its_status(target: Target, sabotage: Sabotage) -> None:
    @sabotage.wrap(Session, "_run")
    async def compaction_fails(original: Any, session: Session, turn: Any) -> Any:
        if "A summary" in str(turn.messages[0]["content"]):
            raise RuntimeError("no room")
        return await original(session, turn)

    with pytest.raises(ConformanceFailure) as caught:
        Search(plans=40).run(CHATS, target)
    assert any(each.expected == "200" for each in caught.value.violations)
    assert len(caught.value.violations[0].actual.splitlines()) == 2


def test_a_generation_that_a_failure_left_is_found(target: Target, sabotage: Sabotage) -> None:
    """What the client hung up on is there twice: once as it was, and once as it was asked again."""
    plan = Plan(moves=(Move("fails", how=1, fault="503"), Move()))
    assert outcome(plan, target) is None

    @sabotage.wrap(Session, "_run")
    async def failure_is_an_answer(original: Any, session: Session, turn: Any) -> Any:
        try:
            return await original(session, turn)
        except Exception:
            return await original(session, turn)

    failure = outcome(plan, target)
    assert failure is not None
    assert "2. chat: fails (503): user 'Question 2'" in failure.violations[0].actual


def test_a_seed_gives_the_same_plans(target: Target) -> None:
    first, second = (invented(Random(3), EVERYTHING, target.declaration) for _ in range(2))
    assert first == second


def test_every_step_towards_the_simplest_is_one(target: Target) -> None:
    plan = invented(Random(1), EVERYTHING, target.declaration)
    steps = 0
    while (less := next(simpler(plan), None)) is not None:
        plan, steps = less, steps + 1
    assert plan == Plan(moves=(Move(),))
    assert steps < 100


def test_the_nightly_seed_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPOTHESIS_PROFILE", raising=False)
    assert Search.chosen() == Search()
    assert Search.chosen().announced is None
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "nightly")
    monkeypatch.setenv("GATEWAY_SEED", "12")
    assert Search.chosen().seed == 12
    assert Search.chosen().plans > 100
    assert "GATEWAY_SEED=12" in str(Search.chosen().announced)
    monkeypatch.setenv("GATEWAY_PLANS", "3")
    assert Search.chosen().plans == 3
