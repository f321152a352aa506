"""The JSON report: one document per run, keyed on requirement ids, described by `report.schema.json`."""

from __future__ import annotations

import hashlib
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import conformance
from conformance.client.transcript import redact
from conformance.report.result import CheckResult
from conformance.requirements import FROZEN_SET, Requirement
from conformance.run.run import Run, claimed_profiles
from conformance.vocabulary.outcome import Outcome, worst

SCHEMA_VERSION = 1
PACKAGE = Path(conformance.__file__).parent
KILLS_CONFORMANCE = (Outcome.FAILED, Outcome.ERROR, Outcome.STALE, Outcome.EXPECTED_FAILURE, Outcome.NOT_TESTED)


def document(
    run: Run, results: Sequence[CheckResult], started: float, judged: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Any]:
    """The report of a run. Times are ISO 8601 in UTC, durations seconds. `judged`: requirement -> on how many exchanges
    it was judged, whatever they were about."""
    by_requirement: dict[str, list[CheckResult]] = {}
    for result in results:
        by_requirement.setdefault(result.requirement, []).append(result)
    requirements = [
        _requirement(requirement, by_requirement[requirement.id], judged.get(requirement.id, 0))
        for requirement in run.catalogue.requirements.values()
        if requirement.id in by_requirement
    ]
    outcomes = {entry["id"]: Outcome(entry["outcome"]) for entry in requirements}
    asked = [profile.name for profile in run.catalogue.profiles.values() if profile.engine is run.settings.live]
    profiles = {name: _profile(run, name, outcomes) for name in asked}
    claimed = claimed_profiles(run)
    verdicts = {profiles[name]["verdict"] for name in claimed}
    declaration = run.declaration
    return {
        "schema_version": SCHEMA_VERSION,
        "kit": {
            "name": "gateway-conformance",
            "version": conformance.__version__,
            "suite_digest": _digest(PACKAGE / "suite", PACKAGE / "requirements", PACKAGE / "oracles"),
        },
        "gateway": {
            "name": declaration.name if declaration else None,
            "version": declaration.version if declaration else None,
            "driver": run.gateway.driver if run.gateway and isinstance(run.gateway.driver, str) else "custom",
            "capabilities": sorted(declaration.capabilities) if declaration else [],
            "options": dict(sorted(declaration.options.items())) if declaration else {},
        },
        **({"engine": run.engine} if run.engine else {}),
        "requirement_set": FROZEN_SET,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "duration": round(time.time() - started, 3),
        "environment": {
            "python": platform.python_version(),
            "pytest": pytest.__version__,
            "platform": platform.system(),
        },
        "verdict": "conformant"
        if verdicts == {"conformant"}
        else "not conformant"
        if "not conformant" in verdicts
        else "incomplete",
        "profiles": profiles,
        "requirements": requirements,
        "extra": {},
    }


def _requirement(requirement: Requirement, results: Sequence[CheckResult], judged: int) -> dict[str, Any]:
    outcome = worst(result.outcome for result in results)
    reasons = list(dict.fromkeys(result.reason for result in results if result.reason and result.outcome is outcome))
    return {
        "id": requirement.id,
        "level": requirement.level,
        "profile": requirement.profile,
        "text": requirement.text,
        "source": requirement.source,
        "outcome": str(outcome),
        **({"reason": "; ".join(reasons)} if reasons else {}),
        **({"exchanges": judged} if judged else {}),
        "checks": [
            {
                "name": result.node.rpartition("::")[2],
                "outcome": str(result.outcome),
                "duration": round(result.duration, 4),
                **({"violations": result.violations} if result.violations else {}),
                **({"text": redact(result.text)} if result.text else {}),
                **({"reruns": result.reruns} if result.reruns else {}),
                **({"rescore": result.rescore} if result.rescore else {}),
                **({"seen_while": result.seen_while} if result.seen_while else {}),
            }
            for result in results
        ],
    }


def _profile(run: Run, name: str, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """`conformant` = every MUST of the frozen set in this profile passed or did not apply, and at least one passed,
    with the kit's upstream behind the gateway."""
    members = run.catalogue.by_profile(name)
    counts = Counter(str(outcomes[requirement.id]) for requirement in members if requirement.id in outcomes)
    musts = [
        requirement.id
        for requirement in members
        if requirement.level == "MUST" and requirement.id in run.catalogue.frozen and not requirement.excluded
    ]
    must_outcomes = [outcomes.get(requirement_id) for requirement_id in musts]
    if name not in claimed_profiles(run):
        verdict = "not claimed"
    elif any(outcome in KILLS_CONFORMANCE for outcome in must_outcomes):
        verdict = "not conformant"
    elif run.unseen is not None or None in must_outcomes or Outcome.PASSED not in must_outcomes:
        verdict = "incomplete"
    else:
        verdict = "conformant"
    return {
        "verdict": verdict,
        "musts": len(musts),
        "counts": {str(outcome): counts.get(str(outcome), 0) for outcome in Outcome},
    }


def _digest(*folders: Path) -> str:
    """A digest of the kit's own judgement, so that a report says which suite it comes from."""
    total = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".toml", ".json", ".ambr") and path.is_file():
                total.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]
