"""Area RESP: the events of a streamed response."""

from __future__ import annotations

import pytest

from conformance.client.http import NoAnswer, at
from conformance.client.responses import flat, types
from conformance.oracles.sse import DONE
from conformance.vocabulary.expect import FAILED, expect
from conformance.vocabulary.session import function

SEARCH = flat(function("search", "Search the web.", q={"type": "string"}))
CALLS = [{"name": "search", "arguments": {"q": "Zürich"}}, {"name": "search", "arguments": {"q": "Genève"}}]
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


@pytest.fixture
def stream(session, upstream):
    """A streamed response with a message and two function calls."""
    upstream.says("I will look.", tool_calls=CALLS)
    return session.respond("Hi", tools=[SEARCH], stream=True)


@pytest.mark.requirement(id="RESP-026")
def test_streamed_response_is_an_event_stream(stream):
    """A streamed response is answered with status 200 and content type `text/event-stream`."""
    expect(stream).is_event_stream()


@pytest.mark.requirement(id="RESP-027")
def test_stream_follows_the_grammar(session, upstream):
    """A stream follows the grammar of response events: what is added is done, in its order, with all fields that the
    API requires."""
    upstream.says("I will look.", tool_calls=CALLS[:1])

    stream = session.respond("Hi", tools=[SEARCH], stream=True)

    expect(stream).is_response_stream()


@pytest.mark.requirement(id="RESP-028")
def test_frames_are_named_by_their_type(stream):
    """The `event:` of each frame is the `type` of its JSON."""
    named = [event.event for event in stream.events if event.data != DONE]
    expect(named).equals(types(stream.raw), "names of the events")


@pytest.mark.requirement(id="RESP-029")
def test_sequence_numbers_rise(stream):
    """Each event has a `sequence_number` that is greater than the one before."""
    numbers = [at(event, "sequence_number", kind=int) for event in stream.raw]
    expect(numbers).equals(sorted(set(numbers)), "sequence numbers")


@pytest.mark.requirement(id="RESP-030")
def test_stream_begins_with_created(stream):
    """A stream begins with `response.created` and `response.in_progress`, both with the response as it is then: in
    progress, without output."""
    expect(types(stream.raw[:2])).equals(["response.created", "response.in_progress"], "types of the first two events")
    seen = [(at(event, "response", "status"), at(event, "response", "output")) for event in stream.raw[:2]]
    expect(seen).equals([("in_progress", [])] * 2, "status and output in the first two events")


@pytest.mark.requirement(id="RESP-031")
def test_stream_has_one_end(stream):
    """A stream has exactly one terminal event, and nothing follows it but an optional `[DONE]`."""
    event_types = types(stream.raw)
    ends = [event_type for event_type in event_types if event_type in ENDS]
    expect(len(ends)).equals(1, "terminal events")
    expect(event_types[-1]).equals(ends[0], "the last event")


@pytest.mark.requirement(id="RESP-032")
def test_text_deltas_amount_to_the_text(stream):
    """The deltas of a text, joined, are the text in the events that end it."""
    joined = "".join(at(event, "delta", kind=str) for event in stream.of_type("response.output_text.delta"))
    done = [at(event, "text") for event in stream.of_type("response.output_text.done")]
    parts = [at(event, "part", "text") for event in stream.of_type("response.content_part.done")]
    expect([*done, *parts]).equals([joined, joined], "the texts that events say are done")
    expect(joined).contains("I will look.", "the deltas joined")


@pytest.mark.requirement(id="RESP-033")
def test_argument_deltas_amount_to_the_arguments(stream):
    """The arguments of a function call are streamed as `response.function_call_arguments.delta`, which joined are those
    of the call's `response.output_item.done`."""
    joined: dict[int, str] = {}
    for event in stream.of_type("response.function_call_arguments.delta"):
        index = at(event, "output_index")
        joined[index] = joined.get(index, "") + at(event, "delta", kind=str)
    items = [event for event in stream.of_type("response.output_item.done") if at(event, "item", "type") != "message"]
    expect(joined).equals({at(e, "output_index"): at(e, "item", "arguments") for e in items}, "arguments by index")
    expect(len(joined)).equals(2, "calls with streamed arguments")


