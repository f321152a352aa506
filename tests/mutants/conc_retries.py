"""Mutants of area CONC: a request that is sent again is taken for something else than it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from reference_gateway.session import Session
from reference_gateway.session.retry import Retries
from reference_gateway.session.tree import Match
from reference_gateway.types import Answer, Turn
from tests.mutants.conc import around_attempts
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


def _as(gateway: Sabotage, seen: Callable[[Turn], Turn]) -> None:
    """What the session's memory of answers sees in place of a turn."""

    @gateway.wrap(Retries, "attempt")
    def attempt(original: Any, self: Retries, turn: Turn, key: bytes) -> Any:
        return original(self, seen(turn), key)

    @gateway.wrap(Retries, "record")
    def record(original: Any, self: Retries, turn: Turn, key: bytes, answer: Answer) -> None:
        original(self, seen(turn), key, answer)


def _forget_answered(gateway: Sabotage, forgets: Callable[[Turn], bool]) -> None:
    """A retry that comes when its first attempt was answered is an attempt of its own."""

    @gateway.wrap(Retries, "attempt")
    def attempt(original: Any, self: Retries, turn: Turn, key: bytes) -> Any:
        name = (turn.idempotency_key or "", key)
        if forgets(turn) and name not in self._running:
            self._answers.pop(name, None)
        return original(self, turn, key)


@mutant("CONC-016", also=("CONC-018", "CONC-019"), bugs=(66,))
def idempotency_key_is_not_read(gateway: Sabotage) -> None:
    """A retry is known by the counter of the stock SDKs; nobody reads the `Idempotency-Key`."""
    _as(gateway, lambda turn: replace(turn, idempotency_key=None))


@mutant("CONC-016", bugs=(66,))
def key_is_forgotten_with_the_answer(gateway: Sabotage) -> None:
    """A key protects a turn while it runs, and is forgotten once it was answered."""
    _forget_answered(gateway, lambda turn: turn.idempotency_key is not None)


@mutant("CONC-017", bugs=(66,))
def sdk_retry_of_an_answered_turn_is_sampled(gateway: Sabotage) -> None:
    """A retry without a key finds the turn that is in flight, but not one that was answered."""
    _forget_answered(gateway, lambda turn: turn.idempotency_key is None)


@mutant("CONC-018", bugs=(66,))
def turns_in_flight_are_not_remembered(gateway: Sabotage) -> None:
    """Answers are remembered when they are there; a retry that comes earlier is sampled."""

    @gateway.wrap(Retries, "attempt")
    def attempt(original: Any, self: Retries, turn: Turn, key: bytes) -> Any:
        self._running.clear()
        return original(self, turn, key)


@mutant("CONC-019")
def failure_is_remembered_for_the_retry(gateway: Sabotage) -> None:
    """A retry gets what its first attempt got, also where that was a failure."""
    failures: dict[Any, Exception] = {}

    @gateway.wrap(Retries, "attempt")
    @asynccontextmanager
    async def attempt(original: Any, self: Retries, turn: Turn, key: bytes) -> AsyncIterator[Answer | None]:
        name = (self, turn.idempotency_key or "", key)
        if name in failures and (turn.idempotency_key or turn.retry_count):
            raise failures[name]
        try:
            async with original(self, turn, key) as answered:
                yield answered
        except Exception as error:
            failures[name] = error
            raise


@mutant("CONC-020")
def every_repeat_is_a_retry(gateway: Sabotage) -> None:
    """Answers are remembered by what was asked, and every repeat gets the same."""
    _as(gateway, lambda turn: replace(turn, idempotency_key=None, retry_count=1))


@mutant("CONC-021")
def retries_are_never_sampled(gateway: Sabotage) -> None:
    """The gateway remembers answers for retries, whatever the session was created with."""
    answers: dict[tuple[Session, str, bytes], Answer] = {}

    async def attempt(run: Any, session: Session, turn: Turn, keys: list[bytes]) -> Answer:
        name = (session, turn.idempotency_key or "", keys[-1])
        if name not in answers or not (turn.idempotency_key or turn.retry_count):
            answers[name] = await run()
        return answers[name]

    around_attempts(gateway, attempt)


@mutant("CONC-022", bugs=(44, 66))
def remembered_answer_is_recorded_again(gateway: Sabotage) -> None:
    """The answer that a retry gets from memory is recorded as a turn of its own."""

    @gateway.wrap(Session, "_run")
    async def run(original: Any, self: Session, turn: Turn) -> Any:
        before = self._tree._sequence
        answer = await original(self, turn)
        chains = self._tree.chains()
        retried = self._retries is not None and (turn.idempotency_key or turn.retry_count)
        if retried and chains and self._tree._sequence == before:
            tip = chains[-1].tip
            same = {"asked": tip.asked, "keys": tip.keys, "depth": tip.depth, "turns": tip.turns}
            self._commit(self._tree.grow(Match(tip.parent), **same, context=tip.context, sampled=tip.sampled))
        return answer
