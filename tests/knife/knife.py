"""The kit under its own knife: weaken what judges, one edit at a time, and demand that a unit test notices.

A pytest plug-in that takes the place of the test loop. First all tests run once, each with the lines that it reached;
then each weakening is put into a fork of this process, which runs the tests that reach it, the quickest first, until
one fails. What no test notices must stand in `survivors.toml` with a reason, and nothing else may stand there.

Nothing here depends on the kit: not what is judged, nor how.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from coverage import Coverage

from tests.knife.weaken import Functions, Weakening, imported, weakenings

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).with_name("survivors.toml")
PATIENCE = 60
"""Seconds after which a weakened process counts as stuck, which is noticed too."""
NOTICED, SURVIVED, BROKEN = 10, 11, 12


@dataclass(slots=True)
class Record:
    """What the tests do to the unharmed kit: seconds of each, and the tests (by number) that reach a line."""

    seconds: dict[int, float] = field(default_factory=dict)
    reached: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def tests(self, weakening: Weakening) -> list[int]:
        lines = self.reached.get(weakening.file, {})
        found = {test for line in weakening.lines for test in lines.get(line, ())}
        return sorted(found, key=lambda test: self.seconds[test])


class Knife:
    """The loop. `files` are paths below the root of what is weakened; `only` says which weakenings, None means all."""

    def __init__(self, files: Sequence[Path], only: Callable[[Weakening], bool] | None, jobs: int) -> None:
        self.files, self.only, self.jobs = files, only, jobs
        self.sources = {file: file.read_text() for file in files}  # as they are imported: somebody may be at work
        self.survivors: list[Weakening] = []
        self.untested: list[Weakening] = []
        self.problems: list[str] = []
        self.count = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Failed("the tests could not be collected")
        self.out = session.config.pluginmanager.getplugin("terminalreporter")
        record = _recorded(session, self.files)
        if record.failed:
            self.problems = [f"fails without any weakening: {one}" for one in record.failed]
            session.testsfailed = len(self.problems)
            return True
        todo = [
            one
            for file in self.files
            for one in weakenings(str(file.relative_to(ROOT)), self.sources[file])
            if self.only is None or self.only(one)
        ]
        self.count = len(todo)
        self.functions = imported(self.files)
        gc.collect()
        gc.freeze()  # what is shared stays shared
        for weakening, code in self._all(todo, record, session):
            if code == SURVIVED:
                self.out.write_line(f"not noticed: {weakening}")
                (self.survivors if record.tests(weakening) else self.untested).append(weakening)
            elif code == BROKEN:
                self.problems.append(f"could not be applied: {weakening}")
        self._compare(todo)
        session.testsfailed = len(self.problems)
        return True

    def _all(self, todo: list[Weakening], record: Record, session: pytest.Session) -> Iterator[tuple[Weakening, int]]:
        running: dict[int, Weakening] = {}
        for one in todo:
            tests = record.tests(one)
            if not tests:
                yield one, SURVIVED
                continue
            running[_forked(partial(_noticed, one, tests, session, self.functions))] = one
            if len(running) >= self.jobs:
                yield _finished(running)
        while running:
            yield _finished(running)

    def _compare(self, todo: list[Weakening]) -> None:
        listed = {_key(entry): entry for entry in tomllib.loads(SURVIVORS.read_text()).get("survivor", [])}
        order = {one.key: number for number, one in enumerate(todo)}
        survived = {one.key: one for one in sorted([*self.survivors, *self.untested], key=lambda one: order[one.key])}
        for key, one in survived.items():
            if key not in listed:
                untested = " (no test reaches it)" if one in self.untested else ""
                self.problems.append(f"not noticed{untested}: {one}")
        for key, entry in listed.items():
            if not entry.get("why"):
                self.problems.append(f"listed without a reason: {key}")
            if key in order and key not in survived:
                self.problems.append(f"listed, but noticed: {key}")
            elif key not in order and self.only is None and ROOT / key[0] in self.files:
                self.problems.append(f"listed, but there is no such weakening: {key}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for problem in self.problems:
            terminalreporter.write_line(problem)
        left = len(self.survivors) + len(self.untested)
        terminalreporter.write_line(f"{self.count} weakenings, {self.count - left} noticed, {left} not")


def _key(entry: dict[str, str]) -> tuple[str, str, str, str, int]:
    return entry["file"], entry["function"], entry["was"], entry["now"], int(entry.get("nth", 1))


def _recorded(session: pytest.Session, files: Sequence[Path]) -> Record:
    """Run all tests once, in a fork: what they leave behind stays out of this process."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        child = _forked(lambda: _record(session, files, Path(file.name)))
        _, status = os.waitpid(child, 0)
        if status:
            raise session.Failed("the first run broke")
        return Record(**pickle.loads(file.read()))


def _record(session: pytest.Session, files: Sequence[Path], target: Path) -> int:
    record = Record()
    coverage = Coverage(include=[str(one) for one in files], data_file=None, config_file=False)
    coverage.set_option("run:disable_warnings", ["module-not-measured", "no-data-collected", "couldnt-parse"])
    coverage.start()
    for number, item in enumerate(session.items):
        coverage.switch_context(str(number))
        started = time.monotonic()
        if not _passes(session, number, number + 1):
            record.failed.append(item.nodeid)
        record.seconds[number] = time.monotonic() - started
    coverage.stop()
    data = coverage.get_data()
    for file in files:
        lines = data.contexts_by_lineno(str(file))
        tests = {line: [int(one) for one in contexts if one] for line, contexts in lines.items()}
        record.reached[str(file.relative_to(ROOT))] = tests
    target.write_bytes(pickle.dumps({"seconds": record.seconds, "reached": record.reached, "failed": record.failed}))
    return 0


def _finished(running: dict[int, Weakening]) -> tuple[Weakening, int]:
    child, status = os.wait()
    # A signal, the alarm's or that of a crash, ends what the unharmed kit does not: it is noticed.
    return running.pop(child), os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else NOTICED


def _noticed(weakening: Weakening, tests: list[int], session: pytest.Session, functions: Functions) -> int:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE)
    try:
        weakening.live(ROOT / weakening.file, functions)
    except (LookupError, SyntaxError, ValueError):
        return BROKEN
    for place, test in enumerate(tests):
        following = tests[place + 1] if place + 1 < len(tests) else None
        if not _passes(session, test, following):
            return NOTICED
    return SURVIVED


def _passes(session: pytest.Session, test: int, following: int | None) -> bool:
    after = session.items[following] if following is not None and following < len(session.items) else None
    reports = runtestprotocol(session.items[test], log=False, nextitem=after)
    passed = not any(report.failed for report in reports)
    if not passed:
        session._setupstate.teardown_exact(None)
    return passed


def _forked(work: Callable[[], int]) -> int:
    """Start `work` in a fork with nothing to say; its result is the exit status."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        code = work()
    finally:
        os._exit(code)
