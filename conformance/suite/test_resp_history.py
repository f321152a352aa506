"""Area RESP: responses that continue others, and one record for all wires."""

from __future__ import annotations

import pytest

from conformance.client.anthropic import as_tool, text, tool_result, tool_use
from conformance.client.http import at
from conformance.client.responses import flat, item, results_of
from conformance.vocabulary.expect import expect
from conformance.vocabulary.exported import context
from conformance.vocabulary.session import assistant, function, results, system, tool, tool_call, user
from conformance.vocabulary.spelling import respelled

FUNCTION = function("search", "Search the web.", q={"type": "string"}, limit={"type": "integer"})
SEARCH = flat(FUNCTION)
CALL = {"name": "search", "arguments": {"q": "weather in Zürich", "limit": 3}}


@pytest.mark.requirement(id="RESP-049")
def test_response_can_be_read(session, upstream, streamed):
    """`GET /responses/{id}` answers with the response as it was answered."""
    upstream.says("Hello")
    made = session.respond("Hi", stream=streamed)

    read = session.send_response(path=f"/responses/{made.id}", method="GET")

    expect(read).status(200)
    expect([read.id, read.output]).equals([made.id, made.output], "id and output")


@pytest.mark.requirement(id="RESP-050")
def test_unknown_response_is_404(session):
    """`GET /responses/{id}` of an unknown id is answered with 404 and an error envelope."""
    reply = session.send_response(path="/responses/resp_0000000000", method="GET")

    expect(reply).status(404).has_error_envelope()


@pytest.mark.requirement(id="RESP-051")
def test_response_that_is_not_stored_cannot_be_read(session, upstream):
    """A response to a request with `store: false` cannot be read afterwards."""
    upstream.says("Hello")
    made = session.respond("Hi", store=False)

    read = session.send_response(path=f"/responses/{made.id}", method="GET")

    expect(read).status(404)


@pytest.mark.requirement(id="RESP-052")
def test_previous_response_brings_its_history(session, upstream):
    """With `previous_response_id`, the model sees the inputs and outputs of all responses before, and then the
    input."""
    upstream.says("One")
    upstream.says("Two")
    upstream.says("Three")
    first = session.respond("A")
    second = session.respond("B", previous_response_id=first.id)

    session.respond("C", previous_response_id=second.id)

    history = [assistant("One"), user("B"), assistant("Two"), user("C")]
    context(upstream, 2).reads_as_rendered([*session.messages("A"), *history])


@pytest.mark.requirement(id="RESP-053")
def test_outputs_alone_answer_the_calls(session, upstream):
    """A request with nothing but the outputs of the calls of the previous response shows the model the calls and then
    the outputs."""
    upstream.says(tool_calls=[CALL])
    upstream.says("Sunny")
    first = session.respond("Hi", tools=[SEARCH])

    session.respond(results_of(first, "sun"), previous_response_id=first.id, tools=[SEARCH])

    called = assistant(upstream.tool_format.write("", [CALL]))  # as the model wrote it
    context(upstream, 1).reads_as_rendered([*session.messages("Hi"), called, tool("sun")], tools=[FUNCTION])


@pytest.mark.requirement(id="RESP-054")
def test_response_can_be_continued_twice(session, upstream):
    """A response can be continued more than once, and no continuation sees another one."""
    upstream.says("One")
    upstream.says("Two")
    upstream.says("Three")
    first = session.respond("A")
    session.respond("B", previous_response_id=first.id)

    session.respond("C", previous_response_id=first.id)

    context(upstream, 2).reads_as_rendered([*session.messages("A"), assistant("One"), user("C")])


@pytest.mark.requirement(id="RESP-055")
def test_continued_response_keeps_its_ids(session, upstream):
    """The ids that a response sampled stand, as they were sampled, in the context of the response that continues it."""
    upstream.says(ids=[*respelled(upstream.tokenizer, "wonderful world"), upstream.tokenizer.end_of_turn])
    upstream.says("Fine")
    first = session.respond("Hi")

    session.respond("So?", previous_response_id=first.id)

    context(upstream, 1).holds_generation_before()


