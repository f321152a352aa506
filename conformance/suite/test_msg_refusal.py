"""Area MSG: what a message request is refused for, and in which envelope."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.client.anthropic import as_tool, text, tool_result, tool_use
from conformance.vocabulary.expect import FAILED, expect
from conformance.vocabulary.outcome import NotApplicable, NotTested
from conformance.vocabulary.refusals import MESSAGES, expect_refusals_to_be_closed
from conformance.vocabulary.session import ABSENT, assistant, function, user

SEARCH = as_tool(function("search", q={"type": "string"}))
USED = assistant([tool_use("search", {"q": "weather"})])
RETRIED = (408, 409, 429)
NOT_MESSAGES: dict[str, dict[str, Any]] = {
    "not-json": {"content": b"{"},
    "not-an-object": {"body": ["Hi"]},
    "no-messages": {"body": {"model": "kit", "max_tokens": 512}},
    "no-such-messages": {"body": {"model": "kit", "max_tokens": 512, "messages": "Hi"}},
}
"""Requests that every gateway has a reason to refuse."""


def refusals_of_messages(session, **fields):
    """The answers to these, as far as they were refused: there is at least one."""
    answers = []
    for request in NOT_MESSAGES.values():
        body = request.get("body")
        changed = {**request, "body": {**body, **fields}} if isinstance(body, dict) else request
        answers.append(session.send_message(**changed))
    refused = [answer for answer in answers if answer.status in (400, 422)]
    if not refused:
        raise NotTested("the gateway refuses none of the requests that are not message requests")
    return refused


def expect_closed(reply):
    """An error answer that shows nothing of the gateway's inside."""
    if reply.status < 400:
        raise NotTested("the answer is no error")
    expect(reply).leaks_nothing()


@pytest.mark.requirement(id="MSG-041")
@pytest.mark.parametrize("messages", [ABSENT, None, [], {}, "Hi", 7], ids=repr)
def test_message_request_without_messages_is_refused(session, upstream, messages):
    """A message request whose `messages` is missing, not a list or empty is refused."""
    upstream.says("Hello")
    body = {"model": "kit", "max_tokens": 512, "messages": messages}

    reply = session.send_message({name: value for name, value in body.items() if value is not ABSENT})

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-042")
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(None, id="null"),
        pytest.param("Hi", id="text"),
        pytest.param({"content": "Hi"}, id="no role"),
        pytest.param({"role": "narrator", "content": "Hi"}, id="another role"),
        pytest.param({"role": "user"}, id="no content"),
        pytest.param({"role": "user", "content": 7}, id="content of 7"),
        pytest.param({"role": "user", "content": [7]}, id="block of 7"),
        pytest.param({"role": "user", "content": [{"text": "Hi"}]}, id="block without type"),
        pytest.param({"role": "user", "content": [{"type": "text", "text": 7}]}, id="text of 7"),
    ],
)
def test_message_of_another_form_is_refused(session, upstream, message):
    """A request with a message that is no object, has another role than the API's, or content that is neither text nor
    content blocks, is refused."""
    upstream.says("Hello")

    reply = session.send_message({**session.message_body("Hi"), "messages": [*session.messages("Hi"), USED, message]})

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-043")
def test_user_message_without_blocks_is_refused(session, upstream):
    """A user message whose content is an empty list is refused."""
    upstream.says("Hello")

    reply = session.message("Hi", assistant("Hello"), user([]))

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-044")
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_unknown_block_is_refused(session, upstream, role):
    """A content block of a type that does not exist is refused, never left out."""
    upstream.says("Hello")
    hologram = {"type": "hologram", "source": {"type": "base64", "data": "aGk="}}

    reply = session.message("Hi", {"role": role, "content": [text("See this."), hologram]}, "What is it?")

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-045")
@pytest.mark.parametrize(
    ("role", "block"),
    [
        pytest.param("assistant", {"type": "tool_use", "name": "search", "input": {}}, id="use without id"),
        pytest.param("assistant", {"type": "tool_use", "id": "toolu_0", "input": {}}, id="use without name"),
        pytest.param("assistant", tool_use("search", "weather"), id="input of text"),
        pytest.param("assistant", tool_use("search", [1]), id="input of a list"),
        pytest.param("user", {"type": "tool_result", "content": "Nothing."}, id="result without id"),
        pytest.param("user", tool_result("Nothing.", ""), id="result with an empty id"),
        pytest.param("user", tool_result(7), id="result of 7"),
    ],
)
def test_malformed_tool_block_is_refused(session, upstream, role, block):
    """A `tool_use` without `id`, `name` or an object as `input`, and a `tool_result` without `tool_use_id` or with a
    number as content, is refused."""
    upstream.says("Hello")
    message = {"role": role, "content": [block]}
    history = [USED, message] if role == "user" else [message, user([tool_result("Nothing.")])]

    reply = session.message("Hi", *history, tools=[SEARCH])

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-046")
@pytest.mark.parametrize(
    "system", [7, True, {"text": "Hi"}, ["Hi", 7], [{"type": "image", "source": {}}]], ids=lambda value: str(value)
)
def test_malformed_system_is_refused(session, upstream, system):
    """A `system` that is neither text nor a list of text blocks is refused."""
    upstream.says("Hello")

    reply = session.message("Hi", system=system)

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-047")
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "search"}], ids=["any", "tool"])
def test_forced_tool_of_a_message_is_refused(session, upstream, choice):
    """A gateway without forced tool choice refuses a `tool_choice` of `any` or of a named tool."""
    upstream.says("Hello")

    reply = session.message("Hi", tools=[SEARCH], tool_choice=choice)

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-048")
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_bad_max_tokens_of_a_message_are_refused(session, upstream, value):
    """A message request whose `max_tokens` is no positive integer is refused and never reaches the upstream."""
    upstream.says("Hello")

    reply = session.message("Hi", max_tokens=value)

    expect(reply).is_refused()
    expect(len(upstream.calls)).equals(0, "upstream calls")


