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
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

import reference_gateway
from reference_gateway.types import Codec
from tests.mutants.playing import Engine, same
from tests.mutants.registry import Mutant
from tests.mutants.sabotage import Answer, App, Sabotage
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

    def reached(self, mutant: Mutant) -> set[str]:
        """The checks that the mutant can reach."""
        with pytest.MonkeyPatch.context() as monkeypatch:
            sabotage = Sabotage(monkeypatch)
            mutant.apply(sabotage)
            touched = self._touched(sabotage) | (self._rewritten(sabotage) if sabotage.rewrites else set())
            replaced = sabotage.replaced or sabotage.wraps or sabotage.config
            if not replaced or any(one.startswith(BELOW) for one in sabotage.modules):
                return touched
            return self._otherwise(touched - self.unsteady, sabotage) | (touched & self.unsteady)

    def _shows_at_start(self, sabotage: Sabotage) -> bool:
        """Is the gateway made otherwise?"""
        codes = [set(_codes(original)) for original in sabotage.replaced]
        return bool(sabotage.config) or any(not each or each & self.at_start for each in codes)

    def _touched(self, sabotage: Sabotage) -> set[str]:
        """The checks in which something ran that is replaced."""
        codes = [set(_codes(original)) for original in sabotage.replaced]
        unknown = any(not each or each & self.at_start for each in codes)
        if unknown or sabotage.wraps or sabotage.config != self.config:
            return set(self.ran)
        return {check for check, ran in self.ran.items() if any(each & ran for each in codes)}

    def _rewritten(self, sabotage: Sabotage) -> set[str]:
        """The checks that get another answer."""
        return {
            name
            for name, tape in self.recorder.tapes.items()
            if any(_changes(sabotage, answer) for answer in tape.answers)
        }

    def _otherwise(self, names: set[str], sabotage: Sabotage | None = None) -> set[str]:
        """The checks whose tape does not come out the same."""
        engine, tapes = Engine(), self.recorder.tapes

        async def play() -> set[str]:
            gateway, app = self.remade(sabotage) if sabotage else self.build(None, self.codec)
            async with gateway.router.lifespan_context(gateway):
                return {
                    name
                    for name in tapes
                    if name in names and not await same(tapes[name], app, engine, bool(sabotage and sabotage.rewrites))
                }

        logging.disable()
        try:
            with engine.playing():
                return asyncio.run(play())
        finally:
            logging.disable(logging.NOTSET)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        running = self._running
        if running is not None and event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            running.add(frame.f_code)


def name_of(item: pytest.Item) -> str:
    return f"{item.path.name}::{item.name}"


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
