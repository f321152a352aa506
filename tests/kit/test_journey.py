"""Journeys find a fault that shows in one situation only, say where, and ask for nothing that a gateway lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.declaring import Capability
from conformance.gateway import Gateway
from conformance.upstream.client import Upstream
from conformance.vocabulary.journey import walk, within
from conformance.vocabulary.journey_verdict import has_failed
from conformance.vocabulary.session import Sessions
from conformance.vocabulary.situations import Journey, Situation
from conformance.vocabulary.target import Target, connect
from reference_gateway.serving import data_plane
from reference_gateway.session import Session
from tests.mutants.harness import serving
from tests.mutants.sabotage import Sabotage

FIRST = Situation("chat", "plain", "none", "first", "text", "none", "stop")
LATER = replace(FIRST, place="later")


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> Sabotage:
    return Sabotage(monkeypatch)


@pytest.fixture
def target(shared_upstream: Upstream, sabotage: Sabotage) -> Iterator[Target]:
    with serving(shared_upstream, sabotage) as url:
        found = connect(Gateway(url), shared_upstream, 20.0)
        yield found
        found.close()


def walked(target: Target, *situations: Situation) -> list[str]:
    """Where a journey of these situations finds something wrong."""
    target.recorder.begin()
    target.upstream.begin()
    sessions = Sessions(target.driver, target.http, target.recorder, target.upstream.nonce)
    try:
        walk(Journey("one", situations), target, sessions)
    except ConformanceFailure as failure:
        return [violation.where for violation in failure.violations]
    finally:
        sessions.discard()
    return []


@pytest.mark.parametrize(
    "situation",
    [
        replace(FIRST, place="behind a new answer"),
        replace(FIRST, place="second branch", stream="streamed"),
        replace(FIRST, place="behind a stop", wire="responses"),
        replace(FIRST, place="behind another wire", wire="conversation"),
        replace(FIRST, place="resumed", wire="response chain"),
        replace(FIRST, place="behind a cut", wire="invocations"),
        replace(FIRST, tools="five calls", place="behind three results", ending="tool call", wire="messages"),
    ],
    ids=str,
)
def test_a_right_gateway_passes(target: Target, situation: Situation) -> None:
    assert walked(target, situation) == []
    assert len(target.upstream.calls) > 1, "the place was brought about"


def test_a_value_that_sticks_is_found_where_it_sticks(target: Target, sabotage: Sabotage) -> None:
    kept: dict[str, Any] = {}

    @sabotage.wrap(Session, "_effective_sampling")
    def effective_sampling(original: Any, self: Session, turn: Any) -> Any:
        sampling, limit = original(self, turn)
        kept.update(sampling)
        return {**kept}, limit

    found = walked(target, replace(FIRST, field="temperature"), LATER)
    assert found == [
        "the journey",
        "turn 2 (chat, place: later): sampling values at the engine",
        "turn 2 (chat, place: later): the engine's request",
    ]


def test_a_second_call_is_found_where_it_is_made(target: Target, sabotage: Sabotage) -> None:
    @sabotage.wrap(Session, "_generate")
    async def generate(original: Any, self: Session, context: Any, sampling: Any, media: Any, turn: Any) -> Any:
        generation = await original(self, context, sampling, media, turn)
        if len(turn.messages) > 1:
            with pytest.raises(Exception, match="HTTP 500"):
                await original(self, context, sampling, media, turn)
        return generation

    assert walked(target, FIRST, LATER) == ["the journey", "turn 2 (chat, place: later): calls of the engine"]


def test_what_the_model_is_not_told_is_found(target: Target, sabotage: Sabotage) -> None:
    @sabotage.wrap(Session, "_run")
    def run(original: Any, self: Session, turn: Any) -> Any:
        return original(self, replace(turn, messages=[turn.messages[0], turn.messages[-1]]))

    assert walked(target, FIRST, LATER)[1:2] == ["turn 2 (chat, place: later): what the model is told"]


def test_a_failure_that_is_answered_is_found(target: Target, sabotage: Sabotage) -> None:
    @sabotage.wrap(data_plane, "respond")
    def respond(original: Any, send: Any, status: int, *rest: Any) -> Any:
        return original(send, 200 if status == 503 else status, *rest)

    assert "turn 1 (chat, place: first, ending: 503)" in walked(target, replace(FIRST, ending="503"))


def test_a_turn_without_its_capabilities_is_a_plainer_one(target: Target) -> None:
    target.declaration = replace(target.declaration, capabilities=frozenset({Capability.SESSIONS}))
    told = replace(FIRST, stream="streamed", tools="two calls", place="behind a result", ending="tool call")
    assert within(told, target) == LATER
    assert within(replace(FIRST, tools="declared", field="tool_choice none"), target) == FIRST
    assert within(replace(FIRST, content="[DONE]", ending="429"), target) == replace(
        FIRST, content="[DONE]", ending="429"
    )


def test_a_failure_is_a_status_or_the_end_of_a_stream(target: Target) -> None:
    target.recorder.begin()
    target.upstream.begin()
    session = Sessions(target.driver, target.http, target.recorder, target.upstream.nonce).open()
    target.upstream.says("Hello")
    assert not has_failed(session.chat("Hi"))
    target.upstream.fails(500)
    assert has_failed(session.chat("Hi"))
    target.upstream.says("Hello")
    assert not has_failed(session.chat("Hi", stream=True))
    assert not has_failed(session.chat("Hi", max_tokens=-1)), "a refusal is no failure"
    session.discard()