@pytest.mark.requirement(id="MSG-049")
@pytest.mark.parametrize(
    "tools",
    [
        pytest.param({}, id="object"),
        pytest.param("search", id="text"),
        pytest.param(["search"], id="list of text"),
        pytest.param([{"description": "No name."}], id="no name"),
        pytest.param([{"name": 7, "input_schema": {"type": "object"}}], id="name of 7"),
    ],
)
def test_malformed_tools_of_a_message_are_refused(session, upstream, tools):
    """A message request whose `tools` is no list, or has a tool without a name, is refused."""
    upstream.says("Hello")

    reply = session.message("Hi", tools=tools)

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-050")
@pytest.mark.parametrize("sequences", ["END", {"END": 1}, [7], 7], ids=repr)
def test_malformed_stop_sequences_are_refused(session, upstream, sequences):
    """A `stop_sequences` that is no list of strings is refused."""
    upstream.says("Hello")

    reply = session.message("Hi", stop_sequences=sequences)

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-051")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_refusal_of_a_message_has_the_envelope(session, stream):
    """A refused message request, streamed or not, is answered as `application/json` with `{"type": "error", "error":
    {"type", "message"}}`."""
    for refusal in refusals_of_messages(session, stream=stream):
        expect(refusal).has_anthropic_envelope()


@pytest.mark.requirement(id="MSG-052")
def test_error_type_of_a_refused_message(session):
    """`error.type` is `invalid_request_error` for a refused message request, and `api_error` or `overloaded_error` for
    a failure of the gateway or the upstream."""
    for refusal in refusals_of_messages(session):
        expect((refusal.error or {}).get("type")).equals("invalid_request_error", "error.type")


@pytest.mark.requirement(id="MSG-052")
def test_error_type_of_a_failed_message(session, upstream):
    """`error.type` is `invalid_request_error` for a refused message request, and `api_error` or `overloaded_error` for
    a failure of the gateway or the upstream."""
    upstream.fails(500)

    reply = session.message("Hi")

    expect((reply.error or {}).get("type")).is_one_of(["api_error", "overloaded_error"], "error.type")


@pytest.mark.requirement(id="MSG-053")
@pytest.mark.parametrize(
    "content", [b"", b"{", b"model=kit", b"[]", b'"Hi"', b"7", b"null"], ids=lambda content: content.decode() or "empty"
)
def test_body_that_is_no_message_request_is_refused(session, content):
    """A body on the messages route that is no JSON, or JSON but no object, is refused with status 400 or 422."""
    reply = session.send_message(content=content)

    expect(reply).is_refused()


