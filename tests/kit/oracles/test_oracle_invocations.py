from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import Violation, invocations
from conformance.oracles.invocations import INVALID_JSON, NO_MESSAGE, chunks, encode, frames, round_trip

SEPARATORS = "\u2028\u2029\u0085\v\f\x1c\x1d\x1e"
END = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("body", "session_id", "violations"),
    [
        pytest.param({"response": "hi", "session_id": "s"}, "s", [], id="echo"),
        pytest.param({"response": "", "session_id": None}, None, [], id="null"),
        pytest.param({"response": "hi", "session_id": ""}, "", [], id="empty-id"),
        pytest.param({"response": "hi", "session_id": "s"}, invocations.ANY, [], id="any"),
        pytest.param(
            {"response": "hi", "session_id": None},
            "",
            ['session_id: expected "", as in the request, got null'],
            id="lost",
        ),
        pytest.param(
            {"response": None, "usage": 3},
            None,
            [
                "response: expected a string, got null",
                "usage: expected no field besides response, session_id, got 3",
                "session_id: expected a string or null, got nothing: the field is missing",
            ],
            id="all",
        ),
        pytest.param("hi", None, ['body: expected an object, got string "hi"'], id="text"),
    ],
)
def test_envelope(body, session_id, violations):
    assert [str(one) for one in invocations.envelope(body, session_id)] == violations


@pytest.mark.parametrize(
    ("body", "refusal", "status", "violations"),
    [
        pytest.param({"error": "invalid json"}, INVALID_JSON, 400, [], id="refusal"),
        pytest.param({"error": "Internal server error"}, None, 500, [], id="failure"),
        pytest.param(
            {"error": "bad"},
            NO_MESSAGE,
            400,
            ['error: expected "missing or empty \'message\'", got "bad"', "status: expected 422, got 400"],
            id="other-refusal",
        ),
        pytest.param(
            {"error": {"message": "x"}},
            None,
            None,
            ['error: expected a non-empty string, got object {"message": "x"}'],
            id="nested",
        ),
        pytest.param({"error": "x"}, None, 200, ["status: expected 4xx or 5xx for an error, got 200"], id="status"),
        pytest.param(
            {"error": "Traceback (most recent call last)"},
            None,
            500,
            ["error: expected a text without a stack trace, got `Traceback (most recent call last)`"],
            id="leak",
        ),
    ],
)
def test_error(body, refusal, status, violations):
    assert [str(one) for one in invocations.error(body, refusal, status)] == violations


@pytest.mark.parametrize(
    ("texts", "failed", "newline", "wire"),
    [
        (["hel", "lo"], None, "exact", b"data: hel\n\ndata: lo\n\ndata: [DONE]\n\n"),
        (["a\r\nb"], None, "exact", b"data: a\ndata: b\n\n" + END),
        (["a\rb"], None, "exact", b"data: a\ndata: b\n\n" + END),
        (["a\n\nb"], None, "exact", b"data: a\ndata: \ndata: b\n\n" + END),
        ([" a"], None, "exact", b"data:  a\n\n" + END),
        (["", "a", ""], None, "exact", b"data: a\n\n" + END),
        ([], None, "exact", END),
        (["a\n"], None, "exact", b"data: a\ndata: \n\n" + END),
        (["\n"], None, "exact", b"data: \ndata: \n\n" + END),
        (["a\u2028b"], None, "exact", b"data: a\xe2\x80\xa8b\n\n" + END),
        (["event: error\n"], None, "exact", b"data: event: error\ndata: \n\n" + END),
        (["a\n"], None, "splitlines", b"data: a\n\n" + END),
        (["a\u2028b"], None, "splitlines", b"data: a\ndata: b\n\n" + END),
        (
            ["p"],
            "finalize failed: boom\nline2",
            "exact",
            b"data: p\n\nevent: error\ndata: finalize failed: boom\ndata: line2\n\n",
        ),
        ([], "denied", "exact", b"event: error\ndata: denied\n\n"),
        ([], "", "exact", b"event: error\ndata: \n\n"),
    ],
)
def test_golden_frames(texts, failed, newline, wire):
    assert encode(texts, failed, newline) == wire
    assert frames(wire) == []
    assert round_trip(texts, wire, newline) == []
    assert invocations.failure(wire) == failed


def test_encoded_chunks_may_say_the_end_marker():
    wire = encode(["[DONE]", "a\r\nb"], encoded=True)
    assert wire == b'data: "[DONE]"\n\ndata: "a\\r\\nb"\n\n' + END
    assert frames(wire, encoded=True) == []
    assert chunks(wire, encoded=True) == ["[DONE]", "a\r\nb"]
    assert round_trip(["[DONE]", "a\r\nb"], wire, encoded=True) == []


NO_END = "end of stream: expected data: [DONE], or an error, as the last frame, got the end of the stream"


