"""The random agent finds what is wrong, tells the shortest conversation that shows it, and does the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.gateway import Gateway
from conformance.upstream.client import Upstream
from conformance.vocabulary.random_agent import KINDS, Move, Search, invented, simpler
from conformance.vocabulary.target import Target, connect
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from tests.mutants.harness import serving
from tests.mutants.sabotage import Sabotage


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> Sabotage:
    return Sabotage(monkeypatch)


@pytest.fixture
def target(shared_upstream: Upstream, sabotage: Sabotage) -> Iterator[Target]:
    settings: Any = SimpleNamespace(timeout=5.0)
    with serving(shared_upstream, sabotage) as url:
        found = connect(Gateway(url), shared_upstream, settings.timeout)
        yield found
        found.close()


def test_a_right_gateway_passes(target: Target) -> None:
    Search(conversations=10, seed=7).run(target)


def test_the_shortest_conversation_is_told(target: Target, sabotage: Sabotage) -> None:
    @sabotage.wrap(Trajectory, "to_json")
    def last_id_is_masked(original: Any, trajectory: Trajectory) -> Any:
        body = original(trajectory)
        if body["response_mask"].count(1) > 10:
            body["response_mask"][-1] = 0
        return body

    with pytest.raises(ConformanceFailure) as caught:
        Search().run(target)
    whole, *found = caught.value.violations
    story = whole.actual.splitlines()
    assert whole.where == "the conversation"
    assert len(story) == 2
    assert story[0].startswith("1. begins after 0 messages: user 'Hi' > 'Answer 1'")
    assert found
    sent = [exchange for exchange in target.recorder.exchanges if exchange.url.endswith("/chat/completions")]
    assert len(sent) == len(story), "what is shown is the shortest conversation"


def test_a_gateway_that_fails_is_found_by_its_status(target: Target, sabotage: Sabotage) -> None:
    @sabotage.wrap(Session, "_run")
    async def compaction_fails(original: Any, session: Session, turn: Any) -> Any:
        if turn.messages[0]["content"].endswith("A summary"):
            raise RuntimeError("no room")
        return await original(session, turn)

    with pytest.raises(ConformanceFailure) as caught:
        Search(conversations=20).run(target)
    assert [each.expected for each in caught.value.violations[1:]] == ["status 200"]
    assert len(caught.value.violations[0].actual.splitlines()) == 2


def test_a_seed_gives_the_same_conversations() -> None:
    first, second = (invented(Random(3), list(KINDS)) for _ in range(2))
    assert first == second


def test_every_step_towards_the_simplest_is_one() -> None:
    conversation = invented(Random(1), list(KINDS))
    steps = 0
    while (less := next(simpler(conversation), None)) is not None:
        conversation, steps = less, steps + 1
    assert conversation == (Move("goes on"),)
    assert steps < 100


def test_the_nightly_seed_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPOTHESIS_PROFILE", raising=False)
    assert Search.chosen() == Search()
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "nightly")
    monkeypatch.setenv("GATEWAY_SEED", "12")
    assert Search.chosen().seed == 12
    assert Search.chosen().conversations > 100
