"""Real defects of real gateways, the requirements that stand against them, and the mutants that prove it."""

from __future__ import annotations

import pytest

from conformance.requirements import Catalogue
from tests.mutants import bugs
from tests.mutants.bugs import Bug
from tests.mutants.registry import MUTANTS, load_all

JUDGED = {"TT", "SEP", "ISO", "SPL", "CONC", "BUD", "LP", "VER", "NORM"}
"""The classes that are about what the trainer gets: the kit claims to catch each of their rows that HTTP can show."""

VISIBLE = [bug for bug in bugs.load().values() if bug.seen in ("Y", "P")]


@pytest.fixture(scope="module", autouse=True)
def mutants() -> None:
    load_all()


@pytest.mark.parametrize("bug", VISIBLE, ids=lambda bug: str(bug.number))
def test_a_requirement_and_a_mutant_stand_against_it(bug: Bug) -> None:
    against = bugs.requirements(bug)
    assert bool(against) != bool(bug.outside), f"a requirement, or a reason why there is none: {bug.what} {against}"
    assert not against or bugs.mutants(bug), f"no mutant proves that one of {against} catches: {bug.what}"


def test_what_the_trainer_gets_is_the_kits_to_judge() -> None:
    left_out = {bug.number for bug in VISIBLE if bug.outside and bug.seen == "Y" and JUDGED & set(bug.classes)}
    assert not left_out


def test_what_cannot_be_seen_needs_a_reason_too() -> None:
    silent = [bug.number for bug in bugs.load().values() if not bugs.requirements(bug) and not bug.outside]
    assert not silent


def test_every_row_that_is_named_exists() -> None:
    named = {bug for one in Catalogue.load().requirements.values() for bug in one.bugs}
    named |= {bug for mutant in MUTANTS.values() for bug in mutant.bugs}
    assert named <= set(bugs.load())


def test_the_page_is_current() -> None:
    assert bugs.PAGE.read_text("utf-8") == bugs.page(), "stale: run python -m tests.mutants.matrix"
