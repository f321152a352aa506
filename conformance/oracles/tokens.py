"""Token ids as bytes: what makes the token oracles fast, and how they show a place in a list of ids.

A list of ids is packed into 8 bytes an id, so that a prefix of 100,000 ids is compared by one `memcmp`. Anything that
is not an id (a text, a float, None) packs to a number of its own that equals itself and no id, so junk compares too.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from conformance.oracles.wording import brief

Decode: TypeAlias = Callable[[Sequence[int]], str]
"""Ids -> text, special tokens included."""

WIDTH = 8
_NO_ID = -(1 << 48)


def sequence(value: object) -> Sequence[Any]:
    """`value` if it is a sequence of things, otherwise an empty one."""
    if isinstance(value, list | tuple | array | range):
        return value
    if value is None or isinstance(value, str | bytes | bytearray | dict | set | frozenset):
        return ()
    try:
        return list(value)  # type: ignore[call-overload, no-any-return]
    except Exception:
        return ()


def pack(ids: object) -> bytes:
    """`ids` as bytes, `WIDTH` an id."""
    items = sequence(ids)
    try:
        return array("q", items).tobytes()
    except (TypeError, ValueError, OverflowError):
        return array("q", [_number(item) for item in items]).tobytes()


def unpack(packed: bytes) -> list[int]:
    """The ids in `packed`."""
    ids = array("q")
    ids.frombytes(packed)
    return ids.tolist()


def count(packed: bytes) -> int:
    """How many ids `packed` holds."""
    return len(packed) // WIDTH


def part(packed: bytes, start: int, end: int) -> bytes:
    """The ids from `start` up to `end`, both counted in ids and not negative."""
    return packed[start * WIDTH : end * WIDTH]


def stands_at(packed: bytes, wanted: bytes, start: int) -> bool:
    """Whether the ids `wanted` stand in `packed` from id `start` on."""
    return start >= 0 and packed.startswith(wanted, start * WIDTH)


def places(packed: bytes, wanted: bytes) -> list[int]:
    """Where the ids `wanted` stand in `packed`, as id offsets."""
    offsets, at = [], packed.find(wanted) if wanted else -1
    while at >= 0:
        if at % WIDTH == 0:
            offsets.append(at // WIDTH)
        at = packed.find(wanted, at + 1)
    return offsets


def first_difference(left: bytes, right: bytes) -> int:
    """The index of the first id in which the two differ; the shorter one's length if it is a prefix of the other."""
    shorter, low, step = min(count(left), count(right)), 0, 64
    while low < shorter:
        high = min(low + step, shorter)
        if part(left, low, high) != part(right, low, high):
            break
        low, step = high, step * 2
    else:
        return shorter
    while high - low > 1:
        middle = (low + high) // 2
        if part(left, low, middle) == part(right, low, middle):
            low = middle
        else:
            high = middle
    return low


def common_tail(left: bytes, right: bytes, limit: int) -> int:
    """How many ids at the end are the same, `limit` at most."""
    low, high = 0, min(limit, count(left), count(right)) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if left[len(left) - middle * WIDTH :] == right[len(right) - middle * WIDTH :]:
            low = middle
        else:
            high = middle
    return low


def text_of(packed: bytes, decode: Decode | None) -> str | None:
    """The text of the ids; None without a decoder or when it does not take these ids."""
    if decode is None:
        return None
    try:
        text = decode(unpack(packed))
    except Exception:
        return None
    return text if isinstance(text, str) else None


def window(packed: bytes, index: int, decode: Decode | None = None) -> str:
    """The ids around `index`, which stands in brackets, and their text: `... 5 6 [7] 8 ... = "text"`."""
    start, end = max(0, index - 3), min(count(packed), index + 5)
    around = part(packed, start, end)
    words = [_shown(token_id) for token_id in unpack(around)]
    if index - start < len(words):
        words[index - start] = f"[{words[index - start]}]"
    else:
        words.append("[end]")
    if start > 0:
        words.insert(0, "...")
    if end < count(packed):
        words.append("...")
    return " ".join(words) + _spoken(around, decode)


def listed(packed: bytes, decode: Decode | None = None, limit: int = 12) -> str:
    """`3 ids 5 6 7`, the first `limit` of them, and their text."""
    number = count(packed)
    head = part(packed, 0, limit)
    words = [_shown(token_id) for token_id in unpack(head)] + ["..."] * (number > limit)
    return f"{number} id{'s' * (number != 1)} {' '.join(words)}".rstrip() + _spoken(head, decode)


def _spoken(packed: bytes, decode: Decode | None) -> str:
    text = text_of(packed, decode)
    return "" if text is None else f" = {brief(text, 60)}"


def _shown(number: int) -> str:
    return "?" if number <= _NO_ID else str(number)


def _number(item: object) -> int:
    if isinstance(item, int) and abs(item) < -_NO_ID:
        return item
    try:
        return _NO_ID - zlib.crc32(repr(item).encode("utf-8", "replace"))
    except Exception:
        return _NO_ID
