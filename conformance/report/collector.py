"""Gathers the checks' outcomes on the controller, decides the exit code, and says it in one short section."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from conformance.oracles.wording import printable
from conformance.recorded.score import as_text
from conformance.report.document import document
from conformance.report.result import CheckResult
from conformance.requirements import FROZEN_SET
from conformance.run import bystander
from conformance.run.run import claimed_profiles
from conformance.run.verdict import is_rerun, outcome_of
from conformance.upstream.engine import UNCLAIMED
from conformance.vocabulary.outcome import Outcome
from conformance.vocabulary.target import NEVER_CALLED

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from conformance.run.run import Run

RED = (Outcome.FAILED, Outcome.ERROR, Outcome.STALE)

FOUNDATIONS = ("HTTP", "LIFE", "CHAT", "STREAM", "TOKEN", "COMMIT")
"""The areas that the others lean on: one defect of these can turn many lines red, and theirs name the cause."""


class Collector:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.started = time.time()
        self.results: dict[str, CheckResult] = {}
        self.judged: Counter[str] = Counter()
        """Requirement -> on how many exchanges it was judged, whatever they were about."""
        self.told: Counter[str] = Counter()
        """Requirement -> how often something was found against it that is not judged in this run."""
        self.report: dict[str, Any] | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        seen = bystander.seen_with(report)
        if seen is not None:
            self._hear(report.nodeid, seen)
        outcome = outcome_of(report)
        if "requirement" not in properties or outcome is None:
            return
        result = self.results.setdefault(
            report.nodeid, CheckResult(report.nodeid, str(properties["requirement"]), outcome)
        )
        if is_rerun(report):
            result.reruns += 1
            return
        result.outcome = outcome
        if report.when == "call":
            result.duration = report.duration
        result.reason = str(properties.get("reason", ""))
        result.violations = json.loads(str(properties.get("violations", "[]")))
        if "rescore" in properties:
            result.rescore = json.loads(str(properties["rescore"]))
        if isinstance(report.longrepr, str):
            result.text = report.longrepr

    def _hear(self, node: str, seen: dict[str, Any]) -> None:
        """What else a check showed: findings count for the requirements that they break."""
        self.judged.update(seen["judged"])
        for number, finding in enumerate(seen["findings"]):
            name = finding["requirement"]
            requirement = self.run.catalogue.get(name)
            if not self.run.counts(requirement):
                self.told[name] += 1
                continue
            known = name in self.run.defects
            self.results[f"{node} seen {number}"] = CheckResult(
                node,
                name,
                Outcome.EXPECTED_FAILURE if known else Outcome.FAILED,
                violations=finding["violations"],
                text=finding["text"],
                seen_while=finding["while"],
            )

    @property
    def findings(self) -> list[CheckResult]:
        """What was seen while something else was checked, and counts."""
        return [result for result in self.results.values() if result.seen_while and result.outcome is Outcome.FAILED]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not self.results:
            if self.run.settings.targeted and exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
            return
        if exitstatus == pytest.ExitCode.OK:
            session.exitstatus = self.exit_code()
        self.report = document(self.run, list(self.results.values()), self.started, self.judged)
        session.config.hook.pytest_gateway_report(report=self.report, config=session.config)
        path = self.run.settings.report
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A lone surrogate comes out as JSON spells it.
            path.write_text(printable(json.dumps(self.report, indent=1, ensure_ascii=False)) + "\n", "utf-8")

    def exit_code(self) -> pytest.ExitCode:
        """A run that checked nothing, or could not see what the gateway claims, is not green."""
        outcomes = Counter(result.outcome for result in self.results.values())
        if self.findings:
            return pytest.ExitCode.TESTS_FAILED
        if not outcomes[Outcome.PASSED] and not outcomes[Outcome.EXPECTED_FAILURE]:
            return pytest.ExitCode.NO_TESTS_COLLECTED
        claimed = claimed_profiles(self.run)
        for result in self.results.values():
            requirement = self.run.catalogue.get(result.requirement)
            if result.outcome is Outcome.NOT_TESTED and requirement.level == "MUST" and requirement.profile in claimed:
                return pytest.ExitCode.TESTS_FAILED
        return pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        if self.report is None:
            return
        write = terminalreporter.write_line
        shown = list({result.requirement: result for result in reversed(self.findings)}.values())[::-1]
        if shown:
            terminalreporter.section("seen while something else was checked")
        for result in shown:
            write(result.text)
            write("")
        terminalreporter.section("gateway conformance")
        write(f"{self.run.target_name}, requirement set {FROZEN_SET}")
        checked = {
            name: profile for name, profile in self.report["profiles"].items() if any(profile["counts"].values())
        }
        width = max(map(len, checked))
        for name, profile in checked.items():
            good = profile["verdict"] == "conformant"
            counts = ", ".join(
                f"{count} {kind.replace('_', ' ')}" for kind, count in profile["counts"].items() if count
            )
            color = {"green": good, "red": profile["verdict"] == "not conformant"}
            write(f"  {name:{width}}  {profile['verdict']:15}  {counts}", **color)
        for text, outcome in (("not tested", Outcome.NOT_TESTED), ("failed", Outcome.FAILED)):
            ids = [entry["id"] for entry in self.report["requirements"] if entry["outcome"] == outcome]
            if ids:
                write(f"  {text}: {' '.join(ids)}")
        seen = Counter(result.requirement for result in self.findings)
        if seen:
            times = ", ".join(f"{name} ({count})" for name, count in sorted(seen.items()))
            write(f"  seen while something else was checked: {times}")
        if self.told:
            write(f"  seen, and not judged in this run: {' '.join(sorted(self.told))}")
        first = [requirement_id for requirement_id in ids if requirement_id.partition("-")[0] in FOUNDATIONS]
        if 0 < 2 * len(first) <= len(ids):
            write(f"  look first at: {' '.join(first)}")
        again = sorted({result.requirement for result in self.results.values() if result.reruns})
        if again:
            write(f"  failed at first, and run again: {' '.join(again)}", yellow=True)
        if ids and self.run.unclaimed:
            write(
                f"  {self.run.unclaimed} calls of the upstream had no check's nonce in their context and were answered "
                f'"{UNCLAIMED.text}": from a gateway that tries whether its engine lives, or that loses first messages'
            )
        if self.run.settings.live:
            engine = " ".join(self.report.get("engine", {}).values())
            place = f"at {self.run.settings.engine}" if self.run.settings.engine else "in the gateway's own process"
            write(f"  over a real engine {place}: {engine or 'unknown'}")
        for result in self.results.values():
            if result.rescore is not None:
                for line in as_text(result.rescore).splitlines():
                    write(f"  {line}")
        if self.run.unseen:
            write(f"  {self.run.unseen}. What needs no script is judged on what its own model says")
        elif early := sum(result.reason.startswith(NEVER_CALLED) for result in self.results.values()):
            write(
                f"  {early} checks were not tested before the gateway first called the kit's upstream: run them again"
            )
        if self.run.settings.report:
            write(f"  report: {self.run.settings.report}")
