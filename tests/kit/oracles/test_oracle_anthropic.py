from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import Violation, anthropic, sse
from conformance.oracles.sse import Event

MISSING = "nothing: the field is missing"
NEVER_COMPLETE = "a client cannot tell that the answer is complete"


def body(*blocks, stop="end_turn", **changes):
    whole = {
        "id": "msg_0123456789abcdef01234567",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(blocks) or [text("Hello")],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 18, "output_tokens": 2},
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not ...}


def text(said):
    return {"type": "text", "text": said}


def tool_use(tool_id="toolu_1", **changes):
    return {"type": "tool_use", "id": tool_id, "name": "search", "input": {"query": "weather"}, **changes}


@pytest.mark.parametrize(
    "document",
    [
        body(),
        body(text("")),
        body(text("Hello"), stop="max_tokens"),
        body(stop="stop_sequence", stop_sequence="END"),
        body(tool_use(), stop="tool_use"),
        body(text("I look"), tool_use(), tool_use("toolu_2", input={}), stop="tool_use"),
        body({"type": "thinking", "thinking": "hm", "signature": ""}, text("Hello")),
        body({"type": "web_search_tool_result", "tool_use_id": "x", "content": []}, text("Hello"), container=None),
    ],
    ids=["text", "empty", "length", "stop-sequence", "tool", "text-and-tools", "thinking", "server-tool"],
)
def test_a_message_conforms(document):
    assert anthropic.message(document) == []


@pytest.mark.parametrize(
    ("document", "violation"),
    [
        pytest.param(None, Violation("body", "an object", "null"), id="null"),
        pytest.param(body(id=""), Violation("id", "a non-empty string", 'string ""'), id="empty-id"),
        pytest.param(body(role="user"), Violation("role", '"assistant"', 'string "user"'), id="role"),
        pytest.param(body(model=...), Violation("model", "a non-empty string", MISSING), id="no-model"),
        pytest.param(
            body(content=[]),
            Violation(
                "content",
                "a non-empty array",
                "array []",
                'an answer that says nothing has one text block with the text ""',
            ),
            id="no-block",
        ),
        pytest.param(
            body(content=["Hello"]),
            Violation("content[0]", "a content block, an object", 'string "Hello"'),
            id="block-is-text",
        ),
        pytest.param(
            body({"type": "text"}), Violation("content[0].text", "a string", MISSING), id="text-block-without-text"
        ),
        pytest.param(
            body({"type": "output_text", "text": "Hello"}),
            Violation(
                "content[0].type",
                'one of "text", "tool_use", "thinking", "redacted_thinking", "server_tool_use", "mcp_tool_use", '
                '"container_upload"',
                'string "output_text"',
            ),
            id="block-of-another-wire",
        ),
        pytest.param(
            body(text(""), tool_use(), stop="tool_use"),
            Violation(
                "content[0].text",
                "a non-empty text beside other blocks",
                'string ""',
                "a client that echoes an empty text block is refused; leave it out beside other blocks",
            ),
            id="empty-text-beside-a-tool",
        ),
        pytest.param(
            body(tool_use(input='{"query": "weather"}'), stop="tool_use"),
            Violation(
                "content[0].input",
                "an object",
                'string "{\\"query\\": \\"weather\\"}"',
                "the input is an object here, not JSON text as on the OpenAI wire",
            ),
            id="input-is-text",
        ),
        pytest.param(
            body(tool_use(""), stop="tool_use"),
            Violation("content[0].id", "a non-empty string", 'string ""'),
            id="tool-without-id",
        ),
        pytest.param(
            body(tool_use(), tool_use(), stop="tool_use"),
            Violation("content[1].id", "an id of its own", '"toolu_1", as an earlier block'),
            id="two-tools-one-id",
        ),
        pytest.param(
            body(stop="stop"),
            Violation(
                "stop_reason",
                'one of "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", '
                '"model_context_window_exceeded"',
                'string "stop"',
                "the backend's own stop reason must be mapped into this list",
            ),
            id="stop-reason-of-another-wire",
        ),
        pytest.param(
            body(tool_use()),
            Violation(
                "stop_reason",
                '"tool_use", as there is a tool_use block',
                '"end_turn"',
                "an answer with tool_use blocks ends with `tool_use`, whatever the backend's stop reason was",
            ),
            id="tool-but-end-turn",
        ),
        pytest.param(
            body(stop="tool_use"),
            Violation("content", 'a tool_use block, as stop_reason is "tool_use"', '"text"'),
            id="tool-use-without-tool",
        ),
        pytest.param(
            body(stop="stop_sequence"),
            Violation("stop_sequence", 'the sequence, as stop_reason is "stop_sequence"', "null"),
            id="which-stop-sequence",
        ),
        pytest.param(
            body(stop_sequence="END"),
            Violation("stop_sequence", 'null, as stop_reason is "end_turn"', 'string "END"'),
            id="stop-sequence-of-nothing",
        ),
        pytest.param(body(stop_sequence=...), Violation("stop_sequence", "a string or null", MISSING), id="no-key"),
        pytest.param(
            body(usage={"input_tokens": 18}),
            Violation("usage.output_tokens", "an integer of at least 0", MISSING),
            id="usage",
        ),
    ],
)
def test_message_names(document, violation):
    assert anthropic.message(document) == [violation]


