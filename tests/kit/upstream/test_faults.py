"""What a step can break, seen from the caller's socket."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from conformance.upstream.client import Upstream

from .caller import Caller

ROUTES = ["/v1/completions", "/v1/chat/completions"]


def body_of(route: str, caller: Caller, text: str, **fields: Any) -> dict[str, Any]:
    if route == ROUTES[0]:
        return {"prompt": caller.context(text), **fields}
    return {"messages": [{"role": "user", "content": text}], **fields}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_an_engine_error_has_the_status_and_the_message(
    route: str, status: int, scripted: Upstream, caller: Caller
) -> None:
    scripted.fails(status, "out of memory")

    answer = caller.post(route, body_of(route, caller, scripted.nonce))

    assert answer.status_code == status
    assert answer.json()["error"]["message"] == "out of memory"
    call = scripted.calls[0]
    assert (call.outcome, call.status, call.message) == ("failed", status, "out of memory")
    assert (call.generation, call.generations, call.finish_reason) == ([], [], None)


@pytest.mark.parametrize("route", ROUTES)
def test_a_raw_body_goes_out_byte_for_byte(route: str, scripted: Upstream, caller: Caller) -> None:
    scripted.fails(200, body=b"\xff\x00<html>", content_type="text/html")
    scripted.fails(502, body="Bad Gateway", content_type="text/plain")

    html = caller.post(route, body_of(route, caller, scripted.nonce))
    proxy = caller.post(route, body_of(route, caller, scripted.nonce))

    assert (html.status_code, html.content, html.headers["content-type"]) == (200, b"\xff\x00<html>", "text/html")
    assert (proxy.status_code, proxy.text) == (502, "Bad Gateway")
    assert [call.outcome for call in scripted.calls] == ["failed", "failed"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_answer_ends_with_its_connection(
    route: str, stream: bool, scripted: Upstream, caller: Caller
) -> None:
    scripted.says("Hello", truncated=True)

    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection without sending complete"):
        caller.post(route, body_of(route, caller, scripted.nonce, stream=stream))

    call = scripted.calls[0]
    assert (call.outcome, call.status) == ("failed", 200)
    assert scripted.tokenizer.decode(call.generation, skip_special=True) == "Hello"


def test_a_truncated_answer_promises_more_than_it_sends(scripted: Upstream, caller: Caller) -> None:
    scripted.says("Hello", truncated=True)
    parts = urlsplit(scripted.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("POST", "/v1/completions", json.dumps({"prompt": caller.context(scripted.nonce)}))
    answer = connection.getresponse()

    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()

    connection.close()
    promised = int(answer.headers["content-length"])
    assert 0 < len(cut.value.partial) < promised
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(cut.value.partial)


def test_a_raw_body_can_be_truncated(scripted: Upstream, caller: Caller) -> None:
    scripted.fails(200, body="0123456789", truncated=True)

    with pytest.raises(httpx.RemoteProtocolError, match="received 5 bytes, expected 10"):
        caller.complete(scripted.nonce)


@pytest.mark.parametrize("route", ROUTES)
def test_a_reset_connection_gives_no_byte(route: str, scripted: Upstream, caller: Caller) -> None:
    scripted.fails(reset=True)
    scripted.says("Again")

    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        caller.post(route, body_of(route, caller, scripted.nonce))

    assert caller.complete(scripted.nonce).json()["choices"][0]["text"] == "Again"
    assert [(call.outcome, call.status) for call in scripted.calls] == [("failed", None), ("answered", 200)]


@pytest.mark.parametrize("route", ROUTES)
def test_an_unscripted_call_says_so(route: str, scripted: Upstream, caller: Caller) -> None:
    scripted.says("one")
    caller.complete(scripted.nonce)

    answer = caller.post(route, body_of(route, caller, scripted.nonce))

    assert answer.status_code == 500
    expected = f"unscripted call: no step left for nonce {scripted.nonce}; 1 of 1 steps were consumed before"
    assert answer.json()["error"]["message"] == expected
    assert [(call.outcome, call.message) for call in scripted.calls][1] == ("unscripted", expected)


def test_a_call_of_a_test_that_scripted_nothing_is_on_record(scripted: Upstream, caller: Caller) -> None:
    answer = caller.complete(scripted.nonce)

    assert answer.json()["error"]["message"] == f"unscripted call: nothing was scripted for nonce {scripted.nonce}"
    assert [call.outcome for call in scripted.calls] == ["unscripted"]
    scripted.says("late")
    caller.complete(scripted.nonce)
    assert [(call.index, call.outcome) for call in scripted.calls] == [(0, "unscripted"), (1, "answered")]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_without_a_nonce_is_answered_counted_and_kept_apart(
    route: str, stream: bool, scripted: Upstream, caller: Caller
) -> None:
    before = scripted.unclaimed
    answer = caller.post(route, body_of(route, caller, "are you there?", stream=stream))

    assert answer.status_code == 200
    if not stream:
        choice = answer.json()["choices"][0]
        assert (choice["text"] if route == ROUTES[0] else choice["message"]["content"]) == "OK."
    assert scripted.calls == []
    assert scripted.unclaimed == before + 1
    stray = scripted.strays[-1]
    assert (stray.nonce, stray.outcome) == (None, "unclaimed")
    assert "are you there?" in stray.text
    assert scripted.tokenizer.decode(stray.generation, skip_special=True) == "OK."


def test_a_call_without_a_nonce_is_cut_where_it_asks_for_less(scripted: Upstream, caller: Caller) -> None:
    choice = caller.complete("are you there?", max_tokens=1, return_token_ids=True).json()["choices"][0]

    assert (len(choice["token_ids"]), choice["finish_reason"]) == (1, "length")


def test_only_the_last_thousand_strays_are_kept(scripted: Upstream, caller: Caller) -> None:
    for _ in range(1010):
        caller.post("/v1/completions", {"prompt": [1]})

    assert len(scripted.strays) == 1000


def test_a_step_that_does_not_fit_the_context_is_named(scripted: Upstream, caller: Caller) -> None:
    scripted.says("never", when="something else")

    message = caller.complete(scripted.nonce).json()["error"]["message"]

    assert message.endswith(
        "0 of 1 steps were consumed before, and the `when` of the 1 left does not occur in its context"
    )
