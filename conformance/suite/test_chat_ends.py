"""Area CHAT: how an answer ended, and what becomes of a generation that did not."""

from __future__ import annotations

import pytest

from conformance.gateway import Capability
from conformance.vocabulary.expect import FAILED, expect, together
from conformance.vocabulary.session import assistant, function, results, tool_call
from conformance.vocabulary.stopped import STOPPED, WORD
from conformance.vocabulary.target import require_capability

LOOK = function("look", q={"type": "string"})
LOOKED = {"name": "look", "arguments": {"q": "a"}}


@pytest.mark.requirement(id="CHAT-060")
@pytest.mark.parametrize("case", STOPPED, ids=str)
def test_content_ends_before_the_stop_text(session, upstream, streamed, case):
    """`message.content` ends before the first of the request's `stop` texts that the model writes; what only begins
    like one is shown."""
    upstream.says(case.text)

    reply = session.chat("Hi", stop=list(case.stops), stream=streamed)

    expect(reply.text).equals(case.shown, "message.content")


ASKED = assistant(None, tool_calls=[tool_call("look")])


@pytest.mark.requirement(id="CHAT-060")
@pytest.mark.parametrize(
    "before",
    [
        pytest.param(["Hi", assistant("Hello"), "And?"], id="later turn"),
        pytest.param(["Hi", ASKED, *results(ASKED, "a cat")], id="tool result"),
    ],
)
def test_content_ends_before_the_stop_text_on_later_turns(session, upstream, target, streamed, before):
    """`message.content` ends before the first of the request's `stop` texts that the model writes; what only begins
    like one is shown."""
    if ASKED in before:
        require_capability(target, Capability.TOOLS)
    upstream.says(WORD.text)

    reply = session.chat(*before, stop=WORD.matched, stream=streamed)

    expect(reply.text).equals(WORD.shown, "message.content")


@pytest.mark.requirement(id="CHAT-061")
@pytest.mark.parametrize("calls", [1, 3])
def test_cut_behind_a_whole_call_is_length(session, upstream, streamed, calls):
    """An answer that was cut for length behind a whole tool call has the call, and `finish_reason` `length`."""
    upstream.says("I look.", tool_calls=[LOOKED] * calls, finish="length")

    reply = session.chat("Hi", tools=[LOOK], stream=streamed)

    together(
        lambda: expect(reply.finish_reason).equals("length", "finish_reason"),
        lambda: expect(len(reply.tool_calls)).equals(calls, "the number of tool calls"),
    )


@pytest.mark.requirement(id="CHAT-062")
@pytest.mark.parametrize("text", ["Half of a", ""], ids=["text", "nothing"])
def test_aborted_completion_is_a_failure(session, upstream, text):
    """A turn whose generation the upstream aborted is answered with a 5xx status and an error envelope."""
    upstream.says(text, finish="abort")

    reply = session.chat("Hi")

    expect(reply).status(*FAILED).has_error_envelope()


@pytest.mark.requirement(id="CHAT-063")
def test_aborted_generation_can_be_asked_for_again(session, upstream):
    """A turn whose generation the upstream aborted is answered with status 503 and a `retry-after` header."""
    upstream.says("Half of a", finish="abort")

    reply = session.chat("Hi")

    expect(reply).status(503)
    expect(reply.headers.get("retry-after")).differs_from(None, "header retry-after")


@pytest.mark.requirement(id="CHAT-064")
def test_too_many_completions_stay_429(session, upstream, streamed):
    """A turn that the upstream refuses with status 429 is answered with status 429, with the upstream's
    `retry-after`."""
    upstream.fails(429, headers={"retry-after": "7"})

    reply = session.chat("Hi", stream=streamed)

    expect(reply).is_openai_error(429).header("retry-after", "7")


@pytest.mark.requirement(id="CHAT-065")
def test_unavailable_stays_503(session, upstream, streamed):
    """A turn that the upstream refuses with status 503 is answered with status 503, with the upstream's
    `retry-after`."""
    upstream.fails(503, headers={"retry-after": "7"})

    reply = session.chat("Hi", stream=streamed)

    expect(reply).is_openai_error(503).header("retry-after", "7")
