from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import Violation
from conformance.oracles.envelope import anthropic_error, leaks, openai_error

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "type", "param", "code"]) | st.text(max_size=3), inner, max_size=4
        )
    ),
)


def openai(**changes):
    error = {"message": "no", "type": "invalid_request_error", "param": None, "code": None, **changes}
    return {"error": {key: value for key, value in error.items() if value is not ...}}


def anthropic(**changes):
    return {"type": "error", "error": {"type": "invalid_request_error", "message": "no", **changes}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "invalid_request_error"),
        (409, "conflict_error"),
        (409, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (429, "insufficient_quota"),
        (500, "server_error"),
        (502, "internal_server_error"),
        (503, "service_unavailable_error"),
        (None, "any_error"),
    ],
)
def test_an_openai_error_conforms(status, kind):
    assert openai_error(openai(type=kind, code="context_length_exceeded"), status) == []


@pytest.mark.parametrize(
    ("body", "status", "violations"),
    [
        pytest.param("oops", 500, [Violation("body", "an object", 'string "oops"')], id="text"),
        pytest.param({}, 400, [Violation("error", "an object", "nothing: the field is missing")], id="empty"),
        pytest.param(
            {"detail": "Not Found"},
            404,
            [
                Violation("detail", "no field besides error", '"Not Found"'),
                Violation("error", "an object", "nothing: the field is missing"),
            ],
            id="framework-default",
        ),
        pytest.param(
            openai(param=..., code=...),
            400,
            [
                Violation("error.param", "a string or null", "nothing: the field is missing"),
                Violation("error.code", "a string or null", "nothing: the field is missing"),
            ],
            id="keys-missing",
        ),
        pytest.param(
            openai(code=404),
            404,
            [
                Violation(
                    "error.code",
                    "a string or null",
                    "integer 404",
                    "code is a word such as context_length_exceeded, not a status",
                )
            ],
            id="code-is-a-status",
        ),
        pytest.param(
            openai(extra=1),
            400,
            [Violation("error.extra", "no field besides message, type, param, code", "1")],
            id="extra-key",
        ),
        pytest.param(
            openai(message=""), 400, [Violation("error.message", "a non-empty string", 'string ""')], id="no-message"
        ),
        pytest.param(
            openai(type="not_found_error"),
            404,
            [Violation("error.type", '"invalid_request_error" for status 404', '"not_found_error"')],
            id="type-of-another-wire",
        ),
        pytest.param(openai(), 200, [Violation("status", "4xx or 5xx for an error", "200")], id="status-200"),
    ],
)
def test_openai_error_names(body, status, violations):
    assert openai_error(body, status) == violations


LEAK = "an exception's text reached the client; what is unexpected is answered with a constant sentence"


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("Traceback (most recent call last):\n...", "a stack trace"),
        ('KeyError in File "app.py"', "a line of a stack trace"),
        ("boom at server.go:41", "a line of a stack trace"),
        ("Error\n    at handler (index.js)\n    at run:3:4", "a stack trace"),
        ("cannot open /srv/gateway/app/session.py", "a file path"),
        ("cannot open C:\\gateway", "a file path"),
        ("bad value <app.Session object at 0x7f3a2b>", "the address of an object"),
    ],
)
def test_a_leak_in_the_message_is_named(message, what):
    (found,) = [one for one in openai_error(openai(message=message), 400) if what in one.expected]
    assert (found.where, found.expected, found.hint) == ("error.message", f"a sentence without {what}", LEAK)
    assert [one.where for one in anthropic_error(anthropic(message=message), 400)][:1] == ["error.message"]


def test_a_leak_in_a_body_without_envelope_is_named_through_the_escapes_of_json():
    body = r'{"detail": "in File \"app.py\", see /srv/app/wire.py"}'
    assert leaks(body) == [
        Violation(
            "body",
            "a text without a line of a stack trace",
            '`{"detail": "in File "app.py", see /srv/app/wire.py"}`',
            LEAK,
        ),
        Violation("body", "a text without a file path", '` File "app.py", see /srv/app/wire.py"}`', LEAK),
    ]
    assert leaks("Internal Server Error") == []


@pytest.mark.parametrize(
    "message",
    [
        "RuntimeError: boom",
        "POST /v1/chat/completions: n=2 is not supported",
        "no route /sessions/a.b/v1/models; see https://example.org/docs/index.js",
        "line 3, column 4: expected a comma",
    ],
)
def test_an_ordinary_sentence_is_no_leak(message):
    assert openai_error(openai(message=message), 400) == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (404, "api_error"),
        (409, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
        (None, "any_error"),
    ],
)
def test_an_anthropic_error_conforms(status, kind):
    assert anthropic_error({**anthropic(type=kind), "request_id": "req_1"}, status) == []


@pytest.mark.parametrize(
    ("body", "status", "strict", "violations"),
    [
        pytest.param(
            openai(),
            400,
            False,
            [
                Violation("error.param", "no field besides type, message", "null"),
                Violation("error.code", "no field besides type, message", "null"),
                Violation("type", '"error"', "nothing: the field is missing"),
            ],
            id="openai-envelope",
        ),
        pytest.param(
            anthropic(type="api_error"),
            404,
            True,
            [Violation("error.type", '"not_found_error" for status 404', '"api_error"')],
            id="strict-404",
        ),
        pytest.param(
            anthropic(type="server_error"),
            500,
            False,
            [Violation("error.type", '"api_error" for status 500', '"server_error"')],
            id="type-of-another-wire",
        ),
    ],
)
def test_anthropic_error_names(body, status, strict, violations):
    assert anthropic_error(body, status, strict) == violations


@given(JSON, st.none() | st.integers(100, 599))
def test_no_body_makes_an_envelope_oracle_raise(body, status):
    for one in [*openai_error(body, status), *anthropic_error(body, status)]:
        assert str(one).encode()
