"""Area MSG: a message as server-sent events."""

from __future__ import annotations

import re

import pytest

from conformance.client.anthropic import as_tool
from conformance.client.http import NoAnswer, at
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import function

SEARCH = as_tool(function("search", q={"type": "string"}))
CALLS = [
    {"name": "search", "arguments": {"q": "wind in Bergen"}},
    {"name": "search", "arguments": {"q": "tide in Bergen"}},
]
GENERATIONS = pytest.mark.parametrize(
    "generation",
    [
        pytest.param({"text": "Hello"}, id="text"),
        pytest.param({"text": ""}, id="empty"),
        pytest.param({"text": "Hel", "finish": "length"}, id="length"),
    ],
)
GRAMMAR = re.compile(
    r"message_start( content_block_start( content_block_delta)* content_block_stop)*( message_delta)+ message_stop"
)


def parts(stream, *types):
    """The JSON objects of the stream's events with one of these types (none given: of all but pings), in order."""
    documents = [document for document in stream.chunks if document.get("type") != "ping"]
    return [document for document in documents if document.get("type") in types] if types else documents


def deltas(stream):
    """The deltas of the content blocks, as far as they are objects."""
    values = [document.get("delta") for document in parts(stream, "content_block_delta")]
    return [delta for delta in values if isinstance(delta, dict)]


@pytest.mark.requirement(id="MSG-067")
def test_streamed_message_is_an_event_stream(session, upstream):
    """A streamed message is answered with status 200 and content type `text/event-stream`."""
    upstream.says("Hello")

    stream = session.message("Hi", stream=True)

    expect(stream).is_event_stream()


@pytest.mark.requirement(id="MSG-068")
@GENERATIONS
def test_every_event_is_named_by_its_type(session, upstream, generation):
    """Every frame of a streamed message has an `event:` line with the `type` of its JSON."""
    upstream.says(**generation)

    stream = session.message("Hi", stream=True)

    named = [event.event for event in stream.events if event.data.startswith("{")]
    expect(named).equals([document.get("type") for document in stream.chunks], "the names of the events")


@pytest.mark.requirement(id="MSG-069")
@GENERATIONS
def test_events_of_a_message_come_in_order(session, upstream, generation):
    """A streamed message is `message_start`, for each block `content_block_start`, its deltas and `content_block_stop`,
    then `message_delta` and `message_stop`."""
    upstream.says(**generation)

    stream = session.message("Hi", stream=True)

    types = " ".join(str(document.get("type")) for document in parts(stream))
    expect(types).satisfies(lambda types: GRAMMAR.match(types) is not None, "the events in that order", "the events")


@pytest.mark.requirement(id="MSG-070")
def test_blocks_of_a_stream_are_counted_from_0(session, upstream):
    """The content blocks of a streamed message have the indexes 0, 1, 2 ..., and what belongs to a block has its
    index."""
    upstream.says("I will look that up.", tool_calls=CALLS)

    stream = session.message("Hi", stream=True, tools=[SEARCH])

    starts = [document.get("index") for document in parts(stream, "content_block_start")]
    stops = [document.get("index") for document in parts(stream, "content_block_stop")]
    expect(starts).equals(list(range(len(starts))), "the indexes with which blocks start")
    expect(stops).equals(starts, "the indexes with which blocks stop")
    place = None
    for document in parts(stream, "content_block_start", "content_block_delta"):
        place = document.get("index") if document["type"] == "content_block_start" else place
        expect(document.get("index")).equals(place, "the index of a delta")


@pytest.mark.requirement(id="MSG-071")
@GENERATIONS
def test_message_start_has_an_empty_message(session, upstream, generation):
    """`message_start` carries the message with its `id`, `role` and `model`, an empty list as `content` and null as
    `stop_reason`."""
    upstream.says(**generation)

    stream = session.message("Hi", stream=True)

    message = at(parts(stream, "message_start"), 0, "message", kind=dict)
    expect([name for name in ("id", "role", "model") if not message.get(name)]).equals([], "what is missing in it")
    fields = {name: message.get(name, "absent") for name in ("content", "stop_reason")}
    expect(fields).equals({"content": [], "stop_reason": None}, "content and stop_reason of message_start")


@pytest.mark.requirement(id="MSG-072")
@GENERATIONS
def test_message_stop_is_the_end(session, upstream, generation):
    """A completed stream ends with exactly one `message_stop`; nothing follows it, and there is no `[DONE]`."""
    upstream.says(**generation)

    stream = session.message("Hi", stream=True)

    ends = [event.data for event in stream.events if event.event == "message_stop" or "message_stop" in event.data]
    expect(len(ends)).equals(1, "message_stop events")
    expect(stream.events[-1].data).equals(ends[0], "the last event")
    expect([event.data for event in stream.events]).lacks("[DONE]", "the events")


