"""What a check reads of a reply, and what is recorded of an exchange."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from conformance.client.failure import ConformanceFailure
from conformance.client.http import ABSENT, NoAnswer, Recorder, Reply, at, client
from conformance.client.transcript import Exchange

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
COMPLETION: dict[str, Any] = {
    "id": "c1",
    "model": "m",
    "choices": [{"message": {"content": "Hi", "tool_calls": [CALL]}, "finish_reason": "stop"}],
    "usage": {"total_tokens": 3},
}


def reply(body: Any, status: int | None = 200, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(Exchange("POST", "http://gw/x", {}, b"", 0.0, status, headers, [(0.0, raw)]))


def said(word: Callable[[], object]) -> list[str]:
    with pytest.raises(ConformanceFailure) as caught:
        word()
    return [str(one) for one in caught.value.violations]


def test_what_a_completion_says():
    found = reply(COMPLETION)
    assert (found.status, found.id, found.model, found.finish_reason) == (200, "c1", "m", "stop")
    assert (found.text, found.tool_calls, found.usage) == ("Hi", [CALL], {"total_tokens": 3})
    assert found.message == COMPLETION["choices"][0]["message"]


@pytest.mark.parametrize(
    ("change", "read", "line"),
    [
        ({"choices": []}, lambda found: found.message, "choices[0]: expected a value, got none in []"),
        ({"choices": None}, lambda found: found.text, "choices[0]: expected a value, got none in null"),
        ({"choices": [{"message": []}]}, lambda found: found.message, "choices[0].message: expected an object, got []"),
        (
            {"choices": [{"message": {"content": 5}}]},
            lambda found: found.text,
            "choices[0].message.content: expected a string or null, got 5",
        ),
        ({"usage": 5}, lambda found: found.usage, "usage: expected an object, got 5"),
        ({"id": None}, lambda found: found.id, "id: expected a string, got null"),
        ({"model": 1}, lambda found: found.model, "model: expected a string, got 1"),
        ({"choices": [{}]}, lambda found: found.finish_reason, "choices[0].finish_reason: expected a value, got none"),
    ],
)
def test_what_is_missing_is_named_by_its_path(change, read, line):
    (found,) = said(lambda: read(reply({**COMPLETION, **change})))
    assert found.startswith(line)


@pytest.mark.parametrize("message", [{"content": None}, {"content": ""}])
def test_no_content_is_an_empty_text_and_no_calls_are_none(message):
    found = reply({"choices": [{"message": message}]})
    assert (found.text, found.tool_calls) == ("", [])
    assert reply({"choices": [{"message": {"tool_calls": None}}]}).tool_calls == []


def test_a_value_of_a_document():
    document = {"a": [{"b": 1}]}
    assert at(document, "a", 0, "b") == 1
    assert at(document) is document
    assert said(lambda: at(document, "a", 1)) == ['a[1]: expected a value, got none in [{"b": 1}]']
    assert said(lambda: at(document, "a", 0, "c")) == ['a[0].c: expected a value, got none in {"b": 1}']
    assert said(lambda: at(document, kind=list)) == ['body: expected an array, got {"a": [{"b": 1}]}']
    assert said(lambda: at({"a": "x"}, "a", kind=(int, float))) == ["a: expected an integer or float, got 'x'"]


def test_a_body_that_is_none():
    assert said(lambda: reply(b"{").json()) == ["body: expected JSON, got '{'"]
    assert said(lambda: reply(b"[" * 100_000).json())[0].startswith("body: expected JSON, got '[[")
    assert said(lambda: reply([]).completion) == ["body: expected a JSON object, got []"]
    assert said(lambda: reply({}, 500).completion) == ["status: expected 200, got 500 '{}'"]
    assert reply(b"", None).status == 0


@pytest.mark.parametrize(
    ("body", "error"),
    [({"error": {"message": "x"}}, {"message": "x"}), ({"error": "x"}, None), ([], None), (b"\xff", None), ({}, None)],
)
def test_the_error_of_an_envelope(body, error):
    assert reply(body).error == error


@pytest.mark.parametrize(
    ("body", "kind", "stream"),
    [
        (b"", "text/event-stream", True),
        (b"", "Text/Event-Stream ; charset=utf-8", True),
        (b"data: {}", "application/json", True),
        (b"event: x", "text/plain", True),
        (b"{}", "application/json", False),
        (b" data: {}", "text/event-streams", False),
    ],
)
def test_a_stream_is_known_by_its_label_or_by_its_beginning(body, kind, stream):
    assert reply(body, **{"content-type": kind}).is_stream is stream
    assert reply(body, **{"Content-Type": kind}).is_stream is stream


def test_the_chunks_of_a_stream():
    found = reply(b'data: {"a": 1}\n\ndata: [5]\n\ndata: {\n\ndata: [DONE]\n\ndata: {"b": 1}')
    assert [event.data for event in found.events] == ['{"a": 1}', "[5]", "{", "[DONE]"]
    assert found.chunks == [{"a": 1}]
    assert said(lambda: reply(b"data: [DONE]\n\n").chunks) == [
        "stream: expected at least one chunk, got 'data: [DONE]\\n\\n'"
    ]
    assert said(lambda: reply(b"data: {}\n\n", 500).chunks) == ["status: expected 200, got 500 'data: {}\\n\\n'"]


class Sender(httpx.BaseTransport):
    """Answers with what it is told, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer) if isinstance(answer, int) else answer

    def close(self) -> None:
        self.closed = True


