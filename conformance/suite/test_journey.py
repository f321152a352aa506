"""Area JOURNEY: whole conversations, in which each situation of a turn meets each other one.

Which situations there are stands in `conformance.vocabulary.situations`, how they are walked and judged in `journey`.
"""

from __future__ import annotations

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.gateway import Capability
from conformance.vocabulary.expect import REFUSED, calls_made
from conformance.vocabulary.journey import Walker, brings_along, brings_calls_along, walk
from conformance.vocabulary.session import function
from conformance.vocabulary.situations import Situation, journeys
from conformance.vocabulary.talk import WIRES
from conformance.vocabulary.target import require_capability

WITH_HISTORY = ("chat", "messages", "responses")
"""Wires on which the client sends the history."""
SESSIONS, ROUNDS = 20, 3


def turn(wire, place="later", field="none", tools="none", stream="plain"):
    """A turn that is plain but for this."""
    return Situation(wire, stream, tools, place, "text", field, "stop")


def require_wire(target, wire):
    capability = WIRES[wire].capability
    if capability is not None:
        require_capability(target, capability)


@pytest.mark.requirement(id="JOURNEY-001")
@pytest.mark.parametrize("journey", journeys("chat"), ids=str)
def test_journey_over_chat(journey, target, sessions):
    """Wherever a turn of chat completions stands, and whatever it asks for, says and ends with: one call of the engine
    is made for it, with all that was said so far and the values of its own request; its answer is what was sampled,
    and is exported once behind that context."""
    walk(journey, target, sessions)


@pytest.mark.requirement(id="JOURNEY-002")
@pytest.mark.parametrize("journey", journeys("messages"), ids=str)
def test_journey_over_messages(journey, target, sessions):
    """Wherever a turn of Anthropic messages stands, and whatever it asks for, says and ends with: one call of the
    engine is made for it, with all that was said so far and the values of its own request; its answer is what was
    sampled, and is exported once behind that context."""
    walk(journey, target, sessions)


@pytest.mark.requirement(id="JOURNEY-003")
@pytest.mark.parametrize("journey", journeys("responses"), ids=str)
def test_journey_over_responses(journey, target, sessions):
    """Wherever a turn of responses with the whole history as input stands, and whatever it asks for, says and ends
    with: one call of the engine is made for it, with all that was said so far and the values of its own request; its
    answer is what was sampled, and is exported once behind that context."""
    walk(journey, target, sessions)


@pytest.mark.requirement(id="JOURNEY-004")
@pytest.mark.parametrize("journey", journeys("response chain"), ids=str)
def test_journey_along_a_chain_of_responses(journey, target, sessions):
    """Wherever a turn of responses that name the one before them stands, and whatever it asks for, says and ends with:
    one call of the engine is made for it, with all that was said so far and the values of its own request; its answer
    is what was sampled, and is exported once behind that context."""
    walk(journey, target, sessions)


@pytest.mark.requirement(id="JOURNEY-005")
@pytest.mark.parametrize("journey", journeys("conversation"), ids=str)
def test_journey_in_a_conversation(journey, target, sessions):
    """Wherever a turn of a conversation that the gateway keeps stands, and whatever it asks for, says and ends with:
    one call of the engine is made for it, with all that was said so far and the values of its own request; its answer
    is what was sampled, and is exported once behind that context."""
    walk(journey, target, sessions)


@pytest.mark.requirement(id="JOURNEY-006")
@pytest.mark.parametrize("journey", journeys("invocations"), ids=str)
def test_journey_over_invocations(journey, target, sessions):
    """Wherever an invocation stands, and whatever it says and ends with: one call of the engine is made for it, with
    all that was said so far; its answer is what was sampled, and is exported once behind that context."""
    walk(journey, target, sessions)


@pytest.mark.requirement(id="JOURNEY-007")
@pytest.mark.parametrize("wire", WITH_HISTORY)
def test_turn_behind_many_messages(target, session, wire):
    """Behind 150 messages that its client brings along, a turn is told all of them in their order, and so is the next
    one; each is exported once behind what the engine received."""
    require_wire(target, wire)
    walker = Walker(target, session, [], came="stop")
    brings_along(walker.talk, 150)

    walker.goes(turn(wire))
    walker.goes(turn(wire))

    walker.hold()


@pytest.mark.requirement(id="JOURNEY-008")
def test_twenty_sessions_take_turns(target, sessions, upstream):
    """Twenty sessions that take turns, over whichever wires, have each its own history, its own sampling values and its
    own export."""
    declared = target.declaration.capabilities
    wires = [wire.name for wire in WIRES.values() if wire.capability in {None, *declared}]
    walkers = [Walker(target, sessions.open(), [], number=ROUNDS * place) for place in range(SESSIONS)]
    for round_number in range(ROUNDS):
        for place, walker in enumerate(walkers):
            wire = wires[place % len(wires)]
            field = "temperature" if WIRES[wire].limit and (place + round_number) % 2 else "none"
            walker.goes(turn(wire, "later" if round_number else "first", field))

    calls = calls_made(upstream, SESSIONS * ROUNDS)

    for place, walker in enumerate(walkers):
        walker.hold(calls=calls[place::SESSIONS])


@pytest.mark.requirement(id="JOURNEY-009")
@pytest.mark.parametrize("wire", WITH_HISTORY)
def test_results_of_calls_with_long_ids(target, session, wire):
    """The results of three calls that a client brings along, each under an id of 128 characters, are told to the model,
    and the conversation goes on; or the request is refused."""
    require_wire(target, wire)
    require_capability(target, Capability.TOOLS)
    search = function("search", "Search the web.", query={"type": "string"})
    walker = Walker(target, session, [search])
    brings_calls_along(walker.talk, "search", count=3, id_length=128)

    try:
        walker.goes(turn(wire, "behind three results", tools="declared"))
    except ConformanceFailure:
        if walker.attempts[-1].reply.status in REFUSED:
            return
        raise
    walker.goes(turn(wire, tools="declared"))

    walker.hold()
