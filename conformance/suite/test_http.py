"""Area HTTP: envelopes, bad input, the failures of the upstream as the client sees them.

Bodies and connections that no well-behaved client makes are in test_http_hostile.py.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from conformance.client.http import at
from conformance.vocabulary.expect import FAILED, expect, together
from conformance.vocabulary.outcome import NotTested
from conformance.vocabulary.refusals import CHAT, expect_refusals_to_be_closed
from conformance.vocabulary.session import ABSENT

RETRIED = (408, 409, 429)
NOT_CHAT: dict[str, dict[str, Any]] = {
    "not-json": {"content": b"{"},
    "not-an-object": {"body": ["Hi"]},
    "no-messages": {"body": {"model": "kit"}},
    "no-such-messages": {"body": {"model": "kit", "messages": "Hi"}},
}


def refusals(session):
    """The answers to requests that are not chat requests, as far as they were refused: there is at least one."""
    answers = [session.send(**request) for request in NOT_CHAT.values()]
    refused = [answer for answer in answers if answer.status in (400, 422)]
    if not refused:
        raise NotTested("the gateway refuses none of the requests that are not chat requests")
    return refused


def errors(session):
    """The `error` objects of these answers, as far as there is one: there is at least one."""
    envelopes = [error for refusal in refusals(session) if isinstance(error := refusal.error, dict)]
    if not envelopes:
        raise NotTested("no refusal carries an error envelope")
    return envelopes


@pytest.mark.requirement(id="HTTP-001")
def test_chat_is_answered_200_as_json(session, upstream):
    """A chat completion that is not streamed is answered with status 200 and content type `application/json`."""
    upstream.says("Hello")

    reply = session.chat("Hi")

    expect(reply).status(200).header("content-type", "application/json", starts=True)


@pytest.mark.requirement(id="HTTP-002")
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("GET", "/no/such/path", [404], id="unknown-get"),
        pytest.param("POST", "/no/such/path", [404], id="unknown-post"),
        pytest.param("POST", "/chat/completions/more", [404], id="below-chat"),
        pytest.param("GET", "/chat/completions", [404, 405], id="get-chat"),
    ],
)
def test_unknown_path_is_404_and_wrong_method_405(session, method, path, allowed):
    """Below the base URL a path that does not exist is answered with status 404, and a GET of the chat completions
    route with 405 or 404."""
    reply = session.send({} if method == "POST" else None, method=method, path=path)

    expect(reply).status(*allowed)


@pytest.mark.requirement(id="HTTP-003")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "/no/such/path", id="unknown-path"),
        pytest.param("GET", "/chat/completions", id="wrong-method"),
    ],
)
def test_404_and_405_carry_the_error_envelope(session, method, path):
    """Status 404 and 405 below the base URL carry the OpenAI error envelope."""
    reply = session.send({} if method == "POST" else None, method=method, path=path)

    if reply.status in (404, 405):
        expect(reply).has_error_envelope()


@pytest.mark.requirement(id="HTTP-004")
def test_refusal_carries_the_error_envelope(session):
    """A refused chat request is answered as `application/json` with an object whose `error.message` and `error.type`
    are non-empty strings."""
    for refusal in refusals(session):
        expect(refusal).has_error_envelope()


@pytest.mark.requirement(id="HTTP-005")
@pytest.mark.parametrize("name", ["code", "param"])
def test_error_envelope_has_code_and_param(session, name):
    """`error.code` (string or null) and `error.param` (string or null) are present in every error envelope."""
    for error in errors(session):
        at({"error": error}, "error", name, kind=(str, type(None)))


@pytest.mark.requirement(id="HTTP-006")
def test_error_type_of_a_refusal_is_invalid_request_error(session):
    """`error.type` is `invalid_request_error` for a refused request, and something else for a failure of the gateway or
    the upstream."""
    for error in errors(session):
        expect(error.get("type", "invalid_request_error")).equals("invalid_request_error", "error.type")


@pytest.mark.requirement(id="HTTP-006")
def test_error_type_of_a_failure_is_no_invalid_request_error(session, upstream):
    """`error.type` is `invalid_request_error` for a refused request, and something else for a failure of the gateway or
    the upstream."""
    upstream.fails(500)

    reply = session.chat("Hi")

    expect((reply.error or {}).get("type")).differs_from("invalid_request_error", "error.type")


@pytest.mark.requirement(id="HTTP-007")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda body: b"", id="empty"),
        pytest.param(lambda body: body[:-1], id="cut-short"),
        pytest.param(lambda body: b"model=kit&messages=Hi", id="a-form"),
        pytest.param(lambda body: body + body, id="two-documents"),
        pytest.param(lambda body: body.replace(b"caf\xc3\xa9", b"caf\xe9"), id="latin-1"),
        pytest.param(lambda body: body.decode().encode("utf-16"), id="utf-16"),
    ],
)
def test_body_that_is_not_json_is_refused(session, upstream, spoil):
    """A body that is empty, not JSON or not valid UTF-8 is refused with status 400 or 422."""
    upstream.says("Hello")
    body = json.dumps(session.body("Is this a café?"), ensure_ascii=False).encode()

    reply = session.send(content=spoil(body))

    expect(reply).is_refused()


@pytest.mark.requirement(id="HTTP-008")
@pytest.mark.parametrize("body", [b"[]", b'[{"role": "user"}]', b'"Hi"', b"7", b"null", b"true"])
def test_body_that_is_no_object_is_refused(session, body):
    """A body that is JSON but not an object is refused with status 400 or 422."""
    reply = session.send(content=body)

    expect(reply).is_refused()


@pytest.mark.requirement(id="HTTP-012")
@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param(ABSENT, id="none"),
        pytest.param("text/plain", id="text"),
        pytest.param("application/x-www-form-urlencoded", id="form"),
        pytest.param("application/json; charset=utf-8", id="charset"),
        pytest.param("no type at all", id="malformed"),
    ],
)
def test_other_content_type_is_served_or_refused(session, upstream, content_type):
    """A JSON body with another or no content type is served, or refused with status 400, 415 or 422."""
    upstream.says("Hello")

    reply = session.send(session.body("Hi"), headers={"content-type": content_type})

    expect(reply).status(200, 400, 415, 422)


@pytest.mark.requirement(id="HTTP-013")
@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_number_that_is_not_finite_never_reaches_the_upstream(session, upstream, name, literal):
    """A sampling value that JSON cannot express as a finite number (`NaN`, `Infinity`, `1e999`) never reaches the
    upstream."""
    upstream.says("Hello")
    body = json.dumps(session.body("Hi", **{name: "VALUE"})).replace('"VALUE"', literal)

    session.send(content=body.encode())

    sent = [value for call in upstream.calls if isinstance(value := call.sampling.get(name), float)]
    expect([value for value in sent if not math.isfinite(value)]).equals([], f"{name} that reached the upstream")


@pytest.mark.requirement(id="HTTP-014")
@pytest.mark.parametrize("name", NOT_CHAT)
def test_refusal_shows_nothing_of_the_inside(session, name):
    """No error answer contains a stack trace or a source path of the gateway."""
    expect(session.send(**NOT_CHAT[name])).leaks_nothing()


@pytest.mark.requirement(id="HTTP-014")
def test_refusal_of_a_field_shows_nothing_of_the_inside(session, upstream):
    """No error answer contains a stack trace or a source path of the gateway."""
    expect_refusals_to_be_closed(CHAT, session, upstream)


@pytest.mark.requirement(id="HTTP-014")
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"reset": True}, id="reset"),
        pytest.param({"status": 200, "body": b"<html>busy</html>", "content_type": "text/html"}, id="not-json"),
        pytest.param({"status": 200, "body": b'{"choices": 7}'}, id="not-a-completion"),
    ],
)
def test_answer_to_a_failed_turn_shows_nothing_of_the_inside(session, upstream, failure):
    """No error answer contains a stack trace or a source path of the gateway."""
    upstream.fails(**failure)

    expect(session.chat("Hi")).leaks_nothing()


@pytest.mark.requirement(id="HTTP-015")
@pytest.mark.parametrize("status", [500, 502, 503])
def test_failure_of_the_upstream_is_a_5xx(session, upstream, status):
    """A turn whose upstream answers with a 5xx status is answered with a 5xx status and an error envelope."""
    upstream.fails(status)

    reply = session.chat("Hi")

    expect(reply).status(*FAILED).has_error_envelope()


@pytest.mark.requirement(id="HTTP-049")
@pytest.mark.parametrize("status", [500, 502])
def test_failure_of_the_upstream_shows_nothing_of_its_inside(session, upstream, status):
    """The answer to a turn whose upstream fails with a 5xx status says nothing of what is inside of the upstream: no
    address, no path, no stack trace."""
    place = upstream.url.partition("://")[2]
    inside = [f"worker at {place}", "/opt/engine/worker.py", "CUDA error: device-side assert"]
    upstream.fails(status, "; ".join(inside))

    reply = session.chat("Hi")

    shown = [text for text in (place, *inside[1:]) if text in reply.body.decode("utf-8", "replace")]
    together(
        lambda: expect(shown).equals([], "what is shown of the inside of the upstream"),
        lambda: expect(reply).leaks_nothing(),
    )


@pytest.mark.requirement(id="HTTP-016")
@pytest.mark.parametrize("status", [400, 413, 422])
def test_refusal_of_the_upstream_is_not_to_be_retried(session, upstream, status):
    """A turn that the upstream refuses with status 400, 413 or 422 is answered with a 4xx status that clients do not
    retry."""
    upstream.fails(status, "This model's maximum context length is 8 tokens.")

    reply = session.chat("Hi")

    expect(reply.status).satisfies(
        lambda status: 400 <= status < 500 and status not in RETRIED, "4xx, not 408, 409 or 429", "status"
    )


@pytest.mark.requirement(id="HTTP-017")
def test_refusal_of_the_upstream_is_passed_on_in_its_words(session, upstream):
    """When the upstream refuses a turn with status 400, the upstream's message is part of `error.message`."""
    upstream.fails(400, "This model's maximum context length is 8 tokens.")

    reply = session.chat("Hi")

    expect(at(reply.json(), "error", "message", kind=str)).contains("maximum context length is 8", "error.message")


@pytest.mark.requirement(id="HTTP-021")
@pytest.mark.parametrize("where", ["", "/v1", "/sessions"], ids=["base-url", "its-root", "server"])
def test_head_probe_is_no_server_error(session, target, where):
    """A HEAD request for the base URL or its root is answered with a status below 500."""
    base = session.handle.base_url
    url = base.removesuffix("/v1") if where == "/v1" else target.gateway.url if where else base

    reply = session.send_to(url, method="HEAD")

    expect(reply.status).satisfies(lambda status: status < 500, "below 500", "status")
