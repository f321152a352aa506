"""Area STREAM: chat completions as server-sent events.

What fails, and what is not to be streamed, is in test_stream_failures.py.
"""

from __future__ import annotations

import pytest

from conformance.client.http import at
from conformance.gateway import Capability
from conformance.oracles.wording import parse_json
from conformance.vocabulary.expect import expect
from conformance.vocabulary.outcome import NotTested
from conformance.vocabulary.session import function
from conformance.vocabulary.target import require_capability

SEARCH = function("search", query={"type": "string"})
CALLS = [
    {"name": "search", "arguments": {"query": "wind in Bergen"}},
    {"name": "search", "arguments": {"query": "tide in Bergen"}},
]
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
GENERATIONS = pytest.mark.parametrize(
    "generation",
    [
        pytest.param({"text": "Hello"}, id="text"),
        pytest.param({"text": ""}, id="empty"),
        pytest.param({"text": "Hel", "finish": "length"}, id="length"),
    ],
)
WITH_USAGE = {"stream_options": {"include_usage": True}}


def twins(sessions, upstream, generation, **fields):
    """The plain and the streamed answer to the same request, for the same generation, each in a session of its own."""
    upstream.says(**generation)
    upstream.says(**generation)
    plain = sessions.open().chat("Hi", **{name: value for name, value in fields.items() if name != "stream_options"})
    return plain, sessions.open().chat("Hi", stream=True, **fields)


def choices(stream):
    """The choices of a stream's chunks, in order, as far as they are objects."""
    values = [choice for chunk in stream.chunks for choice in at(chunk, "choices", kind=list)]
    return [choice for choice in values if isinstance(choice, dict)]


def deltas(stream):
    """The deltas of these choices, as far as they are objects."""
    return [delta for choice in choices(stream) if isinstance(delta := choice.get("delta"), dict)]


def tool_deltas(stream):
    """What the deltas say of tool calls, in order."""
    return [call for delta in deltas(stream) for call in delta.get("tool_calls") or []]


def usages(stream):
    """The chunks that carry a usage."""
    return [chunk for chunk in stream.chunks if chunk.get("usage") is not None]


@pytest.mark.requirement(id="STREAM-001")
def test_stream_is_an_event_stream(session, upstream):
    """A streamed chat completion is answered with status 200 and content type `text/event-stream`."""
    upstream.says("Hello")

    stream = session.chat("Hi", stream=True)

    expect(stream).is_event_stream()


@pytest.mark.requirement(id="STREAM-002")
def test_stream_is_not_cached(session, upstream):
    """A stream carries `cache-control: no-cache` (or `no-store`)."""
    upstream.says("Hello")

    stream = session.chat("Hi", stream=True)

    cache_control = stream.headers.get("cache-control", "")
    expect(cache_control).satisfies(
        lambda cache_control: "no-cache" in cache_control or "no-store" in cache_control,
        "no-cache or no-store",
        "cache-control",
    )


@pytest.mark.requirement(id="STREAM-003")
def test_frames_are_data_with_json(session, upstream):
    """Every event before `[DONE]` is one line `data: ` with one JSON object, has no event name and ends with an empty
    line; lines end with LF."""
    upstream.says("Hello\nthere")

    stream = session.chat("Hi", stream=True)

    expect(stream).has_clean_frames()


@pytest.mark.requirement(id="STREAM-004")
def test_stream_ends_with_done(session, upstream):
    """A completed stream ends with exactly one `data: [DONE]`, and nothing follows it."""
    upstream.says("Hello")

    stream = session.chat("Hi", stream=True)

    expect(stream).ends_with_done()


@pytest.mark.requirement(id="STREAM-005")
def test_object_is_chunk(session, upstream):
    """`object` is `chat.completion.chunk` in every chunk."""
    upstream.says("Hello")

    stream = session.chat("Hi", stream=True, **WITH_USAGE)

    for chunk in stream.chunks:
        expect(chunk.get("object")).equals("chat.completion.chunk", "object")


@pytest.mark.requirement(id="STREAM-006")
@pytest.mark.parametrize(("name", "kind"), [("id", str), ("created", int), ("model", str)])
def test_chunks_share_their_head(session, upstream, name, kind):
    """All chunks of a stream carry the same non-empty `id`, the same integer `created` and the same `model`."""
    upstream.says("Hello")

    stream = session.chat("Hi", stream=True, **WITH_USAGE)

    first = at(stream.chunks[0], name, kind=kind)
    expect(first).differs_from("", name)
    expect([chunk.get(name) for chunk in stream.chunks]).equals([first] * len(stream.chunks), f"{name} of the chunks")


