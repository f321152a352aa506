"""Area TURN: tools that the gateway runs within a response."""

from __future__ import annotations

import pytest

from conformance.client.responses import FILE_SEARCH, comparable, ending, flat, steps, types
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.exported import context
from conformance.vocabulary.session import ABSENT, function

SEARCH = flat(function("search", "Search the web.", q={"type": "string"}))
CLIENT = {"name": "search", "arguments": {"q": "x"}}
SERVER = {"name": "file_search", "arguments": {"query": "lighthouse"}}
INFERRED, ASKED = ("inference", "end_of_turn"), ("inference", "tool_calls")
CALLED, RAN, ANSWERED = ("inference", "server_tool_call"), ("tool_execution", "server"), ("tool_execution", "client")


@pytest.fixture
def server_chain(session, target):
    """A conversation with a client tool and one of the server, chained as the gateway declares."""
    chaining = target.declaration.options.get("chaining", "previous_response_id")
    return session.chain(chaining, tools=[SEARCH, FILE_SEARCH])


@pytest.mark.requirement(id="TURN-010")
def test_server_tool_is_a_typed_item(session, upstream, streamed):
    """A call of the gateway's file search is an item of type `file_search_call` with its `queries`, and never a
    function call; the response ends with the model's answer."""
    upstream.says(tool_calls=[SERVER])
    upstream.says("It is red and white.")

    reply = session.respond("Hi", tools=[FILE_SEARCH], stream=streamed)

    output = [(entry.get("type"), entry.get("queries")) for entry in reply.output]
    wanted = [("file_search_call", ["lighthouse"]), ("message", None)]
    expect(output).equals(wanted, "types and queries of the output")


@pytest.mark.requirement(id="TURN-011")
def test_response_with_a_server_tool_is_a_response(session, upstream, streamed):
    """A response with a tool of the gateway has all fields that the API requires, and so have its items."""
    upstream.says(tool_calls=[SERVER])
    upstream.says("It is red and white.")

    reply = session.respond("Hi", tools=[FILE_SEARCH], stream=streamed)

    expect(reply).is_response()


@pytest.mark.requirement(id="TURN-012")
def test_stream_with_a_server_tool_follows_the_grammar(session, upstream):
    """The stream of a response with a tool of the gateway follows the grammar of response events."""
    upstream.says("I will look.", tool_calls=[SERVER])
    upstream.says("It is red and white.")

    stream = session.respond("Hi", tools=[FILE_SEARCH], stream=True)

    expect(stream).is_response_stream()


@pytest.mark.requirement(id="TURN-013")
def test_model_sees_what_the_server_tool_found(session, upstream):
    """The model's next context holds the call and what the gateway's tool found."""
    upstream.says(tool_calls=[SERVER])
    upstream.says("It is red and white.")

    session.respond("Hi", tools=[FILE_SEARCH])

    context(upstream, 1).holds_generation_before()
    first, second = calls_made(upstream, 2)
    added = second.text.removeprefix(first.text)
    expect(len(added)).satisfies(lambda size: size > 200, "more than the call and its frame", "characters behind it")


@pytest.mark.requirement(id="TURN-014")
def test_server_tool_is_a_step_of_one_response(server_chain, upstream):
    """A turn with a tool of the gateway is an inference that ends with `server_tool_call`, the tool's execution and
    another inference: three steps of one response."""
    upstream.says(tool_calls=[SERVER])
    upstream.says("It is red and white.")
    server_chain.ask("Hi")

    events = server_chain.turn()

    expect(steps(events)).equals([CALLED, RAN, INFERRED], "steps")
    ids = [reply.id for reply in server_chain.replies]
    expect(ending(events)).equals(["turn_completed", "It is red and white.", ids, 3], "the end of the turn")


@pytest.mark.requirement(id="TURN-015")
def test_server_tool_then_client_tool_are_five_steps(server_chain, upstream):
    """A turn in which the model calls a tool of the gateway, and then in the same response one of the client, has five
    steps and two responses."""
    upstream.says(tool_calls=[SERVER])
    upstream.says(tool_calls=[CLIENT])
    upstream.says("Done")
    server_chain.ask("Hi")
    server_chain.answer("sun")

    events = server_chain.turn()

    expect(steps(events)).equals([CALLED, RAN, ASKED, ANSWERED, INFERRED], "steps")
    ids = [reply.id for reply in server_chain.replies]
    expect(ending(events)).equals(["turn_completed", "Done", ids, 5], "the end of the turn")


@pytest.mark.requirement(id="TURN-016")
def test_two_server_tools_are_two_items(server_chain, upstream):
    """Two calls of the gateway's tools in one generation are two steps, each with its own call."""
    upstream.says(tool_calls=[SERVER, {"name": "file_search", "arguments": {"query": "tide"}}])
    upstream.says("Done")
    server_chain.ask("Hi")

    events = server_chain.turn()

    ran = [event["result"]["tool_calls"] for event in events if "tool_calls" in event.get("result", ())]
    queries = [[query for query in ("lighthouse", "tide") if query in call["arguments"]] for [call] in ran]
    expect(queries).equals([["lighthouse"], ["tide"]], "queries of the steps")


