"""The HTTP client that drivers are given."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest

import conformance.drivers
from conformance.client.driving import INSTEAD, DriverClient
from conformance.client.http import NoAnswer, Recorder, client
from conformance.gateway import HttpClient, HttpResponse


def asked_of(
    answer: httpx.Response | Callable[[httpx.Request], httpx.Response], api_key: str | None = None
) -> tuple[DriverClient, Recorder]:
    """A driver's client of a gateway that answers so, and the record of what was exchanged."""
    recorder = Recorder(httpx.MockTransport(answer if callable(answer) else lambda _: answer))
    recorder.begin()
    return DriverClient(client(recorder, api_key)), recorder


def test_it_is_what_drivers_are_promised():
    http: HttpClient = asked_of(httpx.Response(200))[0]
    response: HttpResponse = http.get("http://gw/")
    assert (response.status, response.ok) == (200, True)


@pytest.mark.parametrize(
    ("ask", "method", "url", "body"),
    [
        (lambda http: http.request("DELETE", "http://gw/s"), "DELETE", "http://gw/s", b""),
        (lambda http: http.request("PUT", "http://gw/s", json=[1]), "PUT", "http://gw/s", b"[1]"),
        (lambda http: http.get("http://gw/s", params={"a": "b c"}), "GET", "http://gw/s?a=b+c", b""),
        (lambda http: http.post("http://gw/s", json={"a": 1}), "POST", "http://gw/s", b'{"a":1}'),
        (lambda http: http.post("http://gw/s"), "POST", "http://gw/s", b""),
    ],
    ids=["delete", "put", "get", "post", "post-nothing"],
)
def test_a_request_is_sent_and_recorded(ask, method, url, body):
    http, recorder = asked_of(httpx.Response(201, text="done"))
    assert ask(http).text == "done"
    (exchange,) = recorder.exchanges
    assert (exchange.method, exchange.url, exchange.request_body) == (method, url, body)
    assert (exchange.status, exchange.body) == (201, b"done")
    assert exchange.request_headers.get("content-type") == ("application/json" if body else None)


def test_the_key_goes_along_unless_a_header_has_another():
    http, recorder = asked_of(httpx.Response(200), "admin")
    http.get("http://gw/")
    http.get("http://gw/", headers={"authorization": "Bearer mine", "x-mine": "1"})
    sent = [exchange.request_headers for exchange in recorder.exchanges]
    assert [each["authorization"] for each in sent] == ["Bearer admin", "Bearer mine"]
    assert sent[1]["x-mine"] == "1"


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, True), (299, True), (307, False), (404, False)])
def test_no_status_is_raised(status, ok):
    response = asked_of(httpx.Response(status, headers={"location": "/elsewhere"}))[0].get("http://gw/")
    assert (response.status, response.ok) == (status, ok)


def test_headers_are_found_however_they_are_capitalised():
    headers = asked_of(httpx.Response(200, headers={"X-Mine": "1"}))[0].get("http://gw/").headers
    assert headers["x-mine"] == headers["X-MINE"] == headers.get("X-Mine") == "1"
    assert "x-mine" in headers
    assert "x-other" not in headers
    assert headers.get("x-other") is None
    assert dict(headers) == {"x-mine": "1"}
    assert len(headers) == 1
    assert isinstance(headers, Mapping)
    assert not isinstance(headers, httpx.Headers)


def test_json_is_read():
    assert asked_of(httpx.Response(500, content=b'{"a": [1]}'))[0].get("http://gw/").json() == {"a": [1]}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe\xfd", b"[" * 100_000], ids=["none", "html", "bytes", "deep"]
)
def test_what_is_no_json_is_named(body):
    with pytest.raises(ValueError, match="GET /sessions was answered with 502 and no JSON: ") as caught:
        asked_of(httpx.Response(502, content=body))[0].get("http://gw/sessions").json()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("url", ["http://gw\n/", "http://gw:port/"])
def test_what_is_no_url_is_named(url):
    with pytest.raises(ValueError, match="is no URL") as caught:
        asked_of(httpx.Response(200))[0].get(url)
    assert type(caught.value) is ValueError


def test_an_answer_that_does_not_come_is_the_kits_own_failure():
    def hang(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    http, recorder = asked_of(hang)
    with pytest.raises(NoAnswer):
        http.get("http://gw/")
    assert recorder.exchanges[0].error


@pytest.mark.parametrize("name", [*INSTEAD, "history"])
def test_a_name_of_another_library_is_answered_with_the_name_here(name):
    http = asked_of(httpx.Response(200))[0]
    for what, place in (("client", http), ("response", http.get("http://gw/"))):
        with pytest.raises(AttributeError, match=f"the HTTP {what} of a driver has no '{name}'") as caught:
            getattr(place, name)
        assert INSTEAD.get(name, "conformance.gateway says what it has") in str(caught.value)


def test_what_implementers_import_has_no_library_behind_it():
    """Nor has a driver of the kit's: a type of it would be a promise."""
    code = "import sys, conformance.gateway; assert not {'httpx', 'pytest', 'aiohttp'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    for source in Path(conformance.drivers.__file__).parent.glob("*.py"):
        imported = [each for each in ast.walk(ast.parse(source.read_text("utf-8"))) if isinstance(each, ast.Import)]
        assert "httpx" not in {alias.name for each in imported for alias in each.names}, source.name