def test_an_exchange_is_recorded():
    sender = Sender(httpx.Response(201, headers={"x": "y"}, content=b"done"))
    recorder = Recorder(sender)
    recorder.begin()
    with client(recorder, "key") as http:
        response = http.post("http://gw/a", content=b"body")
    assert (response.status_code, response.content) == (201, b"done")
    (exchange,) = recorder.exchanges
    assert response.extensions["exchange"] is exchange
    assert (exchange.method, exchange.url, exchange.request_body) == ("POST", "http://gw/a", b"body")
    assert (exchange.status, exchange.headers["x"], exchange.body, exchange.error) == (201, "y", b"done", None)
    assert exchange.finished is not None
    assert sender.requests[0].headers["authorization"] == "Bearer key"
    assert sender.requests[0].headers["accept-encoding"] == "identity"
    assert set(sender.requests[0].extensions["timeout"]) == {"connect", "read", "write", "pool"}
    assert sender.closed
    recorder.begin()
    assert recorder.exchanges == []


def test_no_key_is_sent_that_was_not_given():
    sender = Sender(200)
    with client(Recorder(sender)) as http:
        http.get("http://gw/")
    assert "authorization" not in sender.requests[0].headers


def test_a_redirect_is_not_followed():
    with client(Recorder(Sender(httpx.Response(307, headers={"location": "/b"})))) as http:
        assert http.post("http://gw/a").status_code == 307


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (httpx.ConnectError("refused"), "POST /a: expected a complete HTTP answer, got connection failed: refused"),
        (httpx.RemoteProtocolError(""), "POST /a: expected a complete HTTP answer, got connection failed: Remote"),
        (httpx.ReadTimeout("slow"), "POST /a: expected a complete HTTP answer, got no answer within 0.0 s"),
    ],
)
def test_an_answer_that_does_not_come_is_a_failure(error, line):
    recorder = Recorder(Sender(error))
    with client(recorder) as http:
        (found,) = said(lambda: http.post("http://gw/a"))
    assert found.startswith(line)
    assert recorder.exchanges[0].error is not None
    assert recorder.exchanges[0].finished is not None


