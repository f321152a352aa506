"""The Invocations wire: bytes in, bytes out (contract AF-ENV, AF-SSE, appendix B)."""

from __future__ import annotations

import json

import pytest

from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.invocations import DONE, Framing, error, parse, plain


@pytest.mark.parametrize(
    ("chunk", "frame"),
    [
        ("hel", b"data: hel\n\n"),
        ("a\r\nb", b"data: a\ndata: b\n\n"),
        ("a\rb", b"data: a\ndata: b\n\n"),
        ("a\n\nb", b"data: a\ndata: \ndata: b\n\n"),
        (" a", b"data:  a\n\n"),
        ("a\n", b"data: a\ndata: \n\n"),
        ("\n", b"data: \ndata: \n\n"),
        ("a\u2028b\x0bc", "data: a\u2028b\x0bc\n\n".encode()),
        ("event: error\nid: 7", b"data: event: error\ndata: id: 7\n\n"),
        ("", b""),
        ("\ud800", b"data: ?\n\n"),
    ],
)
def test_exact_frames(chunk, frame):
    assert Framing().chunk(chunk) == frame


@pytest.mark.parametrize(
    ("chunk", "frame"),
    [
        ("a\n", b"data: a\n\n"),
        ("\n", b"data: \n\n"),
        ("a\u2028b", b"data: a\ndata: b\n\n"),
        ("a\r\nb", b"data: a\ndata: b\n\n"),
    ],
)
def test_frames_split_as_python_splits(chunk, frame):
    assert Framing(newline="splitlines").chunk(chunk) == frame


def test_frames_of_json_tell_the_end_from_the_text():
    framing = Framing(frames="json")
    assert framing.chunk("[DONE]") == b'data: "[DONE]"\n\n'
    assert framing.chunk("a\r\nb") == b'data: "a\\r\\nb"\n\n'
    assert framing.chunk("") == b""
    assert DONE == b"data: [DONE]\n\n"


def test_a_chunk_that_says_the_end_leaves_in_two_frames():
    assert Framing().chunk("[DONE]") == b"data: [\n\ndata: DONE]\n\n"
    assert Framing("splitlines").chunk("[DONE]\n") == b"data: [\n\ndata: DONE]\n\n"
    assert Framing().chunk("[DONE]\n") == b"data: [DONE]\ndata: \n\n"


@pytest.mark.parametrize("newline", ["exact", "splitlines"])
def test_failures_are_frames_of_their_own(newline):
    framing = Framing(newline)
    assert framing.failure("denied") == b"event: error\ndata: denied\n\n"
    assert framing.failure("finalize failed: boom\nline2") == (
        b"event: error\ndata: finalize failed: boom\ndata: line2\n\n"
    )
    assert framing.failure("") == b"event: error\ndata: \n\n"


def test_a_request_and_what_is_kept_of_it():
    body = {"message": " hi ", "session_id": "a", "stream": True, "more": [1]}
    invocation = parse(json.dumps(body).encode())
    assert (invocation.message, invocation.session_id, invocation.stream) == (" hi ", "a", True)
    assert invocation.session_key == "invocations:a"
    assert invocation.body == body
    for session_id in ("", None):
        one = parse(json.dumps({"message": "hi", "session_id": session_id}).encode())
        assert (one.session_id, one.session_key, one.stream) == (session_id, None, False)


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"", 400, "invalid json"),
        (b"NaN", 400, "invalid json"),
        (b'{"message": "\xff"}', 400, "invalid json"),
        (b"null", 422, "request body must be an object"),
        (b"[]", 422, "request body must be an object"),
        (b"{}", 422, "missing or empty 'message'"),
        (b'{"message": 7, "session_id": 7}', 422, "missing or empty 'message'"),
        (b'{"message": "hi", "session_id": 7}', 422, "'session_id' must be a string"),
        (b'{"message": "hi", "stream": "no"}', 422, "'stream' must be a boolean"),
        (b'{"message": "hi", "message": "ho"}', 400, "the body names 'message' twice"),
        (b'{"message": "hi", "x": ' + b"[" * 300 + b"]" * 300 + b"}", 400, "the body is nested deeper than"),
    ],
)
def test_refusals(content, status, text):
    with pytest.raises(RequestRefused, match=f"^{text}") as refused:
        parse(content)
    assert refused.value.status == status


@pytest.mark.parametrize(("value", "streams"), [("no", True), (1, True), ("", False), (0, False), (None, False)])
def test_a_truthy_flag(value, streams):
    assert parse(json.dumps({"message": "hi", "stream": value}).encode(), "truthy").stream is streams


def test_the_bodies():
    assert plain("A", None) == b'{"response":"A","session_id":null}'
    assert error(404, "gone") == b'{"error":"gone"}'
