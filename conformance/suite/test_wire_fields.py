"""Area WIRE: requests in which one field is wrong, on each wire. What is wrong is generated from the wire's schema."""

from __future__ import annotations

import pytest

from conformance.client.responses import types
from conformance.vocabulary.expect import REFUSED, expect
from conformance.vocabulary.refusals import (
    CHAT,
    CONVERSATIONS,
    COUNT,
    INVOCATIONS,
    MESSAGES,
    RESPONSES,
    expect_refusals_by_field,
    expect_refusals_leave_nothing,
    expect_refusals_to_be_closed,
    expect_served_or_refused,
    parts,
    refused,
)


@pytest.mark.requirement(id="WIRE-001")
@pytest.mark.parametrize("part", parts(6))
def test_chat_request_with_a_wrong_field(session, upstream, part):
    """A chat request with a field of a wrong type or value is served, or refused with a 4xx status in the OpenAI error
    envelope: never a 5xx status, and never no answer."""
    expect_served_or_refused(CHAT, session, upstream, part)


@pytest.mark.requirement(id="WIRE-002")
def test_refusal_of_a_chat_request_names_the_field(session, upstream):
    """The refusal of a chat request for one field names this field, or one that it stands in."""
    expect_refusals_by_field(CHAT, session, upstream)


@pytest.mark.requirement(id="WIRE-003")
def test_refused_chat_requests_leave_nothing(sessions, upstream):
    """Chat requests that are refused for one field leave nothing: the session exports what it does without them."""
    expect_refusals_leave_nothing(CHAT, sessions, upstream)


@pytest.mark.requirement(id="WIRE-004")
@pytest.mark.parametrize("part", parts(5))
def test_message_request_with_a_wrong_field(session, upstream, part):
    """A message request, or one to count tokens, with a field of a wrong type or value is served, or refused with a 4xx
    status in the Anthropic error envelope: never a 5xx status, and never no answer."""
    expect_served_or_refused(MESSAGES, session, upstream, part)


@pytest.mark.requirement(id="WIRE-004")
@pytest.mark.parametrize("part", parts(2))
def test_count_request_with_a_wrong_field(session, upstream, part):
    """A message request, or one to count tokens, with a field of a wrong type or value is served, or refused with a 4xx
    status in the Anthropic error envelope: never a 5xx status, and never no answer."""
    expect_served_or_refused(COUNT, session, upstream, part)


@pytest.mark.requirement(id="WIRE-005")
def test_refusal_of_a_message_request_names_the_field(session, upstream):
    """The refusal of a message request for one field names this field, or one that it stands in."""
    expect_refusals_by_field(MESSAGES, session, upstream)


@pytest.mark.requirement(id="WIRE-006")
def test_refused_message_requests_leave_nothing(sessions, upstream):
    """Message requests that are refused for one field leave nothing: the session exports what it does without them."""
    expect_refusals_leave_nothing(MESSAGES, sessions, upstream)


@pytest.mark.requirement(id="WIRE-007")
@pytest.mark.parametrize("part", parts(6))
def test_request_for_a_response_with_a_wrong_field(session, upstream, part):
    """A request for a response with a field of a wrong type or value is served, or refused with a 4xx status in the
    OpenAI error envelope: never a 5xx status, and never no answer."""
    expect_served_or_refused(RESPONSES, session, upstream, part)


@pytest.mark.requirement(id="WIRE-008")
def test_refusal_of_a_response_names_the_field(session, upstream):
    """The refusal of a request for a response for one field names this field, or one that it stands in."""
    expect_refusals_by_field(RESPONSES, session, upstream)


@pytest.mark.requirement(id="WIRE-009")
def test_refused_responses_leave_nothing(sessions, upstream):
    """Requests for responses that are refused for one field leave nothing: the session exports what it does without
    them."""
    expect_refusals_leave_nothing(RESPONSES, sessions, upstream)


@pytest.mark.requirement(id="WIRE-010")
def test_refused_responses_add_no_item(session, upstream):
    """Requests for responses of a conversation that are refused for one field add no item to it."""
    wrong = [answered.wrong for answered in refused(RESPONSES, session, upstream)]
    upstream.repeats("Hello", 1 + len(wrong))
    conversation = session.converse()
    body = {**RESPONSES.right(session), "conversation": conversation}
    expect(session.send_response(body)).status(200)
    before = types(session.items(conversation))

    RESPONSES.answers(session, wrong, body)

    expect(types(session.items(conversation))).equals(before, "types of the conversation's items")


