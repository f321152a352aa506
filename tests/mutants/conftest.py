"""Gathers the kills of a whole run, from all workers, and publishes the matrix."""

from __future__ import annotations

import os

import pytest

from tests.mutants import matrix
from tests.mutants.registry import MUTANTS, load_all

load_all()


class Gathered:
    """Mutant -> the requirements that failed; published when the run judged every mutant by all areas."""

    def __init__(self, whole: bool) -> None:
        self.whole = whole
        self.failed: dict[str, list[str]] = {}
        self.lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if report.when == "call" and "mutant" in properties:
            self.failed[str(properties["mutant"])] = str(properties["failed"]).split()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not self.whole or "MUTANT_ONLY" in os.environ or self.failed.keys() != MUTANTS.keys():
            return
        found = matrix.document(self.failed)
        stale = matrix.publish(found)
        self.lines = [
            matrix.score(found),
            *(f"stale, and made again: {path.relative_to(matrix.ROOT)}" for path in stale),
        ]
        if stale and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.lines:
            terminalreporter.write_line(line)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="Judge each mutant by all areas, and publish the matrix")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Gathered(config.getoption("whole")), "kill-matrix")