def test_message_names_all_violations_in_reading_order():
    document = body({"type": "text"}, tool_use(""), id=7, usage=None)
    assert [one.where for one in anthropic.message(document)] == [
        "id",
        "content[0].text",
        "content[1].id",
        "stop_reason",
        "usage",
    ]


def test_strict_asks_for_the_prefixes_and_the_cache_counts():
    document = body(tool_use("call_1"), stop="tool_use", id="chatcmpl-1")
    assert [str(one) for one in anthropic.message(document, strict=True)] == [
        'id: expected an id that starts with msg_, got "chatcmpl-1"',
        'content[0].id: expected an id that starts with toolu_, got "call_1"',
        f"usage.cache_creation_input_tokens: expected an integer or null, got {MISSING}",
        f"usage.cache_read_input_tokens: expected an integer or null, got {MISSING}",
    ]
    usage = {
        "input_tokens": 1,
        "output_tokens": 1,
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": 0,
    }
    assert anthropic.message(body(usage=usage), strict=True) == []


def test_count_tokens():
    assert anthropic.count_tokens({"input_tokens": 18}) == []
    assert anthropic.count_tokens({"input_tokens": "18"}) == [
        Violation("input_tokens", "an integer of at least 1", 'string "18"')
    ]


def test_models():
    model = {"id": "m", "type": "model", "display_name": "M", "created_at": "2026-01-31T00:00:00Z"}
    page = {"data": [model, {**model, "id": "n"}], "has_more": False, "first_id": "m", "last_id": "n"}
    assert anthropic.models(page) == []
    assert anthropic.models({"data": [], "has_more": False, "first_id": None, "last_id": None}) == []
    assert anthropic.models({**page, "last_id": "m"}) == [Violation("last_id", '"n"', '"m"')]
    assert [one.where for one in anthropic.models({"object": "list", "data": [{"id": "m", "object": "model"}]})] == [
        "data[0].type",
        "data[0].display_name",
        "data[0].created_at",
        "has_more",
        "first_id",
        "last_id",
    ]


def event(kind, **fields):
    return Event(kind, json.dumps({"type": kind, **fields}))


def start(**changes):
    usage = {"input_tokens": 18, "output_tokens": 0}
    return event("message_start", message=body(content=[], stop=None, usage=usage, **changes))


