"""Area INV: answers that are streamed."""

from __future__ import annotations

import pytest

from conformance.client.invocations import as_declared, is_about_an_end
from conformance.oracles import invocations
from conformance.vocabulary.expect import FAILED, expect, fail

LINES = {
    "lf": "one\ntwo",
    "crlf": "one\r\ntwo",
    "cr": "one\rtwo",
    "empty-line": "one\n\ntwo",
    "leading-space": " one\n  two",
    "last-lf": "one\n",
    "last-crlf": "one\r\n",
    "two-last-lf": "one\n\n",
    "only-lf": "\n",
    "first-lf": "\none",
    "separators": "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei",
}
EVENTS = "event: error\ndata: x\nid: 7\nretry: 1\n: ping\n\nevent: error"


@pytest.mark.requirement(id="INV-026")
def test_streamed_invocation_is_an_event_stream(session, upstream):
    """A streamed invocation is answered with status 200 and content type `text/event-stream`."""
    upstream.says("Hello")

    reply = session.invoke("Hi", stream=True)

    expect(reply).is_event_stream()


@pytest.mark.requirement(id="INV-027")
def test_streamed_invocation_is_not_buffered(session, upstream):
    """A streamed invocation is answered with `cache-control: no-cache` and `x-accel-buffering: no`."""
    upstream.says("Hello")

    reply = session.invoke("Hi", stream=True)

    expect(reply).header("cache-control", "no-cache").header("x-accel-buffering", "no")


@pytest.mark.requirement(id="INV-028")
@pytest.mark.parametrize("lines", ["lf", "empty-line", "crlf", "cr"])
def test_each_line_of_a_chunk_is_a_data_line(session, upstream, target, lines):
    """Each line of a streamed chunk, an empty one included, stands behind `data: ` of its own, a blank line ends the
    frame, and no CR stands in it."""
    upstream.says(LINES[lines])

    reply = as_declared(session.invoke("Hi", stream=True), target)

    wrong = [violation for violation in invocations.frames(reply.body, reply.encoded) if not is_about_an_end(violation)]
    expect(reply).status(200).has_none_of(wrong)


@pytest.mark.requirement(id="INV-029")
def test_streamed_invocation_ends_with_done(session, upstream):
    """A streamed invocation that succeeds ends with exactly one `data: [DONE]`, and nothing follows it."""
    upstream.says("Hello")

    reply = session.invoke("Hi", stream=True)

    expect(reply).ends_with_done()


@pytest.mark.requirement(id="INV-030")
@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
def test_streamed_text_comes_back_exactly(session, upstream, target, text):
    """A parser of event streams gets the model's text back exactly, with LF for CR and CRLF: line ends at its end and
    characters that end no line on the wire included."""
    upstream.says(text)

    reply = as_declared(session.invoke("Hi", stream=True), target)

    wanted = text if reply.encoded else text.replace("\r\n", "\n").replace("\r", "\n")
    expect(reply.text).equals(wanted, "the text of all chunks")


@pytest.mark.requirement(id="INV-031")
@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
def test_split_lines_come_back(session, upstream, text):
    """A gateway that splits chunks as `str.splitlines()` gives the lines of the model's text back, each as it was."""
    upstream.says(text)

    reply = session.invoke("Hi", stream=True)

    expect(reply.text.split("\n")).equals(text.splitlines(), "the lines of all chunks")


@pytest.mark.requirement(id="INV-032")
def test_stream_without_text_is_done_only(session, upstream):
    """A streamed invocation whose model says nothing is `data: [DONE]` and no more."""
    upstream.says("")

    reply = session.invoke("Hi", stream=True)

    expect([event.data for event in reply.events]).equals(["[DONE]"], "the data of all frames")
    expect(reply.body.count(b"data:")).equals(1, "`data:` lines")


@pytest.mark.requirement(id="INV-033")
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 503}, id="503"),
        pytest.param({"reset": True}, id="reset"),
    ],
)
def test_failed_stream_ends_with_an_error(session, upstream, failure):
    """A streamed invocation whose upstream fails ends with one frame `event: error`, or is answered with an error
    status and JSON, and never has a `[DONE]`."""
    upstream.fails(**failure)

    reply = session.invoke("Hi", stream=True)

    expect(b"[DONE]" in reply.body).equals(False, "whether the stream claims to be complete")
    if not reply.is_stream:
        expect(reply).status(*FAILED).is_json()
        return
    errors = [place for place, event in enumerate(reply.events, 1) if event.event == "error"]
    if errors != [len(reply.events)]:
        fail("the stream", "one frame `event: error`, the last", reply.body)


@pytest.mark.requirement(id="INV-034")
def test_error_of_a_stream_leaks_nothing(session, upstream):
    """The message of an error in a stream has no stack trace and no path of a source file in it."""
    upstream.fails()

    reply = session.invoke("Hi", stream=True)

    expect(reply).leaks_nothing()


@pytest.mark.requirement(id="INV-035")
def test_text_that_looks_like_an_event_is_text(session, upstream, target):
    """Text that looks like an event (`event: error`, `id: 7`, `data: x`, `: ping`) is sent as text and changes nothing
    of the stream."""
    upstream.says(EVENTS)

    reply = as_declared(session.invoke("Hi", stream=True), target)

    expect(reply.text).equals(EVENTS, "the text of all chunks")


@pytest.mark.requirement(id="INV-036")
@pytest.mark.parametrize("text", ["before\n[DONE]\nafter", "[DONE]\nafter"], ids=["inside", "first"])
def test_line_that_says_done_ends_nothing(session, upstream, target, text):
    """Text that has the line `[DONE]` among others does not end the stream."""
    upstream.says(text)

    reply = as_declared(session.invoke("Hi", stream=True), target)

    expect(reply.text).equals(text, "the text of all chunks")


@pytest.mark.requirement(id="INV-037")
def test_encoded_done_is_text(session, upstream, target):
    """A gateway whose frames are JSON strings sends a model's `[DONE]` as text, apart from the end of the stream."""
    upstream.says("[DONE]")

    reply = as_declared(session.invoke("Hi", stream=True), target)

    expect(reply.text).equals("[DONE]", "the text of all chunks")
    expect(reply).ends_with_done()


@pytest.mark.requirement(id="INV-039")
@pytest.mark.parametrize(
    ("value", "streams"), [("no", True), (1, True), ([0], True), (0, False), ("", False), ([], False)], ids=repr
)
def test_truthy_stream_streams(session, upstream, value, streams):
    """A gateway with a truthy `stream` streams for every value but `false`, 0, `""`, null and empty containers."""
    upstream.says("Hello")

    reply = session.send_invocation({**session.invocation("Hi"), "stream": value})

    expect(reply).status(200)
    expect(reply.is_stream).equals(streams, "whether it is streamed")


@pytest.mark.requirement(id="INV-040")
@pytest.mark.parametrize(
    ("flag", "streams"),
    [({"stream": True}, True), ({"stream": False}, False), ({"stream": None}, False), ({}, False)],
    ids=["true", "false", "null", "absent"],
)
def test_stream_flag_decides_the_framing(session, upstream, flag, streams):
    """`stream: true` streams, and `false`, null or no `stream` does not."""
    upstream.says("Hello")

    reply = session.send_invocation({**session.invocation("Hi"), **flag})

    expect(reply).status(200)
    expect(reply.is_stream).equals(streams, "whether it is streamed")
