"""For whom a request is made: two opaque keys that partition everything that a session keeps (contract AF-ISO).

Knows the two headers and the context of a request; never what is kept. A layer above sets the context once, around the
whole request, its stream included; whoever keeps something reads it, and nobody in between passes anything on.

Invariants: without keys the context is None; after a request it is what it was before; two requests never see each
other's. An empty header is no header. A key that comes twice, or as a list, is refused: one of two readers would take
the other value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

USER_HEADER = "x-agent-user-isolation-key"
CHAT_HEADER = "x-agent-chat-isolation-key"

LONGEST_KEY = 1024
"""Characters."""

_DRIVE = re.compile(r"[A-Za-z]:")
_UNFIT = re.compile(r"[/\\\x00]")


class AmbiguousKeys(ValueError):
    """The headers don't say one key. The text may be shown to the client."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The user and the chat; at least one of them is not None."""

    user: str | None = None
    chat: str | None = None

    @property
    def partition(self) -> bytes:
        """These keys as one, different for different keys."""
        return b"".join(b"-" if key is None else b"%d:%b" % (len(key), key.encode()) for key in (self.user, self.chat))


_current: ContextVar[Keys | None] = ContextVar("isolation_keys", default=None)


def current() -> Keys | None:
    """The keys of the request that is being served; None where it has none."""
    return _current.get()


def partition() -> bytes:
    """The partition of the request that is being served; empty where it has no keys."""
    keys = _current.get()
    return b"" if keys is None else keys.partition


@contextmanager
def bound(keys: Keys | None) -> Iterator[None]:
    """What happens in the block is done for `keys`."""
    token = _current.set(keys)
    try:
        yield
    finally:
        _current.reset(token)


def keys_of(headers: Iterable[tuple[bytes, bytes]]) -> Keys | None:
    """The keys in raw headers with lower-case names. Raises `AmbiguousKeys`."""
    keys: dict[str, str] = {}
    for name, value in headers:
        if not name.startswith(b"x-agent-"):
            continue
        header = name.decode("latin-1")
        key = value.decode("latin-1").strip()
        if header not in (USER_HEADER, CHAT_HEADER) or not key:
            continue
        if header in keys or "," in key:
            raise AmbiguousKeys(f"{header} must have one value")
        if len(key) > LONGEST_KEY:
            raise AmbiguousKeys(f"{header} must have at most {LONGEST_KEY} characters")
        keys[header] = key
    return Keys(keys.get(USER_HEADER), keys.get(CHAT_HEADER)) if keys else None


def path_key(key: object) -> str:
    """A key that may stand for a directory or a file. Raises ValueError for one that would name something else: empty,
    dots only, with a separator or NUL, or beginning with a drive (contract AF-ISO-09)."""
    if not isinstance(key, str):
        raise ValueError("a key must be a string")
    if not key.strip("."):
        raise ValueError("a key must not be empty or dots only")
    if _UNFIT.search(key):
        raise ValueError("a key must not have a slash, a backslash or NUL")
    if _DRIVE.match(key):
        raise ValueError("a key must not begin with a drive")
    return key
