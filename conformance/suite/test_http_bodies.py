"""Area HTTP: bodies as clients send them, compressed and labelled in their ways, and answers that may be compressed."""

from __future__ import annotations

import json

import pytest

from conformance.client.http import at
from conformance.oracles import chat, sse
from conformance.vocabulary.bodies import (
    CODINGS,
    FALSE,
    as_sent,
    expect_coded_body,
    expect_coding_named,
    expect_false_coding,
    inflated,
)
from conformance.vocabulary.expect import REFUSED, expect
from conformance.vocabulary.refusals import CHAT, INVOCATIONS

REDIRECTED = (301, 302, 303)
"""Statuses after which clients ask with GET and without the body."""


@pytest.mark.requirement(id="HTTP-040")
@pytest.mark.parametrize("coding", CODINGS)
def test_encoded_chat_request_is_served_or_unsupported(session, upstream, coding):
    """A chat request whose body is encoded as its `content-encoding` says is served as the request that it is, or
    refused with 415."""
    expect_coded_body(CHAT, session, upstream, coding)


@pytest.mark.requirement(id="HTTP-041")
@pytest.mark.parametrize("case", FALSE)
def test_chat_request_that_is_not_encoded_as_it_says_is_refused(session, upstream, case):
    """A chat request whose body is not what its `content-encoding` says, or in a coding that is not known, is refused
    with 400, 415 or 422, and makes no call."""
    expect_false_coding(CHAT, session, upstream, case)


@pytest.mark.requirement(id="HTTP-042")
@pytest.mark.parametrize("case", FALSE)
def test_refusal_of_a_coding_leads_to_it(session, upstream, case):
    """The refusal of a body for its `content-encoding` names the header or the coding, or is a 415 with
    `accept-encoding`."""
    expect_coding_named(CHAT, session, upstream, case)


@pytest.mark.requirement(id="HTTP-043")
def test_small_body_that_becomes_64_megabytes(session, upstream):
    """A body of 64 KB that decodes to 64 MB is served or refused with a 4xx status, and the next request is served."""
    upstream.says("Hello")
    upstream.says("Hello again")
    content = inflated(json.dumps(session.body("Hi")).encode(), 64)

    reply = session.send(content=content, headers={"content-encoding": "gzip"})

    expect(reply).status(200, *REFUSED)
    expect(session.chat("Are you there?")).status(200)


@pytest.mark.requirement(id="HTTP-044")
@pytest.mark.parametrize(
    "content_type",
    ["Application/JSON", "application/json;charset=UTF-8", 'application/json ; charset="utf-8"'],
    ids=["case", "parameter", "quoted"],
)
def test_json_is_json_however_it_is_written(session, upstream, content_type):
    """A body labelled as `application/json` in any case, and with a parameter, is served."""
    upstream.says("Hello")

    reply = session.send(session.body("Hi"), headers={"content-type": content_type})

    expect(reply).status(200)


@pytest.mark.requirement(id="HTTP-045")
def test_slash_behind_the_route(session, upstream):
    """A request to the route of chat completions with a slash behind it is served, refused with 404 or 405, or sent on
    by 307 or 308: never by a redirect that loses the body."""
    upstream.says("Hello")

    reply = session.send(session.body("Hi"), path="/chat/completions/")

    expect(reply.status).satisfies(
        lambda status: status < 500 and status not in REDIRECTED, "200, 307, 308 or 4xx", "status"
    )


@pytest.mark.requirement(id="HTTP-046")
def test_stream_for_a_client_that_takes_compressed_answers(session, upstream):
    """A stream for a client that accepts gzip and deflate is whole: as it is, or encoded as its `content-encoding`
    says."""
    upstream.says("Hello")
    body = session.body("Hi", stream=True)

    reply = session.send(body, headers={"accept-encoding": "gzip, deflate"})

    expect(reply).status(200)
    whole = chat.assemble(sse.parse(as_sent(reply)))
    expect(at(whole, "choices", 0, "message", "content")).equals("Hello", "content of the stream")


@pytest.mark.requirement(id="HTTP-047")
@pytest.mark.parametrize("coding", CODINGS)
def test_encoded_invocation_is_served_or_unsupported(session, upstream, coding):
    """An invocation whose body is encoded as its `content-encoding` says is served as the request that it is, or
    refused with 415."""
    expect_coded_body(INVOCATIONS, session, upstream, coding)


@pytest.mark.requirement(id="HTTP-048")
@pytest.mark.parametrize("case", FALSE)
def test_invocation_that_is_not_encoded_as_it_says_is_refused(session, upstream, case):
    """An invocation whose body is not what its `content-encoding` says, or in a coding that is not known, is refused
    with 400, 415 or 422, and makes no call."""
    expect_false_coding(INVOCATIONS, session, upstream, case)
