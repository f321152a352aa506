"""Each mutant is killed by the requirement that it names, by a failed assertion, and by nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.requirements import Catalogue
from conformance.upstream.client import Upstream
from tests.mutants.harness import run_suite, serving
from tests.mutants.registry import MUTANTS, load_all
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


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(
    name: str, shared_upstream: Upstream, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    mutant = MUTANTS[name]
    with pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        mutant.apply(sabotage)
        with serving(shared_upstream, sabotage) as url:
            verdicts = run_suite(url, shared_upstream, tmp_path, *ONLY)
    record_property("mutant", name)
    record_property("failed", " ".join(sorted(verdicts.failed)))
    assert mutant.kills in verdicts.failed, f"survived: {mutant.story} (failed instead: {sorted(verdicts.failed)})"
    assert not verdicts.broken, f"checks broke, which is no verdict: {sorted(verdicts.broken)}"
    extra = verdicts.failed - {mutant.kills} - mutant.also
    assert not extra, "\n\n".join(f"not named: {one}\n{verdicts.texts[one][0]}" for one in sorted(extra))


def test_each_requirement_has_a_mutant() -> None:
    wanted = {one.id for one in Catalogue.load().requirements.values() if not one.excluded}
    killed = {mutant.kills for mutant in MUTANTS.values()}
    assert not wanted - killed, "no mutant breaks these"
    assert not killed - wanted, "mutants name what is not in the catalogue"
