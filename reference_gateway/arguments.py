"""Tool-call arguments: an object inside the gateway, JSON text on every wire.

Knows JSON and nothing else. Invariant: whatever `parse_json` returns can be rendered, hashed and sent again.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

MAX_DEPTH = 100
"""Levels of nesting that are looked into. Templates and digests walk what they are given; nothing real comes near."""


def parse_json(text: str) -> Any:
    """The value that `text` spells. Raises ValueError for what is no JSON, and for JSON that no UTF-8 text can hold
    (half of a surrogate pair) or that is nested deeper than `MAX_DEPTH`."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if nests_deeper(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def parse_arguments(text: str) -> dict[str, Any] | str:
    """The object that `text` spells, or `text` itself when it spells no JSON object (contract UA-VAL-06)."""
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
