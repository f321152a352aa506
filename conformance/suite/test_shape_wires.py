"""Area SHAPE: the answers of the other wires have the shapes that the gateway's own repository pins."""

from __future__ import annotations

import pytest

from conformance.client.anthropic import as_tool
from conformance.client.responses import call, flat, item, output
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import ABSENT, function

SEARCH = function("search", query={"type": "string"})
CALL = {"name": "search", "arguments": {"query": "weather"}}


@pytest.mark.requirement(id="SHAPE-008")
def test_message_has_its_shape(session, upstream, pinned):
    """The plain message that answers a text turn has the pinned shape."""
    upstream.says("Hello")

    expect(session.message("Hi")).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-009")
def test_tool_use_has_its_shape(session, upstream, pinned):
    """The plain message with a tool use has the pinned shape."""
    upstream.says(tool_calls=[CALL])

    expect(session.message("Hi", tools=[as_tool(SEARCH)])).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-010")
def test_message_stream_has_its_shape(session, upstream, pinned):
    """The events of a streamed text message have the pinned shape."""
    upstream.says("Hello")

    expect(session.message("Hi", stream=True)).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-011")
def test_tool_use_stream_has_its_shape(session, upstream, pinned):
    """The events of a streamed tool use have the pinned shape."""
    upstream.says(tool_calls=[CALL])

    expect(session.message("Hi", tools=[as_tool(SEARCH)], stream=True)).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-012")
def test_assembled_tool_use_has_its_shape(session, upstream, pinned):
    """What the events of a streamed tool use amount to has the pinned shape."""
    upstream.says(tool_calls=[CALL])

    reply = session.message("Hi", tools=[as_tool(SEARCH)], stream=True)

    expect(reply.completion).has_shape(pinned, "the message")


@pytest.mark.requirement(id="SHAPE-013")
def test_refusal_of_a_message_has_its_shape(session, pinned):
    """The error for a refused message request has the pinned shape."""
    expect(session.message(messages=[])).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-014")
def test_count_of_tokens_has_its_shape(session, pinned):
    """The answer to a request to count tokens has the pinned shape."""
    body = session.message_body("Hi", max_tokens=ABSENT)

    expect(session.send_message(body, path="/v1/messages/count_tokens")).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-015")
def test_response_has_its_shape(session, upstream, pinned):
    """The plain response to a text turn has the pinned shape."""
    upstream.says("Hello")

    expect(session.respond("Hi")).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-016")
def test_function_call_has_its_shape(session, upstream, pinned):
    """The plain response with a function call has the pinned shape."""
    upstream.says(tool_calls=[CALL])

    expect(session.respond("Hi", tools=[flat(SEARCH)])).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-017")
def test_response_stream_has_its_shape(session, upstream, pinned):
    """The events of a streamed text response have the pinned shape."""
    upstream.says("Hello")

    expect(session.respond("Hi", stream=True)).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-018")
def test_function_call_stream_has_its_shape(session, upstream, pinned):
    """The events of a streamed function call have the pinned shape."""
    upstream.says(tool_calls=[CALL])

    expect(session.respond("Hi", tools=[flat(SEARCH)], stream=True)).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-019")
def test_assembled_response_has_its_shape(session, upstream, pinned):
    """What the events of a streamed response amount to has the pinned shape."""
    upstream.says("I will look.", tool_calls=[CALL])

    reply = session.respond("Hi", tools=[flat(SEARCH)], stream=True)

    expect(reply.completion).has_shape(pinned, "the response")


@pytest.mark.requirement(id="SHAPE-020")
def test_refusal_of_a_response_has_its_shape(session, pinned):
    """The error for a refused request for a response has the pinned shape."""
    expect(session.respond(7)).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-021")
def test_conversation_has_its_shape(session, pinned):
    """A conversation has the pinned shape."""
    expect(session.send({"metadata": {"name": "demo"}}, path="/conversations")).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-022")
def test_items_have_their_shape(session, pinned):
    """The list of a conversation's items, with a message, a function call and its output among them, has the pinned
    shape."""
    conversation = session.converse(item("user", "Hi"), call("search"), output("sun"))

    expect(session.send(path=f"/conversations/{conversation}/items", method="GET")).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-023")
def test_invocation_has_its_shape(session, upstream, pinned):
    """The plain answer to an invocation has the pinned shape."""
    upstream.says("Hello")

    expect(session.invoke("Hi", "talk")).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-024")
def test_refusal_of_an_invocation_has_its_shape(session, pinned):
    """The error for a refused invocation has the pinned shape."""
    expect(session.invoke(7)).has_shape(pinned)
