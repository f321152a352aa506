"""Anthropic messages over HTTP: keys, envelopes, and that no body is a failure of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gateway_doubles import Client, Told, gateway

HI: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def open_gateway() -> Iterator[Client]:
    with gateway() as client:
        yield client


def error_of(response) -> dict:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (set(body), body["type"], set(body["error"])) == ({"type", "error"}, "error", {"type", "message"})
    return body["error"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "kind"),
    [
        ("POST", "/v1/messages", b"{", 400, "invalid_request_error"),
        ("POST", "/v1/messages", b"[]", 400, "invalid_request_error"),
        ("POST", "/v1/messages/count_tokens", b"{}", 400, "invalid_request_error"),
        ("POST", "/v1/messages/batches", b"{}", 404, "not_found_error"),
        ("GET", "/v1/messages", None, 405, "invalid_request_error"),
        ("GET", "/v1/messages/count_tokens", None, 405, "invalid_request_error"),
        ("POST", "/v1/messages", b" " * 2000, 413, "request_too_large"),
    ],
)
def test_refusals_have_the_envelope_of_the_path(method, path, content, status, kind):
    with gateway(Told(), max_body=1000) as client:
        response = client.http.request(method, client.open() + path, content=content)
    assert response.status_code == status
    assert error_of(response)["type"] == kind


def test_paths_of_other_wires_keep_their_envelope(open_gateway):
    response = open_gateway.http.post(open_gateway.open() + "/v1/messagesque", json=HI)
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


def test_the_session_key_is_taken_from_either_header():
    with gateway(Told("A1", "A2"), api_key="secret") as client:
        handle = client.http.post(f"{client.url}/sessions", headers={"authorization": "Bearer secret"}, json={}).json()
        url, key = handle["anthropic_base_url"] + "/v1/messages", handle["api_key"]
        assert client.http.post(url, json=HI, headers={"x-api-key": key}).status_code == 200
        assert client.http.post(url, json=HI, headers={"authorization": f"Bearer {key}"}).status_code == 200
        refused = client.http.post(url, json=HI, headers={"x-api-key": "wrong"})
    assert refused.status_code == 401
    assert error_of(refused)["type"] == "authentication_error"


def test_counting_changes_nothing():
    backend = Told("A1")
    with gateway(backend) as client:
        session = client.open()
        before = client.http.get(session).json()
        counted = client.http.post(f"{session}/v1/messages/count_tokens", json=HI).json()
        assert client.http.get(session).json() == before
        assert backend.calls == []
        answer = client.http.post(f"{session}/v1/messages", json=HI).json()
        grown = [*HI["messages"], {"role": "assistant", "content": answer["content"]}, *HI["messages"]]
        again = client.http.post(f"{session}/v1/messages/count_tokens", json={**HI, "messages": grown}).json()
    assert counted == {"input_tokens": answer["usage"]["input_tokens"]}
    assert again["input_tokens"] > counted["input_tokens"] + answer["usage"]["output_tokens"]


def test_failures_of_the_backend_have_the_envelope():
    with gateway(Told(RuntimeError("boom"), RuntimeError("boom"))) as client:
        session = client.open()
        for stream in (False, True):
            response = client.http.post(f"{session}/v1/messages?beta=true", json={**HI, "stream": stream})
            assert response.status_code == 500
            assert error_of(response) == {"type": "api_error", "message": "RuntimeError: boom"}
        assert client.http.get(f"{session}/trajectories").json()["trajectories"] == []
