"""Area INV: how an invocation ended, and what becomes of a generation that did not."""

from __future__ import annotations

import pytest

from conformance.client.invocations import as_declared
from conformance.vocabulary.expect import FAILED, expect
from conformance.vocabulary.stopped import STOPPED


@pytest.mark.requirement(id="INV-060")
@pytest.mark.parametrize("case", STOPPED, ids=str)
def test_text_of_an_invocation_ends_before_the_stop_text(sessions, upstream, streamed, target, case):
    """The text of an invocation ends before the first of the session's stop texts that the model writes."""
    session = sessions.open(sampling_params={"stop": list(case.stops)})
    upstream.says(case.text)

    reply = as_declared(session.invoke("Hi", stream=streamed), target)

    expect(reply.text.split()).equals(case.shown.split(), "the words of the text")


@pytest.mark.requirement(id="INV-061")
def test_aborted_invocation_is_a_failure(session, upstream, streamed):
    """An invocation whose generation the upstream aborted fails: with a 5xx status, or in a stream with the error that
    ends it."""
    upstream.says("Half of a", finish="abort")

    reply = session.invoke("Hi", stream=streamed)

    if reply.status == 200:
        expect(reply.failure).differs_from(None, "the error that ends the stream")
    else:
        expect(reply).status(*FAILED).has_flat_error()


@pytest.mark.requirement(id="INV-062")
def test_too_many_invocations_stay_429(session, upstream):
    """An invocation that the upstream refuses with status 429 is answered with status 429, with the upstream's
    `retry-after`."""
    upstream.fails(429, headers={"retry-after": "7"})

    reply = session.invoke("Hi")

    expect(reply).status(429).header("retry-after", "7").has_flat_error()
