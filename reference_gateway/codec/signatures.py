"""The types that the tools of a request want for their arguments (contract UA-TC-05).

Knows OpenAI tools and as much of JSON Schema as says of what type a value is. Never knows a format of calls.

A schema is the client's, and may refer to itself: each part of it is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reference_gateway.tools.arguments import parse_json
from reference_gateway.types import Tool

_PYTHON: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}
_NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}
_ANYTHING = frozenset[str]()


class Signatures:
    """What the `tools` of one request say; each argument is looked up once, however often it is written."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools
        self._types: dict[tuple[str, str], frozenset[str]] = {}

    def names(self) -> set[str]:
        """The names of the tools."""
        return {function["name"] for function in self._functions() if isinstance(function.get("name"), str)}

    def typed(self, name: str, arguments: dict[str, Any], *, untyped: bool = False) -> dict[str, Any]:
        """`arguments` of the tool `name`, with strings turned into what its schema asks for where that loses nothing.
        `untyped`: they were written in a format that has text only, in which `null` looks like a string."""
        return {
            key: self._value(value, name, key, untyped) if isinstance(value, str) else value
            for key, value in arguments.items()
        }

    def _value(self, value: str, name: str, key: str, untyped: bool) -> Any:
        wanted = self._types.get((name, key))
        if wanted is None:
            wanted = self._types[name, key] = self._wanted(name, key)
        if "string" in wanted:
            return None if untyped and value == "null" and "null" in wanted else value
        return read_as(value, wanted) if wanted else value

    def _wanted(self, name: str, key: str) -> frozenset[str]:
        for function in self._functions():
            if function.get("name") == name:
                parameters = function.get("parameters")
                properties = parameters.get("properties") if isinstance(parameters, dict) else None
                return types_of(properties.get(key), parameters) if isinstance(properties, dict) else _ANYTHING
        return _ANYTHING

    def _functions(self) -> Iterator[dict[str, Any]]:
        return (function for tool in self._tools if isinstance(function := tool.get("function"), dict))


def read_as(value: str, wanted: frozenset[str]) -> Any:
    """What the text `value` spells if that is of one of the types `wanted`, else `value`."""
    word = value.strip().lower()
    if "boolean" in wanted and word in ("true", "false"):
        return word == "true"
    if "null" in wanted and word in ("null", "none"):
        return None
    try:
        read = parse_json(value)
    except ValueError:
        return value
    kinds = tuple(kind for name in wanted for kind in _PYTHON.get(name, ()))
    return read if isinstance(read, kinds) and not isinstance(read, bool) else value


def types_of(schema: Any, root: Any) -> frozenset[str]:
    """The JSON types that a schema allows for a value, as far as it says so: by `type` and `nullable`, else by `enum`
    and `const`, by a local `$ref` into `root`, or by what it is put together of. Empty when it says nothing."""
    if isinstance(schema, dict) and isinstance(schema.get("type"), str) and "nullable" not in schema:
        return frozenset((schema["type"],))  # nearly every argument
    types: set[str] = set()
    looked_at: set[int] = set()
    left = [schema]
    while left:
        part = left.pop()
        if not isinstance(part, dict) or id(part) in looked_at:
            continue
        looked_at.add(id(part))
        if part.get("nullable") is True:
            types.add("null")
        stated = part.get("type")
        if isinstance(stated, str):
            types.add(stated)
        elif isinstance(stated, list):
            types.update(name for name in stated if isinstance(name, str))
        else:
            types.update(_NAMES[type(value)] for value in _values(part))
            left += _parts(part, root)
    return frozenset(types)


def _values(schema: Mapping[str, Any]) -> list[Any]:
    """Those that a schema lists."""
    choices = schema.get("enum")
    return [*(choices if isinstance(choices, list) else ()), *([schema["const"]] if "const" in schema else ())]


def _parts(schema: Mapping[str, Any], root: Any) -> list[Any]:
    """The schemas that a schema is put together of."""
    listed = [schema.get(word) for word in ("anyOf", "oneOf", "allOf")]
    parts = [part for parts in listed if isinstance(parts, list) for part in parts]
    reference = schema.get("$ref")
    return [*parts, _referred(reference, root)] if isinstance(reference, str) else parts


def _referred(reference: str, root: Any) -> Any:
    """What `#/...` refers to; None for what is elsewhere or missing."""
    if not reference.startswith("#"):
        return None
    place = root
    for step in reference[1:].split("/")[1:]:
        place = place.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
    return place
