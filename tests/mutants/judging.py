"""Judges mutants: the suite is collected once and run once against the unharmed gateway, which is recorded; then each
mutant is judged in a process forked from there, by the checks that it can reach.

In a forked process the checks run as pytest runs them, against a gateway that really serves: to a mutant of what is
behind the server, the kit's client gets without a socket. The requirement that the mutant names is judged first; the
checks of a requirement that has failed are not run again.
"""

from __future__ import annotations

import gc
import inspect
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

import conformance.vocabulary.target
from conformance.gateway import Capability, Declaration, Gateway
from conformance.requirements import Requirement
from conformance.run import checks
from conformance.run.checks import REQUIREMENT
from conformance.run.run import RUN, Run
from conformance.upstream.client import Upstream
from conformance.vocabulary.target import Target, connect
from reference_gateway.serving.server import serving as served
from tests.mutants import fate
from tests.mutants.direct import Direct, DirectRecorder
from tests.mutants.forks import begun, forked
from tests.mutants.harness import Verdicts, build, run_suite
from tests.mutants.impact import Baseline, below, known_ids, name_of
from tests.mutants.registry import MUTANTS, Mutant, in_force, may_judge
from tests.mutants.sabotage import Sabotage

PATIENCE = 1.5
"""Seconds that a check may take before it fails, if it took the unharmed gateway less than a fifth of that; else five
times what it took."""
UNUSED = ("anyio", "hypothesispytest", "logging", "threadexception", "unraisableexception", "warnings")
"""Plug-ins that have something to do around each check, and of which no check makes use."""
MANY = 8
"""So many mutants with the same settings are worth an unharmed gateway with these settings."""


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
    upstream: Upstream,
    names: Sequence[str],
    folder: Path,
    heard: Callable[[Finding], None],
    jobs: int,
    *arguments: str,
    apart: bool = False,
) -> list[Verdicts]:
    """Judge these mutants, `jobs` at a time, once the unharmed gateway has passed; `heard` is told of each as it is
    judged. `arguments` choose the checks. `apart`: never find out together what they can reach, and ask each over a
    socket, which takes longer, and misses nothing where one mutant undoes what another does. Many mutants with settings
    of their own have an unharmed gateway with these settings, and are judged beside all others. Returns what the suite
    said of each unharmed gateway."""
    with_settings: dict[str, list[str]] = {}
    for name in names:
        with_settings.setdefault(repr(_config(name)), []).append(name)
    many = [group for settings, group in with_settings.items() if settings != "{}" and len(group) >= MANY]
    common = Judging(upstream, [one for one in names if not any(one in group for group in many)], jobs, {}, apart=apart)
    others = [Judging(upstream, group, jobs, _config(group[0]), apart=apart) for group in many]
    beside = [begun(repr(other.settings), partial(other.told, folder, *arguments)) for other in others]
    common.run(folder, heard, *arguments)
    unharmed = [common.unharmed]
    for answer in (ended() for ended in beside):
        if answer.crash:
            raise RuntimeError(f"with {answer.name}:\n{answer.crash}")
        unharmed.append(Verdicts.read(answer.value["unharmed"]))
        for finding in answer.value["findings"]:
            heard(Finding(**finding))
    return unharmed


def _config(name: str) -> dict[str, Any]:
    with in_force(MUTANTS[name]) as sabotage:
        return sabotage.config


