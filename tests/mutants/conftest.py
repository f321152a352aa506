"""What a run of the mutants shows on its way and at its end."""

from __future__ import annotations

import os
import time
from collections.abc import Generator

import pytest

from tests.mutants.judging import Finding

PUBLISHING = "test_the_published_matrix_is_this_run"
PUBLISHED: pytest.StashKey[str] = pytest.StashKey()
"""The score, once a matrix was made."""


class Progress:
    """A line on the terminal for every twentieth of the mutants."""

    def __init__(self, config: pytest.Config, total: int) -> None:
        self._terminal = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._total, self._judged, self._began = total, 0, time.monotonic()

    def tell(self, finding: Finding) -> None:
        self._judged += 1
        steps = self._judged * 20 // self._total != (self._judged - 1) * 20 // self._total
        if self._terminal is not None and self._capture is not None and (steps or self._total <= 20):
            with self._capture.global_and_fixture_disabled():
                spent = time.monotonic() - self._began
                self._terminal.write_line(f" {self._judged}/{self._total} judged in {spent:.0f} s ({finding.name})")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutant-jobs",
        type=int,
        default=(os.cpu_count() or 1) + 2,
        help="Mutants that are judged at the same time; by default two more than there are processors: some wait",
    )
    parser.addoption(
        "--mutants-apart",
        action="store_true",
        help="Find out for each mutant by itself which checks it can reach, and not for several at once, and ask it "
        "over a socket: slower, and sees also what one of them would hide of another",
    )
    parser.addoption(
        "--publish",
        action="store_true",
        help="Write what some mutants turn red into the published matrix; a run of all does so by itself",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """What publishes runs with `--publish`, also where `-k` names mutants only."""
    publishing = [item for item in items if item.name == PUBLISHING]
    yield
    if config.getoption("publish"):
        items.extend(item for item in publishing if item not in items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if PUBLISHED in config.stash:
        terminalreporter.write_line(config.stash[PUBLISHED])
