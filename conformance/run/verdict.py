"""From a pytest report to the outcome of a check: what it ended as, and the text that explains it.

Outcomes travel in `user_properties`: through xdist, into JUnit files, to the collector.
"""

from __future__ import annotations

import json

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.requirements import Requirement
from conformance.run.checks import REQUIREMENT
from conformance.run.run import Run
from conformance.run.template import excuse_of_the_template
from conformance.vocabulary.outcome import SYMBOLS, Outcome, failure_text, of_exception
from conformance.vocabulary.target import Target

TARGET: pytest.StashKey[Target] = pytest.StashKey()
OUTCOME: pytest.StashKey[Outcome] = pytest.StashKey()


def judge(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, run: Run) -> None:
    """Decide what a phase of a check means, rewrite pytest's report to say so, and pass it on."""
    requirement = item.stash[REQUIREMENT]
    error = call.excinfo.value if call.excinfo else None
    if call.when == "setup":
        for name in ("id", "level", "profile"):
            _tell(item, report, name if name != "id" else "requirement", str(getattr(requirement, name)))
    if call.when == "teardown" and error is None:
        return
    if call.when == "setup" and error is None:
        return
    outcome, reason = of_exception(error), str(error or "")
    if outcome is Outcome.FAILED and (excuse := _excuse_of_the_template(item)) is not None:
        outcome, reason = Outcome.NOT_APPLICABLE, excuse
    if call.when != "call" and outcome is Outcome.FAILED and not isinstance(error, ConformanceFailure):
        outcome = Outcome.ERROR
    if call.when == "teardown":
        outcome = Outcome.ERROR
    if hasattr(report, "wasxfail"):
        outcome = Outcome.EXPECTED_FAILURE if report.skipped else Outcome.STALE
    if call.when == "call" and requirement.id in run.defects:
        outcome = _known(requirement, outcome, run, report)
    if outcome in (Outcome.FAILED, Outcome.EXPECTED_FAILURE) and isinstance(error, AssertionError):
        _explain(item, requirement, error, report, run)
    if error is not None and (outcome is Outcome.NOT_TESTED or (outcome is Outcome.NOT_APPLICABLE and report.failed)):
        words = str(outcome).replace("_", " ")
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"{words}: {reason}")
    if outcome is Outcome.EXPECTED_FAILURE:
        report.outcome = "skipped"
    if outcome in (Outcome.NOT_APPLICABLE, Outcome.NOT_TESTED) and error is not None:
        _tell(item, report, "reason", reason)
    item.stash[OUTCOME] = outcome
    _tell(item, report, "outcome", str(outcome))
    item.config.hook.pytest_gateway_check_finished(requirement=requirement, outcome=outcome, item=item)


def _excuse_of_the_template(item: pytest.Item) -> str | None:
    target = item.stash.get(TARGET, None)
    return excuse_of_the_template(target.recorder.exchanges, target.upstream.tokenizer) if target else None


def status(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """The letter and the word of a check's outcome, in place of pytest's."""
    if not isinstance(report, pytest.TestReport) or is_rerun(report):
        return None
    outcome = outcome_of(report)
    if outcome is None or (report.when != "call" and report.passed):
        return None
    letter, word = SYMBOLS[outcome]
    # pytest shows the text of what it counts as failed; a stale entry has a text to show.
    return "failed" if outcome is Outcome.STALE else str(outcome), letter, word


def is_rerun(report: pytest.TestReport) -> bool:
    """Whether it is of a check that failed and is run again (pytest-rerunfailures has an outcome of its own for it)."""
    return str(report.outcome) == "rerun"


def outcome_of(report: pytest.TestReport) -> Outcome | None:
    """What the report says of the check, if it is one; the last word counts."""
    outcomes = [value for name, value in report.user_properties if name == "outcome"]
    return Outcome(str(outcomes[-1])) if outcomes else None


def _known(requirement: Requirement, outcome: Outcome, run: Run, report: pytest.TestReport) -> Outcome:
    """A listed defect fails as expected; when it is mended, its entry is stale and that is an error."""
    defect = run.defects[requirement.id]
    if outcome is Outcome.FAILED:
        return Outcome.EXPECTED_FAILURE
    if outcome is Outcome.PASSED:
        report.outcome = "failed"
        report.longrepr = (
            f"{requirement.id} passes, but gateway-expected-failures.toml still lists it ({defect.reason}; "
            f"{defect.link}): remove the entry"
        )
        return Outcome.STALE
    return outcome


def _explain(
    item: pytest.Item, requirement: Requirement, error: AssertionError, report: pytest.TestReport, run: Run
) -> None:
    target = item.stash.get(TARGET, None)
    exchanges = target.recorder.exchanges if target else []
    calls = target.upstream.calls if target else []
    posts = target.upstream.posts if target else []
    report.longrepr = failure_text(requirement, error, exchanges, calls, run.rerun(requirement.id), posts)
    if isinstance(error, ConformanceFailure):
        violations = [{"where": v.where, "expected": v.expected, "actual": v.actual} for v in error.violations]
        _tell(item, report, "violations", json.dumps(violations, ensure_ascii=False))


def _tell(item: pytest.Item, report: pytest.TestReport, name: str, value: str) -> None:
    item.user_properties.append((name, value))
    report.user_properties.append((name, value))
