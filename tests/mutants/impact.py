"""Which checks can a mutant reach at all? The others would do what they did against the unharmed gateway.

One run of the suite against the unharmed gateway records, per check, which functions of the gateway ran and a tape of
all requests, answers and calls of the engine. A mutant that replaces a function can only reach the checks in which that
function ran; one that rewrites answers, those in which an answer comes out otherwise; and of what is left, those whose
tape does not come out the same when it is played to the mutant.

What cannot be told this way is reached: checks whose tape does not even repeat itself, and mutants of the server below
the gateway.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

import reference_gateway
from reference_gateway.codec import vocabulary
from reference_gateway.types import Codec
from tests.mutants.playing import Engine, Loop, same
from tests.mutants.registry import Mutant, area_of, in_force
from tests.mutants.sabotage import Answer, App, Place, Sabotage
from tests.mutants.tape import Recorder

PACKAGE = str(Path(reference_gateway.__file__).parent)
BELOW = ("reference_gateway.server", "uvicorn")
"""Modules of the server: what they do to a connection is on no tape."""

Build = Callable[[Sabotage | None, Codec | None], tuple[Any, App]]
"""Makes a gateway, with this codec if one is given: the app, and the same with what the sabotage puts around it."""


@dataclass(eq=False)
class Baseline:
    """What the unharmed gateway did, by check: `test_file.py::test_name[case]`. `config` is what it was started with
    beside what the harness gives all."""

    build: Build
    config: dict[str, Any] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)
    ran: dict[str, set[CodeType]] = field(default_factory=dict)
    at_start: set[CodeType] = field(default_factory=set)
    codec: Codec | None = None
    unsteady: set[str] = field(default_factory=set)
    """Checks whose tape differs from itself."""
    _running: set[CodeType] | None = None

    def start(self) -> App:
        """The unharmed gateway, recorded. The threads that this one starts are watched until `unwatch`."""
        self._running = self.at_start
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            gateway, app = self.build(None, None)
        finally:
            sys.setprofile(None)
            self._running = None
        self.codec = gateway.state.sessions.codec
        return self.recorder.around(app)

    def unwatch(self) -> None:
        threading.setprofile(None)

    def settle(self) -> None:
        """Once all was recorded: find the checks whose tape cannot be relied on."""
        self.unsteady = self._otherwise(set(self.ran))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        name = name_of(item)
        self._running = self.ran.setdefault(name, set())
        self.recorder.begin(name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._running = None
        self.recorder.end()

    def remade(self, sabotage: Sabotage) -> tuple[Any, App]:
        """A gateway with this sabotage, in the cheapest way that shows it."""
        return self.build(sabotage, None if self._shows_at_start(sabotage) else self.codec)

    def together(self, mutants: Iterable[Mutant]) -> list[list[Mutant]]:
        """Those among these to which tapes can be played at the same time, so that `reached` is told of all it has to
        do at once: no two of a list replace the same, or break the same area, where one could undo what another does.
        """
        groups: list[tuple[list[Mutant], set[Place | str]]] = []
        for mutant in mutants:
            with in_force(mutant) as sabotage:
                if sabotage.rewrites:
                    continue
                reach = self._reach(sabotage)
            if reach.alone or not reach.played:
                continue
            taken: set[Place | str] = {*reach.places, area_of(mutant.kills)}
            for members, places in groups:
                if not places & taken:
                    members.append(mutant)
                    places |= taken
                    break
            else:
                groups.append(([mutant], taken))
        return [members for members, _ in groups]

    def reached(self, mutants: Sequence[Mutant]) -> dict[str, set[str]]:
        """The checks that each of these mutants can reach. Several must be `together`."""
        reaches: dict[str, _Reach] = {}
        for mutant in mutants:
            with in_force(mutant) as sabotage:
                reaches[mutant.name] = self._reach(sabotage)
        found = {name: set(reach.surely) for name, reach in reaches.items()}
        for mutant, differing in self._played(mutants, {name: reach.played for name, reach in reaches.items()}):
            found[mutant.name] |= differing
        return found

    def _reach(self, sabotage: Sabotage) -> _Reach:
        touched = self._touched(sabotage) | (self._rewritten(sabotage) if sabotage.rewrites else set())
        replaced = sabotage.replaced or sabotage.wraps or sabotage.config
        if not replaced or any(one.startswith(BELOW) for one in sabotage.modules):
            return _Reach(touched)
        alone = bool(sabotage.rewrites) or self._shows_at_start(sabotage)
        return _Reach(touched & self.unsteady, touched - self.unsteady, sabotage.places, alone)

    def _played(
        self, mutants: Sequence[Mutant], touched: Mapping[str, Set[str]], among: Set[str] | None = None
    ) -> Iterator[tuple[Mutant, Set[str]]]:
        """For each mutant the checks that it touches, `among` these, whose tape does not come out the same. One that
        comes out the same with several mutants at once does so with each of them; else it is played with half of them.
        """
        names: Set[str] = set().union(*(touched[mutant.name] for mutant in mutants))
        differing = self._otherwise(names if among is None else names & among, mutants)
        if len(mutants) == 1:
            yield mutants[0], differing
        elif differing:
            half = len(mutants) // 2
            yield from self._played(mutants[:half], touched, differing)
            yield from self._played(mutants[half:], touched, differing)

    def _shows_at_start(self, sabotage: Sabotage) -> bool:
        """Is the gateway made otherwise, or could it be?"""
        codes = [set(_codes(original)) for original in sabotage.replaced]
        return sabotage.config != self.config or any(not each or each & self.at_start for each in codes)

    def _touched(self, sabotage: Sabotage) -> set[str]:
        """The checks in which something ran that is replaced."""
        if sabotage.wraps or self._shows_at_start(sabotage):
            return set(self.ran)
        codes = [set(_codes(original)) for original in sabotage.replaced]
        return {check for check, ran in self.ran.items() if any(each & ran for each in codes)}

    def _rewritten(self, sabotage: Sabotage) -> set[str]:
        """The checks that get another answer."""
        return {
            name
            for name, tape in self.recorder.tapes.items()
            if any(_changes(sabotage, answer) for answer in tape.answers)
        }

    def _otherwise(self, names: Set[str], mutants: Sequence[Mutant] = ()) -> set[str]:
        """The checks whose tape does not come out the same with these mutants."""
        if not names:
            return set()
        engine, tapes = Engine(), self.recorder.tapes

        async def play(gateway: Any, app: App, whole_bodies: bool) -> set[str]:
            async with gateway.router.lifespan_context(gateway):
                try:
                    return {
                        name
                        for name in tapes
                        if name in names and not await same(tapes[name], app, engine, whole_bodies)
                    }
                finally:
                    engine.leave()

        logging.disable()
        try:
            with in_force(*mutants) as sabotage, engine.playing():
                gateway, app = self.remade(sabotage) if mutants else self.build(None, self.codec)
                with asyncio.Runner(loop_factory=Loop) as runner:
                    return runner.run(play(gateway, app, bool(sabotage.rewrites)))
        finally:
            logging.disable(logging.NOTSET)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        running = self._running
        if running is not None and event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            running.add(frame.f_code)


@dataclass(frozen=True, eq=False, slots=True)
class _Reach:
    """What is known of a mutant before any tape is played: the checks that it can reach surely, and those whose tape
    is to be `played` to it, which is done `alone` or while others are in force that replace something else."""

    surely: Set[str]
    played: Set[str] = frozenset()
    places: Set[Place] = frozenset()
    alone: bool = True


def name_of(item: pytest.Item) -> str:
    return f"{item.path.name}::{item.name}"


@contextmanager
def known_ids() -> Iterator[None]:
    """While this lasts, tokenizers do not work again for a text that they know."""
    ids = vocabulary._ids
    known: dict[tuple[int, str], list[int]] = {}
    tokenizers: list[Any] = []  # kept, so that no other gets the identity of one

    @wraps(ids)
    def remembered(tokenizer: Any, text: str) -> list[int]:
        found = known.get((id(tokenizer), text))
        if found is None:
            tokenizers.append(tokenizer)
            found = known[id(tokenizer), text] = ids(tokenizer, text)
        return list(found)

    vocabulary._ids = remembered
    try:
        yield
    finally:
        vocabulary._ids = ids


def _changes(sabotage: Sabotage, answer: Answer) -> bool:
    changed = copy(answer)
    changed.headers = dict(answer.headers)
    for change in sabotage.rewrites:
        change(changed)
    return (changed.status, changed.headers, changed.body) != (answer.status, answer.headers, answer.body)


def _codes(original: Any) -> Iterator[CodeType]:
    """The code that runs when `original` is used; nothing when that cannot be told."""
    if isinstance(original, property):
        accessors = [each for each in (original.fget, original.fset) if each is not None]
    else:
        accessors = [] if hasattr(original, "cache_info") else [inspect.unwrap(getattr(original, "__func__", original))]
    for each in accessors:
        if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(PACKAGE):
            yield each.__code__