@pytest.mark.requirement(id="WIRE-011")
@pytest.mark.parametrize("part", parts(2))
def test_request_for_a_conversation_with_a_wrong_field(session, upstream, part):
    """A request for a conversation with a field of a wrong type or value is served, or refused with a 4xx status in the
    OpenAI error envelope: never a 5xx status, and never no answer."""
    expect_served_or_refused(CONVERSATIONS, session, upstream, part)


@pytest.mark.requirement(id="WIRE-012")
def test_refusal_of_a_conversation_names_the_field(session, upstream):
    """The refusal of a request for a conversation for one field names this field, or one that it stands in."""
    expect_refusals_by_field(CONVERSATIONS, session, upstream)


@pytest.mark.requirement(id="WIRE-013")
def test_invocation_with_a_wrong_field(session, upstream):
    """An invocation with a field of a wrong type or value is served, or refused with a 4xx status and `{"error":
    text}`: never a 5xx status, and never no answer."""
    expect_served_or_refused(INVOCATIONS, session, upstream, slice(None))


@pytest.mark.requirement(id="WIRE-014")
def test_refused_invocations_leave_nothing(sessions, upstream):
    """Invocations that are refused for one field leave nothing: the conversation goes on, and the session exports what
    it does, as without them."""
    expect_refusals_leave_nothing(INVOCATIONS, sessions, upstream)


SEARCHES = {"name": "web_search", "arguments": {"query": "weather"}}


@pytest.mark.requirement(id="WIRE-040")
@pytest.mark.parametrize(
    "hosted",
    [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        {"type": "web_search_20260209", "name": "web_search", "allowed_domains": ["example.org"]},
    ],
    ids=lambda hosted: hosted["type"],
)
def test_tool_of_the_provider_is_never_the_clients_to_run(session, upstream, streamed, hosted):
    """A tool of a message request that the provider runs is never asked of the client: no `tool_use` names it."""
    upstream.says("Hello", tool_calls=[SEARCHES])
    upstream.says("It is sunny.")

    reply = session.message("Hi", tools=[hosted], stream=streamed)

    expect(reply).status(200, *REFUSED)
    if reply.status == 200:
        expect([block.get("name") for block in reply.tool_calls]).equals([], "calls for the client")


@pytest.mark.requirement(id="WIRE-041")
def test_hosted_tool_is_never_the_clients_to_run(session, upstream, streamed):
    """A tool of a request for a response that the provider runs is never asked of the client: no `function_call` names
    it."""
    upstream.says("Hello", tool_calls=[SEARCHES])
    upstream.says("It is sunny.")

    reply = session.respond("Hi", tools=[{"type": "web_search"}], stream=streamed)

    expect(reply).status(200, *REFUSED)
    if reply.status == 200:
        expect([item.get("name") for item in reply.tool_calls]).equals([], "calls for the client")


@pytest.mark.requirement(id="WIRE-026")
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_unknown_part_of_a_chat_message_is_refused(session, upstream, role):
    """A content part of a chat message of a type that does not exist is refused, never left out."""
    upstream.says("Hello")
    hologram = {"type": "hologram", "hologram": {"url": "data:,hi"}}
    content = [{"type": "text", "text": "See this."}, hologram]

    reply = session.chat("Hi", {"role": role, "content": content}, "What is it?")

    expect(reply).is_refused()


@pytest.mark.requirement(id="WIRE-027")
def test_refusal_of_a_response_shows_nothing_of_the_inside(session, upstream):
    """No error answer to a request for a response contains a stack trace or a source path of the gateway."""
    expect_refusals_to_be_closed(RESPONSES, session, upstream)


@pytest.mark.requirement(id="WIRE-027")
@pytest.mark.parametrize("body", [b'{"choices": 7}', b"<html>busy</html>"], ids=["not a completion", "not JSON"])
def test_failure_of_a_response_shows_nothing_of_the_inside(session, upstream, body):
    """No error answer to a request for a response contains a stack trace or a source path of the gateway."""
    upstream.fails(status=200, body=body)

    expect(session.respond("Hi")).leaks_nothing()
