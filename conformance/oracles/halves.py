"""Half of a surrogate pair in a JSON document: what is left of a character that was cut in two.

JSON can spell it (`"\\ud83d"`), but it is no character: a client that writes it to a file or a socket fails (RFC 8259
8.2, RFC 3629 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from conformance.oracles.schema import Finding
from conformance.oracles.wording import Path, quoted

_HALF = re.compile("[\ud800-\udfff]")
_SPELLED = re.compile(r"\\u[dD][89a-fA-F]")

HINT = "a character was cut in two: the pieces of a text end with whole characters"


def halves(text: str, document: object) -> Iterator[Finding]:
    """Each string in `document`, the JSON of `text`, that has half of a pair. Only an escape can bring one in."""
    if _SPELLED.search(text):
        yield from _in(document, ())


def _in(value: object, path: Path) -> Iterator[Finding]:
    if isinstance(value, str):
        if _HALF.search(value):
            yield Finding(path, "whole characters", quoted(value.encode("utf-8", "backslashreplace").decode()), HINT)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _in(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _in(item, (*path, number))
