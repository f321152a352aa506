"""How oracles word what they found: a value in a few characters, a path that a reader can follow.

Knows nothing of any wire. Every function takes any object at all and never raises; what it returns can be printed and
encoded (lone surrogates come out escaped).
"""

from __future__ import annotations

import json
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

LIMIT = 100
"""Characters of a value that are shown before it is cut."""


def parse_json(text: str) -> tuple[object, str]:
    """The document in `text` and "", or None and why it is not JSON (RFC 8259: `NaN` and `Infinity` are not)."""
    try:
        return json.loads(text, parse_constant=_no_constant), ""
    except json.JSONDecodeError as error:
        return None, f"{error.msg} at character {error.pos}"
    except ValueError as error:
        return None, str(error)
    except RecursionError:
        return None, "nested too deeply"


def brief(value: object, limit: int = LIMIT) -> str:
    """`value` as JSON where it is JSON, cut to `limit` characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        try:
            text = repr(value)
        except Exception:
            text = f"<{type(value).__name__}>"
    return printable(cut(text, limit))


def quoted(text: str, limit: int = LIMIT) -> str:
    """A piece of the wire as it stands there, cut to `limit` characters; control characters are escaped."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in cut(text, limit))
    return f"`{printable(shown)}`" if text else "an empty text"


def described(value: object) -> str:
    """`value` and its JSON type, for a message about a wrong type."""
    kind = type_name(value)
    return kind if kind in ("null", "true", "false") else f"{kind} {brief(value)}"


def type_name(value: object) -> str:
    """The JSON word for the type of `value`."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
        case dict():
            return "object"
        case _:
            return type(value).__name__


def written(path: Path, root: str = "body") -> str:
    """`("choices", 0, "message")` as `choices[0].message`; the empty path is `root`."""
    text = ""
    for step in path:
        if isinstance(step, str) and step.replace("-", "_").isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{brief(step, 40)}]"
    return printable(text) or root


def cut(text: str, limit: int = LIMIT) -> str:
    """`text`, shortened in its middle to `limit` characters."""
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def counted(number: int, word: str) -> str:
    """`1 id`, `2 ids`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def printable(text: str) -> str:
    """`text` with what cannot be encoded as UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
