"""Area TURN: the turn and step events that a client makes of streamed responses."""

from __future__ import annotations

import pytest

from conformance.client.http import at
from conformance.client.responses import comparable, ending, flat, steps, types
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import function

SEARCH = flat(function("search", "Search the web.", q={"type": "string"}))
CALL = {"name": "search", "arguments": {"q": "x"}}
LIKE_A_SERVERS = ("file_search", "knowledge_search", "web_search", "query_from_memory", "memory_retrieval", "mcp_clock")


@pytest.fixture
def chain(session, target):
    """A conversation with a client tool, chained as the gateway declares."""
    return session.chain(target.declaration.options.get("chaining", "previous_response_id"), tools=[SEARCH])


@pytest.mark.requirement(id="TURN-001")
def test_text_is_a_turn_of_one_step(chain, upstream):
    """A response with text only is a turn of one inference step, whose text deltas are the text and which ends with
    `end_of_turn`."""
    upstream.says("Hello\n\nthere")
    chain.ask("Hi")

    events = chain.turn()

    expect(steps(events)).equals([("inference", "end_of_turn")], "steps")
    texts = [at(event, "delta", "text") for event in events if event["event_type"] == "step_progress"]
    expect("".join(texts)).equals("Hello\n\nthere", "the text deltas joined")


@pytest.mark.requirement(id="TURN-002")
def test_call_is_issued_behind_the_text_beside_it(chain, upstream):
    """The inference that issues a call of a client tool says the text beside it first."""
    upstream.says("I will look.", tool_calls=[CALL])
    chain.ask("Hi")

    deltas = [event["delta"]["delta_type"] for event in chain.turn() if event["event_type"] == "step_progress"]

    shown = [kind for place, kind in enumerate(deltas) if kind not in deltas[:place] and kind != "tool_call_delta"]
    expect(shown).equals(["text", "tool_call_issued"], "types of the deltas in the order of their first")


@pytest.mark.requirement(id="TURN-003")
def test_client_tool_is_a_step_between_two_responses(chain, upstream):
    """A turn with a call of a client tool is an inference that ends with `tool_calls`, the tool's execution, and the
    inference of a second response: three steps, two responses, the text of the second."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    chain.ask("Hi")
    chain.answer("sun")

    events = chain.turn()

    golden = [("inference", "tool_calls"), ("tool_execution", "client"), ("inference", "end_of_turn")]
    expect(steps(events)).equals(golden, "steps")
    ids = [reply.id for reply in chain.replies]
    expect(ending(events)).equals(["turn_completed", "Sunny", ids, 3], "the end of the turn")


@pytest.mark.requirement(id="TURN-004")
def test_two_client_calls_are_one_step(chain, upstream):
    """Two calls of client tools in one response are executed in one step, in the order in which they were issued, and
    are answered in one request."""
    upstream.says(tool_calls=[CALL, {**CALL, "arguments": {"q": "y"}}])
    upstream.says("Fine")
    chain.ask("Hi")
    chain.answer("sun", "rain")

    events = chain.turn()

    ran = [event["result"] for event in events if "tool_calls" in event.get("result", ())]
    asked = [[call["arguments"].replace(" ", "") for call in step["tool_calls"]] for step in ran]
    expect(asked).equals([['{"q":"x"}', '{"q":"y"}']], "arguments of the calls of each step")
    answered = [[response["content"] for response in step["tool_responses"]] for step in ran]
    expect(answered).equals([["sun", "rain"]], "contents of the answers of each step")


@pytest.mark.requirement(id="TURN-005")
def test_turn_has_any_number_of_rounds(chain, upstream):
    """A turn goes on for as many rounds of client tools as the model asks for."""
    for _ in range(4):
        upstream.says(tool_calls=[CALL])
    upstream.says("Done")
    chain.ask("Hi")
    for _ in range(4):
        chain.answer("more")

    ids = [reply.id for reply in chain.replies]
    expect(ending(chain.turn())).equals(["turn_completed", "Done", ids, 9], "the end of the turn")


@pytest.mark.requirement(id="TURN-006")
@pytest.mark.parametrize("name", LIKE_A_SERVERS)
def test_clients_tool_is_the_clients_whatever_its_name(session, upstream, name):
    """A function that the request defines is the client's to run, also under a name that servers use for tools of
    their own."""
    upstream.says(tool_calls=[{"name": name, "arguments": {"query": "x"}}])

    reply = session.respond("Hi", tools=[flat(function(name, query={"type": "string"}))], stream=True)

    expect([(entry.get("type"), entry.get("name")) for entry in reply.output]).equals(
        [("function_call", name)], "types and names of the output"
    )


@pytest.mark.requirement(id="TURN-007")
def test_incomplete_response_fails_the_turn(chain, upstream):
    """A turn whose response was cut off by a limit fails, with an inference that is not completed."""
    upstream.says("Hel", finish="length")
    expect(chain.ask("Hi")).has_output()

    events = chain.turn()

    expect(types(events)[-1]).equals("turn_failed", "the last event")
    expect(types(events)).lacks("step_completed", "types of the events")


@pytest.mark.requirement(id="TURN-008")
def test_turn_with_a_failed_follow_up_fails(chain, upstream):
    """A turn whose second response fails ends with one `turn_failed`, and never with the text of the first response."""
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.fails()
    expect(chain.ask("Hi")).has_output()
    chain.answer("sun")

    event_types = types(chain.turn())

    expect([event_type for event_type in event_types if event_type in ("turn_completed", "turn_failed")]).equals(
        ["turn_failed"], "events that end the turn"
    )


@pytest.mark.requirement(id="TURN-009")
def test_gateways_events_are_those_of_its_streams(chain, session, upstream):
    """The events that the gateway gives out for a turn are those that its streams amount to."""
    upstream.says("I will look.", tool_calls=[CALL, CALL])
    upstream.says("Sunny")
    chain.ask("Hi")
    chain.answer("sun", "rain")

    [served] = session.turns()

    expect(comparable(served)).equals(comparable(chain.turn({"search"})), "the events of the turn")
