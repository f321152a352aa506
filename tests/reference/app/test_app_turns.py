"""Turns over HTTP: what the agent gets, what the backend got, what is exported."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from gateway_doubles import Client, Told, gateway

from reference_gateway.codec.bytes import TEMPLATE, byte_files
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import BackendFailed, BackendRefused, Generation

NO_ID = "the engine's token ids hold a number that is no token id"


@pytest.fixture(scope="module")
def silent() -> Iterator[tuple[Client, Told]]:
    """A gateway that takes small bodies, and its backend, which is never to be called."""
    backend = Told()
    with gateway(backend, max_body=1000) as client:
        yield client, backend


def exported(client: Client, session: str) -> list[dict]:
    return client.http.get(f"{session}/trajectories").json()["trajectories"]


def error_of(response) -> dict:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "code", "param"}
    return body["error"]


def test_two_turns_are_one_trajectory():
    backend = Told("A1", "A2")
    with gateway(backend) as client:
        session = client.open()
        first = client.chat(session, "hi").json()
        second = client.chat(session, "hi", "A1", "more").json()
        (trajectory,) = exported(client, session)
    assert first["choices"][0]["message"]["content"] == "A1"
    assert second["choices"][0]["message"]["content"] == "A2"
    (one, _, _), (two, _, _) = backend.calls
    assert first["usage"] == {"prompt_tokens": len(one), "completion_tokens": 3, "total_tokens": len(one) + 3}
    assert trajectory["prompt_ids"] == one
    assert trajectory["prompt_ids"] + trajectory["response_ids"][:-3] == two
    added = len(two) - len(one) - 3
    assert trajectory["response_mask"] == [1] * 3 + [0] * added + [1] * 3
    spoken = [("user", "hi"), ("assistant", "A1"), ("user", "more")]
    assert two == backend.codec.encode([{"role": role, "content": text} for role, text in spoken], None, {})


def test_stream_and_body_leave_the_same_trajectory():
    exports = []
    for stream in (False, True):
        with gateway(Told("A1", "A2")) as client:
            session = client.open()
            client.chat(session, "hi", stream=stream)
            response = client.chat(session, "hi", "A1", "more", stream=stream)
            kind = "text/event-stream; charset=utf-8" if stream else "application/json"
            assert response.headers["content-type"] == kind
            exports.append(exported(client, session))
    assert exports[0] == exports[1]


def test_sampling_reaches_the_backend_by_the_rules():
    backend = Told("a", "b")
    with gateway(backend) as client:
        plain = client.open()
        client.chat(plain, "hi", store=True, n=1, model="x", tools=[])
        defaults = {"temperature": 0.1, "top_p": 0.8, "max_tokens": 64, "presence_penalty": 2}
        session = client.open(session_id="s-7", sampling_params=defaults)
        client.chat(session, "hi", temperature=0.25, max_completion_tokens=128, seed=5)
    assert backend.calls[0][1] == {}
    assert backend.calls[1][1:] == ({**defaults, "temperature": 0.25, "max_tokens": 128, "seed": 5}, "s-7")


@pytest.mark.parametrize(
    ("step", "status", "message"),
    [
        (BackendRefused("context too long"), 400, "context too long"),
        (ValueError("context too long"), 400, "context too long"),
        (BackendFailed("the engine is gone"), 502, "BackendFailed: the engine is gone"),
        (RuntimeError("boom"), 500, "RuntimeError: boom"),
        (
            Generation([5, -1]),
            502,
            "BackendFailed: the engine's token ids hold a number that is no token id of the vocabulary",
        ),
        (Generation([5, True]), 502, "BackendFailed: the engine's token ids hold something that is no token id"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failed_turn_leaves_nothing(step, status, message, stream):
    with gateway(Told(step, "A")) as client:
        session = client.open()
        failed = client.chat(session, "hi", stream=stream)
        assert failed.status_code == status
        assert error_of(failed)["message"] == message
        assert exported(client, session) == []
        assert client.chat(session, "hi").status_code == 200
        assert len(exported(client, session)) == 1


def test_what_nobody_expected_is_an_internal_server_error():
    class Codec:
        mode = "full"

        def encode(self, messages, tools, kwargs):
            raise LookupError("a secret of the house")

    backend = Told("A")
    backend.codec = Codec()
    with gateway(backend) as client:
        failed = client.chat(client.open(), "hi")
    assert failed.status_code == 500
    assert error_of(failed) == {
        "message": "Internal server error",
        "type": "internal_server_error",
        "code": None,
        "param": None,
    }


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"", {}, 400, "Invalid JSON body"),
        (b"nope", {}, 400, "Invalid JSON body"),
        (b"[]", {}, 400, "expected an object"),
        (b'{"messages": []}', {}, 400, "messages must be non-empty"),
        (b'{"messages": [], "messages": []}', {}, 400, "twice"),
        (b"{}", {"content-type": "text/plain"}, 415, "expected application/json"),
        (b" " * 2000, {}, 413, "larger than 1000 bytes"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n": 2}', {}, 400, "n=2 is not supported"),
    ],
)
def test_bad_requests_never_reach_the_backend(silent, body, headers, status, says):
    client, backend = silent
    session = client.open()
    before = client.http.get(session).json()
    refused = client.http.post(f"{session}/v1/chat/completions", content=body, headers=headers)
    assert refused.status_code == status
    assert says in error_of(refused)["message"]
    assert client.http.get(session).json() == before
    assert backend.calls == []


def test_a_long_body_without_a_length_is_refused(silent):
    client, _ = silent
    refused = client.http.post(f"{client.open()}/v1/chat/completions", content=iter([b" " * 600] * 2))
    assert refused.status_code == 413


def test_unknown_and_closed_sessions():
    with gateway(Told("A")) as client:
        unknown = client.chat(f"{client.url}/sessions/nobody", "hi")
        assert (unknown.status_code, "nobody" in error_of(unknown)["message"]) == (404, True)
        session = client.open(session_id="s1")
        assert client.http.post(f"{session}/abort").status_code == 200
        closed = client.chat(session, "hi")
        assert (closed.status_code, error_of(closed)["message"]) == (409, "session s1 is aborted")
        assert error_of(closed)["type"] == "conflict_error"
        assert closed.headers["x-should-retry"] == "false"


def test_wrong_paths_and_methods_answer_in_the_envelope():
    with gateway(Told()) as client:
        session = client.open()
        for method, path, status in [
            ("GET", "/v1/chat/completions", 405),
            ("DELETE", "/v1/chat/completions", 405),
            ("OPTIONS", "/v1/chat/completions", 405),
            ("POST", "/v1/nothing", 404),
            ("POST", "/v1/", 404),
            ("POST", "/v1", 404),
            ("GET", "/v1/chat/completions/", 405),
            ("POST", "/v1/chat/completions//", 404),
            ("GET", "/nothing", 404),
            ("DELETE", "", 405),
        ]:
            response = client.http.request(method, session + path)
            assert (path, response.status_code) == (path, status)
            assert error_of(response)["type"] == "invalid_request_error"
        assert client.http.get(f"{session}/v1/chat/completions").headers["allow"] == "POST"


def test_head_probes_find_nothing_and_change_nothing():
    with gateway(Told()) as client:
        session = client.open()
        for url in (client.url + "/", session, f"{session}/v1", f"{session}/v1/chat/completions"):
            response = client.http.head(url)
            assert (response.status_code, response.content) == (404, b"")
        assert client.http.get(f"{client.url}/metrics").text.count("reference_gateway_sessions 1") == 1


def test_a_query_string_is_ignored():
    with gateway(Told("A")) as client:
        url = f"{client.open()}/v1/chat/completions?beta=true"
        assert client.http.post(url, json={"messages": [{"role": "user", "content": "x"}]}).status_code == 200


def request_bytes(client: Client, session: str, extra: int = 0) -> tuple[socket.socket, bytes]:
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
    host, port = client.url.removeprefix("http://").split(":")
    path = session.removeprefix(client.url) + "/v1/chat/completions"
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body) + extra}\r\n\r\n"
    return socket.create_connection((host, int(port))), head.encode() + body


def test_a_client_that_hangs_up_leaves_nothing_and_frees_the_engine():
    backend = Told("never", hold=True)
    with gateway(backend) as client:
        session = client.open()
        connection, request = request_bytes(client, session)
        connection.sendall(request)
        assert backend.entered.wait(5)
        connection.close()
        assert backend.cancelled.wait(5)
        assert exported(client, session) == []
        assert client.chat(session, "hi").status_code == 200


def test_a_client_that_hangs_up_in_its_body_leaves_nothing():
    with gateway(Told("A")) as client:
        session = client.open()
        connection, request = request_bytes(client, session, extra=10)
        connection.sendall(request)
        connection.close()
        assert client.chat(session, "hi").status_code == 200
        assert len(exported(client, session)) == 1


def test_finalize_does_not_wait_and_the_late_turn_is_refused():
    backend = Told("late", hold=True)
    answers = []
    with gateway(backend) as client:
        session = client.open(session_id="s1")
        thread = threading.Thread(target=lambda: answers.append(client.chat(session, "hi")))
        thread.start()
        assert backend.entered.wait(5)
        assert client.http.post(f"{session}/finalize").json() == {"trajectories": []}
        backend.release()
        thread.join()
    assert answers[0].status_code == 409
    assert error_of(answers[0])["message"] == "session s1 is finalized"


def test_turns_in_flight_are_answered_before_the_gateway_stops():
    backend = Told("A", hold=True)
    answers = []
    thread = None
    with gateway(backend) as client:
        session = client.open()
        own = httpx.Client(timeout=10, trust_env=False, verify=False)
        thread = threading.Thread(target=lambda: answers.append(Client(client.url, own).chat(session, "hi")))
        thread.start()
        assert backend.entered.wait(5)
        threading.Timer(0, backend.release).start()
    thread.join()
    own.close()
    assert answers[0].status_code == 200
    assert backend.closed.is_set()


def test_capacity_is_a_length_stop():
    backend = Told("x")
    with gateway(backend) as client:
        length = len(backend.codec.encode([{"role": "user", "content": "hi"}], None, {}))
        full = client.chat(client.open(prompt_length=length - 1, response_length=1), "hi").json()
        assert full["choices"][0]["message"]["content"] == ""
        assert full["choices"][0]["finish_reason"] == "length"
        assert full["usage"]["completion_tokens"] == 0
        client.chat(client.open(prompt_length=length, response_length=4), "hi")
    assert [sampling for _, sampling, _ in backend.calls] == [{"max_tokens": 4}]


def test_messages_that_the_template_refuses_are_a_400():
    picky = "{% if messages[0].content == 'robot' %}{{ raise_exception('no robots') }}{% endif %}" + TEMPLATE
    backend = Told("A", codec=TemplateCodec(byte_files(picky)))
    with gateway(backend) as client:
        robot = {"messages": [{"role": "user", "content": "robot"}]}
        refused = client.http.post(f"{client.open()}/v1/chat/completions", json=robot)
    assert refused.status_code == 400
    assert "no robots" in error_of(refused)["message"]