@pytest.mark.requirement(id="MSG-073")
@GENERATIONS
def test_streamed_message_says_what_the_plain_one_says(sessions, upstream, generation):
    """The content and `stop_reason` of a streamed message are those of the plain message for the same generation."""
    upstream.says(**generation)
    upstream.says(**generation)

    plain = sessions.open().message("Hi")
    stream = sessions.open().message("Hi", stream=True)

    expect(stream.text).equals(plain.text, "the text of the blocks")
    expect(stream.finish_reason).equals(plain.finish_reason, "stop_reason")


@pytest.mark.requirement(id="MSG-074")
@GENERATIONS
def test_usage_of_a_streamed_message_is_that_of_the_plain_one(sessions, upstream, generation):
    """The usage of `message_start` and `message_delta` together is that of the plain message, and `message_delta` has
    the `output_tokens`."""
    upstream.says(**generation)
    upstream.says(**generation)

    plain = sessions.open().message("Hi")
    stream = sessions.open().message("Hi", stream=True)

    start = at(parts(stream, "message_start"), 0, "message", "usage", "input_tokens")
    end = at(parts(stream, "message_delta"), -1, "usage", "output_tokens")
    expected = [at(plain.usage, "input_tokens"), at(plain.usage, "output_tokens")]
    expect([start, end]).equals(expected, "input_tokens of the start, output_tokens of the end")


@pytest.mark.requirement(id="MSG-075")
def test_streamed_tool_use_starts_empty(session, upstream):
    """A streamed `tool_use` block starts with its `id`, its `name` and an empty `input`."""
    upstream.says(tool_calls=CALLS)

    stream = session.message("Hi", stream=True, tools=[SEARCH])

    blocks = [at(document, "content_block", kind=dict) for document in parts(stream, "content_block_start")]
    starts = [(bool(block.get("id")), block.get("name"), block.get("input")) for block in blocks if "name" in block]
    expect(starts).equals([(True, "search", {})] * 2, "id, name and input with which the calls start")


@pytest.mark.requirement(id="MSG-076")
def test_input_of_a_streamed_call_comes_in_pieces_of_json(session, upstream):
    """The `input_json_delta` pieces of a streamed `tool_use` block, put together, are its arguments as JSON, once."""
    upstream.says(tool_calls=CALLS)

    stream = session.message("Hi", stream=True, tools=[SEARCH])

    inputs = [at(block, "input") for block in stream.tool_calls]
    expect(inputs).equals([call["arguments"] for call in CALLS], "the pieces, put together")


@pytest.mark.requirement(id="MSG-077")
@pytest.mark.parametrize(
    "sampled",
    [
        pytest.param("one\ntwo\r\nthree\rfour\n\nfive", id="line-ends"),
        pytest.param("one\u2028two\u2029three\u0085four", id="separators"),
        pytest.param("one\n\nevent: message_stop\ndata: {}\n\ntwo", id="an-event"),
    ],
)
def test_text_stays_inside_its_event(session, upstream, sampled):
    """Text that contains line ends, U+2028, U+0085 or what looks like an event stays inside the JSON of its event and
    arrives unchanged."""
    upstream.says(sampled)

    stream = session.message("Hi", stream=True)

    expect(stream.text).equals(sampled, "the text of the blocks")


@pytest.mark.requirement(id="MSG-078")
@pytest.mark.parametrize("sampled", ["🪿", "na\u00efve \u65e5\u672c\u8a9e 🪿."])
def test_no_delta_has_part_of_a_character(session, upstream, sampled):
    """No delta of a streamed message carries part of a character."""
    upstream.says(sampled)

    stream = session.message("Hi", stream=True)

    broken = [delta["text"] for delta in deltas(stream) if "\ufffd" in str(delta.get("text"))]
    expect(broken).equals([], "text with U+FFFD")


@pytest.mark.requirement(id="MSG-079")
def test_broken_message_never_looks_complete(session, upstream):
    """A streamed message whose upstream breaks off in the middle of its answer never looks complete: an error status,
    an `error` event that nothing follows, or a connection that breaks off."""
    upstream.says("Hello, this is a longer answer, of which half is missing.", truncated=True)

    try:
        reply = session.message("Hi", stream=True)
    except NoAnswer:
        return  # the client cannot take it for a complete answer

    if reply.status < 400:
        types = [document.get("type") for document in parts(reply)]
        expect(types.count("error")).equals(1, "`error` events")
        expect(types[-1]).equals("error", "the last event")
