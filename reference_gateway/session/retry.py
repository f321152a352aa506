"""Retries of a turn that was answered, or is being answered, do not sample again (option `idempotent_retry`).

A turn is a retry when it repeats a request under the same idempotency key, or when it has no key and its client counts
it as a retry. The first attempt of either kind is found by the same name. A retry that meets its first attempt still
running waits for it; if that attempt fails, the retry becomes an attempt of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from reference_gateway.types import Answer, Turn

Name = tuple[str, bytes]


class Retries:
    def __init__(self) -> None:
        self._answers: dict[Name, Answer] = {}
        self._running: dict[Name, asyncio.Event] = {}

    @asynccontextmanager
    async def attempt(self, turn: Turn, key: bytes) -> AsyncIterator[Answer | None]:
        """The answer that the turn was given already, or None while it is up to the caller to find one. `key` is that
        of the request's messages."""
        name = _name(turn, key)
        if turn.idempotency_key is not None or turn.retry_count:
            while name not in self._answers and (running := self._running.get(name)) is not None:
                await running.wait()
            if name in self._answers:
                answer = self._answers[name]
                yield replace(answer, message=dict(answer.message))
                return
        finished = self._running[name] = asyncio.Event()
        try:
            yield None
        finally:
            if self._running.get(name) is finished:
                del self._running[name]
            finished.set()

    def record(self, turn: Turn, key: bytes, answer: Answer) -> None:
        self._answers[_name(turn, key)] = answer


def _name(turn: Turn, key: bytes) -> Name:
    return turn.idempotency_key or "", key
