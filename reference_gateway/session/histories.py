"""The conversations that a session holds for clients that send one message at a time (contract AF-SES).

Knows canonical messages and keys; never a wire. Each conversation belongs to a key inside the partition of the request
that asks for it (`isolation`), is made by its first use and is the same object from then on. `reset` gives the key a
new, empty one: the id `<key>#<8 hex>` takes the place of the one before, also after a restart when `aliases` are kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from reference_gateway import isolation
from reference_gateway.types import Message


@dataclass(slots=True, eq=False)
class History:
    """What was said so far. `turn` is held by the turn that is being taken, so that each sees all before it."""

    id: str
    messages: tuple[Message, ...] = ()
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, *messages: Message) -> None:
        """Put a turn that succeeded behind the others."""
        self.messages += messages


class Histories:
    """The histories of one session. `aliases` are the ids that took the place of keys, by `(partition, key)`."""

    def __init__(self, aliases: Mapping[tuple[bytes, str], str] | None = None) -> None:
        self.aliases = dict(aliases or {})
        self._live: dict[tuple[bytes, str], History] = {}

    def __len__(self) -> int:
        return len(self._live)

    def of(self, key: str) -> History:
        """The history of `key` for the keys of the request that is being served."""
        place = (isolation.partition(), key)
        history = self._live.get(place)
        if history is None:
            history = self._live[place] = History(self.aliases.get(place, key))
        return history

    def reset(self, key: str) -> str:
        """Begin anew for `key`. Returns the new id."""
        place = (isolation.partition(), key)
        self._live.pop(place, None)
        self.aliases[place] = f"{key}#{secrets.token_hex(4)}"
        return self.aliases[place]