@pytest.mark.requirement(id="STREAM-007")
@GENERATIONS
def test_first_chunk_has_the_role(session, upstream, generation):
    """The first chunk with a choice carries `delta.role` = `assistant`."""
    upstream.says(**generation)

    stream = session.chat("Hi", stream=True)

    expect(at(choices(stream), 0, "delta", "role")).equals("assistant", "delta.role of the first chunk")


@pytest.mark.requirement(id="STREAM-008")
@GENERATIONS
def test_only_the_last_choice_has_a_finish_reason(session, upstream, generation):
    """`finish_reason` is set in exactly one chunk, the last one that has a choice, and null or absent before it."""
    upstream.says(**generation)

    stream = session.chat("Hi", stream=True)

    *before, last = [choice.get("finish_reason") for choice in choices(stream)] or [None]
    expect(before).equals([None] * len(before), "finish_reason before the last choice")
    expect(last).differs_from(None, "finish_reason of the last choice")


@pytest.mark.requirement(id="STREAM-009")
@GENERATIONS
def test_each_choice_has_index_and_delta(session, upstream, generation):
    """Every chunk has an array `choices`, and each choice has an integer `index` and an object `delta`."""
    upstream.says(**generation)

    stream = session.chat("Hi", stream=True, **WITH_USAGE)

    for chunk in stream.chunks:
        for place, _ in enumerate(at(chunk, "choices", kind=list)):
            at(chunk, "choices", place, "index", kind=int)
            at(chunk, "choices", place, "delta", kind=dict)


@pytest.mark.requirement(id="STREAM-010")
@pytest.mark.parametrize(
    "generation",
    [
        pytest.param({"text": "  Two words,\n\nthen more. \n"}, id="text"),
        pytest.param({"text": ""}, id="empty"),
        pytest.param({"text": "Two words and no", "finish": "length"}, id="length"),
    ],
)
def test_stream_amounts_to_the_plain_answer(sessions, upstream, generation):
    """A stream, put together by a client, has the role, content, tool calls and finish reason of the plain answer to
    the same generation, for text, an empty answer and a length stop alike."""
    plain, stream = twins(sessions, upstream, generation)

    expect(stream.message.get("role")).equals(plain.message.get("role"), "role")
    expect(stream.text).equals(plain.text, "content")
    expect(stream.finish_reason).equals(plain.finish_reason, "finish_reason")


@pytest.mark.requirement(id="STREAM-010")
@pytest.mark.parametrize("text", [None, "Let me see."], ids=["calls", "text-and-calls"])
def test_streamed_tool_calls_amount_to_the_plain_ones(target, sessions, upstream, text):
    """A stream, put together by a client, has the role, content, tool calls and finish reason of the plain answer to
    the same generation, for text, an empty answer and a length stop alike."""
    require_capability(target, Capability.TOOLS)
    plain, stream = twins(sessions, upstream, {"text": text, "tool_calls": CALLS}, tools=[SEARCH])

    names = [[at(call, "function", "name") for call in reply.tool_calls] for reply in (plain, stream)]
    expect(names[1]).equals(names[0], "the names of tool_calls")
    expect(stream.text).equals(plain.text, "content")
    expect(stream.finish_reason).equals(plain.finish_reason, "finish_reason")


@pytest.mark.requirement(id="STREAM-011")
@pytest.mark.parametrize("text", ["🪿", "𓂀𐍈", "na\u00efve \u65e5\u672c\u8a9e 🪿."])
def test_no_chunk_has_part_of_a_character(session, upstream, text):
    """No chunk carries part of a character: text whose characters are spread over several tokens arrives without
    U+FFFD."""
    if len(upstream.tokenizer.encode(text)) <= len(text):
        raise NotTested("the tokenizer has a token for each of these characters")
    upstream.says(text)

    stream = session.chat("Hi", stream=True)

    expect([delta["content"] for delta in deltas(stream) if "\ufffd" in str(delta.get("content"))]).equals(
        [], "content with U+FFFD"
    )
    expect(stream.text).equals(text, "the content of the chunks, put together")


