"""The recorder as a proxy, in bytes: framing, hop-by-hop headers, odd engines and odd callers."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from .canned import CannedEngine, exchange, says
from .conftest import Recording, recording

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(path: bytes, *headers: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: recorder\r\n%b\r\n" % (path, b"".join(header + b"\r\n" for header in headers))


def completion(*headers: bytes, body: bytes = b'{"prompt": [1, 2]}') -> bytes:
    head = b"POST /v1/completions HTTP/1.1\r\nHost: recorder\r\n%bContent-Length: %d\r\n\r\n"
    return head % (b"".join(header + b"\r\n" for header in headers), len(body)) + body


def answered(document: object, *headers: bytes) -> bytes:
    body = json.dumps(document).encode()
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (lines, len(body)) + body


def test_headers_between_neighbours_end_here(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(
        b"HTTP/1.1 201 Made\r\nX-Keep: 1\r\nX-Hop: 2\r\nConnection: x-hop, keep-alive\r\nKeep-Alive: timeout=5\r\n"
        b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
    )
    hop = (b"Connection: x-mine", b"X-Mine: 1", b"TE: trailers", b"Proxy-Authorization: Basic x", b"X-Other: 1")

    answer = exchange(byte_recorder.url, get(b"/a/b?c=d%20e", *hop))

    assert (
        answer == b"HTTP/1.1 201 Made\r\nX-Keep: 1\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
    )
    authority = engine.url.removeprefix("http://").encode()
    assert engine.requests == [b"GET /a/b?c=d%20e HTTP/1.1\r\nHost: " + authority + b"\r\nX-Other: 1\r\n\r\n"]
    assert byte_recorder.calls(0) == []


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (OK, OK),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK),
        (
            b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
            b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno<end>",
        ),
    ],
)
def test_framing(sent: bytes, seen: bytes, engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(sent)

    assert exchange(byte_recorder.url, get(b"/x")) == seen


def test_an_answer_that_ends_with_its_connection(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(b"HTTP/1.0 200 OK\r\n\r\n", b"abc", then_close=True)

    answer = exchange(byte_recorder.url, get(b"/x"))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert answer.endswith(b"abc\r\n0\r\n\r\n<end>")


def test_head_has_no_body(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")

    answer = exchange(byte_recorder.url, get(b"/x").replace(b"GET", b"HEAD"), get(b"/y").replace(b"GET", b"HEAD"))

    assert answer == 2 * b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"


def test_connections_are_kept_and_paired(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(OK)

    assert exchange(byte_recorder.url, get(b"/1") + get(b"/2") + get(b"/3")) == 3 * OK
    assert (len(engine.requests), engine.connections) == (3, 1)
    assert engine.gone.wait(5)


def test_an_engine_that_closes_an_idle_connection(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(OK, then_close=True)

    assert exchange(byte_recorder.url, get(b"/1")) == OK + b"<end>"


def test_an_upload_passes_as_it_comes(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(OK)
    head = b"POST /upload HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert exchange(byte_recorder.url, head, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n") == OK
    (request,) = engine.requests
    assert request.endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


def test_a_caller_that_asks_whether_to_go_on(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(OK)
    head, body = b"POST /x HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", b"hi"

    assert exchange(byte_recorder.url, head, body) == b"HTTP/1.1 100 Continue\r\n\r\n" + OK
    assert b"xpect" not in engine.requests[0]


def test_an_old_caller(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    answer = exchange(byte_recorder.url, b"GET /x HTTP/1.0\r\n\r\n")

    assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc<end>"


def test_what_is_no_request(engine: CannedEngine, byte_recorder: Recording) -> None:
    answer = exchange(byte_recorder.url, b"hello\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"this is no HTTP/1.1 request" in answer
    assert answer.endswith(b"<end>")
    assert b"the headers are too long" in exchange(byte_recorder.url, get(b"/", *[b"X-A: " + b"a" * 9000] * 30))
    assert engine.requests == []


def test_what_is_no_answer(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(b"SMTP ready\r\n\r\n")

    assert exchange(byte_recorder.url, completion()) in (b"<end>", b"<reset>")
    (call,) = byte_recorder.calls()
    assert call["outcome"] == "failed"
    assert call["message"].startswith("the engine's answer is no HTTP/1.1: ")


CHOICE = {
    "index": 0,
    "text": "",
    "token_ids": [7, 8],
    "logprobs": {"token_logprobs": [-1, -2]},
    "finish_reason": "stop",
}


def test_what_is_asked_for_is_put_into_the_request(engine: CannedEngine, byte_recorder: Recording) -> None:
    engine.answer = says(answered({"choices": [CHOICE]}))

    exchange(byte_recorder.url, completion(b"Accept-Encoding: gzip", body=b' {"prompt": [1,2], "x": 1.50}'))
    exchange(byte_recorder.url, completion(body=b'{"prompt": [1], "logprobs": null, "return_token_ids": false}'))

    first, second = engine.requests
    assert first.endswith(b'\r\n\r\n {"return_token_ids":true,"logprobs":0,"prompt": [1,2], "x": 1.50}')
    assert b"ncoding" not in first
    assert json.loads(second.partition(b"\r\n\r\n")[2]) == {"prompt": [1], "logprobs": 0, "return_token_ids": True}
    assert [call["context"] for call in byte_recorder.calls(2)] == [[1, 2], [1]]


def test_an_answer_that_comes_compressed_passes(engine: CannedEngine, byte_recorder: Recording) -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    engine.answer = says(sent)

    assert exchange(byte_recorder.url, completion()) == sent
    (call,) = byte_recorder.calls()
    assert (call["outcome"], call["message"]) == ("unread", "the answer came compressed")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "the answer is no JSON"),
        (b"[]", "the answer is none of this route (AttributeError)"),
        (b'{"choices": 7}', "the answer is none of this route (TypeError)"),
        (b'{"choices": []}', "the engine's answer has fewer generations than it was asked for"),
        (
            b'{"choices": [{"token_ids": [true], "finish_reason": "stop"}]}',
            "the engine told ids that are none",
        ),
        (
            b'{"choices": [{"token_ids": [1], "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}',
            "the engine sampled 3 tokens and told the ids of 1",
        ),
    ],
)
def test_an_answer_that_cannot_be_read_passes(
    body: bytes, message: str, engine: CannedEngine, byte_recorder: Recording
) -> None:
    engine.answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    assert exchange(byte_recorder.url, completion()).endswith(b"\r\n\r\n" + body) or "choices" in body.decode()
    (call,) = byte_recorder.calls()
    assert (call["outcome"], call["message"]) == ("unread", message)


def test_an_event_in_pieces(engine: CannedEngine, byte_recorder: Recording) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    events = (
        b": ping\r\n\r\n"
        b'event: x\r\ndata: {"choices":[{"index":0,"text":"a","token_ids":[7],'
        b'"logprobs":{"token_logprobs":[-1]}}]}\r\n\r\n'
        b'data: {"choices":[{"index":0,"text":"","token_ids":[8],'
        b'"logprobs":{"token_logprobs":[-2]},"finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\r\n\r\n'
    )
    pieces = [events[place : place + 7] for place in range(0, len(events), 7)]
    engine.answer = says(head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n")

    answer = exchange(byte_recorder.url, completion())

    shown = b"".join(line for line in answer.partition(b"\r\n\r\n")[2].split(b"\r\n") if line.startswith(b"data:"))
    assert shown == (
        b'data: {"choices":[{"index":0,"text":"a","token_ids":null,"logprobs":null}]}'
        b'data: {"choices":[{"index":0,"text":"","token_ids":null,"logprobs":null,"finish_reason":"stop"}]}data: [DONE]'
    )
    assert answer.count(b": ping") == 1
    (call,) = byte_recorder.calls()
    assert (call["generations"], call["logprobs"], call["outcome"]) == ([[7, 8]], [-1, -2], "answered")


def test_an_error_within_a_stream(engine: CannedEngine, byte_recorder: Recording) -> None:
    body = b'data: {"error": {"message": "out of memory", "code": 500}}\n\ndata: [DONE]\n\n'
    engine.answer = says(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )

    exchange(byte_recorder.url, completion())

    (call,) = byte_recorder.calls()
    assert (call["outcome"], call["message"]) == ("failed", "out of memory")


def test_several_prompts_are_several_calls(engine: CannedEngine, byte_recorder: Recording) -> None:
    choices = [{"index": place, "token_ids": [place], "finish_reason": "stop"} for place in range(4)]
    engine.answer = says(answered({"choices": choices}))

    exchange(byte_recorder.url, completion(body=b'{"prompt": [[1, 2], [3]], "n": 2}'))

    calls = byte_recorder.calls(2)
    assert [(call["context"], call["generations"]) for call in calls] == [([1, 2], [[0], [1]]), ([3], [[2], [3]])]


def test_a_slow_caller_is_waited_for(engine: CannedEngine, byte_recorder: Recording) -> None:
    sent = [0]

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (200 << 20))
        for _ in range(200):
            connection.sendall(bytes(1 << 20))
            sent[0] += 1

    engine.answer = answer
    host, _, port = byte_recorder.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(get(b"/big"))
        connection.recv(100)
        held = -1
        for _ in range(100):
            time.sleep(0.1)
            if held == sent[0]:
                break
            held = sent[0]
        assert sent[0] < 100
        received = 0
        while received < (200 << 20) - 200 and (piece := connection.recv(1 << 20)):
            received += len(piece)
    assert received >= (200 << 20) - 200


def test_an_engine_that_is_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with recording(f"http://127.0.0.1:{port}", tmp_path / "calls.jsonl") as made:
        answer = exchange(made.url, completion())
        (call,) = made.calls()

    head, _, body = answer.removesuffix(b"<end>").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    message = f"the recorder reaches no engine at http://127.0.0.1:{port}: "
    assert json.loads(body)["error"]["message"].startswith(message)
    assert (call["outcome"], call["status"]) == ("failed", 502)
    assert call["message"].startswith(message)


def test_a_recorder_that_is_stopped_closes_its_calls(engine: CannedEngine, tmp_path: Path) -> None:
    asked, stopped = threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        asked.set()
        stopped.wait(10)

    engine.answer = answer
    with recording(engine.url, tmp_path / "calls.jsonl") as made:
        host, _, port = made.url.removeprefix("http://").partition(":")
        connection = socket.create_connection((host, int(port)), 10)
        connection.sendall(completion())
        assert asked.wait(10)
    stopped.set()
    connection.close()

    (call,) = made.calls()
    assert (call["outcome"], call["message"]) == ("aborted", "the recorder was stopped")


def test_a_passive_recorder_changes_nothing(engine: CannedEngine, tmp_path: Path) -> None:
    sent = answered({"choices": [CHOICE]})
    engine.answer = says(sent)
    with recording(engine.url, tmp_path / "calls.jsonl", "--passive") as made:
        assert exchange(made.url, completion()) == sent
        (call,) = made.calls()

    assert engine.requests[0].endswith(b'\r\n\r\n{"prompt": [1, 2]}')
    assert (call["generations"], call["logprobs"]) == ([[7, 8]], [-1, -2])
