"""Area JOURNEY: whole conversations, in which each situation of a turn meets each other one.

Which situations there are stands in `conformance.vocabulary.situations`, how they are walked and judged in `journey`.
"""

from __future__ import annotations

import pytest

from conformance.vocabulary.journey import walk
from conformance.vocabulary.situations import journeys


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
