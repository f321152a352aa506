"""One fault at a time: every place of a document, spoiled in each way that fits what stands there.

A document is any JSON value; a spoil is (what was done to it, the spoiled document). In order, and without chance.
"""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

from conformance.oracles.wording import brief, cut, written

Path = tuple[Any, ...]


def spoils(document: Any, whole: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """All spoils of a document, in reading order; what stands under the keys `whole` is not taken apart."""
    for path, value in _places((), document, whole):
        for instead in _others(value):
            yield f"{_at(path)} = {brief(instead, 40)}", _changed(document, path, partial(_put, instead))
        if not path:
            continue
        yield f"{_at(path)} gone", _changed(document, path, _drop)
        if isinstance(path[-1], int):
            yield f"{_at(path)} twice", _changed(document, path, _double)
            yield f"{_at(path)} behind the next", _changed(document, path, _swap)


def told(document: Any, judge: Callable[[Any], list[str]], whole: Collection[str] = ()) -> Iterator[str]:
    """What a judge says of a document, and of each of its spoils: a line each, with the first word in short; the sum
    stands for all that is not shown."""
    for what, one in [("as it is", document), *spoils(document, whole)]:
        yield f"{what}: {_words(judge(one))}"


def _words(said: list[str]) -> str:
    shown = cut(said[0]) if said else "nothing"
    if len(said) < 2 and shown in ("nothing", *said):
        return shown
    return f"{shown} (of {len(said)}, {zlib.crc32(repr(said).encode()):08x})"


def changes(before: Any, after: Any, path: Path = ()) -> list[str]:
    """Where a document differs from another."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = [f"{_at((*path, key))} is not there" for key in before if key not in after]
        found += [f"{_at((*path, key))} is {brief(after[key])}" for key in after if key not in before]
        found += ["other order"] if list(before) != list(after) and not found else []
        return found + [one for key in before if key in after for one in changes(before[key], after[key], (*path, key))]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [one for place in range(len(before)) for one in changes(before[place], after[place], (*path, place))]
    same = json.dumps(before) == json.dumps(after)
    return [] if same else [f"{_at(path)} is {brief(after)}"]


def _places(path: Path, value: Any, whole: Collection[str]) -> Iterator[tuple[Path, Any]]:
    yield path, value
    if path and path[-1] in whole:
        return
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _places((*path, key), each, whole)


def _others(value: Any) -> Iterator[Any]:
    """What may stand there instead."""
    match value:
        case None:
            yield from (5, "odd", {})
        case bool():
            yield from (None, not value)
        case int() | float():
            yield from (None, -1, 0, value + 1, str(value))
        case str():
            yield from (None, "", f"{value}!", 5)
        case list():
            yield from (None, [], [5])
        case dict():
            yield from (None, {}, "odd", {**value, "odd": 1})


def _changed(document: Any, path: Path, change: Callable[[Any, Any], object]) -> Any:
    root = [copy.deepcopy(document)]
    container: Any = root
    for key in (0, *path)[:-1]:
        container = container[key]
    change(container, (0, *path)[-1])
    return root[0]


def _put(value: Any, container: Any, key: Any) -> None:
    container[key] = copy.deepcopy(value)


def _drop(container: Any, key: Any) -> None:
    del container[key]


def _double(container: list[Any], key: int) -> None:
    container.insert(key, copy.deepcopy(container[key]))


def _swap(container: list[Any], key: int) -> None:
    container[key : key + 2] = container[key : key + 2][::-1]


def _at(path: Path) -> str:
    return written(path, "all")
