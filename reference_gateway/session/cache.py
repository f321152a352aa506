"""The sessions that are alive, and which of them may leave memory (contract HA-CAP, HA-TTL).

Knows sessions by id and by when they were last used; never what is in them. A session that left memory has to come back
as it was, so nothing leaves unless there is a `store` that can rebuild it; without one, `cap` and `idle_ttl` evict
nothing. Invariants:

- The least recently used come first. Only as many as are over the cap are candidates, and one that has a turn in flight
  stays without a newer one going in its place.
- A finalized session is gone and its id is free. An aborted one stays readable until `remembered` others were aborted.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from reference_gateway.session.errors import InvalidField, SessionExists, UnknownSession
from reference_gateway.session.session import Phase, Session
from reference_gateway.session.settings import Settings
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.session.tree import Node, Stop
from reference_gateway.types import Backend, Codec, MediaExtractor

log = logging.getLogger(__name__)

SESSION_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~:@-]{0,127}")
"""Ids are path segments: letters that no client and no proxy respells in a URL."""


class Store(Protocol):
    """What outlives memory: the seam of the journal."""

    def journal(self, session: Session) -> Callable[[Node | Stop], None]:
        """What the session calls with each record before it is applied."""

    def load(self, session_id: str) -> Session | None:
        """The session as it was when it was last in memory, or None."""


class Sessions:
    """All sessions of a gateway. `clock` gives seconds since the epoch, `idle_ttl` is in seconds."""

    def __init__(
        self,
        codec: Codec,
        backend: Backend,
        *,
        media: MediaExtractor | None = None,
        options: Mapping[str, Any] | None = None,
        cap: int = 128,
        idle_ttl: float = 3600.0,
        remembered: int = 10_000,
        clock: Callable[[], float] = time.time,
        store: Store | None = None,
    ) -> None:
        self.codec = codec
        self.backend = backend
        self.media = media
        self.options = dict(options or {})
        self.cap = cap
        self.idle_ttl = idle_ttl
        self.remembered = remembered
        self.clock = clock
        self.store = store
        self._live: OrderedDict[str, Session] = OrderedDict()
        self._aborted: OrderedDict[str, Session] = OrderedDict()
        self._used: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Session]:
        """Live sessions in memory, the least recently used first."""
        return iter(list(self._live.values()))

    def create(
        self,
        session_id: str | None = None,
        *,
        sampling_params: Mapping[str, Any] | None = None,
        prompt_length: int | None = None,
        response_length: int | None = None,
        options: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """A new session; `options` override those of the gateway. Raises `SessionExists` and `InvalidField`."""
        if session_id is None:
            session_id = uuid.uuid4().hex
        elif not isinstance(session_id, str) or not SESSION_ID.fullmatch(session_id):
            raise InvalidField(
                "session_id", "must be 1 to 128 letters, digits or . _ ~ : @ -, and not begin with . : @"
            )
        if self._find(session_id) is not None:
            raise SessionExists(session_id)
        if options is not None and not isinstance(options, Mapping):
            raise InvalidField("options", "must be an object")
        settings = Settings(
            sampling_params=sampling_params,
            prompt_length=prompt_length,
            response_length=response_length,
            options={**self.options, **(options or {})},
            metadata=metadata,
        )
        session = Session(session_id, self.codec, self.backend, settings, media=self.media, clock=self.clock)
        if self.store is not None:
            session.journal = self.store.journal(session)
        self._keep(session)
        self.enforce_cap()
        return session

    def get(self, session_id: str) -> Session:
        """The session, also a completed or an aborted one. Raises `UnknownSession`."""
        session = self._find(session_id)
        if session is None:
            raise UnknownSession(session_id)
        if session.phase is not Phase.ABORTED:
            self._keep(session)
        return session

    def finalize(self, session_id: str) -> list[Trajectory]:
        """The trajectories; the session is gone. Raises `UnknownSession`, and `SessionClosed` for an aborted one."""
        session = self.get(session_id)
        trajectories = session.finalize()
        self._forget(session_id)
        return trajectories

    def abort(self, session_id: str) -> None:
        """Discard what the session holds. Idempotent, and nothing for an unknown id (contract UA-LC-06)."""
        session = self._find(session_id)
        if session is None or session.phase is Phase.ABORTED:
            return
        session.abort()
        self._forget(session_id)
        self._aborted[session_id] = session
        while len(self._aborted) > self.remembered:
            self._aborted.popitem(last=False)

    def clear(self) -> None:
        """Forget every session (gateway shutdown). Turns in flight are answered as of an aborted session."""
        for session in self:
            session.abort()
        self._live.clear()
        self._aborted.clear()
        self._used.clear()

    def enforce_cap(self) -> int:
        """Let the sessions over the cap leave memory, where they can come back. Returns how many did."""
        excess = len(self._live) - self.cap
        if self.store is None or excess <= 0:
            return 0
        idle = [session for session in islice(self._live.values(), excess) if not session.in_flight]
        if not idle:
            log.warning("%d sessions over the cap of %d, all of them mid-turn", excess, self.cap)
        for session in idle:
            self._forget(session.session_id)
        return len(idle)

    def sweep(self) -> int:
        """Let the sessions that were idle for longer than `idle_ttl` leave memory, where they can come back. Returns
        how many did."""
        if self.store is None:
            return 0
        now = self.clock()
        stale = [s for s in self if not s.in_flight and now - self._used[s.session_id] > self.idle_ttl]
        for session in stale:
            self._forget(session.session_id)
        return len(stale)

    def _find(self, session_id: str) -> Session | None:
        session = self._live.get(session_id) or self._aborted.get(session_id)
        if session is None and self.store is not None:
            session = self.store.load(session_id)
        return session

    def _keep(self, session: Session) -> None:
        self._live[session.session_id] = session
        self._live.move_to_end(session.session_id)
        self._used[session.session_id] = self.clock()

    def _forget(self, session_id: str) -> None:
        self._live.pop(session_id, None)
        self._used.pop(session_id, None)