@pytest.mark.requirement(id="RESP-110")
def test_streamed_call_keeps_its_id_and_name(stream):
    """A streamed function call has the same `call_id` and `name` from `response.output_item.added` to
    `response.output_item.done`."""
    added, done = (
        [(at(event, "item", "call_id"), at(event, "item", "name")) for event in events if _is_call(event)]
        for events in (stream.of_type("response.output_item.added"), stream.of_type("response.output_item.done"))
    )
    expect(added).equals(done, "ids and names of the calls that are added")
    expect(len(done)).equals(2, "calls that are done")


@pytest.mark.requirement(id="RESP-111")
def test_streamed_text_and_arguments_are_done_before_their_item(stream):
    """The text of each streamed part ends with `response.output_text.done`, and the arguments of each streamed call
    with `response.function_call_arguments.done`, before the item is done."""
    open_items, ended = [], []
    for event in stream.raw:
        if event.get("type") in ("response.output_text.done", "response.function_call_arguments.done"):
            ended.append(at(event, "output_index"))
        elif event.get("type") == "response.output_item.done" and at(event, "output_index") not in ended:
            open_items.append(at(event, "output_index"))
    expect(open_items).equals([], "items that were done before what is in them")


def _is_call(event):
    return at(event, "item", "type") == "function_call"


@pytest.mark.requirement(id="RESP-034")
def test_last_event_has_the_whole_output(stream):
    """The `output` of `response.completed` has every item that was streamed, in the same order, with the same ids and
    content."""
    done = [at(event, "item", kind=dict) for event in stream.of_type("response.output_item.done")]
    expect(at(stream.raw[-1], "response", "output", kind=list)).equals(done, "the output of the last event")
    expect(len(done)).equals(3, "items that were streamed")


@pytest.mark.requirement(id="RESP-035")
def test_stream_has_one_response(stream):
    """All events of a stream that carry the response carry the same `id`."""
    ids = {at(event, "response", "id") for event in stream.raw if "response" in event}
    expect(len(ids)).equals(1, "ids of the response in one stream")


@pytest.mark.requirement(id="RESP-036")
def test_incomplete_stream_ends_with_incomplete(session, upstream):
    """The stream of a response that was cut off by a limit ends with `response.incomplete`."""
    upstream.says("Hel", finish="length")

    stream = session.respond("Hi", stream=True)

    expect(types(stream.raw)[-1]).equals("response.incomplete", "the last event")


@pytest.mark.requirement(id="RESP-037")
def test_failure_is_an_error_or_a_failed_response(session, upstream, streamed):
    """A response whose upstream fails before it has sent anything is answered with a 5xx status and an error envelope,
    or with a response of status `failed`; a stream of one ends with `response.failed` or `error`."""
    _is_served(session, upstream)
    upstream.fails()

    reply = session.respond("Hi", stream=streamed)

    if reply.status == 200:
        ended = types(reply.raw)[-1] if reply.is_stream else reply.finish_reason
        expect(ended).is_one_of(["response.failed", "error"] if streamed else ["failed"], "the end of the answer")
    else:
        expect(reply).status(*FAILED).has_error_envelope()


@pytest.mark.requirement(id="RESP-038")
def test_broken_response_never_looks_complete(session, upstream):
    """A streamed response whose upstream breaks off in the middle of its answer never looks complete: an error status,
    `response.failed`, an `error` event, or a connection that breaks off."""
    _is_served(session, upstream)
    upstream.says("Hello, this is a longer answer, of which half is missing.", truncated=True)

    try:
        reply = session.respond("Hi", stream=True)
    except NoAnswer:
        return  # the client cannot take it for a complete response

    if reply.status < 400:
        expect([event_type for event_type in types(reply.raw) if event_type in ENDS]).satisfies(
            lambda ends: ends in (["response.failed"], ["error"]), "response.failed or error", "terminal events"
        )


@pytest.mark.requirement(id="RESP-039")
@pytest.mark.parametrize("value", [False, None, "true", 1], ids=repr)
def test_only_true_streams(session, upstream, value):
    """A request whose `stream` is not `true` is never answered with an event stream."""
    upstream.says("Hello")

    reply = session.send_response({**session.response_body("Hi"), "stream": value})

    expect(reply).status(200, 400, 422).is_not_streamed()
    if reply.status == 200:
        expect(reply).has_output()


def _is_served(session, upstream):
    """A failure says something only where there is an answer without it."""
    __tracebackhide__ = True
    upstream.says("Hello")
    expect(session.respond("Are you there?")).has_output()
