"""Which files a search may look at, by their attributes: the `filters` of `file_search`.

Knows the comparisons of the API (`{"type": "eq", "key": "year", "value": 2024}`) and their compounds (`and`, `or`).
Pure. A file without the attribute is not looked at, and neither is one whose attribute cannot be compared.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

Filter = Callable[[Mapping[str, Any]], bool]
"""Attributes of a file -> whether it is looked at."""

MAX_DEPTH = 8
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, among: value in among,
    "nin": lambda value, among: value not in among,
}
COMPOUNDS: Mapping[str, Callable[[Any], bool]] = {"and": all, "or": any}


def filter_of(document: Any, where: str = "filters", depth: int = MAX_DEPTH) -> Filter:
    """What `filters` asks for; None asks for nothing. Raises ValueError naming the field."""
    if document is None:
        return lambda attributes: True
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in {**COMPARISONS, **COMPOUNDS} or depth == 0:
        expected = ", ".join((*COMPARISONS, *COMPOUNDS))
        raise ValueError(f"{where} must be an object with a type of {expected}, nested {MAX_DEPTH} deep at most")
    if kind in COMPOUNDS:
        parts = document.get("filters")
        if not isinstance(parts, list):
            raise ValueError(f"{where}.filters must be a list")
        inner = [filter_of(part, f"{where}.filters[{place}]", depth - 1) for place, part in enumerate(parts)]
        return lambda attributes: COMPOUNDS[kind](part(attributes) for part in inner)
    key, value = document.get("key"), document.get("value")
    if not isinstance(key, str):
        raise ValueError(f"{where}.key must be a string")
    if isinstance(value, list) is not (kind in ("in", "nin")) or value is None:
        raise ValueError(f"{where}.value must be a {'list' if kind in ('in', 'nin') else 'string, number or boolean'}")

    def compare(attributes: Mapping[str, Any]) -> bool:
        try:
            return key in attributes and COMPARISONS[kind](attributes[key], value)
        except TypeError:
            return False

    return compare
