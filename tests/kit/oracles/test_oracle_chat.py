from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import Violation, chat
from conformance.oracles.sse import Event

MISSING = "nothing: the field is missing"


def body(message=None, finish="stop", **changes):
    message = {"role": "assistant", "content": "Hello"} if message is None else message
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 18, "completion_tokens": 2, "total_tokens": 20},
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not ...}


def call(call_id="call_1", arguments='{"query": "weather"}', **changes):
    return {"id": call_id, "type": "function", "function": {"name": "search", "arguments": arguments}, **changes}


def calling(*calls):
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


@pytest.mark.parametrize(
    "document",
    [
        body(),
        body(usage=...),
        body({"role": "assistant", "content": ""}, "length"),
        body(calling(call(), call("call_2", "{}")), "tool_calls"),
        body(calling(call()), "length"),
        body({"role": "assistant", "content": None, "reasoning_content": "hm"}, "length"),
        body(system_fingerprint=None, kv_transfer_params=None),
    ],
    ids=["text", "no-usage", "empty", "tool-calls", "cut-behind-a-call", "reasoning-only", "unknown-fields"],
)
def test_a_completion_conforms(document):
    assert chat.completion(document) == []


def test_strict_adds_refusal_and_logprobs():
    assert chat.completion(body(), strict=True) == [
        Violation("choices[0].message.refusal", "a string or null", MISSING),
        Violation("choices[0].logprobs", "an object or null", MISSING),
    ]
    message = {"role": "assistant", "content": "Hello", "refusal": None}
    document = body(message)
    document["choices"][0]["logprobs"] = None
    assert chat.completion(document, strict=True) == []


