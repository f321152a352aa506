"""Each mutant is killed by the requirement that it names, by a failed assertion, and by nothing unnamed in its areas.

What it turns red in other areas is published, and a run of all mutants fails where that is not what was published
before: a new consequence is looked at in the difference, and named or mended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from conformance.requirements import Catalogue
from conformance.upstream.client import Upstream
from tests.mutants import matrix
from tests.mutants.conftest import PUBLISHED, Progress
from tests.mutants.harness import Verdicts
from tests.mutants.judging import Finding, judge
from tests.mutants.registry import MUTANTS, SWEEPS, area_of, load_all

load_all()

pytestmark = pytest.mark.mutants

# A developer's shortcut: MUTANT_ONLY="STREAM-*" judges a mutant by part of the suite. The gate runs it all.
ONLY = ["--gateway-only", os.environ["MUTANT_ONLY"]] if "MUTANT_ONLY" in os.environ else []


Judged = tuple[list[Verdicts], Mapping[str, Finding]]
"""What the suite said of the unharmed gateway, with each of its settings, and of each mutant."""


@pytest.fixture(scope="session")
def judged(
    shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Judged:
    """All mutants that were asked for, judged beside each other."""
    if hasattr(request.config, "workerinput"):
        pytest.exit("mutants are judged beside each other by themselves: run them without -n", returncode=4)
    asked = {item.callspec.params["name"] for item in request.session.items if hasattr(item, "callspec")}
    names = [name for name in MUTANTS if name in asked]
    findings: dict[str, Finding] = {}
    progress = Progress(request.config, len(names))

    def heard(finding: Finding) -> None:
        findings[finding.name] = finding
        progress.tell(finding)

    jobs = request.config.getoption("mutant_jobs")
    apart = request.config.getoption("mutants_apart")
    return judge(shared_upstream, names, tmp_path_factory.mktemp("suite"), heard, jobs, *ONLY, apart=apart), findings


def test_the_reference_passes(judged: Judged) -> None:
    for verdicts in judged[0]:
        assert not verdicts.failed, "\n\n".join(text for texts in verdicts.texts.values() for text in texts)
        assert not verdicts.broken
        assert verdicts.outcomes, "no check ran"


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, judged: Judged) -> None:
    mutant, finding = MUTANTS[name], judged[1].get(name)
    assert finding is not None, "not judged: the reference does not pass"
    assert not finding.crash, finding.crash
    assert mutant.kills in finding.failed, f"survived: {mutant.story} (failed instead: {sorted(finding.failed)})"
    assert finding.killed, f"{mutant.kills} failed while its check was set up, which attributes nothing"
    assert finding.failed[mutant.kills], f"{mutant.kills} failed without a message"
    assert not finding.broken, f"checks broke, which is no verdict: {finding.broken}"
    areas = {area_of(mutant.kills), *map(area_of, mutant.also)}
    extra = {one for one in finding.failed if area_of(one) in areas} - {mutant.kills} - mutant.also - SWEEPS
    assert not extra, "\n\n".join(f"not named: {one}\n{finding.failed[one]}" for one in sorted(extra))


def test_each_requirement_has_a_mutant() -> None:
    catalogue = Catalogue.load()
    wanted = {one.id for one in catalogue if not one.excluded and not catalogue.needs_engine(one)}
    killed = {mutant.kills for mutant in MUTANTS.values()}
    assert not wanted - killed, "no mutant breaks these"
    assert not killed - wanted, "mutants name what is not in the catalogue"


def test_the_published_matrix_is_this_run(judged: Judged, request: pytest.FixtureRequest) -> None:
    unharmed, findings = judged
    some = request.config.getoption("publish")
    if ONLY or not (some or findings.keys() == MUTANTS.keys()):
        pytest.skip("not every mutant was judged by the whole suite: nothing is published")
    known = matrix.published() if some else {}
    failed = {name: known[name] for name in MUTANTS if name in known}
    failed |= {name: sorted(finding.failed) for name, finding in findings.items() if not finding.crash}
    found = matrix.document(failed, unharmed)
    changes = matrix.publish(found)
    request.config.stash[PUBLISHED] = matrix.score(found)
    assert not changes, "what was published is stale, and made again; look at the difference:\n" + "\n".join(changes)
