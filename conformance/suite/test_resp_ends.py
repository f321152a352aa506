"""Area RESP: how a response ended, and what becomes of a generation that did not."""

from __future__ import annotations

import pytest

from conformance.client.responses import flat
from conformance.vocabulary.expect import FAILED, expect, together
from conformance.vocabulary.session import function
from conformance.vocabulary.stopped import STOPPED

LOOK = flat(function("look", q={"type": "string"}))
LOOKED = {"name": "look", "arguments": {"q": "a"}}


@pytest.mark.requirement(id="RESP-074")
@pytest.mark.parametrize("case", STOPPED, ids=str)
def test_text_of_a_response_ends_before_the_stop_text(sessions, upstream, streamed, case):
    """The text of a response ends before the first of the session's stop texts that the model writes."""
    session = sessions.open(sampling_params={"stop": list(case.stops)})
    upstream.says(case.text)

    reply = session.respond("Hi", stream=streamed)

    expect(reply.text).equals(case.shown, "the text")


@pytest.mark.requirement(id="RESP-075")
@pytest.mark.parametrize("calls", [1, 3])
def test_cut_behind_a_whole_call_is_incomplete(session, upstream, streamed, calls):
    """A response that was cut for length behind a whole function call has the call, and the `status` `incomplete`."""
    upstream.says("I look.", tool_calls=[LOOKED] * calls, finish="length")

    reply = session.respond("Hi", tools=[LOOK], stream=streamed)

    together(
        lambda: expect(reply.finish_reason).equals("incomplete", "status"),
        lambda: expect(len(reply.tool_calls)).equals(calls, "the number of function calls"),
    )


@pytest.mark.requirement(id="RESP-076")
def test_aborted_response_is_a_failure(session, upstream, streamed):
    """A response whose generation the upstream aborted is answered with a 5xx status and an error envelope, or has the
    `status` `failed`."""
    upstream.says("Half of a", finish="abort")

    reply = session.respond("Hi", stream=streamed)

    if reply.status == 200:
        expect(reply.finish_reason).equals("failed", "status")
    else:
        expect(reply).status(*FAILED).has_error_envelope()


@pytest.mark.requirement(id="RESP-077")
def test_too_many_responses_stay_429(session, upstream, streamed):
    """A response that the upstream refuses with status 429 is answered with status 429, with the upstream's
    `retry-after`."""
    upstream.fails(429, headers={"retry-after": "7"})

    reply = session.respond("Hi", stream=streamed)

    expect(reply).status(429).has_error_envelope().header("retry-after", "7")