@pytest.mark.parametrize(
    ("document", "violation"),
    [
        pytest.param(None, Violation("body", "an object", "null"), id="null"),
        pytest.param([], Violation("body", "an object", "array []"), id="array"),
        pytest.param(body(id=...), Violation("id", "a non-empty string", MISSING), id="no-id"),
        pytest.param(body(id=""), Violation("id", "a non-empty string", 'string ""'), id="empty-id"),
        pytest.param(
            body(object="chat.completion.chunk"),
            Violation("object", '"chat.completion"', 'string "chat.completion.chunk"'),
            id="object",
        ),
        pytest.param(
            body(created="1700000000"),
            Violation(
                "created",
                "an integer of at least 0",
                'string "1700000000"',
                "seconds since the epoch, as an integer",
            ),
            id="created-is-text",
        ),
        pytest.param(
            body(created=1700000000.0),
            Violation(
                "created",
                "an integer of at least 0",
                "number 1700000000.0",
                "seconds since the epoch, as an integer",
            ),
            id="created-is-a-float",
        ),
        pytest.param(
            body(created=1_700_000_000_000),
            Violation("created", "seconds since the epoch", "1700000000000", "this looks like milliseconds"),
            id="created-in-milliseconds",
        ),
        pytest.param(body(choices=None), Violation("choices", "a non-empty array", "null"), id="choices-null"),
        pytest.param(body(choices=[]), Violation("choices", "a non-empty array", "array []"), id="no-choice"),
        pytest.param(
            body(choices=body()["choices"] + [{**body()["choices"][0], "index": 1}]),
            Violation("choices", "1 choice", "2"),
            id="two-choices",
        ),
        pytest.param(
            body(choices=[{**body()["choices"][0], "index": 1}]),
            Violation("choices[0].index", "0", "1"),
            id="index",
        ),
        pytest.param(
            body(finish="weird"),
            Violation(
                "choices[0].finish_reason",
                'one of "stop", "length", "tool_calls", "content_filter", "function_call"',
                'string "weird"',
                "the backend's own stop reason must be mapped into this list",
            ),
            id="finish-reason",
        ),
        pytest.param(
            body({"role": "assistant"}),
            Violation("choices[0].message.content", "a string or null", MISSING),
            id="no-content",
        ),
        pytest.param(
            body({"role": "assistant", "content": None}),
            Violation(
                "choices[0].message.content",
                "a string, as the message has no tool calls",
                "null",
                'an empty answer has the content ""',
            ),
            id="content-null",
        ),
        pytest.param(
            body({"role": "assistant", "content": "x", "tool_calls": None}),
            Violation(
                "choices[0].message.tool_calls",
                "an array",
                "null",
                "an answer without tool calls leaves the field out; it is never null",
            ),
            id="tool-calls-null",
        ),
        pytest.param(
            body(calling(call()), "stop"),
            Violation(
                "choices[0].finish_reason",
                '"tool_calls", as the message has tool calls',
                '"stop"',
                "an answer with tool calls ends with `tool_calls`, whatever the backend's stop reason was",
            ),
            id="calls-end-with-stop",
        ),
        pytest.param(
            body(finish="tool_calls"),
            Violation(
                "choices[0].message.tool_calls",
                'at least one tool call, as finish_reason is "tool_calls"',
                "nothing: the message has no tool calls",
            ),
            id="calls-announced-but-absent",
        ),
        pytest.param(
            body(calling(call(), call()), "tool_calls"),
            Violation("choices[0].message.tool_calls[1].id", "an id of its own", '"call_1", as an earlier call'),
            id="same-id-twice",
        ),
        pytest.param(
            body(calling(call(arguments={"query": 1})), "tool_calls"),
            Violation(
                "choices[0].message.tool_calls[0].function.arguments",
                "a string",
                'object {"query": 1}',
                "arguments travel as JSON text in a string, not as an object",
            ),
            id="arguments-object",
        ),
        pytest.param(
            body(calling(call(arguments="{'query': 'x'}")), "tool_calls"),
            Violation(
                "choices[0].message.tool_calls[0].function.arguments",
                "the text of a JSON object",
                "`{'query': 'x'}` (Expecting property name enclosed in double quotes at character 1)",
                "this looks like a Python dict that was turned into text without JSON",
            ),
            id="arguments-python",
        ),
        pytest.param(
            body(calling(call(arguments=json.dumps('{"q": 1}'))), "tool_calls"),
            Violation(
                "choices[0].message.tool_calls[0].function.arguments",
                "the text of a JSON object",
                "`" + json.dumps('{"q": 1}') + "`",
                "the arguments were encoded as JSON twice",
            ),
            id="arguments-encoded-twice",
        ),
        pytest.param(
            body(calling(call(arguments="")), "tool_calls"),
            Violation(
                "choices[0].message.tool_calls[0].function.arguments",
                "the text of a JSON object",
                "an empty text (Expecting value at character 0)",
                'a call without arguments has "{}"',
            ),
            id="arguments-empty",
        ),
        pytest.param(
            body(usage={"prompt_tokens": 18, "completion_tokens": 2, "total_tokens": 18}),
            Violation("usage.total_tokens", "20, prompt_tokens + completion_tokens", "18"),
            id="usage-sum",
        ),
        pytest.param(
            body(usage={"prompt_tokens": True, "completion_tokens": 2, "total_tokens": 3}),
            Violation("usage.prompt_tokens", "an integer of at least 0", "true"),
            id="usage-true",
        ),
    ],
)
def test_completion_names(document, violation):
    assert chat.completion(document) == [violation]


def test_completion_names_everything_in_the_order_of_the_document():
    document = body({"content": 1, "role": "user"}, finish=None, object="x", model=...)
    assert [one.where for one in chat.completion(document)] == [
        "object",
        "choices[0].message.content",
        "choices[0].message.role",
        "choices[0].finish_reason",
        "model",
    ]


def test_as_many_choices_as_were_asked_for():
    two = body(choices=[body()["choices"][0], {**body()["choices"][0], "index": 1}])
    assert chat.completion(two, choices=2) == []
    assert chat.completion(body(), choices=2) == [Violation("choices", "2 choices", "1")]


# streams --------------------------------------------------------------------------------------------------------------