@pytest.mark.requirement(id="STREAM-012")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("one\ntwo\r\nthree\rfour\n\nfive", id="line-ends"),
        pytest.param("one\u2028two\u2029three\u0085four\x0bfive\x0csix\x1cseven", id="separators"),
        pytest.param("one\ndata: [DONE]\n\ndata: {}\n\ntwo", id="terminator"),
        pytest.param('event: error\ndata: {"error": {"message": "no"}}\n\n: two', id="error-frame"),
    ],
)
def test_text_stays_inside_its_frame(session, upstream, text):
    """Text that contains line ends, U+2028, U+0085 or `data: [DONE]` stays inside the JSON of its frame and arrives
    unchanged."""
    upstream.says(text)

    stream = session.chat("Hi", stream=True)

    expect(stream.text).equals(text, "content")


@pytest.mark.requirement(id="STREAM-013")
def test_streamed_tool_calls_are_indexed(session, upstream):
    """Each streamed tool call has an `index`, counted from 0, and the first delta of each index carries `id`, `type`
    and `function.name`."""
    upstream.says(tool_calls=CALLS)

    stream = session.chat("Hi", stream=True, tools=[SEARCH])

    first = {at(delta, "index", kind=int): delta for delta in reversed(tool_deltas(stream))}
    expect(sorted(first)).equals([0, 1], "the indices of the tool calls")
    for delta in first.values():
        expect(at(delta, "id", kind=str)).differs_from("", "id")
        expect(at(delta, "type")).equals("function", "type")
        expect(at(delta, "function", "name")).equals("search", "function.name")


@pytest.mark.requirement(id="STREAM-014")
def test_argument_fragments_are_the_arguments_once(session, upstream):
    """The argument fragments of a streamed tool call, put together, are its arguments once."""
    upstream.says(tool_calls=CALLS)

    stream = session.chat("Hi", stream=True, tools=[SEARCH])

    put_together = [at(call, "function", "arguments", kind=str) for call in stream.tool_calls]
    parsed = [parse_json(text)[0] or text for text in put_together]
    expect(parsed).equals([call["arguments"] for call in CALLS], "the arguments, put together")


@pytest.mark.requirement(id="STREAM-040")
def test_call_without_arguments_streams_an_empty_object(session, upstream):
    """The argument fragments of a streamed call without arguments, put together, are `{}`."""
    upstream.says(tool_calls=[*CALLS, {"name": "search", "arguments": {}}])

    stream = session.chat("Hi", stream=True, tools=[SEARCH])

    *_, last = [call.get("function", {}).get("arguments", "") for call in stream.tool_calls] or [""]
    expect(parse_json(last)[0]).equals({}, f"the JSON of the arguments, put together to {last!r}")


@pytest.mark.requirement(id="STREAM-015")
def test_usage_of_a_stream_is_that_of_the_plain_answer(sessions, upstream):
    """With `stream_options.include_usage` the stream carries the usage of the plain answer, once, before `[DONE]`."""
    plain, stream = twins(sessions, upstream, {"text": "Hello"}, **WITH_USAGE)

    counts = [{name: at(chunk, "usage", name) for name in COUNTS} for chunk in usages(stream)]
    expect(counts).equals([{name: at(plain.usage, name) for name in COUNTS}], "usage of the stream")


@pytest.mark.requirement(id="STREAM-016")
def test_usage_has_a_chunk_of_its_own(session, upstream):
    """The usage of a stream stands in a chunk of its own with `choices: []`, and only if it was asked for."""
    upstream.says("Hello")

    stream = session.chat("Hi", stream=True, **WITH_USAGE)

    if not usages(stream):
        raise NotTested("the stream carries no usage")
    expect([chunk.get("choices") for chunk in usages(stream) if chunk.get("choices") != []]).equals(
        [], "choices of a chunk with usage"
    )


@pytest.mark.requirement(id="STREAM-016")
@pytest.mark.parametrize("fields", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}])
def test_usage_is_not_streamed_unasked(session, upstream, fields):
    """The usage of a stream stands in a chunk of its own with `choices: []`, and only if it was asked for."""
    upstream.says("Hello")

    stream = session.chat("Hi", stream=True, **fields)

    expect(usages(stream)).equals([], "chunks with usage")


@pytest.mark.requirement(id="STREAM-023")
def test_text_leaves_while_the_upstream_samples(session, upstream):
    """Sampled text reaches the client while the upstream is still sampling."""
    rest = upstream.holds("Hello there, how are you?", pause=3)

    request = session.dial("Hi", stream=True).read_until(b'"content"')

    rest.release()
    request.hang_up()
