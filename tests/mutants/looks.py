"""What a check looks at in the answers that it gets.

Checks read answers by the accessors of `Reply`, most of them no more than the message. An answer in which what is
looked at is the same is the same for the check, and what it sends afterwards, too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any

import pytest

from conformance.client.anthropic import MessageReply
from conformance.client.http import Reply
from conformance.client.invocations import InvocationReply
from conformance.client.responses import ResponseReply
from conformance.client.transcript import Exchange

Path = tuple[str | int, ...]
WHOLE: Path = ()
"""The path of a whole answer."""
Looked = Set[Path] | None
"""The paths of what is looked at in the JSON of an answer; None when it may be anything."""

_KINDS = (Reply, MessageReply, ResponseReply, InvocationReply)


class Looks:
    """While `watching`, takes down what is looked at in each answer that becomes a `Reply`."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Exchange, set[Path]]] = {}
        self._within = threading.local()

    def taken(self) -> list[tuple[Exchange, Looked]]:
        """What was looked at since this was asked last, by exchange."""
        seen, self._seen = self._seen, {}
        return [(exchange, None if WHOLE in paths else paths) for exchange, paths in seen.values()]

    @contextmanager
    def watching(self) -> Iterator[None]:
        begin, find, is_stream = Reply.__init__, Reply._at, Reply.is_stream.fget
        assert is_stream is not None

        def begun(reply: Reply, exchange: Exchange) -> None:
            begin(reply, exchange)
            self._seen.setdefault(id(exchange), (exchange, set()))

        def found(reply: Reply, *path: str | int, kind: Any) -> Any:
            self._note(reply, path)
            return self._apart(find, reply, *path, kind=kind)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Reply, "__init__", begun)
            patched.setattr(Reply, "_at", found)
            patched.setattr(Reply, "is_stream", property(lambda reply: self._apart(is_stream, reply)))
            for kind in _KINDS:
                for name in {"completion", "headers", "body"} & vars(kind).keys():
                    patched.setattr(kind, name, self._whole(vars(kind)[name]))
            yield

    def _whole(self, accessor: Any) -> property:
        read = accessor.fget if isinstance(accessor, property) else accessor.func

        def whole(reply: Reply) -> Any:
            self._note(reply, WHOLE)
            return self._apart(read, reply)

        return property(whole)

    def _note(self, reply: Reply, path: Path) -> None:
        if not getattr(self._within, "an_accessor", False):
            self._seen.setdefault(id(reply.exchange), (reply.exchange, set()))[1].add(path)

    def _apart(self, read: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Use what accessors are made of, which is not what the check looks at."""
        before = getattr(self._within, "an_accessor", False)
        self._within.an_accessor = True
        try:
            return read(*arguments, **named)
        finally:
            self._within.an_accessor = before


def alike(looked: Looked, one: bytes, other: bytes) -> bool:
    """Is what is looked at the same in these bodies?"""
    if looked is None or one == other:
        return one == other
    if not looked:
        return True
    try:
        documents = json.loads(one), json.loads(other)
    except (ValueError, RecursionError):
        return False
    return all(_written(documents[0], path) == _written(documents[1], path) for path in looked)


def _written(document: Any, path: Path) -> str | None:
    """What stands at a path, as text: it tells a number from a truth, and the order of fields."""
    for key in path:
        try:
            document = document[key]
        except (LookupError, TypeError):
            return None
    return json.dumps(document)