def chunk(delta=None, finish=None, **changes):
    choices = [{"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}]
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "m",
        "choices": choices,
    } | changes


ROLE = chunk({"role": "assistant"})
USAGE = {"prompt_tokens": 18, "completion_tokens": 2, "total_tokens": 20}
USAGE_CHUNK = chunk(choices=[], usage=USAGE)
DONE = "[DONE]"
CALLS = [
    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "search", "arguments": ""}},
    {"index": 0, "function": {"arguments": '{"q"'}},
    {"index": 0, "function": {"arguments": ": 1}"}},
    {"index": 1, "id": "call_2", "type": "function", "function": {"name": "search", "arguments": "{}"}},
]
SHOWN_USAGE = '`{"id": "c", "object": "chat.completion.chunk",  ... 8, "completion_tokens": 2, "total_tokens": 20}}`'
SHOWN_TEXT = '`{"id": "c", "object": "chat.completion.chunk",  ... a": {"content": "lo"}, "finish_reason": null}]}`'
ENDS_EARLY = "a client takes a stream that just ends for a complete answer"
ERROR = {"error": {"message": "boom", "type": "server_error", "param": None, "code": None}}


def events(*frames):
    return [
        Event("message", frame if isinstance(frame, str) else json.dumps(frame), "", 2 * number + 1)
        for number, frame in enumerate(frames)
    ]


