"""Each mutant is killed by the requirement that it names, by a failed assertion, and by nothing unnamed in its areas.

What it turns red in other areas, where whole conversations are judged by all that token truth is, stands in the matrix.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.pinned import KIT_SHAPES
from conformance.requirements import Catalogue
from conformance.upstream.client import Upstream
from tests.mutants.harness import Verdicts, run_suite, serving
from tests.mutants.impact import Baseline, Selection, area_of
from tests.mutants.registry import MUTANTS, SWEEPS, Mutant, load_all
from tests.mutants.sabotage import Sabotage

load_all()

pytestmark = pytest.mark.mutants

# A developer's shortcut: MUTANT_ONLY="STREAM-*" judges a mutant by part of the suite. The gate runs it all.
ONLY = ["--gateway-only", os.environ["MUTANT_ONLY"]] if "MUTANT_ONLY" in os.environ else []


def test_the_reference_passes(shared_upstream: Upstream, tmp_path: Path) -> None:
    with serving(shared_upstream) as url:
        verdicts = run_suite(url, shared_upstream, tmp_path, *ONLY)
    assert not verdicts.failed, "\n\n".join(text for texts in verdicts.texts.values() for text in texts)
    assert not verdicts.broken
    assert verdicts.exit_code == 0


@pytest.fixture(scope="session")
def baseline(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Baseline | None:
    """What the unharmed gateway did; None when a developer chose the checks."""
    if ONLY:
        return None
    return Baseline.record(shared_upstream, tmp_path_factory.mktemp("baseline"))


def chosen(baseline: Baseline, mutant: Mutant, whole: bool) -> set[str]:
    """The checks to run against a mutant: those that it can reach, in its areas or, if `whole`, anywhere."""
    reached = baseline.reached(mutant)
    if whole:
        return set().union(*baseline.checks.values()) if reached is None else reached
    near = baseline.near(mutant)
    return near if reached is None else near & reached


def judged(url: str, upstream: Upstream, folder: Path, checks: set[str] | None) -> Verdicts:
    """The verdicts of these checks; None = those that a developer chose."""
    if checks is None:
        return run_suite(url, upstream, folder, *ONLY)
    selection = Selection(checks)
    files = [str(KIT_SHAPES.parent / file) for file in selection.files]
    return run_suite(url, upstream, folder, *files, plugins=[selection])


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(
    name: str,
    shared_upstream: Upstream,
    baseline: Baseline | None,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    mutant = MUTANTS[name]
    checks = chosen(baseline, mutant, request.config.getoption("whole")) if baseline else None
    with pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        mutant.apply(sabotage)
        with serving(shared_upstream, sabotage) as url:
            verdicts = judged(url, shared_upstream, tmp_path, checks)
    record_property("mutant", name)
    record_property("failed", " ".join(sorted(verdicts.failed)))
    assert mutant.kills in verdicts.failed, f"survived: {mutant.story} (failed instead: {sorted(verdicts.failed)})"
    assert not verdicts.broken, f"checks broke, which is no verdict: {sorted(verdicts.broken)}"
    areas = {area_of(mutant.kills), *map(area_of, mutant.also)}
    extra = {one for one in verdicts.failed if area_of(one) in areas} - {mutant.kills} - mutant.also - SWEEPS
    assert not extra, "\n\n".join(f"not named: {one}\n{verdicts.texts[one][0]}" for one in sorted(extra))


def test_each_requirement_has_a_mutant() -> None:
    wanted = {one.id for one in Catalogue.load().requirements.values() if not one.excluded}
    killed = {mutant.kills for mutant in MUTANTS.values()}
    assert not wanted - killed, "no mutant breaks these"
    assert not killed - wanted, "mutants name what is not in the catalogue"
