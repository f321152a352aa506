"""Which checks can a mutant reach at all? The others would do what they did against the unharmed gateway.

One run of the suite against the unharmed gateway records, per check, which functions of the gateway ran and a tape of
all requests, answers and calls of the engine. A mutant that replaces a function can only reach the checks in which that
function ran; one that rewrites answers, those in which an answer comes out otherwise; and of what is left, those whose
tape does not come out the same when it is played to the mutant. An answer is the same when it is for the check, which
may look at a part of it only.

What cannot be told this way is reached: checks whose tape does not even repeat itself, and mutants of the server below
the gateway.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

import reference_gateway
from conformance.run.checks import REQUIREMENT
from reference_gateway.codec import vocabulary
from reference_gateway.types import Codec
from tests.mutants.looks import Looked, Looks, alike
from tests.mutants.playing import Engine, Loop, same
from tests.mutants.registry import Mutant, area_of, in_force, may_judge
from tests.mutants.sabotage import Answer, App, Place, Sabotage
from tests.mutants.tape import Recorder

PACKAGE = str(Path(reference_gateway.__file__).parent)
BELOW = ("reference_gateway.serving.server", "uvicorn")
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
    looks: Looks = field(default_factory=Looks)
    ran: dict[str, set[CodeType]] = field(default_factory=dict)
    at_start: set[CodeType] = field(default_factory=set)
    codec: Codec | None = None
    requirements: dict[str, str] = field(default_factory=dict)
    """What each check is of."""
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
        """Once all was recorded: find the checks whose tape cannot be relied on, and what every rewriting asks for."""
        self.unsteady = self._otherwise(set(self.ran))
        for tape in self.recorder.tapes.values():
            for _, answer in tape.answers:
                answer.written  # noqa: B018 - known from now on

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        name = name_of(item)
        if REQUIREMENT in item.stash:
            self.requirements[name] = item.stash[REQUIREMENT].id
        self._running = self.ran.setdefault(name, set())
        self.recorder.begin(name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._running = None
        if self.recorder.tape is not None:
            self.recorder.tape.looked_at(self.looks.taken())
        self.recorder.end()

    def remade(self, sabotage: Sabotage) -> tuple[Any, App]:
        """A gateway with this sabotage, in the cheapest way that shows it."""
        return self.build(sabotage, None if self._shows_at_start(sabotage) else self.codec)

    def together(self, mutants: Iterable[Mutant]) -> list[list[Mutant]]:
        """Those among these to which tapes can be played at the same time, so that `reached` is told of all it has to
        do at once: no two of a list replace the same, or break the same area, where one could undo what another does.
        """
        groups: list[_Group] = []
        reaches: list[tuple[Mutant, _Reach]] = []
        for mutant in mutants:
            with in_force(mutant) as sabotage:
                if not sabotage.rewrites and sabotage.config == self.config:
                    reaches.append((mutant, self._reach(sabotage).among(self._for(mutant))))
        for mutant, reach in sorted(reaches, key=lambda each: (each[1].anew, -len(each[1].played))):
            if not reach.played:
                continue
            taken = {*reach.places, area_of(mutant.kills)}
            fitting = [each for each in groups if each.anew == reach.anew and not each.taken & taken]
            group = min(fitting, key=lambda each: len(reach.played - each.played), default=None)
            if group is None or not reach.played & group.played:  # then it would save nothing
                group = _Group(reach.anew)
                groups.append(group)
            group.mutants.append(mutant)
            group.taken |= taken
            group.played |= reach.played
        return [group.mutants for group in groups]

    def reached(self, mutants: Sequence[Mutant]) -> dict[str, set[str]]:
        """The checks that each of these mutants can reach. Several must be `together`."""
        reaches: dict[str, _Reach] = {}
        for mutant in mutants:
            with in_force(mutant) as sabotage:
                reaches[mutant.name] = self._reach(sabotage).among(self._for(mutant))
        found = {name: set(reach.surely) for name, reach in reaches.items()}
        for mutant, differing in self._played(mutants, {name: reach.played for name, reach in reaches.items()}):
            found[mutant.name] |= differing
        return found

    def _for(self, mutant: Mutant) -> set[str]:
        """The checks that this mutant is judged by, if it reaches them."""
        return {name for name in self.ran if may_judge(self.requirements.get(name, ""), mutant)}

    def _reach(self, sabotage: Sabotage) -> _Reach:
        touched = self._touched(sabotage) | (self._rewritten(sabotage) if sabotage.rewrites else set())
        replaced = sabotage.replaced or sabotage.wraps or sabotage.config
        if not replaced or below(sabotage):
            return _Reach(touched)
        anew = self._shows_at_start(sabotage)
        return _Reach(touched & self.unsteady, touched - self.unsteady, sabotage.places, anew)

    def _played(self, mutants: Sequence[Mutant], touched: Mapping[str, Set[str]]) -> Iterator[tuple[Mutant, Set[str]]]:
        """For each mutant the checks that it touches whose tape does not come out the same. One that comes out the same
        with several mutants at once does so with each of them."""
        names = set().union(*(touched[mutant.name] for mutant in mutants))
        yield from self._told_apart(mutants, touched, self._otherwise(names, mutants))

    def _told_apart(
        self, mutants: Sequence[Mutant], touched: Mapping[str, Set[str]], differing: Set[str]
    ) -> Iterator[tuple[Mutant, Set[str]]]:
        """Which of these mutants it is because of which the tapes of these checks come out otherwise: the only one that
        touches a check; else it is found by playing the tape with half of them."""
        touching = Counter(name for mutant in mutants for name in touched[mutant.name] & differing)
        several = {name for name, count in touching.items() if count > 1}
        for mutant in mutants:
            yield mutant, (touched[mutant.name] & differing) - several
        if not several:
            return
        first, second = mutants[: len(mutants) // 2], mutants[len(mutants) // 2 :]
        by_first, by_second = (
            several.intersection(set().union(*(touched[mutant.name] for mutant in half))) for half in (first, second)
        )
        both = by_first & by_second
        with_first = self._otherwise(both, first)
        yield from self._told_apart(first, touched, (by_first - both) | with_first)
        # What comes out the same with the first half does not with the second.
        yield from self._told_apart(second, touched, (by_second - with_first) | self._otherwise(with_first, second))

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
            if any(_changes(sabotage, answer, request.looked) for request, answer in tape.answers)
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
    """What is known of a mutant before any tape is played: the checks that it can reach surely, and those whose tape is
    to be `played` to it. `anew`: what a gateway is made of has to be made anew for it."""

    surely: Set[str]
    played: Set[str] = frozenset()
    places: Set[Place] = frozenset()
    anew: bool = False

    def among(self, names: Set[str]) -> _Reach:
        """As far as it is about these checks."""
        return replace(self, surely=self.surely & names, played=self.played & names)


@dataclass(eq=False, slots=True)
class _Group:
    """Mutants that are in force at once while the tapes of all of them are played."""

    anew: bool
    mutants: list[Mutant] = field(default_factory=list)
    taken: set[Place | str] = field(default_factory=set)
    """The places and areas of all."""
    played: set[str] = field(default_factory=set)


def below(sabotage: Sabotage) -> bool:
    """Is the server replaced, or a part of it?"""
    return any(one.startswith(BELOW) for one in sabotage.modules)


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


def _changes(sabotage: Sabotage, answer: Answer, looked: Looked) -> bool:
    """Does the sabotage change what is looked at in this answer?"""
    changed = answer.copy()
    for change in sabotage.rewrites:
        change(changed)
    same_head = (changed.status, changed.headers) == (answer.status, answer.headers)
    return not (same_head and alike(None if answer.is_stream else looked, changed.body, answer.body))


def _codes(original: Any) -> Iterator[CodeType]:
    """The code that runs when `original` is used; nothing when that cannot be told."""
    if isinstance(original, property):
        accessors = [each for each in (original.fget, original.fset) if each is not None]
    else:
        accessors = [] if hasattr(original, "cache_info") else [inspect.unwrap(getattr(original, "__func__", original))]
    for each in accessors:
        if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(PACKAGE):
            yield each.__code__