@pytest.mark.parametrize(
    ("body", "violations"),
    [
        pytest.param(b"", [NO_END], id="nothing"),
        pytest.param(b"data: a\n\n", [NO_END], id="no-end"),
        pytest.param(
            b"data: a\n\n" + END + END,
            ["frame 3 (line 5): expected nothing after the [DONE] of frame 2 (line 3), got `data: [DONE]`"],
            id="two-ends",
        ),
        pytest.param(
            b"event: error\ndata: x\n\n" + END,
            ["frame 2 (line 4): expected nothing after the error of frame 1 (line 1), got `data: [DONE]`"],
            id="end-after-an-error",
        ),
        pytest.param(
            b"data: a\r\ndata: b\n\n" + END,
            ["frame 1 (line 1): expected no CR, got CR at column 8"],
            id="CR-in-a-frame",
        ),
        pytest.param(
            b"data: a\rb\n\n" + END, ["frame 1 (line 1): expected no CR, got CR at column 8"], id="CR-in-a-line"
        ),
        pytest.param(
            b"data: a\nb\n\n" + END,
            ["frame 1 (line 2): expected a line that starts with `data: `, got `b`"],
            id="a-line-without-data",
        ),
        pytest.param(
            b"data:a\n\n" + END, ["frame 1 (line 1): expected `data: ` with one space, got `data:a`"], id="no-space"
        ),
        pytest.param(
            b"event: chunk\ndata: a\n\n" + END,
            ["frame 1 (line 1): expected `event: error`, as the first line of its frame, got `event: chunk`"],
            id="named",
        ),
        pytest.param(
            b"data: x\nevent: error\n\n",
            ["frame 1 (line 2): expected `event: error`, as the first line of its frame, got `event: error`"],
            id="name-last",
        ),
        pytest.param(
            b"event: error\n\n",
            ["frame 1 (line 1): expected a `data: ` line with the message, got none"],
            id="no-message",
        ),
        pytest.param(
            b"data: \n\n" + END,
            ["frame 1 (line 1): expected no frame for a chunk without text, got an empty frame"],
            id="empty-chunk",
        ),
        pytest.param(
            b"data: \xe2\x82\n\n" + END, ["frame 1 (line 1): expected UTF-8, got byte 0xe2 at column 7"], id="UTF-8"
        ),
        pytest.param(
            b"data: a\n\ndata: [DONE]\n",
            ["frame 2 (line 3): expected a blank line that ends the frame, got the end of the stream"],
            id="cut",
        ),
        pytest.param(
            b"\xef\xbb\xbf: hello\n" + END,
            ["line 1: expected a stream without a byte order mark, got EF BB BF"],
            id="byte-order-mark",
        ),
    ],
)
def test_frames_names(body, violations):
    assert [str(one) for one in frames(body)] == violations


def test_encoded_frames_are_json_strings():
    assert [str(one) for one in frames(b"data: a\n\n" + END, encoded=True)] == [
        "frame 1 (line 1): expected a chunk as one JSON string, got `a` (Expecting value at character 0)"
    ]


@pytest.mark.parametrize(
    ("sent", "newline", "violation"),
    [
        pytest.param(
            ["a\n", "b"],
            "exact",
            Violation("chunk 1", '"a\\n"', '"a"', "the line end at the end of the chunk was lost"),
            id="line-end-lost",
        ),
        pytest.param(
            ["a\u2028b"],
            "exact",
            Violation(
                "chunk 1",
                '"a\u2028b"',
                '"a\\nb"',
                "a character that ends no line on the wire was taken for a line end",
            ),
            id="separator",
        ),
    ],
)
def test_round_trip_names_what_splitlines_loses(sent, newline, violation):
    assert round_trip(sent, encode(sent, newline="splitlines"), newline) == [violation]


def test_round_trip_names_a_stream_that_its_own_text_cuts():
    hint = "the text [DONE] was taken for the end of the stream"
    sent = ["a", "[DONE]", "b"]
    assert round_trip(sent, encode(sent)) == [Violation("stream", "3 chunks", "1", hint)]
    assert [one.hint for one in frames(encode(sent))] == ["a model that says [DONE] ends the stream for its client"] * 2


TEXT = st.text(st.sampled_from("ab \n\r:" + SEPARATORS) | st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXT.filter(lambda text: text != "[DONE]")), st.none() | TEXT)
def test_every_chunk_comes_back(texts, failed):
    wire = encode(texts, failed)
    assert round_trip(texts, wire) == []
    assert frames(wire) == [one for one in frames(wire) if "without text" in one.expected]
    assert round_trip(texts, encode(texts, failed, encoded=True), encoded=True) == []


@given(st.binary() | st.lists(st.sampled_from([b"data: a", b"event: error", b"\n", b"\r", b":", END])).map(b"".join))
def test_the_frame_oracle_never_raises(body):
    for one in [*frames(body), *frames(body, encoded=True), *round_trip(["a", "b"], body)]:
        assert str(one).encode()


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_the_body_oracles_never_raise(document):
    for one in [*invocations.envelope(document, "s"), *invocations.error(document, INVALID_JSON, 200)]:
        assert str(one).encode()
