"""Tool-call arguments: an object inside the gateway, JSON text on every wire.

Knows JSON and nothing else. Invariant: whatever `parse_json` returns can be rendered, hashed and sent again.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 100
"""Levels of nesting that are looked into. Templates and digests walk what they are given; nothing real comes near."""


class Source(str):
    """Text in which many things may turn out to be no JSON. The decoder's error tells its line, and counts all lines
    before it to do so; nobody reads that here."""

    __slots__ = ()

    def count(self, *_: object) -> int:
        return 0

    def rfind(self, *_: object) -> int:
        return -1


def parse_json(text: str) -> Any:
    """The value that `text` spells. Raises ValueError for what is no JSON, and for JSON that can't be written again:
    numbers beyond a float, half of a surrogate pair (no UTF-8 text can hold it), nesting deeper than `MAX_DEPTH`."""
    value, end = scan_json(text, skip_space(text, 0))
    if skip_space(text, end) != len(text):
        raise ValueError("something stands behind the JSON value")
    return value


def scan_json(text: str, start: int, *, once: bool = False) -> tuple[Any, int]:
    """The value that begins at `start` and where it ends. Raises ValueError as `parse_json` does, and where keys are
    wanted `once`, for an object that has one twice."""
    try:
        value, end = (_ONCE if once else _DECODER).raw_decode(text, start)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if nests_deeper(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    if text.find("\\u", start, end) >= 0:
        json.dumps(value, ensure_ascii=False).encode()
    return value, end


def skip_space(text: str, start: int) -> int:
    """The first place from `start` on that is no white space of JSON."""
    space = _SPACE.match(text, start)
    return space.end() if space else start


def parse_arguments(text: str | None) -> dict[str, Any] | str:
    """The object that `text` spells, or `text` itself when it spells no JSON object (contract UA-VAL-06). None, nothing
    but blanks, and `null` are what clients write for a call without arguments: an empty object."""
    if text is None or not text.strip() or text.strip() == "null":
        return {}
    try:
        value = parse_json(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def dump_arguments(arguments: Any) -> str:
    """JSON text for the wire; a string is text that never was an object and is passed on as it is."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def nests_deeper(value: Any, levels: int) -> bool:
    """Whether a decoded JSON value has more than `levels` levels of objects and lists."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is beyond the range of numbers")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is given twice")
    return members


_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
_ONCE = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once)
