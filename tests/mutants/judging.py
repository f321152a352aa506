"""Judges mutants: the suite is collected once and run once against the unharmed gateway, which is recorded; then each
mutant is judged in a process forked from there, by the checks that it can reach.

In a forked process the checks run as pytest runs them, against a gateway that really serves. The requirement that the
mutant names is judged first; the checks of a requirement that has failed are not run again.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import selectors
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, cast

import pytest

from conformance import checks
from conformance.checks import REQUIREMENT
from conformance.gateway import Declaration, Gateway
from conformance.requirements import Requirement
from conformance.run import RUN, Run
from conformance.target import Target, connect
from conformance.upstream.client import Upstream
from reference_gateway.server import serving as served
from tests.mutants import fate
from tests.mutants.harness import Verdicts, build, run_suite
from tests.mutants.impact import Baseline, name_of
from tests.mutants.registry import MUTANTS, Mutant
from tests.mutants.sabotage import Sabotage

PATIENCE = 1.5
"""Seconds that a check may take before it fails, if it took the unharmed gateway less than a fifth of that; else five
times what it took."""
MANY = 8
"""So many mutants with the same settings are worth an unharmed gateway with these settings."""
LIMIT = 600.0
"""Seconds after which a mutant is given up: it hangs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the suite said of one mutant. `failed`: requirement -> the text of its first failure. `killed`: whether the
    one that it names failed when its check was called. `broken`: those whose check broke, which is a defect of the
    suite. `crash`: why there is no more to say."""

    name: str
    failed: dict[str, str] = field(default_factory=dict)
    killed: bool = False
    broken: dict[str, str] = field(default_factory=dict)
    checks: int = 0
    seconds: float = 0.0
    crash: str = ""


def judge(
    upstream: Upstream, names: Sequence[str], folder: Path, heard: Callable[[Finding], None], jobs: int, *arguments: str
) -> list[Judging]:
    """Judge these mutants, `jobs` at a time, once the unharmed gateway has passed; `heard` is told of each as it is
    judged. `arguments` choose the checks. Many mutants with settings of their own have an unharmed gateway with these
    settings."""
    with_settings: dict[str, list[str]] = {}
    for name in names:
        with_settings.setdefault(repr(_config(name)), []).append(name)
    apart = [group for settings, group in with_settings.items() if settings != "{}" and len(group) >= MANY]
    common = [name for name in names if not any(name in group for group in apart)]
    made = [Judging(upstream, common, heard, jobs), *(Judging(upstream, g, heard, jobs, _config(g[0])) for g in apart)]
    for judging in made:
        judging.run(folder, *arguments)
    return made


def _config(name: str) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        MUTANTS[name].apply(sabotage)
        return sabotage.config


class Judging:
    """A pytest plug-in that takes the place of the loop over the suite's checks."""

    def __init__(
        self,
        upstream: Upstream,
        names: Sequence[str],
        heard: Callable[[Finding], None],
        jobs: int,
        config: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.unharmed = Verdicts()
        self.baseline = Baseline(
            lambda sabotage, codec: build(upstream, sabotage, codec, **({} if sabotage else config)), dict(config)
        )
        self._upstream, self._names, self._heard, self._jobs = upstream, names, heard, jobs
        self._gateway = ExitStack()
        self._slowest = 0.0

    def run(self, folder: Path, *arguments: str) -> None:
        """Judge the unharmed gateway, and if it passes, the mutants."""
        fate.install()
        logging.disable()  # a log line asks for the time as well
        with self._gateway:
            self._gateway.callback(logging.disable, logging.NOTSET)
            self._gateway.callback(self.baseline.unwatch)
            self._gateway.enter_context(self.baseline.recorder.engine())
            url = self._gateway.enter_context(served(cast(Any, self.baseline.start())))
            quiet = ("-p", "no:logging", "-p", "no:warnings", "--gateway-timeout-scale", "3")
            run_suite(url, self._upstream, folder, *quiet, *arguments, plugins=[self])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        with _hearing(session.config, self.unharmed, self.baseline):
            for place, item in enumerate(session.items):
                following = session.items[place + 1] if place + 1 < len(session.items) else None
                began = time.perf_counter()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                self._slowest = max(self._slowest, time.perf_counter() - began)
        self._gateway.close()  # only the thread that forks may be left
        if not self.unharmed.failed | self.unharmed.broken:
            self.baseline.settle()
            self._judge(session)
        return True

    def _judge(self, session: pytest.Session) -> None:
        gc.freeze()  # what is there is shared by all processes, unless a collection touches it
        waiting = list(self._names)
        with selectors.PollSelector() as running:
            while waiting or running.get_map():
                while waiting and len(running.get_map()) < self._jobs:
                    judged = _Judged.begin(waiting.pop(0), lambda mutant: self._finding(session, mutant))
                    running.register(judged.pipe, selectors.EVENT_READ, judged)
                for key, _ in running.select(timeout=1.0):
                    if key.data.read():
                        running.unregister(key.fileobj)
                        self._heard(key.data.finding())
                for key in list(running.get_map().values()):
                    key.data.give_up_if_late()

    def _finding(self, session: pytest.Session, mutant: Mutant) -> Finding:
        """In the forked process: what the suite says of this mutant."""
        gc.disable()  # it will not live long enough to need it
        began = time.perf_counter()
        run = session.config.stash[RUN]
        unharmed = run.declaration
        run.settings = replace(run.settings, timeout=max(PATIENCE, 5 * self._slowest))
        run.upstream = Upstream(self._upstream.url, self._upstream.tokenizer)
        reached = self.baseline.reached(mutant)
        verdicts = Verdicts()
        sabotage = Sabotage(pytest.MonkeyPatch())
        mutant.apply(sabotage)
        # Nothing is undone and the server is not stopped: this process ends with its finding.
        server = served(cast(Any, self.baseline.remade(sabotage)[1]))
        run.gateway = Gateway(server.__enter__(), driver="http")
        target = connect(run.gateway, run.upstream, run.settings)
        chosen = [
            item
            for item in session.items
            if name_of(item) in reached
            or _requirement(item).id == mutant.kills
            or _stands_otherwise(item, run, unharmed, target)
        ]
        chosen.sort(key=lambda item: _requirement(item).id != mutant.kills)
        with _hearing(session.config, verdicts):
            count = _run(chosen, session.items, verdicts)
        texts = {one: texts[0] for one, texts in verdicts.texts.items()}
        return Finding(
            mutant.name,
            {one: texts.get(one, "") for one in sorted(verdicts.failed)},
            mutant.kills in verdicts.called,
            {one: texts.get(one, "") for one in sorted(verdicts.broken)},
            count,
            round(time.perf_counter() - began, 3),
        )


@dataclass(eq=False)
class _Judged:
    """A mutant in a process of its own, as its parent sees it."""

    name: str
    process: int
    pipe: int
    began: float
    heard: bytes = b""
    late: bool = False

    @classmethod
    def begin(cls, name: str, find: Callable[[Mutant], Finding]) -> _Judged:
        ours, theirs = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(ours)
            _tell(theirs, MUTANTS[name], find)
        os.close(theirs)
        return cls(name, process, ours, time.monotonic())

    def read(self) -> bool:
        """Take what the process has written. Has it ended?"""
        piece = os.read(self.pipe, 1 << 16)
        self.heard += piece
        return not piece

    def finding(self) -> Finding:
        """What was found, once the process has ended."""
        os.close(self.pipe)
        os.waitpid(self.process, 0)
        if not self.heard:
            return Finding(
                self.name, crash=f"no end in {LIMIT:g} s" if self.late else "the process ended without a word"
            )
        return Finding(**json.loads(self.heard))

    def give_up_if_late(self) -> None:
        if not self.late and time.monotonic() > self.began + LIMIT:
            self.late = True
            os.kill(self.process, signal.SIGKILL)


def _tell(pipe: int, mutant: Mutant, find: Callable[[Mutant], Finding]) -> NoReturn:
    """In the forked process: write the finding, and end without a trace of what the parent had begun."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        try:
            found = find(mutant)
        except BaseException:
            found = Finding(mutant.name, crash=traceback.format_exc())
        with open(pipe, "wb") as told:
            told.write(json.dumps(asdict(found)).encode())
    finally:
        os._exit(0)


@contextmanager
def _hearing(config: pytest.Config, *plugins: object) -> Iterator[None]:
    for plugin in plugins:
        config.pluginmanager.register(plugin)
    try:
        yield
    finally:
        for plugin in plugins:
            config.pluginmanager.unregister(plugin)


def _run(chosen: Sequence[pytest.Item], suite: Sequence[pytest.Item], verdicts: Verdicts) -> int:
    """Run these checks, but none of a requirement that has failed. Returns how many ran."""
    count = 0
    anchors = [suite[0], next((item for item in suite if item.path != suite[0].path), suite[0])]
    for item in chosen:
        if _requirement(item).id in verdicts.called:
            continue
        item.user_properties.clear()
        # Which check follows is not known yet. Any of another module makes pytest leave this one's.
        following = anchors[0] if item.path != anchors[0].path else anchors[1]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        count += 1
    return count


def _requirement(item: pytest.Item) -> Requirement:
    return item.stash[REQUIREMENT]


def _stands_otherwise(item: pytest.Item, run: Run, unharmed: Declaration | None, target: Target) -> bool:
    """Is this check another one because of what the gateway declares?"""
    now = target.declaration
    if unharmed is None or (now.capabilities, now.options) == (unharmed.capabilities, unharmed.options):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    function = getattr(item, "function", None)
    if "streamed" in fixtures or "declaration" in getattr(getattr(function, "__code__", None), "co_names", ()):
        return True
    requirement = _requirement(item)
    before = replace(target, declaration=unharmed)

    def standing(at: Target) -> tuple[str | None, dict[str, str]]:
        declared = at.declaration
        applies = run.catalogue.not_applicable(requirement, declared.capabilities, declared.options)
        return applies, checks.chosen_options(requirement, at)

    return standing(before) != standing(target)