class Breaking(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b"some"
        raise httpx.ReadError("reset")


def test_an_answer_that_breaks_off_is_a_failure_and_what_came_is_kept():
    recorder = Recorder(Sender(httpx.Response(200, stream=Breaking())))
    with client(recorder) as http, pytest.raises(NoAnswer) as caught:
        http.get("http://gw/a")
    assert caught.value.exchange is recorder.exchanges[0]
    assert (caught.value.exchange.body, caught.value.exchange.error) == (b"some", "connection failed: reset")


class Endless(httpx.SyncByteStream):
    closed = False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"more"

    def close(self) -> None:
        self.closed = True


def test_an_answer_that_goes_on_past_the_deadline_is_a_failure():
    recorder = Recorder(Sender(httpx.Response(200, stream=Endless())))
    recorder.begin()
    recorder.deadline = 0.0
    with client(recorder) as http:
        (found,) = said(lambda: http.get("http://gw/a"))
    assert "no answer within" in found
    assert recorder.exchanges[0].body == b"more"
    assert recorder.left == 0.001
    recorder.deadline = float("inf")
    assert recorder.left == recorder.timeout


def test_an_answer_that_comes_at_the_deadline_is_in_time(monkeypatch):
    monkeypatch.setattr("conformance.client.http.time", SimpleNamespace(monotonic=lambda: 7.0))
    recorder = Recorder(Sender(httpx.Response(200, content=b"done")))
    recorder.deadline = 7.0
    with client(recorder) as http:
        assert http.get("http://gw/a").content == b"done"


def test_whoever_answers_has_as_long_again_for_the_next_answer():
    recorder = Recorder(Sender(200, httpx.Response(200, stream=Breaking())), timeout=100.0)
    recorder.begin()
    recorder.deadline -= 60.0
    with client(recorder) as http:
        http.get("http://gw/")
        assert recorder.left > 90.0
        recorder.deadline -= 60.0
        with pytest.raises(NoAnswer):
            http.get("http://gw/")
        assert recorder.left < 50.0


GONE = httpx.RemoteProtocolError("closed")


def test_a_request_behind_a_refused_one_gets_a_connection_of_its_own():
    sender = Sender(400, GONE, 200)
    with client(Recorder(sender)) as http:
        assert [http.get("http://gw/").status_code for _ in range(2)] == [400, 200]
    assert len(sender.requests) == 3


@pytest.mark.parametrize("answers", [(200, GONE, 200), (399, GONE, 200), (400, GONE, GONE, 200)])
def test_no_other_request_is_sent_again(answers):
    with client(Recorder(Sender(*answers))) as http:
        http.get("http://gw/")
        assert len(said(lambda: http.get("http://gw/"))) == 1


class Stream:
    """The connection of an answer."""

    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("status", "closed"), [(500, True), (499, False), (200, False)])
def test_a_connection_that_a_failing_server_would_close_is_closed(status, closed):
    connection = Stream()
    answer = httpx.Response(status, extensions={"network_stream": connection})
    with client(Recorder(Sender(answer))) as http:
        http.get("http://gw/")
    assert connection.closed is closed


def test_an_answer_that_nobody_reads_is_finished():
    body = Endless()
    recorder = Recorder(Sender(httpx.Response(200, stream=body)))
    with client(recorder) as http, http.stream("GET", "http://gw/"):
        pass
    assert recorder.exchanges[0].finished is not None
    assert body.closed


def test_sockets_of_a_check_are_closed_by_the_next_one():
    recorder, dialled = Recorder(Sender()), Stream()
    recorder.sockets.append(dialled)  # type: ignore[arg-type]
    recorder.begin()
    assert dialled.closed
    assert recorder.sockets == []


def test_https_has_a_transport_of_its_own():
    recorder = Recorder()
    plain, secure = recorder._transport("http"), recorder._transport("https")
    assert isinstance(secure, httpx.HTTPTransport)
    assert plain is not secure
    assert recorder._transport("https") is secure
    recorder.close()


def test_what_is_closed_with_a_client():
    plain, secure, dialled = Sender(), Sender(), Stream()
    recorder = Recorder(plain)
    recorder._secure = secure
    recorder.sockets.append(dialled)  # type: ignore[arg-type]
    recorder.close()
    assert (plain.closed, secure.closed, dialled.closed) == (True, True, True)
    never_secure = Recorder()
    never_secure.close()
    assert never_secure._secure is None


def test_what_is_left_out_has_one_name():
    assert str(ABSENT.value) == "absent"


def test_one_request_does_not_bring_the_cookies_of_another():
    sender = Sender(httpx.Response(200, headers={"set-cookie": "a=b"}), 200)
    with client(Recorder(sender)) as http:
        http.get("http://gw/")
        http.get("http://gw/")
    assert "cookie" not in sender.requests[1].headers


def test_credentials_that_are_given_are_sent():
    sender = Sender(200, 200)
    with client(Recorder(sender)) as http:
        http.get("http://user:word@gw/")
        http.get("http://gw/", auth=("user", "word"))
    assert [one.headers["authorization"][:6] for one in sender.requests] == ["Basic ", "Basic "]