@pytest.mark.requirement(id="TURN-017")
def test_client_call_before_a_server_tool_belongs_to_the_end(server_chain, upstream):
    """When the model calls a tool of the client and then one of the gateway in one response, the client's call is in
    the response's last inference, which ends with `tool_calls`."""
    upstream.says(tool_calls=[CLIENT, SERVER])
    upstream.says("Done")
    server_chain.ask("Hi")
    server_chain.answer("sun")

    expect(steps(server_chain.turn())).equals([CALLED, RAN, ASKED, ANSWERED, INFERRED], "steps")


@pytest.mark.requirement(id="TURN-018")
def test_each_client_call_is_issued_beside_a_server_tool(server_chain, upstream):
    """Calls of client tools in front of and behind a call of the gateway's tool all come back, in the order in which
    they were generated."""
    upstream.says(tool_calls=[CLIENT, SERVER, {"name": "search", "arguments": {"q": "y"}}])
    upstream.says("Done")

    reply = server_chain.ask("Hi")

    expect(types(reply.output)).equals(["function_call", "file_search_call", "function_call"], "types of the output")


@pytest.mark.requirement(id="TURN-019")
def test_outputs_stand_in_the_order_of_the_calls(server_chain, upstream):
    """The model sees what the gateway's tool found between the outputs of the client's calls in front of and behind it,
    as it issued them."""
    upstream.says(tool_calls=[CLIENT, SERVER, {"name": "search", "arguments": {"q": "y"}}])
    upstream.says("Done")
    server_chain.ask("Hi")
    server_chain.answer("SUN", "RAIN")

    text = calls_made(upstream, 2)[1].text
    gap = text[text.find("SUN") : text.find("RAIN")]
    expect(gap).satisfies(lambda gap: len(gap) > 100, "what the tool found", "the text between the two outputs")


@pytest.mark.requirement(id="TURN-020")
def test_clients_tool_wins_over_the_servers(session, upstream):
    """A function of the request with the name of the gateway's tool is the client's to run, also where the request
    asks for the gateway's tool."""
    upstream.says(tool_calls=[SERVER])
    own = flat(function("file_search", "My own files.", query={"type": "string"}))

    reply = session.respond("Hi", tools=[own, FILE_SEARCH])

    expect([(entry.get("type"), entry.get("name")) for entry in reply.output]).equals(
        [("function_call", "file_search")], "types and names of the output"
    )


@pytest.mark.requirement(id="TURN-021")
@pytest.mark.parametrize("choice", [ABSENT, "auto"], ids=["no choice", "auto"])
def test_server_tool_is_offered_where_it_is_asked_for(session, upstream, choice):
    """Without an entry for it in `tools`, the gateway's tool is not offered to the model."""
    upstream.says("Hello")

    session.respond("Hi", tools=[SEARCH], tool_choice=choice)

    [call] = calls_made(upstream)
    expect(call.text).lacks("file_search", "the context")


@pytest.mark.requirement(id="TURN-022")
def test_failure_behind_a_server_tool_fails_the_turn(server_chain, session, upstream):
    """A response whose upstream fails after a tool of the gateway was run does not look complete: the turn fails."""
    upstream.says("Hello")
    expect(session.respond("Are you there?")).has_output()
    upstream.says(tool_calls=[SERVER])
    upstream.fails()
    server_chain.ask("Hi")

    expect(types(server_chain.turn())[-1]).equals("turn_failed", "the last event")


@pytest.mark.requirement(id="TURN-023")
def test_turn_with_a_server_tool_is_one_trajectory(server_chain, session, upstream):
    """A turn with a tool of the gateway and one of the client is one trajectory, which has what the upstream received
    and sampled."""
    upstream.says("I will look.", tool_calls=[SERVER])
    upstream.says(tool_calls=[CLIENT])
    upstream.says("Done")
    server_chain.ask("Hi")
    server_chain.answer("sun")

    expect(session.trajectories()).count(1).match(upstream)


@pytest.mark.requirement(id="TURN-024")
def test_server_tools_item_is_kept(session, upstream):
    """The items of a conversation have the calls of the gateway's tools in their place."""
    upstream.says("I will look.", tool_calls=[SERVER])
    upstream.says("It is red and white.")
    server_chain = session.chain("conversation", tools=[FILE_SEARCH])
    server_chain.ask("Hi")

    wanted = ["message", "message", "file_search_call", "message"]
    expect(types(session.items(server_chain.conversation))).equals(wanted, "types of the items")


@pytest.mark.requirement(id="TURN-025")
def test_gateways_events_show_its_tools(server_chain, session, upstream):
    """The events that the gateway gives out for a turn with tools of its own are those that its streams amount to."""
    upstream.says(tool_calls=[CLIENT, SERVER, CLIENT])
    upstream.says("Done")
    server_chain.ask("Hi")
    server_chain.answer("sun", "rain")

    [served] = session.turns()

    expect(comparable(served)).equals(comparable(server_chain.turn({"search"})), "the events of the turn")


@pytest.mark.requirement(id="TURN-026")
def test_usage_counts_all_generations(session, upstream, streamed):
    """`usage` of a response with a tool of the gateway counts the tokens of all its generations."""
    upstream.says(tool_calls=[SERVER])
    upstream.says("It is red and white.")

    reply = session.respond("Hi", tools=[FILE_SEARCH], stream=streamed)

    made = calls_made(upstream, 2)
    wanted = [sum(len(call.context) for call in made), sum(len(call.generation) for call in made)]
    counts = [reply.usage.get("input_tokens"), reply.usage.get("output_tokens")]
    expect(counts).equals(wanted, "input and output tokens")
