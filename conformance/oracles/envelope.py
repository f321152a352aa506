"""Error envelopes: the exact keys, the type that belongs to a status, and nothing of the gateway's inside in the text.

Knows the two envelopes (OpenAI, Anthropic); never which error should have been raised.

Sources: contract UA-ERR-01..04, -10; wire_facts (errors of both wires).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from conformance.oracles import Violation
from conformance.oracles.schema import Finding, in_reading_order, mismatches
from conformance.oracles.wording import brief, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OPENAI_TYPES: Mapping[int, tuple[str, ...]] = {
    401: ("invalid_request_error", "authentication_error"),
    403: ("invalid_request_error", "permission_error"),
    409: ("conflict_error", "invalid_request_error"),
    429: ("rate_limit_error", "insufficient_quota"),
    503: ("service_unavailable_error", "server_error", "internal_server_error"),
}
"""Status -> the types that a client knows. Other 4xx: `OPENAI_4XX`, other 5xx: `OPENAI_5XX`."""
OPENAI_4XX = ("invalid_request_error",)
OPENAI_5XX = ("server_error", "internal_server_error")

ANTHROPIC_TYPES: Mapping[int, tuple[str, ...]] = {
    401: ("authentication_error",),
    403: ("permission_error",),
    404: ("not_found_error",),
    413: ("request_too_large",),
    429: ("rate_limit_error",),
    503: ("api_error", "overloaded_error"),
    529: ("overloaded_error",),
}
ANTHROPIC_4XX = ("invalid_request_error",)
ANTHROPIC_5XX = ("api_error",)

LEAKS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a stack trace", re.compile(r"Traceback \(most recent call last\)|goroutine \d+ \[|\n\s+at \S+.*:\d+")),
    ("a line of a stack trace", re.compile(r'File "[^"]*"|, line \d+, in |\.(?:py|js|ts|go|rs):\d+')),
    (
        "a file path",
        re.compile(
            r"(?<![\w:/.])/(?:[\w.@+-]+/)+[\w.@+-]+\.(?:py|pyc|so|js|ts|go|rs|java|rb)\b|[A-Za-z]:\\\w|site-packages"
        ),
    ),
    ("the address of an object", re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")),
)
"""What must never be in a message that a client gets."""
LEAK_HINT = "an exception's text reached the client; what is unexpected is answered with a constant sentence"


def openai_error(body: object, status: int | None = None) -> list[Violation]:
    """Judge `{"error": {message, type, param, code}}`: all four keys and no other. `status` is the HTTP status it came
    with; None for an error inside a stream, where any type is right."""
    findings = mismatches(body, "openai.error")
    if status is not None:
        types = OPENAI_TYPES.get(status, OPENAI_5XX if status >= 500 else OPENAI_4XX)
        findings += _typed(body, status, types)
    return in_reading_order(body, [*findings, *_leaks(body)]) + _status(status)


def anthropic_error(body: object, status: int | None = None, strict: bool = False) -> list[Violation]:
    """Judge `{"type": "error", "error": {type, message}}`; the public API's `request_id` may stand beside `error`.
    `strict` refuses `api_error` for a 404, which gateways in the field answer."""
    findings = mismatches(body, "anthropic.error")
    if status is not None:
        types = ANTHROPIC_TYPES.get(status, ANTHROPIC_5XX if status >= 500 else ANTHROPIC_4XX)
        if status == 404 and not strict:
            types = (*types, "api_error")
        findings += _typed(body, status, types)
    return in_reading_order(body, [*findings, *_leaks(body)]) + _status(status)


def leaks(text: str) -> list[Violation]:
    """Judge the text of any error answer, also one in no envelope: nothing of the gateway's inside is in it."""
    plain = text.replace('\\"', '"').replace("\\n", "\n")  # JSON's escapes would hide a quoted path
    return [Violation("body", f"a text without {what}", shown, LEAK_HINT) for what, shown in _leaked(plain)]


def _error(body: object) -> dict[Any, Any]:
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _typed(body: object, status: int, types: tuple[str, ...]) -> Iterator[Finding]:
    kind = _error(body).get("type")
    if status >= 400 and isinstance(kind, str) and kind and kind not in types:
        expected = " or ".join(brief(error_type) for error_type in types)
        yield Finding(("error", "type"), f"{expected} for status {status}", brief(kind))


def _leaked(text: str) -> Iterator[tuple[str, str]]:
    for what, pattern in LEAKS:
        if leak := pattern.search(text):
            yield what, quoted(text[max(0, leak.start() - 20) : leak.end() + 40])


def _leaks(body: object) -> Iterator[Finding]:
    message = _error(body).get("message")
    if isinstance(message, str):
        for what, shown in _leaked(message):
            yield Finding(("error", "message"), f"a sentence without {what}", shown, LEAK_HINT)


def _status(status: int | None) -> list[Violation]:
    if status is None or status >= 400:
        return []
    return [Violation("status", "4xx or 5xx for an error", str(status))]
