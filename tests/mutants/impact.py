"""Which checks can a mutant reach at all? The others would do what they did against the unharmed gateway.

One run of the whole suite against the reference records, per check, which functions of the gateway ran and what it
answered. A mutant that replaces a function reaches the checks in which that function ran; one that rewrites answers,
those in which an answer comes out otherwise. What cannot be told this way (a setting, a middleware, something that is
no plain function, code that runs at start-up) reaches them all.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

import reference_gateway
from conformance.requirements import Requirement
from conformance.upstream.client import Upstream
from tests.mutants.harness import run_suite, serving
from tests.mutants.registry import Mutant
from tests.mutants.sabotage import Answer, Sabotage

PACKAGE = str(Path(reference_gateway.__file__).parent)
START = ""
"""Stands for the check that is running before there is one."""


@dataclass(eq=False)
class Baseline:
    """What the unharmed gateway did, by check: `test_file.py::test_name[case]`."""

    ran: dict[str, set[CodeType]] = field(default_factory=dict)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    checks: dict[str, set[str]] = field(default_factory=dict)
    """Requirement -> its checks."""
    current: str = START

    @classmethod
    def record(cls, upstream: Upstream, folder: Path) -> Baseline:
        baseline = cls()
        with pytest.MonkeyPatch.context() as monkeypatch:
            sabotage = Sabotage(monkeypatch)
            sabotage.rewrite(baseline._answered)
            threading.setprofile(baseline._profile)
            sys.setprofile(baseline._profile)
            try:
                with serving(upstream, sabotage) as url:
                    sys.setprofile(None)
                    threading.setprofile(None)  # type: ignore[arg-type]
                    verdicts = run_suite(url, upstream, folder, "--gateway-timeout-scale", "3", plugins=[baseline])
                    assert verdicts.exit_code == 0, f"the reference fails {sorted(verdicts.failed | verdicts.broken)}"
            finally:
                sys.setprofile(None)
                threading.setprofile(None)  # type: ignore[arg-type]
        return baseline

    def reached(self, mutant: Mutant) -> set[str] | None:
        """The checks that the mutant can reach; None when that may be all."""
        with pytest.MonkeyPatch.context() as monkeypatch:
            sabotage = Sabotage(monkeypatch)
            mutant.apply(sabotage)
        if sabotage.config or sabotage.wraps:
            return None
        found = set(self.checks[mutant.kills])
        for original in sabotage.replaced:
            codes = set(_codes(original))
            if not codes or codes & self.ran.get(START, set()):
                return None
            found |= {check for check, ran in self.ran.items() if codes & ran}
        if sabotage.rewrites:
            found |= {check for check, answer in self.answers if check and _changes(sabotage, answer)}
        return found

    def near(self, mutant: Mutant) -> set[str]:
        """The checks of the areas in which the requirements that the mutant names stand."""
        areas = {area_of(one) for one in (mutant.kills, *mutant.also)}
        return {check for one, checks in self.checks.items() if area_of(one) in areas for check in checks}

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            self.ran.setdefault(self.current, set()).add(code)

    def _answered(self, answer: Answer) -> None:
        self.answers.append((self.current, copy(answer)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self.current = name_of(item)

    def pytest_gateway_check_finished(self, requirement: Requirement) -> None:
        self.checks.setdefault(requirement.id, set()).add(self.current)


class Selection:
    """Leaves the suite those checks only."""

    def __init__(self, checks: set[str]) -> None:
        self.checks = checks

    @property
    def files(self) -> list[str]:
        return sorted({check.partition("::")[0] for check in self.checks})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if name_of(item) in self.checks]


def area_of(requirement: str) -> str:
    return requirement.partition("-")[0]


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
