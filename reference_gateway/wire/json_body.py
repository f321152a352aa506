"""The bytes of a request -> a JSON object, or a refusal that says what is wrong with them.

Invariants: what is not JSON by the standard (invalid UTF-8, a lone surrogate, NaN) is refused; so is an object that
names one of its own fields twice, where one spelling would silently win.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable
from typing import Any

import orjson

from reference_gateway.tools.arguments import MAX_DEPTH, nests_deeper
from reference_gateway.wire.base import RequestRefused

MANY_FIELDS = 100
"""More than any request has. To search for so many names costs more than to look at each field."""


def read_object(body: bytes) -> dict[str, Any]:
    """The object that `body` spells. Raises `RequestRefused` (contract UA-ERR-06, -07)."""
    body = without_mark(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestRefused("Invalid JSON body") from None
    if not isinstance(document, dict):
        raise RequestRefused("Invalid JSON body: expected an object")
    refuse_hostile(body, document)
    return document


def without_mark(body: bytes) -> bytes:
    """The body without a byte order mark of UTF-8, which some clients put before it (RFC 8259 8.1)."""
    return body.removeprefix(BOM_UTF8)


def refuse_hostile(body: bytes, document: dict[str, Any]) -> None:
    """Raises `RequestRefused` when the object that `body` spells nests too deep or names one of its fields twice."""
    if nests_deeper(document, MAX_DEPTH):
        raise RequestRefused(f"the body is nested deeper than {MAX_DEPTH} levels")
    if len(document) > MANY_FIELDS or _mentions(body, document) > len(document):
        _refuse_repeated(body)


def require_json(content_type: str | None) -> None:
    """Raises `RequestRefused` with 415 when a body is declared to be something else than JSON. Undeclared is JSON."""
    media_type = (content_type or "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise RequestRefused(f"content-type {media_type!r} is not supported: expected application/json", status=415)


def _mentions(body: bytes, names: Iterable[str]) -> int:
    """How often the names stand in the body as whole strings. One pass for all of them: bodies are long."""
    pattern = b"|".join(re.escape(name.encode()) for name in names)
    return len(re.findall(b'"(?:' + pattern + b')"', body))


def _refuse_repeated(body: bytes) -> None:
    """Slow and exact: reached when a field's name stands in the body more than once, mostly as a value or deeper."""
    pairs: list[tuple[str, Any]] = []

    def keep(members: list[tuple[str, Any]]) -> None:
        pairs[:] = members  # the outermost object is the last to be complete

    try:
        json.loads(body, object_pairs_hook=keep)
    except ValueError:  # a number of thousands of digits
        raise RequestRefused("Invalid JSON body") from None
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise RequestRefused(f"the body names {name[:80]!r} twice")
        seen.add(name)
