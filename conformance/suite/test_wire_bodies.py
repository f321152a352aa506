"""Area WIRE: bodies that are too large or never whole, other methods and unknown routes, on each wire."""

from __future__ import annotations

import pytest

from conformance.vocabulary.expect import expect
from conformance.vocabulary.refusals import (
    CHAT,
    INVOCATIONS,
    MESSAGES,
    OTHER_METHODS,
    RESPONSES,
    expect_cut_body,
    expect_large_body,
    expect_post_only,
)


@pytest.mark.requirement(id="WIRE-015")
def test_message_request_of_10_megabytes(session, upstream):
    """A valid message request of 10 MB is answered with 200, or with 413 in the Anthropic error envelope, and the next
    request is served."""
    expect_large_body(MESSAGES, session, upstream)


@pytest.mark.requirement(id="WIRE-016")
def test_request_for_a_response_of_10_megabytes(session, upstream):
    """A valid request for a response of 10 MB is answered with 200, or with 413 in the OpenAI error envelope, and the
    next request is served."""
    expect_large_body(RESPONSES, session, upstream)


@pytest.mark.requirement(id="WIRE-017")
def test_invocation_of_10_megabytes(session, upstream):
    """A valid invocation of 10 MB is answered with 200, or with 413 and `{"error": text}`, and the next one is
    served."""
    expect_large_body(INVOCATIONS, session, upstream)


@pytest.mark.requirement(id="WIRE-018")
def test_message_request_that_is_cut_short(session, upstream):
    """A client that hangs up in the middle of a message request causes no upstream call, and the next request is
    served."""
    expect_cut_body(MESSAGES, session, upstream)


@pytest.mark.requirement(id="WIRE-019")
def test_request_for_a_response_that_is_cut_short(session, upstream):
    """A client that hangs up in the middle of a request for a response causes no upstream call, and the next request is
    served."""
    expect_cut_body(RESPONSES, session, upstream)


@pytest.mark.requirement(id="WIRE-020")
def test_invocation_that_is_cut_short(session, upstream):
    """A client that hangs up in the middle of an invocation's request causes no upstream call, and the next one is
    served."""
    expect_cut_body(INVOCATIONS, session, upstream)


@pytest.mark.requirement(id="WIRE-021")
@pytest.mark.parametrize("method", OTHER_METHODS)
def test_no_other_method_makes_a_completion(session, upstream, method):
    """No other method than POST makes a chat completion: PUT, PATCH and DELETE are answered with 404 or 405, HEAD below
    500, and OPTIONS too or with what is allowed."""
    expect_post_only(CHAT, session, upstream, method)


@pytest.mark.requirement(id="WIRE-022")
@pytest.mark.parametrize("method", OTHER_METHODS)
def test_no_other_method_makes_a_message(session, upstream, method):
    """No other method than POST makes a message: PUT, PATCH and DELETE are answered with 404 or 405, HEAD below 500,
    and OPTIONS too or with what is allowed."""
    expect_post_only(MESSAGES, session, upstream, method)


@pytest.mark.requirement(id="WIRE-023")
@pytest.mark.parametrize("method", OTHER_METHODS)
def test_no_other_method_makes_a_response(session, upstream, method):
    """No other method than POST makes a response: PUT, PATCH and DELETE are answered with 404 or 405, HEAD below 500,
    and OPTIONS too or with what is allowed."""
    expect_post_only(RESPONSES, session, upstream, method)


@pytest.mark.requirement(id="WIRE-024")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/responses", id="get"),
        pytest.param("PUT", "/responses", id="put"),
        pytest.param("POST", "/responses/resp_0000000000/no_such_route", id="below"),
        pytest.param("PATCH", "/conversations", id="conversations"),
    ],
)
def test_unknown_route_of_responses_has_the_envelope(session, method, path):
    """A path below the routes of responses that does not exist, and a method that they do not take, is answered with
    404 or 405 in the OpenAI error envelope."""
    reply = session.send_response({} if method != "GET" else None, path=path, method=method)

    expect(reply).status(404, 405).has_error_envelope()


@pytest.mark.requirement(id="WIRE-025")
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_no_other_method_invokes(session, upstream, method):
    """No other method than POST invokes: HEAD is answered below 500, and OPTIONS with 404 or 405 or with what is
    allowed."""
    expect_post_only(INVOCATIONS, session, upstream, method)
