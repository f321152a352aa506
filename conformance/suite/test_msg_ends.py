"""Area MSG: how a message ended, and what becomes of a generation that did not."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.client.anthropic import as_tool
from conformance.client.http import at
from conformance.vocabulary.expect import FAILED, expect, together
from conformance.vocabulary.session import assistant, function
from conformance.vocabulary.stopped import STOPPED, WORD

LOOK = as_tool(function("look", q={"type": "string"}))
LOOKED = {"name": "look", "arguments": {"q": "a"}}


@pytest.mark.requirement(id="MSG-092")
@pytest.mark.parametrize("case", STOPPED, ids=str)
def test_text_ends_before_the_stop_sequence(session, upstream, streamed, case):
    """The text of a message ends before the first of the request's `stop_sequences` that the model writes; what only
    begins like one is shown."""
    upstream.says(case.text)

    reply = session.message("Hi", stop_sequences=list(case.stops), stream=streamed)

    expect(reply.text).equals(case.shown, "the text")


@pytest.mark.requirement(id="MSG-093")
@pytest.mark.parametrize("case", STOPPED, ids=str)
def test_stop_sequence_is_told(session, upstream, streamed, case):
    """`stop_reason` of a message that a stop sequence ended is `stop_sequence`, and `stop_sequence` is that
    sequence."""
    upstream.says(case.text)

    reply = session.message("Hi", stop_sequences=list(case.stops), stream=streamed)

    ending = [reply.finish_reason, at(reply.completion, "stop_sequence")]
    expect(ending).equals(["stop_sequence", case.matched], "stop_reason, stop_sequence")


@pytest.mark.requirement(id="MSG-094")
@pytest.mark.parametrize("calls", [1, 3])
def test_cut_behind_a_whole_call_is_max_tokens(session, upstream, streamed, calls):
    """A message that was cut for length behind a whole tool call has the `tool_use` block, and `stop_reason`
    `max_tokens`."""
    upstream.says("I look.", tool_calls=[LOOKED] * calls, finish="length")

    reply = session.message("Hi", tools=[LOOK], stream=streamed)

    together(
        lambda: expect(reply.finish_reason).equals("max_tokens", "stop_reason"),
        lambda: expect([at(block, "type") for block in reply.content].count("tool_use")).equals(
            calls, "the number of tool_use blocks"
        ),
    )


@pytest.mark.requirement(id="MSG-095")
def test_aborted_message_is_a_failure(session, upstream):
    """A message whose generation the upstream aborted is answered with a 5xx status and an error envelope."""
    upstream.says("Half of a", finish="abort")

    reply = session.message("Hi")

    expect(reply).status(*FAILED).has_anthropic_envelope()


@pytest.mark.requirement(id="MSG-096")
def test_too_many_messages_stay_429(session, upstream, streamed):
    """A message that the upstream refuses with status 429 is answered with status 429 and a `rate_limit_error`, with
    the upstream's `retry-after`."""
    upstream.fails(429, headers={"retry-after": "7"})

    reply = session.message("Hi", stream=streamed)

    expect(reply).status(429).has_anthropic_envelope().header("retry-after", "7")
    expect(at(reply.json(), "error", "type")).equals("rate_limit_error", "error.type")


@pytest.mark.requirement(id="MSG-097")
@pytest.mark.parametrize("status", [503, 529])
def test_overload_is_told(session, upstream, streamed, status):
    """A message that the upstream refuses with status 503 or 529 is answered with one of them and an
    `overloaded_error`, with the upstream's `retry-after`."""
    upstream.fails(status, headers={"retry-after": "7"})

    reply = session.message("Hi", stream=streamed)

    expect(reply).status(503, 529).has_anthropic_envelope().header("retry-after", "7")
    expect(at(reply.json(), "error", "type")).equals("overloaded_error", "error.type")


@pytest.mark.requirement(id="MSG-098")
def test_echo_of_a_stopped_message_continues_its_trajectory(session, upstream, streamed):
    """An answer that a stop sequence ended, echoed as it was shown, continues its trajectory, which has all ids that
    were sampled for it."""
    history: list[Any] = ["Hi"]
    for answer, more in ((WORD.text, "Go on"), ("Four END", "So?"), ("Five", "")):
        upstream.says(answer)
        reply = session.message(*history, stop_sequences=list(WORD.stops), stream=streamed)
        history += [assistant(reply.content), more]

    expect(session.trajectories()).count(1).are_verbatim(upstream).conserve(upstream)