TEXT = (ROLE, chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"), DONE)


@pytest.mark.parametrize(
    "frames",
    [
        TEXT,
        (*TEXT[:4], USAGE_CHUNK, DONE),
        (*TEXT[:3], chunk({}, "stop", usage=USAGE), DONE),
        (chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi"}, "stop"), DONE),
        (ROLE, *(chunk({"tool_calls": [one]}) for one in CALLS), chunk({}, "tool_calls"), DONE),
        (ROLE, chunk({"content": "Hel"}), ERROR),
        (ROLE, chunk({"content": "Hel"}), ERROR, DONE),
    ],
    ids=["text", "usage-chunk", "usage-in-last", "two-chunks", "tool-calls", "error-last", "error-done"],
)
def test_a_stream_conforms(frames):
    found = chat.stream(events(*frames))
    assert found == ([] if frames[-2:] != (ERROR, DONE) else found)
    if frames[-2:] == (ERROR, DONE):
        assert found == [Violation("frame 4 (line 7)", "nothing after the error of frame 3 (line 5)", "`[DONE]`")]


@pytest.mark.parametrize(
    ("frames", "violations"),
    [
        pytest.param(
            (),
            [
                Violation("end of stream", "data: [DONE] as the last frame", "the end of the stream", ENDS_EARLY),
                Violation("end of stream", "at least one chunk with a choice before the end", "none"),
            ],
            id="empty",
        ),
        pytest.param(
            TEXT[:3],
            [
                Violation("end of stream", "data: [DONE] as the last frame", "the end of the stream", ENDS_EARLY),
                Violation(
                    "end of stream",
                    "a finish_reason for choice 0 before the end",
                    "none",
                    "a client cannot tell that it is complete",
                ),
            ],
            id="cut-short",
        ),
        pytest.param(
            TEXT[:4],
            [Violation("end of stream", "data: [DONE] as the last frame", "the end of the stream", ENDS_EARLY)],
            id="no-done",
        ),
        pytest.param(
            (*TEXT, DONE),
            [Violation("frame 6 (line 11)", "nothing after the [DONE] of frame 5 (line 9)", "`[DONE]`")],
            id="done-twice",
        ),
        pytest.param(
            (*TEXT[:4], DONE, USAGE_CHUNK),
            [
                Violation(
                    "frame 6 (line 11)",
                    "nothing after the [DONE] of frame 5 (line 9)",
                    SHOWN_USAGE,
                )
            ],
            id="usage-after-done",
        ),
        pytest.param(
            (TEXT[0], chunk({"content": "x"}, id="other"), *TEXT[3:]),
            [Violation("frame 2 (line 3), id", '"c", as in frame 1 (line 1)', '"other"', "made anew for each chunk")],
            id="another-id",
        ),
        pytest.param(
            (TEXT[0], chunk({"content": "x"}, created=1_700_000_001), *TEXT[3:]),
            [
                Violation(
                    "frame 2 (line 3), created",
                    "1700000000, as in frame 1 (line 1)",
                    "1700000001",
                    "made anew for each chunk",
                )
            ],
            id="another-created",
        ),
        pytest.param(
            TEXT[1:],
            [Violation("frame 1 (line 1), choices[0].delta.role", '"assistant" in the first chunk', "null")],
            id="no-role",
        ),
        pytest.param(
            (*TEXT[:2], chunk({"content": "lo"}, "stop"), *TEXT[3:]),
            [
                Violation(
                    "frame 4 (line 7), choices[0]",
                    "nothing after the finish_reason of frame 3 (line 5)",
                    '{"index": 0, "delta": {}, "finish_reason": "stop"}',
                )
            ],
            id="finish-reason-twice",
        ),
        pytest.param(
            (ROLE, chunk({"tool_calls": [{**CALLS[3], "index": 0}]}), chunk({}, "stop"), DONE),
            [
                Violation(
                    "frame 3 (line 5), choices[0].finish_reason",
                    '"tool_calls", as there are tool calls',
                    '"stop"',
                    "an answer with tool calls ends with `tool_calls`, whatever the backend's stop reason was",
                )
            ],
            id="calls-end-with-stop",
        ),
        pytest.param(
            (ROLE, chunk({}, "tool_calls"), DONE),
            [
                Violation(
                    "frame 2 (line 3), choices[0].finish_reason",
                    "a finish_reason that fits an answer without tool calls",
                    '"tool_calls"',
                    "the tool calls were not streamed",
                )
            ],
            id="calls-announced-but-absent",
        ),
        pytest.param(
            (ROLE, chunk({"tool_calls": [call()]}), chunk({}, "tool_calls"), DONE),
            [
                Violation(
                    "frame 2 (line 3), choices[0].delta.tool_calls[0].index",
                    "an integer of at least 0",
                    MISSING,
                ),
                Violation(
                    "frame 3 (line 5), choices[0].finish_reason",
                    "a finish_reason that fits an answer without tool calls",
                    '"tool_calls"',
                    "the tool calls were not streamed",
                ),
            ],
            id="call-without-index",
        ),
        pytest.param(
            (
                ROLE,
                chunk({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
                chunk({}, "tool_calls"),
                DONE,
            ),
            [
                Violation("frame 2 (line 3), choices[0].delta.tool_calls[0].index", "0, the next call", "1"),
                Violation(
                    "frame 2 (line 3), choices[0].delta.tool_calls[0].id",
                    "a non-empty string in the first delta of a call",
                    "null",
                ),
                Violation(
                    "frame 2 (line 3), choices[0].delta.tool_calls[0].function.name",
                    "a non-empty string in the first delta of a call",
                    "null",
                ),
            ],
            id="call-begins-nameless",
        ),
        pytest.param(
            (ROLE, chunk({"tool_calls": [CALLS[0], {**CALLS[3], "index": 0}]}), chunk({}, "tool_calls"), DONE),
            [
                Violation(
                    "frame 2 (line 3), choices[0].delta.tool_calls[1].id",
                    '"call_1", or no id',
                    '"call_2"',
                    "two calls share an index",
                )
            ],
            id="calls-share-an-index",
        ),
        pytest.param(
            (ROLE, chunk({"content": "x"}, usage=USAGE), *TEXT[3:]),
            [
                Violation(
                    "frame 2 (line 3), usage",
                    "a usage only at the end of the stream",
                    json.dumps(USAGE),
                    "all other chunks leave `usage` out or have null",
                )
            ],
            id="usage-too-early",
        ),
        pytest.param(
            (*TEXT[:3], chunk({}, "stop", usage=USAGE), USAGE_CHUNK, DONE),
            [Violation("frame 5 (line 9), usage", "one usage, that of frame 4 (line 7)", "another one")],
            id="usage-twice",
        ),
        pytest.param(
            (*TEXT[:4], chunk(choices=[]), DONE),
            [Violation("frame 5 (line 9), choices", "at least one choice, or a usage", "an empty array")],
            id="empty-chunk",
        ),
        pytest.param(
            (*TEXT[:4], chunk(choices=[], usage={**USAGE, "total_tokens": 1}), DONE),
            [Violation("frame 5 (line 9), usage.total_tokens", "20, prompt_tokens + completion_tokens", "1")],
            id="usage-sum",
        ),
        pytest.param(
            (*TEXT[:2], ERROR, *TEXT[2:3]),
            [
                Violation(
                    "frame 4 (line 7)",
                    "nothing after the error of frame 3 (line 5)",
                    SHOWN_TEXT,
                )
            ],
            id="chunk-after-error",
        ),
        pytest.param(
            (*TEXT[:2], {"error": "boom"}),
            [Violation("frame 3 (line 5), error", "an object", 'string "boom"')],
            id="error-is-text",
        ),
        pytest.param(
            (ROLE, "oops", *TEXT[3:]),
            [Violation("frame 2 (line 3)", "a chunk as JSON, or [DONE]", "`oops` (Expecting value at character 0)")],
            id="not-JSON",
        ),
        pytest.param(
            (ROLE, "[]", *TEXT[3:]),
            [Violation("frame 2 (line 3), chunk", "an object", "array []")],
            id="not-an-object",
        ),
    ],
)
def test_stream_names(frames, violations):
    found = chat.stream(events(*frames))
    assert [(one.where, one.expected, one.hint) for one in found] == [
        (one.where, one.expected, one.hint) for one in violations
    ]
    assert [one.actual for one in found] == [one.actual for one in violations]


def test_a_named_event_is_no_chat_frame():
    named = [Event("delta", event.data, "", event.line) for event in events(*TEXT)[:1]] + events(*TEXT)[1:]
    assert chat.stream(named) == [
        Violation("frame 1 (line 1)", "no `event:` field", "`event: delta`", "chat frames are unnamed")
    ]


def test_include_usage_demands_or_forbids_the_usage_chunk():
    hint = "`stream_options.include_usage` asks for it"
    assert chat.stream(events(*TEXT), include_usage=True) == [
        Violation("frame 5 (line 9)", "a chunk with usage before the end", "none", hint)
    ]
    assert chat.stream(events(*TEXT[:4], USAGE_CHUNK, DONE), include_usage=False) == [
        Violation(
            "frame 5 (line 9), choices",
            "no chunk for the usage alone",
            "an empty array and a usage",
            "only `stream_options: {include_usage: true}` asks for it",
        )
    ]


def test_two_choices_may_interleave():
    def piece(index, delta, finish=None):
        return chunk(choices=[{"index": index, "delta": delta, "finish_reason": finish}])

    frames = (
        piece(0, {"role": "assistant"}),
        piece(1, {"role": "assistant"}),
        piece(1, {"content": "B"}),
        piece(0, {"content": "A"}),
        piece(1, {}, "stop"),
        piece(0, {}, "length"),
        DONE,
    )
    assert chat.stream(events(*frames), choices=2) == []
    assert [one["message"]["content"] for one in chat.assemble(events(*frames))["choices"]] == ["A", "B"]
    assert chat.stream(events(*frames))[0] == Violation("frame 2 (line 3), choices[0].index", "less than 1", "1")


# assembling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "plain"),
    [
        ((*TEXT[:4], USAGE_CHUNK, DONE), body(id="c")),
        ((ROLE, chunk({}, "stop", usage=USAGE), DONE), body({"role": "assistant", "content": ""}, id="c")),
        (
            (ROLE, *(chunk({"tool_calls": [one]}) for one in CALLS), chunk({}, "tool_calls"), USAGE_CHUNK, DONE),
            body(calling(call(arguments='{"q": 1}'), call("call_2", "{}")), "tool_calls", id="c"),
        ),
    ],
    ids=["text", "empty", "tool-calls"],
)
def test_a_stream_amounts_to_the_plain_body(frames, plain):
    assert chat.assemble(events(*frames)) == plain
    assert chat.completion(chat.assemble(events(*frames))) == []


@pytest.mark.parametrize(
    "frames",
    [
        (*TEXT[:4], USAGE_CHUNK),
        (ROLE, *(chunk({"tool_calls": [one]}) for one in CALLS), chunk({}, "tool_calls"), USAGE_CHUNK),
    ],
    ids=["text", "tool-calls"],
)
def test_the_stock_sdk_assembles_the_same(frames):
    from openai.lib.streaming.chat import ChatCompletionStreamState
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    state = ChatCompletionStreamState()
    for frame in frames:
        state.handle_chunk(ChatCompletionChunk.model_validate(frame))
    accumulated = ChatCompletion.model_validate(state.get_final_completion().model_dump(exclude_unset=True))
    assembled = ChatCompletion.model_validate_json(json.dumps(chat.assemble(events(*frames, DONE))), strict=True)
    ours, theirs = assembled.choices[0], accumulated.choices[0]
    assert (ours.finish_reason, ours.message.content) == (theirs.finish_reason, theirs.message.content)
    assert [(one.id, one.function.name, one.function.arguments) for one in ours.message.tool_calls or []] == [
        (one.id, one.function.name, one.function.arguments) for one in theirs.message.tool_calls or []
    ]
    assert (assembled.id, assembled.usage) == (accumulated.id, accumulated.usage)


def test_logprobs_of_the_chunks_are_joined():
    def piece(token):
        choice = chunk({"content": token})["choices"][0]
        return chunk(
            choices=[{**choice, "logprobs": {"content": [{"token": token, "logprob": -0.5}], "refusal": None}}]
        )

    (choice,) = chat.assemble(events(ROLE, piece("a"), piece("b"), chunk({}, "stop"), DONE))["choices"]
    assert [one["token"] for one in choice["logprobs"]["content"]] == ["a", "b"]
    assert choice["message"]["content"] == "ab"


def test_a_cut_stream_amounts_to_what_it_said():
    assembled = chat.assemble(events(*TEXT[:2]))
    assert assembled["choices"] == [{"index": 0, "message": {"role": "assistant", "content": "Hel"}}]
    assert chat.completion(assembled)[0].where == "choices[0].finish_reason"


def test_an_error_in_the_stream_stands_in_what_it_amounts_to():
    assembled = chat.assemble(events(*TEXT[:2], ERROR))
    assert (assembled["error"], assembled["choices"][0]["message"]["content"]) == (ERROR["error"], "Hel")


# junk -----------------------------------------------------------------------------------------------------------------

KEYS = "id object created model choices index message delta role content tool_calls finish_reason usage function"
KEYS += " arguments name total_tokens prompt_tokens completion_tokens error logprobs"
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["stop", "assistant"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4),
)


@st.composite
def damaged(draw, document):
    """`document` with some values replaced by junk or removed."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        place = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            if isinstance(place, dict) and draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(JUNK)
            break
    return document


@given(JUNK | damaged(body(calling(call(), call("call_2")), "tool_calls")), st.booleans())
def test_no_body_makes_completion_raise(document, strict):
    for one in chat.completion(document, strict):
        assert str(one).encode()


CHUNKS = [*TEXT[:4], USAGE_CHUNK, ERROR, *(chunk({"tool_calls": [one]}) for one in CALLS)]
FRAMES = st.lists(
    st.sampled_from([DONE, "oops", "1" * 5000, "[" * 5000])
    | st.sampled_from(CHUNKS)
    | JUNK
    | st.sampled_from(CHUNKS).flatmap(damaged),
    max_size=6,
)


@given(FRAMES)
def test_no_stream_makes_the_grammar_or_the_assembly_raise(frames):
    for one in chat.stream(events(*frames)):
        assert str(one).encode()
    assert isinstance(chat.assemble(events(*frames)), dict)
    chat.completion(chat.assemble(events(*frames)))


def test_a_stream_tells_a_cut_behind_a_call_as_a_cut():
    assert chat.stream(events(ROLE, chunk({"tool_calls": [{**CALLS[3], "index": 0}]}), chunk({}, "length"), DONE)) == []
