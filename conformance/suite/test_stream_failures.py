"""Area STREAM: streams that fail, and requests that are not to be streamed."""

from __future__ import annotations

import pytest

from conformance.client.http import NoAnswer
from conformance.vocabulary.expect import FAILED, expect
from conformance.vocabulary.outcome import NotTested
from conformance.vocabulary.session import ABSENT

NOT_MESSAGES = {"absent": ABSENT, "null": None, "empty": [], "text": "Hi", "numbers": [7]}


@pytest.mark.requirement(id="STREAM-017")
def test_refused_stream_is_a_status_and_json(session):
    """A streamed request that is refused for its content is answered with the error status and a JSON envelope, not
    with an event stream."""
    refused = []
    for messages in NOT_MESSAGES.values():
        if session.chat(messages=messages).status in (400, 422):
            refused.append(session.chat(stream=True, messages=messages))
    if not refused:
        raise NotTested("the gateway refuses none of the requests without messages")

    for reply in refused:
        expect(reply).is_refused().has_error_envelope()


@pytest.mark.requirement(id="STREAM-018")
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 503}, id="503"),
        pytest.param({"reset": True}, id="reset"),
    ],
)
def test_failure_before_the_stream_is_a_status_and_json(session, upstream, failure):
    """A streamed turn whose upstream fails before it has sent anything is answered with a 5xx status and a JSON
    envelope."""
    upstream.fails(**failure)

    reply = session.chat("Hi", stream=True)

    expect(reply).status(*FAILED).has_error_envelope()


@pytest.mark.requirement(id="STREAM-019")
def test_broken_stream_never_looks_complete(session, upstream):
    """A streamed turn whose upstream breaks off in the middle of its answer never looks complete: an error status, an
    `error` frame or a connection that breaks off, and no `[DONE]` after an error frame."""
    upstream.says("Hello, this is a longer answer, of which half is missing.", truncated=True)

    try:
        reply = session.chat("Hi", stream=True)
    except NoAnswer:
        return  # the client cannot take it for a complete answer

    if reply.status < 400:
        errors = [place for place, chunk in enumerate(reply.chunks) if "error" in chunk]
        expect(len(errors)).equals(1, "`error` frames")
        expect([event.data for event in reply.events]).lacks("[DONE]", "frames of a stream with an error")


@pytest.mark.requirement(id="STREAM-020")
@pytest.mark.parametrize("value", [False, None], ids=["false", "null"])
def test_stream_false_or_null_is_plain(session, upstream, value):
    """A request with `stream` false or null is answered with one plain JSON body."""
    upstream.says("Hello")

    reply = session.send({**session.body("Hi"), "stream": value})

    expect(reply).status(200).is_not_streamed()


@pytest.mark.requirement(id="STREAM-021")
@pytest.mark.parametrize("value", ["true", "no", "", 1, [], {}])
def test_stream_that_is_no_boolean_is_never_streamed(session, upstream, value):
    """A request whose `stream` is not a boolean (`"true"`, `"no"`, 1) is refused or answered plain, never streamed."""
    upstream.says("Hello")

    reply = session.send({**session.body("Hi"), "stream": value})

    expect(reply).status(200, 400, 422).is_not_streamed()


@pytest.mark.requirement(id="STREAM-022")
def test_stream_without_streaming_is_plain_or_refused(session, upstream):
    """A gateway without streaming answers `stream: true` with the complete plain JSON body or refuses it."""
    upstream.says("Hello")

    reply = session.chat("Hi", stream=True)

    expect(reply).status(200, 400, 422).is_not_streamed()
    if reply.status == 200:
        expect(reply.text).equals("Hello", "content")


@pytest.mark.requirement(id="STREAM-025")
def test_aborted_stream_never_looks_complete(session, upstream):
    """A streamed turn whose generation the upstream aborts never looks complete: an error status, or an `error` frame
    that is the last one."""
    upstream.says("Half of a longer answer", finish="abort")

    reply = session.chat("Hi", stream=True)

    if reply.status == 200:
        expect(reply).ends_with_error_frame()
    else:
        expect(reply).status(*FAILED).has_error_envelope()


BROKEN = {"text": "Hello, this is a longer answer, of which half is missing.", "truncated": True}


@pytest.mark.requirement(id="STREAM-024")
def test_stream_that_fails_half_way_ends_with_an_error_frame(session, upstream):
    """A stream whose upstream fails after the first text ends with an `error` frame, and nothing follows it."""
    upstream.says(**BROKEN)

    reply = session.chat("Hi", stream=True)

    expect(reply).ends_with_error_frame()
