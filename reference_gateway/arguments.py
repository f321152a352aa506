"""Tool-call arguments: an object inside the gateway, JSON text on every wire.

Knows JSON and nothing else. Invariant: `parse_arguments(dump_arguments(x)) == x` for what `parse_arguments` returns.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parse_arguments(text: str) -> dict[str, Any] | str:
    """The object that `text` spells, or `text` itself when it spells no JSON object (contract UA-VAL-06)."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def dump_arguments(arguments: Any) -> str:
    """JSON text for the wire; a string is text that never was an object and is passed on as it is."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