@pytest.mark.requirement(id="RESP-056")
def test_history_sent_again_continues(session, upstream, streamed):
    """A request whose input is the earlier input, the output as it was received, and something new continues the
    trajectory."""
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.says("Sunny")
    upstream.says("Bye")
    history = [item("user", "Hi")]
    for told in (lambda reply: results_of(reply, "sun"), lambda reply: [item("user", "Thanks")], None):
        reply = session.respond(history, tools=[SEARCH], store=False, stream=streamed)
        history = [*history, *reply.output, *(told(reply) if told else ())]

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="RESP-057")
def test_responses_are_recorded_token_for_token(session, upstream):
    """What a session exports of responses is what the upstream received and sampled, id by id, each generation once."""
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.says("Sunny")
    upstream.says("Bye")
    chain = session.chain(tools=[SEARCH], instructions="Be brief.")
    chain.ask("Hi")
    chain.answer("sun")
    chain.ask("Thanks")

    expect(session.trajectories()).match(upstream)


@pytest.mark.requirement(id="RESP-058")
def test_responses_and_chat_leave_the_same_trajectories(sessions, upstream):
    """A conversation with a tool call over responses leaves the trajectories, token for token, that the same
    conversation leaves over chat completions."""
    for _ in range(2):
        upstream.says("Hello")
        upstream.says("I will look.", tool_calls=[CALL])
        upstream.says("It is sunny.")
    chat, responses = sessions.open(), sessions.open()
    instructions = f"{upstream.nonce} Be brief."

    history = [system(instructions), user("Hi")]
    history += [chat.send({"messages": history, "tools": [FUNCTION]}).message, user("Look it up")]
    called = chat.send({"messages": history, "tools": [FUNCTION]}).message
    chat.send({"messages": [*history, called, *results(called, "sunny")], "tools": [FUNCTION]})

    fields = {"model": "kit", "instructions": instructions, "tools": [SEARCH]}
    first = responses.send_response({**fields, "input": "Hi"})
    second = responses.send_response({**fields, "input": "Look it up", "previous_response_id": first.id})
    answer = results_of(second, "sunny")
    responses.send_response({**fields, "input": answer, "previous_response_id": second.id})

    expect(responses.trajectories()).have_ids_and_masks_of(chat.trajectories())


@pytest.mark.requirement(id="RESP-059")
@pytest.mark.parametrize("begins", ["chat", "responses"])
def test_conversation_goes_on_over_another_wire(session, upstream, begins):
    """A conversation whose tool call was issued over one of chat completions and responses, and is answered over the
    other, continues its trajectory."""
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.says("Sunny")
    if begins == "chat":
        called = session.chat("Hi", tools=[FUNCTION]).message
        call = at(called, "tool_calls", 0, kind=dict)
        issued = {"type": "function_call", "call_id": at(call, "id"), **at(call, "function", kind=dict)}
        history = [item("user", "Hi"), item("assistant", called.get("content")), issued]
        answer = [{"type": "function_call_output", "call_id": at(call, "id"), "output": "sun"}]
        session.respond([*history, *answer], tools=[SEARCH])
    else:
        issued = at(session.respond("Hi", tools=[SEARCH]).output, 1, kind=dict)
        call = tool_call(issued.get("name"), issued.get("arguments"), issued.get("call_id"))
        called = assistant("I will look.", tool_calls=[call])
        session.chat("Hi", called, *results(called, "sun"), tools=[FUNCTION])

    expect(session.trajectories()).count(1).conserve(upstream)


@pytest.mark.requirement(id="RESP-073")
def test_call_of_a_response_is_answered_over_messages(session, upstream):
    """A tool call that was issued over responses and is answered over Anthropic messages continues its trajectory."""
    upstream.says("I will look.", tool_calls=[CALL])
    upstream.says("Sunny")
    [issued] = session.respond("Hi", tools=[SEARCH]).tool_calls
    use = tool_use("search", CALL["arguments"], issued.get("call_id"))
    answer = tool_result("sun", issued.get("call_id"))

    called = assistant([text("I will look."), use])
    session.message("Hi", called, user([answer]), tools=[as_tool(FUNCTION)])

    expect(session.trajectories()).count(1).conserve(upstream)