class Judging:
    """A pytest plug-in that takes the place of the loop over the suite's checks."""

    def __init__(
        self,
        upstream: Upstream,
        names: Sequence[str],
        jobs: int,
        settings: Mapping[str, Any],
        *,
        apart: bool,
    ) -> None:
        self.unharmed = Verdicts()
        self.settings = settings
        self.baseline = Baseline(
            lambda sabotage, codec: build(upstream, sabotage, codec, **({} if sabotage else settings)), dict(settings)
        )
        self._upstream, self._names, self._jobs, self._apart = upstream, names, jobs, apart
        self._heard: Callable[[Finding], None] = lambda finding: None
        self._gateway = ExitStack()
        self._slowest = 0.0
        self._checks: list[tuple[str, str, pytest.Item]] = []
        """Name, requirement, and the check."""

    def told(self, folder: Path, *arguments: str) -> dict[str, Any]:
        """Run, and put all that was found into JSON."""
        findings: list[Finding] = []
        self.run(folder, findings.append, *arguments)
        return {"unharmed": self.unharmed.written(), "findings": [asdict(one) for one in findings]}

    def run(self, folder: Path, heard: Callable[[Finding], None], *arguments: str) -> None:
        """Judge the unharmed gateway, and if it passes, the mutants; `heard` is told of each."""
        self._heard = heard
        fate.install()
        logging.disable()  # a log line asks for the time as well
        with self._gateway:
            self._gateway.callback(logging.disable, logging.NOTSET)
            self._gateway.callback(self.baseline.unwatch)
            self._gateway.enter_context(self.baseline.recorder.engine())
            url = self._gateway.enter_context(served(cast(Any, self.baseline.start())))
            without = [argument for plugin in UNUSED for argument in ("-p", f"no:{plugin}")]
            keyed = ("--gateway-api-key", self.settings["api_key"]) if "api_key" in self.settings else ()
            run_suite(
                url,
                self._upstream,
                folder,
                *without,
                "--gateway-timeout-scale",
                "3",
                *keyed,
                *arguments,
                plugins=[self],
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        looking = nullcontext() if self._apart else self.baseline.looks.watching()
        with _hearing(session.config, self.unharmed, self.baseline), looking:
            for place, item in enumerate(session.items):
                following = session.items[place + 1] if place + 1 < len(session.items) else None
                began = time.perf_counter()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                self._slowest = max(self._slowest, time.perf_counter() - began)
        self._gateway.close()  # only the thread that forks may be left
        if not self.unharmed.failed | self.unharmed.broken:
            with known_ids():
                self.baseline.settle()
                self._judge(session)
        return True

    def _judge(self, session: pytest.Session) -> None:
        # What is there is shared by all processes for as long as none touches it: look up here what all would look up.
        self._checks = [(name_of(item), _requirement(item).id, item) for item in session.items]
        inspect.getmodule(inspect.currentframe())  # it remembers where all modules are, of which tracebacks ask
        gc.freeze()
        mutants = [MUTANTS[name] for name in self._names]
        groups = [] if self._apart else self.baseline.together(mutants)
        reached: dict[str, list[str]] = {}
        for scouted in forked(((group[0].name, partial(self._scout, group)) for group in groups), self._jobs):
            reached |= scouted.value or {}
        for judged in forked(
            ((one.name, partial(self._finding, session, one, reached.get(one.name))) for one in mutants), self._jobs
        ):
            self._heard(Finding(judged.name, crash=judged.crash) if judged.crash else Finding(**judged.value))

    def _scout(self, mutants: Sequence[Mutant]) -> dict[str, list[str]]:
        """In a forked process: the checks that these can reach."""
        gc.disable()  # it will not live long enough to need it
        return {name: sorted(checks) for name, checks in self.baseline.reached(mutants).items()}

    def _finding(self, session: pytest.Session, mutant: Mutant, reached: Collection[str] | None) -> dict[str, Any]:
        """In a forked process: what the suite says of this mutant. `reached` is None when it is not known yet."""
        gc.disable()
        began = time.perf_counter()
        run = session.config.stash[RUN]
        unharmed = run.declaration
        run.settings = replace(run.settings, timeout=max(PATIENCE, 5 * self._slowest))
        run.upstream = Upstream(self._upstream.url, self._upstream.tokenizer)
        if reached is None:
            reached = self.baseline.reached([mutant])[mutant.name]
        verdicts = Verdicts()
        monkeypatch = pytest.MonkeyPatch()
        sabotage = Sabotage(monkeypatch)
        mutant.apply(sabotage)
        # Nothing is undone and the server is not stopped: this process ends with its finding.
        app = Direct(self.baseline.remade(sabotage)[1])
        server = served(cast(Any, app))
        run.gateway = Gateway(server.__enter__(), driver="http", api_key=sabotage.config.get("api_key"))
        if not (self._apart or below(sabotage)):
            monkeypatch.setattr(conformance.vocabulary.target, "Recorder", partial(DirectRecorder, app))
        target = connect(run.gateway, run.upstream, run.settings.timeout)
        now, before = target.declaration, unharmed or target.declaration
        declares = (now.capabilities, now.options) != (before.capabilities, before.options)
        reached = set(reached)
        chosen = [
            (requirement != mutant.kills, place)
            for place, (name, requirement, item) in enumerate(self._checks)
            if name in reached
            or requirement == mutant.kills
            or (declares and may_judge(requirement, mutant) and _stands_otherwise(item, run, before, target))
        ]
        with _hearing(session.config, verdicts):
            count = _run([self._checks[place][2] for _, place in sorted(chosen)], session.items, verdicts)
        texts = {one: texts[0] for one, texts in verdicts.texts.items()}
        return asdict(
            Finding(
                mutant.name,
                {one: texts.get(one, "") for one in sorted(verdicts.failed)},
                mutant.kills in verdicts.called,
                {one: texts.get(one, "") for one in sorted(verdicts.broken)},
                count,
                round(time.perf_counter() - began, 3),
            )
        )


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


def _stands_otherwise(item: pytest.Item, run: Run, unharmed: Declaration, target: Target) -> bool:
    """Is this check another one because of what the gateway declares?"""
    changed = target.declaration.capabilities ^ unharmed.capabilities
    if Capability.STREAMING in changed and "streamed" in getattr(item, "fixturenames", ()):
        return True
    names = getattr(getattr(getattr(item, "function", None), "__code__", None), "co_names", ())
    if {"declaration", "require_capability"} & set(names):
        return True
    requirement = _requirement(item)
    before = replace(target, declaration=unharmed)

    def standing(at: Target) -> tuple[str | None, dict[str, str]]:
        declared = at.declaration
        applies = run.catalogue.not_applicable(requirement, declared.capabilities, declared.options)
        return applies, checks.chosen_options(requirement, at)

    return standing(before) != standing(target)
