"""JSON that nobody sends: any value at all, and documents that are right but for a place or two."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

ODD = [0, -1, 2**63, 10**400, 0.5, 1e308, "", "\0", "\ud800", "..", "é" * 300, True, [], {}, [[]], {"": None}]
"""What parsers trip over."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoiled(draw: st.DrawFn, *documents: Any) -> Any:
    """One of these, with one to three of its values replaced, taken out, doubled or put into a list."""
    found = [copy.deepcopy(draw(st.sampled_from(documents)))]
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(_places(found))))
        match draw(st.sampled_from(["replace", "odd", "wrap", "drop", "double"])):
            case "replace":
                container[key] = draw(JSON)
            case "odd":
                container[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "wrap":
                container[key] = [container[key]]
            case "drop" if isinstance(container, dict):
                del container[key]
            case "double" if isinstance(container, list) and container is not found:
                container.append(copy.deepcopy(container[key]))
    return found[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, inner in pairs:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


@st.composite
def bodies(draw: st.DrawFn, *documents: Any) -> bytes:
    """A spoiled document as bytes; now and then cut off, or with bytes of something else in it."""
    body = json.dumps(draw(spoiled(*documents))).encode()
    if draw(st.integers(0, 9)):
        return body
    at = draw(st.integers(0, len(body)))
    return (
        body[:at] + draw(st.sampled_from([b"", b"\xff", b"NaN", b"[" * 2000, b'"a":1,"a":2', b"9" * 5000])) + body[at:]
    )
