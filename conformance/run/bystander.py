"""The judge who stands by: what the exchanges of a check show beside what the check is about.

Called when a check has ended. Findings travel with the report of its teardown, through xdist, to the collector; files
of JUnit have the ids. The check that ran is not failed by them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from conformance import ambient
from conformance.ambient import Finding, Left
from conformance.client.failure import ConformanceFailure
from conformance.gateway import NotObservable
from conformance.run import verdict
from conformance.run.checks import REQUIREMENT
from conformance.run.run import Run
from conformance.run.template import excuse_of_the_template
from conformance.upstream.client import UpstreamError
from conformance.upstream.ledger import PENDING, Call
from conformance.vocabulary.outcome import Outcome, failure_text
from conformance.vocabulary.session import Session, Sessions
from conformance.vocabulary.target import Target

SEEN: pytest.StashKey[str] = pytest.StashKey()
"""What `tell` has to tell, as JSON."""
SESSIONS: pytest.StashKey[Sequence[ambient.Settings]] = pytest.StashKey()
DEPLOYED = ("hooks", "delivery", "background-tasks")
"""Profiles in which a deployment stands around invocations, and changes what is asked and answered."""
CALLS: pytest.StashKey[list[Call]] = pytest.StashKey()
"""The ledger of a check when its sessions were closed, if no call was open then."""
LEFT: pytest.StashKey[list[Left] | None] = pytest.StashKey()


def close(item: pytest.Item, run: Run, target: Target, sessions: Sessions) -> None:
    """End the sessions of a check, by taking what they export where that is judged."""
    if not _is_judged(item, run, target):
        sessions.discard()
        return
    opened = sessions.opened
    item.stash[SESSIONS] = opened
    try:
        calls = target.upstream.calls
        if all(call.outcome != PENDING for call in calls):
            item.stash[CALLS] = calls
            turns = ambient.turns_of(target.recorder.exchanges, (), ())
            item.stash[LEFT] = _left(opened, several=len(turns) > 1)
    except (ConformanceFailure, UpstreamError, NotObservable, ValueError):
        pass  # what can't be had is not judged
    finally:
        for session in opened:
            if session.ended_as is None:
                session.discard()


def _left(opened: list[Session], several: bool) -> list[Left] | None:
    """What each session exports, or exported; None where one took it to its grave. An answer can be given up for
    another where there were `several` turns."""
    if any(session.was_aborted for session in opened):
        return None
    left = []
    for session in opened:
        given_up = None if several else 0
        if session.ended_as is None:
            given_up = session.superseded().generations if several else 0
            session.finalize()
        assert session.ended_as is not None
        left.append(Left(session.ended_as, given_up))
    return left


def tell(item: pytest.Item, run: Run) -> None:
    """Judge what was exchanged in a check that passed: on how many exchanges each requirement was judged, and each
    finding with its text."""
    target = item.stash.get(verdict.TARGET, None)
    if target is None or not _is_judged(item, run, target):
        return
    exchanges, tokenizer = target.recorder.exchanges, target.upstream.tokenizer
    calls = item.stash.get(CALLS, None) or target.upstream.calls
    excluded = _excluded(item, target)
    counts: Counter[str] = Counter()
    findings: list[Finding] = []
    for judged in ambient.judge(exchanges, calls, item.stash.get(SESSIONS, []), item.stash.get(LEFT, None), tokenizer):
        name = ambient.REQUIREMENTS.get((judged.rule, judged.wire))
        if name is None or judged.rule.startswith(excluded) or not _applies(name, run, target):
            continue
        if judged.violations and judged.rule.startswith("context") and excuse_of_the_template(exchanges, tokenizer):
            continue
        counts[name] += 1
        if judged.violations:
            findings.append(Finding(name, tuple(judged.violations), judged.exchange))
    if counts:
        told = {"judged": counts, "findings": [_as_json(finding, calls, item, run) for finding in findings]}
        item.stash[SEEN] = json.dumps(told, ensure_ascii=False)
        names = sorted({finding.requirement for finding in findings})
        if names:
            item.user_properties.append(("seen", " ".join(names)))


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Let the report of a check's teardown carry what was seen in it."""
    if report.when == "teardown" and SEEN in item.stash:
        vars(report)["gateway_seen"] = item.stash[SEEN]


def seen_with(report: pytest.TestReport) -> dict[str, Any] | None:
    """What a report carries: `{"judged": {requirement: exchanges}, "findings": [...]}`."""
    carried = vars(report).get("gateway_seen")
    return None if carried is None else dict(json.loads(carried))


def _excluded(item: pytest.Item, target: Target) -> tuple[str, ...]:
    """What the rules begin with that do not hold in this check."""
    excluded: tuple[str, ...] = ()
    if item.stash[REQUIREMENT].profile in DEPLOYED:
        excluded += ("text", "context", "sampling")
    if target.declares("invocations_frames", "json"):
        excluded += ("text", "stream", "frames")
    return excluded


def _is_judged(item: pytest.Item, run: Run, target: Target) -> bool:
    passed = item.stash.get(verdict.OUTCOME, None) in (Outcome.PASSED, None) and verdict.OUTCOME in item.stash
    over_real_engine = run.catalogue.needs_engine(item.stash[REQUIREMENT])
    return run.settings.ambient and passed and target.unseen is None and not over_real_engine


def _applies(name: str, run: Run, target: Target) -> bool:
    requirement = run.catalogue.get(name)
    declared = target.declaration
    absent = run.catalogue.not_applicable(requirement, declared.capabilities, declared.options)
    return absent is None and all(target.observes(need) is None for need in requirement.needs)


def _as_json(finding: Finding, calls: Sequence[Call], item: pytest.Item, run: Run) -> dict[str, Any]:
    requirement = run.catalogue.get(finding.requirement)
    exchanges = [finding.exchange] if finding.exchange is not None else item.stash[verdict.TARGET].recorder.exchanges
    if finding.exchange is not None:
        begun, ended = finding.exchange.started, finding.exchange.finished or float("inf")
        calls = [call for call in calls if begun <= call.arrived <= ended]
    text = failure_text(
        requirement, ConformanceFailure(finding.violations), exchanges, calls, run.rerun(item.stash[REQUIREMENT].id)
    )
    while_checking = item.stash[REQUIREMENT].id
    return {
        "requirement": finding.requirement,
        "while": while_checking,
        "violations": [{"where": v.where, "expected": v.expected, "actual": v.actual} for v in finding.violations],
        "text": f"seen while {while_checking} was checked\n\n{text}",
    }
