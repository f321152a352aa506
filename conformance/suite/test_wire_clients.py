"""Area WIRE: what clients bring along and do, on each wire: keys, hanging up, and a taste for compressed answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from conformance.client.invocations import as_declared
from conformance.upstream.ledger import ABORTED
from conformance.vocabulary.bodies import as_sent, with_headers
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect, fail
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.refusals import CHAT, INVOCATIONS, MESSAGES, RESPONSES
from conformance.vocabulary.session import ABSENT

KEYS = {
    "none": lambda session, other: ABSENT,
    "wrong": lambda session, other: "sk-0123456789abcdef",
    "anothers": lambda session, other: other.key,
    "id": lambda session, other: session.id,
    "made-of-id": lambda session, other: f"sk-{hashlib.sha256(session.id.encode()).hexdigest()}",
}
"""Keys that are not the session's; `other` is another session."""
FOREIGN = pytest.mark.parametrize("key", KEYS)


def expect_own_key(wire, sessions, upstream, name):
    """A right request with that key is refused and makes no call, and the same one with the session's key is served."""
    session = sessions.open()
    key = KEYS[name](session, sessions.open())
    if key == session.key:
        raise NotApplicable("all sessions have one key")
    presented = {"authorization": key if key is ABSENT else f"Bearer {key}"}
    if wire is MESSAGES:
        presented = {"authorization": ABSENT, "x-api-key": key}
    upstream.says("Hello")
    body = wire.right(session)

    reply = wire.send(session, body, **with_headers(wire, presented))

    wire.envelope(expect(reply).status(401, 403))
    expect(len(upstream.calls)).equals(0, "upstream calls")
    expect(wire.send(session, body)).status(200)
    expect(len(upstream.calls)).equals(1, "upstream calls for the request with the session's key")


def expect_call_to_end(wire, session, upstream, target, streamed):
    """A client that hangs up is noticed by the upstream."""
    if target.declares("idempotent_retry", "true"):
        raise NotApplicable("a retry may want the answer that the client no longer waits for")
    upstream.holds("A carp")
    content = json.dumps({**wire.right(session), "stream": streamed}).encode()
    with session.connect(wire.url(session)) as request:
        request.begin("", content_length=str(len(content))).write(content)
        Conversation(session, upstream).reach_upstream(1)

        request.hang_up()

    try:
        upstream.wait_for_calls(1, session.time_left, outcome=ABORTED)
    except TimeoutError as error:
        fail("the upstream", "a call that the gateway gave up", str(error))


def expect_whole(wire, session, upstream, target, streamed):
    """The answer for a client that takes compressed ones says what the model said."""
    upstream.says("Hello")
    body = {**wire.right(session), "stream": streamed}

    reply = wire.send(session, body, **with_headers(wire, {"accept-encoding": "gzip, deflate"}))

    expect(reply).status(200)
    decoded = type(reply)(replace(reply.exchange, chunks=[(reply.exchange.started, as_sent(reply))]))
    if wire is INVOCATIONS:
        as_declared(decoded, target)
    expect(decoded.text).equals("Hello", "the text of the answer")


@pytest.mark.requirement(id="WIRE-042")
@FOREIGN
def test_chat_needs_the_sessions_key(sessions, upstream, key):
    """A chat request without its session's key (none, a wrong one, another session's, the session's id or a digest of
    it) is refused with 401 or 403 in the OpenAI error envelope, and makes no upstream call."""
    expect_own_key(CHAT, sessions, upstream, key)


@pytest.mark.requirement(id="WIRE-043")
@FOREIGN
def test_message_needs_the_sessions_key(sessions, upstream, key):
    """A message request without its session's key (none, a wrong one, another session's, the session's id or a digest
    of it) is refused with 401 or 403 in the Anthropic error envelope, and makes no upstream call."""
    expect_own_key(MESSAGES, sessions, upstream, key)


@pytest.mark.requirement(id="WIRE-044")
@FOREIGN
def test_response_needs_the_sessions_key(sessions, upstream, key):
    """A request for a response without its session's key (none, a wrong one, another session's, the session's id or a
    digest of it) is refused with 401 or 403 in the OpenAI error envelope, and makes no upstream call."""
    expect_own_key(RESPONSES, sessions, upstream, key)


@pytest.mark.requirement(id="WIRE-045")
@FOREIGN
def test_invocation_needs_the_sessions_key(sessions, upstream, key):
    """An invocation without its session's key (none, a wrong one, another session's, the session's id or a digest of
    it) is refused with 401 or 403 and `{"error": text}`, and makes no upstream call."""
    expect_own_key(INVOCATIONS, sessions, upstream, key)


@pytest.mark.requirement(id="WIRE-046")
def test_hang_up_on_chat_ends_the_call_of_the_upstream(session, upstream, target, streamed):
    """A client that hangs up on a chat request, plain or streamed, ends the upstream's call, too."""
    expect_call_to_end(CHAT, session, upstream, target, streamed)


@pytest.mark.requirement(id="WIRE-047")
def test_hang_up_on_a_message_ends_the_call_of_the_upstream(session, upstream, target, streamed):
    """A client that hangs up on a message request, plain or streamed, ends the upstream's call, too."""
    expect_call_to_end(MESSAGES, session, upstream, target, streamed)


@pytest.mark.requirement(id="WIRE-048")
def test_hang_up_on_a_response_ends_the_call_of_the_upstream(session, upstream, target, streamed):
    """A client that hangs up on a request for a response, plain or streamed, ends the upstream's call, too."""
    expect_call_to_end(RESPONSES, session, upstream, target, streamed)


@pytest.mark.requirement(id="WIRE-049")
def test_message_for_a_client_that_takes_compressed_answers(session, upstream, target, streamed):
    """The answer to a message request, plain or streamed, for a client that accepts gzip and deflate is whole: as it
    is, or encoded as its `content-encoding` says."""
    expect_whole(MESSAGES, session, upstream, target, streamed)


@pytest.mark.requirement(id="WIRE-050")
def test_response_for_a_client_that_takes_compressed_answers(session, upstream, target, streamed):
    """A response, plain or streamed, for a client that accepts gzip and deflate is whole: as it is, or encoded as its
    `content-encoding` says."""
    expect_whole(RESPONSES, session, upstream, target, streamed)


@pytest.mark.requirement(id="WIRE-051")
def test_invocation_for_a_client_that_takes_compressed_answers(session, upstream, target, streamed):
    """The answer to an invocation, plain or streamed, for a client that accepts gzip and deflate is whole: as it is, or
    encoded as its `content-encoding` says."""
    expect_whole(INVOCATIONS, session, upstream, target, streamed)


@pytest.mark.requirement(id="WIRE-052")
def test_completion_for_a_client_that_takes_compressed_answers(session, upstream, target):
    """A chat completion that is not streamed, for a client that accepts gzip and deflate, is whole: as it is, or
    encoded as its `content-encoding` says."""
    expect_whole(CHAT, session, upstream, target, False)