def block(index, opening, *deltas):
    return [
        event("content_block_start", index=index, content_block=opening),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def text_delta(said):
    return {"type": "text_delta", "text": said}


def json_delta(piece):
    return {"type": "input_json_delta", "partial_json": piece}


def end(stop="end_turn", sequence=None):
    delta = {"stop_reason": stop, "stop_sequence": sequence}
    return [event("message_delta", delta=delta, usage={"output_tokens": 2}), event("message_stop")]


HELLO = [start(), *block(0, text(""), text_delta("Hel"), text_delta("lo")), *end()]
CALL = [
    start(),
    *block(0, text(""), text_delta("I look")),
    *block(1, tool_use(input={}), json_delta('{"query": '), json_delta('"weather"}')),
    *end("tool_use"),
]
PING = event("ping")
ERROR = event("error", error={"type": "api_error", "message": "boom"})


@pytest.mark.parametrize(
    ("events", "document"),
    [
        pytest.param(HELLO, body(), id="text"),
        pytest.param(CALL, body(text("I look"), tool_use(), stop="tool_use"), id="tool"),
        pytest.param([start(), *block(0, text("")), *end()], body(text("")), id="empty"),
        pytest.param(
            [start(), *block(0, tool_use(input={})), *end("tool_use")],
            body(tool_use(input={}), stop="tool_use"),
            id="tool-without-input",
        ),
        pytest.param(
            [
                start(),
                *block(
                    0,
                    {"type": "thinking", "thinking": "", "signature": ""},
                    {"type": "thinking_delta", "thinking": "hm"},
                    {"type": "signature_delta", "signature": "s"},
                ),
                *block(1, text(""), text_delta("Hello")),
                *end(),
            ],
            body({"type": "thinking", "thinking": "hm", "signature": "s"}, text("Hello")),
            id="thinking",
        ),
        pytest.param([PING, start(), PING, *HELLO[1:3], PING, *HELLO[3:-1], PING, HELLO[-1]], body(), id="pings"),
    ],
)
def test_a_stream_conforms_and_amounts_to_its_message(events, document):
    assert anthropic.stream(events) == []
    assert anthropic.assemble(events) == document
    assert anthropic.message(document) == []


def test_an_error_may_end_a_stream_anywhere():
    assert anthropic.stream([ERROR]) == []
    assert anthropic.stream([*HELLO[:2], ERROR]) == []
    assert anthropic.assemble([*HELLO[:3], ERROR])["error"] == {"type": "api_error", "message": "boom"}


def without(events, position):
    return [*events[:position], *events[position + 1 :]]


def instead(events, position, *others):
    return [*events[:position], *others, *events[position + 1 :]]


@pytest.mark.parametrize(
    ("events", "violation"),
    [
        pytest.param(
            [],
            Violation("end of stream", "message_stop as the last event", "the end of the stream", NEVER_COMPLETE),
            id="nothing",
        ),
        pytest.param(
            HELLO[:-1],
            Violation("end of stream", "message_stop as the last event", "the end of the stream", NEVER_COMPLETE),
            id="cut",
        ),
        pytest.param(
            without(HELLO, 0),
            Violation("frame 1", "message_start, at the start", "content_block_start"),
            id="no-message-start",
        ),
        pytest.param(
            without(HELLO, 1),
            Violation("frame 2", "content_block_start or message_delta, between blocks", "content_block_delta"),
            id="no-block-start",
        ),
        pytest.param(
            without(HELLO, 4),
            Violation("frame 5", "content_block_delta or content_block_stop, in a block", "message_delta"),
            id="no-block-stop",
        ),
        pytest.param(
            without(HELLO, 5),
            Violation("frame 6", "content_block_start or message_delta, between blocks", "message_stop"),
            id="no-message-delta",
        ),
        pytest.param(
            instead(HELLO, 2, Event("message", HELLO[2].data)),
            Violation(
                "frame 3",
                "`event: content_block_delta`, as the type says",
                "no `event:` line",
                "clients ignore events by their name",
            ),
            id="unnamed",
        ),
        pytest.param(
            instead(HELLO, 6, Event("done", HELLO[6].data)),
            Violation(
                "frame 7",
                "`event: message_stop`, as the type says",
                "`event: done`",
                "clients ignore events by their name",
            ),
            id="other-name",
        ),
        pytest.param(
            [*HELLO, Event("message", "[DONE]")],
            Violation("frame 8", "nothing after the message_stop of frame 7", "`[DONE]`"),
            id="DONE",
        ),
        pytest.param(
            [*HELLO, PING],
            Violation("frame 8", "nothing after the message_stop of frame 7", '`{"type": "ping"}`'),
            id="ping-after-the-end",
        ),
        pytest.param(
            [start(), ERROR, event("message_stop")],
            Violation("frame 3", "nothing after the error of frame 2", '`{"type": "message_stop"}`'),
            id="on-after-an-error",
        ),
        pytest.param(
            [start(), event("error", error="boom")],
            Violation("frame 2, error", "an object", 'string "boom"'),
            id="error-without-envelope",
        ),
        pytest.param(
            [start(), *block(1, text(""), text_delta("x")), *end()],
            Violation("frame 2, index", "0, the next block", "1"),
            id="index-from-one",
        ),
        pytest.param(
            instead(HELLO, 2, event("content_block_delta", index=1, delta=text_delta("Hel"))),
            Violation("frame 3, index", "0, the open block", "1"),
            id="delta-of-another-block",
        ),
        pytest.param(
            instead(HELLO, 1, event("content_block_start", index=0, content_block=text("Hel"))),
            Violation(
                "frame 2, content_block.text",
                '"" at the start',
                '"Hel"',
                "clients put the deltas behind what the start has, so it counts twice",
            ),
            id="text-in-the-start",
        ),
        pytest.param(
            instead(HELLO, 2, event("content_block_delta", index=0, delta=json_delta("{}"))),
            Violation(
                "frame 3, delta.type",
                "text_delta or citations_delta, as the block is text",
                'string "input_json_delta"',
            ),
            id="delta-of-another-type",
        ),
        pytest.param(
            [start(), *block(0, tool_use(input={}), json_delta('{"a":1}'), json_delta('{"a":1}')), *end("tool_use")],
            Violation(
                "frame 5",
                "pieces of partial_json that are one JSON object when joined",
                '`{"a":1}{"a":1}` (Extra data at character 7)',
                "the arguments were sent twice",
            ),
            id="arguments-twice",
        ),
        pytest.param(
            [*CALL[:-2], *end("end_turn")],
            Violation(
                "frame 9, delta.stop_reason",
                '"tool_use", as there is a tool_use block',
                '"end_turn"',
                "an answer with tool_use blocks ends with `tool_use`, whatever the backend's stop reason was",
            ),
            id="stop-reason",
        ),
        pytest.param(
            [*HELLO[:-2], *end("tool_use")],
            Violation(
                "frame 6, delta.stop_reason",
                "a stop_reason that fits an answer without tool_use blocks",
                '"tool_use"',
                "the tool calls were not streamed",
            ),
            id="tool-not-streamed",
        ),
        pytest.param(
            [*HELLO[:-2], *end(None)],
            Violation("frame 7", "a stop_reason in message_delta before the end", "none"),
            id="no-stop-reason",
        ),
        pytest.param(
            [start(), *end()],
            Violation(
                "frame 2",
                "at least one content block before the end",
                "none",
                'an answer that says nothing has one text block with the text ""',
            ),
            id="no-block",
        ),
        pytest.param(
            instead(HELLO, 0, event("message_start", message=body(content=[], stop="end_turn"))),
            Violation(
                "frame 1, message.stop_reason",
                "null",
                'string "end_turn"',
                "the stop reason comes with message_delta",
            ),
            id="stop-reason-at-the-start",
        ),
        pytest.param(
            [start(), event("ping"), event("completion", completion="x"), *HELLO[1:]],
            Violation(
                "frame 3, type",
                "one of message_start, content_block_start, content_block_delta, content_block_stop, message_delta, "
                "message_stop, ping, error",
                'string "completion"',
            ),
            id="unknown-event",
        ),
        pytest.param(
            instead(HELLO, 2, Event("content_block_delta", "{")),
            Violation(
                "frame 3",
                "an event as a JSON object",
                "`{` (Expecting property name enclosed in double quotes at character 1)",
            ),
            id="not-JSON",
        ),
    ],
)
def test_stream_names(events, violation):
    assert anthropic.stream(events) == [violation]


def test_the_line_of_a_frame_is_named():
    raw = b"".join(f"event: {one.event}\ndata: {one.data}\n\n".encode() for one in [*HELLO[:2], *HELLO[3:4], *end()])
    assert sse.framing(raw, named=True) == []
    assert [one.where for one in anthropic.stream(sse.parse(raw))] == ["frame 4 (line 10)"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def broken(draw):
    """A good stream with pieces of junk in the place of its values."""
    events = [json.loads(one.data) for one in draw(st.sampled_from([HELLO, CALL, [*HELLO[:2], ERROR]]))]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.sampled_from(events))
        while isinstance(at, dict) and at:
            key = draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or draw(st.booleans()):
                at[key] = draw(JSON)
                break
            at = at[key]
    return [Event(draw(st.sampled_from(["message", str(one.get("type"))])), json.dumps(one)) for one in events]


@given(broken() | st.lists(st.builds(Event, st.text(), st.text()), max_size=4))
def test_the_stream_oracle_never_raises(events):
    for one in [*anthropic.stream(events), *anthropic.message(anthropic.assemble(events))]:
        assert str(one).encode()


@given(JSON)
def test_the_body_oracles_never_raise(document):
    for judge in (anthropic.message, anthropic.count_tokens, anthropic.models):
        for one in judge(document):
            assert str(one).encode()