@pytest.mark.requirement(id="MSG-054")
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 503}, id="503"),
        pytest.param({"reset": True}, id="reset"),
    ],
)
def test_failed_message_has_the_envelope(session, upstream, streamed, failure):
    """A message whose upstream fails before it has sent anything is answered, streamed or not, with a 5xx status and
    the Anthropic error envelope."""
    upstream.fails(**failure)

    reply = session.message("Hi", stream=streamed)

    expect(reply).status(*FAILED).has_anthropic_envelope()


@pytest.mark.requirement(id="MSG-055")
def test_message_that_the_upstream_refuses_is_not_to_be_retried(session, upstream):
    """A message that the upstream refuses with status 400 is answered with a 4xx status that clients do not retry."""
    upstream.fails(400, "This model's maximum context length is 8 tokens.")

    reply = session.message("Hi")

    expect(reply.status).satisfies(
        lambda status: 400 <= status < 500 and status not in RETRIED, "4xx, not 408, 409 or 429", "status"
    )


@pytest.mark.requirement(id="MSG-056")
def test_message_to_an_unknown_session_is_404(sessions):
    """A message to a session that does not exist is answered with status 404, or refused for its key with 401 or 403,
    in the Anthropic error envelope."""
    reply = sessions.unknown().message("Hi")

    expect(reply).status(404, 401, 403).has_anthropic_envelope()


@pytest.mark.requirement(id="MSG-057")
def test_unknown_session_is_a_not_found_error(sessions):
    """`error.type` is `not_found_error` for a message to a session that does not exist."""
    reply = sessions.unknown().message("Hi")
    if reply.status in (401, 403):
        raise NotApplicable("the key of a session that does not exist is refused first")

    expect((reply.error or {}).get("type")).equals("not_found_error", "error.type")


@pytest.mark.requirement(id="MSG-058")
def test_message_to_a_completed_session_is_refused(session, upstream):
    """A message to a session that was completed is refused with a 4xx status and the Anthropic error envelope."""
    upstream.says("Hello")
    session.message("Hi")
    session.complete()

    reply = session.message("Are you there?")

    expect(reply).status(404, 409, 410).has_anthropic_envelope()


@pytest.mark.requirement(id="MSG-059")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/v1/messages", id="get"),
        pytest.param("POST", "/v1/messages/no_such_route", id="below"),
        pytest.param("GET", "/v1/messages/batches", id="batches"),
    ],
)
def test_unknown_message_route_has_the_envelope(session, method, path):
    """A path below the messages route that does not exist, and a method that it does not take, is answered with status
    404 or 405 and the Anthropic error envelope."""
    reply = session.send_message({} if method == "POST" else None, method=method, path=path)

    expect(reply).status(404, 405).has_anthropic_envelope()


@pytest.mark.requirement(id="MSG-060")
@pytest.mark.parametrize("name", NOT_MESSAGES)
def test_refusal_of_a_message_shows_nothing_of_the_inside(session, name):
    """No error answer to a message contains a stack trace or a source path of the gateway."""
    expect_closed(session.send_message(**NOT_MESSAGES[name]))


@pytest.mark.requirement(id="MSG-060")
def test_refusal_of_a_message_for_a_field_shows_nothing_of_the_inside(session, upstream):
    """No error answer to a message contains a stack trace or a source path of the gateway."""
    expect_refusals_to_be_closed(MESSAGES, session, upstream)


@pytest.mark.requirement(id="MSG-060")
@pytest.mark.parametrize("body", [b'{"choices": 7}', b"<html>busy</html>"], ids=["not a completion", "not JSON"])
def test_failure_of_a_message_shows_nothing_of_the_inside(session, upstream, body):
    """No error answer to a message contains a stack trace or a source path of the gateway."""
    upstream.fails(status=200, body=body)

    expect_closed(session.message("Hi"))


@pytest.mark.requirement(id="MSG-066")
@pytest.mark.parametrize("value", [False, None, "true", 1], ids=json.dumps)
def test_message_that_is_not_to_be_streamed_is_plain(session, upstream, value):
    """A message request whose `stream` is anything but true is answered with one plain JSON body, or refused."""
    upstream.says("Hello")

    reply = session.send_message({**session.message_body("Hi"), "stream": value})

    expect(reply).status(200, 400, 422).is_not_streamed()
